//! Processes of a container whose supervisor was killed.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// Kills what is left in a container's cgroup and removes it, in whatever hierarchies there are.
///
/// The program is killed with its supervisor (PDEATHSIG) and everything in its process namespace with it, so this
/// finds something only where a process was put into the cgroup from outside.
pub(crate) fn kill(cgroup: &str) {
    for folder in folders(cgroup) {
        for pid in processes(&folder) {
            let _ = kill_process(pid, Signal::KILL);
        }
        // A cgroup of dead processes may be busy for a moment; the next removal of this container finds it again.
        let _ = fs::remove_dir(&folder);
    }
}

/// Where the cgroup is: in the unified hierarchy, in those of version 1, or in both.
fn folders(cgroup: &str) -> Vec<PathBuf> {
    let Some(relative) = cgroup
        .strip_prefix('/')
        .filter(|path| !path.is_empty() && !path.contains(".."))
    else {
        return Vec::new();
    };
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    std::iter::once(root.to_owned())
        .chain(hierarchies)
        .map(|hierarchy| hierarchy.join(relative))
        .filter(|folder| folder.join("cgroup.procs").exists())
        .collect()
}

fn processes(folder: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect()
}
