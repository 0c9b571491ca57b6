//! What rules look at.

mod compose;
mod context;
mod dockerfile;
mod workspace;

pub use compose::ComposeView;
pub use context::{ContextEntry, ContextKind, ContextView, IgnoreView};
pub use dockerfile::{Base, BuildSettings, DockerfileView, Stage, Step, Variable};
pub use workspace::{Index, Workspace};
