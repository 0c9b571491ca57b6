//! What tests share: [`needs!`], [`Sandbox`], image archives, a registry, and filters for snapshots.
//!
//! Development only. Helpers panic with a reason instead of returning errors, as a test would.

mod archive;
mod filters;
mod needs;
mod registry;
mod sandbox;

pub use archive::Archive;
pub use filters::filters;
pub use needs::{Need, skip};
pub use registry::{BaseRegistry, basekit, basekit_archive};
pub use sandbox::{Outcome, Sandbox};
