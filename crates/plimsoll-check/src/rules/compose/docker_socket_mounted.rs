//! A service can talk to the container engine.
//!
//! ## Why
//! The socket of Docker, Podman or containerd lets whoever can write to it start a privileged container: it is root on the
//! host, read-only mount or not. A folder that holds the socket (`/var/run`) gives it away as well.
//!
//! ## Bad
//! ```yaml
//! services:
//!   dashboard:
//!     image: example/dashboard:1.4
//!     volumes:
//!       - /var/run/docker.sock:/var/run/docker.sock
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   dashboard:
//!     image: example/dashboard:1.4
//!     environment:
//!       DOCKER_HOST: tcp://socket-proxy:2375
//!   socket-proxy:
//!     image: example/socket-proxy:0.3   # lets only listed requests through
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("docker-socket-mounted", Severity::Error)
    .aliases(&["CL-0001", "CIS-5.32"])
    .checks(&[Check::Compose(check)]);

const SOCKETS: [&str; 5] = [
    "docker.sock",
    "podman.sock",
    "containerd.sock",
    "crio.sock",
    "buildkitd.sock",
];

/// Folders that have sockets of engines in them.
const FOLDERS: [&str; 6] = [
    "/var/run",
    "/run",
    "/run/docker",
    "/run/podman",
    "/run/containerd",
    "/var/run/podman",
];

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for mount in service.mounts().into_iter().filter(|mount| mount.kind == "bind") {
            let path = mount.source.trim_end_matches('/');
            let is_socket = SOCKETS.iter().any(|socket| path.ends_with(&format!("/{socket}")));
            if !is_socket && !FOLDERS.contains(&path) {
                continue;
            }
            let message = match is_socket {
                true => format!(
                    "service `{}` can command the container engine through `{path}`",
                    service.name
                ),
                false => format!(
                    "service `{}` gets `{path}`, where the container engine's socket is",
                    service.name
                ),
            };
            checker.report(Finding::at(&mount.node.place, message).help(
                "put a proxy between them that lets only the needed requests through, or do without the socket",
            ));
        }
    }
}
