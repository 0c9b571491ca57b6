//! What a running container uses, read from its control group from outside.

use std::fs;
use std::path::{Path, PathBuf};

use crate::RuntimeError;
use crate::cgroup::{Cgroup, Hierarchies};

/// The control group of a running container, to be looked at.
#[derive(Clone, Debug)]
pub struct ControlGroup {
    hierarchies: Hierarchies,
    path: String,
    cgroup: Cgroup,
}

/// Counters and present values of a control group. What the machine does not count is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on processors, nanoseconds.
    pub cpu: u64,
    /// Bytes, without the page cache that could go at once.
    pub memory: u64,
    /// Limit on memory; None is none.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes read from devices.
    pub read: u64,
    /// Bytes written to devices.
    pub written: u64,
}

impl ControlGroup {
    /// `path` as in [`crate::ContainerSpec::cgroup`].
    pub fn open(path: &str) -> Result<Self, RuntimeError> {
        let hierarchies = Hierarchies::usable()?;
        Ok(Self {
            cgroup: Cgroup::new(&hierarchies, path)?,
            hierarchies,
            path: path.to_owned(),
        })
    }

    /// Returns the numbers of its processes, in the namespace of the caller.
    pub fn processes(&self) -> Vec<i32> {
        let pids = self.cgroup.processes();
        pids.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect()
    }

    /// Kills everybody in it and takes it away; fine when it is gone.
    pub fn remove(&self) -> Result<(), RuntimeError> {
        self.cgroup.remove()
    }

    /// Returns what it uses now.
    pub fn usage(&self) -> Usage {
        match self.cgroup.unified() {
            Some(folder) => unified(folder),
            None => self.legacy(),
        }
    }

    fn legacy(&self) -> Usage {
        let folder = |controller: &str| -> PathBuf {
            let mount = self.hierarchies.mount_of(controller).unwrap_or_default();
            mount.join(self.path.trim_start_matches('/'))
        };
        let memory = folder("memory");
        let cache = field(&text(&memory, "memory.stat"), "total_inactive_file");
        let (read, written) = legacy_bytes(&text(
            &folder("blkio"),
            "blkio.throttle.io_service_bytes_recursive",
        ));
        Usage {
            cpu: number(&folder("cpuacct"), "cpuacct.usage").unwrap_or(0),
            memory: number(&memory, "memory.usage_in_bytes")
                .unwrap_or(0)
                .saturating_sub(cache),
            // Unlimited is the largest number of whole pages.
            memory_limit: number(&memory, "memory.limit_in_bytes").filter(|limit| *limit < 1 << 62),
            pids: number(&folder("pids"), "pids.current").unwrap_or(0),
            read,
            written,
        }
    }
}

fn unified(folder: &Path) -> Usage {
    let cache = field(&text(folder, "memory.stat"), "inactive_file");
    let (read, written) = unified_bytes(&text(folder, "io.stat"));
    Usage {
        cpu: field(&text(folder, "cpu.stat"), "usage_usec") * 1000,
        memory: number(folder, "memory.current")
            .unwrap_or(0)
            .saturating_sub(cache),
        // `max` is no number.
        memory_limit: number(folder, "memory.max"),
        // Only a limit asks for the controller that counts them.
        pids: number(folder, "pids.current").unwrap_or_else(|| {
            let threads = text(folder, "cgroup.threads");
            threads.lines().count() as u64
        }),
        read,
        written,
    }
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

fn number(folder: &Path, name: &str) -> Option<u64> {
    text(folder, name).trim().parse().ok()
}

/// The number after a name, in lines of both.
fn field(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(known, _)| *known == name);
    found
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// Lines such as `8:0 Read 4096`.
fn legacy_bytes(text: &str) -> (u64, u64) {
    let sum = |kind: &str| {
        text.lines()
            .filter_map(|line| line.split_once(' ')?.1.split_once(' '))
            .filter(|(known, _)| *known == kind)
            .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
            .sum()
    };
    (sum("Read"), sum("Write"))
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1`.
fn unified_bytes(text: &str) -> (u64, u64) {
    let sum = |key: &str| {
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix(key)?.strip_prefix('='))
            .filter_map(|bytes| bytes.parse::<u64>().ok())
            .sum()
    };
    (sum("rbytes"), sum("wbytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_both_versions() {
        let legacy = "8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\n8:16 Read 4\nTotal 4612\n";
        assert_eq!(legacy_bytes(legacy), (4100, 512));
        let unified = "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=1 wbytes=2\n";
        assert_eq!(unified_bytes(unified), (11, 22));
        let stat = "cache 1\ninactive_file 77\ntotal_inactive_file 99\n";
        assert_eq!(
            (
                field(stat, "inactive_file"),
                field(stat, "total_inactive_file"),
                field(stat, "x")
            ),
            (77, 99, 0)
        );
    }

    #[test]
    fn a_folder_of_version_two() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cpu.stat", "usage_usec 5\nuser_usec 3\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 1\ninactive_file 400\n"),
            ("memory.max", "max\n"),
            ("pids.current", "3\n"),
            ("io.stat", "8:0 rbytes=7 wbytes=8\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let expected = Usage {
            cpu: 5000,
            memory: 600,
            memory_limit: None,
            pids: 3,
            read: 7,
            written: 8,
        };
        assert_eq!(unified(folder.path()), expected);
    }
}
