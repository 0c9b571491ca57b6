//! `compose rm`

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;

use plimsoll_compose::{Action, ApplyOptions, Plan};

use super::compose::converging::Changing;
use super::compose::{Scope, display_as};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Remove containers that do not run
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop those that run, and remove them, too
    #[arg(short, long)]
    stop: bool,
    /// Remove volumes without a name that only they have
    #[arg(short, long)]
    volumes: bool,
    /// Accepted for Docker's sake: containers of `run` are for `down` to remove
    #[arg(short, long, hide = true)]
    all: bool,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let done = async {
        let changing = Changing::of(context, &scope, display.progress()).await?;
        let plan = Plan::remove(&changing.observe()?, &args.services, args.stop, args.volumes);
        let names: Vec<&str> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Remove { name, .. } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            writeln!(context.stderr(), "No stopped containers")?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(context.stdout(), "Going to remove {}", names.join(", "))?;
        if !args.force && !context.compose().dry_run && !agreed(context)? {
            return Ok(ExitCode::SUCCESS);
        }
        // Not before the question: while it waits for an answer it would hear of no Ctrl-C.
        interruptible(async {
            changing.apply(plan, ApplyOptions::default()).await?;
            Ok(ExitCode::SUCCESS)
        })
        .await
    };
    let done = done.await;
    display.finish();
    done
}

fn agreed(context: &Context) -> Result<bool, CommandError> {
    let mut err = context.stderr();
    write!(err, "Are you sure? [yN] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
