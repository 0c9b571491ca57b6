//! The control group of a container: where it lies, who is in it, its end.
//!
//! On cgroup v1 (and the hybrid form) a container has one folder per controller, on v2 a single one. libcontainer
//! makes and fills them; killing, counting and removing is done here, without its waiting times.

mod place;
pub(crate) mod systemd;

pub(crate) use place::delegated_controllers;
pub use place::{enter_own_scope, place_of_group};

use crate::RuntimeError;
use rustix::process::{Pid, Signal};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

const MOUNT: &str = "/sys/fs/cgroup";

/// Controllers of cgroup v1 that libcontainer puts containers under.
const CONTROLLERS: &[&str] = &[
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// How long the kernel may take to end killed processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// How this machine mounts its control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hierarchies {
    /// One tree with every controller (v2).
    Unified,
    /// Mount points, each with the controllers it carries (v1). In the hybrid form the tree of v2 is among them, with
    /// none.
    Legacy(Vec<(PathBuf, Vec<String>)>),
}

impl Hierarchies {
    pub(crate) fn detect() -> Result<Self, RuntimeError> {
        let path = Path::new("/proc/self/mountinfo");
        Ok(Self::parse(
            &fs::read_to_string(path).map_err(RuntimeError::path("read", path))?,
        ))
    }

    /// Reads mountinfo (proc_pid_mountinfo(5)).
    fn parse(mountinfo: &str) -> Self {
        let mut legacy = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else {
                continue;
            };
            let Some(point) = left.split(' ').nth(4).filter(|point| point.starts_with(MOUNT)) else {
                continue;
            };
            let (kind, options) = (right.split(' ').next(), right.rsplit(' ').next().unwrap_or(""));
            let carried = options.split(',').filter(|option| CONTROLLERS.contains(option));
            let controllers: Vec<String> = carried.map(str::to_owned).collect();
            match kind {
                Some("cgroup2") if point == MOUNT => return Self::Unified,
                Some("cgroup2") => legacy.push((PathBuf::from(point), Vec::new())),
                Some("cgroup") if !controllers.is_empty() => legacy.push((PathBuf::from(point), controllers)),
                _ => {}
            }
        }
        Self::Legacy(legacy)
    }

    /// Whether a limit on swap can be set.
    pub(crate) fn limits_swap(&self) -> bool {
        match self {
            // The root group has no such file; where memory is controlled at all, a group below it has.
            Self::Unified => folders_in(Path::new(MOUNT))
                .iter()
                .any(|group| group.join("memory.swap.max").exists()),
            Self::Legacy(_) => self
                .mount_of("memory")
                .is_some_and(|at| at.join("memory.memsw.limit_in_bytes").exists()),
        }
    }

    /// The files of weights are there only while something weighs: BFQ or its forerunner, or on v2 the model of costs.
    pub(crate) fn weighs_disks(&self) -> bool {
        match self {
            Self::Unified => {
                let groups = folders_in(Path::new(MOUNT));
                let any_has = |name: &str| groups.iter().any(|group| group.join(name).exists());
                // Where no group has files of `io` yet nobody knows.
                !any_has("io.stat") || any_has("io.weight") || any_has("io.bfq.weight")
            }
            Self::Legacy(_) => self.mount_of("blkio").is_none_or(|at| {
                ["blkio.bfq.weight", "blkio.weight"]
                    .iter()
                    .any(|name| at.join(name).exists())
            }),
        }
    }

    /// Whether groups have a share of real-time tasks: on v1, in kernels that are built for it.
    pub(crate) fn shares_real_time(&self) -> bool {
        match self {
            Self::Unified => false,
            Self::Legacy(_) => self
                .mount_of("cpu")
                .is_some_and(|at| at.join("cpu.rt_period_us").exists()),
        }
    }

    /// Where a controller's tree is mounted.
    pub(crate) fn mount_of(&self, controller: &str) -> Option<PathBuf> {
        match self {
            Self::Unified => Some(MOUNT.into()),
            Self::Legacy(mounts) => {
                let mut mounts = mounts.iter();
                let found = mounts.find(|(_, controllers)| controllers.iter().any(|name| name == controller));
                found.map(|(point, _)| point.clone())
            }
        }
    }
}

