//! `compose stop`

use std::process::ExitCode;

use plimsoll_compose::{ApplyOptions, Plan};

use super::compose::converging::Changing;
use super::compose::{Scope, display_as};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Stop containers without removing them, dependents before what they depend on
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds a container has to end
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(stop(&args, context)).await
}

async fn stop(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let done = async {
        let changing = Changing::of(context, &scope, display.progress()).await?;
        let plan = Plan::stop(&changing.observe()?, changing.desired.as_deref(), &args.services);
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
