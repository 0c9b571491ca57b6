//! `volume create`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::VolumeOptions;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Make a volume
///
/// Prints its name. One that is there already stays as it is.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the volume [default: a random one]
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
    /// Driver; there is only `local`
    #[arg(short, long, value_name = "DRIVER", default_value = "local", value_parser = ["local"])]
    driver: String,
    /// Set a label
    #[arg(long = "label", value_name = "NAME[=VALUE]")]
    labels: Vec<String>,
    /// Say what it is made of: `type=none`, `o=bind`, `device=/a/folder`, or `type=tmpfs`, `o=size=64m`
    #[arg(short, long = "opt", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Another way to give the name
    #[arg(long, value_name = "VOLUME", hide = true, conflicts_with = "volume")]
    name: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let options = VolumeOptions {
        labels: pairs(&args.labels),
        driver: pairs(&args.options),
    };
    let name = args.volume.as_deref().or(args.name.as_deref());
    let volume = containers(context)?.create_volume(name, &options)?;
    writeln!(context.stdout(), "{}", volume.name)?;
    Ok(ExitCode::SUCCESS)
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}
