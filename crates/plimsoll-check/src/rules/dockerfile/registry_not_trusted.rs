//! The base image comes from a registry that is not on the list.
//!
//! ## Why
//! Which registries are trusted is said in the settings (`trusted-registries`, hadolint's `trustedRegistries`). Without
//! a list, all are.
//!
//! ## Bad
//! ```dockerfile
//! FROM quay.example.net/acme/base:1
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM docker.io/library/debian:12
//! ```

use plimsoll_diagnostics::{Severity, Source, Span};

use crate::rules::compose::images;
use crate::view::{Base, ComposeView, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

use super::images::ImageName;

pub(super) const RULE: Rule = Rule::new("registry-not-trusted", Severity::Error)
    .aliases(&["DL3026", "CIS-4.2"])
    .checks(&[Check::Dockerfile(check), Check::Compose(compose)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        if let Base::Image(name) = &stage.base {
            judge(name, &view.source, view.from(stage).image.span, checker);
        }
    }
}

fn compose(view: &ComposeView, checker: &mut Checker<'_>) {
    for (name, place) in images::named(view) {
        judge(name, &place.source, place.span, checker);
    }
}

fn judge(name: &str, source: &Source, span: Span, checker: &mut Checker<'_>) {
    let trusted = &checker.config().trusted_registries;
    let image = ImageName::parse(name);
    let registry = image.registry();
    let fits = |pattern: &String| match pattern.as_str() {
        "*" => true,
        pattern => match pattern.strip_prefix('*') {
            Some(end) => registry.ends_with(end),
            None => {
                pattern == registry
                    || image.path.starts_with(&format!("{pattern}/"))
                    || same_hub(pattern, registry)
            }
        },
    };
    if trusted.is_empty() || trusted.iter().any(fits) {
        return;
    }
    let names: Vec<_> = trusted.iter().map(|one| format!("`{one}`")).collect();
    let message = format!("registry `{registry}` is not trusted");
    let help = format!("trusted are {}", names.join(", "));
    checker.report(Finding::new(source, span, message).help(help));
}

/// Docker Hub has several names.
fn same_hub(one: &str, other: &str) -> bool {
    let hub = |name: &str| {
        matches!(
            name,
            "docker.io" | "index.docker.io" | "registry-1.docker.io" | "hub.docker.com"
        )
    };
    hub(one) && hub(other)
}
