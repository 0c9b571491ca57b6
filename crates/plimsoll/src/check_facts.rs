//! What rules and policies know of an image: its configuration, and what its layers hold, read without mounting them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use camino::Utf8Path;
use plimsoll_check::facts::{Account, FileFact, FileFacts, ImageFacts, LayerFacts, SecretFile, WasteFact};
use plimsoll_check::secret;
use plimsoll_image::{Image, ImageUsage, Images, WasteCause};
use plimsoll_layer::ListedKind;
use plimsoll_progress::Progress;
use plimsoll_store::{MergedTree, SnapshotId, Store};

use crate::command_error::CommandError;
use crate::context::Context;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Folders that packages fill: their test keys and examples are no secrets of whoever made the image.
const PACKAGED: [&str; 10] = [
    "usr/lib/",
    "usr/share/",
    "usr/include/",
    "usr/local/lib/",
    "usr/local/go/",
    "usr/local/share/",
    "lib/",
    "proc/",
    "sys/",
    "dev/",
];
const PACKAGED_ANYWHERE: [&str; 5] = [
    "/node_modules/",
    "/site-packages/",
    "/dist-packages/",
    "/vendor/",
    "/.git/objects/",
];

/// What a build leaves behind: the name of a file or folder anywhere.
const LEFTOVERS: [&str; 11] = [
    ".git",
    ".svn",
    ".hg",
    ".vscode",
    ".idea",
    ".DS_Store",
    ".cache",
    "_cacache",
    "Dockerfile",
    "docker-compose.yml",
    "compose.yaml",
];

/// Folders with lists and packages that a package manager can fetch again.
const PACKAGE_LISTS: [&str; 6] = [
    "var/lib/apt/lists",
    "var/cache/apt/archives",
    "var/cache/apk",
    "var/cache/dnf",
    "var/cache/yum",
    "var/cache/zypp",
];

/// The configuration, and what is cheap to read: programs, accounts, owners of volumes. For images that are only asked
/// about, such as bases.
pub(crate) fn outline(images: &Images, image: &Image, name: &str) -> Result<ImageFacts, CommandError> {
    let mut facts = configured(images, image, name)?;
    let tree = MergedTree::new(images.layer_directories(image)?);
    facts.files = Some(outline_of_files(image, &tree)?);
    Ok(facts)
}

/// Everything.
pub(crate) fn whole(
    store: &Store,
    images: &Images,
    image: &Image,
    name: &str,
) -> Result<ImageFacts, CommandError> {
    let mut facts = outline(images, image, name)?;
    let usage = images.usage(image)?;
    let sizes = usage.layers.iter();
    facts.layers = sizes
        .map(|layer| LayerFacts {
            size: layer.size,
            wasted: layer.wasted,
        })
        .collect();
    // Top first, as overlayfs takes them.
    let mut directories = images.layer_directories(image)?;
    directories.reverse();
    let snapshots = images.layer_snapshots(image)?;
    if let Some(files) = &mut facts.files {
        files.setuid = setuid(&usage, &directories);
        files.leftovers = leftovers(&usage);
        files.package_lists = package_lists(&usage);
        files.waste = waste(&usage);
        files.secrets = secrets(store, &usage, &snapshots, &directories)?;
    }
    Ok(facts)
}

/// The images of an archive as `save` writes them, read in a store that lasts no longer than this.
pub(crate) fn of_archive(context: &Context, path: &Path) -> Result<Vec<ImageFacts>, CommandError> {
    let wrong = |error| CommandError::internal(format!("cannot read `{}`", path.display()), error);
    let folder = tempfile::tempdir().map_err(wrong)?;
    let place = Utf8Path::from_path(folder.path())
        .ok_or_else(|| CommandError::user("the folder for temporary files has a name that is not UTF-8"))?;
    let store = Store::open(&place.join("root"), &place.join("run"))?;
    let images = Images::new(&store, context.registry()?);
    let mut file = File::open(path).map_err(wrong)?;
    let loaded = images.load(&mut file, &Progress::none())?;
    let name = path.display().to_string();
    loaded
        .iter()
        .map(|(image, names)| {
            let mut facts = whole(&store, &images, image, &name)?;
            facts.names.extend(names.iter().map(ToString::to_string));
            Ok(facts)
        })
        .collect()
}

