//! `image prune`

use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_image::{Image, Images, Removed};

use super::asking::{self, Filter};
use super::buildx_du::time;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::units;

/// Remove unused images
///
/// Those without a name; with `--all` those of which no container is made.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove all images without a container, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only what fits: `until=24h` (made before), `label=KEY[=VALUE]`, `label!=`, `dangling=false` (as `--all`)
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
}

pub(super) const ALL: &str = "all images without at least one container associated to them";
pub(super) const DANGLING: &str = "all dangling images";

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let filter = ImageFilter::new(&args.filters)?;
    let all = args.all || filter.all;
    let warning = format!("This will remove {}.", if all { ALL } else { DANGLING });
    asking::confirm(context, args.force, &warning, "image prune")?;
    let images = context.images()?;
    let bytes = prune(context, &images, all, &filter)?;
    writeln!(
        context.stdout(),
        "Total reclaimed space: {}",
        units::human_size_with(bytes, 4)
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Removes images, prints what went, and returns the bytes that came free.
pub(super) fn prune(
    context: &Context,
    images: &Images,
    all: bool,
    filter: &ImageFilter,
) -> Result<u64, CommandError> {
    let removed = images.prune(all, &|image| filter.keeps(image))?;
    print(context, &removed)?;
    let bytes = images.collect()?;
    asking::pruned(context.store()?, "image", bytes);
    Ok(bytes)
}

fn print(context: &Context, removed: &[Removed]) -> Result<(), CommandError> {
    if removed.is_empty() {
        return Ok(());
    }
    let mut out = context.stdout();
    writeln!(out, "Deleted Images:")?;
    for step in removed {
        match step {
            Removed::Untagged(name) => writeln!(out, "untagged: {}", name.familiar())?,
            Removed::Deleted(digest) => writeln!(out, "deleted: {digest}")?,
        }
    }
    Ok(writeln!(out)?)
}

/// What all images must fulfil.
#[derive(Default)]
pub(super) struct ImageFilter {
    all: bool,
    until: Option<i64>,
    labels: Vec<Filter>,
}

impl ImageFilter {
    pub(super) fn new(filters: &[Filter]) -> Result<Self, CommandError> {
        let mut all = Self::default();
        for filter in filters {
            match filter.key.as_str() {
                "until" => all.until = Some(filter.until()?),
                "label" => all.labels.push(filter.clone()),
                "dangling" => all.all = filter.holds_bool(false),
                _ => return Err(filter.unknown(&["until", "label", "dangling"])),
            }
        }
        Ok(all)
    }

    fn keeps(&self, image: &Image) -> bool {
        let created = image.config.created.as_deref();
        let created: Option<Timestamp> = created.and_then(|text| text.parse().ok());
        let created = created.unwrap_or_default();
        let labels = image.config.config.labels.clone().unwrap_or_default();
        self.until.is_none_or(|until| created < time(until))
            && self.labels.iter().all(|filter| filter.holds_among(&labels))
    }
}
