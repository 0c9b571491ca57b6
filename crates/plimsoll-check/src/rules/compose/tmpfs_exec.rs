//! Programs can be run from a folder in memory.
//!
//! ## Why
//! A `tmpfs` that allows programs and setuid bits is where an intruder of a read-only service puts his tools. `noexec` and
//! `nosuid` are the default; naming the opposite switches them off.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     tmpfs:
//!       - /tmp:exec,suid
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     tmpfs:
//!       - /tmp:size=64m
//! ```

use plimsoll_compose_file::Node;
use plimsoll_diagnostics::{Fix, Severity};

use super::service::{services, written};
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("tmpfs-exec", Severity::Info)
    .aliases(&["CL-0022"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let Some(tmpfs) = service.get("tmpfs") else {
            continue;
        };
        let one = std::slice::from_ref(tmpfs);
        let mounts = if tmpfs.items().is_empty() {
            one
        } else {
            tmpfs.items()
        };
        for mount in mounts {
            let Some((path, options)) = mount.as_text().and_then(|text| text.split_once(':')) else {
                continue;
            };
            let loose: Vec<_> = options.split(',').filter(|option| is_loose(option)).collect();
            if loose.is_empty() {
                continue;
            }
            let message = format!(
                "`{path}` of service `{}` allows `{}`",
                service.name,
                loose.join("`, `")
            );
            let mut finding = Finding::at(&mount.place, message)
                .help("leave it out: `noexec` and `nosuid` are the default");
            if let Some(fix) = fix(mount, path, options) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

fn is_loose(option: &str) -> bool {
    matches!(option, "exec" | "suid" | "dev")
}

fn fix(mount: &Node, path: &str, options: &str) -> Option<Fix> {
    // With variables in it, the text is another one than what they come to.
    let text = written(mount);
    if text.trim_matches(['"', '\'']) != format!("{path}:{options}") {
        return None;
    }
    let kept: Vec<_> = options.split(',').filter(|option| !is_loose(option)).collect();
    let text = match kept.is_empty() {
        true => path.to_owned(),
        false => format!("{path}:{}", kept.join(",")),
    };
    Some(Fix::ask("leave it out").replace(&mount.place.source, mount.place.span, text))
}
