//! `container prune`

use std::io::Write as _;
use std::process::ExitCode;

use super::asking::{self, Filter};
use super::buildx_du::time;
use super::containers::containers;
use super::system_prune::print_list;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::units;

/// Remove all stopped containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only what fits: `until=24h` (made before), `label=KEY[=VALUE]`, `label!=`
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    const KNOWN: &[&str] = &["until", "label"];
    if let Some(filter) = args
        .filters
        .iter()
        .find(|filter| !KNOWN.contains(&filter.key.as_str()))
    {
        return Err(filter.unknown(KNOWN));
    }
    let warning = "This will remove all stopped containers.";
    asking::confirm(context, args.force, warning, "container prune")?;
    let bytes = prune(context, &args.filters)?;
    let size = units::human_size_with(bytes, 4);
    writeln!(context.stdout(), "Total reclaimed space: {size}")?;
    Ok(ExitCode::SUCCESS)
}

/// Removes stopped containers, prints their ids, and returns the bytes that came free.
pub(super) fn prune(context: &Context, filters: &[Filter]) -> Result<u64, CommandError> {
    let until = filters.iter().find(|filter| filter.key == "until");
    let until = until.map(Filter::until).transpose()?;
    let labels: Vec<_> = filters.iter().filter(|filter| filter.key == "label").collect();
    let containers = containers(context)?;
    let mut removed = Vec::new();
    let mut meter = plimsoll_store::Meter::default();
    let mut bytes = 0;
    for container in containers.list()? {
        let known = &container.definition.labels;
        let wanted = until.is_none_or(|until| container.definition.created < time(until))
            && labels.iter().all(|label| label.holds_among(known));
        // One that will be started again for its policy's sake is not stopped.
        if container.is_running() || container.state.restart_due || !wanted {
            continue;
        }
        let (upper, _) = context
            .store()?
            .snapshots()
            .directories(container.definition.snapshot)?;
        if let Some(upper) = camino::Utf8Path::from_path(&upper) {
            bytes += meter.measure(upper)?;
        }
        containers.remove(&container, false)?;
        removed.push(container.id().to_owned());
    }
    asking::pruned(context.store()?, "container", bytes);
    print_list(context, "Deleted Containers:", &removed)?;
    Ok(bytes)
}
