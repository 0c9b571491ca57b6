//! `compose start`

use std::process::ExitCode;
use std::time::Duration;

use plimsoll_compose::{ApplyOptions, Plan};

use super::compose::converging::Changing;
use super::compose::{Scope, display_as};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Start containers that are there and do not run, after those of what they depend on
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Wait until they run, are healthy, or have ended well
    #[arg(long)]
    wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(start(&args, context)).await
}

async fn start(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let done = async {
        let changing = Changing::of(context, &scope, display.progress()).await?;
        let observed = changing.observe()?;
        let is_gone = |name: &&String| observed.of(name).next().is_none();
        if let Some(name) = args.services.iter().find(is_gone) {
            return Err(nothing_to_start(name));
        }
        let desired = changing.desired.clone();
        if desired.is_none() && observed.members.is_empty() {
            let name = &changing.name;
            return Err(CommandError::not_found(format!(
                "no container found for project \"{name}\": not found"
            )));
        }
        let plan = Plan::start(&observed, changing.desired.as_deref(), &args.services);
        let meant =
            |service: &str| args.services.is_empty() || args.services.iter().any(|name| name == service);
        let names = plan.containers(meant);
        changing.apply(plan, ApplyOptions::default()).await?;
        if args.wait && !context.compose().dry_run {
            let containers = names
                .iter()
                .map(|name| Ok(changing.containers.get(name)?))
                .collect::<Result<Vec<_>, CommandError>>()?;
            let timeout = args.wait_timeout.map(Duration::from_secs);
            changing.converge.settle(containers, timeout).await?;
        }
        // Those that are there run now; who asked for all of them is told that there are not.
        let services = desired.iter().flat_map(|desired| &desired.model.services);
        let wanted = services.filter(|(_, service)| args.services.is_empty() && service.replicas() > 0);
        match wanted.map(|(name, _)| name).find(is_gone) {
            Some(name) => Err(nothing_to_start(name)),
            None => Ok(ExitCode::SUCCESS),
        }
    };
    let done = done.await;
    display.finish();
    done
}

fn nothing_to_start(service: &str) -> CommandError {
    let error = CommandError::user(format!("service \"{service}\" has no container to start"));
    error.hint(format!("make it with `plimsoll compose up -d {service}`"))
}
