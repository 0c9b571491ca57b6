//! `compose logs`

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_container::{Containers, FolderWatch, Status};
use tokio::task::JoinSet;

use super::compose::members::{Member, Which};
use super::compose::printer::{Form, Printer, Window};
use super::compose::{Scope, colors_output};
use super::containers::containers;
use super::interruptible;
use super::logs::moment;
use crate::command_error::CommandError;
use crate::context::Context;

/// Print what the containers of a project have written
///
/// Each line begins with the name of its container. With `--follow` containers that are started later are shown, too,
/// until none is left.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on with what they write from now on
    #[arg(short, long)]
    follow: bool,
    /// The last so many lines of each container
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all")]
    tail: String,
    /// Print what is newer than a time, or than a duration ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print what is older than a time, or than a duration ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    /// Without the names of the containers
    #[arg(long)]
    no_log_prefix: bool,
    /// Without colour
    #[arg(long)]
    no_color: bool,
    /// Only the container of this number of the one service
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(show(args, context)).await
}

async fn show(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let now = Timestamp::now();
    let moment = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
    let until = moment(&args.until)?;
    let window = Window {
        since: moment(&args.since)?,
        until,
        tail: args.tail.parse().ok(),
        // Nothing that comes is wanted when its time has passed already.
        follow: args.follow && until.is_none_or(|until| until > now),
    };
    if args.index > 0 && args.services.len() != 1 {
        return Err(CommandError::user("--index requires one service to be selected"));
    }
    let scope = Scope::with_services(context, &args.services)?;
    let services = match args.services.is_empty() {
        true => attached(&scope),
        false => args.services.clone(),
    };
    let containers = containers(context)?;
    let members = match args.index {
        0 => scope.members(&containers, &services, Which::SERVICES)?,
        index => vec![scope.member(&containers, &services[0], index, Which::SERVICES)?],
    };
    let (printer, writing) = Printer::start(Form {
        prefix: !args.no_log_prefix,
        color: !args.no_color && colors_output(context),
        timestamps: args.timestamps,
        splits: false,
    });
    printer.expect(members.iter().map(|member| member.short_name(&scope.name)));
    let shown = match window.follow {
        false => print_all(&printer, &containers, &members, &scope.name, window).await,
        true => {
            let follower = Follower {
                printer: printer.clone(),
                containers,
                scope,
                services,
                index: args.index,
            };
            follower.run(context, members, window).await
        }
    };
    printer.finish(writing).await;
    shown?;
    Ok(ExitCode::SUCCESS)
}

/// Those whose output is shown: not those with `attach: false`, where the files are read. Empty is all.
fn attached(scope: &Scope) -> Vec<String> {
    let Some(project) = &scope.project else {
        return Vec::new();
    };
    let silent = |node: &plimsoll_compose_file::Node| node.text_of("attach") == Some("false");
    let services = project.section("services");
    if !services.iter().any(|entry| silent(&entry.value)) {
        return Vec::new();
    }
    let shown = services.into_iter().filter(|entry| !silent(&entry.value));
    shown.map(|entry| entry.key.clone()).collect()
}

/// One after the other, so that what comes out is the same each time.
async fn print_all(
    printer: &Printer,
    containers: &Containers,
    members: &[Member],
    project: &str,
    window: Window,
) -> Result<(), CommandError> {
    for member in members {
        if !printer.print(containers, member, project, window).await?.is_read {
            break;
        }
    }
    Ok(())
}

/// Follows all containers of a project, those that come later, too.
struct Follower {
    printer: Printer,
    containers: Containers,
    scope: Scope,
    services: Vec<String>,
    index: u32,
}

/// A container whose output has ended, and whether somebody still reads.
type Ended = Result<(String, bool), CommandError>;

impl Follower {
    async fn run(&self, context: &Context, members: Vec<Member>, window: Window) -> Result<(), CommandError> {
        let wrong = |error| CommandError::internal("cannot watch the containers", error);
        let events = context.store()?.events().read().map_err(wrong)?;
        let watch = FolderWatch::new(events.folder()).map_err(wrong)?;
        let end = window
            .until
            .map(|until| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default());
        let mut tasks = JoinSet::new();
        let mut followed: HashSet<String> = HashSet::new();
        for member in members {
            followed.insert(member.container.id().to_owned());
            self.follow(&mut tasks, member, window);
        }
        let sleep = tokio::time::sleep(end.unwrap_or(Duration::MAX / 4));
        tokio::pin!(sleep);
        while !tasks.is_empty() {
            tokio::select! {
                () = &mut sleep, if end.is_some() => break,
                Some(done) = tasks.join_next() => {
                    let done: Ended = done.map_err(|error| CommandError::internal("cannot follow a log", error))?;
                    let (id, is_read) = done?;
                    if !is_read {
                        break;
                    }
                    followed.remove(&id);
                }
                changed = watch.changed() => changed.map_err(wrong)?,
            }
            for member in self.started()? {
                if followed.insert(member.container.id().to_owned()) {
                    // All that it has written since.
                    let window = Window {
                        since: member.container.state.started_at,
                        tail: None,
                        ..window
                    };
                    self.follow(&mut tasks, member, window);
                }
            }
        }
        Ok(())
    }

    /// Those that run now.
    fn started(&self) -> Result<Vec<Member>, CommandError> {
        let mut members = self
            .scope
            .members(&self.containers, &self.services, Which::RUNNING)?;
        members.retain(|member| self.index == 0 || member.number == self.index);
        Ok(members)
    }

    fn follow(&self, tasks: &mut JoinSet<Ended>, member: Member, window: Window) {
        let (printer, containers) = (self.printer.clone(), self.containers.clone());
        let project = self.scope.name.clone();
        tasks.spawn(async move {
            let id = member.container.id().to_owned();
            let was_running = member.container.is_running();
            let printed = printer.print(&containers, &member, &project, window).await?;
            let is_read = match printed.exit_code {
                Some(code) => say_end(&printer, &member, &project, code).await,
                None if printed.is_read && was_running && window.follow => {
                    ended_meanwhile(&printer, &containers, &member, &project).await?
                }
                None => printed.is_read,
            };
            Ok((id, is_read))
        });
    }
}

/// `web-1 exited with code 0`
async fn say_end(printer: &Printer, member: &Member, project: &str, code: i32) -> bool {
    let what = format!("exited with code {code}");
    printer.say(member.short_name(project), &what).await
}

/// Says how one has ended that was about to when its log was asked for.
async fn ended_meanwhile(
    printer: &Printer,
    containers: &Containers,
    member: &Member,
    project: &str,
) -> Result<bool, CommandError> {
    let Ok(container) = containers.get(member.container.id()) else {
        return Ok(true);
    };
    containers.settle(&container).await?;
    let Ok(container) = containers.get(container.id()) else {
        return Ok(true);
    };
    if container.state.status != Status::Exited {
        return Ok(true);
    }
    Ok(say_end(printer, member, project, container.state.exit_code).await)
}
