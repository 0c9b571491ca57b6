//! An archive is copied and unpacked afterwards.
//!
//! ## Why
//! The archive stays in its layer even when it is removed later. ADD unpacks it on the way in.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! COPY app.tar.gz /tmp/
//! RUN tar -xzf /tmp/app.tar.gz -C /opt && rm /tmp/app.tar.gz
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! ADD app.tar.gz /opt/
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::copies;
use super::runs::runs_of;

pub(super) const RULE: Rule = Rule::new("add-archive", Severity::Info)
    .aliases(&["DL3010"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        for step in view.steps_of(stage) {
            let InstructionKind::Copy(copy) = step.kind() else {
                continue;
            };
            if copy.from.is_some() {
                continue;
            }
            let archives = copies::paths(&copy.sources)
                .filter(|path| copies::ARCHIVES.iter().any(|end| path.value.ends_with(end)));
            for archive in archives {
                let name = archive.value.rsplit('/').next().unwrap_or_default();
                let unpacked = runs_of(view, stage)
                    .filter(|run| run.step.at > step.at)
                    .any(|run| {
                        let mut tars = run.commands().filter(|ran| ran.command.program() == Some("tar"));
                        tars.any(|ran| ran.command.args().iter().any(|word| word.text.ends_with(name)))
                    });
                if unpacked {
                    checker.report(
                        Finding::new(
                            &view.source,
                            archive.span,
                            format!("`{name}` is copied as it is and unpacked by a later RUN"),
                        )
                        .help("write ADD: it unpacks the archive, which then takes no room in a layer"),
                    );
                }
            }
        }
    }
}
