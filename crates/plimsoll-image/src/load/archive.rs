//! What is in an archive.

use std::collections::HashMap;
use std::io::{self, Read, Write as _};
use std::path::{Component, Path};

use plimsoll_oci::Digest;
use plimsoll_progress::Task;
use plimsoll_store::ContentStore;
use tar::EntryType;

use crate::document::DOCUMENT_LIMIT;
use crate::{ImageError, Result};

/// All documents that are kept in memory together.
const DOCUMENTS_LIMIT: u64 = 64 << 20;
/// An archive of images has a few files per layer.
const FILES_LIMIT: usize = 100_000;
/// Links that lead to links.
const LINKS_LIMIT: usize = 8;
/// Bytes between two reports of progress.
const STRIDE: u64 = 1 << 20;

/// A read archive: its documents, and where its blobs went.
pub(super) struct Archive<'a> {
    pub(super) content: &'a ContentStore,
    files: HashMap<String, File>,
}

enum File {
    Document(Vec<u8>),
    Blob(Digest, u64),
    Link(String),
}

impl<'a> Archive<'a> {
    /// Reads an archive to its end.
    pub(super) fn read(
        content: &'a ContentStore,
        input: &mut (dyn Read + Send),
        task: &Task,
    ) -> Result<Self> {
        let input = Counted {
            input,
            read: 0,
            reported: 0,
            task,
        };
        let tar = plimsoll_layer::decompress(input)
            .map_err(|error| ImageError::ReadArchive(io::Error::other(error)))?;
        let mut archive = Self {
            content,
            files: HashMap::new(),
        };
        let mut tar = tar::Archive::new(tar);
        let mut documents = 0;
        for entry in tar.entries().map_err(tar_error)? {
            let mut entry = entry.map_err(tar_error)?;
            let Some(name) = name_of(&entry)? else { continue };
            let file = match entry.header().entry_type() {
                EntryType::Symlink | EntryType::Link => link_of(&entry, &name)?.map(File::Link),
                EntryType::Regular | EntryType::Continuous => {
                    archive.take(&name, &mut entry, &mut documents)?
                }
                EntryType::Directory => None,
                other => return Err(bad(format!("`{name}` is an entry of type {other:?}"))),
            };
            if let Some(file) = file {
                archive.files.insert(name, file);
            }
            if archive.files.len() > FILES_LIMIT {
                return Err(bad(format!("it has more than {FILES_LIMIT} files")));
            }
        }
        // To the end: the writer of a pipe should not see it close, and a compressed stream has its checksum there.
        io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(ImageError::ReadArchive)?;
        Ok(archive)
    }

    fn take(&self, name: &str, entry: &mut dyn Read, documents: &mut u64) -> Result<Option<File>> {
        if is_unused(name) {
            return Ok(None);
        }
        if is_document(name) {
            let mut bytes = Vec::new();
            entry
                .take(DOCUMENT_LIMIT + 1)
                .read_to_end(&mut bytes)
                .map_err(ImageError::ReadArchive)?;
            *documents += bytes.len() as u64;
            if bytes.len() as u64 > DOCUMENT_LIMIT || *documents > DOCUMENTS_LIMIT {
                return Err(bad(format!("`{name}` is too large for a document")));
            }
            return Ok(Some(File::Document(bytes)));
        }
        let mut ingest = self.content.ingest(None)?;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = entry.read(&mut buffer).map_err(ImageError::ReadArchive)?;
            if read == 0 {
                break;
            }
            ingest.write_all(&buffer[..read]).map_err(ImageError::WriteBlob)?;
        }
        let (digest, size) = ingest.commit()?;
        check_name(name, &digest)?;
        Ok(Some(File::Blob(digest, size)))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Returns the bytes of a document, wherever it is kept.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>> {
        match self.resolve(name)? {
            (_, File::Document(bytes)) => Ok(bytes.clone()),
            (name, File::Blob(_, size)) if *size > DOCUMENT_LIMIT => {
                Err(bad(format!("`{name}` is too large for a document")))
            }
            (_, File::Blob(digest, _)) => Ok(self.content.read(digest, DOCUMENT_LIMIT)?),
            (name, File::Link(_)) => Err(bad(format!("`{name}` is a link of links"))),
        }
    }

