//! A comment was to hide a finding for some time only, which is over.
//!
//! ## Why
//! The date was a promise to look again.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine
//! # plimsoll ignore=user-root until=2025-01-01 -- until the port is moved
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
pub(super) const RULE: Rule = Rule::new("suppression-ended", Severity::Warning);
