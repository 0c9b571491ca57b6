//! An account of the image has an empty password.
//!
//! ## Why
//! Whoever gets a shell in the container becomes that user with `su` and no password at all, and so does whoever reaches a
//! login service in it.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN passwd -d root
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN passwd -l root
//! ```

use plimsoll_diagnostics::Severity;

use super::look::finding;
use crate::facts::ImageFacts;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("empty-password", Severity::Error)
    .aliases(&["DKL-LI-0001"])
    .checks(&[Check::Image(check)]);

fn check(image: &ImageFacts, checker: &mut Checker<'_>) {
    let accounts = image.files.iter().flat_map(|files| &files.accounts);
    for account in accounts.filter(|account| account.empty_password) {
        let message = format!("account `{}` has an empty password", account.name);
        checker.report(finding(image, message).help(format!("lock it: `RUN passwd -l {}`", account.name)));
    }
}
