//! One host that serves images: how to connect to it, and what it lets us do.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Client, Method, Response, StatusCode, Url};
use tokio::sync::OnceCell;

use crate::auth::challenge::{self, Challenge};
use crate::auth::docker_config::{CredentialSource, Credentials};
use crate::auth::{Authorization, TokenRequest, Tokens};
use crate::client::{
    Purpose, SMALL_BODY, builder, failure_of, is_loopback, plain_client, read_body, redirect_to_https,
};
use crate::error::Failure;
use crate::request::{Request, RequestError, Target};
use crate::{RegistryError, RegistrySettings};

/// HTTP with or without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https = 0,
    Http = 1,
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
    login: CredentialSource,
    credentials: OnceCell<Option<Credentials>>,
    /// By the scopes that were asked for.
    authorised: Mutex<HashMap<Vec<String>, Authorization>>,
    /// By scheme and purpose.
    clients: [OnceCell<Client>; 4],
    /// A mirror, not the registry itself.
    pub(crate) mirror: bool,
    given_up: AtomicBool,
}

impl Host {
    /// The registry itself.
    pub(crate) fn registry(registry: &str, settings: &RegistrySettings, login: CredentialSource) -> Self {
        // Docker Hub's images are not served by the host that names them.
        let host = if registry == "docker.io" {
            "registry-1.docker.io"
        } else {
            registry
        };
        Self::new(host, registry, settings, login, false)
    }

    /// A mirror of `registry`: `host[:port][/prefix]`, with `http://` or `https://` if it is to be just that.
    pub(crate) fn mirror(
        mirror: &str,
        registry: &str,
        settings: &RegistrySettings,
        login: CredentialSource,
    ) -> Self {
        Self::new(mirror, registry, settings, login, true)
    }

