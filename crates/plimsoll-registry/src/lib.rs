//! OCI distribution over HTTP: auth, mirrors, retries, resumable blobs.
//!
//! [`Registry`] is the door. For each request the mirrors of the reference's registry are asked in order, then the
//! registry itself, until one gives what was asked for; each host is asked again after a pause when it is busy (429,
//! 5xx) or the connection breaks. What comes back is never believed: manifests are checked here against their digest,
//! blobs by whoever takes them, for only the taker has all bytes when a download is resumed.
//!
//! Uploads go to the registry itself, never to a mirror. [`Logins`] keeps credentials as Docker does.
//!
//! [`ActionsCache`] is another place for blobs.
//!
//! [`Web`] gets other files of the web with the same patience.
//!
//! reqwest is used directly. `oci-client` hides the status and `Retry-After` of an answer that has an error body, drops
//! the reason when a token is refused, and loads the system certificates also where only plain HTTP is spoken.

mod actions;
mod auth;
mod client;
mod error;
#[cfg(test)]
mod fake;
mod fetch;
mod host;
mod logins;
mod push;
mod request;
mod retry;
mod upload;
mod web;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8PathBuf;
use plimsoll_oci::{Digest, ImageRef};

pub use actions::{ActionsCache, ActionsEntry, ActionsError};
use auth::docker_config::{DockerConfig, file_of};
pub use error::{Attempt, Failure, FailureKind, RegistryError, Wanted};
use host::{Host, Hosts};
pub use logins::{Kept, LoginError, Logins, Secret, registry_of};
pub use push::{BlobPush, Pushing};
pub use upload::BlobSource;
pub use web::{Piece, Validators, Web, WebAnswer, WebError, without_credentials};

/// `[registry."host"]` of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Asked in order before the registry itself: `host[:port][/prefix]`, optionally with `http://` or `https://`.
    pub mirrors: Vec<String>,
    /// Plain HTTP or an unknown certificate is accepted for the registry and its mirrors.
    pub insecure: bool,
    /// PEM file of certificates that are trusted for the registry and its mirrors, beside the system's.
    pub ca: Option<Utf8PathBuf>,
}

/// All registries; connects when asked for something, not before.
pub struct Registry {
    settings: BTreeMap<String, RegistrySettings>,
    docker_config: Option<Utf8PathBuf>,
    hosts: Mutex<HashMap<String, Hosts>>,
}

/// The last of the hosts: the registry itself.
struct Itself(Hosts);

impl std::ops::Deref for Itself {
    type Target = Host;

    fn deref(&self) -> &Host {
        self.0.last().expect("the registry itself is always asked last")
    }
}

/// A manifest or index, verified.
#[derive(Clone, Debug)]
pub struct FetchedManifest {
    /// What the registry, or else the manifest itself, says it is.
    pub media_type: String,
    /// Digest of `bytes`.
    pub digest: Digest,
    /// As they came.
    pub bytes: Vec<u8>,
}

impl Registry {
    /// Returns the registries as the settings describe them; `docker_config` is Docker's `config.json` or its folder.
    pub fn new(settings: BTreeMap<String, RegistrySettings>, docker_config: Option<Utf8PathBuf>) -> Self {
        Self {
            settings,
            docker_config,
            hosts: Mutex::default(),
        }
    }

    /// Returns who to ask for `reference`, in order.
    fn hosts(&self, reference: &ImageRef) -> Result<Hosts, RegistryError> {
        self.hosts_of(reference.registry())
    }

    /// Returns the registry itself, without its mirrors.
    fn host_of(&self, registry: &str) -> Result<Itself, RegistryError> {
        self.hosts_of(registry).map(Itself)
    }

    fn hosts_of(&self, name: &str) -> Result<Hosts, RegistryError> {
        let mut known = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hosts) = known.get(name) {
            return Ok(hosts.clone());
        }
        let config = match &self.docker_config {
            Some(path) => DockerConfig::load(&file_of(path))?,
            None => DockerConfig::default(),
        };
        let settings = self.settings.get(name).cloned().unwrap_or_default();
        let mirrors = settings.mirrors.iter().map(|mirror| {
            let host = mirror.split_once("://").map_or(mirror.as_str(), |(_, rest)| rest);
            let host = host.split_once('/').map_or(host, |(host, _)| host);
            Host::mirror(mirror, name, &settings, config.source(host))
        });
        let itself = Host::registry(name, &settings, config.source(name));
        let hosts: Hosts = mirrors.chain([itself]).collect::<Vec<_>>().into();
        known.insert(name.to_owned(), Arc::clone(&hosts));
        Ok(hosts)
    }
}
