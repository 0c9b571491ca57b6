//! USER names the user by name.
//!
//! ## Why
//! Kubernetes cannot tell that `app` is not root: `runAsNonRoot` refuses the pod. A number says it, and means the same
//! on every host that a volume comes from.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! USER nobody
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! USER 65534
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("user-not-numeric", Severity::Info)
    .aliases(&["DL3066"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in view.shipped() {
        let last = view.chain(stage).find_map(|stage| {
            let mut steps = view.steps_of(stage).rev();
            steps.find_map(|step| match step.kind() {
                InstructionKind::User(user) => Some((step.at, user)),
                _ => None,
            })
        });
        let Some((at, user)) = last else { continue };
        let Some(value) = view.expand(at, user) else {
            continue;
        };
        let name = value.split(':').next().unwrap_or_default();
        if name.is_empty() || name == "root" || name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        checker.report(
            Finding::new(&view.source, user.span, format!("user `{name}` is not a number")).help(
                "write its number, as in `USER 65532:65532`: Kubernetes can see then that it is not root",
            ),
        );
    }
}
