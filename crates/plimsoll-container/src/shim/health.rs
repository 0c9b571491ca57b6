//! HEALTHCHECK: a probe now and then, and what follows from its answers.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_runtime::{ProcessSpec, Stdio};
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::chain;
use super::life::Shim;
use super::process::{Child, collect, null};
use crate::model::{Health, HealthCheck, HealthStatus, OnFailure, Probe, Status};

/// Bytes of a probe's output that are kept.
const OUTPUT: usize = 4096;
/// Probes that are kept.
const PROBES: usize = 5;

/// Probes until the container ends (then the task is dropped) or is asked to.
pub(super) async fn watch(shim: Rc<Shim>) {
    let Some(check) = shim.definition().health.clone() else {
        return;
    };
    let started = Instant::now();
    loop {
        let starting = status(&shim) == HealthStatus::Starting;
        let pause = pause(&check, starting, started.elapsed());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shim.changed.notified() => {}
        }
        if !shim.is_running() {
            return;
        }
        if shim.state.borrow().status == Status::Paused {
            continue;
        }
        let in_start_period = starting && started.elapsed() < check.start_period;
        let probe = probe(&shim, &check).await;
        if !shim.is_running() {
            return;
        }
        let before = status(&shim);
        shim.update(|state| {
            if let Some(health) = &mut state.health {
                health.record(probe, &check, in_start_period);
            }
        });
        let after = status(&shim);
        if before != after {
            shim.event(&format!("health_status: {}", after.as_str()), []);
        }
        if after == HealthStatus::Unhealthy && check.on_failure != OnFailure::None {
            return give_up(&shim, check.on_failure);
        }
    }
}

fn status(shim: &Shim) -> HealthStatus {
    let state = shim.state.borrow();
    state
        .health
        .as_ref()
        .map_or(HealthStatus::Starting, |health| health.status)
}

/// Does what `--health-on-failure` says with a container that is unhealthy.
fn give_up(shim: &Rc<Shim>, action: OnFailure) {
    let definition = shim.definition();
    let (signal, timeout) = match action {
        OnFailure::None => return,
        OnFailure::Kill => (9, None),
        OnFailure::Restart => {
            shim.will_run_again();
            (definition.stop_signal.number, Some(definition.grace()))
        }
        OnFailure::Stop => {
            shim.will_stop(false);
            (definition.stop_signal.number, Some(definition.grace()))
        }
    };
    let shim = shim.clone();
    // Not in this task, which has to end with the program.
    tokio::task::spawn_local(async move {
        if let Err(error) = shim.terminate(signal, timeout).await {
            eprintln!("cannot stop what is unhealthy: {}", chain(&error));
        }
    });
}

/// How long to wait before the next probe: more often in the start period, as Docker does since 25.
fn pause(check: &HealthCheck, starting: bool, elapsed: Duration) -> Duration {
    if starting && elapsed < check.start_period {
        return check
            .start_interval
            .min(check.start_period - elapsed)
            .max(Duration::from_millis(1));
    }
    check.interval
}

