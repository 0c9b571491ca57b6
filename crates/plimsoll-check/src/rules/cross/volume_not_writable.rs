//! A service that is not root cannot write to its volume.
//!
//! ## Why
//! A fresh volume gets the owner of the folder that it covers in the image. Where the image has no such folder, it belongs to
//! root, and a program of another user fails with "permission denied" at its first write. Make the folder in the Dockerfile,
//! with its owner.
//!
//! ## Bad
//! ```dockerfile
//! FROM scratch
//! COPY app /app
//! USER 65532
//! CMD ["/app"]
//! ```
//! ```yaml
//! services:
//!   web:
//!     build: .
//!     volumes: ["data:/data"]
//! volumes:
//!   data:
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN mkdir /data && chown 65532 /data
//! USER 65532
//! CMD ["/app"]
//! ```
//! ```yaml
//! services:
//!   web:
//!     build: .
//!     volumes: ["data:/data"]
//! volumes:
//!   data:
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::facts::{account, is_root};
use crate::rules::compose::health::{dockerfile, stage, user};
use crate::rules::compose::service::{Mount, Service, services};
use crate::view::{DockerfileView, Stage, Workspace};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("volume-not-writable", Severity::Warning).checks(&[Check::Cross(check)]);

fn check(workspace: &Workspace, checker: &mut Checker<'_>) {
    for service in workspace.projects.iter().flat_map(services) {
        let own = service
            .get("user")
            .and_then(|user| user.as_text())
            .map(str::to_owned);
        let Some(user) = own
            .or_else(|| user(&service, workspace))
            .filter(|user| !is_root(user))
        else {
            continue;
        };
        for mount in service.mounts() {
            let is_data = mount.kind == "volume" && !mount.read_only;
            if is_data && belongs_to_root(&service, &mount, &user, workspace) == Some(true) {
                let message = format!(
                    "`{}` of service `{}` will belong to root, and its program runs as `{}`",
                    mount.target,
                    service.name,
                    account(&user)
                );
                let help = format!(
                    "make it in the Dockerfile, before USER: `RUN mkdir -p {0} && chown {1} {0}`",
                    mount.target, user
                );
                checker.report(Finding::at(&mount.node.place, message).help(help));
            }
        }
    }
}

/// None where nobody can tell.
fn belongs_to_root(
    service: &Service<'_>,
    mount: &Mount<'_>,
    user: &str,
    workspace: &Workspace,
) -> Option<bool> {
    if service.get("build").is_some() {
        let view = dockerfile(service, workspace)?;
        let stage = stage(service, view)?;
        if is_made(view, stage, mount.target) {
            return Some(false);
        }
        return match view.base_image(stage) {
            Some(base) => of_base(base, mount.target, user, workspace),
            None => Some(true),
        };
    }
    of_base(service.image()?.as_text()?, mount.target, user, workspace)
}

fn of_base(name: &str, path: &str, user: &str, workspace: &Workspace) -> Option<bool> {
    let files = workspace.image(name)?.files.as_ref()?;
    let accounts = files.accounts.iter().find(|known| known.name == account(user));
    let number = accounts
        .map(|known| known.uid)
        .or_else(|| account(user).parse().ok())?;
    // Only folders that images say to be volumes are known by their owner.
    Some(*files.volume_owners.get(path)? != number)
}

/// Whether an instruction makes the folder, or puts files into it, for somebody else than root.
fn is_made(view: &DockerfileView, stage: &Stage, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    view.chain(stage)
        .flat_map(|stage| view.steps_of(stage))
        .any(|step| match step.kind() {
            // A parent may be meant, or a variable: it is somebody's thought.
            InstructionKind::Run(_) => {
                let text = view.source.slice(step.span());
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                text.contains(path)
                    || (text.contains("chown") && !parent.is_empty() && text.contains(parent))
                    || text.contains('$')
            }
            InstructionKind::Copy(copy) | InstructionKind::Add(copy) => {
                let to = copy.destination.value.trim_end_matches('/');
                copy.chown.is_some() && (to == path || to.starts_with(&format!("{path}/")))
            }
            _ => false,
        })
}
