//! A program to its end, by a process that does nothing else.
//!
//! ```text
//! build  --spawn-->  plimsoll runner      stdin: socket; nothing of the build's own
//!    |  ==== request; the step's output pipes, network namespace ===>
//!    |  <=== answer: exit, out of memory, warnings | error; whether it waits for more =====
//!    |  ---- socket closes ----> kills the container, cleans up, ends
//! ```
//! The caller has threads and must not clone (see [`crate::libcontainer`]); the runner has one. It runs one container
//! at a time, and with the direct path one after the other: nothing of a step is left in it (see [`crate::direct`]).
//! After a step by the library, one that it could not clean up, or one with mounts in the runner's own namespace (see
//! [`Backing`]) it ends. It is not tied to its parent by
//! PR_SET_PDEATHSIG: that means the *thread* which spawned it, and threads of a pool end when they are idle. The
//! socket closes with the process, which is what is meant.

mod backing;
mod client;
mod role;
mod wire;

pub use backing::{Backing, SecretFile, View};
pub use client::{Finished, RunOnce, Runtime, Stream};
pub use role::runner_main;
