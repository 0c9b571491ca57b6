//! Networks, volumes, images.

use std::collections::BTreeMap;

use plimsoll_compose_file::model::{Network, Volume};
use plimsoll_container::{ContainerError, VolumeOptions};
use plimsoll_network::{NetworkError, NetworkRequest};
use plimsoll_progress::ResourceState;

use super::Work;
use crate::converge::blocking;
use crate::desired::Desired;
use crate::error::{ComposeError, Result};
use crate::labels;

const IN_USE: &str = "Resource is still in use";

impl Work {
    pub(super) async fn create_network(&self, key: &str, name: &str) -> Result<()> {
        let Some((desired, network)) = self.of_project(|desired| desired.model.networks.get(key)) else {
            return Ok(());
        };
        let request = request(desired, key, network)?;
        let (networks, events) = (self.converge.networks.clone(), self.converge.store.events());
        let made = blocking(move || {
            let network = networks.create(&request)?;
            let attributes = [("name", network.name.as_str()), ("type", "bridge")];
            let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
            events.record("network", "create", &network.id, attributes.into());
            Ok(())
        });
        self.told(&format!("Network {name}"), "Creating", "Created", "", made)
            .await
    }

    pub(super) async fn remove_network(&self, name: &str, must: bool) -> Result<()> {
        let id = format!("Network {name}");
        self.converge.progress.working(&id, "Removing");
        let (this, events) = (self.converge.clone(), self.converge.store.events());
        let called = name.to_owned();
        let removed = blocking(move || {
            let info = this.networks.get(&called)?;
            this.containers.leave_ended(&info)?;
            this.networks.remove(&info)?;
            let attributes = [("name", info.name.as_str()), ("type", info.driver.as_str())];
            let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
            events.record("network", "destroy", &info.id, attributes.into());
            Ok(())
        });
        match removed.await {
            Err(ComposeError::Network(NetworkError::InUse { .. })) if !must => {
                let progress = &self.converge.progress;
                progress.resource(&id, ResourceState::Warning, IN_USE, "");
                Ok(())
            }
            Ok(()) | Err(ComposeError::Network(NetworkError::NotFound { .. })) => {
                self.converge.progress.ready(&id, "Removed");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create_volume(&self, key: &str, name: &str) -> Result<()> {
        let Some((desired, volume)) = self.of_project(|desired| desired.model.volumes.get(key)) else {
            return Ok(());
        };
        let options = volume_options(desired, key, volume)?;
        let (containers, called) = (self.converge.containers.clone(), name.to_owned());
        let made = blocking(move || {
            containers.create_volume(Some(&called), &options)?;
            Ok(())
        });
        self.told(&format!("Volume {name}"), "Creating", "Created", "", made)
            .await
    }

    pub(super) async fn remove_volume(&self, name: &str, must: bool) -> Result<()> {
        let id = format!("Volume {name}");
        self.converge.progress.working(&id, "Removing");
        let (containers, called) = (self.converge.containers.clone(), name.to_owned());
        let removed = blocking(move || Ok(containers.remove_volume(&called)?));
        match removed.await {
            Err(ComposeError::Containers(ContainerError::VolumeInUse { .. })) if !must => {
                let progress = &self.converge.progress;
                progress.resource(&id, ResourceState::Warning, IN_USE, "");
                Ok(())
            }
            Ok(()) | Err(ComposeError::Containers(ContainerError::NoVolume(_))) => {
                self.converge.progress.ready(&id, "Removed");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// An image that others use, or that is not here, is no reason to fail.
    pub(super) async fn remove_image(&self, name: &str) -> Result<()> {
        let id = format!("Image {name}");
        let this = self.converge.clone();
        let called = name.to_owned();
        self.converge.progress.working(&id, "Removing");
        let removed = blocking(move || {
            let running = this.containers.list()?;
            let is_running = |id: &str| {
                running
                    .iter()
                    .any(|container| container.id() == id && container.is_running())
            };
            Ok(this.images.remove(&called, false, &is_running).err())
        });
        let progress = &self.converge.progress;
        match removed.await? {
            None => progress.ready(&id, "Removed"),
            Some(plimsoll_image::ImageError::NotFound { .. }) => {
                progress.resource(&id, ResourceState::Warning, "No image found", "");
            }
            Some(error) => {
                progress.resource(&id, ResourceState::Warning, IN_USE, &super::chain(&error));
            }
        }
        Ok(())
    }

    fn of_project<'a, T>(&'a self, find: impl FnOnce(&'a Desired) -> Option<T>) -> Option<(&'a Desired, T)> {
        let desired = self.desired.as_deref()?;
        Some((desired, find(desired)?))
    }
}

fn with_labels(
    own: &BTreeMap<String, String>,
    desired: &Desired,
    (label, key): (&str, &str),
    hash: &str,
) -> BTreeMap<String, String> {
    let mut all = own.clone();
    let ours = [
        (labels::PROJECT, desired.name.as_str()),
        (label, key),
        (labels::VERSION, labels::COMPOSE_VERSION),
        (labels::CONFIG_HASH, hash),
    ];
    all.extend(ours.map(|(label, value)| (label.to_owned(), value.to_owned())));
    all
}

fn request(desired: &Desired, key: &str, network: &Network) -> Result<NetworkRequest> {
    let invalid = |what: &str, text: &str| {
        ComposeError::Network(NetworkError::Invalid(format!(
            "network {key}: invalid {what} `{text}`"
        )))
    };
    let mut request = NetworkRequest {
        name: network.name.clone(),
        driver: network.driver.clone().unwrap_or_default(),
        ipv6: network.enable_ipv6.unwrap_or(false),
        no_ipv4: network.enable_ipv4 == Some(false),
        internal: network.internal,
        attachable: network.attachable,
        labels: with_labels(
            &network.labels,
            desired,
            (labels::NETWORK, key),
            desired.network_hash(key),
        ),
        options: network.driver_opts.clone(),
        ..NetworkRequest::default()
    };
    if let Some(driver) = network.ipam.driver.as_deref()
        && !matches!(driver, "" | "default")
    {
        return Err(invalid("ipam driver", driver));
    }
    for config in &network.ipam.config {
        if let Some(text) = &config.subnet {
            request
                .subnets
                .push(text.parse().map_err(|_| invalid("subnet", text))?);
        }
        if let Some(text) = &config.ip_range {
            request
                .ranges
                .push(text.parse().map_err(|_| invalid("ip_range", text))?);
        }
        if let Some(text) = &config.gateway {
            request
                .gateways
                .push(text.parse().map_err(|_| invalid("gateway", text))?);
        }
        for (name, text) in &config.aux_addresses {
            let address = text.parse().map_err(|_| invalid("aux_address", text))?;
            request.reserved.insert(name.clone(), address);
        }
    }
    Ok(request)
}

fn volume_options(desired: &Desired, key: &str, volume: &Volume) -> Result<VolumeOptions> {
    if let Some(driver) = volume
        .driver
        .as_deref()
        .filter(|driver| !matches!(*driver, "" | "local"))
    {
        let text = format!("volume {key}: there is no volume driver `{driver}`: only `local`");
        return Err(ContainerError::Option(text).into());
    }
    Ok(VolumeOptions {
        labels: with_labels(
            &volume.labels,
            desired,
            (labels::VOLUME, key),
            desired.volume_hash(key),
        ),
        driver: volume.driver_opts.clone(),
    })
}
