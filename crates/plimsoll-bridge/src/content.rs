//! The bytes of secrets, configs and files that are bound.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use camino::Utf8Path;
use plimsoll_check::secret;
use plimsoll_compose_file::model::FileObject;
use serde_json::{Value, json};

use crate::app::App;

/// What an object of the cluster may hold: etcd takes 1.5 MiB, the API server 1 MiB.
pub(crate) const LARGEST: usize = 1 << 20;
/// How many files of a folder are taken along.
const MOST_FILES: usize = 100;

/// The bytes of a secret or a config.
pub(crate) fn of_object(app: &App<'_>, object: &FileObject) -> Result<Vec<u8>, String> {
    let bytes = if let Some(content) = &object.content {
        content.clone().into_bytes()
    } else if let Some(variable) = &object.environment {
        let value = app.project.environment.get(variable);
        let value = value.ok_or_else(|| format!("the variable `{variable}` is not set"))?;
        value.value.clone().into_bytes()
    } else if let Some(file) = &object.file {
        let path = app.project.folder.join(file);
        fs::read(&path).map_err(|error| format!("cannot read `{path}`: {error}"))?
    } else {
        return Err("it has neither `file`, `environment` nor `content`".to_owned());
    };
    match bytes.len() <= LARGEST {
        true => Ok(bytes),
        false => Err(format!(
            "it has {} bytes, and the cluster takes {LARGEST}",
            bytes.len()
        )),
    }
}

/// `data` of a ConfigMap, and `binaryData` for what is no text; those that are not empty.
pub(crate) fn config_data(files: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = (String, Value)> {
    let mut texts = serde_json::Map::new();
    let mut binaries = serde_json::Map::new();
    for (key, bytes) in files {
        match std::str::from_utf8(bytes) {
            Ok(text) => texts.insert(key.clone(), Value::from(text)),
            Err(_) => binaries.insert(key.clone(), Value::from(BASE64_STANDARD.encode(bytes))),
        };
    }
    [("data", texts), ("binaryData", binaries)]
        .into_iter()
        .filter(|(_, map)| !map.is_empty())
        .map(|(key, map)| (key.to_owned(), Value::Object(map)))
}

/// `data` of a Secret.
pub(crate) fn secret_data(files: &BTreeMap<String, Vec<u8>>) -> Value {
    let encoded = files
        .iter()
        .map(|(key, bytes)| (key.clone(), json!(BASE64_STANDARD.encode(bytes))));
    Value::Object(encoded.collect())
}

/// Files of the project that are bound into a container, few and small enough to go along.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// By their path in the folder; a single file by its name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Those that may be executed.
    pub(crate) executable: Vec<String>,
    pub(crate) is_folder: bool,
    /// Whether one of them looks like a secret.
    pub(crate) is_secret: bool,
}

/// Reads what a bind mount names. `None` where it cannot go along: too much, not there, or no plain files.
pub(crate) fn of_bind(path: &Utf8Path) -> Option<Bound> {
    let mut bound = Bound {
        is_folder: path.is_dir(),
        ..Bound::default()
    };
    let mut size = 0;
    match bound.is_folder {
        true => add_folder(&mut bound, path, "", &mut size)?,
        false => add_file(&mut bound, path, path.file_name()?.to_owned(), &mut size)?,
    }
    (!bound.files.is_empty()).then_some(bound)
}

fn add_folder(bound: &mut Bound, path: &Utf8Path, prefix: &str, size: &mut usize) -> Option<()> {
    for entry in path.read_dir_utf8().ok()? {
        let entry = entry.ok()?;
        let name = format!("{prefix}{}", entry.file_name());
        match entry.file_type().ok()?.is_dir() {
            true => add_folder(bound, entry.path(), &format!("{name}/"), size)?,
            false => add_file(bound, entry.path(), name, size)?,
        }
    }
    Some(())
}

fn add_file(bound: &mut Bound, path: &Utf8Path, name: String, size: &mut usize) -> Option<()> {
    let metadata = path.symlink_metadata().ok()?;
    *size += usize::try_from(metadata.len()).ok()?;
    if !metadata.is_file() || *size > LARGEST || bound.files.len() == MOST_FILES {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    bound.is_secret |= !secret::of_text(&text).is_empty();
    if metadata.permissions().mode() & 0o111 != 0 {
        bound.executable.push(name.clone());
    }
    bound.files.insert(name, bytes);
    Some(())
}
