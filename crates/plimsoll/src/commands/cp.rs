//! `cp`, `container cp`

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll_container::CopyOptions;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Copy files between a container, running or not, and the host
///
/// Folders are copied with all they hold; `FOLDER/.` means its contents. A path of a container begins at its root, and
/// cannot lead out of it. Instead of a path of the host, `-` reads or writes a tar archive.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Let copies on the host keep the owners they have in the container
    #[arg(short, long)]
    pub(super) archive: bool,
    /// Copy what a link leads to, if the source is one
    #[arg(short = 'L', long)]
    pub(super) follow_link: bool,
    /// Accepted for Docker's sake: nothing is shown in any case
    #[arg(short, long, hide = true)]
    pub(super) quiet: bool,
    /// `CONTAINER:PATH`, a path of the host, or `-`
    #[arg(value_name = "SOURCE")]
    pub(super) source: String,
    /// `CONTAINER:PATH`, a path of the host, or `-`
    #[arg(value_name = "DESTINATION")]
    pub(super) destination: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let options = CopyOptions {
        archive: args.archive,
        follow_link: args.follow_link,
    };
    let containers = containers(context)?;
    match (End::parse(&args.source), End::parse(&args.destination)) {
        (End::Container(name, path), End::Host(host)) => {
            let container = containers.get(name)?;
            if host != "-" {
                containers.copy_out(&container, Path::new(path), &absolute(host)?, options)?;
            } else if io::stdout().is_terminal() {
                return Err(
                    CommandError::user("refusing to write a tar archive to a terminal").hint("redirect it"),
                );
            } else {
                containers.archive(&container, Path::new(path), options, io::stdout())?;
            }
        }
        (End::Host(host), End::Container(name, path)) => {
            let container = containers.get(name)?;
            match host {
                "-" => containers.unpack(&container, io::stdin(), Path::new(path))?,
                _ => containers.copy_in(&container, &absolute(host)?, Path::new(path), options)?,
            }
        }
        (End::Host(_), End::Host(_)) => {
            return Err(CommandError::user("must specify at least one container source")
                .hint("a path of a container is written CONTAINER:PATH"));
        }
        (End::Container(..), End::Container(..)) => {
            return Err(
                CommandError::user("copying between containers is not supported").hint(format!(
                    "plimsoll cp {} - | plimsoll cp - {}",
                    args.source, args.destination
                )),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One of the two paths.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End<'a> {
    Container(&'a str, &'a str),
    Host(&'a str),
}

impl<'a> End<'a> {
    /// What begins with a slash or a dot is a path of the host, whatever follows.
    pub(super) fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with(['/', '.']) => Self::Container(name, path),
            _ => Self::Host(text),
        }
    }
}

/// Keeps a final slash or dot, which mean something. (Joining paths keeps them.)
fn absolute(path: &str) -> Result<PathBuf, CommandError> {
    let directory = std::env::current_dir()
        .map_err(|error| CommandError::internal("cannot tell the current folder", error))?;
    Ok(directory.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_side_a_path_is_of() {
        for (text, end) in [
            ("web:/etc", End::Container("web", "/etc")),
            ("web:etc:x", End::Container("web", "etc:x")),
            ("/a:b", End::Host("/a:b")),
            ("./web:/etc", End::Host("./web:/etc")),
            ("file", End::Host("file")),
            ("-", End::Host("-")),
        ] {
            assert_eq!(End::parse(text), end, "{text}");
        }
    }
}
