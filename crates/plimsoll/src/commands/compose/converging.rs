//! What the commands share that change a project: the door to it, its lock, its images, errors.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use plimsoll_compose::{
    ApplyOptions, ComposeError, Converge, Desired, Need, Observed, Plan, PullPolicy, Source,
};
use plimsoll_compose_file::Project;
use plimsoll_container::{Container, ContainerError, Containers, Status};
use plimsoll_progress::Progress;
use plimsoll_store::Lock;

use super::building::{Building, Site};
use super::members::Which;
use super::{Scope, no_such_service, status_outlet, told};
use crate::command_error::{CommandError, Kind, network_hint};
use crate::context::Context;
use crate::env;
use crate::progress::DRY_RUN;

/// Flags about the images of services.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ImageArgs {
    /// Build the images of services that have `build`
    #[arg(long)]
    build: bool,
    /// Build nothing, also what is missing
    #[arg(long, conflicts_with = "build")]
    no_build: bool,
    /// When to ask registries, over what `pull_policy` says: `always`, `missing`, `never` or `build`
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pull: Option<PullPolicy>,
    /// Pull without showing it
    #[arg(long)]
    quiet_pull: bool,
    /// Build without showing the steps
    #[arg(long)]
    pub(crate) quiet_build: bool,
}

impl ImageArgs {
    /// Gets what is not here.
    pub(crate) fn missing(quiet: bool) -> Self {
        Self {
            quiet_build: quiet,
            ..Self::default()
        }
    }

    /// Builds all that can be built.
    pub(crate) fn building(quiet: bool) -> Self {
        Self {
            build: true,
            ..Self::missing(quiet)
        }
    }
}

fn policy(text: &str) -> Result<PullPolicy, String> {
    PullPolicy::parse(text).ok_or_else(|| "expected `always`, `missing`, `never` or `build`".to_owned())
}

/// A project that a command is about to change.
pub(crate) struct Changing<'a> {
    pub(crate) context: &'a Context,
    pub(crate) converge: Converge,
    pub(crate) containers: Containers,
    pub(crate) name: String,
    pub(crate) desired: Option<Arc<Desired>>,
    /// Nobody else changes it meanwhile.
    _lock: Option<Lock>,
}

impl<'a> Changing<'a> {
    /// Takes hold of a project, waiting for whoever changes it now.
    pub(crate) async fn new(
        context: &'a Context,
        name: &str,
        project: Option<&Project>,
        progress: &Progress,
    ) -> Result<Self, CommandError> {
        let desired = project.map(|project| desired(context, project)).transpose()?;
        let containers = crate::commands::containers::new_containers(context)?;
        let parallel = context.compose().parallel();
        let converge = Converge::new(
            context.store()?,
            &containers,
            &context.images()?,
            progress,
            parallel,
        );
        let lock = match context.compose().dry_run {
            true => None,
            false => Some(
                converge
                    .lock(name, |holder| waiting(context, name, holder))
                    .await?,
            ),
        };
        Ok(Self {
            context,
            converge,
            containers,
            name: name.to_owned(),
            desired: desired.map(Arc::new),
            _lock: lock,
        })
    }

    /// For commands that change what is there: the files are read if that has to be.
    pub(crate) async fn of(
        context: &'a Context,
        scope: &Scope,
        progress: &Progress,
    ) -> Result<Self, CommandError> {
        Self::new(context, &scope.name, scope.project.as_ref(), progress).await
    }

    /// What there is.
    pub(crate) fn observe(&self) -> Result<Observed, CommandError> {
        Ok(self.converge.observe(&self.name, self.desired.as_deref())?)
    }

    /// Carries a plan out, or prints it.
    pub(crate) async fn apply(&self, plan: Plan, options: ApplyOptions) -> Result<(), CommandError> {
        for warning in &plan.warnings {
            self.context.warn(warning);
        }
        if self.context.compose().dry_run {
            return self.print(&plan);
        }
        let desired = self.desired.as_ref();
        Ok(self.converge.apply(&self.name, desired, plan, options).await?)
    }

