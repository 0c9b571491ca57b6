//! VOLUME is put on a folder of the system.
//!
//! ## Why
//! A volume on `/dev`, `/proc` or `/sys` hides what the kernel shows there, and many programs need it.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! VOLUME /dev
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! VOLUME /data
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::rules::image::look;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("volume-system-dir", Severity::Error)
    .aliases(&["DKL-DI-0002"])
    .checks(&[Check::Dockerfile(check), Check::Image(look::volume_system_dir)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Volume(folders) = step.effective() else {
            continue;
        };
        for folder in folders {
            let Some(path) = view.expand(step.at, folder) else {
                continue;
            };
            if matches!(path.trim_end_matches('/'), "/dev" | "/proc" | "/sys" | "") {
                let message = format!("a volume on `{path}` hides what the system has there");
                checker.report(Finding::new(&view.source, folder.span, message));
            }
        }
    }
}
