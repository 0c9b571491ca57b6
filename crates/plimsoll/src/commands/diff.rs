//! `diff`, `container diff`

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use plimsoll_container::ChangeKind;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show what a container has changed in its root
///
/// `A` is what was added, `C` changed, `D` deleted. Volumes are not of the root.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let mut out = context.stdout();
    for change in containers.changes(&containers.get(&args.container)?)? {
        let letter = match change.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        write!(out, "{letter} ")?;
        out.write_all(change.path.as_os_str().as_bytes())?;
        writeln!(out)?;
    }
    Ok(ExitCode::SUCCESS)
}
