//! Keeping credentials as Docker does: in the `auths` of its `config.json`, or with a helper program.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};

use crate::auth::docker_config::{self, Credentials, DockerConfig, file_of, server_of};
use crate::auth::helper::{self, HelperError};
use crate::error::{Attempt, Failure};
use crate::request::RequestError;
use crate::{Registry, RegistryError};

/// The registry that somebody means by a host or URL.
pub fn registry_of(text: &str) -> &str {
    docker_config::registry_of(text)
}

/// What proves who somebody is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// As typed.
    Password(String),
    /// What a registry gave instead of it.
    IdentityToken(String),
}

/// Where credentials were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As they are, but for an encoding that anybody can undo, in this file.
    File(Utf8PathBuf),
    /// With this helper program.
    Helper(String),
}

/// Why credentials cannot be kept, found or forgotten.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The file cannot be read or understood.
    #[error(transparent)]
    Read(#[from] RegistryError),
    /// The file cannot be written.
    #[error("cannot write credentials to `{path}`")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A helper program does not help.
    #[error("{0}")]
    Helper(String),
    /// The registry does not take the credentials.
    #[error("registry `{registry}` did not let `{user}` in: {attempt}")]
    Refused {
        /// The registry.
        registry: String,
        /// Who tried.
        user: String,
        /// What it said.
        attempt: Attempt,
    },
}

impl From<HelperError> for LoginError {
    fn from(error: HelperError) -> Self {
        Self::Helper(error.to_string())
    }
}

/// The credentials that are kept for registries.
pub struct Logins {
    path: Utf8PathBuf,
}

impl Logins {
    /// Returns those of Docker's `config.json` or its folder.
    pub fn new(docker_config: &Utf8Path) -> Self {
        Self {
            path: file_of(docker_config),
        }
    }

    /// Returns user and secret for `registry`.
    pub async fn get(&self, registry: &str) -> Result<Option<(String, Secret)>, LoginError> {
        let found = DockerConfig::load(&self.path)?.source(registry).get().await;
        Ok(found.map(|found| match found.identity_token {
            Some(token) => (found.user, Secret::IdentityToken(token)),
            None => (found.user, Secret::Password(found.password)),
        }))
    }

    /// Keeps credentials for `registry`, instead of those there were.
    pub fn keep(&self, registry: &str, user: &str, secret: Secret) -> Result<Kept, LoginError> {
        let helper = DockerConfig::load(&self.path)?
            .helper(registry)
            .map(str::to_owned);
        let server = server_of(registry);
        let (password, identity_token) = match secret {
            Secret::Password(password) => (password, None),
            Secret::IdentityToken(token) => (String::new(), Some(token)),
        };
        let entry = match &helper {
            // Docker notes for what servers its helper has something.
            Some(_) => json!({}),
            None => match &identity_token {
                Some(token) => json!({ "auth": docker_config::encode(user, ""), "identitytoken": token }),
                None => json!({ "auth": docker_config::encode(user, &password) }),
            },
        };
        if let Some(helper) = &helper {
            let credentials = Credentials {
                user: user.to_owned(),
                password,
                identity_token,
            };
            helper::store(helper, server, &credentials)?;
        }
        self.edit(|auths| {
            auths.retain(|key, _| docker_config::registry_of(key) != registry);
            auths.insert(server.to_owned(), entry);
        })?;
        Ok(match helper {
            Some(helper) => Kept::Helper(helper),
            None => Kept::File(self.path.clone()),
        })
    }

    /// Forgets what is kept for `registry`; false if there was nothing.
    pub fn forget(&self, registry: &str) -> Result<bool, LoginError> {
        let config = DockerConfig::load(&self.path)?;
        let mut known = false;
        if let Some(helper) = config.helper(registry) {
            let server = server_of(registry);
            known = helper::get(helper, server)?.is_some();
            if known {
                helper::erase(helper, server)?;
            }
        }
        if self.path.exists() {
            self.edit(|auths| {
                let before = auths.len();
                auths.retain(|key, _| docker_config::registry_of(key) != registry);
                known |= auths.len() < before;
            })?;
        }
        Ok(known)
    }

    /// Changes `auths` and nothing else of the file.
    fn edit(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), LoginError> {
        let failed = |source| LoginError::Write {
            path: self.path.clone(),
            source,
        };
        // Written through a link, as Docker does: people keep this file elsewhere.
        let target = match self.path.canonicalize_utf8() {
            Ok(target) => target,
            Err(_) => self.path.clone(),
        };
        let mut config: Map<String, Value> = match fs::read(&target) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(failed(error)),
        };
        let auths = config.entry("auths").or_insert_with(|| json!({}));
        let auths = auths.as_object_mut().ok_or_else(|| {
            failed(io::Error::new(
                io::ErrorKind::InvalidData,
                "`auths` is not an object",
            ))
        })?;
        change(auths);
        let mut text = serde_json::to_vec_pretty(&config).expect("JSON stays JSON");
        text.push(b'\n');
        replace(&target, &text).map_err(failed)
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn replace(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = folder.join(format!(".config.json.{}", std::process::id()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = || {
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if let Ok(before) = fs::metadata(path) {
            // With sudo, the file stays the user's. Where that is not allowed it is ours already.
            let _ = chown(&temporary, Some(before.uid()), Some(before.gid()));
        }
        fs::rename(&temporary, path)
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

impl Registry {
    /// Asks `registry` whether these credentials let one in, and returns what is to be kept for later.
    pub async fn log_in(&self, registry: &str, user: &str, secret: Secret) -> Result<Secret, LoginError> {
        let host = self.host_of(registry)?;
        let credentials = match &secret {
            Secret::Password(password) => Credentials {
                user: user.to_owned(),
                password: password.clone(),
                identity_token: None,
            },
            Secret::IdentityToken(token) => Credentials {
                user: user.to_owned(),
                identity_token: Some(token.clone()),
                ..Credentials::default()
            },
        };
        match host.log_in(credentials).await {
            Ok(token) => Ok(token.map_or(secret, Secret::IdentityToken)),
            Err(RequestError::SetUp(error)) => Err(error.into()),
            Err(RequestError::Failed(failure)) => Err(refused(registry, user, failure, host.name())),
        }
    }
}

fn refused(registry: &str, user: &str, failure: Failure, asked: &str) -> LoginError {
    LoginError::Refused {
        registry: registry.to_owned(),
        user: user.to_owned(),
        attempt: Attempt {
            asked: asked.to_owned(),
            failure,
        },
    }
}

#[cfg(test)]
mod tests;
