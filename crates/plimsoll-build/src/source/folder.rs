//! Contexts that come as an archive or a repository: unpacked below `builds/`, gone when the build is over.

use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::{Path, PathBuf};

use plimsoll_diagnostics::Source;
use plimsoll_progress::{Progress, Task};
use plimsoll_store::MergedTree;

use super::{GitUrl, Remote, SourceError, Sources, without_credentials};
use crate::BuildContext;
use crate::archive::{BLOCK, decompressed, is_header};
use crate::attest::ContextOrigin;
use crate::scratch::Scratch;

/// A Dockerfile of more bytes than this is a mistake.
const MAX_DOCKERFILE: u64 = 16 << 20;
/// Bytes that tell an archive from a Dockerfile: one tar header.
const HEAD: usize = BLOCK;

/// A folder with the files of a context that came from elsewhere. It is removed when this is dropped.
pub struct ContextFolder {
    root: PathBuf,
    place: String,
    origin: Option<ContextOrigin>,
    _scratch: Scratch,
}

impl ContextFolder {
    /// Reads a Dockerfile of the context. Symlinks lead to other files of the context, never out of it.
    pub fn dockerfile(&self, name: &str) -> Result<Source, SourceError> {
        let tree = MergedTree::new(vec![self.root.clone()]);
        let entry = tree
            .resolve(Path::new(name))?
            .filter(|entry| entry.metadata.is_file());
        let entry = entry.ok_or_else(|| SourceError::NoDockerfile {
            path: name.to_owned(),
            place: self.place.clone(),
        })?;
        dockerfile(name, entry.open()?)
    }

    /// What it is, whenever it is fetched: the URL, and the digest of the commit or file.
    pub fn identity(&self) -> String {
        let origin = self.origin.as_ref();
        let digest = origin.map_or("", |origin| origin.digest.1.as_str());
        format!("{}@{digest}", self.place)
    }

    /// Moves the files to `folder`, which is of the same file system and not there yet.
    ///
    /// # Errors
    /// When it is there, or cannot be made.
    pub fn keep(self, folder: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.root, folder)
    }

    /// Opens the files as a build context; `dockerfile` is where the Dockerfile is in it, if it is.
    pub fn context(&self, dockerfile: Option<&str>) -> Result<BuildContext, SourceError> {
        let dockerfile = dockerfile.map(|name| self.root.join(name.trim_start_matches('/')));
        let context = BuildContext::open_fetched(&self.root, dockerfile.as_deref())?;
        Ok(context.with_origin(self.origin.clone()))
    }
}

/// What a URL that is given as context holds.
pub enum WebContext {
    /// An archive, unpacked.
    Folder(Box<ContextFolder>),
    /// Just a Dockerfile.
    Dockerfile(Source),
}

impl Sources {
    /// Checks a repository out as a build context.
    pub async fn checkout(&self, url: &GitUrl, progress: &Progress) -> Result<ContextFolder, SourceError> {
        let task = progress.start(format!("[internal] load git source {}", url.shown()));
        let checkout = async {
            let scratch = Scratch::new(&self.store).map_err(scratch_error)?;
            let root = new_folder(&scratch)?;
            let commit = self.git_commit(url).await?;
            self.git_checkout(url, &commit, &root, scratch.folder.as_std_path())
                .await?;
            Ok(ContextFolder {
                root,
                place: format!("`{}`", url.shown()),
                origin: Some(ContextOrigin {
                    uri: url.shown(),
                    digest: ("sha1", commit),
                }),
                _scratch: scratch,
            })
        };
        ended(task, checkout.await)
    }

    /// Unpacks a tar archive, compressed or not, as a build context; `place` names it in errors.
    pub async fn unpack(
        &self,
        archive: impl Read + Send + 'static,
        place: &str,
        progress: &Progress,
    ) -> Result<ContextFolder, SourceError> {
        let task = progress.start(format!("[internal] unpack {place}"));
        let (store, place) = (self.store.clone(), place.to_owned());
        let unpack = move || {
            let scratch = Scratch::new(&store).map_err(scratch_error)?;
            let root = new_folder(&scratch)?;
            let unpacked = decompressed(archive)
                .map_err(plimsoll_layer::LayerError::Read)
                .and_then(|mut tar| plimsoll_layer::apply(&mut *tar, &root, &[]));
            unpacked.map_err(|source| SourceError::Unpack {
                place: place.clone(),
                source,
            })?;
            Ok(ContextFolder {
                root,
                place,
                origin: None,
                _scratch: scratch,
            })
        };
        let unpacked = tokio::task::spawn_blocking(unpack).await;
        ended(
            task,
            unpacked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
        )
    }

