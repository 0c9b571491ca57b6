//! `rmi`, `image rm`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::Containers;
use plimsoll_image::{ImageError, Removed};

use crate::command_error::CommandError;
use crate::context::Context;

/// Remove images, or names of images
///
/// A name is taken away; with its last name the image goes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names or IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Remove it all the same when it has several names or a stopped container
    #[arg(short, long)]
    force: bool,
    /// Accepted for Docker's sake: images have no parents here
    #[arg(long, hide = true)]
    no_prune: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "OS/ARCH")]
    platform: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let containers = Containers::new(context.store()?, context.program());
    let is_running = |id: &str| containers.get(id).is_ok_and(|container| container.is_running());
    let mut code = ExitCode::SUCCESS;
    for name in &args.images {
        match images.remove(name, args.force, &is_running) {
            Ok(removed) => print(&removed, context)?,
            // As in Docker: forcing takes away what is there.
            Err(ImageError::NotFound { .. }) if args.force => {}
            Err(error) => code = context.report(&error.into()),
        }
    }
    images.collect()?;
    Ok(code)
}

fn print(removed: &[Removed], context: &Context) -> Result<(), CommandError> {
    let mut out = context.stdout();
    for step in removed {
        match step {
            Removed::Untagged(name) => writeln!(out, "Untagged: {}", name.familiar())?,
            Removed::Deleted(digest) => writeln!(out, "Deleted: {digest}")?,
        }
    }
    Ok(())
}
