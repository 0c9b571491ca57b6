//! WORKDIR is a folder of the system.
//!
//! ## Why
//! What an application writes among `/bin`, `/etc` or `/proc` cannot be told from the system's own files, and may cover
//! them.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! WORKDIR /usr/bin
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! WORKDIR /app
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("workdir-system-dir", Severity::Warning)
    .aliases(&["DS-0030"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    const SYSTEM: [&str; 12] = [
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/lib64",
        "/proc",
        "/sbin",
        "/sys",
        "/usr/bin",
        "/usr/sbin",
        "/usr/lib",
    ];
    for step in view.steps() {
        let InstructionKind::Workdir(folder) = step.effective() else {
            continue;
        };
        let Some(path) = view.expand(step.at, folder) else {
            continue;
        };
        let path = path.trim_end_matches('/');
        let below = |system: &str| {
            path == system
                || matches!(system, "/proc" | "/sys" | "/dev") && path.starts_with(&format!("{system}/"))
        };
        if SYSTEM.into_iter().any(below) {
            let message = format!("`{path}` belongs to the system");
            checker.report(
                Finding::new(&view.source, folder.span, message).help("use a folder of your own, as `/app`"),
            );
        }
    }
}
