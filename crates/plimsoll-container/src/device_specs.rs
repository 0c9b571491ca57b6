//! Devices as their makers describe them: the Container Device Interface (SPEC.md of cncf-tags/container-device-interface).
//!
//! A file of the folders `/etc/cdi` and `/var/run/cdi` says for each device of a kind what a container that has it gets:
//! variables, nodes, mounts, groups, programs that are called. A file of a later folder beats those of earlier ones; two
//! in one folder that describe the same device make it unusable.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_compose_file::parse;
use plimsoll_diagnostics::Source;
use plimsoll_runtime::{ContainerSpec, Device, Hook, HookStage, Mount, MountKind};
use serde::{Deserialize, Deserializer};

use crate::{ContainerError, Result};

/// Where files lie unless the settings say otherwise; later ones win.
const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Every device that is described on this machine.
#[derive(Debug, Default)]
pub struct DeviceSpecs {
    specs: Vec<Spec>,
    /// By full name: the spec, and the device in it.
    devices: BTreeMap<String, (usize, usize)>,
    /// Files that are not read, and devices described twice, each with the reason.
    wrong: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(deserialize_with = "text")]
    cdi_version: String,
    kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: serde_json::Value,
    #[serde(default)]
    devices: Vec<Described>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Described {
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(default, rename = "annotations")]
    _annotations: serde_json::Value,
    #[serde(default)]
    container_edits: Edits,
}

/// What a container gets.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Mounted>,
    hooks: Vec<Called>,
    additional_gids: Vec<u32>,
    net_devices: Vec<serde_json::Value>,
    intel_rdt: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Node {
    path: PathBuf,
    host_path: Option<PathBuf>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mounted {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Called {
    hook_name: HookStage,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    timeout: Option<u64>,
}

/// YAML has numbers where names are meant: the first device is often called `0`.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("`{other}` is no name"))),
    }
}

/// Whether a text is a device's full name: `vendor.com/class=name` (SPEC.md, "Kind" and "Device").
pub fn is_device_name(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, name)| {
        is_kind(kind) && is_word(name, "_-.:", |first| first.is_ascii_alphanumeric())
    })
}

fn is_kind(text: &str) -> bool {
    let letter = |first: char| first.is_ascii_alphabetic();
    text.split_once('/')
        .is_some_and(|(vendor, class)| is_word(vendor, "_-.", letter) && is_word(class, "_-", letter))
}

/// Letters, digits and some others in between.
fn is_word(text: &str, between: &str, first: impl Fn(char) -> bool) -> bool {
    text.starts_with(first)
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || between.contains(letter))
}

impl DeviceSpecs {
    /// Reads every file of the folders, the usual ones if there are none. What cannot be read is told when a device is
    /// missing.
    pub fn read(folders: &[Utf8PathBuf]) -> Self {
        let usual = FOLDERS.map(Utf8PathBuf::from);
        let mut all = Self::default();
        for folder in if folders.is_empty() { &usual[..] } else { folders } {
            all.read_folder(folder);
        }
        all
    }

    fn read_folder(&mut self, folder: &Utf8Path) {
        let mut files: Vec<Utf8PathBuf> = folder
            .read_dir_utf8()
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.into_path()))
            .filter(|path| matches!(path.extension(), Some("json" | "yaml")))
            .collect();
        files.sort();
        let mut here: BTreeMap<String, Option<(usize, usize)>> = BTreeMap::new();
        for file in files {
            let spec = match Spec::read(&file) {
                Ok(spec) => spec,
                Err(reason) => {
                    self.wrong.push(format!("{file}: {reason}"));
                    continue;
                }
            };
            for (at, device) in spec.devices.iter().enumerate() {
                let name = format!("{}={}", spec.kind, device.name);
                let place = (self.specs.len(), at);
                let known = here.entry(name.clone()).and_modify(|known| *known = None);
                if let std::collections::btree_map::Entry::Vacant(entry) = known {
                    entry.insert(Some(place));
                } else {
                    self.wrong.push(format!(
                        "{file}: {name} is described by another file of {folder}, too"
                    ));
                }
            }
            self.specs.push(spec);
        }
        for (name, place) in here {
            match place {
                Some(place) => self.devices.insert(name, place),
                None => self.devices.remove(&name),
            };
        }
    }

    /// The full name of every device.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.devices.contains_key(name)
    }

    /// The full names of a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<String> {
        let is_one = |name: &&str| name.split('=').next() == Some(kind);
        self.names().filter(is_one).map(str::to_owned).collect()
    }

    /// Gives a container these devices, and once for each file what it says of all of its devices.
    pub(crate) fn inject(&self, names: &[String], container: &mut ContainerSpec) -> Result<()> {
        let missing: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !self.has(name))
            .collect();
        if !missing.is_empty() {
            let mut text = format!("unresolvable CDI devices {}", missing.join(", "));
            self.wrong
                .iter()
                .for_each(|reason| text.push_str(&format!("; {reason}")));
            return Err(failed(text));
        }
        let mut seen = Vec::new();
        for (spec, device) in names.iter().map(|name| self.devices[name]) {
            let described = &self.specs[spec];
            if !seen.contains(&spec) {
                seen.push(spec);
                described.container_edits.apply(container)?;
            }
            described.devices[device].container_edits.apply(container)?;
        }
        Ok(())
    }
}

