//! An attached `up`: shows what its containers write, until they have ended or the user has had enough.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_compose::labels::PROJECT;
use plimsoll_compose::{ApplyOptions, Converge, Plan};
use plimsoll_container::{Container, ContainerError, Containers};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::audience::{Audience, Leaving};
use super::converging::Changing;
use super::display_lines;
use super::elsewhere::Elsewhere;
use super::members::Member;
use super::printer::{Printer, Window, Writing};
use crate::command_error::CommandError;
use crate::commands::INTERRUPTED;
use crate::commands::containers::exit_byte;
use crate::context::Context;

/// When all is stopped because one container has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// As soon as any has.
    pub(crate) on_exit: bool,
    /// As soon as one has failed.
    pub(crate) on_failure: bool,
    /// The exit code is this service's.
    pub(crate) code_from: Option<String>,
    /// Services that others wait for to end: when those end well, nothing is stopped.
    pub(crate) helpers: BTreeSet<String>,
}

/// How an attached `up` shows and ends.
pub(crate) struct Attached<'a> {
    pub(crate) context: &'a Context,
    pub(crate) containers: Containers,
    pub(crate) project: String,
    pub(crate) audience: Audience,
    /// Containers are followed that others start, too.
    pub(crate) elsewhere: Elsewhere,
    /// Files are watched until then.
    pub(crate) watches: bool,
    /// Services whose output is shown.
    pub(crate) shown: BTreeSet<String>,
    /// Services that this is about: it is over when they have ended, and they are stopped when it is. What they depend
    /// on goes on.
    pub(crate) services: Vec<String>,
    pub(crate) ending: Ending,
    pub(crate) timeout: Option<i64>,
}

/// A container that is not followed any more.
struct Followed {
    id: String,
    /// What it has written since was not shown.
    until: Timestamp,
    /// How it has ended; None when that means nothing.
    gone: Option<Gone>,
}

/// A container that has ended.
struct Gone {
    service: String,
    code: i32,
}

type Follow = Result<Followed, CommandError>;

