//! `buildx du`

use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_store::{CacheItem, CacheKind};

use super::asking::Filter;
use super::builder_prune::CacheFilter;
use super::images::created_at;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::units;

/// Show what the build cache takes of the disk
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show only what fits, as `builder prune --filter`
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
    /// Print everything about each item
    #[arg(long)]
    verbose: bool,
    /// Accepted for Docker's sake: there is one builder
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let filter = CacheFilter::new(&args.filters)?;
    let images = context.images()?;
    let mut items = context.store()?.cache(&|| images.needs())?;
    items.retain(|item| filter.keeps(item) && filter.until.is_none_or(|until| item.last_used < until));
    items.sort_by_key(|item| std::cmp::Reverse(item.last_used));
    let mut out = context.stdout();
    for (at, item) in items.iter().enumerate() {
        match args.verbose {
            true => print_verbose(&mut out, item)?,
            false => print_row(&mut out, item, at == 0)?,
        }
    }
    let sum = |which: &dyn Fn(&&CacheItem) -> bool| {
        units::human_size_with(items.iter().filter(which).map(|item| item.size).sum(), 4)
    };
    if items.iter().any(|item| item.shared) {
        writeln!(out, "Shared:\t\t{}", sum(&|item| item.shared))?;
        writeln!(out, "Private:\t{}", sum(&|item| !item.shared))?;
    }
    writeln!(out, "Reclaimable:\t{}", sum(&|item| !item.in_use && !item.shared))?;
    writeln!(out, "Total:\t\t{}", sum(&|_| true))?;
    Ok(ExitCode::SUCCESS)
}

/// A row as buildx prints it: an id of a folder that is written to ends in `*`, as does the size of what an image has too.
pub(super) fn print_row(out: &mut dyn Write, item: &CacheItem, first: bool) -> Result<(), CommandError> {
    if first {
        writeln!(out, "ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED")?;
    }
    let mark = |text: String, marked: bool| if marked { text + "*" } else { text };
    let id = mark(item.id.clone(), is_mutable(item));
    let size = mark(units::human_size_with(item.size, 4), item.shared);
    let used = units::ago(time(item.last_used));
    Ok(writeln!(
        out,
        "{id:<40}\t{:<5}\t\t{size:<10}\t{used}",
        !item.in_use
    )?)
}

pub(super) fn print_verbose(out: &mut dyn Write, item: &CacheItem) -> Result<(), CommandError> {
    writeln!(out, "ID:\t\t{}", item.id)?;
    if let Some(parent) = &item.parent {
        writeln!(out, "Parent:\t\t{parent}")?;
    }
    writeln!(out, "Created at:\t{}", created_at(time(item.created)))?;
    writeln!(out, "Mutable:\t{}", is_mutable(item))?;
    writeln!(out, "Reclaimable:\t{}", !item.in_use)?;
    writeln!(out, "Shared:\t\t{}", item.shared)?;
    writeln!(out, "Size:\t\t{}", units::human_size_with(item.size, 4))?;
    if !item.description.is_empty() {
        writeln!(out, "Description:\t{}", item.description)?;
    }
    writeln!(out, "Last used:\t{}", units::ago(time(item.last_used)))?;
    Ok(writeln!(out, "Type:\t\t{}\n", item.kind.as_str())?)
}

/// Whether builds write to it again.
pub(super) fn is_mutable(item: &CacheItem) -> bool {
    !matches!(item.kind, CacheKind::Step(_))
}

/// A time of the database.
pub(super) fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default()
}
