//! Who makes a container: chosen when it is made.

use crate::container_spec::{ContainerSpec, Device, Resources};
use crate::direct::{Direct, DirectContainer};
use crate::privilege::in_user_namespace;
use crate::source::beneath;
use rustix::fs::{major, minor};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::{Bundle, Libcontainer, OciRuntime, ProcessSpec, RuntimeError, Stdio};

/// One container, made on the direct path where it leads, else by libcontainer.
#[derive(Default)]
pub struct Engine(Option<Box<dyn OciRuntime>>);

impl Engine {
    /// Nothing yet; [`OciRuntime::create`] makes the container.
    pub fn new() -> Self {
        Self::default()
    }

    fn made(&mut self) -> Result<&mut dyn OciRuntime, RuntimeError> {
        match &mut self.0 {
            Some(made) => Ok(made.as_mut()),
            None => Err(RuntimeError::Misuse("the container has not been created")),
        }
    }
}

impl OciRuntime for Engine {
    fn create(&mut self, bundle: Bundle<'_>) -> Result<i32, RuntimeError> {
        let direct = Direct::new(bundle.filters.to_owned())?;
        let directly = !bundle.spec.by_library && direct.covers(bundle.spec);
        if let Some(what) = only_directly(bundle.spec).filter(|_| !directly) {
            let text = format!(
                "{what} is not to be had with these options here: libcontainer would make this container"
            );
            return Err(RuntimeError::Invalid(text));
        }
        let made: Box<dyn OciRuntime> = if directly {
            Box::new(DirectContainer::new(direct))
        } else {
            Box::new(Libcontainer::new())
        };
        let whole = bundle.spec.privileged.then(|| with_devices_of_host(bundle.spec));
        let spec = whole.as_ref().unwrap_or(bundle.spec);
        self.0.insert(made).create(Bundle { spec, ..bundle })
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        self.made()?.start()
    }

    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError> {
        self.made()?.exec(process, stdio)
    }

    fn kill(&mut self, signal: i32, all: bool) -> Result<(), RuntimeError> {
        self.made()?.kill(signal, all)
    }

    fn update(&mut self, resources: &Resources) -> Result<Vec<String>, RuntimeError> {
        self.made()?.update(resources)
    }

    fn freeze(&mut self, frozen: bool) -> Result<(), RuntimeError> {
        self.made()?.freeze(frozen)
    }

    fn warnings(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |made| made.warnings())
    }

    fn oom_killed(&self) -> bool {
        self.0.as_ref().is_some_and(|made| made.oom_killed())
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        self.0.as_mut().map_or(Ok(()), |made| made.delete())
    }
}

/// What libcontainer has not; for an ordinary user it has nothing.
fn only_directly(spec: &ContainerSpec) -> Option<&'static str> {
    if in_user_namespace() {
        return Some("a container of an ordinary user");
    }
    let part = spec.mounts.iter().any(|mount| beneath(&mount.options).is_some());
    match spec.userns {
        Some(_) => Some("a map of users"),
        None if !spec.images.is_empty() => Some("a mount of an image"),
        None => part.then_some("a part of a volume"),
    }
}

/// What is in /dev of the host that a container has not got of its own: mounts, terminals, and what it names itself.
fn with_devices_of_host(spec: &ContainerSpec) -> ContainerSpec {
    let mut spec = spec.clone();
    let mut found = Vec::new();
    collect(Path::new("/dev"), &mut found);
    found.retain(|device| !spec.devices.iter().any(|named| named.path == device.path));
    spec.devices.extend(found);
    spec
}

/// What cannot be looked at is left out, as it may be gone.
fn collect(folder: &Path, found: &mut Vec<Device>) {
    const OWN: [&str; 12] = [
        "pts", "shm", "fd", "mqueue", ".udev", "console", "ptmx", "null", "zero", "full", "random", "urandom",
    ];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(facts) = entry.metadata() else { continue };
        let kind = facts.file_type();
        if OWN.iter().any(|own| name == *own) || name == "tty" {
            continue;
        } else if kind.is_dir() {
            collect(&path, found);
        } else if kind.is_block_device() || kind.is_char_device() {
            found.push(Device {
                path,
                block: kind.is_block_device(),
                major: major(facts.rdev()),
                minor: minor(facts.rdev()),
                mode: facts.mode() & 0o777,
                uid: facts.uid(),
                gid: facts.gid(),
                access: "rwm".to_owned(),
            });
        }
    }
}
