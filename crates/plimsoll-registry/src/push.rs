//! Giving blobs and manifests to a registry, by the [specification].
//!
//! A blob is asked for first, then taken over from another repository of the registry if it may be there, and only then
//! sent: in one piece, and when that breaks off, from where the registry says it got to, in chunks. A registry that does
//! not know any more how far it got is sent the blob anew.
//!
//! [specification]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push

use std::sync::Arc;

use plimsoll_oci::{Digest, ImageRef};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE};
use reqwest::{Method, Response, StatusCode, Url};

use crate::error::{Attempt, Failure, Wanted};
use crate::host::Host;
use crate::request::{Content, Request, RequestError, Target};
use crate::retry::Retry;
use crate::upload::{BlobSource, State, Upload};
use crate::{Registry, RegistryError};

/// A piece of a blob where it cannot be sent whole.
const CHUNK: u64 = 16 << 20;
/// How often a blob is begun anew because the registry has forgotten about it.
const RESTARTS: u32 = 5;
const OCTETS: &str = "application/octet-stream";
/// How small a chunk the registry takes, except for the last.
const CHUNK_MIN: &str = "oci-chunk-min-length";

/// How a registry came to have a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobPush {
    /// It had it.
    Existed,
    /// It had it in another repository.
    Mounted,
    /// It was sent.
    Sent,
}

/// A blob to be pushed.
pub struct Pushing {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its bytes.
    pub source: Arc<dyn BlobSource>,
    /// Another repository of the same registry that may have it.
    pub mount_from: Option<String>,
    /// Told how many bytes have been sent.
    pub report: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Registry {
    /// Sees to it that the repository of `reference` has a blob.
    pub async fn push_blob(&self, reference: &ImageRef, blob: &Pushing) -> Result<BlobPush, RegistryError> {
        let host = self.host_of(reference.registry())?;
        let mut session = Session {
            host: &host,
            repository: reference.repository(),
            blob,
            state: Arc::new(State::new(Arc::clone(&blob.report))),
            chunk: None,
            mount: blob.mount_from.as_deref(),
            place: None,
            lost: false,
            restarts: 0,
        };
        let pushed = session.push().await;
        if let Some(source) = session.state.take_failure() {
            let digest = blob.digest;
            return Err(RegistryError::ReadBlob { digest, source });
        }
        pushed.map_err(|error| push_error(error, Wanted::Blob(blob.digest), reference, &host))
    }

    /// Tells whether the repository of `reference` has a blob.
    pub async fn has_blob(&self, reference: &ImageRef, digest: &Digest) -> Result<bool, RegistryError> {
        let host = self.host_of(reference.registry())?;
        let has = has_blob(&host, reference.repository(), digest).await;
        has.map_err(|error| push_error(error, Wanted::Blob(*digest), reference, &host))
    }

    /// Puts a manifest or index where `reference` says. What it names has to be there.
    pub async fn push_manifest(
        &self,
        reference: &ImageRef,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let host = self.host_of(reference.registry())?;
        let put = async || -> Result<(), RequestError> {
            let mut retry = Retry::new(false);
            loop {
                match put_manifest(&host, reference, media_type, bytes).await {
                    Err(RequestError::Failed(failure)) => retry.pause(failure).await?,
                    other => return other,
                }
            }
        };
        let put = put().await;
        put.map_err(|error| push_error(error, Wanted::Manifest, reference, &host))
    }
}

async fn put_manifest(
    host: &Host,
    reference: &ImageRef,
    media_type: &str,
    bytes: &[u8],
) -> Result<(), RequestError> {
    let path = Target::Path(format!("manifests/{}", reference.tag_or_digest()));
    let request = Request::new(Method::PUT, reference.repository(), path)
        .header(CONTENT_TYPE, media_type)
        .content(Content::Bytes(bytes))
        .writing(None);
    let response = host.ask(&request).await?;
    let said = header(&response, "docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
    match said.filter(|said| *said != Digest::of(bytes)) {
        None => Ok(()),
        Some(other) => Err(Failure::invalid(format!("the digest `{other}` for what it was given")).into()),
    }
}

fn push_error(error: RequestError, what: Wanted, reference: &ImageRef, host: &Host) -> RegistryError {
    match error {
        RequestError::SetUp(error) => error,
        RequestError::Failed(failure) => RegistryError::Push {
            what,
            reference: Box::new(reference.clone()),
            attempt: Attempt {
                asked: host.asked(reference.repository()),
                failure,
            },
        },
    }
}

async fn has_blob(host: &Host, repository: &str, digest: &Digest) -> Result<bool, RequestError> {
    let mut retry = Retry::new(false);
    loop {
        let path = Target::Path(format!("blobs/{digest}"));
        let request = Request::new(Method::HEAD, repository, path).writing(None);
        match host.ask(&request).await {
            Ok(_) => return Ok(true),
            Err(RequestError::Failed(
                Failure::NotFound { .. }
                | Failure::Status {
                    status: 400 | 405, ..
                },
            )) => return Ok(false),
            Err(RequestError::Failed(failure)) => retry.pause(failure).await?,
            Err(error) => return Err(error),
        }
    }
}

/// The upload of one blob.
struct Session<'a> {
    host: &'a Host,
    repository: &'a str,
    blob: &'a Pushing,
    state: Arc<State>,
    /// Sent in pieces of this size, if it has to be.
    chunk: Option<u64>,
    mount: Option<&'a str>,
    /// Where the registry takes what follows, and how much of the blob it has.
    place: Option<(Url, u64)>,
    /// How much it has is to be asked.
    lost: bool,
    restarts: u32,
}

impl Session<'_> {
    async fn push(&mut self) -> Result<BlobPush, RequestError> {
        if has_blob(self.host, self.repository, &self.blob.digest).await? {
            return Ok(BlobPush::Existed);
        }
        let mut retry = Retry::new(false);
        let mut best = 0;
        loop {
            let failure = match self.step().await {
                Ok(Some(pushed)) => return Ok(pushed),
                Ok(None) => {
                    let got = self.place.as_ref().map_or(0, |(_, got)| *got);
                    if got > best {
                        best = got;
                        retry.reset();
                    }
                    continue;
                }
                Err(RequestError::Failed(failure)) => failure,
                Err(error) => return Err(error),
            };
            if !self.forgotten(&failure) {
                retry.pause(failure).await?;
                self.lost = self.place.is_some();
            }
        }
    }

