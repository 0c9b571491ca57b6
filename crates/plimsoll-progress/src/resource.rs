//! Things of a project that are being made, started, waited for or taken away.

use jiff::Timestamp;

use crate::{Event, Progress};

/// Where one thing stands; the whole state each time. The fields and words are those of Docker Compose's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Kind and name, as the user reads them: `Container shop-db-1`, `Network shop_default`, `Volume shop_data`,
    /// `Image redis:7`.
    pub id: String,
    /// Where it stands.
    pub state: ResourceState,
    /// What is done with it: `Starting`, `Started`, `Waiting`, `Healthy`, `Recreated`.
    pub text: String,
    /// Why, if that helps: `environment.DEBUG changed`, `exited (3)`. Empty when there is nothing to say.
    pub detail: String,
    /// When it was said.
    pub timestamp: Timestamp,
}

/// See [`Resource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceState {
    /// Something goes on.
    Working,
    /// It is as it should be.
    Done,
    /// It is not, and the work goes on.
    Warning,
    /// It is not, and the work fails.
    Error,
}

impl Progress {
    /// Reports that something goes on: `progress.working("Container shop-db-1", "Starting")`.
    pub fn working(&self, id: &str, text: &str) {
        self.resource(id, ResourceState::Working, text, "");
    }

    /// Reports that a thing is as it should be: `progress.ready("Container shop-db-1", "Started")`.
    pub fn ready(&self, id: &str, text: &str) {
        self.resource(id, ResourceState::Done, text, "");
    }

    /// Reports where a thing stands, and why.
    pub fn resource(&self, id: &str, state: ResourceState, text: &str, detail: &str) {
        self.send(|| {
            Event::Resource(Resource {
                id: id.to_owned(),
                state,
                text: text.to_owned(),
                detail: detail.to_owned(),
                timestamp: Timestamp::now(),
            })
        });
    }
}
