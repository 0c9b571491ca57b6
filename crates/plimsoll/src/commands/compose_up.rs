//! `compose up`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_compose::{ApplyOptions, Desired, Plan, UpOptions};
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::Condition;
use plimsoll_container::ContainerError;
use tokio::sync::mpsc::unbounded_channel;

use super::compose::attached::{Attached, Ending, shown_by_default};
use super::compose::audience::Audience;
use super::compose::converging::{Changing, ImageArgs, orphans, scale, warn_unused};
use super::compose::elsewhere::Elsewhere;
use super::compose::printer::{Form, Printer};
use super::compose::{colors_output, display_as, model, project};
use super::compose_build::chosen;
use super::compose_watch::Watching;
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::gate::GateArgs;
use crate::progress::Display;

/// Make the services of a project run as its files say
///
/// What is as it should be stays as it is. A container whose service has changed is replaced, and it is said why. A
/// service starts when what it depends on has started, is healthy, or has ended well, as `depends_on` says; if that
/// fails, so does this, at once, naming the container, its exit code and its last lines.
///
/// Without `--detach` the output of the containers is shown; Ctrl-C stops them, a second one kills them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run in the background
    #[arg(short, long, conflicts_with_all = ["attach", "attach_dependencies"])]
    detach: bool,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    gate: GateArgs,
    /// Wait until all services run, are healthy, or have ended well; runs in the background
    #[arg(
        long,
        conflicts_with_all = [
            "attach", "attach_dependencies", "abort_on_container_exit", "abort_on_container_failure", "exit_code_from",
        ],
    )]
    wait: bool,
    /// Seconds to wait at most
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// How many containers a service has, over what the files say
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = scale)]
    scale: Vec<(String, u32)>,
    /// Replace all containers, also those that are as they should be
    #[arg(long)]
    force_recreate: bool,
    /// Replace no containers, whatever has changed
    #[arg(long, conflicts_with_all = ["force_recreate", "renew_anon_volumes", "always_recreate_deps"])]
    no_recreate: bool,
    /// Replace the containers of what the named services depend on, too
    #[arg(long)]
    always_recreate_deps: bool,
    /// Give containers that are replaced new volumes where those have no name
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    /// Not what the named services depend on
    #[arg(long)]
    no_deps: bool,
    /// Start nothing
    #[arg(long, conflicts_with = "wait")]
    no_start: bool,
    /// Seconds a container has to end when it is replaced or stopped
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Stop all as soon as one container has ended; the exit code is that one's
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,
    /// Stop all as soon as one container has failed; the exit code is that one's
    #[arg(long, conflicts_with_all = ["detach", "abort_on_container_exit"])]
    abort_on_container_failure: bool,
    /// Stop all as soon as this service has ended, or another failed; the exit code is this service's
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Show only the output of this service; may be given several times
    #[arg(long, value_name = "SERVICE", conflicts_with = "attach_dependencies")]
    attach: Vec<String>,
    /// Do not show the output of this service; may be given several times
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Show the output of what the named services depend on, too
    #[arg(long)]
    attach_dependencies: bool,
    /// Begin each line with its time
    #[arg(long)]
    timestamps: bool,
    /// Without the names of the containers
    #[arg(long)]
    no_log_prefix: bool,
    /// Without colour
    #[arg(long)]
    no_color: bool,
    /// Keep containers up to date with the files they were built from, as `compose watch` does
    #[arg(short, long, conflicts_with_all = ["detach", "wait", "no_build"])]
    watch: bool,
    /// Accepted for Docker's sake: there is no menu
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    menu: Option<bool>,
    /// Make volumes anew whose definition has changed: what is in them is lost
    #[arg(short, long)]
    yes: bool,
    /// Services, with what they depend on [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let project = project(context, |options| options.named.clone_from(&args.services))?;
    if args.detach || args.wait || args.no_start || context.compose().dry_run {
        return interruptible(in_background(&args, context, &project)).await;
    }
    attached(&args, context, &project).await
}

impl Args {
    fn options(&self) -> UpOptions {
        let (remove_orphans, ignore_orphans) = orphans(self.remove_orphans);
        UpOptions {
            services: self.services.clone(),
            no_deps: self.no_deps,
            // New volumes need new containers.
            force_recreate: self.force_recreate || self.renew_anon_volumes,
            no_recreate: self.no_recreate,
            renew_volumes: self.yes,
            always_recreate_deps: self.always_recreate_deps,
            remove_orphans,
            ignore_orphans,
            no_start: self.no_start,
            scale: self.scale.iter().cloned().collect::<BTreeMap<_, _>>(),
        }
    }

    fn apply_options(&self) -> ApplyOptions {
        ApplyOptions {
            timeout: self.timeout,
            renew_anonymous_volumes: self.renew_anon_volumes,
            ..ApplyOptions::default()
        }
    }

    /// Services whose output is shown.
    fn shown(&self, desired: &Arc<Desired>) -> BTreeSet<String> {
        let mut shown = shown_by_default(desired);
        if !self.attach.is_empty() {
            shown = self.attach.iter().cloned().collect();
        } else if !self.services.is_empty() && !self.attach_dependencies {
            shown.retain(|name| self.services.contains(name));
        }
        shown.retain(|name| !self.no_attach.contains(name));
        shown
    }
}

