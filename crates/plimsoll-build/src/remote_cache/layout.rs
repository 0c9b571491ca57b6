//! A cache in a folder: an [image layout], as BuildKit's `type=local` has it.
//!
//! A blob is written aside, under a lock, and then gets its name; `index.json` is replaced whole.
//!
//! [image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use plimsoll_oci::Digest;
use plimsoll_registry::BlobSource;
use serde_json::{Value, json};

use super::place::{CacheError, Write};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// No document is longer.
const DOCUMENT_LIMIT: u64 = 64 << 20;
const PIECE: usize = 1 << 20;

/// A folder with blobs and an index.
pub(super) struct Layout(PathBuf);

impl Layout {
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.hex())
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    pub(super) fn read(&self, digest: Digest, offset: u64, write: &mut Write<'_>) -> Result<(), CacheError> {
        let path = self.blob(&digest);
        let mut file = File::open(&path).map_err(missing("open", &path))?;
        let mut copy = || {
            file.seek(SeekFrom::Start(offset))?;
            let mut buffer = vec![0; PIECE];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => write(&buffer[..count])?,
                }
            }
        };
        copy().map_err(failed("read", &path))
    }

    /// Reads a document and checks its digest.
    pub(super) fn document(&self, digest: &Digest) -> Result<Vec<u8>, CacheError> {
        let path = self.blob(digest);
        let file = File::open(&path).map_err(missing("open", &path))?;
        let mut bytes = Vec::new();
        file.take(DOCUMENT_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &path))?;
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(CacheError::WrongDigest(*digest)),
        }
    }

    /// Returns the digest that goes by a name.
    pub(super) fn find(&self, tag: &str) -> Result<Digest, CacheError> {
        let index = self.index()?.ok_or(CacheError::Missing)?;
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        let named = |entry: &&Value| entry["annotations"][REF_NAME] == tag;
        let entry = entries.iter().find(named).ok_or(CacheError::Missing)?;
        let digest = entry["digest"].as_str().and_then(|text| text.parse().ok());
        digest.ok_or_else(|| CacheError::NoCache(format!("`index.json` has no digest for `{tag}`")))
    }

    pub(super) fn write(
        &self,
        digest: &Digest,
        source: &dyn BlobSource,
        report: &dyn Fn(u64),
    ) -> Result<(), CacheError> {
        let path = self.blob(digest);
        let folder = path.parent().expect("it is below the layout");
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
        // Of two exports to one folder the second waits, and finds the blob.
        let aside = path.with_extension("part");
        let mut options = File::options();
        let open = options.write(true).create(true).truncate(false).open(&aside);
        let mut file = open.map_err(failed("make", &aside))?;
        file.lock().map_err(failed("lock", &aside))?;
        if path.is_file() {
            let _ = fs::remove_file(&aside);
            return Ok(());
        }
        let mut copy = || {
            file.set_len(0)?;
            let mut reader = source.open(0)?;
            let mut buffer = vec![0; PIECE];
            let mut written = 0;
            loop {
                match reader.read(&mut buffer)? {
                    0 => break,
                    count => {
                        file.write_all(&buffer[..count])?;
                        written += count as u64;
                        report(written);
                    }
                }
            }
            file.sync_all()?;
            fs::rename(&aside, &path)
        };
        copy().map_err(failed("write", &path))
    }

    /// Gives a document of this media type a name, taking it from the one that had it.
    pub(super) fn name(
        &self,
        tag: &str,
        digest: &Digest,
        media_type: &str,
        size: u64,
    ) -> Result<(), CacheError> {
        let lock = self.0.join("index.json.lock");
        let held = File::create(&lock).map_err(failed("make", &lock))?;
        held.lock().map_err(failed("lock", &lock))?;
        let mut index = self.index()?.unwrap_or_else(
            || json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}),
        );
        let mut entries = index["manifests"].as_array().cloned().unwrap_or_default();
        entries.retain(|entry| entry["annotations"][REF_NAME] != tag);
        entries.push(json!({
            "mediaType": media_type,
            "digest": digest.to_string(),
            "size": size,
            "annotations": {REF_NAME: tag},
        }));
        index["manifests"] = entries.into();
        self.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.replace(
            "index.json",
            &serde_json::to_vec(&index).expect("JSON stays JSON"),
        )
    }

    fn index(&self) -> Result<Option<Value>, CacheError> {
        let path = self.0.join("index.json");
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(failed("read", &path))?,
        };
        let index: Value = serde_json::from_slice(&bytes)
            .map_err(|error| CacheError::NoCache(format!("`{}`: {error}", path.display())))?;
        match index.is_object() {
            true => Ok(Some(index)),
            false => Err(CacheError::NoCache(format!("`{}`", path.display()))),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let (path, aside) = (self.0.join(name), self.0.join(format!("{name}.part")));
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, &path)
        };
        write().map_err(failed("write", &path))
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Folder {
        operation,
        path,
        source,
    }
}

fn missing(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let failed = failed(operation, path);
    move |error| match error.kind() {
        io::ErrorKind::NotFound => CacheError::Missing,
        _ => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(&folder.path().join("cache"));
        assert!(matches!(layout.find("latest"), Err(CacheError::Missing)));
        let (one, two) = (b"one".to_vec(), b"two".to_vec());
        for bytes in [&one, &two, &one] {
            let digest = Digest::of(bytes);
            layout.write(&digest, bytes, &|_| {}).unwrap();
            layout.name("latest", &digest, "a/b", 3).unwrap();
            assert_eq!(layout.find("latest").unwrap(), digest);
            assert_eq!(layout.document(&digest).unwrap(), *bytes);
        }
        layout.name("other", &Digest::of(&two), "a/b", 3).unwrap();
        assert_eq!(layout.find("latest").unwrap(), Digest::of(&one));
        let left: Vec<_> = walk(folder.path());
        assert!(!left.iter().any(|name| name.ends_with(".part")), "{left:?}");
    }

    #[test]
    fn what_a_killed_export_left_is_no_blob() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let bytes = b"whole".to_vec();
        let digest = Digest::of(&bytes);
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(layout.blob(&digest).with_extension("part"), "much more than that").unwrap();
        assert!(!layout.has(&digest));
        layout.write(&digest, &bytes, &|_| {}).unwrap();
        assert_eq!(layout.document(&digest).unwrap(), bytes);
        fs::write(layout.blob(&digest), "torn").unwrap();
        assert!(matches!(
            layout.document(&digest),
            Err(CacheError::WrongDigest(_))
        ));
    }

    fn walk(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => names.extend(walk(&entry.path())),
                false => names.push(entry.file_name().into_string().unwrap()),
            }
        }
        names
    }
}
