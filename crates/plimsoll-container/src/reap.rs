//! What a shim becomes when its container has ended: it may open the database, which the shim may not.

use std::ffi::OsString;

use camino::Utf8PathBuf;
use plimsoll_store::Store;

use crate::error::chain;
use crate::{Containers, Result};

/// `plimsoll shim reap ROOT RUN ID`: gives the address back, and removes a container that was made with `--rm`.
pub(crate) fn main(arguments: &[OsString]) -> i32 {
    let [root, run, id] = arguments else { return 2 };
    let path = |argument: &OsString| Utf8PathBuf::try_from(std::path::PathBuf::from(argument)).ok();
    let (Some(root), Some(run), Some(id)) = (path(root), path(run), id.to_str()) else {
        return 2;
    };
    match reap(&root, &run, id) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("cannot clean up after container {id}: {}", chain(&error));
            1
        }
    }
}

fn reap(root: &Utf8PathBuf, run: &Utf8PathBuf, id: &str) -> Result<()> {
    let store = Store::open(root, run)?;
    Containers::new(&store, "/proc/self/exe").reap(id)
}
