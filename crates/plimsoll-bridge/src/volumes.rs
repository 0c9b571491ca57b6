//! What is mounted into a container: volumes, files of the project, memory, secrets and configs.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use plimsoll_compose_file::model::{FileReference, Mount, MountType, Service};
use serde_json::{Value, json};

use crate::app::{App, SERVICE};
use crate::content::{self, Bound};
use crate::manifest::{Fields, Manifest, joined, object};
use crate::{limits, names};

/// Who may do what with a secret or a config of which nothing is said, as with Compose.
const MODE: u32 = 0o444;

/// The mounts of a container, and what they need.
#[derive(Default)]
pub(crate) struct Mounts {
    /// `volumeMounts` of the container.
    pub(crate) mounts: Vec<Value>,
    /// `volumes` of the pod.
    pub(crate) volumes: Vec<Value>,
    /// `volumeClaimTemplates` of a StatefulSet.
    pub(crate) claims: Vec<Value>,
    /// Objects with the files that are mounted.
    pub(crate) manifests: Vec<Manifest>,
    names: BTreeSet<String>,
}

/// Everything a service mounts.
pub(crate) fn of(app: &App<'_>, name: &str, service: &Service) -> Mounts {
    let mut all = Mounts::default();
    for (at, mount) in service.volumes.iter().enumerate() {
        all.add(app, name, &["services", name, "volumes", &at.to_string()], mount);
    }
    for (at, from) in service.volumes_from.iter().enumerate() {
        let path = ["services", name, "volumes_from", &at.to_string()];
        for mount in inherited(app, &path, from, 0) {
            all.add(app, name, &path, &mount);
        }
    }
    for (at, text) in service.tmpfs.iter().enumerate() {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        all.memory(app, &["services", name, "tmpfs", &at.to_string()], path, options);
    }
    for (at, device) in service.devices.iter().enumerate() {
        let path = ["services", name, "devices", &at.to_string()];
        app.notes.warn(
            &path,
            format!("`{}` is a device of the node in Kubernetes: it is mounted, and opening it needs `privileged`", device.source),
        );
        let volume = json!({ "hostPath": { "path": device.source } });
        all.mount("device", &device.target, volume, Fields::new());
    }
    if let Some(size) = service.shm_size {
        all.tmpfs("/dev/shm", Some(size), Fields::new());
    }
    all.given(app, name, service);
    all
}

/// Whether a mount is a volume without a name.
pub(crate) fn is_anonymous(mount: &Mount) -> bool {
    mount.kind == MountType::Volume && mount.source.as_deref().unwrap_or_default().is_empty()
}

/// `volumes_from`: what another service mounts.
fn inherited(app: &App<'_>, path: &[&str], from: &str, depth: u8) -> Vec<Mount> {
    let (source, mode) = from.split_once(':').unwrap_or((from, ""));
    let Some(other) = app.model.services.get(source).filter(|_| depth < 8) else {
        app.notes.warn(
            path,
            format!("there are no containers of others in Kubernetes: `{from}` is left out"),
        );
        return Vec::new();
    };
    let further = other
        .volumes_from
        .iter()
        .flat_map(|from| inherited(app, path, from, depth + 1));
    let mut mounts: Vec<Mount> = other.volumes.iter().cloned().chain(further).collect();
    mounts.retain(|mount| !is_anonymous(mount));
    mounts
        .iter_mut()
        .for_each(|mount| mount.read_only |= mode == "ro");
    mounts
}

impl Mounts {
    /// Adds a volume and where it is mounted; gives the volume's name.
    fn mount(&mut self, kind: &str, target: &str, source: Value, options: Fields) {
        let name = self.place(kind, target, options);
        self.volumes.push(joined(json!({ "name": name }), source));
    }

    /// Adds where a volume is mounted, under a name of its own.
    fn place(&mut self, kind: &str, target: &str, options: Fields) -> String {
        let mut name = names::label(&format!("{kind}-{}", target.trim_matches('/')));
        while !self.names.insert(name.clone()) {
            name = names::label(&format!("{name}-{}", self.names.len()));
        }
        let mut mount = Fields::new();
        mount.set("name", name.as_str()).set("mountPath", target);
        self.mounts.push(joined(mount.into(), options.into()));
        name
    }

