//! `attach`, `container attach`

use std::process::ExitCode;

use super::containers::containers;
use super::session::{self, Outcome, Session};
use super::terminal;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show the output of a running container from now on, and pass input and signals on
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value = super::terminal::DETACH_KEYS)]
    pub(super) detach_keys: String,
    /// Do not pass standard input on
    #[arg(long)]
    pub(super) no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) sig_proxy: bool,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    pub(super) container: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let container = containers.get(&args.container)?;
    if !container.is_running() {
        return Err(CommandError::user(
            "You cannot attach to a stopped container, start it first",
        ));
    }
    let definition = &container.definition;
    let interactive = definition.open_stdin && !args.no_stdin;
    terminal::check_input(interactive, definition.spec.tty)?;
    let session = Session::new(
        interactive,
        definition.spec.tty,
        args.sig_proxy,
        &args.detach_keys,
    )?;
    let mut attachment = containers.attach(&container).await?;
    let outcome = session.run(&mut attachment, &containers, &container).await?;
    if let Outcome::Detached = outcome {
        return session::escaped(context);
    }
    Ok(session::exit_code(context, &container, &outcome))
}
