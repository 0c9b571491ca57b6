//! What goes over the socket: one byte that may carry the network namespace, then the request, then the answer.

use super::backing::Backing;
use crate::container_spec::ContainerSpec;
use crate::rootfs::Rootfs;
use crate::{Exit, RuntimeError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The largest message, to bound what a wrong length makes us read.
pub(super) const MAX_MESSAGE: u32 = 64 << 20;

/// Cannot be printed: it may hold secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) spec: ContainerSpec,
    pub(super) rootfs: Rootfs,
    pub(super) backing: Backing,
    /// Made by the runner, gone at its end.
    pub(super) state: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ended {
        exit: Exit,
        oom_killed: bool,
        warnings: Vec<String>,
    },
    Failed {
        message: String,
        exit_code: i32,
    },
}

impl Answer {
    pub(super) fn failed(error: &RuntimeError) -> Self {
        Self::Failed {
            message: error.chain(),
            exit_code: error.exit_code(),
        }
    }
}

/// A message with its length before it.
pub(super) fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let text = serde_json::to_vec(message).expect("messages have no keys but texts");
    let mut bytes = u32::try_from(text.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    bytes.extend(text);
    bytes
}
