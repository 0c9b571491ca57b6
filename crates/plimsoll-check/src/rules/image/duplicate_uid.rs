//! Two accounts or groups of the image have the same number.
//!
//! ## Why
//! The kernel knows numbers only: two accounts with one number are one user, who owns the files of both. It happens when a
//! file of accounts is copied over another, or lines are appended twice.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN adduser -D -u 1000 app && adduser -D -o -u 1000 web
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN adduser -D -u 1000 app && adduser -D -u 1001 web
//! ```

use std::collections::BTreeMap;

use plimsoll_diagnostics::Severity;

use super::look::finding;
use crate::facts::ImageFacts;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("duplicate-uid", Severity::Error)
    .aliases(&["DKL-LI-0002"])
    .checks(&[Check::Image(check)]);

fn check(image: &ImageFacts, checker: &mut Checker<'_>) {
    let Some(files) = &image.files else { return };
    let users = files
        .accounts
        .iter()
        .map(|account| (account.name.as_str(), account.uid));
    report(image, "accounts", users, checker);
    let groups = files.groups.iter().map(|(name, gid)| (name.as_str(), *gid));
    report(image, "groups", groups, checker);
}

fn report<'a>(
    image: &ImageFacts,
    what: &str,
    all: impl Iterator<Item = (&'a str, u32)>,
    checker: &mut Checker<'_>,
) {
    let mut by_number: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (name, number) in all {
        by_number.entry(number).or_default().push(format!("`{name}`"));
    }
    for (number, names) in by_number.into_iter().filter(|(_, names)| names.len() > 1) {
        let message = format!("the {what} {} have the same number {number}", names.join(" and "));
        checker.report(finding(image, message).help("give each a number of its own"));
    }
}
