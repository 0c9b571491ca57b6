//! A comment hides nothing.
//!
//! ## Why
//! What the comment was written for has been mended, or was never found. It would hide the next fault of that kind, which nobody has looked at.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! # plimsoll ignore=image-latest
//! USER 1000
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! USER 1000
//! ```

use plimsoll_diagnostics::Severity;

use crate::Rule;

/// Reported by the engine, which alone knows what was hidden.
pub(super) const RULE: Rule = Rule::new("suppression-unused", Severity::Info);
