//! `compose watch`

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use plimsoll_compose::{Action, ApplyOptions, Observed, Plan, Stopped, UpOptions, hook_process};
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::{Hook, Model, WatchAction};
use plimsoll_container::{Container, Containers};
use plimsoll_progress::Progress;
use tokio::sync::mpsc::unbounded_channel;

use super::compose::audience::{Audience, Leaving};
use super::compose::building::{Building, Site};
use super::compose::converging::{Changing, ImageArgs};
use super::compose::members::Which;
use super::compose::printer::Printer;
use super::compose::rules::Rule;
use super::compose::watcher::Watcher;
use super::compose::{Scope, display_as, display_lines, model, project, told};
use super::compose_build::chosen;
use super::containers::containers;
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Keep containers up to date with the files they were built from
///
/// As `develop.watch` of the services says: changed files are copied into running containers, or their images are built
/// again. Starts what does not run first. Ends with Ctrl-C; the containers go on.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Start nothing: the services run already
    #[arg(long)]
    no_up: bool,
    /// Remove images that were replaced
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    prune: bool,
    /// Do not show the steps of builds
    #[arg(long)]
    quiet: bool,
    /// Services [default: all that have `develop.watch`]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(watch(args, context)).await
}

async fn watch(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let project = project(context, |options| options.named.clone_from(&args.services))?;
    let model = model(&project)?;
    let services = chosen(&model, &args.services, false)?;
    let mut watching = Watching::of(context, &project, &model, &services)?;
    (watching.prune, watching.quiet) = (args.prune, args.quiet);
    if !args.no_up {
        watching.up(&args.services).await?;
    }
    watching.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// A project whose files are watched.
pub(super) struct Watching<'a> {
    context: &'a Context,
    containers: Containers,
    project: &'a Project,
    model: &'a Model,
    rules: Arc<Vec<Rule>>,
    /// Remove images that were replaced.
    prune: bool,
    /// Do not show the steps of builds.
    pub(super) quiet: bool,
    /// Of an `up` that shows the output of the same containers.
    pub(super) stage: Option<(Printer, Audience)>,
}

/// What has to be done for a service.
#[derive(Default)]
struct Work<'a> {
    rebuild: bool,
    restart: bool,
    /// Files of the host, and where they go, which may be several places; those that are gone, too.
    files: BTreeSet<(PathBuf, PathBuf)>,
    exec: Vec<&'a Hook>,
}

impl<'a> Watching<'a> {
    /// Of these services; an error if none of them has anything to watch.
    pub(super) fn of(
        context: &'a Context,
        project: &'a Project,
        model: &'a Model,
        services: &[String],
    ) -> Result<Self, CommandError> {
        let mut rules = Rule::of(model, services)?;
        rules.retain(|rule| {
            !rule.is_mounted || {
                context.warn(format_args!(
                    "path `{}` is mounted into service `{}` as well: it is not watched",
                    rule.root.display(),
                    rule.service
                ));
                false
            }
        });
        if rules.is_empty() {
            return Err(
                CommandError::user("none of the selected services is configured for watch").hint(
                    "give a service `develop: {watch: [{action: sync, path: ./src, target: /app/src}]}`",
                ),
            );
        }
        for missing in rules.iter().filter(|rule| !rule.root.exists()) {
            context.warn(format_args!(
                "`{}` is not there: service `{}` gets its files when it comes",
                missing.root.display(),
                missing.service
            ));
        }
        Ok(Self {
            context,
            containers: containers(context)?,
            project,
            model,
            rules: Arc::new(rules),
            prune: false,
            quiet: false,
            stage: None,
        })
    }
}

