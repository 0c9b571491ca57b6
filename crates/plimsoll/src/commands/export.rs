//! `export`, `container export`

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use plimsoll_build::write_tar;
use plimsoll_store::MergedTree;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::file::write_atomically;

/// Write the files of a container as a tar archive
///
/// Those of its root as they are now, volumes left out. `import` makes an image of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    pub(super) container: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let (own, lowers) = containers.layers(&containers.get(&args.container)?)?;
    let layers = [own.path().to_owned()].into_iter().chain(lowers).collect();
    let tree = MergedTree::new(layers);
    match &args.output {
        Some(path) if path.as_os_str() != "-" => write_atomically(path, |file| Ok(write_tar(&tree, file)?))?,
        _ if io::stdout().is_terminal() => {
            return Err(
                CommandError::user("cowardly refusing to write a tar archive to a terminal")
                    .hint("name a file with `-o FILE`, or redirect"),
            );
        }
        _ => write_tar(&tree, &mut context.stdout())?,
    }
    Ok(ExitCode::SUCCESS)
}
