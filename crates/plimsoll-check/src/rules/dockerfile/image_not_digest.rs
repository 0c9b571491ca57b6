//! The base image is not named by its digest.
//!
//! ## Why
//! A tag can be moved. A digest is one image for ever, and a build of it the same tomorrow; who pins by digest has to
//! see to updates. Looked at only when asked for; `check --fix --pin` asks the registries and writes the digests; policy `production` asks for pinned bases.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
//! ```

use plimsoll_diagnostics::Severity;

use crate::rules::compose::images;
use crate::view::{Base, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

use super::images::{ImageName, pinned};

pub(super) const RULE: Rule = Rule::new("image-not-digest", Severity::Info)
    .aliases(&["CL-0019"])
    .off()
    .checks(&[Check::Dockerfile(check), Check::Compose(images::not_digest)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Base::Image(name) = &stage.base else { continue };
        if ImageName::parse(name).digest.is_none() {
            let span = view.from(stage).image.span;
            let finding = Finding::new(&view.source, span, format!("`{name}` is not named by its digest"));
            // What an ARG brings is not written here.
            let pin = match view.source.slice(span) == name {
                true => checker.workspace().pins.get(name),
                false => None,
            };
            checker.report(match pin {
                Some(digest) => finding.fix(pinned(digest).insert(&view.source, span.end, format!("@{digest}"))),
                None => finding.help(format!("write `{name}@sha256:...`, or ask with `--pin`")),
            });
        }
    }
}
