//! `manifest push`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_oci::ImageRef;

use super::List;
use crate::command_error::CommandError;
use crate::commands::imagetools::index;
use crate::context::Context;
use crate::progress::Mode;

/// Push a list, with what its registry has not
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the list
    #[arg(value_name = "MANIFEST_LIST")]
    list: ImageRef,
    /// Remove the list here when it is pushed
    #[arg(short, long)]
    purge: bool,
    /// Accepted for Docker's sake: the settings say which registries are insecure
    #[arg(long, hide = true)]
    insecure: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let list = List::get(context, &args.list)?;
    let images = context.images()?;
    let mut parts = Vec::new();
    for entry in &list.entries {
        let name: ImageRef = entry.name.parse()?;
        let digest = entry.descriptor.get("digest").and_then(|digest| digest.as_str());
        let digest = digest.unwrap_or_default().parse();
        let digest = digest.map_err(|error| CommandError::internal("the list is damaged", error))?;
        parts.push(images.peek(&name.with_digest(digest)).await?);
    }
    let entries = list
        .entries
        .iter()
        .map(|entry| entry.descriptor.clone())
        .collect();
    let made = index(entries, serde_json::Map::new());
    let display = context.progress("Pushing", Some(Mode::Quiet))?;
    let pushed = images
        .push_made(&args.list, &made, &parts, display.progress())
        .await;
    display.finish();
    pushed?;
    if args.purge {
        List::remove(context, &args.list)?;
    }
    writeln!(context.stdout(), "{}", made.digest)?;
    Ok(ExitCode::SUCCESS)
}
