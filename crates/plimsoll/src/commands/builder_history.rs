//! `builder history …`: builds of the past.

pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod rm;

use std::time::Duration;

use plimsoll_build::record::{BuildRecord, BuildStatus, BuildSummary, History, HistoryError};

use crate::command_error::{CommandError, Kind};
use crate::context::Context;

/// Which build is meant.
#[derive(clap::Args)]
pub(crate) struct Reference {
    /// ID or its beginning, or `^N` for the one N builds before the last [default: the last]
    #[arg(value_name = "BUILD", default_value = "", hide_default_value = true)]
    build: String,
    /// Accepted for Docker's sake: there is one builder
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

impl Reference {
    fn find(&self, context: &Context) -> Result<(History, BuildSummary), CommandError> {
        let history = History::new(context.store()?);
        let build = history.find(&self.build)?;
        Ok((history, build))
    }

    /// The record of a build that is over.
    fn load(&self, context: &Context) -> Result<(History, BuildRecord), CommandError> {
        let (history, build) = self.find(context)?;
        match history.load(&build.id) {
            Err(HistoryError::NoRecord(id)) if build.status == BuildStatus::Running => {
                Err(CommandError::user(format!("build `{id}` has not ended yet")))
            }
            record => Ok((history, record?)),
        }
    }
}

/// In buildx's words.
fn status_word(status: BuildStatus) -> &'static str {
    match status {
        BuildStatus::Running => "Running",
        BuildStatus::Completed => "Completed",
        BuildStatus::Failed => "Error",
        BuildStatus::Canceled => "Canceled",
    }
}

/// `1.2s`, `2m  3s`, as buildx prints it.
fn short_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        _ => format!("{}m {:2}s", seconds / 60, seconds % 60),
    }
}

impl From<HistoryError> for CommandError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Store(error) => error.into(),
            HistoryError::Unknown(name) if name.is_empty() => Self::not_found("no build is remembered yet"),
            error @ (HistoryError::Unknown(_) | HistoryError::Ambiguous(_)) => {
                Self::new(Kind::NotFound, error).hint("`plimsoll builder history ls` lists the builds")
            }
            error @ HistoryError::NoRecord(_) => {
                Self::new(Kind::User, error).hint("its process was killed before it could write one")
            }
            error => Self::new(Kind::Internal, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_buildx_prints_them() {
        for (milliseconds, shown) in [
            (40, "0.0s"),
            (1_250, "1.2s"),
            (59_940, "59.9s"),
            (63_000, "1m  3s"),
            (3_600_000, "60m  0s"),
        ] {
            assert_eq!(short_duration(Duration::from_millis(milliseconds)), shown);
        }
    }
}
