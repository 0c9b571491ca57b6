//! The control groups of a step: only those that have something to do.
//!
//! Where the machine has the tree of v2, also beside v1, a container has a group there and is born into it: limits on
//! devices are a program of that group, and it can be killed as a whole. On v1 a process has to be moved, which takes
//! the kernel milliseconds for each controller, so only those are used that a limit was asked of.

use crate::cgroup::{Cgroup, Hierarchies, systemd};
use crate::container_spec::{ContainerSpec, Resources};
use crate::host::Host;
use crate::libcontainer::devices;
use crate::{RuntimeError, spec};
use oci_spec::runtime::{Linux, LinuxDeviceCgroup, LinuxDeviceType, LinuxResources, LinuxWeightDevice};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How a child gets into its groups.
pub(super) struct Membership {
    /// On cgroup v2 it begins there.
    pub(super) into: Option<OwnedFd>,
    /// On v1 it writes itself into each `cgroup.procs`.
    pub(super) joined: Vec<OwnedFd>,
}

/// What of the machine's hierarchies this container needs; None where it has not got them.
pub(super) fn hierarchies(all: &Hierarchies, spec: &ContainerSpec) -> Option<Hierarchies> {
    let Hierarchies::Legacy(mounts) = all else {
        return Some(all.clone());
    };
    // What was asked for is said to have no effect.
    if all.is_none() {
        return Some(all.clone());
    }
    let hybrid = mounts.iter().any(|(_, carried)| carried.is_empty());
    let needed = controllers(spec, hybrid);
    let carries = |carried: &[String]| {
        carried.is_empty() || needed.iter().any(|name| carried.iter().any(|one| one == name))
    };
    let kept: Vec<_> = mounts
        .iter()
        .filter(|(point, carried)| carries(carried) || has_foreign_parent(point, &spec.cgroup))
        .cloned()
        .collect();
    let there = |name: &&str| {
        kept.iter()
            .any(|(_, carried)| carried.iter().any(|one| one == name))
    };
    needed.iter().all(there).then_some(Hierarchies::Legacy(kept))
}

fn has_block_limits(limits: &Resources) -> bool {
    let lists = [
        &limits.blkio_weight_device,
        &limits.device_read_bps,
        &limits.device_write_bps,
        &limits.device_read_iops,
        &limits.device_write_iops,
    ];
    limits.blkio_weight.is_some_and(|weight| weight > 0) || lists.iter().any(|list| !list.is_empty())
}

/// Whether the group lies in one that somebody else made here, whose limits then hold for it, too. The groups named
/// after us have none (see [`ContainerSpec::cgroup`]).
fn has_foreign_parent(point: &Path, cgroup: &str) -> bool {
    let path = Path::new(cgroup.trim_start_matches('/'));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let foreign = parent.filter(|_| !cgroup.trim_start_matches('/').starts_with("plimsoll-"));
    foreign.is_some_and(|parent| point.join(parent).is_dir())
}

fn controllers(spec: &ContainerSpec, hybrid: bool) -> Vec<&'static str> {
    let set = |limit: Option<i64>| limit.is_some_and(|limit| limit > 0);
    let limits = &spec.resources;
    let table = [
        ("devices", !hybrid),
        ("pids", set(limits.pids_limit)),
        (
            "memory",
            set(limits.memory)
                || set(limits.memory_reservation)
                || limits.memory_swappiness.is_some()
                || limits.oom_kill_disable,
        ),
        (
            "cpu",
            set(limits.nano_cpus)
                || limits
                    .cpu_shares
                    .or(limits.cpu_period)
                    .or(limits.cpu_rt_period)
                    .is_some_and(|number| number > 0)
                || limits
                    .cpu_quota
                    .or(limits.cpu_rt_runtime)
                    .is_some_and(|quota| quota != 0),
        ),
        (
            "cpuset",
            !limits.cpuset_cpus.is_empty() || !limits.cpuset_mems.is_empty(),
        ),
        ("blkio", has_block_limits(limits)),
    ];
    let wanted = table.into_iter().filter(|(_, wanted)| *wanted);
    wanted.map(|(name, _)| name).collect()
}

