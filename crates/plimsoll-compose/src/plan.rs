//! What has to be done, without doing it.
//!
//! A [`Plan`] is a list of steps, each with those that have to be done before. It follows from what a project asks for
//! ([`Desired`]) and what there is ([`Observed`]) alone, so that it can be printed and tested.

mod down;
mod one_service;
mod pre_start;
#[cfg(test)]
mod tests;
mod up;

use std::fmt;

use plimsoll_compose_file::model::Condition;

use crate::labels;

pub use down::{DownOptions, Images};
pub use up::UpOptions;

#[cfg(doc)]
use crate::{Desired, Observed};

/// Steps, each after some of those before it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What has to be done.
    pub steps: Vec<Step>,
    /// Containers that run already as they should, or have done all they were to do: name and word.
    pub settled: Vec<(String, &'static str)>,
    /// Names of the containers of each service when all is done.
    pub(crate) names: std::collections::BTreeMap<String, Vec<String>>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// Places in the plan of the steps that have to be done before.
    pub after: Vec<usize>,
}

/// A container to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why it is replaced.
    pub reason: String,
}

/// What a step does. Containers go by the name they have when the plan is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes a network.
    CreateNetwork {
        /// In the file.
        key: String,
        /// In full.
        name: String,
    },
    /// Takes a network away; `must` where one with the name is made after it.
    RemoveNetwork {
        /// In full.
        name: String,
        /// Whether it is an error if it is in use.
        must: bool,
    },
    /// Makes a volume.
    CreateVolume {
        /// In the file.
        key: String,
        /// In full.
        name: String,
    },
    /// Takes a volume and what is in it away; `must` where one with the name is made after it.
    RemoveVolume {
        /// In full.
        name: String,
        /// Whether it is an error if it is in use.
        must: bool,
    },
    /// Takes an image away.
    RemoveImage {
        /// Its name.
        name: String,
    },
    /// Makes a container.
    Create {
        /// Its service.
        service: String,
        /// Its number.
        number: u32,
        /// Its name.
        name: String,
        /// The container it takes the place of.
        replaces: Option<Old>,
    },
    /// Gives a container the name it should have.
    Rename {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// Runs what has to end well before a container starts.
    PreStart {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
        /// Whether it is what each container has its own of; else it is what the service has once.
        of_each: bool,
    },
    /// Starts a container.
    Start {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
    },
    /// Stops a container and starts it again.
    Restart {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Stops a container.
    Stop {
        /// Its service.
        service: String,
        /// Its name.
        name: String,
    },
    /// Removes a container that does not run.
    Remove {
        /// Its name.
        name: String,
        /// And the volumes that only it has and nobody named.
        volumes: bool,
    },
    /// Replaces the containers of a service while the old ones go on.
    Roll {
        /// The service.
        service: String,
        /// The old containers, each with the number and name of the new one.
        replacements: Vec<(Old, u32, String)>,
    },
    /// Waits for what other services wait for.
    Wait {
        /// Who is waited for.
        service: String,
        /// Until when.
        condition: Condition,
        /// Whether anybody needs it.
        required: bool,
        /// The containers.
        names: Vec<String>,
    },
}

impl Plan {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Names of the containers there are of these services when all is done.
    pub fn containers(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let meant = self.names.iter().filter(|(service, _)| is_meant(service));
        meant.flat_map(|(_, names)| names.iter().cloned()).collect()
    }

    pub(crate) fn push(&mut self, action: Action, mut after: Vec<usize>) -> usize {
        after.sort_unstable();
        after.dedup();
        self.steps.push(Step { action, after });
        self.steps.len() - 1
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            write!(formatter, "{number:>3}  {}", step.action)?;
            if !step.after.is_empty() {
                let after: Vec<String> = step.after.iter().map(usize::to_string).collect();
                write!(formatter, "  [after {}]", after.join(" "))?;
            }
            writeln!(formatter)?;
        }
        for (name, word) in &self.settled {
            writeln!(formatter, "  -  Container {name}  {word}")?;
        }
        for warning in &self.warnings {
            writeln!(formatter, "warning: {warning}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetwork { name, .. } => write!(formatter, "Network {name}  Create"),
            Self::RemoveNetwork { name, .. } => write!(formatter, "Network {name}  Remove"),
            Self::CreateVolume { name, .. } => write!(formatter, "Volume {name}  Create"),
            Self::RemoveVolume { name, .. } => write!(formatter, "Volume {name}  Remove"),
            Self::RemoveImage { name } => write!(formatter, "Image {name}  Remove"),
            Self::Create {
                name, replaces: None, ..
            } => write!(formatter, "Container {name}  Create"),
            Self::Create {
                name,
                replaces: Some(old),
                ..
            } => write!(formatter, "Container {name}  Recreate ({})", old.reason),
            Self::Rename { name, .. } => write!(formatter, "Container {name}  Rename"),
            Self::PreStart {
                service,
                of_each: false,
                ..
            } => write!(formatter, "Service {service}  Run pre_start"),
            Self::PreStart { name, .. } => write!(formatter, "Container {name}  Run pre_start"),
            Self::Start { name, .. } => write!(formatter, "Container {name}  Start"),
            Self::Restart { name, reason, .. } if reason.is_empty() => {
                write!(formatter, "Container {name}  Restart")
            }
            Self::Restart { name, reason, .. } => {
                write!(formatter, "Container {name}  Restart ({reason})")
            }
            Self::Stop { name, .. } => write!(formatter, "Container {name}  Stop"),
            Self::Remove { name, .. } => write!(formatter, "Container {name}  Remove"),
            Self::Roll {
                service,
                replacements,
            } => {
                let reason = replacements.first().map_or("", |(old, ..)| old.reason.as_str());
                let count = replacements.len();
                write!(
                    formatter,
                    "Service {service}  Update {count}, start first ({reason})"
                )
            }
            Self::Wait {
                service, condition, ..
            } => write!(
                formatter,
                "Service {service}  Wait for {}",
                labels::condition(*condition)
            ),
        }
    }
}
