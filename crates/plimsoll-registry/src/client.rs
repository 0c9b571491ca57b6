//! HTTP clients, and what comes back through them.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, Url};

use crate::error::Failure;
use crate::retry::retry_after;

/// An error page or token longer than this is not read on.
pub(crate) const SMALL_BODY: usize = 1 << 20;
const REDIRECTS: usize = 10;

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests without a body: a server that goes silent has broken off.
    Asking = 0,
    /// Requests with one: the server is silent while it takes it. See [`crate::request::Request::watched`].
    Sending = 1,
}

/// A client that loads no certificates. It stops at a redirect to HTTPS, for the other one to go on.
pub(crate) fn plain_client(purpose: Purpose) -> Result<Client, reqwest::Error> {
    stopping_at_tls(builder(true, purpose)).build()
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
pub(crate) fn builder(loopback: bool, purpose: Purpose) -> reqwest::ClientBuilder {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    // Fails only if the program has already chosen one, which is as good.
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let builder = Client::builder()
        .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(15));
    let builder = match purpose {
        Purpose::Asking => builder.read_timeout(Duration::from_secs(60)),
        Purpose::Sending => builder,
    };
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
