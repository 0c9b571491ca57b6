//! Changes of files below folders, as the kernel tells them (inotify(7)).

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Changes that come one soon after the other are one: an editor that saves, a branch that is checked out.
const QUIET: Duration = Duration::from_millis(100);
/// However many there are, they are told after this time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which folders are not looked into.
type Skip = Box<dyn Fn(&Path) -> bool + Send + Sync>;

/// Watches folders with all that is below, and single files; also those that are not there yet.
pub(crate) struct Watcher {
    inotify: AsyncFd<OwnedFd>,
    roots: Vec<PathBuf>,
    folders: HashMap<i32, PathBuf>,
    skip: Skip,
}

impl Watcher {
    /// Begins to watch `roots`.
    pub(crate) fn new(roots: &[PathBuf], skip: Skip) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may close early; OwnedFd does not"
        )]
        let inotify = AsyncFd::with_interest(inotify, Interest::READABLE)?;
        let mut watcher = Self {
            inotify,
            roots: roots.to_vec(),
            folders: HashMap::new(),
            skip,
        };
        for root in roots {
            // A file that is saved is often another one of the same name, and a folder may go and come again: the one
            // above tells of both.
            let above = root.ancestors().skip(1).find(|folder| folder.is_dir());
            watcher.add_one(above.unwrap_or(root))?;
            if root.is_dir() {
                watcher.add(root, &mut BTreeSet::new())?;
            }
        }
        Ok(watcher)
    }

    fn add_one(&mut self, folder: &Path) -> io::Result<()> {
        let wanted = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        match add_watch(self.inotify.get_ref(), folder, wanted) {
            Ok(number) => {
                self.folders.insert(number, folder.to_owned());
                Ok(())
            }
            // Gone meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(Errno::NOSPC) => Err(io::Error::other(format!(
                "no more folders can be watched than {} (fs.inotify.max_user_watches); `ignore` those that need not be",
                self.folders.len()
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// Watches a folder with all below it; what is there is noted in `found`.
    fn add(&mut self, folder: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        self.add_one(folder)?;
        // Read after the watch began, so that nothing falls between.
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if (self.skip)(&path) {
                continue;
            }
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => self.add(&path, found)?,
                false => drop(found.insert(path)),
            }
        }
        Ok(())
    }

    /// What was moved away with all below it has other names now.
    fn forget(&mut self, folder: &Path) {
        let inotify = self.inotify.get_ref();
        self.folders.retain(|number, path| {
            let stays = !path.starts_with(folder);
            if !stays {
                // It may be gone.
                let _ = remove_watch(inotify, *number);
            }
            stays
        });
    }

    /// Waits for changes and returns their paths, once there is a pause.
    pub(crate) async fn changes(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::new();
        while changed.is_empty() {
            self.take(&mut changed).await?;
        }
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let pause = tokio::time::Instant::now() + QUIET;
            match tokio::time::timeout_at(end.min(pause), self.take(&mut changed)).await {
                Ok(taken) => taken?,
                Err(_) => return Ok(changed),
            }
        }
    }

    /// Takes what the kernel has to tell, waiting for it.
    async fn take(&mut self, changed: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let told = loop {
            let mut ready = self.inotify.readable().await?;
            match read(self.inotify.get_ref()) {
                Ok(told) => break told,
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        };
        for (folder, name, kind) in told {
            if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                // What was lost is not known: all there is counts as changed.
                let folders: Vec<PathBuf> = self.folders.values().cloned().collect();
                folders.iter().try_for_each(|folder| self.add(folder, changed))?;
                continue;
            }
            if kind.contains(ReadFlags::IGNORED) {
                self.folders.remove(&folder);
                continue;
            }
            let (Some(folder), Some(name)) = (self.folders.get(&folder), name) else {
                continue;
            };
            let path = folder.join(OsStr::from_bytes(&name));
            if (self.skip)(&path) {
                continue;
            }
            let is_new = kind.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            let is_root = self.roots.contains(&path);
            match kind.contains(ReadFlags::ISDIR) {
                true if is_new => {
                    self.add(&path, changed)?;
                    changed.extend((!is_root).then_some(path));
                }
                true if kind.contains(ReadFlags::MOVED_FROM) => {
                    self.forget(&path);
                    changed.extend((!is_root).then_some(path));
                }
                // Its files have told themselves. What they were copied to may be where a program stands: it stays.
                true if is_root => {}
                // Its looks only.
                true if kind.contains(ReadFlags::ATTRIB) => {}
                // An empty file is about to be written to, which is told, too; a link is not.
                _ => drop(changed.insert(path)),
            }
        }
        Ok(())
    }
}

