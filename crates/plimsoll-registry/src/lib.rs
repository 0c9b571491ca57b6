//! OCI distribution over HTTP.
#![allow(missing_docs)]
use plimsoll_oci::{Descriptor, Digest, ImageRef};
use std::collections::BTreeMap;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError { #[error("io")] Io(#[from] std::io::Error) }
/// `[registry."host"]` of the settings.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings { pub mirrors: Vec<String>, pub insecure: bool, pub ca: Option<camino::Utf8PathBuf> }
pub struct Registry { pub settings: BTreeMap<String, RegistrySettings>, pub docker_config: Option<camino::Utf8PathBuf> }
pub struct FetchedManifest { pub media_type: String, pub digest: Digest, pub bytes: Vec<u8> }
impl Registry {
    pub fn new(settings: BTreeMap<String, RegistrySettings>, docker_config: Option<camino::Utf8PathBuf>) -> Self { Self { settings, docker_config } }
    /// Manifest or index by tag or digest; mirrors first, in order, then the registry itself.
    pub async fn manifest(&self, reference: &ImageRef) -> Result<FetchedManifest, RegistryError> { let _ = reference; unimplemented!() }
    /// Streams a blob from `offset` on into `write`; retried and resumed.
    pub async fn blob(&self, reference: &ImageRef, descriptor: &Descriptor, offset: u64, write: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send)) -> Result<(), RegistryError> { let _ = (reference, descriptor, offset, write); unimplemented!() }
}