impl Attached<'_> {
    /// Shows containers as they are started, until all have ended and `working` starts no more of them.
    pub(crate) async fn run(
        &self,
        working: impl Future<Output = Result<(), CommandError>>,
        mut started: UnboundedReceiver<Container>,
        (printer, writing): (Printer, Writing),
        mut interrupts: Signal,
    ) -> Result<Ended, CommandError> {
        let begin = Timestamp::now();
        // Until when those were shown that have ended once.
        let mut shown = BTreeMap::new();
        let mut tasks: JoinSet<Follow> = JoinSet::new();
        let mut working = Box::pin(working);
        let mut is_working = true;
        let follow =
            |tasks: &mut JoinSet<Follow>, shown: &BTreeMap<String, Timestamp>, container: Container| {
                let since = shown.get(container.id()).copied().unwrap_or(begin);
                self.follow(tasks, &printer, container, since);
            };
        let mut is_due = false;
        let ended = loop {
            if std::mem::take(&mut is_due) {
                match self.elsewhere.running() {
                    Ok(running) => running
                        .into_iter()
                        .for_each(|container| follow(&mut tasks, &shown, container)),
                    Err(error) => break Err(error),
                }
            }
            tokio::select! {
                result = &mut working, if is_working => {
                    is_working = false;
                    if let Err(error) = result {
                        break Err(error);
                    }
                }
                Some(container) = started.recv() => follow(&mut tasks, &shown, container),
                changed = self.elsewhere.changed(), if self.audience.is_settled() => match changed {
                    Ok(()) => is_due = true,
                    Err(error) => break Err(error),
                },
                Some(followed) = tasks.join_next() => {
                    let followed = followed.map_err(|error| CommandError::internal("cannot follow a container", error))?;
                    let followed = match followed {
                        Ok(followed) => followed,
                        Err(error) => break Err(error),
                    };
                    shown.insert(followed.id.clone(), followed.until);
                    self.audience.leave_off(&followed.id);
                    // Its next start may have been seen before its end.
                    is_due = self.audience.is_settled();
                    if let Some(code) = followed.gone.and_then(|gone| self.ends_all(&gone)) {
                        break Ok(Ended::Because(code));
                    }
                }
                over = self.over() => {
                    let later = over.and_then(|()| match started.try_recv() {
                        Ok(container) => Ok(vec![container]),
                        Err(_) => self.elsewhere.running(),
                    });
                    match later {
                        Ok(later) => later.into_iter().for_each(|container| follow(&mut tasks, &shown, container)),
                        Err(error) => break Err(error),
                    }
                    if !self.audience.is_waiting() {
                        break Ok(Ended::AllGone);
                    }
                }
                _ = interrupts.recv() => break Ok(Ended::Interrupted),
            }
        };
        // It may have the project, and the printer.
        drop(working);
        if self.watches && matches!(ended, Ok(Ended::AllGone | Ended::Because(_))) {
            printer.announce("Watch disabled").await;
        }
        if ended.is_err() {
            tasks.abort_all();
        }
        // What the others write while they are stopped is shown, too.
        let follows = Follows {
            tasks,
            printer,
            writing,
        };
        match ended {
            Ok(ended) => self.stop(ended, follows, interrupts).await,
            Err(error) => {
                follows.finish(&self.audience).await;
                Err(error)
            }
        }
    }

    /// Returns when nobody's end is waited for, and nobody is about to start another.
    async fn over(&self) -> Result<(), CommandError> {
        self.audience.over().await;
        self.elsewhere.quiet().await
    }

    /// The exit code with which all is to end because one has.
    fn ends_all(&self, gone: &Gone) -> Option<i32> {
        let ending = &self.ending;
        if let Some(service) = &ending.code_from {
            let ends = gone.service == *service || gone.code != 0;
            return ends.then_some(gone.code);
        }
        let did_its_work = gone.code == 0 && ending.helpers.contains(&gone.service);
        let ends = ending.on_exit && !did_its_work || ending.on_failure && gone.code != 0;
        ends.then_some(gone.code)
    }

    fn follow(&self, tasks: &mut JoinSet<Follow>, printer: &Printer, container: Container, since: Timestamp) {
        let Some(member) = Member::of(container) else {
            return;
        };
        let is_shown = self.shown.contains(&member.service);
        let counts = self.services.contains(&member.service);
        if !(is_shown || counts) || !self.audience.follow(member.container.id(), counts) {
            return;
        }
        let (containers, project) = (self.containers.clone(), self.project.clone());
        let (printer, audience) = (printer.clone(), self.audience.clone());
        let window = Window {
            since: Some(since),
            follow: true,
            ..Window::default()
        };
        tasks.spawn(async move {
            let id = member.container.id();
            let printed = match is_shown {
                true => Some(printer.print(&containers, &member, &project, window).await?),
                false => None,
            };
            let present = containers.get(id);
            let ended = match (present, printed.and_then(|printed| printed.exit_code)) {
                // Somebody may have started it again since.
                (Ok(_), Some(code)) => Ok(code),
                (Ok(container), None) => {
                    let ended = containers.until(&container, |state| !state.status.is_alive());
                    ended.await.map(|state| state.exit_code)
                }
                (Err(error), _) => Err(error),
            };
            let code = match ended {
                Ok(code) => Some(code),
                // Removed: by `down`, for example.
                Err(ContainerError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let leaving = audience.leaving(id);
            let what = match (leaving, code) {
                (Some(Leaving::Replaced), _) => Some("has been recreated".to_owned()),
                (Some(Leaving::Restarted), Some(code)) => {
                    Some(format!("exited with code {code} (restarting)"))
                }
                (None, Some(code)) => Some(format!("exited with code {code}")),
                (_, None) => None,
            };
            if let Some(what) = what.filter(|_| is_shown) {
                printer.say(member.short_name(&project), &what).await;
            }
            let code = code.filter(|_| counts && leaving.is_none());
            Ok(Followed {
                id: id.to_owned(),
                until: printed.map_or_else(Timestamp::now, |printed| printed.until + Duration::from_nanos(1)),
                gone: code.map(|code| Gone {
                    service: member.service.clone(),
                    code,
                }),
            })
        });
    }

    /// Stops all, dependents first; a second Ctrl-C kills.
    async fn stop(
        &self,
        ended: Ended,
        follows: Follows,
        mut interrupts: Signal,
    ) -> Result<Ended, CommandError> {
        if ended == Ended::AllGone {
            follows.finish(&self.audience).await;
            return Ok(ended);
        }
        let why = match ended {
            Ended::Because(_) => "Aborting on container exit...",
            _ => "Gracefully stopping... (press Ctrl+C again to force)",
        };
        writeln!(self.context.stderr(), "{why}")?;
        let display = display_lines(self.context, "Stopping")?;
        let stopping = async {
            let changing = Changing::new(self.context, &self.project, None, display.progress()).await?;
            let plan = Plan::stop(&changing.observe()?, None, &self.services);
            let options = ApplyOptions {
                timeout: self.timeout,
                ..ApplyOptions::default()
            };
            changing.apply(plan, options).await
        };
        let stopped = tokio::select! {
            stopped = stopping => stopped,
            _ = interrupts.recv() => self.kill().await,
        };
        follows.finish(&self.audience).await;
        display.finish();
        stopped.map(|()| ended)
    }

    /// Whoever changes the project now is not waited for.
    async fn kill(&self) -> Result<(), CommandError> {
        const KILL: i32 = 9;
        let members = self.containers.labelled(PROJECT, &self.project)?;
        let is_meant = |member: &Member| {
            member.container.is_running() && !member.is_one_off && self.services.contains(&member.service)
        };
        for member in members.into_iter().filter_map(Member::of).filter(is_meant) {
            match self.containers.kill(&member.container, KILL).await {
                Ok(()) | Err(ContainerError::NotRunning(_) | ContainerError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Those who show, and what they show with.
struct Follows {
    tasks: JoinSet<Follow>,
    printer: Printer,
    writing: Writing,
}

impl Follows {
    /// Waits for the last words of all whose end is waited for; the others go on unseen.
    async fn finish(mut self, audience: &Audience) {
        while audience.is_waiting() {
            match self.tasks.join_next().await {
                Some(Ok(Ok(followed))) => audience.leave_off(&followed.id),
                _ => break,
            }
        }
        self.tasks.shutdown().await;
        self.printer.finish(self.writing).await;
    }
}

/// Why an attached `up` is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All containers have ended.
    AllGone,
    /// One has ended with this code, and all were stopped.
    Because(i32),
    /// The user has had enough.
    Interrupted,
}

impl Attached<'_> {
    /// The exit code of the command.
    pub(crate) fn exit_code(&self, ended: Ended, converge: &Converge) -> Result<ExitCode, CommandError> {
        if let (Some(service), Ended::Because(_) | Ended::AllGone) = (&self.ending.code_from, ended) {
            let observed = converge.observe(&self.project, None)?;
            let code = observed.of(service).map(|member| member.exit_code).next();
            return Ok(ExitCode::from(exit_byte(code.unwrap_or(0))));
        }
        Ok(match ended {
            Ended::AllGone => ExitCode::SUCCESS,
            Ended::Because(code) => ExitCode::from(exit_byte(code)),
            Ended::Interrupted => ExitCode::from(INTERRUPTED),
        })
    }
}

/// Services whose output is shown by default: not those with `attach: false`.
pub(crate) fn shown_by_default(desired: &Arc<plimsoll_compose::Desired>) -> BTreeSet<String> {
    let services = desired.model.services.iter();
    let shown = services.filter(|(_, service)| service.attach != Some(false));
    shown.map(|(name, _)| name.clone()).collect()
}