fn failed(reason: impl std::fmt::Display) -> ContainerError {
    ContainerError::Option(format!("CDI device injection failed: {reason}"))
}

impl Spec {
    fn read(file: &Utf8Path) -> std::result::Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        let value = match file.extension() {
            Some("json") => serde_json::from_str(&text).map_err(|error| error.to_string())?,
            _ => parse(&Source::new(file.as_str(), text))
                .map_err(|error| error.message)?
                .map(|node| node.to_json())
                .unwrap_or_default(),
        };
        let spec: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        spec.check().map(|()| spec)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !matches!(self.cdi_version.split('.').next(), Some("0" | "1")) {
            return Err(format!("version {} is not known", self.cdi_version));
        }
        if !is_kind(&self.kind) {
            return Err(format!("kind `{}` is not `vendor.com/class`", self.kind));
        }
        for device in &self.devices {
            if !is_device_name(&format!("{}={}", self.kind, device.name)) {
                return Err(format!("`{}` is not a device's name", device.name));
            }
            device.container_edits.check()?;
        }
        self.container_edits.check()
    }
}

impl Edits {
    fn check(&self) -> std::result::Result<(), String> {
        let wrong = self.env.iter().find(|entry| !entry.contains('='));
        if let Some(entry) = wrong {
            return Err(format!("variable `{entry}` is not `NAME=value`"));
        }
        let paths = self.device_nodes.iter().map(|node| &node.path);
        let paths = paths.chain(self.mounts.iter().map(|mount| &mount.container_path));
        let mut paths = paths.chain(self.hooks.iter().map(|hook| &hook.path));
        match paths.find(|path| !path.is_absolute()) {
            Some(path) => Err(format!("`{}` is not absolute", path.display())),
            None => Ok(()),
        }
    }

    fn apply(&self, container: &mut ContainerSpec) -> Result<()> {
        if !self.net_devices.is_empty() || self.intel_rdt.is_some() {
            return Err(failed(
                "`netDevices` and `intelRdt` cannot be given to a container here",
            ));
        }
        container.env.extend(self.env.iter().cloned());
        for node in &self.device_nodes {
            let device = node.device(owner(&container.user))?;
            container.devices.retain(|known| known.path != device.path);
            container.devices.push(device);
        }
        for mount in &self.mounts {
            let mount = mount.mount()?;
            container.mounts.retain(|known| known.target != mount.target);
            container.mounts.push(mount);
        }
        let hooks = self.hooks.iter().map(|called| Hook {
            stage: called.hook_name,
            path: called.path.clone(),
            args: called.args.clone(),
            env: called.env.clone(),
            timeout: called.timeout,
        });
        container.hooks.extend(hooks);
        let groups = self.additional_gids.iter().filter(|gid| **gid != 0);
        container.group_add.extend(groups.map(u32::to_string));
        Ok(())
    }
}

/// User and group of a container that names them by their numbers.
fn owner(user: &str) -> (u32, u32) {
    let mut numbers = user.split(':').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl Node {
    /// What the file does not say is as on the host.
    fn device(&self, owner: (u32, u32)) -> Result<Device> {
        let known = self.kind.as_deref().zip(self.major.zip(self.minor));
        let (block, (major, minor)) = match known {
            Some((kind, number)) => (kind == "b", number),
            None => self.on_host()?,
        };
        if !matches!(self.kind.as_deref(), None | Some("b" | "c" | "u")) {
            let kind = self.kind.clone().unwrap_or_default();
            return Err(failed(format!(
                "{}: a node of type `{kind}` is not a device",
                self.path.display()
            )));
        }
        Ok(Device {
            path: self.path.clone(),
            block,
            major,
            minor,
            mode: self.file_mode.unwrap_or(0o666) & 0o7777,
            uid: self.uid.unwrap_or(owner.0),
            gid: self.gid.unwrap_or(owner.1),
            access: self
                .permissions
                .clone()
                .filter(|access| !access.is_empty())
                .unwrap_or_else(|| "rwm".to_owned()),
        })
    }

    fn on_host(&self) -> Result<(bool, (u32, u32))> {
        let path = self.host_path.as_ref().unwrap_or(&self.path);
        let facts = fs::metadata(path).map_err(|error| {
            failed(format!(
                "failed to stat CDI host device {:?}: {error}",
                path.display()
            ))
        })?;
        let kind = facts.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            return Err(failed(format!("{} is not a device", path.display())));
        }
        let number = facts.rdev();
        let number = (rustix::fs::major(number), rustix::fs::minor(number));
        Ok((kind.is_block_device(), number))
    }
}

