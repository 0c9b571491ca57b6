//! pip leaves its cache in the layer.
//!
//! ## Why
//! Everything that pip downloads or builds is kept once more in `/root/.cache/pip`, where nobody will look for it. A
//! cache mount keeps it out of the image and still at hand for the next build.
//!
//! ## Bad
//! ```dockerfile
//! FROM python:3.13
//! RUN pip install flask==3.1.1
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM python:3.13
//! RUN pip install --no-cache-dir flask==3.1.1
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::{DockerfileView, Variable};
use crate::{Check, Checker, Finding, Rule};

use super::packages::pip_install;
use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("pip-cache", Severity::Info)
    .aliases(&["DL3042"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = pip_install(ran.command) else {
            continue;
        };
        let off = |value: &str| !matches!(value, "" | "0" | "off" | "false" | "no");
        let by_env = matches!(view.variable(ran.of.step.at, "PIP_NO_CACHE_DIR"), Variable::Known(value) if !value.is_empty());
        let by_command = ran.command.assignments.iter().any(|one| {
            one.name == "PIP_NO_CACHE_DIR" && one.value.as_ref().is_some_and(|value| off(&value.text))
        });
        let told = ran.command.has_flag(None, &["--no-cache-dir", "--cache-dir"]);
        let removed = ran.of.script.commands.iter().any(|command| {
            let removes = command.program() == Some("rm")
                && command.args().iter().any(|word| word.text.contains(".cache"));
            removes
                || command
                    .args()
                    .windows(2)
                    .any(|pair| pair[0].text == "cache" && pair[1].text == "purge")
        });
        if told
            || by_env
            || by_command
            || removed
            || ran.of.is_mounted("/root/.cache/pip")
            || ran.of.has_cache()
        {
            continue;
        }
        let fix =
            Fix::safe("add `--no-cache-dir`").replace(&view.source, call.verb.span, "install --no-cache-dir");
        let mut finding = Finding::new(
            &view.source,
            call.verb.span,
            "the cache of pip becomes part of the layer",
        )
        .help("add `--no-cache-dir`, or mount a cache: `RUN --mount=type=cache,target=/root/.cache/pip`");
        if ran.of.script.shell.is_some() {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}