impl Watching<'_> {
    /// Does what changes ask for; ends only if files cannot be watched.
    pub(super) async fn run(&self) -> Result<(), CommandError> {
        let wrong = |error| CommandError::internal("cannot watch the files", error);
        let roots: Vec<PathBuf> = self.rules.iter().map(|rule| rule.root.clone()).collect();
        let rules = Arc::clone(&self.rules);
        let skip = move |path: &Path| {
            rules.iter().all(|rule| {
                rule.is_elsewhere(path) || (path.starts_with(&rule.root) && rule.leaves_out(path))
            })
        };
        let mut watcher = Watcher::new(&roots, Box::new(skip)).map_err(wrong)?;
        self.first_sync().await?;
        self.say("Watch enabled").await;
        loop {
            let changed = watcher.changes().await.map_err(wrong)?;
            let (to_build, others): (Vec<_>, Vec<_>) = self
                .work(&changed)
                .into_iter()
                .partition(|(_, work)| work.rebuild);
            let to_build: Vec<String> = to_build.into_iter().map(|(name, _)| name.to_owned()).collect();
            self.settle(false);
            for (service, work) in others {
                self.tried(self.perform(service, work).await);
            }
            if !to_build.is_empty() {
                self.tried(self.rebuild(&to_build).await);
            }
            self.settle(true);
        }
    }

    /// What cannot be done now may be mended by the next change.
    fn tried(&self, done: Result<(), CommandError>) {
        if let Err(error) = done {
            let _ = self.context.report(&error);
        }
    }

    async fn say(&self, text: &str) {
        match &self.stage {
            Some((printer, _)) => printer.announce(text).await,
            None => drop(writeln!(self.context.stdout(), "{text}")),
        }
    }

    /// Says whether all containers are there that should be.
    fn settle(&self, is_settled: bool) {
        if let Some((_, audience)) = &self.stage {
            audience.settle(is_settled);
        }
    }

    /// What changes come to, by service.
    fn work(&self, changed: &BTreeSet<PathBuf>) -> BTreeMap<&str, Work<'_>> {
        let mut all: BTreeMap<&str, Work<'_>> = BTreeMap::new();
        for rule in self.rules.iter() {
            for path in changed.iter().filter(|path| rule.applies(path)) {
                let work = all.entry(&rule.service).or_default();
                match rule.action {
                    WatchAction::Rebuild => work.rebuild = true,
                    WatchAction::Restart => work.restart = true,
                    WatchAction::Sync => {}
                    WatchAction::SyncRestart => work.restart = true,
                    WatchAction::SyncExec => {
                        let known =
                            |hook: &&Hook| rule.exec.as_ref().is_some_and(|own| std::ptr::eq(*hook, own));
                        if !work.exec.iter().any(known) {
                            work.exec.extend(rule.exec.as_ref());
                        }
                    }
                }
                let copies = !matches!(rule.action, WatchAction::Rebuild | WatchAction::Restart);
                if let Some(destination) = rule.destination(path).filter(|_| copies) {
                    work.files.insert((path.clone(), destination));
                }
            }
        }
        all
    }

    async fn perform(&self, service: &str, work: Work<'_>) -> Result<(), CommandError> {
        let members = self.running(service)?;
        if !work.files.is_empty() {
            let count = work.files.len();
            let said = format!("Syncing service \"{service}\" after {count} changes were detected");
            self.say(&told(self.context, said)).await;
            for container in &members {
                self.sync(container, &work.files).await?;
            }
        }
        for hook in &work.exec {
            for container in &members {
                self.execute(container, hook).await?;
            }
        }
        if work.restart {
            self.restart(service).await?;
            self.say(&format!("service(s) [\"{service}\"] restarted")).await;
        }
        Ok(())
    }

    /// Also what has crashed, and those who want to be restarted with it.
    async fn restart(&self, service: &str) -> Result<(), CommandError> {
        let name = &self.project.name;
        let changing = Changing::new(self.context, name, Some(self.project), &Progress::none()).await?;
        let desired = changing.desired.as_deref();
        let plan = Plan::restart(&changing.observe()?, desired, &[service.to_owned()], true);
        self.apply(&changing, plan).await
    }

    /// Carries a plan out; whoever shows the output of containers hears which are ended and which started.
    async fn apply(&self, changing: &Changing<'_>, plan: Plan) -> Result<(), CommandError> {
        let Some((_, audience)) = &self.stage else {
            return changing.apply(plan, ApplyOptions::default()).await;
        };
        for (id, leaving) in ended_by(&plan, &changing.observe()?) {
            audience.leave(id, leaving);
        }
        let (sender, mut stopped) = unbounded_channel::<Stopped>();
        let options = ApplyOptions {
            started: Some(audience.started()),
            stopped: Some(sender),
            ..ApplyOptions::default()
        };
        let seeing_off = async {
            while let Some(stopped) = stopped.recv().await {
                audience.seen_off(stopped.container.id()).await;
            }
        };
        let (applied, ()) = tokio::join!(changing.apply(plan, options), seeing_off);
        audience.stay();
        applied
    }

    fn running(&self, service: &str) -> Result<Vec<Container>, CommandError> {
        let scope = Scope {
            name: self.project.name.clone(),
            project: None,
        };
        let members = scope.members(&self.containers, &[service.to_owned()], Which::RUNNING)?;
        Ok(members.into_iter().map(|member| member.container).collect())
    }

    /// Copies what is there, and removes what is not.
    async fn sync(
        &self,
        container: &Container,
        files: &BTreeSet<(PathBuf, PathBuf)>,
    ) -> Result<(), CommandError> {
        if self.context.compose().dry_run {
            return Ok(());
        }
        let (there, gone): (Vec<_>, Vec<_>) = files
            .iter()
            .partition(|(path, _)| path.symlink_metadata().is_ok());
        if !gone.is_empty() {
            let paths = gone.iter().map(|(_, path)| path.to_string_lossy().into_owned());
            let command = ["rm", "-rf", "--"].map(str::to_owned).into_iter().chain(paths);
            let hook = Hook {
                command: command.collect(),
                user: Some("0".to_owned()),
                ..Hook::default()
            };
            self.execute(container, &hook).await?;
        }
        // Or what others may not read its program could not.
        let owner = self.containers.user_ids(container)?;
        let unread = |error: io::Error| CommandError::user(format!("cannot read what changed: {error}"));
        let (reader, writer) = io::pipe().map_err(unread)?;
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| archive(&there, owner, writer));
            let unpacked = self.containers.unpack(container, reader, Path::new("/"));
            let written = writing.join().expect("it does not panic");
            // Where nobody has taken it all, that is why.
            unpacked?;
            written.map_err(unread)
        })
    }

    /// Copies all files of the rules that want it.
    async fn first_sync(&self) -> Result<(), CommandError> {
        for rule in self.rules.iter().filter(|rule| rule.initial_sync) {
            let mut found = Vec::new();
            files_below(&rule.root, rule, &mut found);
            let files: BTreeSet<(PathBuf, PathBuf)> = found
                .into_iter()
                .filter_map(|path| Some((path.clone(), rule.destination(&path)?)))
                .collect();
            for container in &self.running(&rule.service)? {
                self.sync(container, &files).await?;
            }
        }
        Ok(())
    }

    async fn execute(&self, container: &Container, hook: &Hook) -> Result<(), CommandError> {
        if self.context.compose().dry_run {
            let said = format!("Container {}  {}", container.name, hook.command.join(" "));
            self.say(&told(self.context, said)).await;
            return Ok(());
        }
        let opened = || -> io::Result<[OwnedFd; 3]> {
            let null = std::fs::File::open("/dev/null")?;
            let stdout = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?;
            let stderr = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3)?;
            Ok([null.into(), stdout, stderr])
        };
        let ends = opened()
            .map_err(|error| CommandError::internal("cannot open the streams of a command", error))?;
        let process = hook_process(hook, container);
        let mut exec = self.containers.exec(container, process, &ends).await?;
        match exec.wait().await? {
            0 => Ok(()),
            code => Err(CommandError::user(format!(
                "`{}` in container `{}` ended with {code}",
                hook.command.join(" "),
                container.name
            ))),
        }
    }

    async fn rebuild(&self, services: &[String]) -> Result<(), CommandError> {
        let quoted: Vec<String> = services.iter().map(|name| format!("\"{name}\"")).collect();
        let quoted = quoted.join(" ");
        self.say(&format!(
            "Rebuilding service(s) [{quoted}] after changes were detected..."
        ))
        .await;
        let mut before = Vec::new();
        for service in services {
            let running = self.running(service)?.into_iter();
            before.extend(running.map(|container| container.definition.image_id));
        }
        let display = match (self.quiet, &self.stage) {
            (true, _) => display_as(self.context, "Building", Some(Mode::Quiet))?,
            (false, Some(_)) => display_lines(self.context, "Building")?,
            (false, None) => display_as(self.context, "Building", None)?,
        };
        let how = Building {
            to_run: true,
            quiet: self.quiet,
            ..Building::default()
        };
        let site = Site {
            context: self.context,
            project: self.project,
            model: self.model,
            how: &how,
        };
        let done = async {
            site.build(services, display.progress()).await?;
            let options = UpOptions {
                services: services.to_vec(),
                no_deps: true,
                ignore_orphans: true,
                ..UpOptions::default()
            };
            self.converge(options, None, display.progress()).await
        };
        let done = done.await;
        display.finish();
        done?;
        if self.prune && !self.context.compose().dry_run {
            let replaced = |image: &plimsoll_image::Image| before.contains(&image.id.to_string());
            self.context.images()?.prune(false, &replaced)?;
        }
        self.say(&format!("service(s) [{quoted}] successfully built"))
            .await;
        Ok(())
    }

    /// Builds what is watched, and starts all that is to run.
    async fn up(&self, services: &[String]) -> Result<(), CommandError> {
        let display = display_as(self.context, "Running", None)?;
        let options = UpOptions {
            services: services.to_vec(),
            ..UpOptions::default()
        };
        let images = ImageArgs::building(self.quiet);
        let done = self.converge(options, Some(images), display.progress()).await;
        display.finish();
        done
    }

    async fn converge(
        &self,
        options: UpOptions,
        images: Option<ImageArgs>,
        progress: &Progress,
    ) -> Result<(), CommandError> {
        let changing = Changing::new(self.context, &self.project.name, Some(self.project), progress).await?;
        let desired = changing.desired.clone().expect("its files were read");
        if let Some(images) = images {
            let services = desired.selected(&options.services, true)?;
            let is_watched = |name: &String| self.rules.iter().any(|rule| rule.service == *name);
            let (watched, others) = services.into_iter().partition(is_watched);
            changing.images(self.project, &watched, &images, progress).await?;
            let images = ImageArgs::missing(self.quiet);
            changing.images(self.project, &others, &images, progress).await?;
        }
        let plan = Plan::up(&desired, &changing.observe()?, &options)?;
        self.apply(&changing, plan).await
    }
}

