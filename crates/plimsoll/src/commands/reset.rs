//! `system reset`

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll_container::Containers;
use plimsoll_network::Networks;
use plimsoll_store::Store;

use crate::command_error::CommandError;
use crate::context::Context;
use crate::rootless;

/// Take everything of this root away
///
/// Kills and removes all containers, removes images, volumes, the build cache and the bridge with its firewall rules, and
/// then the state folder itself. Other roots are not touched. No other command may be using this root.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let root = context.root();
    if !root.join("layout-version").exists() {
        let run = context.run_folder();
        rootless::stop_holder(&run);
        // An ordinary user's command has made them on its way here. What is not empty stays.
        for folder in [&run, &root] {
            let _ = std::fs::remove_dir(folder);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !args.force && !agreed(context)? {
        return Ok(ExitCode::FAILURE);
    }
    let store = context.store()?.clone();
    remove_containers(context, &store).await?;
    Containers::new(&store, context.program()).forget_files();
    Networks::new(&store).destroy()?;
    for hierarchy in cgroups(store.instance()) {
        remove_tree(&hierarchy);
    }
    rootless::stop_holder(&context.run_folder());
    store.remove()?;
    Ok(ExitCode::SUCCESS)
}

/// SIGKILL.
const KILL: i32 = 9;

fn agreed(context: &Context) -> Result<bool, CommandError> {
    write!(
        context.stderr(),
        "Every container, image, volume and build in `{}` will be removed.\nContinue? [y/N] ",
        context.root()
    )?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn remove_containers(context: &Context, store: &Store) -> Result<(), CommandError> {
    let containers = Containers::new(store, context.program());
    for container in containers.list()? {
        if container.is_running() {
            containers.stop(&container, Some(KILL), None).await?;
        }
        containers.settle(&container).await?;
        containers.remove(&container, true)?;
    }
    Ok(())
}

/// The store's own cgroup, in the unified hierarchy and in those of version 1.
fn cgroups(instance: u32) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(top)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    hierarchies
        .chain([top.to_owned()])
        .map(|hierarchy| hierarchy.join(format!("plimsoll-{instance:08x}")))
        .collect()
}

/// Cgroups are removed from the leaves up; their files go with them. One that is busy stays: an empty name, no more.
fn remove_tree(cgroup: &Path) {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(cgroup);
}
