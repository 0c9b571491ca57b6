//! `build`

use std::collections::BTreeMap;

use serde::Deserialize;

use super::read;
use super::service::{FileReference, Ulimit};

/// How an image is made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Build {
    /// A folder or a URL.
    pub context: String,
    /// The Dockerfile, from the context.
    pub dockerfile: Option<String>,
    /// Its text.
    pub dockerfile_inline: Option<String>,
    /// `--build-arg`; nothing is the caller's value.
    pub args: BTreeMap<String, Option<String>>,
    /// `--ssh`
    pub ssh: Vec<String>,
    /// `--cache-from`
    pub cache_from: Vec<String>,
    /// `--cache-to`
    pub cache_to: Vec<String>,
    /// `--build-context`; `service:NAME` is the image of a service.
    pub additional_contexts: BTreeMap<String, String>,
    /// `--no-cache`
    pub no_cache: bool,
    /// `--no-cache-filter`
    pub no_cache_filter: Vec<String>,
    /// `--pull`
    pub pull: bool,
    /// `--add-host`
    pub extra_hosts: Vec<String>,
    /// Windows only.
    pub isolation: Option<String>,
    /// `--network`
    pub network: Option<String>,
    /// `--target`
    pub target: Option<String>,
    /// `--secret`: `source` is the secret of the project, `target` its id in the Dockerfile.
    pub secrets: Vec<FileReference>,
    /// `--shm-size`
    #[serde(deserialize_with = "read::whole")]
    pub shm_size: Option<i64>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// More names of the image.
    pub tags: Vec<String>,
    /// `--ulimit`
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `--platform`
    pub platforms: Vec<String>,
    /// `--allow security.insecure`, and steps with every right.
    pub privileged: bool,
    /// `--allow`
    pub entitlements: Vec<String>,
    /// `--provenance`
    pub provenance: Option<String>,
    /// `--sbom`
    pub sbom: Option<String>,
}
