//! `commit`: an image of what a container has become.

use jiff::Timestamp;
use plimsoll_image::{Image, Images};
use plimsoll_oci::{ContainerConfig, Healthcheck, History, ImageConfig};
use serde_json::json;

use crate::Result;
use crate::containers::{Container, Containers};
use crate::model::{Definition, HealthCheck};

impl Containers {
    /// Makes an image of a container: its image's layers, one of what it has changed, and its own configuration, which
    /// `change` has the last word on. It has no name yet, and is not listed before it has one or is kept.
    pub fn commit<E: From<crate::ContainerError>>(
        &self,
        images: &Images,
        container: &Container,
        comment: Option<String>,
        change: impl FnOnce(&mut ImageConfig) -> Result<(), E>,
    ) -> Result<Image, E> {
        let definition = &container.definition;
        let base = images
            .get(&definition.image_id)
            .map_err(crate::ContainerError::from)?;
        let top = self.snapshot(container)?;
        let mut config = ImageConfig {
            config: configuration(definition, &base.config.config),
            created: Some(Timestamp::now().to_string()),
            ..base.config
        };
        config.history.push(History {
            created: config.created.clone(),
            created_by: Some(definition.spec.args.join(" ")),
            comment,
            ..History::default()
        });
        change(&mut config)?;
        Ok(images
            .assemble(config, Some(top))
            .map_err(crate::ContainerError::from)?)
    }
}

/// What the image says, and over it what the container was made with.
fn configuration(definition: &Definition, base: &ContainerConfig) -> ContainerConfig {
    let spec = &definition.spec;
    let exposed = &definition.exposed_ports;
    let ports = exposed.iter().map(|port| (port.clone(), json!({}))).collect();
    ContainerConfig {
        user: spec.user.clone(),
        env: spec.env.clone(),
        entrypoint: definition.entrypoint.clone(),
        cmd: (!definition.command.is_empty()).then(|| definition.command.clone()),
        working_dir: spec.cwd.clone(),
        labels: (!definition.labels.is_empty()).then(|| definition.labels.clone()),
        exposed_ports: (!exposed.is_empty()).then_some(ports),
        healthcheck: definition.health.as_ref().map(healthcheck),
        stop_signal: Some(definition.stop_signal.name.clone())
            .filter(|name| name != "SIGTERM" || base.stop_signal.is_some()),
        ..base.clone()
    }
}

fn healthcheck(check: &HealthCheck) -> Healthcheck {
    let nanoseconds = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    Healthcheck {
        test: check.test.clone(),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        start_period: nanoseconds(check.start_period),
        start_interval: nanoseconds(check.start_interval),
        retries: check.retries.into(),
    }
}
