//! A content-addressed graph of operations: cached, deduplicated, in parallel. Knows no Dockerfile.
//!
//! # Keys
//! Every vertex has a *definition key*: the hash of its operation's own key and its inputs' definition keys.
//! It is known without running anything, so a chain that is wholly cached costs one lookup at its end.
//!
//! When that misses, the inputs are solved and the *content key* is tried: the hash of the operation's own
//! key and of what it reads of its inputs' outputs. A step whose input was made again, but came out the
//! same, is found by it.
//!
//! When both miss the operation runs. What it made carries a content digest; if an earlier output with that
//! digest is stored, the earlier one takes its place ([`CacheStorage::record`]), so that nothing after it
//! moves.
//!
//! # Once
//! The same definition key in one process runs once (a shared future). In two processes it runs once
//! because [`CacheStorage::lock`] is held while it runs, and the cache is asked again after it was obtained.
//! The lock is always taken before a worker slot, and nothing is awaited for but the work while a slot is
//! held: there is no cycle to wait in.

mod graph;
mod report;
mod solve;

pub use graph::{Graph, VertexId};
pub use report::{Outcome, Report, Reports};
pub use solve::{CacheStorage, Op, SolveError, Solver};
