//! A service runs what lies in the folder, not what was built.
//!
//! ## Why
//! `.:/app` lays the sources over the files of the image: what was tested and pushed is not what runs, and without the folder
//! nothing runs. That is good for development, where a file of its own (`compose.override.yaml`) or `develop: watch:` has
//! its place.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     build: .
//!     volumes:
//!       - .:/app
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     build: .
//!     develop:
//!       watch:
//!         - action: sync
//!           path: .
//!           target: /app
//! ```

use camino::Utf8Path;
use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("source-bind-mount", Severity::Info).checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    if view.for_development {
        return;
    }
    for service in services(view) {
        let context = service
            .at(&["build", "context"])
            .and_then(|context| context.as_text());
        for mount in service.mounts().into_iter().filter(|mount| mount.kind == "bind") {
            let source = Utf8Path::new(mount.source);
            let is_project =
                source == service.project.folder || context.is_some_and(|context| source == context);
            if is_project {
                let message = format!(
                    "service `{}` runs the files of this folder instead of its image's",
                    service.name
                );
                checker.report(
                    Finding::at(&mount.node.place, message)
                        .help("put it into compose.override.yaml, or use `develop: watch:`"),
                );
            }
        }
    }
}
