//! The image `app` as `save` writes it: its layers, the files they make, its configuration.
//!
//! Layers are put together here by the letter of the OCI layer specification and not by the code under test.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use camino::Utf8PathBuf;
use serde_json::Value;
use tar::EntryType;

use crate::{Room, same};

/// Files of more bytes are told by their size.
const SHOWN: usize = 200;

/// A file, by its path without slashes at the ends. Sorted so that what is in a folder follows it.
type Tree = BTreeMap<Vec<String>, Node>;

#[derive(Clone)]
struct Node {
    mode: u32,
    user: u64,
    group: u64,
    kind: EntryType,
    link: String,
    content: Vec<u8>,
}

/// Lists what lies below `folder`, `folder` included unless it is the root.
pub(crate) fn files(room: &Room, folder: &str) -> Result<String, String> {
    let mut tree = Tree::new();
    for layer in layers(room)? {
        put_on(&mut tree, layer);
    }
    Ok(list(&tree, folder))
}

/// Lists what the layer `number` holds, 1 for the last one.
pub(crate) fn layer(room: &Room, number: usize) -> Result<String, String> {
    let layers = layers(room)?;
    let index = layers.len().checked_sub(number).ok_or("there are fewer layers")?;
    Ok(list(&layers[index], ""))
}

/// All layers, the lowest first.
fn layers(room: &Room) -> Result<Vec<Tree>, String> {
    let path = room.sandbox.path("work/app.tar");
    let outcome = room.shell(&format!("plimsoll save -o {path} app"));
    if outcome.code != 0 {
        return Err(format!("the image cannot be saved\n{outcome}"));
    }
    read_archive(&path).map_err(|error| format!("{path}: {error}"))
}

fn read_archive(path: &Utf8PathBuf) -> io::Result<Vec<Tree>> {
    let mut blobs = BTreeMap::new();
    for entry in tar::Archive::new(File::open(path)?).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        blobs.insert(entry.path()?.display().to_string(), content);
    }
    let manifest: Value = serde_json::from_slice(blobs.get("manifest.json").map_or(b"", |bytes| bytes))?;
    let names = manifest[0]["Layers"].as_array().cloned().unwrap_or_default();
    let names = names.iter().map(|name| name.as_str().unwrap_or_default());
    names
        .map(|name| read_layer(blobs.get(name).map_or(b"", |bytes| bytes)))
        .collect()
}

fn read_layer(bytes: &[u8]) -> io::Result<Tree> {
    let plain = plimsoll_layer::decompress(bytes).map_err(io::Error::other)?;
    let mut tree = Tree::new();
    for entry in tar::Archive::new(plain).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        let header = entry.header();
        let link = entry.link_name()?.map(|path| path.display().to_string());
        let node = Node {
            mode: header.mode()? & 0o7777,
            user: header.uid()?,
            group: header.gid()?,
            kind: header.entry_type(),
            link: link.unwrap_or_default(),
            content,
        };
        tree.insert(components(&entry.path()?.display().to_string()), node);
    }
    tree.remove(&Vec::new());
    Ok(tree)
}

fn components(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.map(str::to_owned).collect()
}

/// Puts `layer` on top of `tree`: deletions first, as their place in the archive does not count.
fn put_on(tree: &mut Tree, layer: Tree) {
    for path in layer.keys() {
        let (name, above) = path.split_last().expect("the root is left out");
        match name.strip_prefix(".wh.") {
            Some(".wh..opq") => tree.retain(|path, _| !is_below(path, above)),
            Some(deleted) => {
                let gone = [above, &[deleted.to_owned()]].concat();
                tree.retain(|path, _| *path != gone && !is_below(path, &gone));
            }
            None => {}
        }
    }
    for (path, node) in layer {
        if path.last().is_some_and(|name| name.starts_with(".wh.")) {
            continue;
        }
        if node.kind != EntryType::Directory {
            tree.retain(|other, _| !is_below(other, &path));
        }
        tree.insert(path, node);
    }
}

fn is_below(path: &[String], folder: &[String]) -> bool {
    path.len() > folder.len() && path.starts_with(folder)
}

fn list(tree: &Tree, folder: &str) -> String {
    let folder = components(folder);
    let wanted = tree
        .iter()
        .filter(|(path, _)| **path == folder || is_below(path, &folder));
    let lines: String = wanted.map(|(path, node)| describe(tree, path, node)).collect();
    if lines.is_empty() {
        "nothing".to_owned()
    } else {
        lines
    }
}

fn describe(tree: &Tree, path: &[String], node: &Node) -> String {
    if node.kind == EntryType::Link
        && let Some(target) = tree.get(&components(&node.link))
    {
        return describe(tree, path, target);
    }
    let rest = match node.kind {
        EntryType::Directory => "/".to_owned(),
        EntryType::Symlink => format!(" -> {}", node.link),
        EntryType::Link => format!(" = /{}", node.link),
        EntryType::Fifo => " fifo".to_owned(),
        _ if node.content.len() > SHOWN => format!(" {} bytes", node.content.len()),
        _ => format!(" {:?}", String::from_utf8_lossy(&node.content)),
    };
    let Node {
        mode, user, group, ..
    } = node;
    format!("{mode:04o} {user}:{group} /{}{rest}\n", path.join("/"))
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
    let expected = expected.clone();
    let found = expected.keys().map(|key| (key.clone(), found(key))).collect();
    let text = |value: Value| {
        let mut value = value;
        value.sort_all_objects();
        serde_json::to_string_pretty(&value).expect("JSON can be written")
    };
    same(
        "configuration",
        &text(Value::Object(expected)),
        &text(Value::Object(found)),
    )
}
