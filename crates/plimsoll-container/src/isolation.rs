//! What a container shares with the host or with another container, and which devices of the host it has.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_runtime::{
    ContainerSpec, Device, IdMap, IdRange, Ipc, MountKind, Namespaces, RuntimeError, Sharing, SystemPaths,
    place_of_group,
};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::containers::Containers;
use crate::device_request::DeviceRequest;
use crate::device_specs::DeviceSpecs;
use crate::model::{Definition, Paths, read_json};
use crate::{ContainerError, Result, user_ranges};

/// Docker's words of the options; empty is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// `host` or `container:ID`.
    pub pid: String,
    /// `none`, `private`, `shareable`, `host` or `container:ID`.
    pub ipc: String,
    /// `host`.
    pub uts: String,
    /// `host` or `private`.
    pub cgroupns: String,
    /// A group, or a slice of systemd, in which its own group is.
    pub cgroup_parent: String,
    /// `host`, `auto[:size=NUMBER]`, or `UID:GID[:SIZE]` of root on the host.
    pub userns: String,
    /// `CONTAINER:HOST[:SIZE]`, instead of it.
    pub uid_maps: Vec<String>,
    /// Likewise; those of users where there are none.
    pub gid_maps: Vec<String>,
    /// A process of ours comes first, which reaps and forwards signals.
    pub init: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// `HOST[:CONTAINER][:rwm]`.
    pub devices: Vec<String>,
    /// Devices that their makers describe.
    pub device_requests: Vec<DeviceRequest>,
    /// Where they do so; empty is the usual places.
    pub device_specs: Vec<Utf8PathBuf>,
    /// `c 42:* rmw`.
    pub device_rules: Vec<String>,
    /// Nothing of /proc and /sys is covered.
    pub unconfined_paths: bool,
    /// A profile; empty is the one of this process.
    pub apparmor: String,
    /// Refused where the user turns out to be root.
    pub non_root: bool,
    /// Who makes it: `direct`, `libcontainer`, or one of Docker's names, which is what suits.
    pub runtime: String,
    /// `--security-opt`, as it was written.
    pub security_opt: Vec<String>,
}

impl Isolation {
    /// Checks the words, names other containers by their ids, and writes it all into what the runtime gets.
    pub(crate) fn apply(&mut self, spec: &mut ContainerSpec, containers: &Containers) -> Result<()> {
        spec.pid = match self.pid.as_str() {
            "" => Sharing::Own,
            "host" => Sharing::Host,
            other => {
                self.pid = containers.sharer(other, "--pid: invalid PID mode")?;
                Sharing::Given
            }
        };
        spec.ipc = match self.ipc.as_str() {
            "" | "private" | "shareable" => Ipc::Own,
            "none" => Ipc::NoShm,
            "host" => Ipc::Host,
            other => {
                self.ipc = containers.sharer(other, "--ipc: invalid IPC mode")?;
                Ipc::Given
            }
        };
        spec.uts = own_or_host(&self.uts, "--uts: invalid UTS mode")?;
        spec.cgroupns = own_or_host(&self.cgroupns, "--cgroupns: invalid CGROUP mode")?;
        let instance = containers.store.instance();
        spec.cgroup = place_of_group(instance, &spec.id, Some(&self.cgroup_parent))?;
        spec.by_library = match self.runtime.as_str() {
            "" | "direct" | "runc" | "io.containerd.runc.v2" => false,
            "libcontainer" => true,
            name => {
                let text = format!("unknown or invalid runtime name: {name}");
                return Err(ContainerError::Option(text));
            }
        };
        spec.userns = self.map_of_users(&spec.id, containers)?;
        if spec.userns.is_some() {
            IdMap::check_host().map_err(without_map)?;
            if spec.privileged {
                return Err(ContainerError::Option(
                    "privileged mode is incompatible with user namespaces: leave out `--userns`, or use `--userns host`"
                        .to_owned(),
                ));
            }
            let all = user_ranges::wanted(&self.userns).is_some();
            own_files_are_roots(spec, containers.store.root(), all);
        }
        spec.init = self.init;
        spec.oom_score_adj = self.oom_score_adj;
        spec.device_rules.clone_from(&self.device_rules);
        spec.apparmor.clone_from(&self.apparmor);
        spec.non_root = self.non_root;
        if self.unconfined_paths {
            spec.system_paths = SystemPaths::Unconfined;
        }
        for text in &self.devices {
            spec.devices.extend(devices(text)?);
        }
        Ok(())
    }

