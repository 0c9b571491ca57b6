//! A secret stands in the compose file.
//!
//! ## Why
//! Compose files are committed, copied and sent around, and whoever may inspect the container reads its variables. What counts
//! is the value: references (`${DB_PASSWORD}`), files (`NAME_FILE`), empty values and placeholders are fine. A secret is
//! mounted as a file in memory; many images read `NAME_FILE` instead of `NAME`. The value of a variable that stood here has
//! been seen: change it.
//!
//! ## Bad
//! ```yaml
//! services:
//!   db:
//!     image: postgres:17
//!     environment:
//!       POSTGRES_PASSWORD: hunter2
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   db:
//!     image: postgres:17
//!     environment:
//!       POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password
//!     secrets:
//!       - postgres_password
//! secrets:
//!   postgres_password:
//!     environment: POSTGRES_PASSWORD
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};

use super::edit;
use super::secrets::{Found, found};
use super::service::{Service, services, written};
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("compose-password", Severity::Error)
    .aliases(&["CL-0020"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for one in found(&service).into_iter().filter(|found| !found.is_url()) {
            let what = match one.name {
                Some(name) => format!(
                    "`{name}` of service `{}` stands in the file: {}",
                    service.name, one.secret.kind
                ),
                None => format!(
                    "in the text of service `{}` stands {}",
                    service.name, one.secret.kind
                ),
            };
            let mut finding = Finding::new(&one.node.place.source, one.span(), what)
                .secret(one.span())
                .help("mount it with `secrets:` and name the file with `NAME_FILE`, or write `${NAME:?}` and set it elsewhere");
            if let Some(fix) = fix(&service, &one) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

fn fix(service: &Service<'_>, found: &Found<'_>) -> Option<Fix> {
    let name = found.name.filter(|_| found.in_environment)?;
    let reads_file = service
        .software()
        .is_some_and(|software| software.files.contains(&name));
    if reads_file && let Some(fix) = to_secret(service, found, name) {
        return Some(fix);
    }
    let text = written(found.node);
    let reference = format!("${{{name}:?set it in the environment}}");
    let whole = Span::new(0, text.len()) == found.secret.span
        || text.trim_matches(['"', '\'']).len() == found.secret.span.len();
    let fix = Fix::ask("take it from the environment");
    let source = &found.node.place.source;
    // `NAME=value` of a list has no quotes of its own.
    match found.assignment {
        Some(_) if text.starts_with(['"', '\'']) => {
            Some(fix.replace(source, found.node.place.span, format!("\"{name}={reference}\"")))
        }
        Some(_) => Some(fix.replace(source, found.node.place.span, format!("{name}={reference}"))),
        None if whole => Some(fix.replace(source, found.node.place.span, format!("\"{reference}\""))),
        None => None,
    }
}

/// `NAME_FILE`, the service's `secrets:` and the project's.
fn to_secret(service: &Service<'_>, found: &Found<'_>, name: &str) -> Option<Fix> {
    let secret = name.to_ascii_lowercase();
    let (source, span) = (&found.node.place.source, found.node.place.span);
    let file = format!("/run/secrets/{secret}");
    let fix = Fix::ask("mount it as a secret");
    let fix = match found.assignment {
        Some(_) => fix.replace(source, span, format!("{name}_FILE={file}")),
        None => fix
            .replace(source, found.key?.span, format!("{name}_FILE"))
            .replace(source, span, file),
    };
    let fix = match service.get("secrets") {
        Some(list) => edit::append_item(fix, list, &secret)?,
        None => service.add(fix, &["secrets:", &format!("  - {secret}")])?,
    };
    let about = format!("environment: {name}  # set it in the environment or in .env");
    match service.project.document.entry("secrets") {
        Some(entry) if entry.value.get(&secret).is_some() => Some(fix),
        Some(entry) => edit::append(fix, &entry.value, &[&format!("{secret}:"), &format!("  {about}")]),
        None => {
            let lines = [
                "secrets:".to_owned(),
                format!("  {secret}:"),
                format!("    {about}"),
            ];
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            Some(edit::append_to_file(fix, source, &lines))
        }
    }
}
