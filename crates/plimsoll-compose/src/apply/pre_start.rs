//! `pre_start`: short-lived containers that have to end well before those of the service start.
//!
//! Each is the service's container but for its image, its program and what only one can have: addresses, names and ports
//! of the network. It has the volumes of the container it prepares, those without a name, too.

use plimsoll_compose_file::model::PreStart;
use plimsoll_container::{
    Attached, Container, ContainerError, CreateOptions, HealthOptions, LogConfig, MountSource, RestartPolicy,
};
use plimsoll_image::Image;

use super::container::about;
use super::{Work, id_of};
use crate::converge::{Converge, blocking};
use crate::error::{ComposeError, Result};
use crate::labels;
use crate::plan::Action;
use crate::spec::{Making, environment};

impl Work {
    /// Runs those that `of_each` container has its own of, or else those of the whole service, one after the other.
    pub(super) async fn pre_start(&self, service: &str, container: &str, of_each: bool) -> Result<()> {
        let Some(container) = self.get(container) else {
            return Ok(());
        };
        let desired = self.desired.as_deref().ok_or(ComposeError::Interrupted)?;
        let steps = desired.service(service)?.pre_start.iter().enumerate();
        for (number, step) in steps.filter(|(_, step)| step.per_replica == of_each) {
            let name = match of_each {
                true => format!("{}-pre_start-{}", container.name, number + 1),
                false => format!("{}-{service}-pre_start-{}", desired.name, number + 1),
            };
            let ended = self.prepare(service, step, &container, &name);
            self.told(&id_of(&name), "Running", "Exited", "", ended).await?;
        }
        Ok(())
    }

    /// Before a new container of an update, which no plan can name. What the service has once goes before the first, unless
    /// a step of the plan has seen to it.
    pub(super) async fn pre_start_of_update(&self, service: &str, container: &str) -> Result<()> {
        let mut is_first = false;
        for step in &self.plan.steps {
            match &step.action {
                Action::PreStart {
                    service: prepared,
                    of_each: false,
                    ..
                } if prepared == service => {
                    is_first = false;
                    break;
                }
                Action::Roll {
                    service: updated,
                    replacements,
                } if updated == service => {
                    is_first = replacements.first().is_some_and(|(.., name)| name == container);
                }
                _ => {}
            }
        }
        if is_first {
            self.pre_start(service, container, false).await?;
        }
        self.pre_start(service, container, true).await
    }

    /// Runs one to its end, and takes it away.
    async fn prepare(&self, service: &str, step: &PreStart, container: &Container, name: &str) -> Result<()> {
        self.clear(name).await?;
        let made = self.make_step(service, step, container, name).await?;
        let ended = self.converge.run_to_end(&made).await;
        let tail = match &ended {
            Ok((0, _)) | Err(_) => Vec::new(),
            Ok((_, Some(message))) => vec![message.clone()],
            Ok((_, None)) => self.converge.last_output(&made).await,
        };
        self.take_away(&made, true).await?;
        match ended? {
            (0, _) => Ok(()),
            (code, _) => Err(ComposeError::Hook {
                hook: "pre_start",
                container: container.name.clone(),
                code,
                tail,
            }),
        }
    }

    /// Takes away what a process left that was killed meanwhile.
    async fn clear(&self, name: &str) -> Result<()> {
        let containers = &self.converge.containers;
        let Some(left) = self.get(name).or_else(|| containers.get(name).ok()) else {
            return Ok(());
        };
        let labels = &left.definition.labels;
        if left.name == name && labels.get(labels::HOOK).is_some_and(|hook| hook == "pre_start") {
            let stopped = containers.stop(&left, None, Some(0)).await;
            stopped.map_err(about("stop", name))?;
            self.take_away(&left, true).await?;
        }
        Ok(())
    }

    async fn make_step(
        &self,
        service: &str,
        step: &PreStart,
        container: &Container,
        name: &str,
    ) -> Result<Container> {
        let (work, service, step) = (self.clone(), service.to_owned(), step.clone());
        let (container, name) = (container.clone(), name.to_owned());
        blocking(move || {
            let desired = work.desired.as_deref().ok_or(ComposeError::Interrupted)?;
            let converge = &work.converge;
            let wanted = step.image.clone().unwrap_or_else(|| desired.image(&service));
            let no_image = |image: &str| ComposeError::NoImage {
                service: service.clone(),
                image: image.to_owned(),
            };
            let image = converge.image_for(desired, &service, &wanted)?;
            let image = image.ok_or_else(|| no_image(&wanted))?;
            let own = converge.image(desired, &service)?;
            let own = own.ok_or_else(|| no_image(&desired.image(&service)))?;
            let making = Making {
                desired,
                name: &service,
                service: desired.service(&service)?,
                image: &own,
                containers: &converge.containers,
                peers: &work.peers(),
                names: &work.plan.names,
                // So that it has the same volumes.
                old: Some(&container),
                renew: false,
            };
            let mut options = making.options(1)?;
            options.name = Some(name.clone());
            options.image = wanted;
            prepared_by(&step, &image, &mut options);
            converge.hold_mounted(desired, &service, &mut options)?;
            let parent = converge.images.hold(&image)?;
            let made = converge.containers.create(&image, parent, &options);
            made.map_err(about("create", &name))
        })
        .await
    }
}

/// From a service's container to one of its steps.
fn prepared_by(step: &PreStart, image: &Image, options: &mut CreateOptions) {
    options.entrypoint = None;
    options.command.clone_from(&step.command);
    let given = environment(&step.environment);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    options
        .env
        .retain(|entry| !given.iter().any(|new| name(new) == name(entry)));
    options.env.extend(given);
    options.user = step.user.clone().or(options.user.take());
    options.working_dir = step.working_dir.clone().or(options.working_dir.take());
    options.privileged |= step.privileged;
    options.labels.remove(labels::REPLACE);
    let own = [
        (labels::ONE_OFF, "True"),
        (labels::HOOK, "pre_start"),
        (labels::IMAGE, &image.id.to_string()),
    ];
    let own = own.map(|(label, value)| (label.to_owned(), value.to_owned()));
    options.labels.extend(own);
    // The service's container has had what the image has there; what a step changes in an empty volume is to stay.
    for mount in &mut options.mounts {
        if let MountSource::Volume(volume) = &mut mount.source {
            volume.copy = false;
        }
    }
    options.ports.clear();
    options.expose.clear();
    for (_, place) in &mut options.attachments {
        place.aliases.clear();
        (place.address, place.address6, place.mac) = (None, None, None);
    }
    options.restart = RestartPolicy::No;
    options.health = HealthOptions {
        disable: true,
        ..HealthOptions::default()
    };
    // What it wrote is told when it fails.
    options.log = LogConfig::default();
    (options.tty, options.open_stdin) = (false, false);
    options.attached = Attached::default();
}

impl Converge {
    /// Starts a container and waits for its end; returns its exit code, and why if it could not be started.
    async fn run_to_end(&self, container: &Container) -> Result<(i32, Option<String>)> {
        match self.containers.start(container, false).await {
            Ok(_) => {}
            Err(ContainerError::Start { code, message }) => return Ok((code, Some(message))),
            Err(error) => return Err(about("start", &container.name)(error)),
        }
        let ended = self.containers.wait(container).await?;
        self.containers.settle(container).await?;
        Ok((ended.exit_code, None))
    }
}
