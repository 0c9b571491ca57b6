//! The log of a container.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `config` | `--log-driver` and `--log-opt`: what is valid, and what it comes to |
//! | `entry` | from a stream of bytes to lines; lines in Docker's two forms on disk |
//! | `files` | files that are rotated |
//! | `journal` | the journal of systemd |
//! | `writer` | all of that behind one door, for the supervisor |
//! | `reader` | reading it again, from files and from the supervisor |
//!
//! How following loses nothing, however fast the files are rotated: the supervisor hands out its open files with their
//! present lengths, and everything it takes from then on over the connection. A file in somebody's hands stays whole
//! when its name goes: rotation renames and unlinks, and never cuts off.

mod config;
mod entry;
mod files;
mod journal;
mod reader;
mod writer;

pub use config::LogConfig;
pub use entry::{LogLine, LogStream};
pub use reader::{LogQuery, LogReader};

pub(crate) use entry::Format;
pub(crate) use files::{LogFile, compress, log_files};
pub(crate) use writer::{LogWriter, Snapshot};
