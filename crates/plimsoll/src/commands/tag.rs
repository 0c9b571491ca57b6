//! `tag`, `image tag`

use std::process::ExitCode;

use plimsoll_oci::ImageRef;

use crate::command_error::CommandError;
use crate::context::Context;

/// Give an image another name
///
/// An image that had the name before loses it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name or ID of the image
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// Its new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: ImageRef,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    images.retag(&args.source, &args.target)?;
    Ok(ExitCode::SUCCESS)
}
