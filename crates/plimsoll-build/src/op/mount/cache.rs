//! Cache mounts: directories that outlive builds.
//!
//! ```text
//! cache-mounts/<hash of the name>/
//!   id          the name, for people
//!   0/ 1/ …     instances; the second and later ones are for `sharing=private` when those before are busy
//!   0.lock      flock: shared by steps that share the instance, exclusive by one that has it alone or removes it
//! ```
//! Named by the id, its namespace, what it begins with and who owns it: two mounts that differ in one of these have
//! nothing in common, as with BuildKit. The lock files stay, so that one name never means two locks. A step that takes
//! several takes them in the order of their names.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_oci::{Digest, Hasher};
use plimsoll_store::{Entry, MergedTree};

use super::ExecMount;
use crate::error::OpError;
use crate::mount::{MountKind, Permissions, Sharing};
use crate::op::{Change, Original, Output, Services, Writer, blocking};

/// A cache that is the step's until this is dropped.
pub(crate) struct HeldCache {
    pub(crate) directory: PathBuf,
    /// The mounts it is for, by what names them.
    name: Name,
    _lock: File,
}

impl HeldCache {
    pub(crate) fn serves(&self, mount: &ExecMount) -> bool {
        name(mount).is_some_and(|(name, _)| name == self.name)
    }
}

/// What a step found of its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheState {
    /// It was there.
    Kept,
    /// It had to be made: the first time, or since it was removed.
    New,
}

impl CacheState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::New => "new",
        }
    }
}

/// What tells the caches of one step apart: id, owner, seed.
type Name = (String, Permissions, Option<String>);

/// The name of a mount's cache, and how it is shared.
fn name(mount: &ExecMount) -> Option<(Name, Sharing)> {
    match &mount.mount.kind {
        MountKind::Cache {
            sharing, permissions, ..
        } => {
            let seed = mount
                .files
                .as_ref()
                .map(|files| format!("{:?} {}", files.input, files.path.path));
            Some(((mount.cache_id.clone(), *permissions, seed), *sharing))
        }
        _ => None,
    }
}

/// Takes the caches of a step, waiting for those that others have locked.
pub(crate) async fn take(
    mounts: &[ExecMount],
    services: &Services,
    inputs: &[Output],
) -> Result<Vec<HeldCache>, OpError> {
    let mut wanted: BTreeMap<Utf8PathBuf, (&ExecMount, Sharing)> = BTreeMap::new();
    for mount in mounts {
        let Some((_, sharing)) = name(mount) else { continue };
        let folder = folder(mount, services, inputs).await?;
        services
            .mounts
            .note(folder.file_name().unwrap_or_default(), &mount.cache_id);
        // The same cache at two places of one step is taken once, in the stricter way.
        let entry = wanted.entry(folder).or_insert((mount, sharing));
        if sharing != Sharing::Shared {
            entry.1 = sharing;
        }
    }
    let mut held = Vec::new();
    for (folder, (mount, sharing)) in wanted {
        make(folder.as_std_path())?;
        let note = folder.join("id");
        if !note.exists() {
            std::fs::write(&note, &mount.cache_id).map_err(OpError::io("write", &note))?;
        }
        let (instance, lock) = lock(&folder, sharing).await?;
        let directory = folder.join(instance.to_string()).into_std_path_buf();
        let state = fill(mount, services, inputs, &directory).await?;
        let (name, _) = name(mount).expect("only caches are wanted");
        // Nobody else runs this step.
        let _ = mount.cache.set(state);
        held.push(HeldCache {
            directory,
            name,
            _lock: lock,
        });
    }
    Ok(held)
}

async fn folder(mount: &ExecMount, services: &Services, inputs: &[Output]) -> Result<Utf8PathBuf, OpError> {
    let mut hasher = Hasher::new();
    hasher.field("cache mount");
    hasher.field(&mount.cache_id);
    if let MountKind::Cache { permissions, .. } = &mount.mount.kind {
        hasher.field(format!("{permissions:?}"));
    }
    if let Some(files) = &mount.files {
        let content: Digest = files.content(services, inputs).await?;
        hasher.field(content.as_bytes());
    }
    let name = hasher.finish().hex()[..24].to_owned();
    Ok(services.store.root().join("cache-mounts").join(name))
}

