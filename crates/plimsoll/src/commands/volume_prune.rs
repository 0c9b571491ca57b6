//! `volume prune`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::Volume;

use super::asking::{self, Filter};
use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::units;

/// Remove volumes that no container has
///
/// Those that were made without a name; with `--all` the others, too.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove those with a name, too
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only what fits: `label=KEY[=VALUE]`, `label!=`, `all=true` (as `--all`)
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let known = ["label", "all"];
    if let Some(filter) = args
        .filters
        .iter()
        .find(|filter| !known.contains(&filter.key.as_str()))
    {
        return Err(filter.unknown(&known));
    }
    let (labels, all): (Vec<&Filter>, Vec<_>) = args.filters.iter().partition(|filter| filter.key == "label");
    let all = args.all || all.iter().any(|filter| filter.holds_bool(true));
    let what = if all {
        "all volumes"
    } else {
        "anonymous local volumes"
    };
    let warning = format!("This will remove {what} not used by at least one container.");
    asking::confirm(context, args.force, &warning, "volume prune")?;
    let bytes = prune(context, |volume| {
        (all || volume.anonymous)
            && labels
                .iter()
                .all(|label| label.holds_among(&volume.options.labels))
    })?;
    writeln!(
        context.stdout(),
        "Total reclaimed space: {}",
        units::human_size_with(bytes, 4)
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Removes the unused volumes that are `wanted`, prints their names, and returns the bytes that came free.
pub(super) fn prune(context: &Context, wanted: impl Fn(&Volume) -> bool) -> Result<u64, CommandError> {
    let containers = containers(context)?;
    let mut meter = plimsoll_store::Meter::default();
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for volume in containers.volumes()? {
        if volume.links > 0 || !wanted(&volume) {
            continue;
        }
        let size = meter.measure(&volume.mountpoint)?;
        if containers.remove_unused_volume(&volume)? {
            bytes += size;
            removed.push(volume.name);
        }
    }
    asking::pruned(context.store()?, "volume", bytes);
    super::system_prune::print_list(context, "Deleted Volumes:", &removed)?;
    Ok(bytes)
}
