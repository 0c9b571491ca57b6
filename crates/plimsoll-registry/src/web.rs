//! Files of the web: one GET, conditional if need be, asked again after a pause when the server is busy or the
//! connection breaks.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{AUTHORIZATION, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Client, Response, StatusCode, Url};

use crate::client::{Purpose, builder, failure_of, is_loopback, redirect_to_https, stopping_at_tls};
use crate::error::{Failure, FailureKind};
use crate::retry::Retry;

/// Fetches files by `http` and `https` URLs. Connects when asked for something, not before.
#[derive(Default)]
pub struct Web {
    /// By "speaks TLS" and "is this machine": only TLS needs certificates, and this machine needs no proxy.
    clients: Mutex<HashMap<(bool, bool), Client>>,
}

/// By what a server recognises the bytes it gave before.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What the server had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebAnswer {
    /// The bytes are those that the validators were given with.
    Unchanged,
    /// The body has been delivered.
    Body(Validators),
}

/// The body of an answer on its way.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// A body begins; what came before was of an attempt that broke off.
    Begin {
        /// How many bytes will come, if the server says.
        length: Option<u64>,
    },
    /// The next bytes.
    Bytes(&'a [u8]),
}

/// Why a file of the web could not be had.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The text is not a URL that is spoken here.
    #[error("`{0}` is not an http or https URL")]
    NotAUrl(String),
    /// The server refused, or there is none.
    #[error("cannot get `{url}`: `{host}` {failure}")]
    Get {
        /// The URL without credentials.
        url: String,
        /// Who was asked.
        host: String,
        /// What came back last.
        failure: Failure,
    },
    /// What came could not be kept.
    #[error("cannot keep what `{url}` gives")]
    Keep {
        /// The URL without credentials.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No connection can be made by this program at all.
    #[error("cannot set up a connection to `{url}`")]
    Client {
        /// The URL without credentials.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl WebError {
    /// Returns which kind of failure this is.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Get { failure, .. } => failure.kind(),
            _ => FailureKind::Other,
        }
    }
}

/// How one attempt ended, if not well.
enum Attempt {
    Failed(Failure),
    Client(reqwest::Error),
    Keep(io::Error),
}

