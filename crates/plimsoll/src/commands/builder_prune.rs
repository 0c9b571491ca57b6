//! `builder prune`, `buildx prune`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_image::Images;
use plimsoll_store::{CacheItem, PruneRequest, Store};

use super::asking::{self, Filter};
use super::buildx_du::{self, print_row};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::units;

/// Remove build cache
///
/// What an image, a container or a running build needs stays. With a ceiling, what was used longest ago goes first.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also forget which steps made the layers of images; the images stay
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only what fits: `until=24h`, `id=`, `type=regular|exec.cachemount|source.local`, `parents=`, `description=`,
    /// `inuse`, `shared`, `private`, `mutable`; `!=` for what does not
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
    /// Never take the cache below this size
    #[arg(long, value_name = "SIZE", value_parser = asking::size, alias = "keep-storage")]
    reserved_space: Option<u64>,
    /// Remove until the cache takes no more than this
    #[arg(long, value_name = "SIZE", value_parser = asking::size)]
    max_used_space: Option<u64>,
    /// Remove until so much of the disk is free
    #[arg(long, value_name = "SIZE", value_parser = asking::size)]
    min_free_space: Option<u64>,
    /// Print everything about each item
    #[arg(long)]
    verbose: bool,
    /// Accepted for Docker's sake: there is one builder
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let filters = CacheFilter::new(&args.filters)?;
    let what = if args.all {
        "all build cache"
    } else {
        "all dangling build cache"
    };
    asking::confirm(
        context,
        args.force,
        &format!("This will remove {what}."),
        "builder prune",
    )?;
    let matches = |item: &CacheItem| filters.keeps(item);
    let request = PruneRequest {
        all: args.all,
        until: filters.until,
        matches: Some(&matches),
        max_used: args.max_used_space,
        reserved: args.reserved_space,
        min_free: args.min_free_space,
    };
    let mut out = context.stdout();
    let mut first = true;
    let mut written = Ok(());
    let mut report = |item: &CacheItem| {
        if written.is_ok() {
            written = match args.verbose {
                true => buildx_du::print_verbose(&mut out, item),
                false => print_row(&mut out, item, std::mem::take(&mut first)),
            };
        }
    };
    let bytes = prune(context.store()?, &context.images()?, &request, &mut report)?;
    written?;
    writeln!(out, "Total:\t{}", units::human_size_with(bytes, 4))?;
    Ok(ExitCode::SUCCESS)
}

/// Prunes and returns the bytes that came free.
pub(super) fn prune(
    store: &Store,
    images: &Images,
    request: &PruneRequest<'_>,
    report: &mut dyn FnMut(&CacheItem),
) -> Result<u64, CommandError> {
    let bytes = store.prune(&|| images.needs(), request, report)?;
    asking::pruned(store, "builder", bytes);
    Ok(bytes)
}

/// What all items must fulfil.
#[derive(Default)]
pub(super) struct CacheFilter {
    pub(super) until: Option<i64>,
    filters: Vec<Filter>,
}

impl CacheFilter {
    const KEYS: [&str; 9] = [
        "until",
        "id",
        "parents",
        "description",
        "type",
        "inuse",
        "mutable",
        "shared",
        "private",
    ];

    pub(super) fn new(filters: &[Filter]) -> Result<Self, CommandError> {
        let mut all = Self::default();
        for filter in filters {
            match filter.key.as_str() {
                "until" => all.until = Some(filter.until()?),
                key if Self::KEYS.contains(&key) => all.filters.push(filter.clone()),
                _ => return Err(filter.unknown(&Self::KEYS)),
            }
        }
        Ok(all)
    }

    pub(super) fn keeps(&self, item: &CacheItem) -> bool {
        self.filters.iter().all(|filter| match filter.key.as_str() {
            "id" => filter.holds(&item.id),
            "parents" => filter.holds(item.parent.as_deref().unwrap_or_default()),
            "description" => filter.holds(&item.description),
            "type" => filter.holds(item.kind.as_str()),
            "inuse" => filter.holds_bool(item.in_use),
            "mutable" => filter.holds_bool(buildx_du::is_mutable(item)),
            "shared" => filter.holds_bool(item.shared),
            _ => filter.holds_bool(!item.shared),
        })
    }
}
