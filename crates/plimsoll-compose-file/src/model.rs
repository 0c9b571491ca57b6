//! The project as plain data: what [`Project::model`] reads from the normal form.
//!
//! The schema has been checked before, so reading cannot fail for what a user wrote. Times are `Duration`s, sizes
//! bytes, and what was not said is `None`, empty or `false`.

mod build;
mod read;
mod resources;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::Deserialize;

pub use build::Build;
pub use resources::{
    Blkio, BlkioRate, BlkioWeight, Deploy, DeviceRequest, Limits, Order, Reservations, Resources,
    RestartPolicy, UpdateConfig, UpdateFailure,
};
pub use service::{
    Condition, Dependency, Develop, Device, FileReference, Healthcheck, Hook, ImageMount, Logging, Mount,
    MountBind, MountTmpfs, MountType, MountVolume, Port, PreStart, Service, ServiceNetwork, Ulimit, Watch,
    WatchAction,
};

use crate::Project;
use crate::canonical::Flavour;

/// A project.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Active services.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// Networks that they use.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
    /// Volumes that they use.
    #[serde(default)]
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets that they use.
    #[serde(default)]
    pub secrets: BTreeMap<String, FileObject>,
    /// Configs that they use.
    #[serde(default)]
    pub configs: BTreeMap<String, FileObject>,
}

/// `networks.NAME`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Its full name: of the project, or as the file says.
    pub name: String,
    /// The driver; `bridge` where nothing is said.
    pub driver: Option<String>,
    /// Options for the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Addresses.
    pub ipam: Ipam,
    /// Somebody else's: it has to be there.
    pub external: bool,
    /// Without a way out.
    pub internal: bool,
    /// Containers may be attached by hand (accepted: here they always may).
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// IPv4 addresses.
    pub enable_ipv4: Option<bool>,
    /// IPv6 addresses.
    pub enable_ipv6: Option<bool>,
}

/// `networks.NAME.ipam`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ipam {
    /// The driver.
    pub driver: Option<String>,
    /// Subnets.
    pub config: Vec<IpamConfig>,
    /// Options for the driver.
    pub options: BTreeMap<String, String>,
}

/// A subnet.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// As `10.0.0.0/24`.
    pub subnet: Option<String>,
    /// Where addresses are handed out.
    pub ip_range: Option<String>,
    /// The bridge's address.
    pub gateway: Option<String>,
    /// Addresses that are in use by others.
    pub aux_addresses: BTreeMap<String, String>,
}

/// `volumes.NAME`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its full name.
    pub name: String,
    /// The driver; `local` where nothing is said.
    pub driver: Option<String>,
    /// Options for the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Somebody else's: it has to be there.
    pub external: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// `secrets.NAME`, `configs.NAME`: one of `file`, `environment` and `content`, or `external`.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct FileObject {
    /// Its full name.
    pub name: String,
    /// Its bytes are those of this file.
    pub file: Option<Utf8PathBuf>,
    /// Its bytes are the value of this variable.
    pub environment: Option<String>,
    /// Its bytes.
    pub content: Option<String>,
    /// Somebody else's.
    pub external: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Content is left out: it may be a secret.
impl std::fmt::Debug for FileObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileObject")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("environment", &self.environment)
            .field("external", &self.external)
            .finish_non_exhaustive()
    }
}

impl Project {
    /// The project as plain data.
    ///
    /// # Errors
    /// When the normal form is not what the types say, which is a mistake of this program.
    pub fn model(&self) -> Result<Model, serde_json::Error> {
        let mut model: Model = serde_json::from_value(self.rendered(Flavour::Full))?;
        // Dependencies that are not required may not be there.
        let names: BTreeSet<String> = model.services.keys().cloned().collect();
        for service in model.services.values_mut() {
            service.depends_on.retain(|name, _| names.contains(name));
        }
        Ok(model)
    }
}