/// Takes hold of the project, gets its images, and plans.
async fn prepare<'a>(
    args: &Args,
    context: &'a Context,
    project: &Project,
    display: &Display,
) -> Result<(Changing<'a>, Plan), CommandError> {
    let progress = display.progress();
    let gate = args.gate.open(context)?;
    let changing = Changing::new(context, &project.name, Some(project), progress).await?;
    warn_unused(context, changing.desired.as_ref());
    let desired = changing.desired.clone().expect("its files were read");
    let services = desired.selected(&args.services, !args.no_deps)?;
    changing
        .images(project, &services, &args.images, progress)
        .await?;
    if let Some(gate) = gate {
        gate.judge_project(project, &desired, &services)?;
    }
    let plan = Plan::up(&desired, &changing.observe()?, &args.options())?;
    Ok((changing, plan))
}

async fn in_background(args: &Args, context: &Context, project: &Project) -> Result<ExitCode, CommandError> {
    let display = display_as(context, "Running", None)?;
    let done = async {
        let (changing, plan) = prepare(args, context, project, &display).await?;
        let names = plan.containers(|_| true);
        changing.apply(plan, args.apply_options()).await?;
        if args.wait && !context.compose().dry_run {
            // One may be gone that an update took back.
            let there = |name: &String| match changing.containers.get(name) {
                Err(ContainerError::NotFound { .. }) => None,
                found => Some(found),
            };
            let containers = names.iter().filter_map(there).collect::<Result<Vec<_>, _>>()?;
            let timeout = args.wait_timeout.map(Duration::from_secs);
            changing.converge.settle(containers, timeout).await?;
        }
        Ok(ExitCode::SUCCESS)
    };
    let done = done.await;
    display.finish();
    done
}

async fn attached(args: &Args, context: &Context, project: &Project) -> Result<ExitCode, CommandError> {
    let mut interrupts = super::interrupts()?;
    // What is wrong with it is said before anything is made.
    let model = args.watch.then(|| model(project)).transpose()?;
    let mut watching = model
        .as_ref()
        .map(|model| {
            let services = chosen(model, &args.services, !args.no_deps)?;
            Watching::of(context, project, model, &services)
        })
        .transpose()?;
    let display = display_as(context, "Running", None)?;
    let prepared = tokio::select! {
        prepared = prepare(args, context, project, &display) => prepared,
        _ = interrupts.recv() => return Ok(ExitCode::from(super::INTERRUPTED)),
    };
    let (changing, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            display.finish();
            return Err(error);
        }
    };
    let desired = changing.desired.clone().expect("its files were read");
    for service in args.attach.iter().chain(&args.exit_code_from) {
        desired.service(service)?;
    }
    let (sender, mut receiver) = unbounded_channel();
    let (relay, started) = unbounded_channel();
    let audience = Audience::new(relay.clone());
    let options = ApplyOptions {
        started: Some(sender),
        ..args.apply_options()
    };
    let shown = args.shown(&desired);
    let names = attached_names(&project.name, &plan.containers(|service| shown.contains(service)));
    let (printer, writing) = Printer::start(Form {
        prefix: !args.no_log_prefix,
        color: !args.no_color && colors_output(context),
        timestamps: args.timestamps,
        splits: true,
    });
    printer.expect(names.iter().map(String::as_str));
    if let Some(watching) = &mut watching {
        watching.quiet = args.images.quiet_build;
        watching.stage = Some((printer.clone(), audience.clone()));
    }
    let attached = Attached {
        context,
        containers: changing.containers.clone(),
        project: project.name.clone(),
        audience: audience.clone(),
        elsewhere: Elsewhere::new(context, &changing.containers, &changing.converge, &project.name)?,
        watches: args.watch,
        shown,
        services: match args.services.is_empty() {
            true => desired.model.services.keys().cloned().collect(),
            false => args
                .services
                .iter()
                .chain(&args.exit_code_from)
                .cloned()
                .collect(),
        },
        ending: Ending {
            on_exit: args.abort_on_container_exit,
            on_failure: args.abort_on_container_failure,
            code_from: args.exit_code_from.clone(),
            helpers: helpers(&desired),
        },
        timeout: args.timeout,
    };
    let converge = changing.converge.clone();
    // The tree of what is made gives way to what the first container writes.
    let starting = async move {
        let mut display = Some(display);
        let attach = |display: Display| {
            display.finish();
            if !names.is_empty() {
                let _ = writeln!(context.stdout(), "Attaching to {}", names.join(", "));
            }
        };
        let applied = async {
            let applied = changing.apply(plan, options).await;
            // Whoever is next may have the project now.
            drop(changing);
            applied
        };
        let mut applied = std::pin::pin!(applied);
        loop {
            tokio::select! {
                applied = &mut applied => {
                    while let Ok(container) = receiver.try_recv() {
                        display.take().into_iter().for_each(attach);
                        let _ = relay.send(container);
                    }
                    display.take().into_iter().for_each(Display::finish);
                    return applied;
                }
                Some(container) = receiver.recv() => {
                    display.take().into_iter().for_each(attach);
                    let _ = relay.send(container);
                }
            }
        }
    };
    let working = async move {
        starting.await?;
        audience.settle(true);
        match watching {
            Some(watching) => watching.run().await,
            None => Ok(()),
        }
    };
    let ended = attached
        .run(working, started, (printer, writing), interrupts)
        .await?;
    attached.exit_code(ended, &converge)
}

/// Names without that of the project.
fn attached_names(project: &str, names: &[String]) -> Vec<String> {
    let short = |name: &String| {
        let rest = name.strip_prefix(project).unwrap_or(name);
        rest.trim_start_matches(['-', '_']).to_owned()
    };
    names.iter().map(short).collect()
}

/// Services that others wait for to end well.
fn helpers(desired: &Desired) -> BTreeSet<String> {
    let services = desired.model.services.values();
    let waits = services.flat_map(|service| &service.depends_on);
    let ends = waits.filter(|(_, need)| need.condition == Condition::ServiceCompletedSuccessfully);
    ends.map(|(name, _)| name.clone()).collect()
}
