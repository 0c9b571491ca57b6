//! Containers as long-lived things.
//!
//! [`Containers`] is the door: create, start, stop, exec, attach, logs, remove. Each running container has a supervisor
//! of its own, the hidden role [`shim_main`] of the same binary; see the module `shim`. What is where:
//!
//! ```text
//! root/containers/<id>/         spec.json   the definition, written last when it is made, never changed
//!                               state.json  replaced at each change: by the shim while it lives, else by whoever cleans up
//!                               json.log    output, in Docker's json-file form
//!                               hosts resolv.conf hostname   mounted into the container, written at each start
//! run/containers/<12 hex>/      lock        flock held by the shim: the container is alive as long as it is held
//!                               shim.sock   attach, exec, stop, wait; root only
//!                               rootfs      where the shim mounts the root, in its own mount namespace
//!                               shim.log    what the shim itself has to say
//! root/volumes/<name>/_data     volumes
//! ```
//!
//! The database has a container's name, snapshot and volumes, and the address it was given; nothing of its state. The
//! lock `container-<id>` is held to create, start, clean up after, and remove a container. A state that says running
//! beside a lock nobody holds means that the shim was killed: whoever looks first writes down the end (137), takes the
//! published ports back and frees the address.
//!
//! `--rm`: the shim ends by becoming `plimsoll shim reap`, which removes the container; a client that waits for the end
//! removes it, too, so that it is gone when the client returns. Whoever comes second finds nothing to do.

mod client;
mod commit;
mod containers;
mod create;
mod error;
mod files;
mod inspect;
mod leftovers;
mod log;
mod model;
mod mounts;
mod names;
mod protocol;
mod reap;
mod shim;
mod signals;
mod start;
mod volumes;
mod wire;

pub use client::{Attachment, Event, Exec, Input, Watch};
pub use containers::{Container, Containers};
pub use create::{CreateOptions, HealthOptions};
pub use error::{ContainerError, Result};
pub use files::{Change, ChangeKind, CopyOptions};
pub use log::{LogLine, LogReader, LogStream};
pub use model::{
    Definition, Health, HealthCheck, HealthStatus, MountPoint, NetworkMode, Probe, State, Status, StopSignal,
};
pub use mounts::{MountRequest, MountSource, VolumeMount};
pub use protocol::Ended;
pub use shim::shim_main;
pub use signals::parse_signal;
pub use volumes::{Volume, VolumeOptions};
