//! The last run of a COPY: where most files of a large context are found when few of them changed.
//!
//! A file that the last run left under the same name, with the same content, owner, mode and time, is linked into the
//! new layer instead of written again. That is safe because committed snapshots never change: overlayfs copies a file
//! up before anything writes to it, the number of its names no layer tells, and a name of the new layer hides the same
//! name of any other. The layer that leaves is the same as if all had been copied.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use plimsoll_store::{SnapshotId, Store};

use crate::cache::is_recorded;
use crate::context::Content;
use crate::flat::{Body, Reader};
use crate::op::Owner;
use crate::stat::Time;

const NAME: &str = "plimsoll copy 2\n";
/// Fewer files are quicker copied than remembered.
const WORTHWHILE: usize = 64;

/// A regular file as it is in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) content: Content,
    pub(crate) owner: Owner,
    pub(crate) mode: u32,
    pub(crate) mtime: Time,
}

/// The files that the last run left.
pub(crate) struct Previous {
    upper: PathBuf,
    files: HashMap<Vec<u8>, Facts>,
}

impl Previous {
    /// Loads what [`save`] wrote, if the snapshot is still there, is trusted, and does not lie below the new one.
    pub(crate) fn load(path: &Path, store: &Store, lowers: &[PathBuf]) -> Option<Self> {
        let file = std::fs::read(path).ok()?;
        let mut reader = Reader::open(NAME, &file)?;
        let snapshot = SnapshotId(reader.number()?.cast_signed());
        if !is_recorded(store, snapshot) {
            return None;
        }
        let upper = store.snapshots().layers(snapshot).ok()?.into_iter().next()?;
        if lowers.contains(&upper) {
            return None;
        }
        let mut files = HashMap::with_capacity(file.len() / 128);
        while !reader.is_empty() {
            let name = reader.bytes()?.to_vec();
            let mut number = || Some(reader.number()? as u32);
            let (uid, gid, mode, nanoseconds) = (number()?, number()?, number()?, number()?);
            let facts = Facts {
                owner: Owner { uid, gid },
                mode,
                mtime: (reader.number()?.cast_signed(), nanoseconds),
                content: reader.fixed()?,
            };
            files.insert(name, facts);
        }
        Some(Self { upper, files })
    }

    /// Returns where a file lies that is the same.
    pub(crate) fn find(&self, path: &Path, facts: &Facts) -> Option<PathBuf> {
        let name = name_of(path);
        let same = self.files.get(name.as_os_str().as_bytes()) == Some(facts);
        same.then(|| self.upper.join(name))
    }
}

/// Remembers what files a run left in its snapshot.
pub(crate) fn save(path: &Path, snapshot: SnapshotId, files: &[(PathBuf, Facts)]) {
    if files.len() < WORTHWHILE {
        return;
    }
    let mut body = Body::with_capacity(files.len() * 128);
    body.number(snapshot.0.cast_unsigned());
    for (path, facts) in files {
        body.bytes(name_of(path).as_os_str().as_bytes());
        for number in [facts.owner.uid, facts.owner.gid, facts.mode, facts.mtime.1] {
            body.number(number.into());
        }
        body.number(facts.mtime.0.cast_unsigned());
        body.fixed(&facts.content);
    }
    if let Err(error) = body.save(NAME, path) {
        tracing::debug!(path = %path.display(), %error, "the next copy writes every file again");
    }
}

fn name_of(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
