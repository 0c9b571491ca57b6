//! The `nft` program, the one interface to the kernel's packet filter used here.
//!
//! Scripts go in as text on its standard input, each one a single transaction. That text is what `nft list ruleset` prints and
//! manuals show, so it is easier to read and to try by hand than the same rules as JSON; JSON is only read.

use plimsoll_linux::CommandExt as _;
use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::NetworkError;

/// Runs `script` as one transaction: all of it or nothing.
pub(crate) fn run(script: &str) -> Result<(), NetworkError> {
    let output = execute(["-f", "-"], script)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(NetworkError::Nft {
        script: script.to_owned(),
        output: text.trim().to_owned(),
    })
}

/// What `nft -j -a list ...` says: the objects below `nftables`.
pub(crate) fn list(what: &[&str]) -> Result<Vec<Value>, NetworkError> {
    let arguments = ["-j", "-a", "list"].iter().chain(what);
    let output = execute(arguments, "")?;
    let failed = |output: &Output| NetworkError::Nft {
        script: format!("list {}", what.join(" ")),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    };
    if !output.status.success() {
        return Err(failed(&output));
    }
    let mut answer: Value = serde_json::from_slice(&output.stdout).map_err(|_| failed(&output))?;
    match answer.get_mut("nftables").map(Value::take) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

fn execute<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    input: &str,
) -> Result<Output, NetworkError> {
    let mut child = Command::new(place().unwrap_or("nft"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Or it would publish a port for a supervisor that was killed meanwhile, after everybody has cleaned up.
        .die_with_parent(Signal::KILL)
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => NetworkError::NoNft,
            _ => NetworkError::StartNft { source },
        })?;
    let pipe = child.stdin.take();
    let written = pipe.map_or(Ok(()), |mut pipe| pipe.write_all(input.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|source| NetworkError::StartNft { source })?;
    match written {
        // It stops reading at the first error, and says which.
        Err(source) if output.status.success() => Err(NetworkError::StartNft { source }),
        _ => Ok(output),
    }
}

/// Fails where there is no `nft`, before anything else is done.
pub(crate) fn check() -> Result<(), NetworkError> {
    match place() {
        Some(_) => Ok(()),
        None => execute(["--version"], "").map(drop),
    }
}

/// Where Debian keeps it comes first: an ordinary user's PATH, and an empty environment, lack sbin.
fn place() -> Option<&'static str> {
    const PLACES: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft"];
    PLACES
        .into_iter()
        .find(|place| std::path::Path::new(place).exists())
}
