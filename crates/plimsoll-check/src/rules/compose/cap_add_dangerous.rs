//! A service gets a capability that is as good as root on the host.
//!
//! ## Why
//! `SYS_ADMIN` mounts, `SYS_PTRACE` reads other processes, `SYS_MODULE` loads code into the kernel, `DAC_READ_SEARCH` opens
//! every file, `NET_ADMIN` changes the firewall and `ALL` is all of them. Each has been a way out of a container.
//!
//! ## Bad
//! ```yaml
//! services:
//!   agent:
//!     image: example/agent:3
//!     cap_add: [SYS_ADMIN]
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   agent:
//!     image: example/agent:3
//!     cap_drop: [ALL]
//!     cap_add: [NET_BIND_SERVICE]
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("cap-add-dangerous", Severity::Error)
    .aliases(&["CL-0011", "CL-0024", "CL-0027", "CL-0028", "CL-0029", "CL-0030"])
    .checks(&[Check::Compose(check)]);

/// Capabilities, and what whoever has one can do.
const DANGEROUS: [(&str, &str); 16] = [
    ("ALL", "do whatever root can"),
    ("SYS_ADMIN", "mount file systems and leave the container"),
    ("SYS_PTRACE", "read and change other processes"),
    ("SYS_MODULE", "load code into the kernel"),
    ("SYS_RAWIO", "write to memory and disks directly"),
    ("SYS_BOOT", "restart the machine"),
    ("SYS_TIME", "change the clock of the host"),
    ("SYSLOG", "read kernel addresses"),
    ("DAC_READ_SEARCH", "open every file of the host by its number"),
    ("DAC_OVERRIDE", "ignore the permissions of files"),
    ("MAC_ADMIN", "change the rules of AppArmor and SELinux"),
    ("MAC_OVERRIDE", "ignore the rules of AppArmor and SELinux"),
    ("NET_ADMIN", "change addresses, routes and the firewall"),
    ("NET_RAW", "pretend to be other machines on the network"),
    ("BPF", "load programs into the kernel"),
    ("PERFMON", "watch other processes and the kernel"),
];

/// Those that are bad, but seldom a way out.
const LESSER: [&str; 3] = ["DAC_OVERRIDE", "NET_ADMIN", "NET_RAW"];

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for (name, node) in service.words("cap_add") {
            let plain = name.to_ascii_uppercase();
            let plain = plain.strip_prefix("CAP_").unwrap_or(&plain);
            let Some((_, what)) = DANGEROUS.iter().find(|(dangerous, _)| *dangerous == plain) else {
                continue;
            };
            // Programs that start as root to change files of others need it, once all else is dropped.
            let drops = service.words("cap_drop");
            let drops_all = drops.iter().any(|(name, _)| name.eq_ignore_ascii_case("all"));
            if plain == "DAC_OVERRIDE" && drops_all {
                continue;
            }
            let message = format!("with `{plain}`, service `{}` can {what}", service.name);
            let mut finding = Finding::at(&node.place, message).help("leave it out, or add a narrower one");
            if LESSER.contains(&plain) {
                finding = finding.severity(Severity::Warning);
            }
            checker.report(finding);
        }
    }
}