    /// Whether the failure means that the upload is to be begun anew, which it is then.
    fn forgotten(&mut self, failure: &Failure) -> bool {
        let too_large = matches!(failure, Failure::Status { status: 413, .. }) && self.chunk.is_none();
        let gone = matches!(
            failure,
            Failure::NotFound { .. }
                | Failure::Status {
                    status: 400 | 409 | 410 | 416,
                    ..
                }
        );
        if self.place.is_none() || self.restarts >= RESTARTS || !(too_large || gone) {
            return false;
        }
        if too_large {
            self.chunk = Some(CHUNK);
        }
        self.restarts += 1;
        (self.place, self.lost) = (None, false);
        true
    }

    /// The next request; none if another has to follow.
    async fn step(&mut self) -> Result<Option<BlobPush>, RequestError> {
        let Some((place, got)) = self.place.clone() else {
            return self.begin().await;
        };
        if std::mem::take(&mut self.lost) {
            return self.find(place).await.map(|()| None);
        }
        let size = self.blob.size;
        match self.chunk {
            None if got == 0 => self.finish(place, 0).await.map(Some),
            _ if got == size => self.finish(place, size).await.map(Some),
            chunk => {
                let end = size.min(got.saturating_add(chunk.unwrap_or(CHUNK)));
                self.append(place, got, end).await.map(|()| None)
            }
        }
    }

