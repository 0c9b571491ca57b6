//! Dockerfile to graph to image.
//!
//! ```text
//! Dockerfile --plan--> stages --lower--> graph of operations + image configuration --solve--> snapshot --assemble--> image
//! ```
//!
//! - `plan`: which stages the target reaches, on what they stand. Pure text.
//! - `lower`: each instruction edits the image configuration or becomes an operation.
//! - `op`: what the operations do and what decides their cache keys.
//! - `source`: what comes from elsewhere.
//! - `cache`: the solver's cache storage over the store; `remote_cache`: results of other machines.
//! - `export`: folders and archives.
//!
//! Nothing is named here: the caller tags the image of a build that went well.

mod archive;
mod attest;
mod build;
mod cache;
mod context;
mod credentials;
mod early;
mod emulate;
mod error;
pub mod explain;
mod export;
mod flat;
mod lower;
mod mount;
mod network;
mod op;
mod parallel;
mod plan;
pub mod record;
mod remote_cache;
mod run_options;
mod scratch;
mod source;
mod stat;
mod verify;

pub use attest::{AttestSettings, Mode as ProvenanceMode, ProvenanceSettings, SlsaVersion};
pub use build::{Build, BuildRequest, BuildResult, BuiltImage, Gate, SOURCE_DATE_EPOCH};
pub use context::{BuildContext, ContextError, read_plain};
pub use emulate::platforms;
pub use error::{BuildError, OpError};
pub use export::{
    Annotation, AnnotationLevel, Annotations, Release, ReleaseSettings, export_local, export_tar, write_tar,
};
pub use lower::change;
pub use network::BuildNetwork;
pub use remote_cache::{CacheError, CacheFrom, CacheMode, CachePlace, CacheTo, Caches, ConfigError};
pub use run_options::{RunOptions, Secret, Wreck};
pub use source::{ContextFolder, GitUrl, NamedContext, Remote, SourceError, Sources, WebContext, is_archive};
pub use verify::{Aspect, Difference, compare};
