//! What the files of a context held when they were last read: `contexts/<id>.index` in the store.
//!
//! A file whose stat(2) is what it was then is not read again. As in git's index, that is safe only where a later
//! change must show: one made within a tick of the clock after the file was looked at leaves the same times behind.
//! So an entry is kept only if the file's times were already old when it was looked at ("racy git",
//! <https://git-scm.com/docs/racy-git>); a file that was changed just before is read once more by the next build.
//!
//! Several builds may use one index. Each loads it whole and replaces it whole; the last one wins, and what the others
//! knew is read again. A damaged index counts as none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::flat::{Body, Reader};
use crate::stat::{Stat, Time};

/// Format of the file and meaning of the digests.
const NAME: &str = "plimsoll context index 2\n";
/// Builds that may go by without looking at a file before its entry is dropped.
const PATIENCE: u64 = 20;
/// Clock ticks are at most 10 ms apart (HZ=100). Times in whole seconds come from coarse file systems, such as FAT.
const TICK: i128 = 20_000_000;
const COARSE_TICK: i128 = 2_000_000_000;

/// Digest of the bytes, link target and extended attributes of a file.
pub(crate) type Content = [u8; 32];

struct Known {
    stat: Stat,
    content: Content,
    /// Builds that wrote the index since one looked at the file.
    unused: u64,
}

#[derive(Default)]
struct Fresh {
    seen: HashMap<Vec<u8>, (Stat, Content)>,
    /// Something is known now that the file does not say.
    news: bool,
}

/// Digests of a context's files by path and stat(2). Written back when dropped.
pub(crate) struct ContextIndex {
    /// None for a context that no later build sees again.
    path: Option<PathBuf>,
    known: HashMap<Vec<u8>, Known>,
    fresh: Mutex<Fresh>,
}

impl ContextIndex {
    /// Loads an index; one that is not there or damaged is empty.
    pub(crate) fn load(path: Option<PathBuf>) -> Self {
        let file = path
            .as_ref()
            .and_then(|path| std::fs::read(path).ok())
            .unwrap_or_default();
        Self {
            path,
            known: read(&file).unwrap_or_default(),
            fresh: Mutex::default(),
        }
    }

    /// Returns the digest of a file if it is known for certain.
    pub(crate) fn get(&self, path: &Path, stat: &Stat) -> Option<Content> {
        let known = self.known.get(path.as_os_str().as_encoded_bytes())?;
        known.stat.unchanged(stat).then_some(known.content)
    }

    /// Remembers what files held that were looked at, at `looked`, before they were read.
    pub(crate) fn remember<'a>(
        &self,
        files: impl Iterator<Item = (&'a Path, Stat, Content)>,
        looked: SystemTime,
    ) {
        let looked = looked.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let looked = i128::try_from(looked).unwrap_or(0);
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, stat, content) in files.filter(|(_, stat, _)| is_settled(stat, looked)) {
            fresh.news |= self.get(path, &stat) != Some(content);
            fresh
                .seen
                .insert(path.as_os_str().as_encoded_bytes().to_vec(), (stat, content));
        }
    }

    fn save(&self, fresh: &Fresh, path: &Path) -> std::io::Result<()> {
        let mut body = Body::with_capacity((self.known.len() + fresh.seen.len()) * 192);
        let mut add = |path: &[u8], stat: &Stat, content: &Content, unused: u64| {
            body.bytes(path);
            stat.save_identity(&mut body);
            body.number(unused);
            body.fixed(content);
        };
        for (path, (stat, content)) in &fresh.seen {
            add(path, stat, content, 0);
        }
        let others = self
            .known
            .iter()
            .filter(|(path, _)| !fresh.seen.contains_key(*path));
        for (path, known) in others.filter(|(_, known)| known.unused < PATIENCE) {
            add(path, &known.stat, &known.content, known.unused + 1);
        }
        body.save(NAME, path)
    }
}