/// What a container has that may live long: all but what limits devices where the tree of v2 does.
pub(super) fn all_hierarchies(all: &Hierarchies) -> Hierarchies {
    let Hierarchies::Legacy(mounts) = all else {
        return all.clone();
    };
    let hybrid = mounts.iter().any(|(_, carried)| carried.is_empty());
    let mounts = mounts
        .iter()
        .filter(|(_, carried)| !hybrid || *carried != ["devices"]);
    Hierarchies::Legacy(mounts.cloned().collect())
}

/// Makes the groups and sets their limits.
pub(super) fn make(
    cgroup: &Cgroup,
    hierarchies: &Hierarchies,
    linux: &Linux,
) -> Result<Membership, RuntimeError> {
    let resources = linux.resources().as_ref().expect("the mapping sets them");
    for folder in cgroup.folders() {
        make_folder(cgroup, folder)?;
    }
    if let Some(folder) = cgroup.unified() {
        let settings = unified(resources);
        enable(folder, &settings)?;
        write(folder, &settings)?;
    }
    if let Some(folder) = cgroup.group() {
        devices::limit(folder, resources.devices().as_deref().unwrap_or_default())?;
    }
    if let Hierarchies::Legacy(mounts) = hierarchies {
        for ((_, carried), folder) in mounts.iter().zip(cgroup.folders()) {
            for controller in carried {
                if controller == "cpuset" {
                    inherit_cpus(folder)?;
                }
                write(folder, &legacy(controller, resources))?;
            }
        }
    }
    membership(cgroup, hierarchies)
}

/// The way into groups that are there.
pub(super) fn membership(cgroup: &Cgroup, hierarchies: &Hierarchies) -> Result<Membership, RuntimeError> {
    let group = cgroup
        .group()
        .map(|folder| open(folder, OFlags::PATH | OFlags::DIRECTORY));
    let mut joined = Vec::new();
    if let Hierarchies::Legacy(mounts) = hierarchies {
        for ((_, carried), folder) in mounts.iter().zip(cgroup.folders()) {
            if !carried.is_empty() {
                joined.push(open(&folder.join("cgroup.procs"), OFlags::WRONLY)?);
            }
        }
    }
    Ok(Membership {
        into: group.transpose()?,
        joined,
    })
}

/// Changes the limits of groups that are there.
pub(crate) fn update(
    cgroup: &Cgroup,
    host: &Host,
    spec: &ContainerSpec,
    warnings: &mut Vec<String>,
) -> Result<(), RuntimeError> {
    let resources = spec::resources(spec, host, warnings)?;
    let Hierarchies::Legacy(mounts) = &host.hierarchies else {
        let settings = unified(&resources);
        let folder = cgroup.unified().expect("the hierarchy is unified");
        enable(folder, &settings)?;
        return write(folder, &settings);
    };
    for ((_, carried), folder) in mounts.iter().zip(cgroup.folders()) {
        for controller in carried.iter().filter(|name| *name != "devices") {
            let mut settings = legacy(controller, &resources);
            // Memory may not be more than memory and swap at any time: what grows most goes first.
            if write(folder, &settings).is_err() {
                settings.reverse();
                write(folder, &settings)?;
                settings.reverse();
                write(folder, &settings)?;
            }
        }
    }
    Ok(())
}

/// What an earlier container of this id left when it and its maker were killed goes first: limits and counts.
fn make_folder(cgroup: &Cgroup, folder: &Path) -> Result<(), RuntimeError> {
    let failed = |error| RuntimeError::path("make control group", folder)(error);
    let mut result = fs::create_dir(folder);
    match result.as_ref().map_err(std::io::Error::kind) {
        Err(ErrorKind::NotFound) => {
            fs::create_dir_all(folder.parent().unwrap_or(folder)).map_err(failed)?;
            result = fs::create_dir(folder);
        }
        Err(ErrorKind::AlreadyExists) => {
            cgroup.remove()?;
            result = fs::create_dir(folder);
        }
        _ => {}
    }
    result.map_err(failed)
}

