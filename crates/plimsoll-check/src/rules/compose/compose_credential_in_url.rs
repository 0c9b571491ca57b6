//! A URL in the compose file has a password in it.
//!
//! ## Why
//! A connection string is a secret as a whole when it has a password in it: it stands in the file, in `inspect`, and often in
//! the log of the program that could not connect.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     environment:
//!       DATABASE_URL: postgres://app:hunter2@db:5432/app
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     environment:
//!       DATABASE_URL: postgres://app:${DB_PASSWORD:?}@db:5432/app
//! ```

use plimsoll_diagnostics::Severity;

use super::secrets::found;
use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("compose-credential-in-url", Severity::Error)
    .aliases(&["CL-0021"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for one in found(&service).into_iter().filter(|found| found.is_url()) {
            let message = match one.name {
                Some(name) => format!("`{name}` of service `{}` has a password in its URL", service.name),
                None => format!("service `{}` has a password in a URL", service.name),
            };
            checker.report(
                Finding::new(&one.node.place.source, one.span(), message)
                    .secret(one.span())
                    .help("write a reference in its place, `${DB_PASSWORD:?}`, and set it elsewhere"),
            );
        }
    }
}
