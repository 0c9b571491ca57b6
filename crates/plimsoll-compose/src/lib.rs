//! Making the world look like a compose project.
//!
//! Two doors. [`Plan`] says what has to be done, from what a project asks for ([`Desired`]) and what there is
//! ([`Observed`]), without touching anything. [`Converge`] looks, and does it.

mod desired;
mod error;
mod graph;
pub mod labels;
mod observed;
mod plan;
mod reason;

pub use desired::Desired;
pub use error::{ComposeError, Result};
pub use observed::{Observed, Seen, Thing};
pub use plan::{Action, DownOptions, Images, Old, Plan, Step, UpOptions};
