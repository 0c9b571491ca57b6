//! `compose down`

use std::process::ExitCode;

use plimsoll_compose::{ApplyOptions, DownOptions, Images, Plan};

use super::compose::converging::{Changing, orphans};
use super::compose::{Scope, display_as};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Stop and remove the containers of a project, and its networks
///
/// Dependents stop before what they depend on. Volumes stay unless `--volumes` is given; those that the files call
/// external always do. With a project's name and no file, its labels say what belongs to it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    /// Remove images: `all`, or `local` for those that have no name in the files
    #[arg(long, value_name = "WHICH", value_parser = images)]
    rmi: Option<Images>,
    /// Seconds a container has to end
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Remove volumes with what is in them, also those without a name
    #[arg(short, long)]
    volumes: bool,
    /// Only these services, and no networks
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

fn images(text: &str) -> Result<Images, String> {
    match text {
        "all" => Ok(Images::All),
        "local" => Ok(Images::Local),
        _ => Err("expected `all` or `local`".to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(down(&args, context)).await
}

async fn down(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let done = take_down(args, context, &scope, display.progress()).await;
    display.finish();
    done
}

async fn take_down(
    args: &Args,
    context: &Context,
    scope: &Scope,
    progress: &plimsoll_progress::Progress,
) -> Result<ExitCode, CommandError> {
    let changing = Changing::of(context, scope, progress).await?;
    let options = DownOptions {
        services: args.services.clone(),
        remove_orphans: orphans(args.remove_orphans).0,
        volumes: args.volumes,
        images: args.rmi,
    };
    let observed = changing.observe()?;
    let plan = Plan::down(&scope.name, changing.desired.as_deref(), &observed, &options);
    if plan.is_empty() {
        context.warn(format_args!(
            "No resource found to remove for project \"{}\".",
            scope.name
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let options = ApplyOptions {
        timeout: args.timeout,
        ..ApplyOptions::default()
    };
    changing.apply(plan, options).await?;
    Ok(ExitCode::SUCCESS)
}
