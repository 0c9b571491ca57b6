//! `compose kill`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_compose::{ApplyOptions, DownOptions, Plan};
use plimsoll_container::{Status, parse_signal};

use super::compose::converging::{Changing, orphans, signalled};
use super::compose::members::Which;
use super::compose::{Scope, display_as};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Send a signal to containers that run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The signal
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(kill(&args, context)).await
}

async fn kill(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let signal = parse_signal(&args.signal)?;
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let done = async {
        let words = ("Killing", "Killed");
        let killed = signalled(
            context,
            &scope,
            (&args.services, Which::ALL_RUNNING, |status| {
                status != Status::Restarting
            }),
            words,
            display.progress(),
            async |containers, container| containers.kill(container, signal).await,
        )
        .await?;
        if killed == 0 {
            writeln!(context.stderr(), "no container to kill")?;
        }
        if orphans(args.remove_orphans).0 {
            let changing = Changing::of(context, &scope, display.progress()).await?;
            let mut observed = changing.observe()?;
            let desired = changing.desired.as_deref();
            observed
                .members
                .retain(|member| desired.is_some_and(|desired| desired.service(&member.service).is_err()));
            let services = observed
                .members
                .iter()
                .map(|member| member.service.clone())
                .collect();
            let options = DownOptions {
                services,
                ..DownOptions::default()
            };
            let plan = Plan::down(&scope.name, None, &observed, &options);
            changing.apply(plan, ApplyOptions::default()).await?;
        }
        Ok(ExitCode::SUCCESS)
    };
    let done = done.await;
    display.finish();
    done
}
