//! A service waits for the health of another that is never looked at.
//!
//! ## Why
//! `condition: service_healthy` needs a health check: in the service, in its Dockerfile or in its image. Without one,
//! `compose up` fails: the dependency has no healthcheck configured.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     depends_on:
//!       db:
//!         condition: service_healthy
//!   db:
//!     image: postgres:17
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     depends_on:
//!       db:
//!         condition: service_healthy
//!   db:
//!     image: postgres:17
//!     healthcheck:
//!       test: pg_isready -U postgres
//! ```

use plimsoll_compose_file::Node;
use plimsoll_diagnostics::Severity;

use crate::rules::compose::health::of_image;
use crate::rules::compose::service::{Service, services};
use crate::view::{ComposeView, Workspace};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("depends-on-unhealthy-target", Severity::Error).checks(&[Check::Cross(check)]);

fn check(workspace: &Workspace, checker: &mut Checker<'_>) {
    for view in &workspace.projects {
        let services = services(view);
        for service in &services {
            for entry in service.get("depends_on").map_or(&[][..], Node::entries) {
                let Some(condition) = entry.value.get("condition") else {
                    continue;
                };
                let target = services.iter().find(|target| target.name == entry.key);
                let waits = condition.as_text() == Some("service_healthy");
                let Some(target) = target.filter(|_| waits) else {
                    continue;
                };
                if is_checked(view, target, workspace) == Some(false) {
                    let message = format!(
                        "service `{}` has no health check that could be waited for",
                        target.name
                    );
                    checker.report(Finding::at(&condition.place, message).help(format!(
                        "add `healthcheck:` to `{}`, or HEALTHCHECK to its Dockerfile",
                        target.name
                    )));
                }
            }
        }
    }
}

/// None where nobody can tell: the image is not at hand.
fn is_checked(view: &ComposeView, service: &Service<'_>, workspace: &Workspace) -> Option<bool> {
    service
        .healthcheck()
        .or_else(|| of_image(view, service, workspace))
}
