//! Making the world look like a compose project.
//!
//! Two doors. [`Plan`] says what has to be done, from what a project asks for ([`Desired`]) and what there is
//! ([`Observed`]), without touching anything. [`Converge`] looks, and does it.

mod apply;
mod converge;
mod desired;
mod error;
mod graph;
mod images;
pub mod labels;
mod observed;
mod one_off;
mod plan;
mod reason;
mod spec;

pub use apply::{ApplyOptions, Stopped, hook_process};
pub use converge::Converge;
pub use desired::Desired;
pub use error::{ComposeError, Result};
pub use images::{Need, PullPolicy, Source};
pub use observed::{Observed, Seen, Thing};
pub use plan::{Action, DownOptions, Images, Old, Plan, Step, UpOptions};
