//! The shell is changed by a link over /bin/sh.
//!
//! ## Why
//! Programs of the distribution count on what `/bin/sh` was. SHELL says what RUN uses and changes nothing else.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN ln -sf /bin/bash /bin/sh
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! SHELL ["/bin/bash", "-c"]
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::called;

pub(super) const RULE: Rule = Rule::new("shell-changed-by-link", Severity::Warning)
    .aliases(&["DL4005"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["ln"]) {
        if ran
            .command
            .operands(&[])
            .last()
            .is_some_and(|target| target.text == "/bin/sh")
        {
            checker.report(
                Finding::new(
                    &view.source,
                    ran.command.span,
                    "`/bin/sh` is replaced by another shell",
                )
                .help("write `SHELL [\"/bin/bash\", \"-c\"]`"),
            );
        }
    }
}
