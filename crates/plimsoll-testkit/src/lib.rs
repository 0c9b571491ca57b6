//! What tests share: [`needs!`], [`Sandbox`], image archives, a registry, terminals, and filters for snapshots.
//!
//! Development only. Helpers panic with a reason instead of returning errors, as a test would.

mod actions;
mod archive;
mod filters;
mod needs;
mod registry;
mod sandbox;
mod terminal;

pub use actions::ActionsService;
pub use archive::Archive;
pub use filters::filters;
pub use needs::{Need, skip, skip_because};
pub use registry::{BaseRegistry, basekit, basekit_archive};
pub use sandbox::{Outcome, Sandbox};
pub use terminal::Terminal;
