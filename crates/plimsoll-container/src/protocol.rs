//! What clients and shims say to each other; see [`crate::wire`] for how.

use camino::Utf8PathBuf;
use plimsoll_network::{Endpoint, PublishedPort};
use plimsoll_runtime::{ProcessSpec, Resources};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::log::Format;
use crate::network::Link;

/// The first message on the control socket, with the lock of whoever starts the container, the network namespace, the attached client's end of a socket pair, the name
/// server's two sockets and one for each published port as descriptors, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) id: String,
    /// Its name at the moment.
    pub(crate) name: String,
    /// State directory of the store.
    pub(crate) root: Utf8PathBuf,
    /// Run-time directory of the store.
    pub(crate) run: Utf8PathBuf,
    pub(crate) network: NetworkView,
    pub(crate) ports: Vec<PublishedPort>,
    /// Nobody is to believe between the death of whoever starts it and the supervisor's own lock that nobody is at it.
    pub(crate) has_lock: bool,
    pub(crate) has_namespace: bool,
    pub(crate) has_client: bool,
    pub(crate) has_names: bool,
}

impl StartRequest {
    /// How many descriptors come with it.
    pub(crate) fn descriptors(&self) -> usize {
        let names = 2 * usize::from(self.has_names);
        let others = [self.has_lock, self.has_namespace, self.has_client];
        others.into_iter().map(usize::from).sum::<usize>() + names + self.ports.len()
    }
}

/// What a shim knows of the container's networks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct NetworkView {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whether the container asks its own name server.
    pub(crate) has_names: bool,
    /// Other servers it may ask in turn; none where no network leads out.
    pub(crate) upstream: Vec<IpAddr>,
    pub(crate) links: Vec<Link>,
}

/// The only answer on the control socket.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StartReply {
    /// The program runs; what it was not given that was asked for.
    Started { warnings: Vec<String> },
    /// It does not, with Docker's exit code.
    Failed { code: i32, message: String },
}

/// What a client wants; one per connection of `shim.sock`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Output from now on, and input.
    Attach,
    /// Runs a process. Without a terminal three descriptors come along: stdin, stdout, stderr.
    Exec(ProcessSpec),
    /// Size of the container's terminal. Also sent on an attached connection.
    Resize { rows: u16, columns: u16 },
    /// Signals the program.
    Kill { signal: i32 },
    /// Signals it, and after some seconds kills it. Answered when it has ended. With `keep`, `--rm` is not heeded: it
    /// will be started again.
    Stop {
        signal: i32,
        timeout: Option<u64>,
        keep: bool,
    },
    /// Answered when it has ended.
    Wait,
    /// Freezes its processes.
    Pause,
    /// Lets them go on.
    Unpause,
    /// Changes its limits, until it is started the next time.
    Update { resources: Box<Resources> },
    /// Its definition was replaced: read it again.
    Reload,
    /// It has another name.
    Rename { name: String },
    /// The network namespace, as a descriptor.
    Namespace,
    /// It is on these networks from now on. With `sockets` those of a name server come along.
    Network { view: NetworkView, sockets: bool },
    /// The sockets of its published ports, as descriptors; it goes on serving them.
    LendPorts,
    /// It has these ports, too, from now on; their sockets come along.
    TakePorts { ports: Vec<PublishedPort> },
    /// Another has these ports from now on.
    LeavePorts { ports: Vec<PublishedPort> },
    /// The log as it is, and with `follow` what is added to it.
    Logs { follow: bool },
}

/// What a shim answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It is so.
    Done,
    /// The process runs; with a terminal its master comes along.
    ExecStarted,
    /// The program of the container, or of the exec, has ended.
    Exited(Ended),
    /// The log's files, the oldest first: how long each is, and whether it is compressed. They come along.
    Logs {
        format: Format,
        files: Vec<(u64, bool)>,
        /// Lines there was no room for.
        dropped: u64,
    },
    /// These are its published ports. Their sockets come along.
    Ports { ports: Vec<PublishedPort> },
    /// The limits are changed but for these.
    Updated { warnings: Vec<String> },
    /// There is no log to read.
    NoLog,
    /// It could not be done; `code` is Docker's for `exec`.
    Failed { code: i32, message: String },
}

/// How a container's program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Exit code; 128+n for signal n.
    pub exit_code: i32,
    /// The kernel killed something in it for memory.
    pub oom_killed: bool,
    /// What went wrong besides.
    pub error: String,
}