type Settings = Vec<(&'static str, String)>;

/// The files of a v1 controller.
fn legacy(controller: &str, resources: &LinuxResources) -> Settings {
    let mut settings = Settings::new();
    let mut set = |name, value: Option<String>| settings.extend(value.map(|value| (name, value)));
    let text = |number: Option<i64>| number.map(|number| number.to_string());
    match controller {
        "memory" => {
            let memory = resources.memory().as_ref();
            set(
                "memory.limit_in_bytes",
                text(memory.and_then(|memory| memory.limit())),
            );
            set(
                "memory.memsw.limit_in_bytes",
                text(memory.and_then(|memory| memory.swap())),
            );
            let reservation = memory.and_then(|memory| memory.reservation());
            set("memory.soft_limit_in_bytes", text(reservation));
            let swappiness = memory.and_then(|memory| memory.swappiness());
            set("memory.swappiness", swappiness.map(|number| number.to_string()));
            let no_killer = memory.and_then(|memory| memory.disable_oom_killer());
            set(
                "memory.oom_control",
                no_killer.filter(|yes| *yes).map(|_| "1".to_owned()),
            );
        }
        "cpu" => {
            let cpu = resources.cpu().as_ref();
            let unsigned = |number: Option<u64>| number.map(|number| number.to_string());
            set("cpu.shares", unsigned(cpu.and_then(|cpu| cpu.shares())));
            set("cpu.cfs_period_us", unsigned(cpu.and_then(|cpu| cpu.period())));
            set("cpu.cfs_quota_us", text(cpu.and_then(|cpu| cpu.quota())));
            let period = cpu.and_then(|cpu| cpu.realtime_period());
            set("cpu.rt_period_us", unsigned(period));
            let runtime = cpu.and_then(|cpu| cpu.realtime_runtime());
            set("cpu.rt_runtime_us", text(runtime));
        }
        "cpuset" => {
            let cpus = resources.cpu().as_ref().and_then(|cpu| cpu.cpus().clone());
            set("cpuset.cpus", cpus.filter(|cpus| !cpus.is_empty()));
            let mems = resources.cpu().as_ref().and_then(|cpu| cpu.mems().clone());
            set("cpuset.mems", mems.filter(|mems| !mems.is_empty()));
        }
        "blkio" => {
            let blkio = resources.block_io().as_ref();
            let weight = blkio.and_then(|blkio| blkio.weight());
            set(
                weight_file("blkio.bfq.weight", "blkio.weight"),
                weight.map(|weight| weight.to_string()),
            );
            for (device, weight) in weights(resources) {
                set(
                    weight_file("blkio.bfq.weight_device", "blkio.weight_device"),
                    Some(format!("{device} {weight}")),
                );
            }
            for (file, _, device, rate) in rates(resources) {
                set(file, Some(format!("{device} {rate}")));
            }
        }
        "pids" => set(
            "pids.max",
            resources.pids().as_ref().map(|pids| pids.limit().to_string()),
        ),
        "devices" => {
            for rule in resources.devices().iter().flatten() {
                let file = if rule.allow() {
                    "devices.allow"
                } else {
                    "devices.deny"
                };
                set(file, Some(device(rule)));
            }
        }
        _ => {}
    }
    settings
}

/// The weight belongs to the scheduler: BFQ has a file of its own, and none is there where neither scheduler is.
fn weight_file(bfq: &'static str, cfq: &'static str) -> &'static str {
    let there = |name: &str| Path::new("/sys/fs/cgroup/blkio").join(name).exists();
    if there(bfq) || !there(cfq) { bfq } else { cfq }
}

