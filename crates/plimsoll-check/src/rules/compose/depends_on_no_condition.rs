//! A service starts before what it needs is ready.
//!
//! ## Why
//! `depends_on: [db]` waits until the container of `db` was started, not until the database answers. The first requests fail,
//! or the program ends and is started again. With a health check on the other side, `condition: service_healthy` waits.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     depends_on:
//!       - db
//!   db:
//!     image: postgres:17
//!     healthcheck:
//!       test: pg_isready -U postgres
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     depends_on:
//!       db:
//!         condition: service_healthy
//!   db:
//!     image: postgres:17
//!     healthcheck:
//!       test: pg_isready -U postgres
//! ```

use plimsoll_compose_file::Entry;
use plimsoll_diagnostics::{Fix, Severity, Span};

use super::service::{Service, services, written};
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("depends-on-no-condition", Severity::Warning).checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    let services = services(view);
    for service in &services {
        let Some(list) = service.get("depends_on") else {
            continue;
        };
        let short: Vec<&Entry> = list.entries().iter().filter(|entry| is_short(entry)).collect();
        let mut fix = fix(service, &services, &short);
        for entry in &short {
            let message = format!(
                "service `{}` does not wait until `{}` is ready",
                service.name, entry.key
            );
            let mut finding = Finding::at(&entry.place, message).help(
                "say what to wait for: `condition: service_healthy`, with a health check on the other side",
            );
            // One edit makes a mapping of the whole list.
            if let Some(fix) = fix.take() {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

/// In the long form somebody has thought about it, whatever it says. In the short form the name is all that was written.
fn is_short(entry: &Entry) -> bool {
    let value = &entry.value.place;
    value.span == entry.place.span && written(&entry.value).trim_matches(['"', '\'']) == entry.key
}

fn fix(service: &Service<'_>, services: &[Service<'_>], short: &[&Entry]) -> Option<Fix> {
    let list = service.get("depends_on")?;
    let source = &list.place.source;
    // Merged from several files, or from an anchor elsewhere: no single text to edit.
    if short.len() != list.entries().len()
        || short
            .iter()
            .any(|entry| !covers(list.place.span, entry.place.span))
    {
        return None;
    }
    let is_checked = |name: &str| {
        let target = services.iter().find(|service| service.name == name)?;
        target.healthcheck().filter(|checked| *checked)
    };
    short.iter().find(|entry| is_checked(&entry.key).is_some())?;
    let line = source.line_at(list.place.span.start);
    let before = source.slice(Span::new(line.start, list.place.span.start));
    let key = service.entry("depends_on")?;
    // A list at the column of its key has its place after the dash.
    let own_line = matches!(before.trim(), "" | "-");
    let (start, indent) = match own_line {
        true => {
            let blanks = before.len() - before.trim_start().len();
            (line.start + blanks, " ".repeat(blanks))
        }
        false => {
            let own = source.line_at(key.place.span.start);
            let indent = source.slice(Span::new(own.start, key.place.span.start));
            let colon = line.start + before.trim_end().len();
            (colon, format!("{indent}  "))
        }
    };
    let mut text = String::new();
    for (place, entry) in short.iter().enumerate() {
        let condition = match is_checked(&entry.key) {
            Some(_) => "service_healthy",
            None => "service_started",
        };
        if place > 0 || !own_line {
            text += &format!("\n{indent}");
        }
        text += &format!("{}:\n{indent}  condition: {condition}", entry.key);
    }
    // A list may stand at the column of its key; a mapping may not.
    if own_line && source.position(start).column <= source.position(key.place.span.start).column {
        text = text.replace(&format!("\n{indent}"), &format!("\n{indent}  "));
        text.insert_str(0, "  ");
    }
    Some(Fix::ask("wait for health").replace(source, Span::new(start, list.place.span.end), text))
}

fn covers(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
