//! Compose files: text to a merged, normalised project in which every value knows its place.
//!
//! [`load`] is the door. A file goes through it in this order, which is the reference's:
//!
//! ```text
//! text --yaml--> Node --interpolate--> --shape--> long form --extends--> --merge--> --include--> --check--> Project
//! ```
//!
//! - `yaml`: anchors, `<<`, the tags `!reset` and `!override`, with bounds against alias bombs;
//! - `interpolate`, `dotenv`: `${}` and files of variables;
//! - `schema`: one table says which keys there are, of what kind, and how they merge;
//! - `shape`: a document against that table; short forms become long ones;
//! - [`model`]: the outcome as plain data;
//! - `check`: profiles, defaults, and whether the parts fit together.
//!
//! Pure text: nothing here needs root, a store or a network. Files are read; the environment is an argument.

mod canonical;
mod check;
pub mod dotenv;
mod emit;
mod interpolate;
mod load;
mod merge;
pub mod model;
mod node;
mod project;
mod schema;
mod shape;
mod yaml;

pub use emit::{escape, to_json, to_yaml};
pub use interpolate::{
    Interpolated, InterpolationError, Variable, interpolate, needs_interpolation, variables,
};
pub use load::{Failed, Fetch, LoadOptions, Origin, file_in, find_files, load, load_with, passed_over};
pub use node::{Entry, Mark, Node, Place, Scalar, ScalarKind, Value, integer};
pub use project::Project;
pub use schema::service_keys;
pub use yaml::parse;
