//! An ENV uses a variable that it sets itself.
//!
//! ## Why
//! All values of one ENV are read before any is set: the reference gives the value from before, which is mostly none.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ENV HOME=/app BIN=$HOME/bin
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ENV HOME=/app
//! ENV BIN=$HOME/bin
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::{DockerfileView, Variable};
use crate::{Check, Checker, Finding, Rule};

use super::variables;

pub(super) const RULE: Rule = Rule::new("env-self-reference", Severity::Error)
    .aliases(&["DL3044"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Env(pairs) = step.effective() else {
            continue;
        };
        for pair in pairs {
            for used in variables::used(view, &pair.value) {
                // `PATH=$PATH:/x` adds to what is there.
                let other = pairs
                    .iter()
                    .any(|other| other.key.value == used.name && other.key.span != pair.key.span);
                let known = view.variable(step.at, &used.name) != Variable::Undefined;
                if other && !known {
                    let message = format!(
                        "`${}` is set by this ENV itself, so it is not known here yet",
                        used.name
                    );
                    checker.report(
                        Finding::new(&view.source, used.span, message).help("write two ENV instructions"),
                    );
                }
            }
        }
    }
}
