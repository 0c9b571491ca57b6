//! The image `app`: its files and its configuration.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::{Room, peer, same};

/// Files of more bytes are told by their size.
const SHOWN: u64 = 200;

/// Writes the files of `app` into a new folder.
pub(crate) fn files(room: &Room) -> Result<Utf8PathBuf, String> {
    let folder = room.sandbox.path("work/files");
    let _ = fs::remove_dir_all(&folder);
    // Docker's local output forgets owners, its archive does not.
    let script = match peer() {
        None => format!("printf 'FROM app' | plimsoll build -o type=local,dest={folder} -"),
        Some(_) => format!(
            "printf 'FROM app' | plimsoll build -o type=tar,dest={folder}.tar - && mkdir {folder} && tar -xpf {folder}.tar -C {folder}"
        ),
    };
    match room.shell(&script) {
        outcome if outcome.code == 0 => Ok(folder),
        outcome => Err(format!("the image cannot be exported\n{outcome}")),
    }
}

/// Lists what lies below `folder` of `root`, `folder` included unless it is the root.
pub(crate) fn list(root: &Utf8Path, folder: &str) -> String {
    let mut lines = Vec::new();
    walk(root, folder, &mut lines);
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    match lines.is_empty() {
        true => "nothing".to_owned(),
        false => lines.into_iter().map(|(_, line)| line + "\n").collect(),
    }
}

fn walk(root: &Utf8Path, path: &str, lines: &mut Vec<(String, String)>) {
    let full = root.join(path);
    let Ok(stat) = fs::symlink_metadata(&full) else {
        return;
    };
    if !path.is_empty() {
        lines.push((path.to_owned(), describe(&full, path, &stat)));
    }
    if stat.is_dir() {
        for entry in fs::read_dir(&full).expect("a folder can be read") {
            let name = entry.expect("a folder can be read").file_name();
            let name = name.to_string_lossy();
            walk(root, Utf8Path::new(path).join(name.as_ref()).as_str(), lines);
        }
    }
}

fn describe(full: &Utf8Path, path: &str, stat: &fs::Metadata) -> String {
    let kind = stat.file_type();
    let rest = if kind.is_dir() {
        "/".to_owned()
    } else if kind.is_symlink() {
        format!(" -> {}", fs::read_link(full).expect("it is a link").display())
    } else if kind.is_fifo() {
        " fifo".to_owned()
    } else if stat.len() > SHOWN {
        format!(" {} bytes", stat.len())
    } else {
        let content = fs::read(full).expect("a file can be read");
        format!(" {:?}", String::from_utf8_lossy(&content))
    };
    let (mode, user, group) = (stat.mode() & 0o7777, stat.uid(), stat.gid());
    format!("{mode:04o} {user}:{group} /{path}{rest}")
}

/// Compares the keys that `expected` has with the configuration.
pub(crate) fn compare_config(room: &Room, expected: &Value) -> Result<(), String> {
    let outcome = room.shell("plimsoll inspect -f '{{json .Config}}' app");
    let config: Value =
        serde_json::from_str(&outcome.stdout).map_err(|error| format!("{error}\n{outcome}"))?;
    let expected = expected.as_object().ok_or("a config block is an object")?;
    // Empty and absent are one: Docker leaves out what is empty or writes null, by version.
    let found = |key: &String| match &config[key] {
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Object(items) if items.is_empty() => Value::Null,
        Value::String(text) if text.is_empty() => Value::Null,
        value => value.clone(),
    };
    let found = expected.keys().map(|key| (key.clone(), found(key))).collect();
    let text = |value: &Value| serde_json::to_string_pretty(value).expect("JSON can be written");
    same(
        "configuration",
        &text(&Value::Object(expected.clone())),
        &text(&Value::Object(found)),
    )
}