    /// Returns digest and size of a blob.
    pub(super) fn blob(&self, name: &str) -> Result<(Digest, u64)> {
        match self.resolve(name)? {
            (_, File::Blob(digest, size)) => Ok((*digest, *size)),
            (name, _) => Err(bad(format!("`{name}` is not a layer"))),
        }
    }

    fn resolve(&self, name: &str) -> Result<(String, &File)> {
        let mut current = name.trim_start_matches("./").to_owned();
        for _ in 0..LINKS_LIMIT {
            match self.files.get(&current) {
                Some(File::Link(target)) => current.clone_from(target),
                Some(file) => return Ok((current, file)),
                None => return Err(bad(format!("`{current}` is named in it and missing"))),
            }
        }
        Err(bad(format!("`{name}` is a link that leads to no end")))
    }
}

/// The tar crate quotes what it could not read, which may be anything.
fn tar_error(error: io::Error) -> ImageError {
    match error.kind() {
        io::ErrorKind::Other => bad("it is not a tar archive, or damaged".to_owned()),
        _ => ImageError::ReadArchive(error),
    }
}

fn bad(reason: String) -> ImageError {
    ImageError::BadArchive(reason)
}

/// What old versions of Docker wrote for even older ones.
fn is_unused(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    matches!(last, "VERSION" | "json" | "repositories") && !name.starts_with("blobs/")
}

fn is_document(name: &str) -> bool {
    !name.contains('/') && (name.ends_with(".json") || name == "oci-layout")
}

/// A blob's name in an OCI layout is its digest.
fn check_name(name: &str, digest: &Digest) -> Result<()> {
    match name.strip_prefix("blobs/sha256/") {
        Some(hex) if hex != digest.hex() => Err(bad(format!("`{name}` has digest `{digest}`"))),
        _ => Ok(()),
    }
}

/// Returns the name without `./`, or nothing for the root. A name that leads out of the archive is refused: an archive
/// that has one was made to do harm.
fn name_of(entry: &tar::Entry<'_, impl Read>) -> Result<Option<String>> {
    let bytes = entry.path_bytes();
    let text =
        std::str::from_utf8(&bytes).map_err(|_| bad("it has a file name that is not UTF-8".to_owned()))?;
    let name = inside(Path::new(""), text).ok_or_else(|| bad(format!("`{text}` leads out of it")))?;
    Ok((!name.is_empty()).then_some(name))
}

/// Returns what a link points to, as a name in the archive. Hard links are relative to its root, symbolic ones to where
/// they are.
fn link_of(entry: &tar::Entry<'_, impl Read>, name: &str) -> Result<Option<String>> {
    let leads_out = || bad(format!("the link `{name}` leads out of it"));
    let bytes = entry.link_name_bytes().ok_or_else(leads_out)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| leads_out())?;
    let symbolic = entry.header().entry_type() == EntryType::Symlink;
    let folder = Path::new(name)
        .parent()
        .filter(|_| symbolic)
        .unwrap_or(Path::new(""));
    inside(folder, text).map(Some).ok_or_else(leads_out)
}

/// Joins a path to a folder of the archive, if it stays within.
fn inside(folder: &Path, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// Reports how much of the archive has been read.
struct Counted<'a> {
    input: &'a mut (dyn Read + Send),
    read: u64,
    reported: u64,
    task: &'a Task,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read += read as u64;
        if self.read - self.reported >= STRIDE {
            self.reported = self.read;
            self.task.count("reading", self.read, 0);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let join = |folder: &str, path: &str| inside(Path::new(folder), path);
        assert_eq!(join("", "./a//b").as_deref(), Some("a/b"));
        assert_eq!(join("a", "../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(join("", "."), Some(String::new()));
        for (folder, path) in [
            ("", ".."),
            ("a", "../../b"),
            ("", "/etc/passwd"),
            ("", "a/../../b"),
        ] {
            assert_eq!(join(folder, path), None, "{path}");
        }
    }
}