/// Containers that a plan ends though their services go on, and why.
fn ended_by(plan: &Plan, observed: &Observed) -> Vec<(String, Leaving)> {
    let mut ended = Vec::new();
    for step in &plan.steps {
        match &step.action {
            Action::Create {
                replaces: Some(old), ..
            } => ended.push((old.id.clone(), Leaving::Replaced)),
            Action::Roll { replacements, .. } => {
                ended.extend(
                    replacements
                        .iter()
                        .map(|(old, ..)| (old.id.clone(), Leaving::Replaced)),
                );
            }
            Action::Restart { name, .. } => {
                let members = observed.members.iter().filter(|member| member.name == *name);
                ended.extend(members.map(|member| (member.id.clone(), Leaving::Restarted)));
            }
            _ => {}
        }
    }
    ended
}

/// Files below a path that the rule is about. It may be a link itself; links below it are files.
fn files_below(path: &Path, rule: &Rule, found: &mut Vec<PathBuf>) {
    if rule.leaves_out(path) {
        return;
    }
    let facts = match path == rule.root {
        true => path.metadata(),
        false => path.symlink_metadata(),
    };
    match facts {
        Ok(facts) if facts.is_dir() => {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.for_each(|entry| files_below(&entry.path(), rule, found));
        }
        Ok(_) if rule.applies(path) => found.push(path.to_owned()),
        _ => {}
    }
}

/// Writes a tar archive of files under the names they get, with this owner. What vanishes meanwhile is left out.
fn archive(
    files: &[&(PathBuf, PathBuf)],
    (user, group): (u32, u32),
    writer: impl io::Write,
) -> io::Result<()> {
    let mut builder = tar::Builder::new(writer);
    for (source, destination) in files {
        let Ok(metadata) = source.symlink_metadata() else {
            continue;
        };
        let name = destination.strip_prefix("/").unwrap_or(destination);
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&metadata);
        header.set_uid(user.into());
        header.set_gid(group.into());
        if metadata.is_symlink() {
            header.set_size(0);
            builder.append_link(&mut header, name, std::fs::read_link(source)?)?;
        } else if metadata.is_dir() {
            builder.append_data(&mut header, name, io::empty())?;
        } else if metadata.is_file() {
            match std::fs::read(source) {
                Ok(content) => {
                    header.set_size(content.len() as u64);
                    builder.append_data(&mut header, name, content.as_slice())?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    builder.finish()
}