    /// Begins an upload, or takes the blob over from the other repository.
    async fn begin(&mut self) -> Result<Option<BlobPush>, RequestError> {
        let mount = self.mount.take();
        let path = match mount {
            // Names of repositories need no encoding, nor do digests.
            Some(from) => format!("blobs/uploads/?mount={}&from={from}", self.blob.digest),
            None => "blobs/uploads/".to_owned(),
        };
        let request = Request::new(Method::POST, self.repository, Target::Path(path))
            .header(CONTENT_LENGTH, "0")
            .writing(mount);
        let response = match self.host.ask(&request).await {
            // Not everybody may read the other repository; this one may be written to nevertheless.
            Err(RequestError::Failed(failure)) if mount.is_some() && !is_busy(&failure) => return Ok(None),
            response => response?,
        };
        if response.status() == StatusCode::CREATED && mount.is_some() {
            return Ok(Some(BlobPush::Mounted));
        }
        let least = header(&response, CHUNK_MIN).and_then(|text| text.parse::<u64>().ok());
        if let (Some(chunk), Some(least)) = (&mut self.chunk, least) {
            *chunk = (*chunk).max(least);
        }
        self.place = Some((Host::place(&response)?, 0));
        Ok(None)
    }

    /// Asks how much has arrived.
    async fn find(&mut self, place: Url) -> Result<(), RequestError> {
        self.lost = true;
        let request = Request::new(Method::GET, self.repository, Target::Url(place.clone())).writing(None);
        let response = self.host.ask(&request).await?;
        let got = received(&response).filter(|got| *got <= self.blob.size);
        let got = got.ok_or_else(|| Failure::NotFound {
            message: "the upload is in an unknown state".to_owned(),
        })?;
        // A registry that leaves the place out means the same one.
        self.place = Some((Host::place(&response).unwrap_or(place), got));
        self.chunk.get_or_insert(CHUNK);
        self.lost = false;
        Ok(())
    }

    async fn append(&mut self, place: Url, start: u64, end: u64) -> Result<(), RequestError> {
        let upload = self.upload(start, end);
        let request = Request::new(Method::PATCH, self.repository, Target::Url(place))
            .header(CONTENT_TYPE, OCTETS)
            .header(CONTENT_RANGE, format!("{start}-{}", end - 1))
            .content(Content::Upload(&upload))
            .writing(None);
        let response = self.host.ask(&request).await?;
        let got = received(&response).filter(|got| (start + 1..=end).contains(got));
        self.place = Some((Host::place(&response)?, got.unwrap_or(end)));
        Ok(())
    }

    /// Sends what is left from `start` on and says what it should come to.
    async fn finish(&mut self, mut place: Url, start: u64) -> Result<BlobPush, RequestError> {
        place
            .query_pairs_mut()
            .append_pair("digest", &self.blob.digest.to_string());
        let upload = self.upload(start, self.blob.size);
        let request = Request::new(Method::PUT, self.repository, Target::Url(place))
            .header(CONTENT_TYPE, OCTETS)
            .content(Content::Upload(&upload))
            .writing(None);
        self.host.ask(&request).await?;
        Ok(BlobPush::Sent)
    }

    fn upload(&self, start: u64, end: u64) -> Upload<'_> {
        Upload {
            source: &self.blob.source,
            start,
            end,
            state: &self.state,
        }
    }
}

/// Failures after which the same may be asked again.
fn is_busy(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Broken { .. }
            | Failure::Unreachable { .. }
            | Failure::Status {
                status: 408 | 425 | 429 | 500..=599,
                ..
            }
    )
}

/// The number of bytes a registry has by its `Range: 0-N`, which says 0-0 of nothing as well.
fn received(response: &Response) -> Option<u64> {
    let range = header(response, RANGE.as_str())?;
    let last: u64 = range
        .trim_start_matches("bytes=")
        .split_once('-')?
        .1
        .parse()
        .ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

fn header<'a>(response: &'a Response, name: &'static str) -> Option<&'a str> {
    response
        .headers()
        .get(HeaderName::from_static(name))?
        .to_str()
        .ok()
}

#[cfg(test)]
mod tests;
