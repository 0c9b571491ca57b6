//! What is mounted in a container: the defaults, and over them what was asked for.

use crate::RuntimeError;
use crate::cgroup::Hierarchies;
use crate::container_spec::{ContainerSpec, Ipc, Mount, MountKind, NetworkNamespace, Sharing};
use crate::defaults;
use crate::host::Host;
use crate::id_map::IdMap;
use oci_spec::runtime::{Mount as OciMount, MountBuilder};
use std::path::{Path, PathBuf};

/// The kernel that has mount_setattr(2).
const RECURSIVE_ATTRIBUTES: (u32, u32) = (5, 12);

/// The group of terminals, in every distribution.
const TERMINALS: u32 = 5;

const CGROUPS: &str = "/sys/fs/cgroup";

/// Every mount, parents before what lies below them.
pub(super) fn all(spec: &ContainerSpec, host: &Host) -> Result<Vec<OciMount>, RuntimeError> {
    let mut mounts = Vec::new();
    for (kind, source, target, options) in defaults::MOUNTS {
        if spec.mounts.iter().any(|mount| mount.target == Path::new(target)) {
            continue;
        }
        let mut options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        match *target {
            "/dev/shm" => options.push(format!("size={}", shm_size(spec))),
            "/sys" | CGROUPS if spec.privileged => options.retain(|option| option != "ro"),
            _ => {}
        }
        if let Some(map) = &spec.userns {
            // The group of terminals may not be in a small map; then they belong to root's.
            options = options
                .iter()
                .filter_map(|option| outer(option, map).ok())
                .collect();
        }
        if host.ordinary && is_hosts(target, spec) {
            if !Path::new(target).exists() {
                continue;
            }
            let kept = ["nosuid", "noexec", "nodev", "ro"]
                .into_iter()
                .filter(|option| options.contains(&(*option).to_owned()));
            let options = std::iter::once("rbind").chain(kept).map(str::to_owned).collect();
            mounts.push(mount("bind", Path::new(target), Path::new(target), options)?);
            continue;
        }
        if host.ordinary && crate::privilege::last_group() < TERMINALS {
            options.retain(|option| *option != format!("gid={TERMINALS}"));
        }
        match &host.hierarchies {
            _ if *target == "/dev/shm" && spec.ipc == Ipc::NoShm => {}
            _ if *target == "/dev/shm" && spec.ipc == Ipc::Host => {
                let options = ["rbind", "nosuid", "noexec", "nodev"].map(str::to_owned).to_vec();
                mounts.push(mount("bind", Path::new(target), Path::new(target), options)?);
            }
            Hierarchies::Legacy(hierarchies) if *target == CGROUPS => {
                mounts.extend(legacy_cgroups(spec, hierarchies)?);
            }
            _ => mounts.push(mount(kind, Path::new(source), Path::new(target), options)?),
        }
    }
    for wanted in &spec.mounts {
        mounts.push(requested(wanted, spec.userns.as_ref(), host)?);
    }
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

/// Whether a file system would show what belongs to a namespace of the host's: an ordinary user can only bind it.
fn is_hosts(target: &str, spec: &ContainerSpec) -> bool {
    match target {
        "/proc" => spec.pid == Sharing::Host,
        "/sys" => spec.network == NetworkNamespace::Host,
        "/dev/mqueue" => spec.ipc == Ipc::Host,
        CGROUPS => spec.cgroupns == Sharing::Host,
        _ => false,
    }
}

/// Targets of every mount of a container.
pub(crate) fn targets(spec: &ContainerSpec) -> Vec<PathBuf> {
    let defaults = defaults::MOUNTS
        .iter()
        .map(|(_, _, target, _)| PathBuf::from(target));
    defaults
        .chain(spec.mounts.iter().map(|mount| mount.target.clone()))
        .collect()
}

/// Mount points that must be read-only but cannot be from the start, because others are made in them.
pub(super) fn read_only_afterwards(host: &Host) -> Option<String> {
    matches!(host.hierarchies, Hierarchies::Legacy(_)).then(|| CGROUPS.to_owned())
}

/// On cgroup v1 the library would mount each hierarchy writable, whatever the options say, and a container could lift
/// its own limits. So its own folder of each is bound instead.
fn legacy_cgroups(
    spec: &ContainerSpec,
    hierarchies: &[(PathBuf, Vec<String>)],
) -> Result<Vec<OciMount>, RuntimeError> {
    let flags = ["nosuid", "noexec", "nodev"].map(str::to_owned);
    let mut options = flags.to_vec();
    options.push("mode=755".to_owned());
    let mut mounts = vec![mount("tmpfs", Path::new("tmpfs"), Path::new(CGROUPS), options)?];
    for (point, controllers) in hierarchies {
        // The tree of v2 on a hybrid machine: there is nothing to be seen in it.
        if controllers.is_empty() {
            continue;
        }
        let Some(name) = point.file_name() else { continue };
        let mut options = flags.to_vec();
        options.push("bind".to_owned());
        if !spec.privileged {
            options.push("ro".to_owned());
        }
        let source = point.join(spec.cgroup.trim_start_matches('/'));
        mounts.push(mount("bind", &source, &Path::new(CGROUPS).join(name), options)?);
    }
    Ok(mounts)
}

/// A mount option in which a user or group of the container is named, as it is on the host.
fn outer(option: &str, map: &IdMap) -> Result<String, RuntimeError> {
    let (key, id) = match option.split_once('=') {
        Some((key @ ("uid" | "gid"), id)) => (key, id),
        _ => return Ok(option.to_owned()),
    };
    let found = id.parse().ok().and_then(|id| match key {
        "uid" => map.outer_user(id),
        _ => map.outer_group(id),
    });
    let missing = || {
        RuntimeError::Invalid(format!(
            "mount option `{option}`: it is not in the container's map of users"
        ))
    };
    Ok(format!("{key}={}", found.ok_or_else(missing)?))
}

fn requested(wanted: &Mount, map: Option<&IdMap>, host: &Host) -> Result<OciMount, RuntimeError> {
    if !wanted.target.is_absolute() {
        return Err(RuntimeError::Invalid(format!(
            "invalid mount path: `{}` must be absolute",
            wanted.target.display()
        )));
    }
    match wanted.kind {
        MountKind::Bind => {
            let has = |name: &str| wanted.options.iter().any(|option| option == name);
            let mut options = Vec::new();
            if !has("bind") {
                options.push("rbind".to_owned());
            }
            if wanted.read_only && !has("ro") {
                options.push("ro".to_owned());
                // Recursively, or a file system mounted below could be written all the same.
                if host.kernel >= RECURSIVE_ATTRIBUTES {
                    options.push("rro".to_owned());
                }
            }
            options.extend(
                wanted
                    .options
                    .iter()
                    .filter(|option| map.is_some() || *option != "idmap")
                    .cloned(),
            );
            mount("bind", &wanted.source, &wanted.target, options)
        }
        MountKind::Image => mount("overlay", &wanted.source, &wanted.target, vec!["ro".to_owned()]),
        MountKind::Tmpfs => {
            let mut options = ["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
            for option in &wanted.options {
                options.push(map.map_or_else(|| Ok(option.clone()), |map| outer(option, map))?);
            }
            if wanted.read_only {
                options.push("ro".to_owned());
            }
            mount("tmpfs", Path::new("tmpfs"), &wanted.target, options)
        }
    }
}

fn shm_size(spec: &ContainerSpec) -> u64 {
    if spec.shm_size == 0 {
        defaults::SHM_SIZE
    } else {
        spec.shm_size
    }
}

fn mount(kind: &str, source: &Path, target: &Path, options: Vec<String>) -> Result<OciMount, RuntimeError> {
    Ok(MountBuilder::default()
        .typ(kind)
        .source(source)
        .destination(target)
        .options(options)
        .build()?)
}
