//! When to ask again.

use std::time::{Duration, SystemTime};

use crate::error::Failure;

/// Most pauses of one request.
const PAUSES: u32 = 5;
/// The first pause; each later one is twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// A registry may not ask for more patience than this.
const LONGEST: Duration = Duration::from_secs(60);

/// The patience one request has with one host.
pub(crate) struct Retry {
    pauses: u32,
    reconnects: u32,
}

impl Retry {
    /// Starts anew. A `mirror` that cannot be reached is not waited for: the next host is.
    pub(crate) fn new(mirror: bool) -> Self {
        Self {
            pauses: 0,
            reconnects: if mirror { 0 } else { 2 },
        }
    }

    /// Forgets earlier failures, because the request has got on.
    pub(crate) fn reset(&mut self) {
        self.pauses = 0;
    }

    /// Waits if asking again may help, else hands the failure back.
    pub(crate) async fn pause(&mut self, failure: Failure) -> Result<(), Failure> {
        let Some(asked) = self.wait(&failure) else {
            return Err(failure);
        };
        let pause = asked.unwrap_or(FIRST * 2_u32.pow(self.pauses) + jitter());
        self.pauses += 1;
        tracing::debug!(%failure, ?pause, "asking again");
        tokio::time::sleep(pause.min(LONGEST)).await;
        Ok(())
    }

    /// Tells whether to wait, and how long if the registry said it.
    fn wait(&self, failure: &Failure) -> Option<Option<Duration>> {
        let limit = if matches!(failure, Failure::Unreachable { .. }) {
            self.reconnects
        } else {
            PAUSES
        };
        if self.pauses >= limit {
            return None;
        }
        match failure {
            Failure::Status {
                status: 408 | 425 | 429 | 500..=599,
                retry_after,
                ..
            } => Some(*retry_after),
            Failure::Broken { .. } | Failure::Unreachable { .. } => Some(None),
            _ => None,
        }
    }
}

/// Keeps many clients from coming back in the same moment.
fn jitter() -> Duration {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_nanos();
    Duration::from_millis(u64::from(nanos / 1000 % 100))
}

/// Reads `Retry-After` in seconds; the form with a date is rare, and the usual pause does as well.
pub(crate) fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(reqwest::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Failure {
        Failure::Status {
            status,
            message: String::new(),
            retry_after: None,
        }
    }

    #[test]
    fn asks_again_only_where_it_may_help() {
        let retry = Retry::new(false);
        for again in [status(429), status(500), status(503), Failure::broken("x")] {
            assert!(retry.wait(&again).is_some(), "{again}");
        }
        for never in [
            status(400),
            status(405),
            Failure::NotFound {
                message: String::new(),
            },
            Failure::invalid("x"),
        ] {
            assert!(retry.wait(&never).is_none(), "{never}");
        }
    }

    #[test]
    fn an_unreachable_mirror_is_not_waited_for() {
        let failure = Failure::Unreachable {
            reason: "connection refused".to_owned(),
        };
        assert!(Retry::new(true).wait(&failure).is_none());
        assert!(Retry::new(false).wait(&failure).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_in_the_end() {
        let mut retry = Retry::new(false);
        for _ in 0..PAUSES {
            retry.pause(status(500)).await.unwrap();
        }
        assert!(retry.pause(status(500)).await.is_err());
        retry.reset();
        assert!(retry.pause(status(500)).await.is_ok());
    }
}
