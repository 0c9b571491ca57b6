//! Files of the web: kept in the content store, known again by what the server says of them.
//!
//! `contexts/http-<hash of the URL>.json` remembers `ETag`, `Last-Modified` and digest of what a URL gave. The record
//! is a hint: when it or the blob has gone, the file is fetched again.

use std::io::Write as _;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8PathBuf;
use plimsoll_oci::Digest;
use plimsoll_progress::{Progress, Task};
use plimsoll_registry::{Piece, Validators, WebAnswer};
use plimsoll_store::{Ingest, StoreError};
use serde::{Deserialize, Serialize};

use super::{SourceError, Sources, without_credentials};

/// Bytes between two reports of progress.
const STRIDE: u64 = 256 << 10;

/// What a URL gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WebFile {
    pub(crate) digest: Digest,
    #[serde(flatten)]
    validators: Validators,
}

impl WebFile {
    /// Seconds since 1970 of `Last-Modified`; zero without, as in BuildKit.
    pub(crate) fn modified(&self) -> i64 {
        let time = self.validators.last_modified.as_deref().unwrap_or_default();
        jiff::fmt::rfc2822::parse(time).map_or(0, |time| time.timestamp().as_second())
    }
}

impl Sources {
    /// Returns what `url` gives now: one request, which brings nothing when the file is known and has not changed.
    pub(crate) async fn web_file(&self, url: &str, progress: &Progress) -> Result<WebFile, SourceError> {
        let answer = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.entry(url.to_owned()).or_default().clone()
        };
        answer.get_or_try_init(|| self.ask(url, progress)).await.cloned()
    }

    async fn ask(&self, url: &str, progress: &Progress) -> Result<WebFile, SourceError> {
        let task = progress.start(format!("[internal] load {}", without_credentials(url)));
        let known = self.record(url);
        let validators = known.as_ref().map(|known| &known.validators);
        let validators = validators.filter(|known| known.etag.is_some() || known.last_modified.is_some());
        match self.download(url, validators, None, &task).await {
            Ok(Some(file)) => {
                task.done();
                Ok(file)
            }
            Ok(None) => {
                task.cached();
                Ok(known.expect("only what is known can be unchanged"))
            }
            Err(error) => {
                task.failed(&error);
                Err(error)
            }
        }
    }

    /// Makes sure that the file is in the content store, and has the digest it should have.
    pub(crate) async fn web_blob(
        &self,
        url: &str,
        digest: Digest,
        task: &Task,
    ) -> Result<WebFile, SourceError> {
        if let Some(known) = self.record(url).filter(|known| known.digest == digest)
            && self.store.content().touch(&[digest])?
        {
            return Ok(known);
        }
        let file = self.download(url, None, Some(digest), task).await?;
        Ok(file.expect("an unconditional answer has a body"))
    }

    /// None when the file has not changed.
    async fn download(
        &self,
        url: &str,
        known: Option<&Validators>,
        expected: Option<Digest>,
        task: &Task,
    ) -> Result<Option<WebFile>, SourceError> {
        let mut ingest = self.store.content().ingest(expected)?;
        let (mut reported, mut total) = (0, 0);
        let name = file_name(url);
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Begin { length } => {
                (reported, total) = (0, length.unwrap_or(0));
                ingest.restart().map_err(std::io::Error::other)
            }
            Piece::Bytes(bytes) => {
                ingest.write_all(bytes)?;
                if ingest.offset() - reported >= STRIDE {
                    reported = ingest.offset();
                    task.count(&name, reported, total);
                }
                Ok(())
            }
        };
        let authorization = self.authorization(url);
        let answer = self
            .web
            .get(url, known, authorization.as_deref(), &mut take)
            .await?;
        let WebAnswer::Body(validators) = answer else {
            return Ok(None);
        };
        let digest = commit(ingest, url).await?;
        let file = WebFile { digest, validators };
        self.remember(url, &file)?;
        Ok(Some(file))
    }

    /// BuildKit's secrets: `HTTP_AUTH_HEADER_<host>` whole, or `HTTP_AUTH_TOKEN_<host>` for a bearer token.
    fn authorization(&self, url: &str) -> Option<String> {
        let host = host(url)?;
        let secret = |kind: &str| self.credentials.get(&format!("HTTP_AUTH_{kind}_{host}"));
        let token = || secret("TOKEN").map(|token| format!("Bearer {token}"));
        secret("HEADER").cloned().or_else(token)
    }

    fn record_path(&self, url: &str) -> Utf8PathBuf {
        let name = format!("http-{}.json", Digest::of(url).hex());
        self.store.root().join("contexts").join(name)
    }

    fn record(&self, url: &str) -> Option<WebFile> {
        let bytes = std::fs::read(self.record_path(url)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Written beside and renamed: a reader sees the old record or the new one.
    fn remember(&self, url: &str, file: &WebFile) -> Result<(), SourceError> {
        let path = self.record_path(url);
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let unique = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
        let beside = path.with_extension(format!("json.{}.{}", unique.0, unique.1));
        let bytes = serde_json::to_vec(file).expect("a record is JSON");
        std::fs::write(&beside, bytes).map_err(SourceError::io("write", &beside))?;
        std::fs::rename(&beside, &path).map_err(SourceError::io("rename", &beside))
    }
}

async fn commit(ingest: Ingest, url: &str) -> Result<Digest, SourceError> {
    let committed = tokio::task::spawn_blocking(move || ingest.commit()).await;
    match committed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
        Ok((digest, _)) => Ok(digest),
        Err(StoreError::WrongDigest { expected, actual }) => Err(SourceError::Checksum {
            url: without_credentials(url),
            expected,
            actual,
        }),
        Err(error) => Err(error.into()),
    }
}

/// Host of a URL, without port and credentials.
pub(super) fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    Some(match host.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => host.split(':').next()?,
    })
}

/// What the file is called in a folder: the last part of the URL's path, or what BuildKit calls a file without a name.
pub(crate) fn file_name(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let path = super::remote::decoded(path);
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_the_url() {
        for (url, name) in [
            ("https://host/a/b.tar.gz?x=/y#/z", "b.tar.gz"),
            ("https://host/a%20b", "a b"),
            ("https://host/a/", "a"),
            ("https://host", "__unnamed__"),
            ("https://host/?q=1", "__unnamed__"),
            ("https://host/a/..", "__unnamed__"),
            ("https://host/a%2Fb", "b"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }

    #[test]
    fn hosts_are_found() {
        assert_eq!(host("https://me:pw@example.com:8443/x"), Some("example.com"));
        assert_eq!(host("http://[::1]:80/x"), Some("::1"));
        assert_eq!(host("x"), None);
    }

    #[test]
    fn times_are_read() {
        let file = |time: Option<&str>| WebFile {
            digest: Digest::of("x"),
            validators: Validators {
                etag: None,
                last_modified: time.map(str::to_owned),
            },
        };
        assert_eq!(
            file(Some("Wed, 21 Oct 2015 07:28:00 GMT")).modified(),
            1_445_412_480
        );
        assert_eq!(file(Some("yesterday")).modified(), 0);
        assert_eq!(file(None).modified(), 0);
    }
}
