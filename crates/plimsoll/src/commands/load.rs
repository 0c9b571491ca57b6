//! `load`, `image load`

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use plimsoll_image::ImageError;

use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Load images from an archive
///
/// Takes archives of `docker save` and OCI archives, compressed or not. Nothing is named before all of the archive
/// has been read and checked.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Archive to read [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How to show progress [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    progress: Option<Mode>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let mut archive = open(&args)?;
    let images = context.images()?;
    let display = context.progress("Loading", args.progress.or(args.quiet.then_some(Mode::Quiet)))?;
    let result = images.load(&mut *archive, display.progress());
    display.finish();
    let loaded = result.map_err(|error| explain(error, &args))?;
    let mut out = context.stdout();
    for (image, names) in loaded {
        if names.is_empty() {
            writeln!(out, "Loaded image ID: {}", image.id)?;
        }
        for name in names {
            writeln!(out, "Loaded image: {}", name.familiar())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(args: &Args) -> Result<Box<dyn Read + Send>, CommandError> {
    match &args.input {
        Some(path) if path.as_os_str() != "-" => {
            let file = File::open(path);
            let wrong = |error| {
                CommandError::new(
                    crate::command_error::Kind::User,
                    OpenError {
                        path: path.clone(),
                        source: error,
                    },
                )
            };
            Ok(Box::new(file.map_err(wrong)?))
        }
        _ if io::stdin().is_terminal() => {
            Err(CommandError::user("no archive: standard input is a terminal")
                .hint("name one with `-i FILE`"))
        }
        _ => Ok(Box::new(io::stdin())),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot open `{}`", path.display())]
struct OpenError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn explain(error: ImageError, args: &Args) -> CommandError {
    let hint = match (&error, &args.input) {
        (ImageError::ReadArchive(_) | ImageError::BadArchive(_), Some(path)) => Some(format!(
            "is `{}` an archive of `docker save`, `plimsoll save`, or an OCI archive?",
            path.display()
        )),
        _ => None,
    };
    let error = CommandError::from(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
