//! The door: looks at what there is of a project, and does what a plan says.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll_container::{Container, Containers, CreateOptions};
use plimsoll_image::{Image, Images};
use plimsoll_network::Networks;
use plimsoll_oci::Platform;
use plimsoll_progress::Progress;
use plimsoll_store::{Lock, Store};
use tokio::sync::Semaphore;

use crate::desired::Desired;
use crate::error::{ComposeError, Result};
use crate::labels;
use crate::observed::{Observed, Seen, Thing};
use crate::spec::{given, missing_files};

/// Works on the projects of a store. Cheap to clone.
#[derive(Clone)]
pub struct Converge {
    pub(crate) store: Store,
    pub(crate) containers: Containers,
    pub(crate) images: Images,
    pub(crate) networks: Networks,
    pub(crate) progress: Progress,
    /// How many things may be worked on at once.
    pub(crate) places: Arc<Semaphore>,
}

impl Converge {
    /// Opens the door. `parallel` limits how many things are worked on at once.
    pub fn new(
        store: &Store,
        containers: &Containers,
        images: &Images,
        progress: &Progress,
        parallel: Option<usize>,
    ) -> Self {
        let places = parallel.unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            store: store.clone(),
            containers: containers.clone(),
            images: images.clone(),
            networks: Networks::new(store),
            progress: progress.clone(),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// The same door, with nobody looking on.
    pub fn silent(&self) -> Self {
        Self {
            progress: Progress::none(),
            ..self.clone()
        }
    }

    /// Has a project alone: whoever changes it next waits until the lock is dropped. `waiting` is told who has it if it is
    /// somebody else.
    pub async fn lock(&self, project: &str, waiting: impl FnOnce(Option<u32>)) -> Result<Lock> {
        let name = format!("compose-{project}");
        if let Some(lock) = self.store.try_lock(&name)? {
            return Ok(lock);
        }
        waiting(self.store.lock_holder(&name));
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let store = self.store.clone();
        // A thread of its own: one of the event loop's would keep an interrupted command from ending.
        std::thread::spawn(move || sender.send(store.lock(&name)));
        Ok(receiver.await.map_err(|_| ComposeError::Interrupted)??)
    }

    /// Looks at what there is of a project.
    pub fn observe(&self, project: &str, desired: Option<&Desired>) -> Result<Observed> {
        let mut observed = Observed::default();
        for container in self.containers.labelled(labels::PROJECT, project)? {
            // A command that was killed may have left a supervisor that is about to run its program.
            let Some(container) = self.containers.started_by_others(container)? else {
                continue;
            };
            let places = self.networks.attachments(container.id())?;
            let networks = places.into_iter().map(|place| place.name).collect();
            let Some(seen) = Seen::of(&container, networks) else {
                continue;
            };
            if let Some(desired) = desired
                && let Some(reason) = self.stale_file(desired, &seen.service, &container)
            {
                observed.stale_files.insert(seen.id.clone(), reason);
            }
            observed.members.push(seen);
        }
        observed.members.sort_by(|one, other| one.name.cmp(&other.name));
        for info in self.networks.list()? {
            let labels = info.network.map(|network| network.labels);
            let labels = labels.unwrap_or_default();
            observed.networks.insert(info.name, Thing { labels });
        }
        for volume in self.containers.volumes()? {
            let labels = volume.options.labels;
            observed.volumes.insert(volume.name, Thing { labels });
        }
        for service in desired.iter().flat_map(|desired| desired.model.services.keys()) {
            let missing = desired.map(|desired| missing_files(desired, service));
            observed
                .missing_files
                .extend(missing.map(|files| (service.clone(), files)));
            if let Some(image) = desired
                .map(|desired| self.image(desired, service))
                .transpose()?
                .flatten()
            {
                observed.images.insert(service.clone(), image.id.to_string());
            }
        }
        Ok(observed)
    }

    /// Why a container's secrets and configs are not what they are to be. What cannot be had now is told when it is needed.
    fn stale_file(&self, desired: &Desired, service: &str, container: &Container) -> Option<String> {
        desired.model.services.get(service)?;
        let files = given(desired, service).ok()?;
        let target = self.containers.differing_file(container, &files)?;
        Some(format!("{target} changed"))
    }

    /// The image of a service, if it is here.
    pub(crate) fn image(&self, desired: &Desired, service: &str) -> Result<Option<Image>> {
        self.image_for(desired, service, &desired.image(service))
    }

    /// An image for the platform of a service, if it is here.
    pub(crate) fn image_for(&self, desired: &Desired, service: &str, name: &str) -> Result<Option<Image>> {
        let platform = desired.model.services.get(service);
        let platform = platform.and_then(|service| service.platform.as_deref());
        match platform.and_then(|text| text.parse::<Platform>().ok()) {
            Some(platform) => Ok(self.images.find_for(name, &platform)?),
            None => Ok(self.images.find(name)?),
        }
    }

    /// Protects the images that a container mounts until it has them.
    pub(crate) fn hold_mounted(
        &self,
        desired: &Desired,
        service: &str,
        options: &mut CreateOptions,
    ) -> Result<()> {
        let names: Vec<String> = options.images_to_mount().map(str::to_owned).collect();
        for name in names {
            let image = self.image_for(desired, service, &name)?;
            let image = image.ok_or_else(|| ComposeError::NoImage {
                service: service.to_owned(),
                image: name.clone(),
            })?;
            let top = self.images.hold(&image)?;
            options.mounted_images.insert(name, top);
        }
        Ok(())
    }

    /// Containers of a project by name, for who works on them.
    pub(crate) fn members(&self, project: &str) -> Result<BTreeMap<String, Container>> {
        let containers = self.containers.labelled(labels::PROJECT, project)?;
        Ok(containers
            .into_iter()
            .map(|container| (container.name.clone(), container))
            .collect())
    }
}

/// Does blocking work on another thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ComposeError::Interrupted)?
}