impl Drop for ContextIndex {
    fn drop(&mut self) {
        let fresh = std::mem::take(self.fresh.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(path) = &self.path
            && fresh.news
            && let Err(error) = self.save(&fresh, path)
        {
            tracing::debug!(path = %path.display(), %error, "the next build reads the context again");
        }
    }
}

/// Tells whether a change after `looked`, in nanoseconds, must have left other times.
fn is_settled(stat: &Stat, looked: i128) -> bool {
    [stat.mtime, stat.ctime].iter().all(|time| {
        let tick = if time.1 == 0 { COARSE_TICK } else { TICK };
        nanoseconds(*time) + tick < looked
    })
}

fn nanoseconds((seconds, nanoseconds): Time) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn read(file: &[u8]) -> Option<HashMap<Vec<u8>, Known>> {
    let mut reader = Reader::open(NAME, file)?;
    let mut known = HashMap::with_capacity(file.len() / 128);
    while !reader.is_empty() {
        let path = reader.bytes()?.to_vec();
        let entry = Known {
            stat: Stat::load_identity(&mut reader)?,
            unused: reader.number()?,
            content: reader.fixed()?,
        };
        known.insert(path, entry);
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    fn stat(path: &Path) -> Stat {
        Stat::from(&fs::symlink_metadata(path).unwrap())
    }

    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    struct Bench {
        directory: tempfile::TempDir,
        file: PathBuf,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("file");
            fs::write(&file, "one").unwrap();
            Self { directory, file }
        }

        fn index(&self) -> ContextIndex {
            ContextIndex::load(Some(self.directory.path().join("x.index")))
        }

        fn get(&self) -> Option<Content> {
            self.index().get(Path::new("file"), &stat(&self.file))
        }

        fn remember(&self, looked: SystemTime) {
            let known = (Path::new("file"), stat(&self.file), [1; 32]);
            self.index().remember([known].into_iter(), looked);
        }
    }

    #[test]
    fn an_unchanged_file_is_known() {
        let bench = Bench::new();
        assert_eq!(bench.get(), None);
        bench.remember(later());
        assert_eq!(bench.get(), Some([1; 32]));
    }

    #[test]
    fn every_change_shows() {
        let bench = Bench::new();
        bench.remember(later());
        let before = stat(&bench.file);
        fs::write(&bench.file, "two").unwrap();
        let modified = rustix::fs::Timespec {
            tv_sec: before.mtime.0,
            tv_nsec: before.mtime.1.into(),
        };
        let times = rustix::fs::Timestamps {
            last_access: modified,
            last_modification: modified,
        };
        rustix::fs::utimensat(rustix::fs::CWD, &bench.file, &times, rustix::fs::AtFlags::empty()).unwrap();
        assert_eq!(stat(&bench.file).mtime, before.mtime, "made to look old");
        assert_eq!(bench.get(), None, "the change time tells");

        bench.remember(later());
        assert!(bench.get().is_some());
        fs::copy(&bench.file, bench.directory.path().join("copy")).unwrap();
        fs::rename(bench.directory.path().join("copy"), &bench.file).unwrap();
        assert_eq!(bench.get(), None, "another file of the same name");
    }

    #[test]
    fn a_file_changed_just_before_is_not_trusted() {
        let bench = Bench::new();
        let changed = UNIX_EPOCH + Duration::from_nanos(nanoseconds(stat(&bench.file).ctime) as u64);
        bench.remember(changed + Duration::from_millis(1));
        assert_eq!(bench.get(), None);
        bench.remember(changed + Duration::from_millis(30));
        assert!(bench.get().is_some());
        let whole_seconds = Stat {
            ctime: (100, 0),
            mtime: (90, 5),
            ..stat(&bench.file)
        };
        assert!(!is_settled(&whole_seconds, 101_900_000_000));
        assert!(is_settled(&whole_seconds, 102_100_000_000));
    }

    #[test]
    fn a_damaged_index_is_none() {
        let bench = Bench::new();
        bench.remember(later());
        let path = bench.directory.path().join("x.index");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(bench.get(), None);
        bench.remember(later());
        assert_eq!(fs::read(&path).unwrap(), whole, "it is made anew");
    }

    #[test]
    fn what_other_builds_looked_at_stays_for_a_while() {
        let bench = Bench::new();
        bench.remember(later());
        for round in 0..=PATIENCE {
            assert!(bench.get().is_some(), "after {round} other builds");
            let other = (Path::new("other"), stat(&bench.file), [round as u8; 32]);
            bench.index().remember([other].into_iter(), later());
        }
        assert_eq!(bench.get(), None);
    }

    #[test]
    fn builds_at_once_leave_a_whole_index() {
        let bench = Bench::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| bench.remember(later())));
            }
        });
        assert!(read(&fs::read(bench.directory.path().join("x.index")).unwrap()).is_some());
    }
}
