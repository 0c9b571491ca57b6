//! What a build takes from elsewhere: files of the web, git repositories, archives, named contexts.
//!
//! - [`remote`](remote): telling URLs from paths;
//! - [`http`](http): conditional requests against a record below `contexts/`;
//! - [`git`](git): the installed `git` on a bare repository below `contexts/`;
//! - [`folder`](folder): contexts that are unpacked or checked out below `builds/`;
//! - [`named`](named): `--build-context`.
//!
//! [`Sources`] is the door. Credentials come from whoever makes it and go to the host they are for, nowhere else.

mod error;
mod folder;
mod git;
mod http;
mod named;
mod remote;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use plimsoll_registry::Web;
use plimsoll_store::Store;
use tokio::sync::OnceCell;

use crate::Secret;

pub use error::SourceError;
pub use folder::{ContextFolder, WebContext, is_archive};
pub(crate) use git::set_time;
pub(crate) use http::file_name;
pub(crate) use named::Contexts;
pub use named::NamedContext;
pub(crate) use plimsoll_registry::without_credentials;
pub use remote::{GitUrl, Remote};

/// Fetches what a build takes from elsewhere.
pub struct Sources {
    store: Store,
    web: Web,
    /// By URL: several instructions of one build get the same answer.
    answers: Mutex<HashMap<String, Arc<OnceCell<http::WebFile>>>>,
    credentials: BTreeMap<String, String>,
    environment: Vec<(String, OsString)>,
}

impl Sources {
    /// Returns the sources for one store. Of the build's secrets they use `HTTP_AUTH_TOKEN_<host>`,
    /// `HTTP_AUTH_HEADER_<host>`, `GIT_AUTH_TOKEN`, `GIT_AUTH_HEADER` and these two followed by `.<host>`.
    /// `environment` is what git gets of the caller's: `PATH`, proxies, `SSH_AUTH_SOCK`.
    pub fn new(
        store: &Store,
        secrets: &BTreeMap<String, Secret>,
        environment: Vec<(String, OsString)>,
    ) -> Self {
        let credential = |(id, secret): (&String, &Secret)| {
            let value = String::from_utf8_lossy(secret.bytes()).trim().to_owned();
            let ours = id.starts_with("HTTP_AUTH_") || id.starts_with("GIT_AUTH_");
            ours.then(|| (id.clone(), value))
        };
        Self {
            store: store.clone(),
            web: Web::default(),
            answers: Mutex::default(),
            credentials: secrets.iter().filter_map(credential).collect(),
            environment,
        }
    }
}
