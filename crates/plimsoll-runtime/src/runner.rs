//! One program to its end, by a process of its own.
//!
//! ```text
//! build  --spawn-->  plimsoll runner      stdin: socket with the request, stdout and stderr: the step's own output
//!    |  ==== request, network namespace ===>
//!    |  <=== answer: exit, out of memory, warnings | error =====
//!    |  ---- socket closes ----> kills the container, cleans up, ends
//! ```
//! The caller has threads and must not clone (see [`crate::libcontainer`]); the runner has one and lives for one
//! container. It is not tied to its parent by PR_SET_PDEATHSIG: that means the *thread* which spawned it, and threads
//! of a pool end when they are idle. The socket closes with the process, which is what is meant.

mod backing;
mod client;
mod role;
mod wire;

pub use backing::{Backing, SecretFile, View};
pub use client::{Finished, RunOnce, Runtime, Stream};
pub use role::runner_main;