    /// Opens the namespaces of other containers, which must run.
    pub(crate) fn join(&self, root: &Utf8Path, run: &Utf8Path, joined: &mut Namespaces) -> Result<()> {
        if let Some(id) = self.pid.strip_prefix("container:") {
            joined.pid = Some(namespace(root, run, id, "pid")?);
        }
        if let Some(id) = self.ipc.strip_prefix("container:") {
            let definition: Option<Definition> =
                read_json(Paths::new(root, run, id).definition().as_std_path())?;
            if definition.is_some_and(|other| other.isolation.ipc != "shareable") {
                let text = format!(
                    "can't join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                );
                return Err(ContainerError::Option(text));
            }
            joined.ipc = Some(namespace(root, run, id, "ipc")?);
            joined.mounts = Some(namespace(root, run, id, "mnt")?);
        }
        Ok(())
    }
}

impl Isolation {
    /// The same container with the devices that it asked for by what they can do, as they are now.
    pub(crate) fn with_devices(&self, spec: &ContainerSpec) -> Result<ContainerSpec> {
        let mut spec = spec.clone();
        if self.device_requests.is_empty() {
            return Ok(spec);
        }
        let specs = DeviceSpecs::read(&self.device_specs);
        for request in &self.device_requests {
            specs.inject(&request.names(&specs)?, &mut spec)?;
        }
        Ok(spec)
    }

    /// Whose users it has where nobody has said so.
    pub(crate) fn or_users(&mut self, userns: &str) {
        if self.userns.is_empty() && self.uid_maps.is_empty() && self.gid_maps.is_empty() {
            userns.clone_into(&mut self.userns);
        }
    }

    fn map_of_users(&self, id: &str, containers: &Containers) -> Result<Option<IdMap>> {
        match user_ranges::wanted(&self.userns) {
            Some(size) if self.uid_maps.is_empty() && self.gid_maps.is_empty() => {
                containers.claim_users(id, size?).map(Some)
            }
            _ => self.given_map(),
        }
    }

    fn given_map(&self) -> Result<Option<IdMap>> {
        if self.uid_maps.is_empty() && self.gid_maps.is_empty() {
            return map_from(&self.userns);
        }
        if !self.userns.is_empty() {
            let text = "conflicting options: --userns and --uidmap or --gidmap";
            return Err(ContainerError::Option(text.to_owned()));
        }
        let ranges = |texts: &[String], other: &[String]| -> Result<Vec<_>> {
            let texts = if texts.is_empty() { other } else { texts };
            texts.iter().map(|text| range(text)).collect()
        };
        let uids = ranges(&self.uid_maps, &self.gid_maps)?;
        Ok(Some(IdMap::new(uids, ranges(&self.gid_maps, &self.uid_maps)?)?))
    }
}

/// The way out is the same for whatever is missing.
fn without_map(error: RuntimeError) -> ContainerError {
    ContainerError::Option(format!("{error}: use `--userns host`"))
}

/// Volumes and what we put into /etc belong to root of the container, whoever that is. What is the user's stays the host's
/// where the user has said who is who; otherwise nobody could name an owner, and it is as without a map.
fn own_files_are_roots(spec: &mut ContainerSpec, root: &Utf8Path, all: bool) {
    let ours = |mount: &&mut plimsoll_runtime::Mount| {
        mount.kind == MountKind::Bind && (all || mount.source.starts_with(root.as_std_path()))
    };
    for mount in spec.mounts.iter_mut().filter(ours) {
        mount.options.push("idmap".to_owned());
    }
}

impl Containers {
    /// `container:NAME` with its id.
    fn sharer(&self, text: &str, otherwise: &str) -> Result<String> {
        match text.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(format!("container:{}", self.get(name)?.id())),
            _ => Err(ContainerError::Option(otherwise.to_owned())),
        }
    }
}

