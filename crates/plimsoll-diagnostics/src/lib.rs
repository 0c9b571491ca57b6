//! Source text, spans, diagnostics and the forms in which they are shown.
//!
//! Whatever points into a user's file carries a [`Span`] from the parser to the screen; a
//! [`Diagnostic`] brings the [`Source`] along, so that whoever shows it needs nothing else.

mod chain;
mod diagnostic;
pub mod emit;
mod fix;
mod source;
mod suggest;

pub use chain::chain;
pub use diagnostic::{Diagnostic, Label, Severity};
pub use emit::text::render;
pub use emit::{Format, Hidden, Report, RuleInfo};
pub use fix::{Edit, Fix, Safety};
pub use source::{Position, Source, Span};
pub use suggest::nearest;
