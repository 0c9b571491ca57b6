//! A service sees folders of the host that hold its secrets or run it.
//!
//! ## Why
//! In `/etc` are the accounts and keys of the machine, in `/root` and `/home` those of its people, in `/proc`, `/sys`, `/dev`
//! and `/boot` the kernel, in `/var/lib/docker` the files of every other container. A single file that is only read, such as
//! `/etc/localtime`, is fine.
//!
//! ## Bad
//! ```yaml
//! services:
//!   backup:
//!     image: example/backup:1
//!     volumes:
//!       - /etc:/host/etc
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   backup:
//!     image: example/backup:1
//!     volumes:
//!       - /etc/localtime:/etc/localtime:ro
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("sensitive-mount", Severity::Error)
    .aliases(&["CL-0013", "CIS-5.6"])
    .checks(&[Check::Compose(check)]);

const FOLDERS: [&str; 17] = [
    "/etc",
    "/root",
    "/home",
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/lib",
    "/lib64",
    "/usr",
    "/bin",
    "/sbin",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/plimsoll",
    "/var/lib/kubelet",
    "/var/spool/cron",
];

/// What is asked for often, and tells nothing.
const HARMLESS: [&str; 7] = [
    "/etc/localtime",
    "/etc/timezone",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/ssl/certs",
    "/etc/machine-id",
    "/etc/os-release",
];

const FILES: [&str; 6] = [
    "/etc/shadow",
    "/etc/sudoers",
    "/etc/passwd",
    "/etc/ssh",
    "/etc/kubernetes",
    "/etc/ssl/private",
];

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for mount in service.mounts().into_iter().filter(|mount| mount.kind == "bind") {
            let path = mount.source.trim_end_matches('/');
            let below = |folder: &str| {
                path.strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let is_folder = FOLDERS.contains(&path);
            let is_secret = FILES.iter().any(|file| below(file));
            let harmless = mount.read_only && HARMLESS.iter().any(|file| below(file));
            if harmless || !(is_folder || is_secret) {
                continue;
            }
            let how = if mount.read_only { "reads" } else { "can change" };
            let message = format!("service `{}` {how} `{path}` of the host", service.name);
            checker.report(
                Finding::at(&mount.node.place, message)
                    .help("mount the one file that it needs, `:ro`, or a volume"),
            );
        }
    }
}