impl Mounted {
    fn mount(&self) -> Result<Mount> {
        let kind = match self.kind.as_str() {
            "" | "bind" | "none" => MountKind::Bind,
            "tmpfs" => MountKind::Tmpfs,
            other => return Err(failed(format!("a mount of type `{other}` cannot be made here"))),
        };
        Ok(Mount {
            kind,
            source: self.host_path.clone(),
            target: self.container_path.clone(),
            read_only: self.options.iter().any(|option| option == "ro"),
            options: self.options.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(files: &[(&str, &str)]) -> (DeviceSpecs, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        for (name, text) in files {
            let file = root.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        (
            DeviceSpecs::read(&[root.join("static"), root.join("dynamic")]),
            folder,
        )
    }

    const WIDGETS: &str = r#"
cdiVersion: "0.6.0"
kind: acme.com/widget
annotations: {a.b/c: d}
devices:
  - name: 0
    containerEdits:
      env: [WIDGET=0, N=1]
      deviceNodes: [{path: /dev/widget, hostPath: /dev/null, permissions: r, fileMode: 0640}]
      hooks: [{hookName: createContainer, path: /bin/hook, args: [hook, links], timeout: 3}]
  - name: all
    containerEdits:
      deviceNodes: [{path: /dev/disk, type: b, major: 7, minor: 9, uid: 4, gid: 5}]
      mounts: [{hostPath: /lib/a, containerPath: /lib/b, options: [ro, nosuid, rbind]}]
containerEdits:
  env: [ACME=yes]
  additionalGids: [0, 44]
"#;

    #[test]
    fn a_container_gets_what_is_described() {
        let (specs, _folder) = specs(&[("static/acme.yaml", WIDGETS)]);
        let mut container = ContainerSpec {
            env: vec!["N=0".to_owned()],
            user: "1000:100".to_owned(),
            ..ContainerSpec::default()
        };
        let names = ["acme.com/widget=0", "acme.com/widget=all"].map(str::to_owned);
        specs.inject(&names, &mut container).unwrap();
        assert_eq!(container.env, ["N=0", "ACME=yes", "WIDGET=0", "N=1"]);
        assert_eq!(container.group_add, ["44"]);
        let device = &container.devices[0];
        assert_eq!(
            (device.major, device.minor, device.block, device.mode),
            (1, 3, false, 0o640)
        );
        assert_eq!((device.access.as_str(), device.uid, device.gid), ("r", 1000, 100));
        let device = &container.devices[1];
        assert_eq!(
            (device.major, device.minor, device.block, device.mode),
            (7, 9, true, 0o666)
        );
        assert_eq!((device.access.as_str(), device.uid, device.gid), ("rwm", 4, 5));
        assert!(container.mounts[0].read_only && container.mounts[0].kind == MountKind::Bind);
        assert_eq!(container.hooks[0].stage, HookStage::CreateContainer);
        assert_eq!(
            (container.hooks[0].args.len(), container.hooks[0].timeout),
            (2, Some(3))
        );
    }

    #[test]
    fn a_later_folder_wins_and_twice_in_one_is_never() {
        let one = |env: &str| {
            format!(
                r#"{{"cdiVersion":"1.0.0","kind":"a.b/c","devices":[{{"name":"x","containerEdits":{{"env":["{env}"]}}}}]}}"#
            )
        };
        let (first, second) = (one("A=static"), one("A=dynamic"));
        let (later, _folder) = specs(&[("static/a.json", &first), ("dynamic/a.json", &second)]);
        let mut container = ContainerSpec::default();
        later.inject(&["a.b/c=x".to_owned()], &mut container).unwrap();
        assert_eq!(container.env, ["A=dynamic"]);
        let (twice, _folder) = specs(&[("static/a.json", &first), ("static/b.json", &second)]);
        let error = twice
            .inject(&["a.b/c=x".to_owned()], &mut container)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("unresolvable CDI devices a.b/c=x; ") && error.contains("another file"),
            "{error}"
        );
    }

    #[test]
    fn files_that_cannot_be_read_are_named_when_something_is_missing() {
        let (specs, _folder) = specs(&[
            ("static/a.yaml", "cdiVersion: 0.6.0\nkind: a.b/c\nsurprise: 1\n"),
            ("static/b.json", "{"),
            ("static/c.yaml", "cdiVersion: 9.0.0\nkind: a.b/c\n"),
            ("static/d.yaml", "cdiVersion: 0.6.0\nkind: abc\n"),
            ("static/e.yml", "not: read"),
        ]);
        let error = specs.inject(&["a.b/c=x".to_owned()], &mut ContainerSpec::default());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("CDI device injection failed: unresolvable CDI devices a.b/c=x; "));
        for part in [
            "a.yaml: unknown field `surprise`",
            "b.json: EOF",
            "c.yaml: version 9.0.0",
            "d.yaml: kind `abc`",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(!error.contains("e.yml"));
    }

    #[test]
    fn names_of_devices() {
        for name in ["vendor.com/class=name", "a/b=0", "v.c-d_e/c-d_e=a.b:c_d-e"] {
            assert!(is_device_name(name), "{name}");
        }
        for name in [
            "/dev/null",
            "a/b",
            "a/b=",
            "/b=c",
            "a/=c",
            "1a/b=c",
            "a/b.c=d",
            "a/b=c/d",
            "a/b=c:",
        ] {
            assert!(!is_device_name(name), "{name}");
        }
    }
}