/// The supervisor's lock says that the container is alive; the pid is only read while it is held.
fn namespace(root: &Utf8Path, run: &Utf8Path, id: &str, kind: &str) -> Result<OwnedFd> {
    let paths = Paths::new(root, run, id);
    let gone = || ContainerError::NotRunning(id.get(..12).unwrap_or(id).to_owned());
    let pid = paths.read_state()?.pid;
    if pid == 0 || !paths.is_supervised() {
        return Err(gone());
    }
    let path = format!("/proc/{pid}/ns/{kind}");
    let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    if paths.read_state()?.pid != pid || !paths.is_supervised() {
        return Err(gone());
    }
    opened.map_err(|error| ContainerError::file("open", path)(error.into()))
}

fn own_or_host(text: &str, otherwise: &str) -> Result<Sharing> {
    match text {
        "" | "private" => Ok(Sharing::Own),
        "host" => Ok(Sharing::Host),
        _ => Err(ContainerError::Option(otherwise.to_owned())),
    }
}

/// None is the host's own, which is the default.
fn map_from(text: &str) -> Result<Option<IdMap>> {
    if matches!(text, "" | "host") {
        return Ok(None);
    }
    let (uid, gid, size) = match numbers(text).as_deref() {
        Some([uid, gid]) => (*uid, *gid, user_ranges::SIZE),
        Some([uid, gid, size]) => (*uid, *gid, *size),
        _ => {
            return Err(ContainerError::Option(format!(
                "--userns: invalid USER mode `{text}`: expected `host`, `auto` or `UID:GID[:SIZE]`"
            )));
        }
    };
    let all_from = |outside| {
        let range = IdRange {
            inside: 0,
            outside,
            size,
        };
        vec![range]
    };
    Ok(Some(IdMap::new(all_from(uid), all_from(gid))?))
}

fn range(text: &str) -> Result<IdRange> {
    let (inside, outside, size) = match numbers(text).as_deref() {
        Some([inside, outside]) => (*inside, *outside, 1),
        Some([inside, outside, size]) => (*inside, *outside, *size),
        _ => {
            return Err(ContainerError::Option(format!(
                "invalid map of ids `{text}`: expected `CONTAINER:HOST[:SIZE]`"
            )));
        }
    };
    Ok(IdRange {
        inside,
        outside,
        size,
    })
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split(':').map(|part| part.parse().ok()).collect()
}

/// One device, or those in a folder.
fn devices(text: &str) -> Result<Vec<Device>> {
    let (source, target, access) = device_parts(text)?;
    let wrong = |error: std::io::Error| {
        ContainerError::Option(format!(
            "error gathering device information while adding custom device \"{source}\": {error}"
        ))
    };
    let facts = fs::metadata(source).map_err(wrong)?;
    if !facts.is_dir() {
        let device = device(Path::new(source), Path::new(target), access).map_err(wrong)?;
        return device
            .map(|device| vec![device])
            .ok_or_else(|| wrong(std::io::Error::other("not a device node")));
    }
    let mut found = Vec::new();
    collect(Path::new(source), Path::new(target), access, &mut found).map_err(wrong)?;
    Ok(found)
}

fn collect(folder: &Path, target: &Path, access: &str, found: &mut Vec<Device>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let inner = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &inner, access, found)?;
        } else {
            found.extend(device(&entry.path(), &inner, access)?);
        }
    }
    Ok(())
}

