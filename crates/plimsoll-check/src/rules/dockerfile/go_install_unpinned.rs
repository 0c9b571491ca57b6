//! A Go program is installed without a version.
//!
//! ## Why
//! `go install` of a path with `@latest`, or with no version at all, gives another program another day.
//!
//! ## Bad
//! ```dockerfile
//! FROM golang:1.24
//! RUN go install golang.org/x/tools/gopls@latest
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM golang:1.24
//! RUN go install golang.org/x/tools/gopls@v0.20.0
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::packages::is_dynamic;
use super::runs::called;

pub(super) const RULE: Rule = Rule::new("go-install-unpinned", Severity::Info)
    .aliases(&["DL3062"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["go"]) {
        let mut operands = ran
            .command
            .operands(&["-C", "-ldflags", "-tags", "-gcflags", "-o", "-p", "-mod"]);
        let verb = operands.next().map(|word| word.text.as_str());
        if !matches!(verb, Some("install" | "get")) {
            continue;
        }
        for package in operands.filter(|word| !is_dynamic(word)) {
            // A path of the project itself is no module of somebody else's.
            let foreign = package
                .text
                .split('/')
                .next()
                .is_some_and(|host| host.contains('.') && !host.starts_with('.'));
            let version = package.text.split_once('@').map(|(_, version)| version);
            if foreign && matches!(version, None | Some("latest" | "upgrade" | "master" | "main")) {
                let message = format!("`{}` is installed without a version", package.text);
                checker
                    .report(Finding::new(&view.source, package.span, message).help("write `PATH@VERSION`"));
            }
        }
    }
}
