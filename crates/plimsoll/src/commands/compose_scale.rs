//! `compose scale`

use std::process::ExitCode;

use plimsoll_compose::{ApplyOptions, Plan, UpOptions};

use super::compose::converging::{Changing, ImageArgs, scale};
use super::compose::{display_as, project};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Set how many containers services have
///
/// Containers that are there stay as they are, also where their service has changed since.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Not what the services depend on
    #[arg(long)]
    no_deps: bool,
    /// How many containers a service is to have
    #[arg(value_name = "SERVICE=NUMBER", value_parser = scale, required = true)]
    scale: Vec<(String, u32)>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(set(&args, context)).await
}

async fn set(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let names: Vec<String> = args.scale.iter().map(|(name, _)| name.clone()).collect();
    let project = project(context, |options| options.named.clone_from(&names))?;
    let display = display_as(context, "Running", None)?;
    let done = async {
        let progress = display.progress();
        let changing = Changing::new(context, &project.name, Some(&project), progress).await?;
        let desired = changing.desired.clone().expect("its files were read");
        let services = desired.selected(&names, !args.no_deps)?;
        changing
            .images(&project, &services, &ImageArgs::default(), progress)
            .await?;
        let options = UpOptions {
            services: names,
            no_deps: args.no_deps,
            no_recreate: true,
            ignore_orphans: true,
            scale: args.scale.iter().cloned().collect(),
            ..UpOptions::default()
        };
        let plan = Plan::up(&desired, &changing.observe()?, &options)?;
        changing.apply(plan, ApplyOptions::default()).await?;
        Ok(ExitCode::SUCCESS)
    };
    let done = done.await;
    display.finish();
    done
}