    /// Fetches what a URL gives as a build context: an archive, or a Dockerfile alone.
    pub async fn web_context(&self, url: &str, progress: &Progress) -> Result<WebContext, SourceError> {
        let mut file = self.open(url, progress).await?;
        let mut head = Vec::new();
        let shown = without_credentials(url);
        let read = (&mut file).take(HEAD as u64).read_to_end(&mut head);
        read.and_then(|_| file.rewind())
            .map_err(SourceError::io("read", &shown))?;
        if is_archive(&head) {
            let digest = self.web_file(url, progress).await?.digest;
            let folder = self.unpack(file, &format!("`{shown}`"), progress).await?;
            let origin = ContextOrigin {
                uri: shown,
                digest: ("sha256", digest.hex()),
            };
            let folder = ContextFolder {
                origin: Some(origin),
                ..folder
            };
            return Ok(WebContext::Folder(Box::new(folder)));
        }
        Ok(WebContext::Dockerfile(dockerfile(&shown, file)?))
    }

    /// Fetches a Dockerfile.
    pub async fn web_dockerfile(&self, url: &str, progress: &Progress) -> Result<Source, SourceError> {
        dockerfile(&without_credentials(url), self.open(url, progress).await?)
    }

    async fn open(&self, url: &str, progress: &Progress) -> Result<File, SourceError> {
        self.store.protect()?;
        let file = self.web_file(url, progress).await?;
        let again = Progress::none().task("", &[]);
        self.web_blob(url, file.digest, &again).await?;
        Ok(self.store.content().open(&file.digest)?)
    }
}

/// Reads a Dockerfile called `name`.
fn dockerfile(name: &str, file: impl Read) -> Result<Source, SourceError> {
    let mut bytes = Vec::new();
    file.take(MAX_DOCKERFILE + 1)
        .read_to_end(&mut bytes)
        .map_err(SourceError::io("read", name))?;
    let wrong = |reason| SourceError::NotADockerfile {
        name: name.to_owned(),
        reason,
    };
    if bytes.len() as u64 > MAX_DOCKERFILE {
        return Err(wrong("it has more than 16 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text"))?;
    Ok(Source::new(name, text))
}

fn new_folder(scratch: &Scratch) -> Result<PathBuf, SourceError> {
    let root = PathBuf::from(scratch.folder.join("context"));
    std::fs::create_dir(&root).map_err(SourceError::io("make folder", &root))?;
    Ok(root)
}

fn ended<T>(task: Task, result: Result<T, SourceError>) -> Result<T, SourceError> {
    match &result {
        Ok(_) => task.done(),
        Err(error) => task.failed(error),
    }
    result
}

fn scratch_error(error: crate::BuildError) -> SourceError {
    match error {
        crate::BuildError::Store(error) => SourceError::Store(error),
        crate::BuildError::Io {
            operation,
            path,
            source,
        } => SourceError::Io {
            operation,
            path,
            source,
        },
        error => SourceError::Io {
            operation: "prepare",
            path: "builds".into(),
            source: std::io::Error::other(error),
        },
    }
}

/// Tells by its first 512 bytes whether something is a tar archive, plain or compressed. A Dockerfile is not.
pub fn is_archive(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 4] = [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    MAGIC.iter().any(|magic| head.starts_with(magic)) || head.first_chunk().is_some_and(is_header)
}

/// Which remote a context is, for those that are.
pub(crate) fn remote_or_path(text: &str) -> Result<Option<Remote>, SourceError> {
    match Path::new(text).exists() {
        true => Ok(None),
        false => Remote::parse_context(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_from_dockerfiles() {
        let mut header = tar::Header::new_gnu();
        header.set_path("Dockerfile").unwrap();
        header.set_cksum();
        let block = header.as_bytes();
        assert!(is_archive(block) && !is_archive(&block[..500]));
        assert!(is_archive(b"\x1f\x8b\x08\0") && is_archive(b"BZh9") && is_archive(b"\xfd7zXZ\0"));
        let text = "FROM scratch\n".repeat(50);
        assert!(!is_archive(text.as_bytes()) && !is_archive(b"") && !is_archive(&[0; 600]));
    }
}