    fn add(&mut self, app: &App<'_>, service: &str, path: &[&str], mount: &Mount) {
        let source = mount.source.as_deref().unwrap_or_default();
        let mut options = Fields::new();
        options.flag("readOnly", mount.read_only);
        match mount.kind {
            MountType::Volume if source.is_empty() => self.anonymous(app, path, mount, options),
            MountType::Volume => {
                options.set("subPath", mount.volume.subpath.clone());
                let volume = json!({ "persistentVolumeClaim": { "claimName": claim_name(app, source) } });
                self.mount("volume", &mount.target, volume, options);
            }
            MountType::Tmpfs => {
                if mount.tmpfs.mode.is_some() {
                    app.notes.warn(
                        path,
                        "a volume in memory is writable by everybody in Kubernetes: `mode` has no meaning",
                    );
                }
                let size = mount.tmpfs.size.filter(|size| *size > 0);
                self.tmpfs(&mount.target, size, options);
            }
            MountType::Bind => self.bind(app, service, path, mount, options),
            MountType::Image => {
                options.set("subPath", mount.image.subpath.clone());
                app.notes
                    .warn(path, "images are mounted by Kubernetes 1.33 and later only");
                let volume = json!({ "image": { "reference": source, "pullPolicy": "IfNotPresent" } });
                self.mount("image", &mount.target, volume, options);
            }
            MountType::Npipe | MountType::Cluster => {
                app.notes
                    .refuse(path, "Kubernetes has no such volumes", "mount a named volume");
            }
        }
    }

    /// Each replica has its own, and keeps it: a claim of a StatefulSet.
    fn anonymous(&mut self, app: &App<'_>, path: &[&str], mount: &Mount, options: Fields) {
        let name = self.place("volume", &mount.target, options);
        let mut metadata = Fields::new();
        metadata.set("name", name);
        let path = [path, &["volume", "labels"]].concat();
        metadata.set("annotations", app.annotations(&path, &mount.volume.labels));
        self.claims.push(json!({
            "metadata": Value::from(metadata),
            "spec": crate::things::claim_spec(&["ReadWriteOnce"], None),
        }));
    }

    fn tmpfs(&mut self, target: &str, size: Option<i64>, options: Fields) {
        let mut memory = Fields::new();
        memory
            .set("medium", "Memory")
            .set("sizeLimit", size.and_then(limits::bytes));
        self.mount(
            "tmpfs",
            target,
            json!({ "emptyDir": Value::from(memory) }),
            options,
        );
    }

    /// `tmpfs: PATH:size=64m,mode=1777`
    fn memory(&mut self, app: &App<'_>, path: &[&str], target: &str, options: &str) {
        let mut mount = Fields::new();
        let mut size = None;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=').unwrap_or((option, "")) {
                ("size", text) => size = size_of(text),
                ("ro", _) => {
                    mount.flag("readOnly", true);
                }
                ("rw" | "nosuid" | "nodev" | "exec", _) | ("mode", "1777" | "777") => {}
                _ => app.notes.warn(
                    path,
                    format!("a volume in memory has no option `{option}` in Kubernetes"),
                ),
            }
        }
        self.tmpfs(target, size, mount);
    }

    /// A file or a folder of the host: of the project, it goes along where it can; else it has to be on the node.
    fn bind(&mut self, app: &App<'_>, service: &str, path: &[&str], mount: &Mount, options: Fields) {
        let source = app
            .project
            .folder
            .join(mount.source.as_deref().unwrap_or_default());
        let is_own = source.starts_with(&app.project.folder) && source != app.project.folder;
        if is_own
            && (mount.read_only || source.is_file())
            && let Some(bound) = content::of_bind(&source)
        {
            if !mount.read_only {
                app.notes.advise(
                    path,
                    format!(
                        "`{}` goes along as it is now: the container cannot change it",
                        mount.target
                    ),
                    "add `:ro` to say so",
                );
            }
            self.files(app, service, &mount.target, &bound);
            return;
        }
        app.notes.advise(
            path,
            format!("`{source}` has to be on the node in Kubernetes"),
            "put the files into the image, a config or a volume; a small read-only file or folder of the project goes along",
        );
        // What is no file and no folder here may be a socket there: an unnamed kind is not looked at.
        let kind = match (source.is_dir(), mount.bind.creates_host_path()) {
            (true, true) => "DirectoryOrCreate",
            (true, false) => "Directory",
            (false, _) if source.is_file() => "File",
            (false, _) => "",
        };
        if mount.bind.selinux.is_some() {
            let message = "SELinux is the node's matter in Kubernetes: paths of it are not labelled anew";
            app.notes.warn(path, message);
        }
        let mut options = options;
        options.set("mountPropagation", propagation(mount.bind.propagation.as_deref()));
        let volume = json!({ "hostPath": { "path": source.as_str(), "type": kind } });
        self.mount("host", &mount.target, volume, options);
    }

    /// Files that go along: in a ConfigMap, or in a Secret when they look like one.
    fn files(&mut self, app: &App<'_>, service: &str, target: &str, bound: &Bound) {
        let name = names::label(&format!("{service}-{}", target.trim_matches('/')));
        let keyed: BTreeMap<String, Vec<u8>> = bound
            .files
            .iter()
            .map(|(path, bytes)| (names::file_key(path), bytes.clone()))
            .collect();
        let items: Vec<Value> = bound
            .files
            .keys()
            .map(|path| {
                let mode = if bound.executable.contains(path) {
                    0o555
                } else {
                    MODE
                };
                json!({ "key": names::file_key(path), "path": path, "mode": mode })
            })
            .collect();
        let metadata = app.metadata(&name, &[(SERVICE, service)]);
        let (kind, ending, source) = match bound.is_secret {
            true => (
                "Secret",
                "secret",
                json!({ "secret": { "secretName": name, "items": items } }),
            ),
            false => (
                "ConfigMap",
                "configmap",
                json!({ "configMap": { "name": name, "items": items } }),
            ),
        };
        let mut value = object("v1", kind, metadata);
        if bound.is_secret {
            value.insert("type".to_owned(), json!("Opaque"));
            value.insert("data".to_owned(), content::secret_data(&keyed));
        } else {
            value.extend(content::config_data(&keyed));
        }
        self.manifests.push(Manifest {
            file: format!("{name}-{ending}.yaml"),
            service: Some(service.to_owned()),
            value: Value::Object(value),
        });
        let mut options = Fields::new();
        if !bound.is_folder {
            options.set("subPath", bound.files.keys().next().cloned());
        }
        options.flag("readOnly", true);
        self.mount("files", target, source, options);
    }

    /// Secrets and configs.
    fn given(&mut self, app: &App<'_>, name: &str, service: &Service) {
        for (at, reference) in service.secrets.iter().enumerate() {
            let path = ["services", name, "secrets", &at.to_string()];
            note_owner(app, &path, reference);
            let secret = names::label(&external(&app.model.secrets, &reference.source));
            let target = target(reference, "/run/secrets");
            let item = item(reference);
            let volume = json!({ "secret": { "secretName": secret, "items": [item] } });
            self.mount("secret", &target, volume, one_file(&reference.source));
        }
        for (at, reference) in service.configs.iter().enumerate() {
            let path = ["services", name, "configs", &at.to_string()];
            note_owner(app, &path, reference);
            let is_external = app
                .model
                .configs
                .get(&reference.source)
                .is_some_and(|config| config.external);
            let map = match is_external {
                true => names::label(&external(&app.model.configs, &reference.source)),
                false => app.namespace(),
            };
            let target = target(reference, "");
            let volume = json!({ "configMap": { "name": map, "items": [item(reference)] } });
            self.mount("config", &target, volume, one_file(&reference.source));
        }
    }
}

