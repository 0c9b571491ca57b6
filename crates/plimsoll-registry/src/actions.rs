//! The [cache service] of GitHub Actions, version 2: JSON over HTTP for names, and signed URLs of a blob storage for bytes.
//!
//! An entry never changes once it is there. What changes is kept under names with a rising number, of which the
//! service gives the latest.
//!
//! [cache service]: https://github.com/actions/toolkit/tree/main/packages/cache

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use plimsoll_oci::Digest;
use reqwest::header::{CONTENT_TYPE, RANGE};
use reqwest::{Body, Client, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::client::{Purpose, SMALL_BODY, builder, failure_of, is_loopback, plain_client, read_body};
use crate::error::Failure;
use crate::retry::Retry;
use crate::upload::{BlobSource, State, Upload};

const SERVICE: &str = "twirp/github.actions.results.api.v1.CacheService";
/// Bytes that are sent in one request.
const BLOCK: u64 = 32 << 20;
/// The permission to write, of a token's scope.
const WRITE: u64 = 2;
/// How many numbers are tried for what changes: one that is taken and never finished stays so.
const NUMBERS: u64 = 20;

/// Entries of one repository, by name.
pub struct ActionsCache {
    url: Url,
    token: String,
    client: OnceCell<Client>,
}

/// An entry that is there.
#[derive(Clone, Debug)]
pub struct ActionsEntry {
    /// Its whole name.
    pub key: String,
    url: String,
}

/// Why the cache service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ActionsError {
    /// The address is none.
    #[error("`{0}` is not the URL of a cache service")]
    Url(String),
    /// The service, or the storage behind it.
    #[error("cannot {operation} with the cache service: it {failure}")]
    Service {
        /// What was being done.
        operation: &'static str,
        /// What came back last.
        failure: Failure,
    },
    /// No connection can be made by this program at all.
    #[error("cannot set up a connection to the cache service")]
    Client(#[source] reqwest::Error),
    /// What was to be sent or received cannot be read or kept.
    #[error("cannot read or keep a cache entry")]
    Local(#[source] io::Error),
}

/// How one request ended, if not well.
enum Attempt {
    Failed(Failure),
    Final(ActionsError),
}

impl<F: Into<Failure>> From<F> for Attempt {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

impl ActionsCache {
    /// Returns the cache behind `ACTIONS_RESULTS_URL` and `ACTIONS_RUNTIME_TOKEN` of a workflow's step.
    pub fn new(url: &str, token: &str) -> Result<Self, ActionsError> {
        let wrong = || ActionsError::Url(url.to_owned());
        let mut parsed = Url::parse(url).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong());
        }
        if !parsed.path().ends_with('/') {
            parsed.set_path(&format!("{}/", parsed.path()));
        }
        Ok(Self {
            url: parsed,
            token: token.to_owned(),
            client: OnceCell::new(),
        })
    }

    /// Returns short names of the branches that this run may read from, and of the one that it writes to first. Entries
    /// of one branch are invisible to others, but for those of the default branch.
    pub fn scopes(&self) -> Vec<String> {
        let mut scopes = self.token_scopes().unwrap_or_default();
        scopes.sort_by_key(|scope| scope.permission & WRITE == 0);
        let mut names: Vec<String> = scopes.into_iter().map(|scope| short(&scope.scope)).collect();
        if names.is_empty() {
            names.push(short(""));
        }
        names
    }

    fn token_scopes(&self) -> Option<Vec<Scope>> {
        let payload = self.token.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        serde_json::from_str(claims["ac"].as_str()?).ok()
    }

    /// Finds the entry of this name.
    pub async fn find(&self, key: &str) -> Result<Option<ActionsEntry>, ActionsError> {
        let found = self.look_up(key).await?;
        Ok(found.filter(|entry| entry.key == key))
    }

    /// Finds the latest of what [`ActionsCache::save_latest`] saved.
    pub async fn find_latest(&self, key: &str) -> Result<Option<ActionsEntry>, ActionsError> {
        let prefix = format!("{key}#");
        let found = self.look_up(&prefix).await?;
        Ok(found.filter(|entry| entry.key.starts_with(&prefix)))
    }

    async fn look_up(&self, key: &str) -> Result<Option<ActionsEntry>, ActionsError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            ok: bool,
            #[serde(default)]
            signed_download_url: String,
            #[serde(default)]
            matched_key: String,
        }
        let question = json!({"key": key, "restore_keys": [key], "version": version()});
        let answer: Answer = match self.call("look up", "GetCacheEntryDownloadURL", &question).await {
            Err(ActionsError::Service {
                failure: Failure::NotFound { .. },
                ..
            }) => return Ok(None),
            answer => answer?,
        };
        Ok(answer.ok.then_some(ActionsEntry {
            key: answer.matched_key,
            url: answer.signed_download_url,
        }))
    }

    /// Reads an entry of `size` bytes from byte `offset` on, each byte once and in order.
    pub async fn read(
        &self,
        entry: &ActionsEntry,
        offset: u64,
        size: u64,
        write: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
    ) -> Result<(), ActionsError> {
        let mut position = offset;
        let mut retry = Retry::new(false);
        loop {
            let before = position;
            match self.read_on(entry, &mut position, size, write).await {
                Ok(()) => return Ok(()),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Failed(failure)) => {
                    if position > before {
                        retry.reset();
                    }
                    retry.pause(failure).await.map_err(service("download"))?;
                }
            }
        }
    }

    async fn read_on(
        &self,
        entry: &ActionsEntry,
        position: &mut u64,
        size: u64,
        write: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
    ) -> Result<(), Attempt> {
        if *position >= size {
            return Ok(());
        }
        let request = self.client().await.map_err(Attempt::Final)?.get(&entry.url);
        let mut response = request.header(RANGE, format!("bytes={position}-")).send().await?;
        if !response.status().is_success() {
            return Err(failure_of(response).await.into());
        }
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => 0,
            _ => *position,
        };
        while let Some(chunk) = response.chunk().await? {
            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            let chunk = &chunk[usize::try_from(skipped).expect("no longer than the chunk")..];
            if *position + chunk.len() as u64 > size {
                return Err(Failure::invalid(format!("an entry of more than its {size} bytes")).into());
            }
            write(chunk).map_err(|error| Attempt::Final(ActionsError::Local(error)))?;
            *position += chunk.len() as u64;
        }
        match *position == size {
            true => Ok(()),
            false => Err(Failure::broken(format!("ended after {position} of {size} bytes")).into()),
        }
    }

    /// Reads a whole small entry whose size is not known.
    pub async fn read_document(&self, entry: &ActionsEntry, limit: usize) -> Result<Vec<u8>, ActionsError> {
        let client = self.client().await?;
        let get = || async {
            let response = client.get(&entry.url).send().await?;
            match response.status().is_success() {
                true => Ok(read_body(response, limit).await?),
                false => Err(failure_of(response).await.into()),
            }
        };
        again("download", get).await
    }

    /// Saves an entry; one that is there, or that somebody else is saving, stays.
    pub async fn save(
        &self,
        key: &str,
        size: u64,
        source: &Arc<dyn BlobSource>,
        report: &Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), ActionsError> {
        if self.find(key).await?.is_some() {
            return Ok(());
        }
        self.try_save(key, size, source, report).await.map(drop)
    }

    /// Saves what replaces the latest of this name.
    pub async fn save_latest(&self, key: &str, bytes: &[u8]) -> Result<(), ActionsError> {
        let latest = self.find_latest(key).await?;
        let number = latest.and_then(|entry| entry.key.rsplit_once('#')?.1.parse::<u64>().ok());
        let source: Arc<dyn BlobSource> = Arc::new(bytes.to_vec());
        let report: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(|_| {});
        let first = number.unwrap_or(0) + 1;
        for number in first..first + NUMBERS {
            let key = format!("{key}#{number}");
            if self.try_save(&key, bytes.len() as u64, &source, &report).await? {
                return Ok(());
            }
        }
        let reason = format!("{NUMBERS} entries named `{key}#…` that are never finished");
        Err(service("save")(Failure::invalid(reason)))
    }

    /// Returns false if the name is taken.
    async fn try_save(
        &self,
        key: &str,
        size: u64,
        source: &Arc<dyn BlobSource>,
        report: &Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<bool, ActionsError> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Answer {
            ok: bool,
            signed_upload_url: String,
        }
        let question = json!({"key": key, "version": version()});
        let answer: Answer = match self.call("save", "CreateCacheEntry", &question).await {
            Err(ActionsError::Service {
                failure: Failure::Status { status: 409, .. },
                ..
            }) => return Ok(false),
            answer => answer?,
        };
        if !answer.ok {
            return Ok(false);
        }
        self.upload(&answer.signed_upload_url, size, source, report)
            .await?;
        let question = json!({"key": key, "size_bytes": size.to_string(), "version": version()});
        let answer: Answer = self.call("save", "FinalizeCacheEntryUpload", &question).await?;
        match answer.ok {
            true => Ok(true),
            false => Err(service("save")(Failure::invalid(
                "no entry for what was uploaded",
            ))),
        }
    }

    /// [Puts blocks] and then says what they make, or puts all at once where that is one block.
    ///
    /// [Puts blocks]: https://learn.microsoft.com/en-us/rest/api/storageservices/put-block
    async fn upload(
        &self,
        url: &str,
        size: u64,
        source: &Arc<dyn BlobSource>,
        report: &Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), ActionsError> {
        let url = Url::parse(url).map_err(|_| service("save")(Failure::invalid("no URL to upload to")))?;
        let state = Arc::new(State::new(Arc::clone(report)));
        let part = |start, end| Upload {
            source,
            start,
            end,
            state: &state,
        };
        let sent = async || -> Result<(), ActionsError> {
            if size <= BLOCK {
                return self.put(&url, &[], &part(0, size)).await;
            }
            let mut list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>".to_owned();
            for start in (0..size).step_by(usize::try_from(BLOCK).expect("32 bits are enough")) {
                let id = STANDARD.encode(format!("{start:016}"));
                let query = [("comp", "block"), ("blockid", id.as_str())];
                self.put(&url, &query, &part(start, size.min(start + BLOCK)))
                    .await?;
                list.push_str(&format!("<Latest>{id}</Latest>"));
            }
            list.push_str("</BlockList>");
            let url = with(&url, &[("comp", "blocklist")]);
            let client = self.client().await?;
            let put = || async {
                let request = client.put(url.clone()).header(CONTENT_TYPE, "application/xml");
                succeed(request.body(list.clone())).await.map(drop)
            };
            again("save", put).await
        };
        let sent = sent().await;
        match state.take_failure() {
            Some(error) => Err(ActionsError::Local(error)),
            None => sent,
        }
    }

    async fn put(&self, url: &Url, query: &[(&str, &str)], part: &Upload<'_>) -> Result<(), ActionsError> {
        let url = with(url, query);
        let client = self.client().await?;
        let put = || async {
            let request = client
                .put(url.clone())
                .header(CONTENT_TYPE, "application/octet-stream")
                .body(Body::wrap(part.body()));
            let request = match query.is_empty() {
                true => request.header("x-ms-blob-type", "BlockBlob"),
                false => request,
            };
            succeed(request).await.map(drop)
        };
        again("save", put).await
    }

    async fn call<A: for<'a> Deserialize<'a>>(
        &self,
        operation: &'static str,
        method: &str,
        question: &Value,
    ) -> Result<A, ActionsError> {
        let url = self
            .url
            .join(&format!("{SERVICE}/{method}"))
            .expect("it ends in a slash");
        let client = self.client().await?;
        let ask = || async {
            let request = client
                .post(url.clone())
                .bearer_auth(&self.token)
                .header(CONTENT_TYPE, "application/json")
                .body(question.to_string());
            let body = read_body(succeed(request).await?, SMALL_BODY).await?;
            let answer = serde_json::from_slice(&body);
            Ok(answer.map_err(|error| Failure::invalid(format!("an answer that is not JSON: {error}")))?)
        };
        again(operation, ask).await
    }

    async fn client(&self) -> Result<&Client, ActionsError> {
        let make = async || match self.url.scheme() {
            "http" => plain_client(Purpose::Sending),
            _ => builder(is_loopback(self.url.authority()), Purpose::Sending).build(),
        };
        self.client
            .get_or_try_init(make)
            .await
            .map_err(ActionsError::Client)
    }
}

