//! `compose push`

use std::process::ExitCode;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use plimsoll_image::{Images, Packing};
use plimsoll_oci::ImageRef;
use plimsoll_progress::{Progress, ResourceState};

use super::compose::{display_as, model, project, told};
use super::compose_build::chosen;
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Push the images that services build
///
/// Those with `build` and a name of their own, under all their tags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Push what can be pushed, and end well whatever cannot
    #[arg(long)]
    ignore_push_failures: bool,
    /// Push for what the services depend on, too
    #[arg(long)]
    include_deps: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(push(args, context)).await
}

async fn push(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let project = project(context, |options| {
        options.no_env_resolution = true;
        options.named.clone_from(&args.services);
    })?;
    let model = model(&project)?;
    let services = chosen(&model, &args.services, args.include_deps)?;
    let images = context.images()?;
    let display = display_as(context, "Pushing", args.quiet.then_some(Mode::Quiet))?;
    let progress = display.progress();
    let mut wanted = Vec::new();
    for name in &services {
        let service = &model.services[name];
        match (&service.build, &service.image) {
            (Some(build), Some(image)) => {
                let tags = build.tags.iter().chain([image]);
                wanted.extend(tags.map(|tag| (name.as_str(), tag.as_str())));
            }
            _ => progress.ready(&told(context, name), "Skipped"),
        }
    }
    let limit = context.compose().parallel().unwrap_or(wanted.len()).max(1);
    let pushing = |(name, tag)| push_one(context, &images, name, tag, progress);
    let mut queue = wanted.into_iter().map(pushing);
    let mut running: FuturesUnordered<_> = queue.by_ref().take(limit).collect();
    let mut failure = None;
    while let Some(pushed) = running.next().await {
        match pushed {
            Err(error) if !args.ignore_push_failures => {
                failure = Some(error);
                break;
            }
            _ => running.extend(queue.next()),
        }
    }
    drop(running);
    display.finish();
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

async fn push_one(
    context: &Context,
    images: &Images,
    name: &str,
    tag: &str,
    progress: &Progress,
) -> Result<(), CommandError> {
    let reference: ImageRef = tag.parse()?;
    let id = told(context, format_args!("Pushing {name}: {}", reference.familiar()));
    progress.working(&id, "Pushing");
    if context.compose().dry_run {
        progress.ready(&id, "Pushed");
        return Ok(());
    }
    match images.push(&reference, None, &Packing::default(), progress).await {
        Ok(_) => {
            progress.ready(&id, "Pushed");
            Ok(())
        }
        Err(error) => {
            let error = CommandError::from(error);
            progress.resource(&id, ResourceState::Error, "Error", &error.to_string());
            Err(error)
        }
    }
}