fn configured(images: &Images, image: &Image, name: &str) -> Result<ImageFacts, CommandError> {
    let names = images.names(image)?;
    Ok(ImageFacts {
        name: name.to_owned(),
        names: names
            .iter()
            .flat_map(|name| [name.familiar(), name.to_string()])
            .collect(),
        config: image.config.clone(),
        ..ImageFacts::default()
    })
}

fn outline_of_files(image: &Image, tree: &MergedTree) -> Result<FileFacts, CommandError> {
    let config = &image.config.config;
    let path = config
        .env
        .iter()
        .find_map(|variable| variable.strip_prefix("PATH="));
    let mut programs = BTreeSet::new();
    for folder in path
        .unwrap_or(PATH)
        .split(':')
        .filter(|folder| folder.starts_with('/'))
    {
        if let Some(entry) = tree.resolve(Path::new(folder))?
            && entry.metadata.is_dir()
        {
            let names = tree.read_dir(&entry)?.into_iter();
            programs.extend(names.map(|name| name.to_string_lossy().into_owned()));
        }
    }
    let mut volume_owners = BTreeMap::new();
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        if let Some(entry) = tree.resolve(Path::new(path))? {
            volume_owners.insert(path.clone(), entry.metadata.uid());
        }
    }
    Ok(FileFacts {
        programs,
        volume_owners,
        accounts: accounts(&text(tree, "/etc/passwd")?, &text(tree, "/etc/shadow")?),
        groups: groups(&text(tree, "/etc/group")?),
        ..FileFacts::default()
    })
}