impl Health {
    /// Draws the conclusion from a probe. Failures in the start period are kept but not counted.
    fn record(&mut self, probe: Probe, check: &HealthCheck, in_start_period: bool) {
        if probe.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if !in_start_period {
            self.failing_streak += 1;
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.push(probe);
        let surplus = self.log.len().saturating_sub(PROBES);
        self.log.drain(..surplus);
    }
}

async fn probe(shim: &Shim, check: &HealthCheck) -> Probe {
    let start = Timestamp::now();
    let (exit_code, output) = match run(shim, check).await {
        Ok(done) => done,
        Err(message) => (-1, message),
    };
    Probe {
        start,
        end: Timestamp::now(),
        exit_code,
        output,
    }
}

/// Runs one probe to its end or its time-out.
async fn run(shim: &Shim, check: &HealthCheck) -> Result<(i32, String), String> {
    let io = |error: std::io::Error| error.to_string();
    let (output, output_end) = std::io::pipe().map_err(io)?;
    let output = pipe::Receiver::from_owned_fd(output.into()).map_err(io)?;
    let stderr = output_end.try_clone().map_err(io)?.into();
    let stdio = Stdio::Pipes {
        stdin: null().map_err(io)?,
        stdout: output_end.into(),
        stderr,
    };
    let definition = shim.definition();
    let spec = &definition.spec;
    let process = ProcessSpec {
        args: check.args.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        user: spec.user.clone(),
        tty: false,
        privileged: spec.privileged,
    };
    let pid = shim
        .runtime
        .borrow_mut()
        .exec(&process, stdio)
        .map_err(|error| chain(&error))?;
    let child = Child::new(pid).map_err(io)?;

    let collected = RefCell::new(Vec::new());
    let mut reading = std::pin::pin!(collect(output, OUTPUT, &collected));
    let deadline = Instant::now() + check.timeout;
    let mut open = true;
    let exit = {
        let mut waiting = std::pin::pin!(tokio::time::timeout_at(deadline, child.wait()));
        loop {
            tokio::select! {
                exit = &mut waiting => break exit,
                _ = &mut reading, if open => open = false,
            }
        }
    };
    let text = || String::from_utf8_lossy(&collected.borrow()).into_owned();
    match exit {
        Ok(exit) => {
            // What it wrote last may still be in the pipe; a process it left behind may hold the pipe for ever.
            if open {
                let _ = tokio::time::timeout(Duration::from_millis(10), &mut reading).await;
            }
            Ok((exit.map_err(io)?.code(), text()))
        }
        Err(_) => {
            child.kill_group();
            let _ = child.wait().await;
            let limit = humantime(check.timeout);
            let text = text();
            let separator = if text.is_empty() { "" } else { ": " };
            Ok((
                -1,
                format!("Health check exceeded timeout ({limit}){separator}{text}"),
            ))
        }
    }
}

/// Writes a duration as Go does: `30s`, `1m30s`, `500ms`.
fn humantime(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds / 60, seconds % 60, millis) {
        (0, 0, millis) => format!("{millis}ms"),
        (0, seconds, 0) => format!("{seconds}s"),
        (0, seconds, millis) => format!("{}s", f64::from(millis) / 1000.0 + seconds as f64),
        (minutes, seconds, _) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            test: Vec::new(),
            args: Vec::new(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start_period: Duration::from_secs(12),
            start_interval: Duration::from_secs(5),
            retries: 3,
            on_failure: OnFailure::None,
        }
    }

    fn answer(exit_code: i32) -> Probe {
        Probe {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code,
            output: String::new(),
        }
    }

    #[test]
    fn three_failures_in_a_row_are_unhealthy() {
        let mut health = Health::default();
        for (exit_code, status, streak) in [
            (1, HealthStatus::Starting, 1),
            (1, HealthStatus::Starting, 2),
            (0, HealthStatus::Healthy, 0),
            (1, HealthStatus::Healthy, 1),
            (-1, HealthStatus::Healthy, 2),
            (1, HealthStatus::Unhealthy, 3),
            (1, HealthStatus::Unhealthy, 4),
            (0, HealthStatus::Healthy, 0),
        ] {
            health.record(answer(exit_code), &check(), false);
            assert_eq!((health.status, health.failing_streak), (status, streak));
        }
        assert_eq!(health.log.len(), 5);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let mut health = Health::default();
        for _ in 0..9 {
            health.record(answer(1), &check(), true);
        }
        assert_eq!(
            (health.status, health.failing_streak),
            (HealthStatus::Starting, 0)
        );
        health.record(answer(0), &check(), true);
        assert_eq!(health.status, HealthStatus::Healthy);
    }

    #[test]
    fn probes_come_faster_in_the_start_period() {
        let check = check();
        assert_eq!(pause(&check, true, Duration::ZERO), Duration::from_secs(5));
        assert_eq!(
            pause(&check, true, Duration::from_secs(10)),
            Duration::from_secs(2)
        );
        assert_eq!(
            pause(&check, true, Duration::from_secs(12)),
            Duration::from_secs(30)
        );
        assert_eq!(pause(&check, false, Duration::ZERO), Duration::from_secs(30));
    }

    #[test]
    fn durations_read_as_gos() {
        for (millis, text) in [
            (500, "500ms"),
            (30_000, "30s"),
            (1_500, "1.5s"),
            (90_000, "1m30s"),
        ] {
            assert_eq!(humantime(Duration::from_millis(millis)), text);
        }
    }
}
