//! `top`, `container top`

use std::collections::HashSet;
use std::io::Write as _;
use std::process::{Command, ExitCode};

use plimsoll_container::Container;
use plimsoll_runtime::ControlGroup;

use super::containers::{containers, running};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::table;

/// Show the processes of a container
///
/// They are the host's `ps` and its options; without any it is `ps -ef`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Container, by name or id, and options of `ps`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_names = ["CONTAINER", "PS_OPTION"], num_args = 1..)]
    container_and_options: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let [name, options @ ..] = args.container_and_options.as_slice() else {
        unreachable!("clap wants one at least")
    };
    let container = running(&containers(context)?, name)?;
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() { &default[..] } else { options };
    let shown = processes(&container, options)?;
    write!(context.stdout(), "{}", table::align_with(&shown, 20, 3))?;
    Ok(ExitCode::SUCCESS)
}

/// What `ps` says of the processes of a container: lines, the first with titles, with tabs between the columns.
pub(super) fn processes(container: &Container, options: &[String]) -> Result<String, CommandError> {
    let group = ControlGroup::open(&container.definition.spec.cgroup)
        .map_err(|error| CommandError::internal("cannot look at the control group", error))?;
    let listed = Command::new("ps").args(options).output().map_err(|error| {
        CommandError::user(format!("cannot run `ps`: {error}")).hint("it comes with the package `procps`")
    })?;
    if !listed.status.success() {
        let text = String::from_utf8_lossy(&listed.stderr);
        return Err(CommandError::user(format!("error running ps: {}", text.trim())));
    }
    let text = String::from_utf8_lossy(&listed.stdout);
    select(&text, &group.processes().into_iter().collect())
}

/// The lines of `ps` that are about these processes, with tabs between the columns.
fn select(text: &str, processes: &HashSet<i32>) -> Result<String, CommandError> {
    let mut lines = text.lines();
    let titles: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    let Some(place) = titles.iter().position(|title| *title == "PID") else {
        return Err(CommandError::user("Couldn't find PID field in ps output"));
    };
    let mut shown = titles.join("\t");
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let pid = words.get(place).and_then(|word| word.parse().ok());
        if !pid.is_some_and(|pid| processes.contains(&pid)) {
            continue;
        }
        // The last column is the command, which may have blanks.
        let (columns, command) = words.split_at(titles.len().saturating_sub(1).min(words.len()));
        shown.push('\n');
        shown.extend(columns.iter().flat_map(|word| [*word, "\t"]));
        shown.push_str(&command.join(" "));
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_others_are_left_out() {
        let text = "UID    PID  CMD\nroot     1  init\nroot    42  sh -c sleep  5\n";
        let shown = select(text, &HashSet::from([42])).unwrap();
        assert_eq!(shown, "UID\tPID\tCMD\nroot\t42\tsh -c sleep 5");
        assert!(select("USER CMD\n", &HashSet::new()).is_err());
    }
}
