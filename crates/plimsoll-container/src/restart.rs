//! `--restart`: whether a container is started again, and when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ContainerError, Result};

/// Pause before the first restart.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// A container that has run for so long was well: the next pause is the first one again.
const WELL: Duration = Duration::from_secs(10);

/// What happens when a container's program has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It is started again when it has failed.
    OnFailure {
        /// At most so many times; 0 is for ever.
        retries: u32,
    },
    /// It is started again, also after a boot.
    Always,
    /// It is started again, after a boot only if nobody had stopped it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Parses `no`, `on-failure[:RETRIES]`, `always` or `unless-stopped`; errors are in Docker's words.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason: &str| Err(ContainerError::Option(reason.to_owned()));
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (text, None),
        };
        let count = match count.map(str::parse::<i64>) {
            Some(Err(_)) => {
                return wrong("invalid restart policy format: maximum retry count must be an integer");
            }
            Some(Ok(count)) => Some(count),
            None => None,
        };
        let policy = match name {
            "no" | "" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                return match u32::try_from(count.unwrap_or(0)) {
                    Ok(retries) => Ok(Self::OnFailure { retries }),
                    Err(_) => wrong("invalid restart policy: maximum retry count cannot be negative"),
                };
            }
            other => {
                return wrong(&format!(
                    "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
                ));
            }
        };
        match count {
            None | Some(0) => Ok(policy),
            Some(_) => {
                wrong("invalid restart policy: maximum retry count can only be used with 'on-failure'")
            }
        }
    }

    /// Returns Docker's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// Returns how often at most; 0 is for ever.
    pub fn retries(self) -> u32 {
        match self {
            Self::OnFailure { retries } => retries,
            _ => 0,
        }
    }

    /// Whether a program that ended by itself with `exit_code`, after `restarts`, is started again.
    pub(crate) fn applies(self, exit_code: i32, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure { retries } => exit_code != 0 && (retries == 0 || restarts < retries),
        }
    }
}

/// The pause before each restart: twice as long each time, until the container has run for a while.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// Returns the pause after a run of `ran`.
    pub(crate) fn next(&mut self, ran: Duration) -> Duration {
        self.0 = if self.0.is_zero() || ran >= WELL {
            FIRST
        } else {
            (self.0 * 2).min(LONGEST)
        };
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_as_docker_writes_them() {
        for (text, policy) in [
            ("no", RestartPolicy::No),
            ("", RestartPolicy::No),
            ("always", RestartPolicy::Always),
            ("always:0", RestartPolicy::Always),
            ("unless-stopped", RestartPolicy::UnlessStopped),
            ("on-failure", RestartPolicy::OnFailure { retries: 0 }),
            ("on-failure:3", RestartPolicy::OnFailure { retries: 3 }),
        ] {
            assert_eq!(RestartPolicy::parse(text).unwrap(), policy, "{text}");
        }
        for (text, word) in [
            ("bogus", "unknown policy 'bogus'"),
            ("no:3", "can only be used with 'on-failure'"),
            ("on-failure:x", "must be an integer"),
            ("on-failure:-1", "cannot be negative"),
        ] {
            let error = RestartPolicy::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn who_is_started_again() {
        let some = RestartPolicy::OnFailure { retries: 2 };
        assert!(some.applies(1, 0) && some.applies(137, 1));
        assert!(!some.applies(1, 2) && !some.applies(0, 0));
        assert!(RestartPolicy::OnFailure { retries: 0 }.applies(1, 9999));
        assert!(RestartPolicy::Always.applies(0, 9999) && RestartPolicy::UnlessStopped.applies(0, 0));
        assert!(!RestartPolicy::No.applies(1, 0));
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..12)
            .map(|_| backoff.next(Duration::from_secs(1)).as_millis())
            .collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[9..], [51_200, 60_000, 60_000]);
        assert_eq!(backoff.next(Duration::from_secs(10)).as_millis(), 100);
        assert_eq!(backoff.next(Duration::from_secs(9)).as_millis(), 200);
    }
}
