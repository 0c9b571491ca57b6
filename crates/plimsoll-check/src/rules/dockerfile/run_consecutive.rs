//! A RUN follows another one directly, and each makes a layer of the image.
//!
//! ## Why
//! What one RUN writes and the next one deletes stays in the image, and every layer costs a little when it is pulled
//! and mounted. Only stages that ship are looked at: in a build stage, several RUNs make for a finer cache.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN mkdir /data
//! RUN chmod 700 /data
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN mkdir /data \
//!     && chmod 700 /data
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

use super::edits::join_runs;

pub(super) const RULE: Rule = Rule::new("run-consecutive", Severity::Info)
    .aliases(&["DL3059"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let mut looked: Vec<usize> = Vec::new();
    for stage in view.shipped().flat_map(|stage| view.chain(stage)) {
        if looked.contains(&stage.index) {
            continue;
        }
        looked.push(stage.index);
        let steps: Vec<Step<'_>> = view.steps_of(stage).collect();
        for pair in steps.windows(2) {
            let (InstructionKind::Run(before), InstructionKind::Run(run)) = (pair[0].kind(), pair[1].kind())
            else {
                continue;
            };
            let same = before.mounts.len() == run.mounts.len()
                && before.network.as_ref().map(|word| &word.value)
                    == run.network.as_ref().map(|word| &word.value)
                && before.security.as_ref().map(|word| &word.value)
                    == run.security.as_ref().map(|word| &word.value)
                && before
                    .mounts
                    .iter()
                    .zip(&run.mounts)
                    .all(|(a, b)| a.value == b.value);
            // Who has joined several commands has decided where a layer ends.
            let single = |step: &Step<'_>| {
                let script = view.script(step.at);
                script.is_some_and(|script| script.plain().count() == 1)
            };
            let documents = !before.heredocs.is_empty() || !run.heredocs.is_empty();
            if !same || documents || !pair.iter().all(single) {
                continue;
            }
            let mut finding = Finding::new(
                &view.source,
                pair[1].instruction.keyword.span,
                "this RUN could be part of the one before",
            )
            .help("join them with `&&`, or leave them apart where that makes the cache better")
            .label(pair[0].instruction.keyword.span, "the one before");
            if let Some(fix) = join_runs(Fix::ask("join the two"), view, pair[0], pair[1]) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}
