//! Docker's `config.json`: credentials, and the helper programs that have them.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::helper;
use crate::RegistryError;

const DOCKER_HUB: &str = "docker.io";

/// What is known for one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) identity_token: Option<String>,
}

impl Credentials {
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        (!self.user.is_empty()).then(|| (self.user.clone(), self.password.clone()))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credsStore")]
    store: String,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What one `config.json` says, by host.
#[derive(Default)]
pub(crate) struct DockerConfig {
    known: BTreeMap<String, Credentials>,
    store: Option<String>,
    helpers: BTreeMap<String, String>,
}

/// Where the credentials of one registry come from.
#[derive(Clone, Default)]
pub(crate) struct CredentialSource {
    known: Option<Credentials>,
    /// A helper, and the name under which it knows the registry.
    helper: Option<(String, String)>,
}

impl CredentialSource {
    /// A helper that cannot say anything is no reason not to try without: much may be had by anybody.
    pub(crate) async fn get(self) -> Option<Credentials> {
        let Some((helper, server)) = self.helper else {
            return self.known;
        };
        let asked = tokio::task::spawn_blocking(move || helper::get(&helper, &server)).await;
        match asked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            Ok(found) => found.or(self.known),
            Err(error) => {
                tracing::warn!("{error}");
                self.known
            }
        }
    }
}

impl DockerConfig {
    /// Reads the file; one that is not there says nothing.
    pub(crate) fn load(path: &Utf8Path) -> Result<Self, RegistryError> {
        let failed = |source| RegistryError::Credentials {
            path: path.to_owned(),
            source,
        };
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&bytes).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error)),
        }
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let config: Config = serde_json::from_slice(bytes)?;
        let mut known = BTreeMap::new();
        for (key, entry) in config.auths {
            let credentials = entry.credentials(&key)?;
            if credentials != Credentials::default() {
                known.insert(host_of(&key).to_owned(), credentials);
            }
        }
        let helpers = config.helpers.into_iter();
        Ok(Self {
            known,
            store: Some(config.store).filter(|store| !store.is_empty()),
            helpers: helpers
                .map(|(key, helper)| (host_of(&key).to_owned(), helper))
                .collect(),
        })
    }

    /// Returns where the credentials for `registry` come from, the name used in image references.
    pub(crate) fn source(&self, registry: &str) -> CredentialSource {
        let helper = self.helper(registry);
        CredentialSource {
            known: names(registry)
                .iter()
                .find_map(|name| self.known.get(*name))
                .cloned(),
            helper: helper.map(|helper| (helper.to_owned(), server_of(registry).to_owned())),
        }
    }

    /// Returns the helper for `registry`: its own, or the one for all.
    pub(crate) fn helper(&self, registry: &str) -> Option<&str> {
        let own = names(registry).iter().find_map(|name| self.helpers.get(*name));
        own.or(self.store.as_ref()).map(String::as_str)
    }
}

/// The file that is meant by a path: itself, or the `config.json` in it.
pub(crate) fn file_of(path: &Utf8Path) -> Utf8PathBuf {
    if path.extension() == Some("json") || path.is_file() {
        path.to_owned()
    } else {
        path.join("config.json")
    }
}

/// Hosts under which a registry may be known.
fn names(registry: &str) -> Vec<&str> {
    match registry {
        DOCKER_HUB => vec!["index.docker.io", DOCKER_HUB, "registry-1.docker.io"],
        other => vec![other],
    }
}

/// The name of a registry in `auths` and for helpers: its host, but for Docker Hub.
pub(crate) fn server_of(registry: &str) -> &str {
    match registry {
        DOCKER_HUB => "https://index.docker.io/v1/",
        other => other,
    }
}

/// The registry that a key of `auths`, or what somebody types, means.
pub(crate) fn registry_of(text: &str) -> &str {
    match host_of(text.trim()) {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    }
}

impl Entry {
    fn credentials(self, key: &str) -> io::Result<Credentials> {
        let (user, password) = match self.auth.trim() {
            "" => (self.username, self.password),
            auth => decode(auth).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("`auth` of `{key}` is not the base64 of USER:PASSWORD"),
                )
            })?,
        };
        let identity_token = Some(self.identitytoken).filter(|token| !token.is_empty());
        Ok(Credentials {
            user,
            password,
            identity_token,
        })
    }
}

/// The `auth` of an entry.
pub(crate) fn encode(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Keys are hosts, or the URLs that old versions of Docker wrote.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split_once('/').map_or(key, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_dockers_forms() {
        let config = DockerConfig::parse(
            br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOng="},"ghcr.io":{"username":"a","password":"b"},
                 "r:5000":{"auth":"dTo=","identitytoken":"t"}, "empty":{}}, "psFormat":"y"}"#,
        )
        .unwrap();
        let get = async |name: &str| config.source(name).get().await;
        let basic = async |name: &str| get(name).await.as_ref().and_then(Credentials::basic);
        assert_eq!(basic("docker.io").await, Some(("u".to_owned(), "p:x".to_owned())));
        assert_eq!(basic("ghcr.io").await, Some(("a".to_owned(), "b".to_owned())));
        assert_eq!(get("r:5000").await.unwrap().identity_token.as_deref(), Some("t"));
        assert!(get("empty").await.is_none() && get("other").await.is_none());
    }

    #[test]
    fn a_registry_may_have_a_helper_of_its_own() {
        let config = DockerConfig::parse(
            br#"{"credsStore":"all", "credHelpers":{"gcr.io":"gcloud", "https://index.docker.io/v1/":"hub"}}"#,
        )
        .unwrap();
        let helpers = ["gcr.io", "docker.io", "r:5000"].map(|registry| config.helper(registry).unwrap());
        assert_eq!(helpers, ["gcloud", "hub", "all"]);
    }

    #[test]
    fn names_of_docker_hub() {
        for text in ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
            assert_eq!(server_of(registry_of(text)), "https://index.docker.io/v1/");
        }
        assert_eq!(registry_of("https://r:5000/v2/"), "r:5000");
    }

    #[test]
    fn a_broken_file_is_an_error_and_a_missing_one_is_not() {
        assert!(DockerConfig::parse(br#"{"auths":{"a":{"auth":"!"}}}"#).is_err());
        assert!(DockerConfig::load("/nonexistent/config.json".into()).is_ok());
    }
}