/// `8:0` and its weight.
fn weights(resources: &LinuxResources) -> Vec<(String, u16)> {
    let devices = resources
        .block_io()
        .iter()
        .flat_map(|blkio| blkio.weight_device().iter().flatten());
    let one = |device: &LinuxWeightDevice| {
        let number = format!("{}:{}", device.major(), device.minor());
        Some((number, device.weight()?))
    };
    devices.filter_map(one).collect()
}

/// File on v1, key on v2, `8:0` and what is allowed a second.
fn rates(resources: &LinuxResources) -> Vec<(&'static str, &'static str, String, u64)> {
    let Some(blkio) = resources.block_io() else {
        return Vec::new();
    };
    let lists = [
        (
            "blkio.throttle.read_bps_device",
            "rbps",
            blkio.throttle_read_bps_device(),
        ),
        (
            "blkio.throttle.write_bps_device",
            "wbps",
            blkio.throttle_write_bps_device(),
        ),
        (
            "blkio.throttle.read_iops_device",
            "riops",
            blkio.throttle_read_iops_device(),
        ),
        (
            "blkio.throttle.write_iops_device",
            "wiops",
            blkio.throttle_write_iops_device(),
        ),
    ];
    let rates = lists.into_iter().flat_map(|(file, key, list)| {
        let devices = list.iter().flatten();
        devices.map(move |rate| {
            (
                file,
                key,
                format!("{}:{}", rate.major(), rate.minor()),
                rate.rate(),
            )
        })
    });
    rates.collect()
}

/// `c 1:3 rwm`; all of a kind has no number.
fn device(rule: &LinuxDeviceCgroup) -> String {
    let kind = match rule.typ() {
        Some(LinuxDeviceType::B) => "b",
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => "c",
        _ => return "a".to_owned(),
    };
    let number = |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let access = rule.access().as_deref().unwrap_or("rwm");
    format!(
        "{kind} {}:{} {access}",
        number(rule.major()),
        number(rule.minor())
    )
}

/// The files of a v2 group.
fn unified(resources: &LinuxResources) -> Settings {
    let mut settings = Settings::new();
    let mut set = |name, value: Option<String>| settings.extend(value.map(|value| (name, value)));
    let most = |bytes: i64| {
        if bytes < 0 {
            "max".to_owned()
        } else {
            bytes.to_string()
        }
    };
    if let Some(memory) = resources.memory() {
        set("memory.max", memory.limit().map(most));
        // Here swap counts alone, in the spec together with memory.
        let swap = memory.swap().map(|both| match (both, memory.limit()) {
            (both, Some(limit)) if both >= 0 => both - limit,
            (both, _) => both,
        });
        set("memory.swap.max", swap.map(most));
        set("memory.low", memory.reservation().map(most));
    }
    if let Some(cpu) = resources.cpu() {
        // 2..=262144 onto 1..=10000, as every runtime does it.
        let weight = cpu
            .shares()
            .map(|shares| 1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142);
        set("cpu.weight", weight.map(|weight| weight.to_string()));
        let quota = cpu.quota().zip(cpu.period());
        let most = |quota: i64| {
            if quota < 0 {
                "max".to_owned()
            } else {
                quota.to_string()
            }
        };
        set(
            "cpu.max",
            quota.map(|(quota, period)| format!("{} {period}", most(quota))),
        );
        set("cpuset.cpus", cpu.cpus().clone().filter(|cpus| !cpus.is_empty()));
        set("cpuset.mems", cpu.mems().clone().filter(|mems| !mems.is_empty()));
    }
    let weight = resources.block_io().as_ref().and_then(|blkio| blkio.weight());
    // 10..=1000 onto 1..=10000, as every runtime does it.
    let weight = weight.map(|weight| 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9_999 / 990);
    set("io.weight", weight.map(|weight| weight.to_string()));
    for (device, weight) in weights(resources) {
        set("io.bfq.weight", Some(format!("{device} {weight}")));
    }
    for (_, key, device, rate) in rates(resources) {
        set("io.max", Some(format!("{device} {key}={rate}")));
    }
    set(
        "pids.max",
        resources.pids().as_ref().map(|pids| pids.limit().to_string()),
    );
    settings
}

