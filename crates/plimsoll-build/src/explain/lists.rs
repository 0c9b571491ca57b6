//! What a COPY read, file by file: `builds/lists/<digest>.list`.
//!
//! Named by the digest that enters the key, so that builds that read the same files share a list: it is written when
//! they changed, and an unchanged build only touches it. One that no remembered build has touched goes.

use std::fs::{self, File};
use std::io;
use std::time::SystemTime;

use camino::Utf8PathBuf;
use plimsoll_oci::Digest;
use plimsoll_store::Store;

use crate::context::Content;
use crate::flat::{Body, Reader};

/// Below `builds/`.
pub(crate) const FOLDER: &str = "lists";
const NAME: &str = "plimsoll list 1\n";

/// A file as it enters the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// As instructions name it: `src/main.rs` in a context, `/out/app` in a stage.
    pub(crate) path: String,
    /// With the kind of file.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Of a directory its extended attributes.
    pub(crate) content: Content,
}

/// Keeps a list; `entries` are asked for only if it is not there.
pub(crate) fn save(store: &Store, digest: &Digest, entries: impl FnOnce() -> Vec<Listed>) -> io::Result<()> {
    let path = path(store, digest);
    match File::options().write(true).open(&path) {
        Ok(file) => return file.set_modified(SystemTime::now()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(path.parent().expect("a list lies in a folder"))?;
    let entries = entries();
    let mut body = Body::with_capacity(entries.len() * 80);
    let mut last: &[u8] = b"";
    for entry in &entries {
        // Paths come in order: most of each is in the one before.
        let name = entry.path.as_bytes();
        let same = last
            .iter()
            .zip(name)
            .take_while(|(one, other)| one == other)
            .count();
        for number in [same, name.len() - same] {
            body.fixed(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        }
        body.fixed(&name[same..]);
        for number in [entry.mode, entry.uid, entry.gid] {
            body.fixed(&number.to_le_bytes());
        }
        body.fixed(&entry.content);
        last = name;
    }
    body.save(NAME, path.as_std_path())
}

/// Returns a list, if it is still there.
pub(crate) fn load(store: &Store, digest: &Digest) -> Option<Vec<Listed>> {
    let file = fs::read(path(store, digest)).ok()?;
    let mut reader = Reader::open(NAME, &file)?;
    let mut entries: Vec<Listed> = Vec::new();
    while !reader.is_empty() {
        let mut number = || Some(u32::from_le_bytes(reader.fixed()?));
        let (same, length) = (number()? as usize, number()? as usize);
        let last = entries.last().map_or(&b""[..], |entry| entry.path.as_bytes());
        let mut name = last.get(..same)?.to_vec();
        name.extend_from_slice(reader.take(length)?);
        let mut number = || Some(u32::from_le_bytes(reader.fixed()?));
        entries.push(Listed {
            mode: number()?,
            uid: number()?,
            gid: number()?,
            content: reader.fixed()?,
            path: String::from_utf8(name).ok()?,
        });
    }
    Some(entries)
}

/// Removes the lists that were last used before the oldest of the remembered builds began.
pub(crate) fn sweep(store: &Store) -> plimsoll_store::Result<()> {
    let oldest: Option<i64> = store.db().read(|db| -> plimsoll_store::Result<_> {
        Ok(db.query_row("SELECT min(started) FROM build", [], |row| row.get(0))?)
    })?;
    let oldest = u64::try_from(oldest.unwrap_or_else(plimsoll_store::now)).unwrap_or(0);
    let oldest = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(oldest);
    let Ok(entries) = store.root().join("builds").join(FOLDER).read_dir_utf8() else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let used = entry.metadata().and_then(|metadata| metadata.modified());
        if used.is_ok_and(|used| used < oldest) {
            store.discard(entry.path())?;
        }
    }
    Ok(())
}

fn path(store: &Store, digest: &Digest) -> Utf8PathBuf {
    let name = format!("{}.list", &digest.hex()[..32]);
    store.root().join("builds").join(FOLDER).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let store = Store::open(&root.join("root"), &root.join("run")).unwrap();
        let entry = |path: &str, mode| Listed {
            path: path.to_owned(),
            mode,
            uid: 0,
            gid: 7,
            content: [mode as u8; 32],
        };
        let entries = vec![
            entry("src", 1),
            entry("src/größe", 2),
            entry("src/grün", 3),
            entry("x", 4),
        ];
        let digest = Digest::of("list");
        assert_eq!(load(&store, &digest), None);
        save(&store, &digest, || entries.clone()).unwrap();
        assert_eq!(load(&store, &digest), Some(entries));
        save(&store, &digest, || panic!("it is there")).unwrap();
        sweep(&store).unwrap();
        assert_eq!(load(&store, &digest), None, "no build is remembered");
    }
}
