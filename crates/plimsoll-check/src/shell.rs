//! Shell text inside RUN, parsed.

use crate::view::DockerfileView;

/// The commands of one RUN (or CMD, ENTRYPOINT, HEALTHCHECK in shell form).
#[derive(Debug)]
pub struct Script {}

impl Script {
    /// Parses the shell text of an instruction; none where it has none, or where its shell is no POSIX shell.
    pub(crate) fn of(_view: &DockerfileView, _at: usize) -> Option<Self> {
        None
    }
}
