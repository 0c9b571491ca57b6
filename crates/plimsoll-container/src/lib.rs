//! Containers as long-lived things.
//!
//! [`Containers`] is the door: create, start, stop, exec, attach, logs, remove. Each running container has a supervisor
//! of its own, the hidden role [`shim_main`] of the same binary; see the module `shim`. What is where:
//!
//! ```text
//! root/containers/<id>/         spec.json   the definition, written last when it is made, replaced by `update`
//!                               state.json  replaced at each change: by the shim while it lives, else by whoever cleans up
//!                               json.log    output, in Docker's json-file form; json.log.1 and older when it is rotated
//!                               local.log   or this, in the form of Docker's local driver
//!                               hosts resolv.conf hostname   mounted into the container, written at each start
//! run/containers/<12 hex>/      lock        flock held by the shim: the container is alive as long as it is held
//!                               shim.sock   attach, exec, stop, wait; root only
//!                               runtime/    the runtime's own state
//!                               shim.log    what the shim itself has to say
//! run/files/<12 hex>/<n>        secrets and configurations it is given, in memory
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
mod device_request;
mod device_specs;
mod error;
mod events;
mod files;
mod given;
mod handover;
mod inspect;
mod isolation;
mod leaks;
mod leftovers;
mod lifecycle;
mod log;
mod model;
mod mounted_volumes;
mod mounts;
mod names;
mod network;
mod protocol;
mod reap;
mod restart;
mod restore;
mod security;
mod shim;
mod signals;
mod start;
mod until;
mod user_ranges;
mod volumes;
mod watch;
mod wire;

pub use client::{Attachment, Event, Exec, Input};
pub use containers::{Container, Containers};
pub use create::{CreateOptions, HealthOptions};
pub use device_request::DeviceRequest;
pub use device_specs::{DeviceSpecs, is_device_name};
pub use error::{ContainerError, Result};
pub use files::{Change, ChangeKind, CopyOptions, View};
pub use given::{Content, FilePlace, GivenFile};
pub use isolation::Isolation;
pub use lifecycle::Changes;
pub use log::{LogConfig, LogLine, LogQuery, LogReader, LogStream};
pub use model::{
    Attached, Definition, Health, HealthCheck, HealthStatus, MountPoint, NetworkMode, OnFailure, Probe,
    State, Status, StopSignal,
};
pub use mounts::{ImageMount, MountRequest, MountSource, VolumeMount};
pub use protocol::Ended;
pub use restart::RestartPolicy;
pub use restore::Restored;
pub use shim::shim_main;
pub use signals::parse_signal;
pub use start::{Started, Supervisor};
pub use volumes::{Volume, VolumeOptions};
pub use watch::FolderWatch;
