//! What rules about base images say of the images of services.

use plimsoll_compose_file::Place;

use super::service::{services, written};
use crate::rules::dockerfile::images::{ImageName, pinned};
use crate::view::ComposeView;
use crate::{Checker, Finding};

/// Services that run an image of others, with its name; those that are built here give theirs a name.
pub(in crate::rules) fn named(view: &ComposeView) -> Vec<(&str, &Place)> {
    let pulled = services(view)
        .into_iter()
        .filter(|service| service.get("build").is_none());
    pulled
        .filter_map(|service| {
            let node = service.image()?;
            let name = node.as_text()?;
            // What a variable brings is not in the file.
            let is_written = !written(node).contains('$');
            is_written.then_some((name, &node.place))
        })
        .collect()
}

/// `image-untagged`
pub(in crate::rules) fn untagged(view: &ComposeView, checker: &mut Checker<'_>) {
    for (name, place) in named(view) {
        let image = ImageName::parse(name);
        if image.tag.is_none() && image.digest.is_none() {
            let message = format!("`{name}` has no tag, so it is `latest`");
            checker.report(Finding::at(place, message).help("name a version, or a digest"));
        }
    }
}

/// `image-latest`
pub(in crate::rules) fn latest(view: &ComposeView, checker: &mut Checker<'_>) {
    for (name, place) in named(view) {
        let image = ImageName::parse(name);
        if image.tag == Some("latest") && image.digest.is_none() {
            let message = format!("`{name}` is another image every time it is released");
            checker.report(Finding::at(place, message).help("name a version, or a digest"));
        }
    }
}

/// `image-not-digest`
pub(in crate::rules) fn not_digest(view: &ComposeView, checker: &mut Checker<'_>) {
    for (name, place) in named(view) {
        if ImageName::parse(name).digest.is_none() {
            let message = format!("`{name}` is not named by its digest");
            let finding = Finding::at(place, message);
            checker.report(match checker.workspace().pins.get(name) {
                Some(digest) => {
                    let quoted = place.source.slice(place.span).ends_with(['"', '\'']);
                    let end = place.span.end - usize::from(quoted);
                    finding.fix(pinned(digest).insert(&place.source, end, format!("@{digest}")))
                }
                None => finding.help(format!("write `{name}@sha256:...`, or ask with `--pin`")),
            });
        }
    }
}
