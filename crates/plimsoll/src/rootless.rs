//! The same program as an ordinary user.
//!
//! ```text
//! plimsoll run  --makes once-->  plimsoll userns-holder RUN      keeps the user, mount and network namespace of a root
//!      |  <---- newuidmap, newgidmap: the user is 0, subordinate ids are 1 and up ----|
//!      |  setns: from here on root, among the user's own ids                          |  pasta, when it is asked for
//! ```
//! `main` joins before any thread exists and before clap, because a process with threads cannot change its users. From
//! there on everything goes as it does for root: what belongs to whom in a layer is on disk a subordinate id. The
//! network stays the host's (pulls, published ports); bridges are in the *room*, see [`plimsoll_network::Room`].
//!
//! `RUN/userns/` holds
//!
//! ```text
//! lock       flock held by the holder for life
//! making     flock held while one is made
//! holder     its pid, and the numbers of its namespaces: a pid alone is not believed
//! outside    the room: the network namespace, mounted here for whoever has joined
//! sock       asked to lead the room outside
//! log        what the holder has to say
//! ```

mod holder;
pub(crate) mod ids;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use camino::Utf8PathBuf;
use rustix::fs::{Mode, OFlags};

pub(crate) use holder::{HolderError, PROBE, ROLE, holder_main, stop_holder};

use crate::command_error::CommandError;
use crate::context;
use crate::env;

static STANDING: OnceLock<Result<Joined, HolderError>> = OnceLock::new();

/// A process among the user's own ids.
#[derive(Debug)]
pub(crate) struct Joined {
    /// This program, found again from the namespace's mounts.
    program: Option<OwnedFd>,
    /// What everybody should know who has just made a holder.
    pub(crate) warning: Option<String>,
}

/// Joins the namespaces of the root that `args` name, unless this is root or the command needs none of it. What goes
/// wrong is told by [`joined`] to whoever needs a store. Only with one thread.
pub(crate) fn enter(args: &[OsString]) {
    if rustix::process::geteuid().is_root() || works_without(args) {
        return;
    }
    let root = context::root_folder(given_root(args).as_deref());
    let run = context::run_folder(given_root(args).as_deref());
    let program = std::fs::read_link("/proc/self/exe");
    let joined = holder::join(&run, &root).map(|warning| Joined {
        program: program.ok().and_then(same_program),
        warning,
    });
    let _ = STANDING.set(joined);
}

/// Whether this process may open a store, and what its user should know then.
pub(crate) fn joined() -> Result<Option<&'static str>, CommandError> {
    match STANDING.get() {
        None | Some(Ok(Joined { warning: None, .. })) => Ok(None),
        Some(Ok(Joined {
            warning: Some(warning),
            ..
        })) => Ok(Some(warning)),
        Some(Err(error)) => Err(CommandError::user(plimsoll_diagnostics::chain(error))
            .hint("`plimsoll system check` says what is missing on this machine, and how to get it")),
    }
}

/// Whether this is an ordinary user, whatever it looks like from in here.
pub(crate) fn is_ordinary_user() -> bool {
    STANDING.get().is_some() || !rustix::process::geteuid().is_root()
}

/// This program, for starting its other roles. A path that leads through the mounts of the namespace can be mounted
/// read-only; `/proc/self/exe` leads through those of the host.
pub(crate) fn program() -> PathBuf {
    use std::os::fd::AsRawFd as _;
    let found = STANDING
        .get()
        .and_then(|joined| joined.as_ref().ok()?.program.as_ref());
    match found {
        Some(program) => format!("/proc/self/fd/{}", program.as_raw_fd()).into(),
        None => "/proc/self/exe".into(),
    }
}

fn same_program(path: PathBuf) -> Option<OwnedFd> {
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let (found, own) = (
        rustix::fs::fstat(&fd).ok()?,
        rustix::fs::stat("/proc/self/exe").ok()?,
    );
    ((found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)).then_some(fd)
}

/// Global flags that take a value as the next argument.
const WITH_VALUE: &[&str] = &[
    "--root",
    "--settings",
    "--color",
    "-l",
    "--log-level",
    "--config",
    "-H",
    "--host",
    "-c",
    "--context",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
];

/// `--root`, read before clap may; the environment where it is not given.
fn given_root(args: &[OsString]) -> Option<Utf8PathBuf> {
    let mut args = globals(args);
    let named = args.find_map(|(flag, value)| match (flag, flag.split_once('=')) {
        ("--root", _) => value.map(str::to_owned),
        (_, Some(("--root", value))) => Some(value.to_owned()),
        _ => None,
    });
    named
        .or_else(|| env::var(env::PLIMSOLL_ROOT))
        .map(Utf8PathBuf::from)
}

/// The flags before the command, with what follows them. What is the value of one is no flag.
fn globals(args: &[OsString]) -> impl Iterator<Item = (&str, Option<&str>)> {
    let count = args.len() - words(args).len();
    let text = |at: usize| args.get(at).and_then(|arg| arg.to_str());
    let mut at = 1;
    std::iter::from_fn(move || {
        let flag = text(at).filter(|_| at < count)?;
        let value = text(at + 1);
        at += if WITH_VALUE.contains(&flag) { 2 } else { 1 };
        Some((flag, value))
    })
}

/// The command and all that follows.
fn words(args: &[OsString]) -> &[OsString] {
    let mut at = 1;
    while let Some(flag) = args.get(at).and_then(|arg| arg.to_str()) {
        match flag {
            _ if WITH_VALUE.contains(&flag) => at += 2,
            _ if flag.starts_with('-') => at += 1,
            _ => break,
        }
    }
    args.get(at..).unwrap_or_default()
}

/// Commands that open no store. One that is missing here only joins for nothing.
fn works_without(args: &[OsString]) -> bool {
    let words: Vec<&str> = words(args).iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        [] => true,
        [
            "check" | "completion" | "config" | "context" | "login" | "logout" | "lsp" | "version",
            ..,
        ] => true,
        ["system", "check", flags @ ..] => !flags.contains(&"--leaks"),
        words => words.contains(&"--help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_root_is_found_before_the_command() {
        for (line, root) in [
            ("plimsoll --root /a run x", "/a"),
            ("plimsoll -D --root=/b --color never ps", "/b"),
            ("plimsoll -l debug --root /c ps", "/c"),
        ] {
            assert_eq!(given_root(&args(line)).expect(line), root);
        }
        let after = args("plimsoll --config --root run busybox --root /x");
        assert_eq!(
            given_root(&after),
            env::var(env::PLIMSOLL_ROOT).map(Utf8PathBuf::from)
        );
    }

    #[test]
    fn what_opens_no_store_joins_nothing() {
        for line in [
            "plimsoll",
            "plimsoll -D",
            "plimsoll --root /x system check",
            "plimsoll run --help",
        ] {
            assert!(works_without(&args(line)), "{line}");
        }
        for line in [
            "plimsoll ps",
            "plimsoll system check --leaks",
            "plimsoll --root version ps",
        ] {
            assert!(!works_without(&args(line)), "{line}");
        }
    }
}
