//! What there is of a project, by the labels of its things.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plimsoll_container::{Container, Status};
use serde_json::Value;

use crate::labels;

/// Everything a project has at the moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Its containers, by name.
    pub members: Vec<Seen>,
    /// All networks there are, by name.
    pub networks: BTreeMap<String, Thing>,
    /// All volumes there are, by name.
    pub volumes: BTreeMap<String, Thing>,
    /// Ids of the images that services have at the moment; nothing for one that is not here.
    pub images: BTreeMap<String, String>,
    /// Of each service, files of the host that it mounts and that are not there: source and target.
    pub missing_files: BTreeMap<String, Vec<(String, String)>>,
    /// Containers whose secrets or configs are not what they are to be: which of them.
    pub stale_files: BTreeMap<String, String>,
}

/// A container, as far as plans go.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Its number in the service.
    pub number: u32,
    /// Whether it is one of `run`.
    pub one_off: bool,
    /// Fingerprint of the service that it was made from.
    pub hash: String,
    /// Id of its image.
    pub image: String,
    /// What it does.
    pub status: Status,
    /// How it ended.
    pub exit_code: i32,
    /// Whether somebody stopped it.
    pub stopped_by_user: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Names of the networks it is or will be on.
    pub networks: BTreeSet<String>,
    /// Names of its volumes.
    pub volumes: BTreeSet<String>,
    /// Whether it runs without a port that it is to have.
    pub lacks_ports: bool,
    /// The service that it was made from.
    pub origin: Option<Value>,
    /// What its service depends on, and whether it is restarted with that.
    pub depends_on: BTreeMap<String, bool>,
}

impl Seen {
    /// A container that says which service it is of. `networks` are those it has a place on.
    pub(crate) fn of(container: &Container, networks: BTreeSet<String>) -> Option<Self> {
        let (definition, state) = (&container.definition, &container.state);
        let label = |name: &str| definition.labels.get(name).cloned().unwrap_or_default();
        let volumes = definition.mounts.iter();
        Some(Self {
            service: definition.labels.get(labels::SERVICE)?.clone(),
            number: label(labels::NUMBER).parse().unwrap_or(0),
            one_off: label(labels::ONE_OFF) == "True",
            hash: label(labels::CONFIG_HASH),
            image: definition.image_id.clone(),
            depends_on: labels::dependencies(&label(labels::DEPENDS_ON)),
            id: definition.id.clone(),
            name: container.name.clone(),
            status: state.status,
            exit_code: state.exit_code,
            stopped_by_user: state.stopped_by_user,
            created: definition.created,
            networks,
            volumes: volumes.filter_map(|point| point.volume.clone()).collect(),
            lacks_ports: container.lacks_ports(),
            origin: definition.origin.clone(),
        })
    }

    /// Whether it is supervised.
    pub fn is_running(&self) -> bool {
        self.status.is_alive()
    }

    /// Whether it has ended with 0.
    pub(crate) fn exited_well(&self) -> bool {
        self.status == Status::Exited && self.exit_code == 0
    }
}

/// A network or a volume.
#[derive(Clone, Debug, Default)]
pub struct Thing {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Thing {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Observed {
    /// The containers of a service, but for those of `run`.
    pub fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Seen> {
        let members = self.members.iter();
        members.filter(move |member| member.service == service && !member.one_off)
    }
}
