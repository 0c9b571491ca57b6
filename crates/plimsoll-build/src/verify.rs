//! Two builds of the same, compared file by file.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use plimsoll_image::Images;
use plimsoll_oci::{Digest, Hasher};
use plimsoll_store::{Entry, MergedTree, Store};
use serde_json::Value;

use crate::BuiltImage;
use crate::error::BuildError;

/// Where two builds differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A file that both have.
    File {
        /// Its path in the image.
        path: PathBuf,
        /// What of it differs; never empty.
        what: Vec<Aspect>,
    },
    /// Only the first has it.
    OnlyFirst(PathBuf),
    /// Only the second has it.
    OnlySecond(PathBuf),
    /// A field of the configuration: `history[2].created`.
    Config {
        /// Where it is.
        field: String,
        /// What the first has.
        first: String,
        /// What the second has.
        second: String,
    },
    /// A layer differs, though what it adds to the files does not: a later layer covers it.
    Layer(usize),
}

/// What can differ of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// File, directory, link or device.
    Kind,
    /// Bytes, or the target of a link.
    Content,
    /// Permissions.
    Mode,
    /// User or group.
    Owner,
    /// Time of the last change of content.
    Time,
    /// Extended attributes.
    Attributes,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Time => "mtime",
            Self::Attributes => "xattr",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, what } => {
                let what: Vec<_> = what.iter().map(ToString::to_string).collect();
                write!(f, "{}: {}", path.display(), what.join(", "))
            }
            Self::OnlyFirst(path) => write!(f, "{}: only in the first build", path.display()),
            Self::OnlySecond(path) => write!(f, "{}: only in the second build", path.display()),
            Self::Config { field, first, second } => {
                write!(f, "configuration {field}: {first}, then {second}")
            }
            Self::Layer(number) => write!(f, "layer {number}: in what later layers cover"),
        }
    }
}

impl Difference {
    /// True when SOURCE_DATE_EPOCH would take it away.
    pub fn is_of_time(&self) -> bool {
        match self {
            Self::File { what, .. } => *what == [Aspect::Time],
            Self::Config { field, .. } => field.ends_with("created"),
            _ => false,
        }
    }
}

/// Compares two builds of one platform as they would go out: with SOURCE_DATE_EPOCH no time after it counts. Nothing
/// means that they are the same, byte for byte.
pub fn compare(
    store: &Store,
    images: &Images,
    first: &BuiltImage,
    second: &BuiltImage,
) -> Result<Vec<Difference>, BuildError> {
    let out = |built: &BuiltImage| match built.epoch {
        Some(epoch) => images.until(&built.image, built.base_layers, epoch),
        None => Ok(built.image.clone()),
    };
    let (first, second) = (out(first)?, out(second)?);
    if first.manifest_digest == second.manifest_digest {
        return Ok(Vec::new());
    }
    let tree = |image| -> Result<_, BuildError> {
        let layers = images.snapshot(image)?.map(|top| store.snapshots().layers(top));
        Ok(MergedTree::new(layers.transpose()?.unwrap_or_default()))
    };
    let (trees, mut all) = ((tree(&first)?, tree(&second)?), Vec::new());
    let comparison = Comparison {
        first: trees.0,
        second: trees.1,
    };
    if !first.config.rootfs.diff_ids.is_empty() && !second.config.rootfs.diff_ids.is_empty() {
        let roots = (comparison.first.root()?, comparison.second.root()?);
        comparison.directories(&roots.0, &roots.1, &mut all)?;
    }
    let layers = first
        .config
        .rootfs
        .diff_ids
        .iter()
        .zip(&second.config.rootfs.diff_ids);
    if all.is_empty() {
        let differ = layers.enumerate().filter(|(_, (first, second))| first != second);
        all.extend(differ.map(|(at, _)| Difference::Layer(at + 1)));
    }
    let config = |image: &plimsoll_image::Image| {
        let mut config = serde_json::to_value(&image.config).expect("a configuration is JSON");
        // Said by file already.
        config["rootfs"]["diff_ids"].take();
        config
    };
    fields("", &config(&first), &config(&second), &mut all);
    Ok(all)
}

