//! `commit`, `container commit`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_oci::{Digest, ImageRef};

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Make an image of what a container has become
///
/// What it has changed in its root becomes a layer; volumes are not in it. Prints the image's ID.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    pub(super) author: Option<String>,
    /// What for
    #[arg(short, long, value_name = "TEXT")]
    pub(super) message: Option<String>,
    /// Change the configuration with an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL,
    /// ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    pub(super) changes: Vec<String>,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    pub(super) container: String,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    pub(super) name: Option<ImageRef>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let id = make(args, context)?;
    writeln!(context.stdout(), "{id}")?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the image and returns its ID.
pub(super) fn make(args: Args, context: &Context) -> Result<Digest, CommandError> {
    let (containers, images) = (containers(context)?, context.images()?);
    let container = containers.get(&args.container)?;
    let image = containers.commit(&images, &container, args.message, |config| {
        config.author = args.author.or(config.author.take());
        change(config, &args.changes)
    })?;
    match &args.name {
        Some(name) => images.tag(&image, name)?,
        None => images.keep(&image)?,
    }
    Ok(image.id)
}

/// Applies `--change`.
pub(super) fn change(config: &mut plimsoll_oci::ImageConfig, changes: &[String]) -> Result<(), CommandError> {
    plimsoll_build::change(config, changes).map_err(CommandError::diagnostics)
}