    fn print(&self, plan: &Plan) -> Result<(), CommandError> {
        let mut out = status_outlet().open();
        for step in &plan.steps {
            writeln!(out, "{DRY_RUN}{}", step.action)?;
        }
        for (name, word) in &plan.settled {
            writeln!(out, "{DRY_RUN}Container {name}  {word}")?;
        }
        Ok(())
    }

    /// Pulls and builds what these services need and is not here.
    pub(crate) async fn images(
        &self,
        project: &Project,
        services: &BTreeSet<String>,
        args: &ImageArgs,
        progress: &Progress,
    ) -> Result<(), CommandError> {
        let Some(desired) = self.desired.as_deref() else {
            return Ok(());
        };
        let may = (args.build, !args.no_build);
        let needs = self.converge.needs(desired, services, args.pull, may)?;
        if self.context.compose().dry_run {
            let mut out = status_outlet().open();
            for need in &needs {
                let word = if need.source == Source::Build {
                    "Build"
                } else {
                    "Pull"
                };
                writeln!(out, "{DRY_RUN}Image {}  {word}", need.image)?;
            }
            return Ok(());
        }
        let (to_build, to_pull): (Vec<_>, Vec<_>) =
            needs.into_iter().partition(|need| need.source == Source::Build);
        let mut to_build: Vec<String> = to_build.into_iter().map(|need| need.service).collect();
        to_build.extend(self.pull(desired, to_pull, args).await?);
        if to_build.is_empty() {
            return Ok(());
        }
        let how = Building {
            to_run: true,
            quiet: args.quiet_build,
            ..Building::default()
        };
        let site = Site {
            context: self.context,
            project,
            model: &desired.model,
            how: &how,
        };
        site.build(&to_build, progress).await?;
        Ok(())
    }

    /// Pulls each image once, all at the same time; returns the services that have to be built instead.
    async fn pull(
        &self,
        desired: &Desired,
        mut needs: Vec<Need>,
        args: &ImageArgs,
    ) -> Result<Vec<String>, CommandError> {
        needs.sort_by(|one, other| one.image.cmp(&other.image));
        needs.dedup_by(|one, other| one.image == other.image);
        let converge = match args.quiet_pull {
            true => self.converge.silent(),
            false => self.converge.clone(),
        };
        let mut pulls: FuturesUnordered<_> = needs
            .iter()
            .map(|need| {
                let converge = converge.clone();
                async move { (need, converge.pull(desired, need).await) }
            })
            .collect();
        let mut to_build = Vec::new();
        while let Some((need, pulled)) = pulls.next().await {
            let is_its_own = need.image == desired.image(&need.service);
            let has_build = desired.service(&need.service)?.build.is_some();
            let can_be_built = is_its_own && has_build && !args.no_build;
            match pulled {
                Err(_) if can_be_built => to_build.push(need.service.clone()),
                pulled => pulled?,
            }
        }
        Ok(to_build)
    }
}

/// What a project asks for; says once which of its keys have no effect.
fn desired(context: &Context, project: &Project) -> Result<Desired, CommandError> {
    let args = context.compose();
    let desired = Desired::new(project, args.is_compatible())?;
    Ok(desired.with_environment_files(args.environment_files()?))
}

/// Says which keys of a project have no effect.
pub(crate) fn warn_unused(context: &Context, desired: Option<&Arc<Desired>>) {
    let unused = desired.map(|desired| desired.unused_keys()).unwrap_or_default();
    if !unused.is_empty() {
        let unused: Vec<String> = unused.iter().map(|key| format!("`{key}`")).collect();
        context.warn(format_args!(
            "accepted without effect on this machine: {}",
            unused.join(", ")
        ));
    }
}