/// What an object of somebody else's is called there.
fn external(objects: &BTreeMap<String, plimsoll_compose_file::model::FileObject>, key: &str) -> String {
    match objects.get(key) {
        Some(object) if object.external && !object.name.is_empty() => object.name.clone(),
        _ => key.to_owned(),
    }
}

/// A path of its own: the rest of the folder stays.
fn one_file(key: &str) -> Fields {
    let mut options = Fields::new();
    options
        .set("subPath", names::file_key(key))
        .flag("readOnly", true);
    options
}

fn item(reference: &FileReference) -> Value {
    let key = names::file_key(&reference.source);
    json!({ "key": key, "path": key, "mode": reference.mode.unwrap_or(MODE) })
}

fn target(reference: &FileReference, folder: &str) -> String {
    let target = reference.target.as_deref().filter(|target| !target.is_empty());
    let target = target.unwrap_or(&reference.source);
    match Utf8Path::new(target).is_absolute() {
        true => target.to_owned(),
        false => format!("{folder}/{target}"),
    }
}

fn note_owner(app: &App<'_>, path: &[&str], reference: &FileReference) {
    if reference.uid.is_some() || reference.gid.is_some() {
        app.notes.advise(
            path,
            "files of secrets and configs belong to root in Kubernetes, and to the group of the pod",
            "a `user` with numbers makes its group that of the pod",
        );
    }
}

/// The claim of a volume.
pub(crate) fn claim_name(app: &App<'_>, key: &str) -> String {
    match app.model.volumes.get(key) {
        Some(volume) if volume.external && !volume.name.is_empty() => names::label(&volume.name),
        _ => names::label(key),
    }
}

fn propagation(text: Option<&str>) -> Option<&'static str> {
    match text? {
        "rshared" | "shared" => Some("Bidirectional"),
        "rslave" | "slave" => Some("HostToContainer"),
        _ => None,
    }
}

/// A size as mount options write it: `64m`.
fn size_of(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_lowercase().chars().next() {
        Some('k') => 1 << 10,
        Some('m') => 1 << 20,
        Some('g') => 1 << 30,
        _ => 1,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}
