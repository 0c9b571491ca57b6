//! What other commands do with the containers of an attached `up` meanwhile.

use plimsoll_compose::Converge;
use plimsoll_container::{Container, Containers, FolderWatch};

use super::Scope;
use super::members::Which;
use crate::command_error::CommandError;
use crate::context::Context;

/// Sees the containers of a project that somebody starts.
pub(crate) struct Elsewhere {
    converge: Converge,
    containers: Containers,
    scope: Scope,
    /// Events of this machine's containers.
    watch: FolderWatch,
}

impl Elsewhere {
    pub(crate) fn new(
        context: &Context,
        containers: &Containers,
        converge: &Converge,
        project: &str,
    ) -> Result<Self, CommandError> {
        let events = context.store()?.events().read().map_err(wrong)?;
        Ok(Self {
            watch: FolderWatch::new(events.folder()).map_err(wrong)?,
            containers: containers.clone(),
            scope: Scope {
                name: project.to_owned(),
                project: None,
            },
            converge: converge.silent(),
        })
    }

    /// Returns when something has happened to some container.
    pub(crate) async fn changed(&self) -> Result<(), CommandError> {
        self.watch.changed().await.map_err(wrong)
    }

    /// The project's containers that run now.
    pub(crate) fn running(&self) -> Result<Vec<Container>, CommandError> {
        let members = self.scope.members(&self.containers, &[], Which::RUNNING)?;
        Ok(members.into_iter().map(|member| member.container).collect())
    }

    /// Returns when no other command has the project: what it has stopped it may be about to start.
    pub(crate) async fn quiet(&self) -> Result<(), CommandError> {
        self.converge.lock(&self.scope.name, |_| ()).await?;
        Ok(())
    }
}

fn wrong(error: std::io::Error) -> CommandError {
    CommandError::internal("cannot watch the containers", error)
}