/// Does something with every container of these services that is in such a state, all at the same time; returns how
/// many there are.
pub(crate) async fn signalled(
    context: &Context,
    scope: &Scope,
    (services, which, is_meant): (&[String], Which, fn(Status) -> bool),
    (doing, done): (&str, &str),
    progress: &Progress,
    work: impl AsyncFn(&Containers, &Container) -> Result<(), ContainerError>,
) -> Result<usize, CommandError> {
    let containers = crate::commands::containers::containers(context)?;
    let members = scope.members(&containers, services, which)?;
    let mut tasks: FuturesUnordered<_> = members
        .iter()
        .filter(|member| is_meant(member.container.state.status))
        .map(|member| async {
            let container = &member.container;
            let id = told(context, format_args!("Container {}", container.name));
            progress.working(&id, doing);
            if !context.compose().dry_run {
                work(&containers, container).await?;
            }
            progress.ready(&id, done);
            Ok::<_, ContainerError>(())
        })
        .collect();
    let count = tasks.len();
    while let Some(done) = tasks.next().await {
        done?;
    }
    Ok(count)
}

fn waiting(context: &Context, name: &str, holder: Option<u32>) {
    let who = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let _ = writeln!(
        context.stderr(),
        "Waiting for another command{who} that changes project {name}"
    );
}

/// Whether containers of services that are gone are removed, and whether nothing is said of them.
pub(crate) fn orphans(flag: bool) -> (bool, bool) {
    (
        flag || env::says_yes(env::COMPOSE_REMOVE_ORPHANS),
        env::says_yes(env::COMPOSE_IGNORE_ORPHANS),
    )
}

/// `--scale SERVICE=NUMBER`
pub(crate) fn scale(text: &str) -> Result<(String, u32), String> {
    let (name, number) = text.split_once('=').ok_or("expected SERVICE=NUMBER")?;
    let number = number.parse().map_err(|_| "expected SERVICE=NUMBER".to_owned())?;
    Ok((name.to_owned(), number))
}

/// What goes before an error of a container.
fn last_output(container: &str, tail: &[String]) -> String {
    let lines: String = tail.iter().map(|line| format!("  {line}\n")).collect();
    match lines.as_str() {
        "" => String::new(),
        lines => format!("last output of `{container}`:\n{lines}\n"),
    }
}

/// What to do about a container that could not be worked on.
fn hint_of(error: &ContainerError) -> Option<String> {
    match error {
        ContainerError::Network(network) => network_hint(network),
        ContainerError::Ports { .. } => {
            Some("several containers of a service need a range of ports, such as `8000-8002:80`".to_owned())
        }
        ContainerError::FileForgotten(_) => Some("`plimsoll compose up` gives it again".to_owned()),
        ContainerError::Start { message, .. } => crate::commands::containers::device_hint(message),
        _ => None,
    }
}

impl From<ComposeError> for CommandError {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::NoService { name, known } => {
                no_such_service(&name, known.iter().map(String::as_str))
            }
            ComposeError::Dependency {
                ref container,
                ref tail,
                ..
            }
            | ComposeError::Hook {
                ref container,
                ref tail,
                ..
            }
            | ComposeError::Update {
                failed: Some((ref container, ref tail)),
                ..
            } => {
                let preface = last_output(container, tail);
                Self::new(Kind::User, error).preface(preface)
            }
            ComposeError::Containers(error) => error.into(),
            ComposeError::Network(error) => error.into(),
            ComposeError::Image(error) => error.into(),
            ComposeError::Store(error) => error.into(),
            ComposeError::Container { ref source, .. } => {
                let hint = hint_of(source);
                hint.into_iter().fold(Self::new(Kind::User, error), Self::hint)
            }
            ComposeError::NoVolume(ref name) => {
                let hint = format!("make it with `plimsoll volume create {name}`");
                Self::new(Kind::NotFound, error).hint(hint)
            }
            ComposeError::NoNetwork(ref name) => {
                let hint = format!("make it with `plimsoll network create {name}`");
                Self::new(Kind::NotFound, error).hint(hint)
            }
            ComposeError::NoImage { .. } => Self::new(Kind::NotFound, error)
                .hint("`--pull missing` pulls what is not here, `--build` builds it"),
            ComposeError::Model(_) | ComposeError::Interrupted => Self::new(Kind::Internal, error),
            error => Self::new(Kind::User, error),
        }
    }
}
