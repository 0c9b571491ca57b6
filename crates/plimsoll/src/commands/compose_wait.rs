//! `compose wait`

use std::io::Write as _;
use std::process::ExitCode;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use plimsoll_compose::{ApplyOptions, DownOptions, Plan};

use super::compose::converging::Changing;
use super::compose::members::Which;
use super::compose::{Scope, display_as};
use super::containers::{containers, exit_byte};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Wait until the first container of these services has ended; its exit code becomes this command's
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Take the whole project down then
    #[arg(long)]
    down_project: bool,
    /// Services
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(wait(&args, context)).await
}

async fn wait(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let containers = containers(context)?;
    let members = scope.members(&containers, &args.services, Which::SERVICES)?;
    if members.is_empty() {
        let names = args.services.join(", ");
        return Err(CommandError::user(format!(
            "no containers for project \"{}\" and services {names}",
            scope.name
        )));
    }
    let mut waits: FuturesUnordered<_> = members
        .iter()
        .map(|member| {
            let containers = &containers;
            async move {
                let ended = containers
                    .until(&member.container, |state| !state.status.is_alive())
                    .await;
                (member, ended)
            }
        })
        .collect();
    let (member, ended) = waits.next().await.expect("there is one at least");
    let code = ended?.exit_code;
    drop(waits);
    writeln!(
        context.stdout(),
        "container \"{}\" exited with status code {code}",
        member.container.name
    )?;
    if args.down_project {
        let display = display_as(context, "Running", None)?;
        let changing = Changing::of(context, &scope, display.progress()).await?;
        let observed = changing.observe()?;
        let desired = changing.desired.as_deref();
        let plan = Plan::down(&scope.name, desired, &observed, &DownOptions::default());
        let done = changing.apply(plan, ApplyOptions::default()).await;
        display.finish();
        done?;
    }
    Ok(ExitCode::from(exit_byte(code)))
}
