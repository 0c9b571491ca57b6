//! A comment hides findings.
//!
//! ## Why
//! Where all findings have to be seen, nobody may hide one. This rule is off unless the settings name it.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine
//! # hadolint ignore=DL3002
//! USER root
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine
//! USER 1000
//! ```

use plimsoll_diagnostics::Severity;

use crate::Rule;

/// Reported by the engine, which alone knows what was hidden.
pub(super) const RULE: Rule = Rule::new("suppression-present", Severity::Info)
    .aliases(&["DL1001"])
    .off();