/// The number of an instance and its lock. Asked for again and again rather than waited for: a thread that waits for a
/// lock cannot be told that the build was given up.
async fn lock(folder: &Utf8Path, sharing: Sharing) -> Result<(u32, File), OpError> {
    let mut pause = Duration::from_millis(2);
    loop {
        let instances = if sharing == Sharing::Private { u32::MAX } else { 1 };
        for instance in 0..instances {
            let path = folder.join(format!("{instance}.lock"));
            let open = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            let file = open.map_err(OpError::io("open", &path))?;
            let locked = match sharing {
                Sharing::Shared => file.try_lock_shared(),
                Sharing::Private | Sharing::Locked => file.try_lock(),
            };
            match locked {
                Ok(()) => return Ok((instance, file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(OpError::io("lock", &path)(error)),
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Makes an instance that is not there yet, aside and then in one move: steps that share it may come together.
async fn fill(
    mount: &ExecMount,
    services: &Services,
    inputs: &[Output],
    directory: &Path,
) -> Result<CacheState, OpError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if directory.exists() {
        return Ok(CacheState::Kept);
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let aside = services
        .folder
        .join(format!("cache-{number}"))
        .into_std_path_buf();
    make(&aside)?;
    let folder = directory.parent().and_then(Path::file_name);
    let folder = folder.unwrap_or_default().to_string_lossy();
    let store = &services.store;
    let filled = services
        .mounts
        .fill(&folder, &aside, store, &services.progress)
        .await;
    if filled.is_none() {
        std::fs::remove_dir_all(&aside).map_err(OpError::io("remove", &aside))?;
        make(&aside)?;
    }
    if let Some(files) = mount.files.as_ref().filter(|_| filled != Some(true)) {
        let (tree, entry) = files.find(services, inputs)?;
        let aside = aside.clone();
        blocking(move || seed(&tree, &entry, &aside)).await?;
    }
    if let MountKind::Cache { permissions, .. } = &mount.mount.kind {
        dress(&aside, permissions, mount.files.is_some())?;
    }
    match std::fs::rename(&aside, directory) {
        // Somebody else's came first; ours goes with the build's folder.
        Err(_) if directory.exists() => Ok(CacheState::Kept),
        result => result
            .map(|()| CacheState::New)
            .map_err(OpError::io("make", directory)),
    }
}

fn make(path: &Path) -> Result<(), OpError> {
    std::fs::create_dir_all(path).map_err(OpError::io("make", path))
}

/// What was seeded keeps its mode and owner unless others were asked for.
fn dress(path: &Path, permissions: &Permissions, seeded: bool) -> Result<(), OpError> {
    let mode = permissions.mode.or((!seeded).then_some(0o755));
    if let Some(mode) = mode {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).map_err(OpError::io("set mode of", path))?;
    }
    std::os::unix::fs::chown(path, permissions.uid, permissions.gid)
        .map_err(OpError::io("set owner of", path))
}

fn seed(tree: &MergedTree, entry: &Entry, directory: &Path) -> Result<(), OpError> {
    let mut writer = Writer::new(directory, &[]);
    copy(tree, entry, Path::new("/"), &mut writer)?;
    writer.finish().map(drop)
}

fn copy(tree: &MergedTree, entry: &Entry, to: &Path, writer: &mut Writer) -> Result<(), OpError> {
    for name in tree.read_dir(entry)? {
        let Some(child) = tree.child(entry, &name)? else {
            continue;
        };
        let path = to.join(&name);
        if child.metadata.is_dir() {
            writer.copy_directory(&Original::from(&child), &path, &Change::default())?;
            copy(tree, &child, &path, writer)?;
        } else {
            writer.copy_file(&Original::from(&child), &path, &Change::default())?;
        }
    }
    Ok(())
}
