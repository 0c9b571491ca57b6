//! One host that serves images: how to connect to it, and what it lets us do.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::OnceCell;

use crate::auth::challenge::{self, Challenge};
use crate::auth::docker_config::Credentials;
use crate::auth::{Authorization, TokenRequest, parse_token};
use crate::error::Failure;
use crate::retry::retry_after;
use crate::{RegistryError, RegistrySettings};

/// An error page or token longer than this is not read on.
const SMALL_BODY: usize = 1 << 20;
const REDIRECTS: usize = 10;

/// HTTP with or without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
}

/// One host, asked for the images of one registry.
pub(crate) struct Host {
    /// Host and port.
    authority: String,
    /// What a mirror puts in front of every repository: empty, or `proxy/`.
    prefix: String,
    registry: String,
    /// To be tried in this order until one is spoken.
    schemes: Vec<Scheme>,
    spoken: OnceLock<Scheme>,
    settings: RegistrySettings,
    credentials: Option<Credentials>,
    authorised: Mutex<HashMap<String, Authorization>>,
    secure: OnceCell<Client>,
    plain: OnceCell<Client>,
    /// A mirror, not the registry itself.
    pub(crate) mirror: bool,
    given_up: AtomicBool,
}

/// A GET below `/v2/`.
pub(crate) struct Get<'a> {
    /// As in the image reference.
    pub(crate) repository: &'a str,
    /// `manifests/20-alpine`.
    pub(crate) path: String,
    pub(crate) accept: &'static str,
    pub(crate) offset: u64,
}

/// Setting up a client fails for good; a request fails for now.
pub(crate) enum GetError {
    SetUp(RegistryError),
    Failed(Failure),
}

impl<F: Into<Failure>> From<F> for GetError {
    fn from(failure: F) -> Self {
        Self::Failed(failure.into())
    }
}

impl Host {
    /// The registry itself.
    pub(crate) fn registry(
        registry: &str,
        settings: &RegistrySettings,
        credentials: Option<Credentials>,
    ) -> Self {
        // Docker Hub's images are not served by the host that names them.
        let host = if registry == "docker.io" {
            "registry-1.docker.io"
        } else {
            registry
        };
        Self::new(host, registry, settings, credentials, false)
    }

    /// A mirror of `registry`: `host[:port][/prefix]`, with `http://` or `https://` if it is to be just that.
    pub(crate) fn mirror(
        mirror: &str,
        registry: &str,
        settings: &RegistrySettings,
        credentials: Option<Credentials>,
    ) -> Self {
        Self::new(mirror, registry, settings, credentials, true)
    }

    fn new(
        text: &str,
        registry: &str,
        settings: &RegistrySettings,
        credentials: Option<Credentials>,
        mirror: bool,
    ) -> Self {
        let (explicit, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some((_, rest)) => (Some(Scheme::Https), rest),
            None => (None, text),
        };
        let (authority, prefix) = rest
            .trim_end_matches('/')
            .split_once('/')
            .unwrap_or((rest.trim_end_matches('/'), ""));
        let schemes = match explicit {
            Some(scheme) => vec![scheme],
            None if is_loopback(authority) => vec![Scheme::Http, Scheme::Https],
            None if settings.insecure => vec![Scheme::Https, Scheme::Http],
            None => vec![Scheme::Https],
        };
        Self {
            authority: authority.to_owned(),
            prefix: if prefix.is_empty() {
                String::new()
            } else {
                format!("{prefix}/")
            },
            registry: registry.to_owned(),
            schemes,
            spoken: OnceLock::new(),
            settings: settings.clone(),
            credentials,
            authorised: Mutex::default(),
            secure: OnceCell::new(),
            plain: OnceCell::new(),
            mirror,
            given_up: AtomicBool::new(false),
        }
    }

    /// Host and repository, as errors name them.
    pub(crate) fn asked(&self, repository: &str) -> String {
        format!("{}/{}{repository}", self.authority, self.prefix)
    }

