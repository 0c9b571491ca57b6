//! Asking the hosts in turn, and again.

use std::io;

use plimsoll_oci::{Descriptor, Digest, ImageRef};
use reqwest::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Method, StatusCode};

use crate::client::read_body;
use crate::error::{Attempt, Failure, Wanted};
use crate::host::Host;
use crate::request::{Request, RequestError, Target};
use crate::retry::Retry;
use crate::{FetchedManifest, Registry, RegistryError};

const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// The [specification] asks registries to take manifests of at least this size; larger ones are not in use.
///
/// [specification]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests
const MANIFEST_LIMIT: usize = 4 << 20;
/// After this many bytes of a blob the patience with its host is as good as new.
const PROGRESS: u64 = 1 << 20;

/// Takes a blob's bytes as they come.
pub(crate) type Write<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

/// A blob on its way.
struct Download<'a, 'b> {
    digest: Digest,
    size: u64,
    position: u64,
    write: &'a mut Write<'b>,
}

enum BlobError {
    Request(RequestError),
    Keep(io::Error),
}

impl<E: Into<RequestError>> From<E> for BlobError {
    fn from(error: E) -> Self {
        Self::Request(error.into())
    }
}

impl Registry {
    /// Fetches a manifest or index by tag or digest.
    pub async fn manifest(&self, reference: &ImageRef) -> Result<FetchedManifest, RegistryError> {
        let mut attempts = Vec::new();
        for host in self.hosts(reference)?.iter().filter(|host| !host.is_given_up()) {
            match manifest_from(host, reference).await {
                Ok(manifest) => return Ok(manifest),
                Err(RequestError::SetUp(error)) => return Err(error),
                Err(RequestError::Failed(failure)) => attempts.push(attempt(host, reference, failure)),
            }
        }
        Err(RegistryError::Fetch {
            what: Wanted::Manifest,
            reference: Box::new(reference.clone()),
            attempts,
        })
    }

    /// Streams a blob from byte `offset` on into `write`, each byte once and in order. Interrupted downloads are
    /// resumed, from the next host if need be. The size is checked; the digest is for the caller to check.
    pub async fn blob(
        &self,
        reference: &ImageRef,
        descriptor: &Descriptor,
        offset: u64,
        write: &mut Write<'_>,
    ) -> Result<(), RegistryError> {
        let mut attempts = Vec::new();
        let digest = match Digest::try_from(descriptor.digest()) {
            Ok(digest) => digest,
            Err(error) => {
                let failure = Failure::invalid(error.to_string());
                let asked = reference.familiar_name();
                return Err(RegistryError::Fetch {
                    what: Wanted::Manifest,
                    reference: Box::new(reference.clone()),
                    attempts: vec![Attempt { asked, failure }],
                });
            }
        };
        let mut download = Download {
            digest,
            size: descriptor.size(),
            position: offset,
            write,
        };
        for host in self.hosts(reference)?.iter().filter(|host| !host.is_given_up()) {
            match download.from(host, reference).await {
                Ok(()) => return Ok(()),
                Err(BlobError::Keep(source)) => return Err(RegistryError::Keep { digest, source }),
                Err(BlobError::Request(RequestError::SetUp(error))) => return Err(error),
                Err(BlobError::Request(RequestError::Failed(failure))) => {
                    attempts.push(attempt(host, reference, failure))
                }
            }
        }
        Err(RegistryError::Fetch {
            what: Wanted::Blob(digest),
            reference: Box::new(reference.clone()),
            attempts,
        })
    }
}

impl Download<'_, '_> {
    async fn from(&mut self, host: &Host, reference: &ImageRef) -> Result<(), BlobError> {
        let mut retry = Retry::new(host.mirror);
        while self.position < self.size {
            let before = self.position;
            match self.once(host, reference.repository()).await {
                Err(BlobError::Request(RequestError::Failed(failure))) => {
                    if self.position - before >= PROGRESS {
                        retry.reset();
                    }
                    retry.pause(failure).await?;
                }
                other => return other,
            }
        }
        Ok(())
    }

