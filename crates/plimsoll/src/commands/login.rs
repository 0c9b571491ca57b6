//! `login`

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use plimsoll_registry::{Kept, LoginError, Logins, Secret, registry_of};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

use crate::command_error::{CommandError, Kind};
use crate::context::Context;

const DOCKER_HUB: &str = "docker.io";

/// Log in to a registry
///
/// The registry is asked first; only credentials that it takes are kept, where Docker keeps them: in `config.json`, or
/// with the helper program that this names in `credsStore` or `credHelpers`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Registry to log in to [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    server: Option<String>,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password or token; other users can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    super::interruptible(log_in(&args, context)).await
}

async fn log_in(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    check(args)?;
    let registry = args.server.as_deref().map_or(DOCKER_HUB, registry_of);
    let logins = Logins::new(&context.docker_config()?);
    if args.username.is_none()
        && args.password.is_none()
        && let Some((user, secret)) = logins.get(registry).await?
    {
        writeln!(
            context.stdout(),
            "Authenticating with existing credentials... [Username: {user}]"
        )?;
        match context.registry()?.log_in(registry, &user, secret).await {
            Ok(_) => return succeeded(context),
            Err(error) if !io::stdin().is_terminal() => return Err(error.into()),
            Err(error) => context.warn(format_args!("login did not succeed: {error}")),
        }
    }
    let (user, password) = credentials(args, context).await?;
    let secret = context
        .registry()?
        .log_in(registry, &user, Secret::Password(password))
        .await?;
    if let Kept::File(path) = logins.keep(registry, &user, secret)? {
        writeln!(
            context.stderr(),
            "WARNING! Your credentials are stored unencrypted in '{path}'.\n\
             Configure a credential helper to remove this warning: name it in `credsStore` of that file.\n"
        )?;
    }
    succeeded(context)
}

fn succeeded(context: &Context) -> Result<ExitCode, CommandError> {
    writeln!(context.stdout(), "Login Succeeded")?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &Args) -> Result<(), CommandError> {
    if args.password.is_some() && args.password_stdin {
        return Err(CommandError::user(
            "--password and --password-stdin are mutually exclusive",
        ));
    }
    if args.password_stdin && args.username.is_none() {
        return Err(CommandError::user(
            "the --password-stdin option requires --username to be set",
        ));
    }
    Ok(())
}

async fn credentials(args: &Args, context: &Context) -> Result<(String, String), CommandError> {
    if args.password.is_some() {
        context.warn("using --password via the CLI is insecure: use --password-stdin");
    }
    let password = match args.password_stdin {
        true => Some(piped()?),
        false => args.password.clone(),
    };
    if (args.username.is_none() || password.is_none()) && !io::stdin().is_terminal() {
        return Err(
            CommandError::user("cannot perform an interactive login from a non-TTY device")
                .hint("`--username NAME --password-stdin` takes the password from standard input"),
        );
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None => ask(context, "Username: ", true).await?,
    };
    let password = match password {
        Some(password) => password,
        None => ask(context, "Password: ", false).await?,
    };
    match (user.is_empty(), password.is_empty()) {
        (true, _) => Err(CommandError::user("a user name is required")),
        (_, true) => Err(CommandError::user("a password is required")),
        _ => Ok((user, password)),
    }
}

/// All of standard input but the end of its line.
fn piped() -> Result<String, CommandError> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CommandError::internal("cannot read the password from standard input", error))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Asks on the terminal. Ctrl-C ends the wait, and what was typed is shown again afterwards.
async fn ask(context: &Context, prompt: &str, shown: bool) -> Result<String, CommandError> {
    write!(context.stderr(), "{prompt}")?;
    let hidden = (!shown).then(Hidden::new).flatten();
    let (sender, line) = oneshot::channel();
    // A thread of its own: nobody waits for one that still reads when the program ends.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = io::stdin().lock().read_line(&mut text);
        let _ = sender.send(read.map(|_| text));
    });
    let line = line.await.expect("the thread sends a line or why there is none");
    if hidden.is_some() {
        writeln!(context.stderr())?;
    }
    let line = line.map_err(|error| CommandError::internal("cannot read from the terminal", error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal does not show what is typed until this is dropped.
struct Hidden(rustix::termios::Termios);

impl Hidden {
    fn new() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

impl From<LoginError> for CommandError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Read(error) => error.into(),
            LoginError::Refused { .. } => Self::new(Kind::Registry, error),
            error => Self::new(Kind::Config, error),
        }
    }
}
