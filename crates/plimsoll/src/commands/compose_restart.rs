//! `compose restart`

use std::process::ExitCode;

use plimsoll_compose::{ApplyOptions, Plan};

use super::compose::converging::Changing;
use super::compose::{Scope, display_as};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Stop containers and start them again, each after what it depends on
///
/// Those that depend on them with `restart: true` are restarted, too. What has changed in the files since is not heeded:
/// that is `up`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Not those that depend on them
    #[arg(long)]
    no_deps: bool,
    /// Seconds a container has to end
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(restart(&args, context)).await
}

async fn restart(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let done = async {
        let changing = Changing::of(context, &scope, display.progress()).await?;
        let observed = changing.observe()?;
        let plan = Plan::restart(
            &observed,
            changing.desired.as_deref(),
            &args.services,
            !args.no_deps,
        );
        let options = ApplyOptions {
            timeout: args.timeout,
            ..ApplyOptions::default()
        };
        changing.apply(plan, options).await?;
        Ok(ExitCode::SUCCESS)
    };
    let done = done.await;
    display.finish();
    done
}
