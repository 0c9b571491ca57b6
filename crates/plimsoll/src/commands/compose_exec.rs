//! `compose exec`

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use super::compose::members::Which;
use super::compose::{Scope, told};
use super::containers::containers;
use super::exec;
use crate::command_error::CommandError;
use crate::context::Context;

/// Run a command in a running container of a service
///
/// It gets a terminal where there is one, and what is typed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run it in the background
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable; without a value it is taken from the environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Number of the container, if the service has several
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Give it all capabilities
    #[arg(long)]
    privileged: bool,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Without a terminal
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// Pass standard input on, which is done anyway
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Give it a terminal, which is done anyway where there is one
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Service, and the command to run in it
    #[arg(required = true, trailing_var_arg = true, value_names = ["SERVICE", "COMMAND"], num_args = 2..)]
    service_and_command: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let [service, command @ ..] = args.service_and_command.as_slice() else {
        unreachable!("clap wants two at least")
    };
    let scope = Scope::by_name(context)?;
    let which = Which {
        stopped: false,
        one_off: true,
    };
    let member = scope.member(&containers(context)?, service, args.index, which)?;
    if context.compose().dry_run {
        return rehearse(args.detach, command, member.container.id(), context);
    }
    let mut container_and_command = vec![member.container.id().to_owned()];
    container_and_command.extend_from_slice(command);
    let request = exec::Args {
        detach: args.detach,
        detach_keys: super::terminal::DETACH_KEYS.to_owned(),
        env: args.env.clone(),
        env_file: Vec::new(),
        interactive: !args.detach,
        tty: has_terminal(args.no_tty) && !args.detach,
        user: args.user.clone(),
        workdir: args.workdir.clone(),
        privileged: args.privileged,
        container_and_command,
    };
    exec::run(request, context).await
}

/// `--dry-run`: nobody can talk to what does not run.
fn rehearse(detach: bool, command: &[String], id: &str, context: &Context) -> Result<ExitCode, CommandError> {
    if !detach {
        return Err(CommandError::user(
            "interactive exec is not supported in dry-run mode",
        ));
    }
    let words: Vec<String> = command.iter().map(|word| format!("{word:?}")).collect();
    let said = format!("Executing command [{}] in {id} (detached mode)", words.join(" "));
    writeln!(context.stdout(), "{}", told(context, said))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a program gets a terminal: where our own input and output are one.
pub(super) fn has_terminal(no_tty: bool) -> bool {
    !no_tty && io::stdin().is_terminal() && io::stdout().is_terminal()
}