type Told = Vec<(i32, Option<Vec<u8>>, ReadFlags)>;

fn read(inotify: &OwnedFd) -> rustix::io::Result<Told> {
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut told = Vec::new();
    loop {
        let event = reader.next()?;
        let name = event.file_name().map(|name| name.to_bytes().to_vec());
        told.push((event.wd(), name, event.events()));
        if reader.is_buffer_empty() {
            return Ok(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_below_a_folder_are_told_together() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        std::fs::create_dir_all(root.join("src/skipped")).unwrap();
        std::fs::write(root.join("src/old"), "").unwrap();
        let skip: Skip = Box::new(|path| path.ends_with("skipped"));
        let mut watcher = Watcher::new(&[root.clone(), root.join("src/old")], skip).unwrap();
        std::fs::write(root.join("src/skipped/x"), "").unwrap();
        std::fs::write(root.join("src/one"), "1").unwrap();
        std::fs::remove_file(root.join("src/old")).unwrap();
        std::fs::create_dir_all(root.join("new/deep")).unwrap();
        std::fs::write(root.join("new/deep/two"), "2").unwrap();
        let mut changed = watcher.changes().await.unwrap();
        // A file in a folder that is new may be told a little later.
        while !changed.contains(&root.join("new/deep/two")) {
            changed.extend(watcher.changes().await.unwrap());
        }
        assert!(changed.contains(&root.join("src/one")) && changed.contains(&root.join("src/old")));
        assert!(
            !changed
                .iter()
                .any(|path| path.starts_with(root.join("src/skipped")))
        );
        std::fs::rename(root.join("new/deep"), root.join("src/skipped/deep")).unwrap();
        while !watcher.changes().await.unwrap().contains(&root.join("new/deep")) {}
        std::fs::write(root.join("src/skipped/deep/two"), "elsewhere").unwrap();
        std::fs::create_dir(root.join("new/deep")).unwrap();
        while !watcher.changes().await.unwrap().contains(&root.join("new/deep")) {}
        std::fs::write(root.join("new/deep/three"), "3").unwrap();
        assert!(
            watcher
                .changes()
                .await
                .unwrap()
                .contains(&root.join("new/deep/three"))
        );
    }

    #[tokio::test]
    async fn a_folder_may_come_late_and_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("late/root");
        let inside = root.clone();
        let skip: Skip = Box::new(move |path| !path.starts_with(&inside) && !inside.starts_with(path));
        let mut watcher = Watcher::new(std::slice::from_ref(&root), skip).unwrap();
        for name in ["first", "second"] {
            std::fs::write(folder.path().join("other"), name).unwrap();
            std::fs::create_dir_all(&root).unwrap();
            std::fs::write(root.join(name), "").unwrap();
            let mut changed = BTreeSet::new();
            while !changed.contains(&root.join(name)) {
                changed.extend(watcher.changes().await.unwrap());
            }
            assert!(!changed.contains(&folder.path().join("other")));
            std::fs::remove_dir_all(&root).unwrap();
            let mut changed = BTreeSet::new();
            while !changed.contains(&root.join(name)) {
                changed.extend(watcher.changes().await.unwrap());
            }
            assert!(
                !changed.contains(&root),
                "it is not taken away with what is in it"
            );
        }
    }
}