/// Sends a request; any status but success is a failure.
async fn succeed(request: RequestBuilder) -> Result<Response, Attempt> {
    let response = request.send().await?;
    match response.status().is_success() {
        true => Ok(response),
        false => Err(failure_of(response).await.into()),
    }
}

/// Does something until it is done or will not be.
async fn again<T, F: Future<Output = Result<T, Attempt>>>(
    operation: &'static str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ActionsError> {
    let mut retry = Retry::new(false);
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(Attempt::Final(error)) => return Err(error),
            Err(Attempt::Failed(failure)) => retry.pause(failure).await.map_err(service(operation))?,
        }
    }
}

fn service(operation: &'static str) -> impl Fn(Failure) -> ActionsError {
    move |failure| ActionsError::Service { operation, failure }
}

fn with(url: &Url, query: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// One branch a token is for.
#[derive(Deserialize, Serialize)]
struct Scope {
    #[serde(rename = "Scope")]
    scope: String,
    #[serde(rename = "Permission")]
    permission: u64,
}

fn short(scope: &str) -> String {
    Digest::of(scope).hex()[..8].to_owned()
}

/// The service keeps apart what is named alike and has another version: ours is the way entries are laid out.
fn version() -> String {
    Digest::of("plimsoll-cache-1").hex()
}

#[cfg(test)]
mod tests;
