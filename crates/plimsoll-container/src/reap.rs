//! Roles beside the supervisor's that may open the database, which a supervisor may not: what it becomes when its
//! container has ended, and what starts one whose supervisor was killed.

use std::ffi::OsString;

use camino::Utf8PathBuf;
use plimsoll_store::Store;

use crate::{ContainerError, Containers, Result};
use plimsoll_diagnostics::chain;

/// `plimsoll shim reap ROOT RUN ID [keep]`: gives the address back, and removes a container that was made with `--rm`.
pub(crate) fn main(arguments: &[OsString]) -> i32 {
    let keep = arguments.get(3).is_some_and(|word| word == "keep");
    report("clean up after", arguments, |containers, id| {
        containers.reap(id, keep)
    })
}

/// `plimsoll shim restore ROOT RUN ID`: starts a container whose supervisor was killed.
pub(crate) fn restore(arguments: &[OsString]) -> i32 {
    report("start", arguments, |containers, id| {
        let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let event_loop = event_loop.map_err(ContainerError::file("start", "an event loop"))?;
        event_loop.block_on(containers.restore_one(id))
    })
}

fn report(what: &str, arguments: &[OsString], work: impl FnOnce(&Containers, &str) -> Result<()>) -> i32 {
    let [root, run, id, ..] = arguments else { return 2 };
    let path = |argument: &OsString| Utf8PathBuf::try_from(std::path::PathBuf::from(argument)).ok();
    let (Some(root), Some(run), Some(id)) = (path(root), path(run), id.to_str()) else {
        return 2;
    };
    let done = Store::open(&root, &run)
        .map_err(ContainerError::from)
        .and_then(|store| work(&Containers::new(&store, "/proc/self/exe"), id));
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("cannot {what} container {id}: {}", chain(&error));
            1
        }
    }
}