    fn new(
        text: &str,
        registry: &str,
        settings: &RegistrySettings,
        login: CredentialSource,
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
            login,
            credentials: OnceCell::new(),
            authorised: Mutex::default(),
            clients: Default::default(),
            mirror,
            given_up: AtomicBool::new(false),
        }
    }

    /// Host and repository, as errors name them.
    pub(crate) fn asked(&self, repository: &str) -> String {
        format!("{}/{}{repository}", self.authority, self.prefix)
    }

    /// Host and port.
    pub(crate) fn name(&self) -> &str {
        &self.authority
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
    pub(crate) async fn ask(&self, request: &Request<'_>) -> Result<Response, RequestError> {
        let scopes = request.scopes(&self.prefix);
        let known = self.lock_authorised().get(&scopes).cloned();
        let mut response = self.send(request, known.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(new) = self.authorise(&scopes, &response).await?
            && known.as_ref() != Some(&new)
        {
            self.lock_authorised().insert(scopes, new.clone());
            response = self.send(request, Some(&new)).await?;
        }
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(failure_of(response).await.into())
        }
    }

    /// Tries what the host says to these credentials, and returns the token for later that it may give instead.
    pub(crate) async fn log_in(&self, credentials: Credentials) -> Result<Option<String>, RequestError> {
        let probe = Request::new(Method::GET, "", Target::Base);
        let response = self.send(&probe, None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return match response.status().is_success() {
                true => Ok(None),
                false => Err(failure_of(response).await.into()),
            };
        }
        let challenges = challenges(&response);
        let authorization = match bearer(&challenges) {
            Some(challenge) => {
                let tokens = self.token(TokenRequest::login(challenge, &credentials)?).await?;
                if tokens.refresh.is_some() {
                    return Ok(tokens.refresh);
                }
                tokens.authorization
            }
            None => {
                self.check_plain_here()?;
                let (user, password) = credentials.basic().unwrap_or_default();
                Authorization::Basic(user, password)
            }
        };
        let response = self.send(&probe, Some(&authorization)).await?;
        match response.status().is_success() {
            true => Ok(None),
            false => Err(failure_of(response).await.into()),
        }
    }

    /// Sends the request in the scheme the host speaks; the first request finds out which that is.
    ///
    /// Loopback hosts are asked without TLS first, insecure ones with: a request that finds out carries
    /// no secret yet, and plain HTTP alone needs no system certificates.
    async fn send(
        &self,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Response, RequestError> {
        if let Target::Url(url) = &request.target {
            return self.send_to(url, request, authorization).await;
        }
        let schemes = self
            .spoken
            .get()
            .map_or(self.schemes.as_slice(), std::slice::from_ref);
        let mut first_failure = None;
        for (at, &scheme) in schemes.iter().enumerate() {
            let last = at + 1 == schemes.len();
            match self
                .send_to(&self.url(scheme, request)?, request, authorization)
                .await
            {
                // This is how servers of TLS answer a plain request.
                Ok(response)
                    if !last && scheme == Scheme::Http && response.status() == StatusCode::BAD_REQUEST => {}
                Ok(response) => {
                    self.spoken.get_or_init(|| scheme);
                    return Ok(response);
                }
                Err(RequestError::Failed(failure)) => {
                    first_failure.get_or_insert(failure);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first_failure
            .unwrap_or_else(|| Failure::invalid("no HTTP"))
            .into())
    }

    fn url(&self, scheme: Scheme, request: &Request<'_>) -> Result<Url, Failure> {
        let name = if scheme == Scheme::Https { "https" } else { "http" };
        let path = match &request.target {
            Target::Path(path) => format!("{}{}/{path}", self.prefix, request.repository),
            Target::Base | Target::Url(_) => String::new(),
        };
        let url = format!("{name}://{}/v2/{path}", self.authority);
        Url::parse(&url).map_err(|_| Failure::Unreachable {
            reason: format!("`{url}` is not a URL"),
        })
    }

    /// The secret goes to this host only, wherever else it may have sent us.
    async fn send_to(
        &self,
        url: &Url,
        request: &Request<'_>,
        authorization: Option<&Authorization>,
    ) -> Result<Response, RequestError> {
        let scheme = scheme_of(url);
        let client = self.client(scheme, request.purpose()).await?;
        let mut built = request.build(client, url.clone())?;
        if let Some(authorization) = authorization.filter(|_| url.authority() == self.authority) {
            built = authorization.apply(built);
        }
        let response = request.watched(built).await?;
        match redirect_to_https(&response).filter(|_| scheme == Scheme::Http) {
            Some(target) => {
                let client = self.client(Scheme::Https, request.purpose()).await?;
                let built = request.build(client, target)?;
                Ok(request.watched(built).await?)
            }
            None => Ok(response),
        }
    }

    /// Makes sense of the place a registry names for what follows. One that ends TLS before it may name itself without.
    pub(crate) fn place(response: &Response) -> Result<Url, Failure> {
        let location = response.headers().get(reqwest::header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok()).unwrap_or("");
        let wrong = || Failure::invalid(format!("the location `{location}`"));
        let mut url = response.url().join(location).map_err(|_| wrong())?;
        if location.is_empty() || !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let here = response.url();
        if url.scheme() == "http" && here.scheme() == "https" && url.host_str() == here.host_str() {
            let (path, query) = (url.path().to_owned(), url.query().map(str::to_owned));
            url = here.clone();
            url.set_path(&path);
            url.set_query(query.as_deref());
        }
        Ok(url)
    }

    /// Answers a 401: `None` if there is nothing to answer with.
    async fn authorise(
        &self,
        scopes: &[String],
        response: &Response,
    ) -> Result<Option<Authorization>, RequestError> {
        let challenges = challenges(response);
        if let Some(bearer) = bearer(&challenges) {
            let request = TokenRequest::new(bearer, scopes, self.credentials().await)?;
            return Ok(Some(self.token(request).await?.authorization));
        }
        let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let known = match basic {
            true => self.credentials().await.and_then(Credentials::basic),
            false => None,
        };
        if known.is_some() {
            self.check_plain_here()?;
        }
        Ok(known.map(|(user, password)| Authorization::Basic(user, password)))
    }

    /// Asked for only when the host wants them: a helper program may have to open a key ring.
    async fn credentials(&self) -> Option<&Credentials> {
        self.credentials
            .get_or_init(|| self.login.clone().get())
            .await
            .as_ref()
    }

    async fn token(&self, request: TokenRequest) -> Result<Tokens, RequestError> {
        let scheme = scheme_of(&request.realm);
        if scheme == Scheme::Http && request.has_secret() {
            self.check_plain(request.realm.authority())?;
        }
        let client = self.client(scheme, Purpose::Asking).await?;
        let response = request.build(client).send().await?;
        if !response.status().is_success() {
            return Err(failure_of(response).await.into());
        }
        Ok(Tokens::parse(&read_body(response, SMALL_BODY).await?)?)
    }

    fn check_plain_here(&self) -> Result<(), Failure> {
        match self.spoken.get() {
            Some(Scheme::Http) => self.check_plain(&self.authority),
            _ => Ok(()),
        }
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

    async fn client(&self, scheme: Scheme, purpose: Purpose) -> Result<&Client, RequestError> {
        let cell = &self.clients[scheme as usize * 2 + purpose as usize];
        let made = cell.get_or_try_init(async || match scheme {
            Scheme::Http => plain_client(purpose).map_err(|error| self.client_error(error)),
            Scheme::Https => self.secure_client(purpose),
        });
        made.await.map_err(RequestError::SetUp)
    }

    fn secure_client(&self, purpose: Purpose) -> Result<Client, RegistryError> {
        let mut builder = builder(is_loopback(&self.authority), purpose)
            .tls_danger_accept_invalid_certs(self.settings.insecure);
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

    fn lock_authorised(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<String>, Authorization>> {
        self.authorised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scheme_of(url: &Url) -> Scheme {
    match url.scheme() {
        "http" => Scheme::Http,
        _ => Scheme::Https,
    }
}

fn challenges(response: &Response) -> Vec<Challenge> {
    let headers = response.headers().get_all(WWW_AUTHENTICATE);
    let headers = headers.iter().filter_map(|value| value.to_str().ok());
    headers.flat_map(challenge::parse).collect()
}

fn bearer(challenges: &[Challenge]) -> Option<&Challenge> {
    challenges.iter().find(|challenge| challenge.scheme == "bearer")
}

/// Whom to ask for the images of one registry, in order.
pub(crate) type Hosts = Arc<[Host]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_follow_the_settings() {
        let schemes = |text: &str, insecure| {
            let settings = RegistrySettings {
                insecure,
                ..RegistrySettings::default()
            };
            Host::mirror(text, "docker.io", &settings, CredentialSource::default()).schemes
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
            Host::registry("docker.io", &settings, CredentialSource::default()).asked("library/node"),
            "registry-1.docker.io/library/node"
        );
        assert_eq!(
            Host::mirror(
                "http://m/hub/",
                "docker.io",
                &settings,
                CredentialSource::default()
            )
            .asked("library/node"),
            "m/hub/library/node"
        );
    }
}