fn device(source: &Path, target: &Path, access: &str) -> std::io::Result<Option<Device>> {
    let facts = fs::metadata(source)?;
    let kind = facts.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Ok(None);
    }
    Ok(Some(Device {
        path: PathBuf::from(target),
        block: kind.is_block_device(),
        major: rustix::fs::major(facts.rdev()),
        minor: rustix::fs::minor(facts.rdev()),
        mode: facts.mode() & 0o777,
        uid: facts.uid(),
        gid: facts.gid(),
        access: access.to_owned(),
    }))
}

/// Source, target and access of `/dev/a`, `/dev/a:/dev/b`, `/dev/a:r`, `/dev/a:/dev/b:rw`.
pub(crate) fn device_parts(text: &str) -> Result<(&str, &str, &str)> {
    let is_access = |text: &str| !text.is_empty() && text.bytes().all(|byte| b"rwm".contains(&byte));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, access) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, access] if is_access(access) => (source, source, access),
        [source, target] => (source, target, "rwm"),
        [source, target, access] if is_access(access) => (source, target, access),
        [_, _, access] => return Err(ContainerError::Option(format!("invalid device mode: {access}"))),
        _ => {
            return Err(ContainerError::Option(format!(
                "invalid device specification: {text}"
            )));
        }
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err(ContainerError::Option(format!(
            "invalid device specification: {text}: paths must be absolute"
        )));
    }
    Ok((source, target, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_in_docker() {
        let table = [
            ("/dev/a", ("/dev/a", "/dev/a", "rwm")),
            ("/dev/a:r", ("/dev/a", "/dev/a", "r")),
            ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
            ("/dev/a:/dev/b:rw", ("/dev/a", "/dev/b", "rw")),
        ];
        for (text, parts) in table {
            assert_eq!(device_parts(text).unwrap(), parts);
        }
        let wrong = ["/dev/a:/dev/b:x", "dev/a", "/a:/b:r:w"];
        assert!(wrong.iter().all(|text| device_parts(text).is_err()));
        let null = devices("/dev/null:/dev/nothing:r").unwrap();
        assert_eq!((null[0].major, null[0].minor, null[0].block), (1, 3, false));
        assert_eq!(
            (null[0].path.as_path(), null[0].access.as_str()),
            (Path::new("/dev/nothing"), "r")
        );
        assert!(
            devices("/etc/passwd")
                .unwrap_err()
                .to_string()
                .contains("not a device node")
        );
        assert!(devices("/no/such").is_err());
    }

    fn map(userns: &str, uid_maps: &[&str], gid_maps: &[&str]) -> Result<Option<IdMap>> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let isolation = Isolation {
            userns: userns.to_owned(),
            uid_maps: owned(uid_maps),
            gid_maps: owned(gid_maps),
            ..Isolation::default()
        };
        isolation.given_map()
    }

    #[test]
    fn maps_of_users_in_every_form() {
        assert_eq!(
            (map("", &[], &[]).unwrap(), map("host", &[], &[]).unwrap()),
            (None, None)
        );
        let of = |map: Result<Option<IdMap>>, id| {
            let map = map.unwrap().unwrap();
            (map.outer_user(id), map.outer_group(id))
        };
        assert_eq!(
            of(map("100000:200000", &[], &[]), 65_535),
            (Some(165_535), Some(265_535))
        );
        assert_eq!(of(map("5:6:7", &[], &[]), 7), (None, None));
        assert_eq!(
            of(map("", &["0:1000", "1:100000:9"], &[]), 9),
            (Some(100_008), Some(100_008))
        );
        assert_eq!(of(map("", &["0:1000:2"], &["0:9:2"]), 1), (Some(1001), Some(10)));
        for (userns, maps) in [
            ("automatic", &[][..]),
            ("1", &[]),
            ("1:2:0", &[]),
            ("4294967295:1", &[]),
            ("a:b", &[]),
            ("host", &["0:1"]),
            ("", &["0"]),
            ("", &["1:5:9"]),
        ] {
            assert!(map(userns, maps, &[]).is_err(), "{userns} {maps:?}");
        }
    }
}
