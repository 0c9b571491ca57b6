//! Containers: made, replaced, started, stopped, removed.

use std::collections::BTreeMap;

use plimsoll_container::{Container, ContainerError};
use plimsoll_progress::ResourceState;

use super::{Work, id_of};
use crate::converge::blocking;
use crate::error::{ComposeError, Result};
use crate::plan::Old;
use crate::spec::Making;

/// Says with which container something went wrong.
pub(super) fn about<'a>(
    operation: &'static str,
    name: &'a str,
) -> impl FnOnce(ContainerError) -> ComposeError + use<'a> {
    move |source| ComposeError::Container {
        operation,
        name: name.to_owned(),
        source: Box::new(source),
    }
}

impl Work {
    pub(super) async fn create(
        &self,
        service: &str,
        number: u32,
        name: &str,
        replaces: Option<&Old>,
    ) -> Result<()> {
        let Some(old) = replaces else {
            let made = self.make(service, number, name.to_owned(), None);
            let container = self.told(&id_of(name), "Creating", "Created", "", made).await?;
            self.put(name, container);
            return Ok(());
        };
        let replaced = async {
            let present = self.get(&old.name);
            let half_way = format!("{}_{name}", &old.id[..old.id.len().min(12)]);
            let made = self.make(service, number, half_way, present.clone()).await?;
            if let Some(present) = present {
                self.end(service, &present).await?;
                self.take_away(&present, false).await?;
            }
            let containers = &self.converge.containers;
            containers
                .rename(&made, name)
                .await
                .map_err(about("rename", name))?;
            Ok(Container {
                name: name.to_owned(),
                ..made
            })
        };
        let container = self
            .told(&id_of(name), "Recreate", "Recreated", &old.reason, replaced)
            .await?;
        self.put(name, container);
        Ok(())
    }

    /// Makes a container of a service.
    pub(super) async fn make(
        &self,
        service: &str,
        number: u32,
        name: String,
        old: Option<Container>,
    ) -> Result<Container> {
        let work = self.clone();
        let service = service.to_owned();
        blocking(move || {
            let desired = work.desired.as_deref().ok_or(ComposeError::Interrupted)?;
            let converge = &work.converge;
            let image = converge.image(desired, &service)?;
            let image = image.ok_or_else(|| ComposeError::NoImage {
                service: service.clone(),
                image: desired.image(&service),
            })?;
            let making = Making {
                desired,
                name: &service,
                service: desired.service(&service)?,
                image: &image,
                containers: &converge.containers,
                peers: &work.peers(),
                names: &work.plan.names,
                old: old.as_ref(),
                renew: work.options.renew_anonymous_volumes,
            };
            let mut options = making.options(number)?;
            options.name = Some(name.clone());
            options.id = work.foresight.id(&name);
            // As Compose has it; what takes another's place is called so only later.
            let own = desired.container_name(&service, number);
            for (_, place) in &mut options.attachments {
                place.aliases.retain(|alias| *alias != own);
                place.aliases.insert(0, own.clone());
            }
            converge.hold_mounted(desired, &service, &mut options)?;
            let parent = converge.images.hold(&image)?;
            let made = converge.containers.create(&image, parent, &options);
            made.map_err(about("create", &name))
        })
        .await
    }

    /// Ids of the first container of each service.
    pub(super) fn peers(&self) -> BTreeMap<String, String> {
        let of_service = self.plan.names.iter().filter_map(|(service, names)| {
            let container = names.iter().find_map(|name| self.get(name))?;
            Some((service.clone(), container.id().to_owned()))
        });
        of_service.collect()
    }

    pub(super) async fn rename(&self, id: &str, name: &str) -> Result<()> {
        let containers = &self.converge.containers;
        let container = containers.get(id)?;
        containers
            .rename(&container, name)
            .await
            .map_err(about("rename", name))?;
        self.put(
            name,
            Container {
                name: name.to_owned(),
                ..container
            },
        );
        Ok(())
    }

    pub(super) async fn start(&self, service: &str, name: &str) -> Result<()> {
        let Some(container) = self.get(name) else {
            return Ok(());
        };
        let started = async {
            self.run_container(service, &container).await?;
            Ok(self.found_ports(service, &container))
        };
        self.told_of(&id_of(name), "Starting", "Started", "", started, String::clone)
            .await
            .map(|_| ())
    }

    /// Starts a container and what its service has to be done in it afterwards.
    pub(super) async fn run_container(&self, service: &str, container: &Container) -> Result<()> {
        self.run_beside(service, container, None).await
    }

    /// As [`Work::run_container`], without the ports that another one still has.
    pub(super) async fn run_beside(
        &self,
        service: &str,
        container: &Container,
        other: Option<&Container>,
    ) -> Result<()> {
        let containers = &self.converge.containers;
        let started = async {
            let mut supervisor = self.supervisor(container).await?;
            if let Some(other) = other {
                supervisor.wait_for_ports_of(&containers.get(other.id())?);
            }
            containers.start_with(supervisor, container, false).await
        };
        let started = started.await.map_err(about("start", &container.name))?;
        for warning in started.iter().flat_map(|started| &started.warnings) {
            let progress = &self.converge.progress;
            progress.resource(&container.name, ResourceState::Warning, warning, "");
        }
        self.tell_started(container.clone());
        self.post_start(service, container).await
    }

    pub(super) async fn restart(&self, service: &str, name: &str, reason: &str) -> Result<()> {
        let Some(container) = self.get(name) else {
            return Ok(());
        };
        let restarted = async {
            let containers = &self.converge.containers;
            self.pre_stop(service, &container).await?;
            let stopped = containers
                .stop_for_restart(&container, None, self.options.timeout)
                .await;
            stopped.map_err(about("stop", name))?;
            self.tell_stopped(&container).await;
            let container = containers.get(container.id())?;
            self.run_container(service, &container).await?;
            containers.restarted(&container);
            Ok(())
        };
        self.told(&id_of(name), "Restarting", "Started", reason, restarted)
            .await
    }

    pub(super) async fn stop(&self, service: &str, name: &str) -> Result<()> {
        let Some(container) = self.get(name) else {
            return Ok(());
        };
        let stopped = self.end(service, &container);
        self.told(&id_of(name), "Stopping", "Stopped", "", stopped).await
    }

    /// Stops a container if it runs.
    pub(super) async fn end(&self, service: &str, container: &Container) -> Result<()> {
        let containers = &self.converge.containers;
        self.pre_stop(service, container).await?;
        let stopped = containers.stop(container, None, self.options.timeout).await;
        stopped.map_err(about("stop", &container.name))
    }

    pub(super) async fn remove(&self, name: &str, volumes: bool) -> Result<()> {
        let Some(container) = self.get(name) else {
            return Ok(());
        };
        let removed = self.take_away(&container, volumes);
        self.told(&id_of(name), "Removing", "Removed", "", removed).await
    }

    /// Removes a container that was stopped, and that nobody was to start since: one that runs is killed, as Docker does.
    pub(super) async fn take_away(&self, container: &Container, volumes: bool) -> Result<()> {
        let removed = self.converge.containers.remove_by_force(container, volumes).await;
        removed.map_err(about("remove", &container.name))
    }
}
