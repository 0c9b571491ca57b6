//! A comment names a rule that there is not.
//!
//! ## Why
//! The finding that it was to hide is reported, or the name is misspelt and hides nothing.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine
//! # plimsoll ignore=user-rot
//! USER root
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine
//! # plimsoll ignore=user-root -- it sets up the machine
//! USER root
//! ```

use plimsoll_diagnostics::Severity;

use crate::Rule;

/// Reported by the engine, which alone knows what was hidden.
pub(super) const RULE: Rule = Rule::new("suppression-unknown", Severity::Warning);
