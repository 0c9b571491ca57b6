//! `deploy`, `blkio_config`, `gpus`

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::read;

/// `deploy`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Deploy {
    /// `replicated`, `global`, ...
    pub mode: Option<String>,
    /// How many containers.
    #[serde(deserialize_with = "read::whole")]
    pub replicas: Option<i64>,
    /// Labels of the service, not of its containers.
    pub labels: BTreeMap<String, String>,
    /// How a new version replaces an old one.
    pub update_config: Option<UpdateConfig>,
    /// How an old version comes back.
    pub rollback_config: Option<UpdateConfig>,
    /// Limits and reservations.
    pub resources: Resources,
    /// Restarts.
    pub restart_policy: Option<RestartPolicy>,
    /// Where containers may run: without meaning on one host.
    pub placement: BTreeMap<String, serde_json::Value>,
    /// `vip` or `dnsrr`: without meaning on one host.
    pub endpoint_mode: Option<String>,
}

/// `deploy.update_config`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    /// How many at once; 0 is all.
    #[serde(deserialize_with = "read::whole")]
    pub parallelism: Option<i64>,
    /// Between one batch and the next.
    #[serde(deserialize_with = "read::duration")]
    pub delay: Option<Duration>,
    /// What is done when a new container fails.
    pub failure_action: Option<UpdateFailure>,
    /// How long a new container is watched.
    #[serde(deserialize_with = "read::duration")]
    pub monitor: Option<Duration>,
    /// The part of containers that may fail, from 0 to 1.
    #[serde(deserialize_with = "read::number")]
    pub max_failure_ratio: Option<f64>,
    /// What comes first.
    pub order: Option<Order>,
}

/// `failure_action`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdateFailure {
    /// Goes on.
    Continue,
    /// Stops where it is.
    Pause,
    /// Brings the old version back.
    Rollback,
}

/// `order`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The new container runs before the old one stops.
    StartFirst,
    /// The old one stops before.
    StopFirst,
}

/// `deploy.resources`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What a container may use at most.
    pub limits: Limits,
    /// What it should have.
    pub reservations: Reservations,
}

/// `deploy.resources.limits`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Processors.
    #[serde(deserialize_with = "read::number")]
    pub cpus: Option<f64>,
    /// Bytes.
    #[serde(deserialize_with = "read::whole")]
    pub memory: Option<i64>,
    /// Processes.
    #[serde(deserialize_with = "read::whole")]
    pub pids: Option<i64>,
}

/// `deploy.resources.reservations`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reservations {
    /// Processors.
    #[serde(deserialize_with = "read::number")]
    pub cpus: Option<f64>,
    /// Bytes.
    #[serde(deserialize_with = "read::whole")]
    pub memory: Option<i64>,
    /// Devices such as GPUs.
    pub devices: Vec<DeviceRequest>,
    /// Without meaning on one host.
    pub generic_resources: Vec<serde_json::Value>,
}

/// A device that a driver gives.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// Such as `gpu`.
    pub capabilities: Vec<String>,
    /// Such as `nvidia`.
    pub driver: Option<String>,
    /// How many; -1 is all.
    #[serde(deserialize_with = "read::whole")]
    pub count: Option<i64>,
    /// Which.
    pub device_ids: Vec<String>,
    /// For the driver.
    pub options: BTreeMap<String, String>,
}

/// `deploy.restart_policy`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `none`, `on-failure` or `any`.
    pub condition: Option<String>,
    /// Before each restart.
    #[serde(deserialize_with = "read::duration")]
    pub delay: Option<Duration>,
    /// How many at most.
    #[serde(deserialize_with = "read::whole")]
    pub max_attempts: Option<i64>,
    /// How long a container must run to count as started.
    #[serde(deserialize_with = "read::duration")]
    pub window: Option<Duration>,
}

/// `blkio_config`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Blkio {
    /// From 10 to 1000.
    #[serde(deserialize_with = "read::whole")]
    pub weight: Option<i64>,
    /// By device.
    pub weight_device: Vec<BlkioWeight>,
    /// Bytes a second.
    pub device_read_bps: Vec<BlkioRate>,
    /// Operations a second.
    pub device_read_iops: Vec<BlkioRate>,
    /// Bytes a second.
    pub device_write_bps: Vec<BlkioRate>,
    /// Operations a second.
    pub device_write_iops: Vec<BlkioRate>,
}

/// A weight.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct BlkioWeight {
    /// The device.
    pub path: String,
    /// From 10 to 1000.
    #[serde(deserialize_with = "read::whole")]
    pub weight: Option<i64>,
}

/// A rate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct BlkioRate {
    /// The device.
    pub path: String,
    /// A second.
    #[serde(deserialize_with = "read::whole")]
    pub rate: Option<i64>,
}
