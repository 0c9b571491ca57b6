//! `system prune`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_store::{CacheItem, PruneRequest};

use super::asking::{self, Filter};
use super::builder_prune;
use super::container_prune;
use super::image_prune::{self, ImageFilter};
use super::network_prune;
use super::volume_prune;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::units;

/// Remove what is not in use: stopped containers, images without a name, build cache
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove all images without a container, not only those without a name, and all of the build cache
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes that no container has, too
    #[arg(long)]
    volumes: bool,
    /// Remove only what fits: `until=24h`, `label=KEY[=VALUE]`, `label!=`
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let filter = ImageFilter::new(&args.filters)?;
    asking::confirm(context, args.force, &warning(&args), "system prune")?;
    let mut bytes = container_prune::prune(context, &args.filters)?;
    print_list(
        context,
        "Deleted Networks:",
        &network_prune::prune(context, &args.filters)?,
    )?;
    if args.volumes {
        bytes += volume_prune::prune(context, |volume| volume.anonymous)?;
    }
    let images = context.images()?;
    bytes += image_prune::prune(context, &images, args.all, &filter)?;
    bytes += remove_cache(&args, context)?;
    let mut out = context.stdout();
    writeln!(out, "Total reclaimed space: {}", units::human_size_with(bytes, 4))?;
    Ok(ExitCode::SUCCESS)
}

fn warning(args: &Args) -> String {
    let mut lines = vec![
        "all stopped containers",
        "all networks not used by at least one container",
    ];
    if args.volumes {
        lines.push("all anonymous volumes not used by at least one container");
    }
    lines.push(if args.all {
        image_prune::ALL
    } else {
        image_prune::DANGLING
    });
    lines.push(if args.all {
        "all build cache"
    } else {
        "unused build cache"
    });
    let lines: String = lines.iter().map(|line| format!("\n  - {line}")).collect();
    format!("This will remove:{lines}\n")
}

fn remove_cache(args: &Args, context: &Context) -> Result<u64, CommandError> {
    // As in Docker: build cache has no labels, so a filter by label leaves it alone.
    if args.filters.iter().any(|filter| filter.key == "label") {
        return Ok(0);
    }
    let until = args.filters.iter().find(|filter| filter.key == "until");
    let request = PruneRequest {
        all: args.all,
        until: until.map(Filter::until).transpose()?,
        ..PruneRequest::default()
    };
    let mut removed = Vec::new();
    let mut report = |item: &CacheItem| removed.push(item.id.clone());
    let bytes = builder_prune::prune(context.store()?, &context.images()?, &request, &mut report)?;
    print_list(context, "Deleted build cache objects:", &removed)?;
    Ok(bytes)
}

pub(super) fn print_list(context: &Context, title: &str, names: &[String]) -> Result<(), CommandError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut out = context.stdout();
    writeln!(out, "{title}")?;
    names.iter().try_for_each(|name| writeln!(out, "{name}"))?;
    Ok(writeln!(out)?)
}
