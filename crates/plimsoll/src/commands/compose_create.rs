//! `compose create`

use std::process::ExitCode;

use plimsoll_compose::{ApplyOptions, Plan, UpOptions};

use super::compose::converging::{Changing, ImageArgs, orphans, scale, warn_unused};
use super::compose::{display_as, project};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;

/// Make the containers of a project without starting them
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    images: ImageArgs,
    /// Replace all containers, also those that are as they should be
    #[arg(long)]
    force_recreate: bool,
    /// Replace no containers, whatever has changed
    #[arg(long, conflicts_with = "force_recreate")]
    no_recreate: bool,
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    /// How many containers a service has, over what the files say
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = scale)]
    scale: Vec<(String, u32)>,
    /// Make volumes anew whose definition has changed: what is in them is lost
    #[arg(short, long)]
    yes: bool,
    /// Services, with what they depend on [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(create(&args, context)).await
}

async fn create(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let project = project(context, |options| options.named.clone_from(&args.services))?;
    let display = display_as(context, "Running", None)?;
    let done = async {
        let progress = display.progress();
        let changing = Changing::new(context, &project.name, Some(&project), progress).await?;
        warn_unused(context, changing.desired.as_ref());
        let desired = changing.desired.clone().expect("its files were read");
        let services = desired.selected(&args.services, true)?;
        changing
            .images(&project, &services, &args.images, progress)
            .await?;
        let (remove_orphans, ignore_orphans) = orphans(args.remove_orphans);
        let options = UpOptions {
            services: args.services.clone(),
            force_recreate: args.force_recreate,
            no_recreate: args.no_recreate,
            renew_volumes: args.yes,
            remove_orphans,
            ignore_orphans,
            no_start: true,
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
