//! `compose bridge`: a project in the language of another platform.
//!
//! Two transformations are built in and need nothing but the files. Others are images that read `/in/compose.yaml` and
//! write to `/out`, as Docker's; those are run as containers.

pub(crate) mod convert;
pub(crate) mod create;
mod image;
pub(crate) mod list;
mod output;
mod scratch;

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_bridge::{ImageFacts, Target};
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::Healthcheck;
use plimsoll_oci::ContainerConfig;

use crate::command_error::CommandError;
use crate::context::Context;

/// The label of images that transform.
const LABEL: (&str, &str) = ("com.docker.compose.bridge", "transformation");
/// The image that Docker uses when nothing is said.
const DEFAULT_IMAGE: &str = "docker/compose-bridge-kubernetes";

/// What is built in: its name, Docker's image of the same result, and what it is.
const BUILT_IN: [(&str, &str, Target); 2] = [
    ("kubernetes", DEFAULT_IMAGE, Target::Kubernetes),
    ("helm", "docker/compose-bridge-helm", Target::Helm),
];

/// What the images of services say, of those that are here.
fn facts(context: &Context, project: &Project) -> Result<BTreeMap<String, ImageFacts>, CommandError> {
    let images = context.images()?;
    let mut facts = BTreeMap::new();
    for service in project.section("services") {
        if let Some(image) = images.find(&project.image_of(service))? {
            facts.insert(service.key.clone(), fact(&image.config.config));
        }
    }
    Ok(facts)
}

fn fact(config: &ContainerConfig) -> ImageFacts {
    let time = |nanoseconds: i64| (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds.unsigned_abs()));
    let check = config.healthcheck.as_ref().map(|check| Healthcheck {
        disable: false,
        test: check.test.clone(),
        interval: time(check.interval),
        timeout: time(check.timeout),
        retries: (check.retries > 0).then_some(check.retries),
        start_period: time(check.start_period),
        start_interval: time(check.start_interval),
    });
    ImageFacts {
        exposed: config
            .exposed_ports
            .iter()
            .flat_map(BTreeMap::keys)
            .cloned()
            .collect(),
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        healthcheck: check,
    }
}