    /// Tells whether this is a mirror that could not be reached before: an image has many blobs, and each would wait.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Takes note of how the host failed in the end.
    pub(crate) fn note(&self, failure: &Failure) {
        if self.mirror && matches!(failure, Failure::Unreachable { .. }) {
            self.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Sends the request, authorised if need be. Any status but success is a failure.
    pub(crate) async fn get(&self, get: &Get<'_>) -> Result<Response, GetError> {
        let known = self.lock_authorised().get(get.repository).cloned();
        let mut response = self.send(get, known.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(new) = self.authorise(get.repository, &response).await?
            && known.as_ref() != Some(&new)
        {
            self.lock_authorised()
                .insert(get.repository.to_owned(), new.clone());
            response = self.send(get, Some(&new)).await?;
        }
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(failure_of(response).await.into())
        }
    }

    /// Sends the request in the scheme the host speaks; the first request finds out which that is.
    ///
    /// Loopback hosts are asked without TLS first, insecure ones with: a request that finds out carries
    /// no secret yet, and plain HTTP alone needs no system certificates.
    async fn send(&self, get: &Get<'_>, authorization: Option<&Authorization>) -> Result<Response, GetError> {
        let schemes = self
            .spoken
            .get()
            .map_or(self.schemes.as_slice(), std::slice::from_ref);
        let mut first_failure = None;
        for (at, &scheme) in schemes.iter().enumerate() {
            let last = at + 1 == schemes.len();
            match self.send_by(scheme, get, authorization).await {
                // This is how servers of TLS answer a plain request.
                Ok(response)
                    if !last && scheme == Scheme::Http && response.status() == StatusCode::BAD_REQUEST => {}
                Ok(response) => {
                    self.spoken.get_or_init(|| scheme);
                    return Ok(response);
                }
                Err(GetError::Failed(failure)) => {
                    first_failure.get_or_insert(failure);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first_failure
            .unwrap_or_else(|| Failure::invalid("no HTTP"))
            .into())
    }

    async fn send_by(
        &self,
        scheme: Scheme,
        get: &Get<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Response, GetError> {
        let name = if scheme == Scheme::Https { "https" } else { "http" };
        let url = format!(
            "{name}://{}/v2/{}{}/{}",
            self.authority, self.prefix, get.repository, get.path
        );
        let url = Url::parse(&url).map_err(|_| Failure::Unreachable {
            reason: format!("`{url}` is not a URL"),
        })?;
        let build = |client: &Client, url: Url| {
            let request = client.get(url).header(ACCEPT, get.accept);
            if get.offset > 0 {
                request.header(RANGE, format!("bytes={}-", get.offset))
            } else {
                request
            }
        };
        let mut request = build(self.client(scheme).await?, url);
        if let Some(authorization) = authorization {
            request = authorization.apply(request);
        }
        let response = request.send().await?;
        match redirect_to_https(&response) {
            Some(target) => Ok(build(self.client(Scheme::Https).await?, target).send().await?),
            None => Ok(response),
        }
    }

    /// Answers a 401: `None` if there is nothing to answer with.
    async fn authorise(
        &self,
        repository: &str,
        response: &Response,
    ) -> Result<Option<Authorization>, GetError> {
        let challenges: Vec<Challenge> = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
            return self.token(repository, bearer).await.map(Some);
        }
        let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let known = self
            .credentials
            .as_ref()
            .filter(|_| basic)
            .and_then(Credentials::basic);
        if known.is_some() && self.spoken.get() == Some(&Scheme::Http) {
            self.check_plain(&self.authority)?;
        }
        Ok(known.map(|(user, password)| Authorization::Basic(user, password)))
    }

    async fn token(&self, repository: &str, challenge: &Challenge) -> Result<Authorization, GetError> {
        let repository = format!("{}{repository}", self.prefix);
        let request = TokenRequest::new(challenge, &repository, self.credentials.as_ref())?;
        let scheme = if request.realm.scheme() == "http" {
            Scheme::Http
        } else {
            Scheme::Https
        };
        if scheme == Scheme::Http && request.has_secret() {
            self.check_plain(request.realm.authority())?;
        }
        let response = request.build(self.client(scheme).await?).send().await?;
        if !response.status().is_success() {
            return Err(failure_of(response).await.into());
        }
        Ok(parse_token(&read_body(response, SMALL_BODY).await?)?)
    }

    /// Secrets go without TLS only to this machine, or where the user has said that they may.
    fn check_plain(&self, authority: &str) -> Result<(), Failure> {
        if self.settings.insecure || is_loopback(authority) {
            return Ok(());
        }
        Err(Failure::invalid(format!(
            "a wish for credentials over plain HTTP at `{authority}`"
        )))
    }

    async fn client(&self, scheme: Scheme) -> Result<&Client, GetError> {
        let made = match scheme {
            Scheme::Http => {
                self.plain
                    .get_or_try_init(async || plain_client().map_err(|error| self.client_error(error)))
                    .await
            }
            Scheme::Https => self.secure.get_or_try_init(async || self.secure_client()).await,
        };
        made.map_err(GetError::SetUp)
    }

    fn secure_client(&self) -> Result<Client, RegistryError> {
        let mut builder =
            builder(is_loopback(&self.authority)).tls_danger_accept_invalid_certs(self.settings.insecure);
        if let Some(path) = &self.settings.ca {
            let wrong = |source: Box<dyn StdError + Send + Sync>| RegistryError::Certificate {
                path: path.clone(),
                registry: self.registry.clone(),
                source,
            };
            let pem = std::fs::read(path).map_err(|error| wrong(error.into()))?;
            builder = builder.tls_certs_merge(
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.into()))?,
            );
        }
        builder.build().map_err(|error| self.client_error(error))
    }

    fn client_error(&self, source: reqwest::Error) -> RegistryError {
        RegistryError::Client {
            registry: self.authority.clone(),
            source: Box::new(source),
        }
    }

    fn lock_authorised(&self) -> std::sync::MutexGuard<'_, HashMap<String, Authorization>> {
        self.authorised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that loads no certificates. It stops at a redirect to HTTPS, for the other one to go on.
pub(crate) fn plain_client() -> Result<Client, reqwest::Error> {
    stopping_at_tls(builder(true)).build()
}

/// Makes a client that loads no certificates and stops at a redirect to HTTPS.
pub(crate) fn stopping_at_tls(builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    let policy = reqwest::redirect::Policy::custom(|attempt| {
        if attempt.url().scheme() == "https" || attempt.previous().len() > REDIRECTS {
            attempt.stop()
        } else {
            attempt.follow()
        }
    });
    builder.tls_certs_only([]).redirect(policy)
}

/// Proxies of the environment are for the world outside, as in Docker.
pub(crate) fn builder(loopback: bool) -> reqwest::ClientBuilder {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    // Fails only if the program has already chosen one, which is as good.
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let builder = Client::builder()
        .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15))
        .read_timeout(Duration::from_secs(60));
    if loopback { builder.no_proxy() } else { builder }
}

pub(crate) fn redirect_to_https(response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let target = response
        .url()
        .join(response.headers().get(LOCATION)?.to_str().ok()?)
        .ok()?;
    (target.scheme() == "https").then_some(target)
}

/// Tells whether `host[:port]` is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').map_or(bracketed, |(host, _)| host),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Err(Failure::invalid(format!("more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Turns an answer that is not success into the failure it means.
pub(crate) async fn failure_of(response: Response) -> Failure {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let body = if json {
        read_body(response, SMALL_BODY).await.unwrap_or_default()
    } else {
        Vec::new()
    };
    let message = message_of(&body).unwrap_or_default();
    match status {
        404 => Failure::NotFound { message },
        401 | 403 => Failure::Unauthorised { status, message },
        _ => Failure::Status {
            status,
            message,
            retry_after,
        },
    }
}

/// The first message of the [error body]; token servers say `details`.
///
/// [error body]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
fn message_of(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = &body["errors"][0];
    let text = [
        &error["message"],
        &error["code"],
        &body["details"],
        &body["message"],
    ];
    let text = text
        .into_iter()
        .filter_map(|text| text.as_str())
        .find(|text| !text.is_empty())?;
    Some(
        text.chars()
            .filter(|character| !character.is_control())
            .take(200)
            .collect(),
    )
}

/// Whom to ask for the images of one registry, in order.
pub(crate) type Hosts = Arc<[Host]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_this_machine() {
        for (authority, loopback) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.1.2.3", true),
            ("[::1]:5000", true),
            ("10.0.0.1:5000", false),
            ("localhost.example", false),
            ("registry.test:443", false),
        ] {
            assert_eq!(is_loopback(authority), loopback, "{authority}");
        }
    }

    #[test]
    fn schemes_follow_the_settings() {
        let schemes = |text: &str, insecure| {
            let settings = RegistrySettings {
                insecure,
                ..RegistrySettings::default()
            };
            Host::mirror(text, "docker.io", &settings, None).schemes
        };
        assert_eq!(schemes("mirror.example", false), [Scheme::Https]);
        assert_eq!(schemes("mirror.example", true), [Scheme::Https, Scheme::Http]);
        assert_eq!(schemes("127.0.0.1:5000", false), [Scheme::Http, Scheme::Https]);
        assert_eq!(schemes("http://mirror.example", false), [Scheme::Http]);
        assert_eq!(schemes("https://127.0.0.1:5000/", true), [Scheme::Https]);
    }

    #[test]
    fn names_are_put_together() {
        let settings = RegistrySettings::default();
        assert_eq!(
            Host::registry("docker.io", &settings, None).asked("library/node"),
            "registry-1.docker.io/library/node"
        );
        assert_eq!(
            Host::mirror("http://m/hub/", "docker.io", &settings, None).asked("library/node"),
            "m/hub/library/node"
        );
    }

    #[test]
    fn a_registrys_words_are_found() {
        let words = |text: &str| message_of(text.as_bytes());
        assert_eq!(
            words(r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#).unwrap(),
            "manifest unknown"
        );
        assert_eq!(words(r#"{"errors":[{"code":"DENIED"}]}"#).unwrap(), "DENIED");
        assert_eq!(
            words(r#"{"details":"incorrect username or password"}"#).unwrap(),
            "incorrect username or password"
        );
        assert_eq!(words("<html>"), None);
    }
}
