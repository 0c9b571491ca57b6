//! Health checks as probes.
//!
//! An unhealthy container keeps running with Compose, and dependents wait for healthy ones: that is a readiness probe. A
//! liveness probe restarts, which is only done where the file asks for it (`autoheal`, `x-autoheal`).

use std::time::Duration;

use plimsoll_compose_file::model::{Healthcheck, Service};
use serde_json::{Value, json};

use crate::app::App;
use crate::manifest::Fields;

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: i64 = 3;
/// A start that takes long is no reason to end a container.
const FOREVER: i32 = i32::MAX;

/// The health check of a service, with what its image says.
pub(crate) fn of(app: &App<'_>, name: &str, service: &Service) -> Option<Healthcheck> {
    let image = app.images.get(name).and_then(|image| image.healthcheck.clone());
    let mut check = match (service.healthcheck.clone(), image) {
        (None, image) => image?,
        (Some(own), image) if own.test.is_empty() && !own.disable => {
            let image = image?;
            Healthcheck {
                disable: false,
                test: image.test,
                interval: own.interval.or(image.interval),
                timeout: own.timeout.or(image.timeout),
                retries: own.retries.or(image.retries),
                start_period: own.start_period.or(image.start_period),
                start_interval: own.start_interval.or(image.start_interval),
            }
        }
        (Some(own), _) => own,
    };
    check.interval = check.interval.filter(|interval| !interval.is_zero());
    let is_off = check.disable || command(&check).is_empty();
    (!is_off).then_some(check)
}

/// Adds the probes of a container.
pub(crate) fn add(app: &App<'_>, name: &str, service: &Service, container: &mut Fields) {
    let Some(check) = of(app, name, service) else {
        return;
    };
    let interval = check.interval.unwrap_or(INTERVAL);
    let retries = check.retries.filter(|retries| *retries > 0).unwrap_or(RETRIES);
    container.set("readinessProbe", probe(&check, interval, retries));
    if let Some(starting) = check
        .start_interval
        .filter(|starting| *starting < interval && !starting.is_zero())
    {
        container.set("startupProbe", probe(&check, starting, FOREVER.into()));
    }
    if service.is_healed() {
        let mut liveness = probe(&check, interval, retries);
        if let Some(period) = check.start_period.filter(|period| !period.is_zero()) {
            liveness["initialDelaySeconds"] = json!(seconds(period));
        }
        container.set("livenessProbe", liveness);
    }
}

fn probe(check: &Healthcheck, interval: Duration, failures: i64) -> Value {
    json!({
        "exec": { "command": command(check) },
        "periodSeconds": seconds(interval),
        "timeoutSeconds": seconds(check.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(INTERVAL)),
        "failureThreshold": failures,
    })
}

/// The words of a test; none where it says that there is none.
fn command(check: &Healthcheck) -> Vec<String> {
    match check.test.split_first() {
        Some((kind, rest)) if kind == "CMD-SHELL" => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.join(" ")]
        }
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        _ => Vec::new(),
    }
}

/// Probes count in whole seconds.
pub(crate) fn seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}