/// A small file of a tree; nothing if it is not there.
fn text(tree: &MergedTree, path: &str) -> Result<String, CommandError> {
    let Some(entry) = tree.resolve(Path::new(path))? else {
        return Ok(String::new());
    };
    if !entry.metadata.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    let read = entry.open()?.take(1 << 20).read_to_end(&mut bytes);
    read.map_err(|error| CommandError::internal(format!("cannot read `{path}` of the image"), error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `passwd(5)` and `shadow(5)`.
fn accounts(passwd: &str, shadow: &str) -> Vec<Account> {
    let shadowed = |name: &str| {
        let mut lines = shadow.lines().map(|line| line.split(':'));
        lines.any(|mut fields| fields.next() == Some(name) && fields.next() == Some(""))
    };
    let account = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, password, uid, ..] = fields.as_slice() else {
            return None;
        };
        Some(Account {
            name: (*name).to_owned(),
            uid: uid.parse().ok()?,
            empty_password: password.is_empty() || (*password == "x" && shadowed(name)),
        })
    };
    passwd.lines().filter_map(account).collect()
}

fn groups(text: &str) -> Vec<(String, u32)> {
    let group = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(group).collect()
}

fn setuid(usage: &ImageUsage, directories: &[PathBuf]) -> Vec<FileFact> {
    const SET_ID: u32 = 0o6000;
    let mut found = Vec::new();
    for file in usage.files() {
        let host = directories[file.layer].join(std::ffi::OsStr::from_bytes(file.path));
        let Ok(metadata) = fs::symlink_metadata(&host) else {
            continue;
        };
        if metadata.is_file() && metadata.mode() & SET_ID != 0 && metadata.mode() & 0o111 != 0 {
            found.push(FileFact {
                path: absolute(file.path),
                layer: file.layer,
                size: file.size,
                mode: metadata.mode() & 0o7777,
            });
        }
    }
    found
}

/// Brings together what is in a folder: its bytes, and the layer that has most of them.
fn gathered<'a>(usage: &'a ImageUsage, folder_of: impl Fn(&'a str) -> Option<&'a str>) -> Vec<FileFact> {
    let mut folders: BTreeMap<&str, BTreeMap<usize, u64>> = BTreeMap::new();
    for file in usage.files() {
        if let Some(folder) = std::str::from_utf8(file.path).ok().and_then(&folder_of) {
            *folders.entry(folder).or_default().entry(file.layer).or_default() += file.size;
        }
    }
    let facts = folders.into_iter().filter_map(|(folder, layers)| {
        let (layer, _) = layers.iter().max_by_key(|(_, size)| **size)?;
        Some(FileFact {
            path: format!("/{folder}"),
            layer: *layer,
            size: layers.values().sum(),
            mode: 0,
        })
    });
    facts.filter(|fact| fact.size > 0).collect()
}

fn leftovers(usage: &ImageUsage) -> Vec<FileFact> {
    gathered(usage, |path| {
        if is_packaged(path) {
            return None;
        }
        let mut end = 0;
        for part in path.split('/') {
            end += part.len() + 1;
            if LEFTOVERS.contains(&part) {
                return Some(&path[..end - 1]);
            }
        }
        None
    })
}

fn package_lists(usage: &ImageUsage) -> Vec<FileFact> {
    gathered(usage, |path| {
        let below = |folder: &&&str| {
            path.strip_prefix(**folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let is_lock = path.ends_with("/lock");
        PACKAGE_LISTS.iter().find(below).filter(|_| !is_lock).copied()
    })
}

fn waste(usage: &ImageUsage) -> Vec<WasteFact> {
    let waste = usage.waste.iter().map(|waste| WasteFact {
        path: String::from_utf8_lossy(&waste.path).into_owned(),
        size: waste.size,
        layer: waste.layer,
        by: waste.by,
        deleted: waste.cause == WasteCause::Deleted,
    });
    waste.collect()
}

/// Looks into the small files of every layer, those too that a later one covers.
fn secrets(
    store: &Store,
    usage: &ImageUsage,
    snapshots: &[SnapshotId],
    directories: &[PathBuf],
) -> Result<Vec<SecretFile>, CommandError> {
    let visible: BTreeSet<(&[u8], usize)> = usage.files().map(|file| (file.path, file.layer)).collect();
    let mut found = Vec::new();
    for (layer, (snapshot, directory)) in snapshots.iter().zip(directories).enumerate() {
        for listed in store.snapshots().list(*snapshot)? {
            let ListedKind::File { size } = listed.kind else {
                continue;
            };
            let Ok(path) = std::str::from_utf8(&listed.path) else {
                continue;
            };
            if size == 0 || size > secret::FILE_LIMIT || is_packaged(path) {
                continue;
            }
            let Some(bytes) = read(&directory.join(path)) else {
                continue;
            };
            if let Some(secret) = secret::of_file(path, Some(&bytes)) {
                found.push(SecretFile {
                    path: format!("/{path}"),
                    layer,
                    line: secret.line,
                    kind: secret.kind,
                    covered: !visible.contains(&(&listed.path[..], layer)),
                });
            }
        }
    }
    Ok(found)
}

/// The bytes of a regular file. Programs are passed over after their first bytes: what they have in them are names of
/// things, and none of the image's own.
fn read(path: &Path) -> Option<Vec<u8>> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let mut bytes = vec![0; 4];
    let length = file.read(&mut bytes).ok()?;
    bytes.truncate(length);
    if bytes.starts_with(b"\x7fELF") {
        return None;
    }
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn is_packaged(path: &str) -> bool {
    let rooted = |part: &&str| path.contains(*part) || path.strip_prefix(&part[1..]).is_some();
    PACKAGED.iter().any(|folder| path.starts_with(folder)) || PACKAGED_ANYWHERE.iter().any(rooted)
}

fn absolute(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_know_whether_anybody_may_log_in() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nopen::5:5::/:/bin/sh\napp:x:1000:1000::/:/bin/false\nbad\n";
        let shadow = "root::19000:0:::::\napp:!:19000::::::\n";
        let found = accounts(passwd, shadow);
        let seen: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.uid, one.empty_password))
            .collect();
        assert_eq!(seen, [("root", 0, true), ("open", 5, true), ("app", 1000, false)]);
        assert_eq!(
            groups("root:x:0:\nwheel:x:10:root\nbad\n"),
            [("root".to_owned(), 0), ("wheel".to_owned(), 10)]
        );
    }

    #[test]
    fn what_packages_bring_is_not_looked_at() {
        for path in [
            "usr/lib/python3/test/key.pem",
            "app/node_modules/x/key.pem",
            "node_modules/x/key.pem",
        ] {
            assert!(is_packaged(path), "{path}");
        }
        for path in ["app/key.pem", "etc/ssl/private/a.key", "srv/library/key.pem"] {
            assert!(!is_packaged(path), "{path}");
        }
    }
}
