//! `import`, `image import`

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_oci::{History, ImageConfig, ImageRef, Platform};

use super::commit::change;
use crate::command_error::CommandError;
use crate::context::Context;

/// Make an image of an archive of files
///
/// The opposite of `export`: one layer, and no configuration but what `--change` says. To bring in what `save` wrote,
/// use `load`. Prints the image's ID.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change the configuration with an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
    /// ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// What to write into the history [default: where it came from]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// For which platform its programs are [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// A tar file, compressed or not, or `-`
    #[arg(value_name = "FILE | -")]
    file: String,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<ImageRef>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let layer = images.import(open(&args.file)?)?;
    let platform = args.platform.unwrap_or_else(Platform::host);
    let created = Some(Timestamp::now().to_string());
    let mut config = ImageConfig {
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        created: created.clone(),
        history: vec![History {
            created,
            comment: Some(
                args.message
                    .unwrap_or_else(|| format!("Imported from {}", args.file)),
            ),
            ..History::default()
        }],
        ..ImageConfig::default()
    };
    change(&mut config, &args.changes)?;
    let image = images.assemble(config, Some(layer))?;
    match &args.name {
        Some(name) => images.tag(&image, name)?,
        None => images.keep(&image)?,
    }
    writeln!(context.stdout(), "{}", image.id)?;
    Ok(ExitCode::SUCCESS)
}

fn open(file: &str) -> Result<Box<dyn Read + Send>, CommandError> {
    if file == "-" {
        return Ok(Box::new(io::stdin()));
    }
    if file.starts_with("http://") || file.starts_with("https://") {
        let error = CommandError::user(format!("cannot import from a URL: {file}"));
        return Err(error.hint(format!("curl -fL {file} | plimsoll import -")));
    }
    match File::open(file) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(CommandError::user(format!("cannot open `{file}`: {error}"))),
    }
}
