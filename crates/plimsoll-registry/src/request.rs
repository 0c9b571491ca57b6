//! One request to a registry, which may have to be sent several times: by another scheme, with a token, after a pause.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Body, Client, Method, RequestBuilder, Response, Url};

use crate::RegistryError;
use crate::client::Purpose;
use crate::error::Failure;
use crate::upload::Upload;

/// How long a registry may take without taking a byte or answering: it may be storing gigabytes meanwhile.
const SILENCE: Duration = Duration::from_secs(300);

/// Where a request goes.
pub(crate) enum Target {
    /// Below the repository: `manifests/20-alpine`.
    Path(String),
    /// Where an answer of the registry said.
    Url(Url),
    /// `/v2/` itself.
    Base,
}

/// What it carries.
pub(crate) enum Content<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Upload(&'a Upload<'a>),
}

/// A request, and which rights it needs.
pub(crate) struct Request<'a> {
    method: Method,
    /// As in the image reference.
    pub(crate) repository: &'a str,
    pub(crate) target: Target,
    headers: Vec<(HeaderName, String)>,
    content: Content<'a>,
    /// Writes; may also read this other repository.
    push: Option<Option<&'a str>>,
}

/// Setting up a client fails for good; a request fails for now.
pub(crate) enum RequestError {
    SetUp(RegistryError),
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for RequestError {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

impl<'a> Request<'a> {
    /// A request that reads.
    pub(crate) fn new(method: Method, repository: &'a str, target: Target) -> Self {
        Self {
            method,
            repository,
            target,
            headers: Vec::new(),
            content: Content::Nothing,
            push: None,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn content(mut self, content: Content<'a>) -> Self {
        self.content = content;
        self
    }

    /// Asks for the right to write, and to read the repository `from` where a blob may be.
    pub(crate) fn writing(mut self, from: Option<&'a str>) -> Self {
        self.push = Some(from);
        self
    }

    /// The [scopes] a token is needed for.
    ///
    /// [scopes]: https://distribution.github.io/distribution/spec/auth/scope/
    pub(crate) fn scopes(&self, prefix: &str) -> Vec<String> {
        let rights = if self.push.is_some() { "pull,push" } else { "pull" };
        let mut scopes = vec![format!("repository:{prefix}{}:{rights}", self.repository)];
        if let Some(from) = self.push.flatten() {
            scopes.push(format!("repository:{prefix}{from}:pull"));
        }
        scopes
    }

    pub(crate) fn purpose(&self) -> Purpose {
        match self.push {
            Some(_) => Purpose::Sending,
            None => Purpose::Asking,
        }
    }

    pub(crate) fn build(&self, client: &Client, url: Url) -> Result<RequestBuilder, Failure> {
        let mut request = client.request(self.method.clone(), url);
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| Failure::invalid(format!("`{value}` cannot be sent as `{name}`")))?;
            request = request.header(name, value);
        }
        Ok(match &self.content {
            Content::Nothing => request,
            Content::Bytes(bytes) => request.body(bytes.to_vec()),
            Content::Upload(upload) => request.body(Body::wrap(upload.body())),
        })
    }

    /// Sends a request; one that carries something breaks off when nothing moves any more.
    pub(crate) async fn watched(&self, request: RequestBuilder) -> Result<Response, Failure> {
        if self.purpose() == Purpose::Asking {
            return Ok(request.send().await?);
        }
        let silent = async {
            loop {
                let before = self.sent();
                tokio::time::sleep(SILENCE).await;
                if self.sent() == before {
                    return;
                }
            }
        };
        tokio::select! {
            response = request.send() => Ok(response?),
            () = silent => Err(Failure::broken("nothing was taken or answered for five minutes")),
        }
    }

    fn sent(&self) -> u64 {
        match &self.content {
            Content::Upload(upload) => upload.sent(),
            _ => 0,
        }
    }
}