/// The group of one container.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    folders: Vec<PathBuf>,
    memory: Option<PathBuf>,
    /// On v1.
    freezer: Option<PathBuf>,
    /// In the tree of v2, where there is one.
    group: Option<PathBuf>,
    unified: bool,
}

impl Cgroup {
    /// `path` is absolute below each hierarchy, and never the top: everything in a group is killed at its end.
    pub(crate) fn new(hierarchies: &Hierarchies, path: &str) -> Result<Self, RuntimeError> {
        let mut parts = Path::new(path).components();
        if parts.next() != Some(Component::RootDir) || !parts.all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(RuntimeError::Invalid(format!(
                "invalid cgroup path `{path}`: it must be absolute"
            )));
        }
        if path.trim_matches('/').is_empty() {
            return Err(RuntimeError::Invalid(
                "invalid cgroup path: a container needs a group of its own".into(),
            ));
        }
        let below = |mount: &Path| mount.join(path.trim_start_matches('/'));
        let folders = match hierarchies {
            Hierarchies::Unified => vec![below(Path::new(MOUNT))],
            Hierarchies::Legacy(mounts) => mounts.iter().map(|(mount, _)| below(mount)).collect(),
        };
        let group = match hierarchies {
            Hierarchies::Unified => Some(below(Path::new(MOUNT))),
            Hierarchies::Legacy(mounts) => {
                let hybrid = mounts.iter().find(|(_, controllers)| controllers.is_empty());
                hybrid.map(|(mount, _)| below(mount))
            }
        };
        let memory = hierarchies.mount_of("memory").map(|mount| below(&mount));
        let freezer = match hierarchies {
            Hierarchies::Unified => None,
            Hierarchies::Legacy(_) => hierarchies.mount_of("freezer").map(|mount| below(&mount)),
        };
        Ok(Self {
            folders,
            freezer,
            memory,
            group,
            unified: *hierarchies == Hierarchies::Unified,
        })
    }

    /// Its folder in each hierarchy.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The folder in the tree of v2, also of a hybrid machine.
    pub(crate) fn group(&self) -> Option<&Path> {
        self.group.as_deref()
    }

    /// The folder on cgroup v2, with all controllers.
    pub(crate) fn unified(&self) -> Option<&Path> {
        self.unified.then(|| self.folders[0].as_path())
    }

    /// True if the kernel killed a process of the group for want of memory.
    pub(crate) fn oom_killed(&self) -> bool {
        let name = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = self
            .memory
            .as_ref()
            .and_then(|folder| fs::read_to_string(folder.join(name)).ok());
        let count = text.and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
        });
        count.is_some_and(|count| count > 0)
    }

    /// Sends a signal to every process of the group.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        let pids = self.processes();
        for pid in &pids {
            let _ = rustix::process::kill_process(*pid, signal);
        }
        !pids.is_empty()
    }

    /// Stops every process of the group where it is, or lets all go on.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), RuntimeError> {
        let (file, wanted) = match (&self.group, &self.freezer) {
            (Some(group), _) => (group.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
            (None, Some(freezer)) => (
                freezer.join("freezer.state"),
                if frozen { "FROZEN" } else { "THAWED" },
            ),
            (None, None) => {
                let reason = "this machine has no cgroup that can be frozen";
                return Err(RuntimeError::Invalid(reason.into()));
            }
        };
        fs::write(&file, wanted).map_err(RuntimeError::path("write", &file))?;
        let until = Instant::now() + PATIENCE;
        while frozen && !self.is_frozen() {
            if Instant::now() > until {
                return Err(RuntimeError::Invalid("the processes did not stop in time".into()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_frozen(&self) -> bool {
        let holds = |folder: &Option<PathBuf>, name: &str, text: &str| {
            let read = folder
                .as_ref()
                .and_then(|folder| fs::read_to_string(folder.join(name)).ok());
            read.is_some_and(|read| read.lines().any(|line| line == text))
        };
        holds(&self.group, "cgroup.events", "frozen 1") || holds(&self.freezer, "freezer.state", "FROZEN")
    }

    /// Ends every process and takes the folders away; fine when they are gone.
    pub(crate) fn remove(&self) -> Result<(), RuntimeError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        loop {
            // Mostly nobody is in it any more, and then nobody has to be looked for.
            let Some((folder, error)) = self.remove_folders() else {
                return Ok(());
            };
            if let Some(folder) = self.group() {
                let _ = fs::write(folder.join("cgroup.kill"), "1");
            }
            self.signal(Signal::KILL);
            if Instant::now() > until {
                return Err(RuntimeError::Path {
                    operation: "remove control group",
                    path: folder,
                    source: error,
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// What is left after one attempt, and why.
    fn remove_folders(&self) -> Option<(PathBuf, io::Error)> {
        let mut left = None;
        for folder in &self.folders {
            if let Err(error) = remove_tree(folder)
                && error.kind() != io::ErrorKind::NotFound
            {
                left = Some((folder.clone(), error));
            }
        }
        left
    }

    /// Everybody in it.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mut pids = Vec::new();
        // On v1 every folder holds the same processes, unless a privileged container moved some.
        for folder in &self.folders {
            collect_processes(folder, &mut pids);
        }
        pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        pids.dedup();
        pids
    }
}

fn collect_processes(folder: &Path, pids: &mut Vec<Pid>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    // A zero is a process of another pid namespace that cannot be seen from here.
    pids.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
    for inner in folders_in(folder) {
        collect_processes(&inner, pids);
    }
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            for inner in folders_in(folder) {
                remove_tree(&inner)?;
            }
            fs::remove_dir(folder)
        }
        result => result,
    }
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn both_layouts_are_told_apart() {
        let Hierarchies::Legacy(mounts) = Hierarchies::parse(HYBRID) else {
            panic!("hybrid is v1")
        };
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[2], ("/sys/fs/cgroup/unified".into(), vec![]));
        assert_eq!(
            mounts[0],
            (
                "/sys/fs/cgroup/cpu,cpuacct".into(),
                vec!["cpu".into(), "cpuacct".into()]
            )
        );
        let unified = "25 24 0:23 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(Hierarchies::parse(unified), Hierarchies::Unified);
    }

    #[test]
    fn the_top_is_nobodys_group() {
        for path in ["", "/", "//", "relative", "/a/../..", "/.."] {
            assert!(Cgroup::new(&Hierarchies::Unified, path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_group_has_a_folder_in_each_hierarchy() {
        let group = Cgroup::new(&Hierarchies::parse(HYBRID), "/plimsoll-1/abc").unwrap();
        assert_eq!(
            group.folders[0],
            Path::new("/sys/fs/cgroup/cpu,cpuacct/plimsoll-1/abc")
        );
        assert_eq!(
            group.memory.as_deref(),
            Some(Path::new("/sys/fs/cgroup/memory/plimsoll-1/abc"))
        );
        assert_eq!(group.unified(), None);
        assert_eq!(
            group.group(),
            Some(Path::new("/sys/fs/cgroup/unified/plimsoll-1/abc"))
        );
        let unified = Cgroup::new(&Hierarchies::Unified, "/plimsoll-1/abc").unwrap();
        assert_eq!(
            unified.unified(),
            Some(Path::new("/sys/fs/cgroup/plimsoll-1/abc"))
        );
        assert!(!unified.oom_killed());
        unified.remove().unwrap();
    }
}
