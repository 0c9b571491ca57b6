//! `compose pull`

use std::collections::BTreeMap;
use std::process::ExitCode;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use plimsoll_compose_file::model::{Model, Service};
use plimsoll_image::Images;
use plimsoll_oci::{ImageRef, Platform};
use plimsoll_progress::{Progress, ResourceState};

use super::compose::{display_as, model, project, told};
use super::compose_build::chosen;
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Pull the images of services
///
/// Of all, or of those named; an image that several services have is pulled once, all images at the same time.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Pull what can be pulled, and end well whatever cannot
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Pull for what the services depend on, too
    #[arg(long)]
    include_deps: bool,
    /// `always`, or `missing` for what is not stored
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing"])]
    policy: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for Docker's sake: it is always so
    #[arg(long, hide = true)]
    parallel: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    no_parallel: bool,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(pull(args, context)).await
}

async fn pull(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let project = project(context, |options| {
        options.no_env_resolution = true;
        options.named.clone_from(&args.services);
    })?;
    let model = model(&project)?;
    let services = chosen(&model, &args.services, args.include_deps)?;
    let images = context.images()?;
    let display = display_as(context, "Pulling", args.quiet.then_some(Mode::Quiet))?;
    let progress = display.progress();
    let wanted = wanted(&args, &model, &services, context, progress)?;
    let mut to_build = Vec::new();
    let mut failure = None;
    let pulling = |(name, service): (&str, &Service)| {
        let images = images.clone();
        let (name, service) = (name.to_owned(), service.clone());
        async move {
            let pulled = pull_one(context, &images, &name, &service, progress).await;
            (name, service.build.is_some(), pulled)
        }
    };
    let limit = context.compose().parallel().unwrap_or(wanted.len()).max(1);
    let mut queue = wanted.into_iter().map(pulling);
    let mut running: FuturesUnordered<_> = queue.by_ref().take(limit).collect();
    while let Some((name, can_be_built, pulled)) = running.next().await {
        if let Err(error) = pulled {
            let state = match can_be_built {
                true => ResourceState::Warning,
                false => ResourceState::Error,
            };
            let word = if can_be_built { "Warning" } else { "Error" };
            progress.resource(&told(context, &name), state, word, &error.to_string());
            match can_be_built {
                true => to_build.push(name),
                false if args.ignore_pull_failures => {}
                // The others are stopped.
                false => {
                    failure = Some(error);
                    break;
                }
            }
        }
        running.extend(queue.next());
    }
    drop(running);
    display.finish();
    if let Some(error) = failure {
        return Err(error);
    }
    if !to_build.is_empty() {
        to_build.sort();
        context.warn(format_args!(
            "some service image(s) must be built from source by running:\n    plimsoll compose build {}",
            to_build.join(" ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The services that are to be pulled; says of the others why not.
fn wanted<'a>(
    args: &Args,
    model: &'a Model,
    services: &[String],
    context: &Context,
    progress: &Progress,
) -> Result<Vec<(&'a str, &'a Service)>, CommandError> {
    let skip = |name: &str, why: &str| {
        let text = if why.is_empty() {
            "Skipped".to_owned()
        } else {
            format!("Skipped - {why}")
        };
        progress.ready(&told(context, name), &text);
    };
    let images = context.images()?;
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let mut wanted = Vec::new();
    for (name, service) in &model.services {
        if !services.contains(name) {
            continue;
        }
        let Some(image) = &service.image else {
            skip(name, "No image to be pulled");
            continue;
        };
        let policy = args.policy.as_deref().or(service.pull_policy.as_deref());
        let is_stored = || Ok::<_, CommandError>(images.find(image)?.is_some());
        match policy {
            Some("never" | "build") => skip(name, ""),
            Some("missing" | "if_not_present") if is_stored()? => {
                skip(name, "Image is already present locally")
            }
            _ if args.ignore_buildable && service.build.is_some() => skip(name, "Image can be built"),
            _ => match first.get(image.as_str()) {
                Some(other) => skip(name, &format!("Image is already being pulled by {other}")),
                None => {
                    first.insert(image, name);
                    wanted.push((name.as_str(), service));
                }
            },
        }
    }
    Ok(wanted)
}

async fn pull_one(
    context: &Context,
    images: &Images,
    name: &str,
    service: &Service,
    progress: &Progress,
) -> Result<(), CommandError> {
    let reference: ImageRef = service.image.as_deref().unwrap_or_default().parse()?;
    let platform = match service.platform.as_deref() {
        Some(text) => text.parse().map_err(|error| {
            CommandError::user(format!(
                "`services.{name}.platform`: `{text}` is no platform: {error}"
            ))
        })?,
        None => Platform::host(),
    };
    let id = told(context, name);
    progress.working(&id, "Pulling");
    if !context.compose().dry_run {
        images.pull(&reference, &platform, progress).await?;
    }
    progress.ready(&id, "Pulled");
    Ok(())
}
