//! A service has no HEALTHCHECK.
//!
//! ## Why
//! A process that hangs still runs. A health check tells Docker, and `depends_on: condition: service_healthy` of
//! Compose, whether it answers. Only images that EXPOSE a port are looked at, and none without a shell or a program to
//! ask with (`scratch`, distroless). Kubernetes has probes of its own and does not look at it.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22-alpine
//! EXPOSE 3000
//! CMD ["node", "server.js"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22-alpine
//! EXPOSE 3000
//! HEALTHCHECK CMD wget -q -O /dev/null http://127.0.0.1:3000/ || exit 1
//! CMD ["node", "server.js"]
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::rules::image::look;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits::insert_near_end;
use super::images::ImageName;

pub(super) const RULE: Rule = Rule::new("healthcheck-missing", Severity::Info)
    .aliases(&["DL3057", "CIS-DI-0006", "CIS-4.6", "DS-0026", "CKV_DOCKER_2"])
    .checks(&[Check::Dockerfile(check), Check::Image(look::healthcheck_missing)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in view.shipped() {
        let Some(name) = view.base_image(stage) else {
            continue;
        };
        let steps = || view.chain(stage).flat_map(|one| view.steps_of(one));
        let port = steps().find_map(|step| match step.kind() {
            InstructionKind::Expose(ports) => Some((step, ports.first()?)),
            _ => None,
        });
        let Some((step, port)) = port else { continue };
        let checked = steps().any(|step| matches!(step.kind(), InstructionKind::Healthcheck(_)));
        let by_base = checker
            .workspace()
            .image(name)
            .is_some_and(|image| image.has_healthcheck());
        if checked || by_base || name.contains("distroless") || name.contains("/static") {
            continue;
        }
        let finding = Finding::new(
            &view.source,
            step.instruction.keyword.span,
            "nothing tells whether the service on this port answers",
        )
        .help("add `HEALTHCHECK CMD` with a program that the image has");
        let number = view
            .expand(step.at, port)
            .and_then(|port| port.split('/').next().and_then(|port| port.parse::<u16>().ok()));
        checker.report(match number.and_then(|port| draft(name, port)) {
            Some(line) => finding.fix(insert_near_end(
                Fix::ask("add a health check"),
                view,
                stage,
                &line,
            )),
            None => finding,
        });
    }
}

/// A check with what the image surely has.
fn draft(name: &str, port: u16) -> Option<String> {
    let image = ImageName::parse(name);
    let tag = image.tag.unwrap_or_default();
    let url = format!("http://127.0.0.1:{port}/");
    let options = "HEALTHCHECK --interval=30s --timeout=3s --start-period=10s";
    match image.official() {
        _ if tag.contains("alpine") => Some(format!("{options} CMD wget -q -O /dev/null {url} || exit 1")),
        Some("alpine") => Some(format!("{options} CMD wget -q -O /dev/null {url} || exit 1")),
        Some("node") => Some(format!(
            "{options} CMD [\"node\", \"-e\", \"fetch('{url}').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))\"]"
        )),
        Some("python") => Some(format!(
            "{options} CMD [\"python\", \"-c\", \"import urllib.request; urllib.request.urlopen('{url}')\"]"
        )),
        Some("nginx") => Some(format!("{options} CMD curl -fsS -o /dev/null {url} || exit 1")),
        _ => None,
    }
}