/// A v2 group has the files of a controller only when all groups above it pass the controller on.
fn enable(folder: &Path, settings: &Settings) -> Result<(), RuntimeError> {
    let controllers = settings.iter().filter_map(|(file, _)| file.split('.').next());
    let mut names: Vec<String> = controllers.map(|name| format!("+{name}")).collect();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let top = Path::new("/sys/fs/cgroup");
    let mut above: Vec<_> = folder
        .ancestors()
        .skip(1)
        .take_while(|path| path.starts_with(top))
        // Above a scope they are systemd's, which passes on what it delegates.
        .filter(|path| !systemd::is_delegated(folder) || systemd::is_delegated(path))
        .collect();
    above.reverse();
    for path in above {
        write(path, &vec![("cgroup.subtree_control", names.join(" "))])?;
    }
    Ok(())
}

/// On v1 a new cpuset holds no processor and no memory, and nothing may run in it.
fn inherit_cpus(folder: &Path) -> Result<(), RuntimeError> {
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let read =
            |path: &Path| fs::read_to_string(path.join(name)).map_err(RuntimeError::path("read", path));
        if !read(folder)?.trim().is_empty() {
            continue;
        }
        if read(parent)?.trim().is_empty() {
            inherit_cpus(parent)?;
        }
        write(folder, &vec![(name, read(parent)?.trim().to_owned())])?;
    }
    Ok(())
}

fn write(folder: &Path, settings: &Settings) -> Result<(), RuntimeError> {
    for (name, value) in settings {
        let path = folder.join(name);
        fs::write(&path, value).map_err(RuntimeError::path("write", &path))?;
    }
    Ok(())
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, RuntimeError> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(RuntimeError::path("open", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Hierarchies {
        let mount = |name: &str| (format!("/sys/fs/cgroup/{name}").into(), vec![name.to_owned()]);
        Hierarchies::Legacy(["memory", "devices", "pids", "freezer"].map(mount).to_vec())
    }

    fn names(hierarchies: Option<Hierarchies>) -> Option<Vec<String>> {
        match hierarchies? {
            Hierarchies::Legacy(mounts) => Some(mounts.into_iter().flat_map(|(_, names)| names).collect()),
            Hierarchies::Unified => None,
        }
    }

    #[test]
    fn limits_of_somebody_elses_group_hold() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("team")).unwrap();
        assert!(has_foreign_parent(folder.path(), "/team/build-1"));
        assert!(!has_foreign_parent(folder.path(), "/other/build-1"));
        assert!(!has_foreign_parent(folder.path(), "/build-1"));
        std::fs::create_dir(folder.path().join("plimsoll-1")).unwrap();
        assert!(!has_foreign_parent(folder.path(), "/plimsoll-1/build-1"));
    }

    #[test]
    fn only_what_has_something_to_do() {
        let mut spec = ContainerSpec::default();
        assert_eq!(
            names(hierarchies(&machine(), &spec)),
            Some(vec!["devices".into()])
        );
        spec.resources.memory = Some(1);
        let both = vec!["memory".into(), "devices".into()];
        assert_eq!(names(hierarchies(&machine(), &spec)), Some(both));
        let Hierarchies::Legacy(mut hybrid) = machine() else {
            unreachable!()
        };
        hybrid.push(("/sys/fs/cgroup/unified".into(), vec![]));
        let one = names(hierarchies(&Hierarchies::Legacy(hybrid), &spec));
        assert_eq!(one, Some(vec!["memory".into()]));
        spec.resources.nano_cpus = Some(1);
        assert_eq!(hierarchies(&machine(), &spec), None, "there is no cpu controller");
        let unified = Hierarchies::Unified;
        assert_eq!(hierarchies(&unified, &spec), Some(unified));
    }
}