    async fn once(&mut self, host: &Host, repository: &str) -> Result<(), BlobError> {
        let path = Target::Path(format!("blobs/{}", self.digest));
        let mut request = Request::new(Method::GET, repository, path);
        if self.position > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.position));
        }
        let mut response = host.ask(&request).await?;
        let mut skip = skip_of(&response, self.position)?;
        while let Some(chunk) = response.chunk().await.map_err(Failure::from)? {
            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            self.take(&chunk[usize::try_from(skipped).expect("no longer than the chunk")..])?;
        }
        if self.position < self.size {
            return Err(
                Failure::broken(format!("ended after {} of {} bytes", self.position, self.size)).into(),
            );
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let after = self.position + bytes.len() as u64;
        if after > self.size {
            return Err(Failure::invalid(format!("a blob of more than its {} bytes", self.size)).into());
        }
        (self.write)(bytes).map_err(BlobError::Keep)?;
        self.position = after;
        Ok(())
    }
}

/// Returns how many bytes of the answer are already there: all before `position`, if the registry does not do ranges.
fn skip_of(response: &reqwest::Response, position: u64) -> Result<u64, Failure> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(position);
    }
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|range| range.to_str().ok())
        .unwrap_or("");
    let start = range
        .strip_prefix("bytes ")
        .and_then(|range| range.split_once('-'))
        .map(|(start, _)| start);
    match start {
        Some(start) if start.parse() == Ok(position) => Ok(0),
        _ => Err(Failure::invalid(format!(
            "the range `{range}` for `bytes={position}-`"
        ))),
    }
}

async fn manifest_from(host: &Host, reference: &ImageRef) -> Result<FetchedManifest, RequestError> {
    let mut retry = Retry::new(host.mirror);
    loop {
        match manifest_once(host, reference).await {
            Err(RequestError::Failed(failure)) => retry.pause(failure).await?,
            other => return other,
        }
    }
}

async fn manifest_once(host: &Host, reference: &ImageRef) -> Result<FetchedManifest, RequestError> {
    let path = Target::Path(format!("manifests/{}", reference.tag_or_digest()));
    let request = Request::new(Method::GET, reference.repository(), path).header(ACCEPT, MANIFEST_TYPES);
    let response = host.ask(&request).await?;
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (declared_type, declared_digest) = (header(CONTENT_TYPE.as_str()), header("docker-content-digest"));
    let bytes = read_body(response, MANIFEST_LIMIT).await?;
    let digest = Digest::of(&bytes);
    let wanted = reference
        .digest()
        .or_else(|| declared_digest.and_then(|digest| digest.parse().ok()));
    if let Some(wanted) = wanted
        && wanted != digest
    {
        // Bytes lost on the way look like this too: worth asking again.
        return Err(Failure::broken(format!("the manifest has digest `{digest}`, not `{wanted}`")).into());
    }
    let media_type = media_type(&bytes, declared_type.as_deref())?;
    Ok(FetchedManifest {
        media_type,
        digest,
        bytes,
    })
}

/// The manifest's own field; the header for those OCI manifests that leave it out.
fn media_type(bytes: &[u8], header: Option<&str>) -> Result<String, Failure> {
    let manifest: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Failure::invalid(format!("a manifest that is not JSON: {error}")))?;
    let header = header.map(|header| header.split(';').next().unwrap_or(header).trim());
    let media_type = manifest["mediaType"].as_str().or(header).unwrap_or_default();
    if !MANIFEST_TYPES.split(", ").any(|known| known == media_type) {
        return Err(Failure::invalid(format!("a manifest of type `{media_type}`")));
    }
    Ok(media_type.to_owned())
}

fn attempt(host: &Host, reference: &ImageRef, failure: Failure) -> Attempt {
    host.note(&failure);
    Attempt {
        asked: host.asked(reference.repository()),
        failure,
    }
}

#[cfg(test)]
mod tests;