/// Adds the fields of two documents that differ.
fn fields(path: &str, first: &Value, second: &Value, all: &mut Vec<Difference>) {
    let absent = &Value::Null;
    match (first, second) {
        (Value::Object(one), Value::Object(two)) => {
            let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
            for key in keys {
                let dot = if path.is_empty() { "" } else { "." };
                let (one, two) = (one.get(key).unwrap_or(absent), two.get(key).unwrap_or(absent));
                fields(&format!("{path}{dot}{key}"), one, two, all);
            }
        }
        (Value::Array(one), Value::Array(two)) => {
            for at in 0..one.len().max(two.len()) {
                let (one, two) = (one.get(at).unwrap_or(absent), two.get(at).unwrap_or(absent));
                fields(&format!("{path}[{at}]"), one, two, all);
            }
        }
        _ if first != second => all.push(Difference::Config {
            field: path.to_owned(),
            first: first.to_string(),
            second: second.to_string(),
        }),
        _ => {}
    }
}

struct Comparison {
    first: MergedTree,
    second: MergedTree,
}

impl Comparison {
    fn directories(
        &self,
        first: &Entry,
        second: &Entry,
        all: &mut Vec<Difference>,
    ) -> Result<(), BuildError> {
        let names = self
            .first
            .read_dir(first)?
            .into_iter()
            .chain(self.second.read_dir(second)?);
        let names: BTreeSet<_> = names.collect();
        for name in names {
            let (one, two) = (self.first.child(first, &name)?, self.second.child(second, &name)?);
            match (one, two) {
                (Some(one), Some(two)) => self.entries(&one, &two, all)?,
                (Some(one), None) => all.push(Difference::OnlyFirst(one.path)),
                (None, Some(two)) => all.push(Difference::OnlySecond(two.path)),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn entries(&self, first: &Entry, second: &Entry, all: &mut Vec<Difference>) -> Result<(), BuildError> {
        let what = aspects(first, second)?;
        if !what.is_empty() {
            let path = first.path.clone();
            all.push(Difference::File { path, what });
        }
        match first.metadata.is_dir() && second.metadata.is_dir() {
            true => self.directories(first, second, all),
            false => Ok(()),
        }
    }
}

fn aspects(first: &Entry, second: &Entry) -> Result<Vec<Aspect>, BuildError> {
    let mut what = Vec::new();
    let (one, two) = (&first.metadata, &second.metadata);
    // The same file on disk: of a layer that both have.
    if (one.dev(), one.ino()) == (two.dev(), two.ino()) {
        return Ok(what);
    }
    if one.file_type() != two.file_type() {
        return Ok(vec![Aspect::Kind]);
    }
    if !same_content(first, second)? {
        what.push(Aspect::Content);
    }
    if one.mode() != two.mode() {
        what.push(Aspect::Mode);
    }
    if (one.uid(), one.gid()) != (two.uid(), two.gid()) {
        what.push(Aspect::Owner);
    }
    if one.mtime() != two.mtime() {
        what.push(Aspect::Time);
    }
    if first.xattrs()? != second.xattrs()? {
        what.push(Aspect::Attributes);
    }
    Ok(what)
}

fn same_content(first: &Entry, second: &Entry) -> Result<bool, BuildError> {
    let (one, two) = (&first.metadata, &second.metadata);
    Ok(match () {
        () if one.is_dir() => true,
        () if one.is_symlink() => first.read_link()? == second.read_link()?,
        () if one.is_file() => one.len() == two.len() && content(first)? == content(second)?,
        () => one.rdev() == two.rdev(),
    })
}

fn content(entry: &Entry) -> Result<Digest, BuildError> {
    let mut file = entry.open()?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer);
        match count.map_err(BuildError::io("read", &entry.host_path))? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_by_path() {
        let one = serde_json::json!({"a": {"b": [1, {"created": "x"}]}, "same": 1});
        let two = serde_json::json!({"a": {"b": [1, {"created": "y"}, 3]}, "same": 1});
        let mut all = Vec::new();
        fields("", &one, &two, &mut all);
        let said: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                r#"configuration a.b[1].created: "x", then "y""#,
                "configuration a.b[2]: null, then 3"
            ]
        );
        assert!(all[0].is_of_time() && !all[1].is_of_time());
    }
}
