//! What a container has left whose supervisor was killed.

use plimsoll_runtime::ControlGroup;

use crate::model::Paths;
use crate::shim::SOCKET;

/// Kills what is left in a container's control group and removes it.
///
/// The program is killed with its supervisor (PDEATHSIG) and everything in its process namespace with it. What shares the
/// host's processes, or was put into the group from outside, is found here.
pub(crate) fn kill(cgroup: &str) {
    let removed = ControlGroup::open(cgroup).and_then(|group| group.remove());
    if let Err(error) = removed {
        tracing::warn!(%error, cgroup, "a control group was left behind");
    }
}

/// Takes away what in the run-time folder says that a program runs.
pub(crate) fn clear(paths: &Paths) {
    let _ = std::fs::remove_dir_all(paths.runtime());
    let _ = std::fs::remove_file(paths.run.join(SOCKET));
}
