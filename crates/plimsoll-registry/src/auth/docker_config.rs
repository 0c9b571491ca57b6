//! The `auths` of Docker's `config.json`.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use crate::RegistryError;

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
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// All credentials of one `config.json`, by host.
#[derive(Default)]
pub(crate) struct DockerConfig(BTreeMap<String, Credentials>);

impl DockerConfig {
    /// Reads the file, or `config.json` in the folder; a file that is not there holds nothing.
    pub(crate) fn load(path: &Utf8Path) -> Result<Self, RegistryError> {
        let path = if path.is_dir() {
            path.join("config.json")
        } else {
            path.to_owned()
        };
        let failed = |path: Utf8PathBuf, source| RegistryError::Credentials { path, source };
        match std::fs::read(&path) {
            Ok(bytes) => Self::parse(&bytes).map_err(|source| failed(path, source)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(path, error)),
        }
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let config: Config = serde_json::from_slice(bytes)?;
        let mut all = BTreeMap::new();
        for (key, entry) in config.auths {
            all.insert(host_of(&key).to_owned(), entry.credentials(&key)?);
        }
        Ok(Self(all))
    }

    /// Returns what is known for `registry`, the name used in image references.
    pub(crate) fn get(&self, registry: &str) -> Option<&Credentials> {
        let names: &[&str] = match registry {
            "docker.io" => &["index.docker.io", "docker.io", "registry-1.docker.io"],
            other => &[other],
        };
        names.iter().find_map(|name| self.0.get(*name))
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

    #[test]
    fn reads_dockers_forms() {
        let config = DockerConfig::parse(
            br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOng="},"ghcr.io":{"username":"a","password":"b"},
                 "r:5000":{"auth":"dTo=","identitytoken":"t"}, "empty":{}}, "credsStore":"x", "psFormat":"y"}"#,
        )
        .unwrap();
        let basic = |name: &str| config.get(name).and_then(Credentials::basic);
        assert_eq!(basic("docker.io"), Some(("u".to_owned(), "p:x".to_owned())));
        assert_eq!(basic("ghcr.io"), Some(("a".to_owned(), "b".to_owned())));
        assert_eq!(config.get("r:5000").unwrap().identity_token.as_deref(), Some("t"));
        assert_eq!((basic("empty"), basic("other")), (None, None));
    }

    #[test]
    fn a_broken_file_is_an_error_and_a_missing_one_is_not() {
        assert!(DockerConfig::parse(br#"{"auths":{"a":{"auth":"!"}}}"#).is_err());
        assert!(DockerConfig::load("/nonexistent/config.json".into()).is_ok());
    }
}
