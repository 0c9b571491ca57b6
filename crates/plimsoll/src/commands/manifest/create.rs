//! `manifest create`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_oci::ImageRef;

use super::{Entry, List};
use crate::command_error::CommandError;
use crate::commands::imagetools::listed;
use crate::context::Context;

/// Make a list of images here, to be annotated and pushed
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the list
    #[arg(value_name = "MANIFEST_LIST")]
    list: ImageRef,
    /// Images that registries have
    #[arg(value_name = "MANIFEST", required = true)]
    manifests: Vec<ImageRef>,
    /// Add to a list that is there
    #[arg(short, long)]
    amend: bool,
    /// Accepted for Docker's sake: the settings say which registries are insecure
    #[arg(long, hide = true)]
    insecure: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let mut list = match List::load(context, &args.list)? {
        Some(_) if !args.amend => {
            let message = format!(
                "refusing to amend an existing manifest list `{}` with no --amend flag",
                args.list.familiar()
            );
            return Err(CommandError::user(message));
        }
        known => known.unwrap_or_default(),
    };
    let images = context.images()?;
    for name in &args.manifests {
        let source = images.peek(name).await?;
        for found in listed(&images, &source).await? {
            let digest = found.part.top.digest;
            list.entries
                .retain(|entry| entry.descriptor.get("digest") != found.entry.get("digest"));
            let name = match source.index()? {
                None => name.to_string(),
                Some(_) => name.with_digest(digest).to_string(),
            };
            list.entries.push(Entry {
                name,
                descriptor: found.entry,
            });
        }
    }
    list.save(context, &args.list)?;
    writeln!(context.stdout(), "Created manifest list {}", args.list)?;
    Ok(ExitCode::SUCCESS)
}