impl From<reqwest::Error> for Attempt {
    fn from(error: reqwest::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Web {
    /// Gets `url` and hands its body to `take`. With `known`, only if it has changed since. `authorization` is sent
    /// as the header of that name, to the host of `url` alone.
    pub async fn get(
        &self,
        url: &str,
        known: Option<&Validators>,
        authorization: Option<&str>,
        take: &mut (dyn FnMut(Piece<'_>) -> io::Result<()> + Send),
    ) -> Result<WebAnswer, WebError> {
        let parsed = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
            .ok_or_else(|| WebError::NotAUrl(without_credentials(url)))?;
        let shown = without_credentials(url);
        let mut retry = Retry::new(false);
        loop {
            let failure = match self.once(&parsed, known, authorization, take).await {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Failed(failure)) => failure,
                Err(Attempt::Keep(source)) => return Err(WebError::Keep { url: shown, source }),
                Err(Attempt::Client(error)) => {
                    let source = Box::new(error);
                    return Err(WebError::Client { url: shown, source });
                }
            };
            retry.pause(failure).await.map_err(|failure| WebError::Get {
                url: shown.clone(),
                host: host_of(&parsed),
                failure,
            })?;
        }
    }

    async fn once(
        &self,
        url: &Url,
        known: Option<&Validators>,
        authorization: Option<&str>,
        take: &mut (dyn FnMut(Piece<'_>) -> io::Result<()> + Send),
    ) -> Result<WebAnswer, Attempt> {
        let mut response = self.send(url, known, authorization).await?;
        if let Some(target) = redirect_to_https(&response) {
            let same_host = target.host_str() == url.host_str();
            response = self
                .send(&target, known, authorization.filter(|_| same_host))
                .await?;
        }
        if known.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(WebAnswer::Unchanged);
        }
        if !response.status().is_success() {
            return Err(Attempt::Failed(failure_of(response).await));
        }
        let validators = validators(&response);
        take(Piece::Begin {
            length: response.content_length(),
        })
        .map_err(Attempt::Keep)?;
        while let Some(chunk) = response.chunk().await? {
            take(Piece::Bytes(&chunk)).map_err(Attempt::Keep)?;
        }
        Ok(WebAnswer::Body(validators))
    }

    async fn send(
        &self,
        url: &Url,
        known: Option<&Validators>,
        authorization: Option<&str>,
    ) -> Result<Response, Attempt> {
        let mut request = self.client(url).map_err(Attempt::Client)?.get(url.clone());
        if let Some(etag) = known.and_then(|known| known.etag.as_ref()) {
            request = request.header(IF_NONE_MATCH, etag);
        } else if let Some(time) = known.and_then(|known| known.last_modified.as_ref()) {
            request = request.header(IF_MODIFIED_SINCE, time);
        }
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        Ok(request.send().await?)
    }

    fn client(&self, url: &Url) -> Result<Client, reqwest::Error> {
        let (tls, loopback) = (url.scheme() == "https", is_loopback(url.authority()));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(tls, loopback)) {
            return Ok(client.clone());
        }
        let builder = builder(loopback, Purpose::Asking);
        let builder = match tls {
            true => builder,
            false => stopping_at_tls(builder),
        };
        let client = builder.build()?;
        clients.insert((tls, loopback), client.clone());
        Ok(client)
    }
}

fn validators(response: &Response) -> Validators {
    let header = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    Validators {
        etag: header(ETAG),
        last_modified: header(LAST_MODIFIED),
    }
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns a URL as it may be shown: without `user:password@`.
pub fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection after the other with these bytes; returns the URL and a handle with the requests.
    fn serve(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/dir/file", listener.local_addr().unwrap());
        let answer = move |text: &str| {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request: Vec<String> = lines
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            stream.write_all(text.as_bytes()).unwrap();
            request.join("\n").to_lowercase()
        };
        let thread = std::thread::spawn(move || answers.into_iter().map(answer).collect());
        (url, thread)
    }

    async fn get(url: &str, known: Option<&Validators>) -> (Result<WebAnswer, WebError>, String) {
        let mut body = Vec::new();
        let mut take = |piece: Piece<'_>| {
            match piece {
                Piece::Begin { .. } => body.clear(),
                Piece::Bytes(bytes) => body.extend_from_slice(bytes),
            }
            Ok(())
        };
        let answer = Web::default().get(url, known, None, &mut take).await;
        (answer, String::from_utf8(body).unwrap())
    }

    const WHOLE: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"1\"\r\nConnection: close\r\n\r\nhello";
    const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhe";
    const BUSY: &str =
        "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn busy_servers_and_cut_bodies_are_asked_again() {
        let (url, server) = serve(vec![BUSY, CUT, WHOLE]);
        let (answer, body) = get(&url, None).await;
        let etag = Some("\"1\"".to_owned());
        let last_modified = None;
        assert_eq!(
            answer.unwrap(),
            WebAnswer::Body(Validators { etag, last_modified })
        );
        assert_eq!(body, "hello");
        assert_eq!(server.join().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn what_is_known_is_not_sent_again() {
        let (url, server) = serve(vec!["HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"]);
        let known = Validators {
            etag: Some("\"1\"".to_owned()),
            last_modified: None,
        };
        let (answer, _) = get(&url, Some(&known)).await;
        assert_eq!(answer.unwrap(), WebAnswer::Unchanged);
        assert!(server.join().unwrap()[0].contains("if-none-match: \"1\""));
    }

    #[tokio::test]
    async fn failures_name_host_and_status_and_no_credentials() {
        let (url, _) = serve(vec![
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ]);
        let url = url.replace("//", "//me:secret@");
        let error = get(&url, None).await.0.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("answered 404") && text.contains("/dir/file"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(error.kind(), FailureKind::NotFound);
    }

    #[test]
    fn credentials_are_not_shown() {
        for (url, shown) in [
            ("https://me:pw@host/a@b", "https://host/a@b"),
            ("https://host/a", "https://host/a"),
            ("git@host:a", "git@host:a"),
            ("https://me:p@w@host?x", "https://host?x"),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }
}
