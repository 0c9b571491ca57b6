//! Facts held against a policy.

use super::Policy;
use super::settings::covers;
use crate::facts::{Base, Facts, FindingFact, ImageFacts, RunFacts, is_root};
use crate::secret;

/// What a policy says to facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether all that is asked for is there.
    pub allowed: bool,
    /// What is not; empty if allowed.
    pub reasons: Vec<Reason>,
}

/// Something that is asked for and not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The key of the policy.
    pub demand: &'static str,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub fix: String,
}

impl Reason {
    fn new(demand: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            demand,
            message: message.into(),
            fix: fix.into(),
        }
    }
}

impl Policy {
    /// Tells whether facts are as this policy wants them, and what is not.
    pub fn judge(&self, facts: &Facts) -> Verdict {
        let mut reasons = Vec::new();
        let run = facts.run.as_ref();
        if let Some(image) = &facts.image {
            reasons.extend(self.image(image, run));
        }
        if let Some(run) = run {
            reasons.extend(self.run(run));
        }
        reasons.extend(facts.bases.iter().flat_map(|base| self.base(base)));
        reasons.extend(facts.findings.iter().filter_map(|finding| self.finding(finding)));
        // Two layers with the same trouble are one thing to mend.
        let mut seen = Vec::new();
        reasons.retain(|reason| {
            !seen.contains(reason) && {
                seen.push(reason.clone());
                true
            }
        });
        Verdict {
            allowed: reasons.is_empty(),
            reasons,
        }
    }

    fn image(&self, image: &ImageFacts, run: Option<&RunFacts>) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let user = run
            .and_then(|run| run.user.as_deref())
            .unwrap_or(&image.config.config.user);
        if self.non_root_user && is_root(user) {
            let (who, fix) = match run {
                Some(run) => (
                    run.who(),
                    "run it with `--user 65532`, or add `USER 65532` to the stage that ships",
                ),
                None => (
                    "the image".to_owned(),
                    "add `USER 65532`, or a user of the base image such as `USER node`, to the stage that ships",
                ),
            };
            reasons.push(Reason::new("non-root-user", format!("{who} runs as root"), fix));
        }
        let checked = match run.and_then(|run| run.healthcheck) {
            Some(checked) => checked,
            None => image.has_healthcheck(),
        };
        if self.healthcheck && !checked {
            let fix = "add `HEALTHCHECK CMD [\"program\", \"that\", \"asks\"]` to the stage that ships, or a `healthcheck:` to the service";
            let message = format!("nothing says how to see whether {} is well", who(run));
            reasons.push(Reason::new("healthcheck", message, fix));
        }
        let shell = run
            .and_then(|run| run.shell_command)
            .unwrap_or_else(|| image.uses_shell_form());
        if self.exec_form && shell {
            let fix = "write CMD and ENTRYPOINT as a list: `CMD [\"program\", \"argument\"]`";
            let message = format!(
                "the program of {} is started by a shell, which does not pass signals on",
                who(run)
            );
            reasons.push(Reason::new("exec-form", message, fix));
        }
        let size = image.size();
        if let Some(most) = self.max_size.filter(|most| size > *most) {
            let message = format!("the image has {size} bytes, {} more than allowed", size - most);
            let fix = format!("see what they are: `plimsoll image du {}`", image.name);
            reasons.push(Reason::new("max-size", message, fix));
        }
        reasons
    }

    fn run(&self, run: &RunFacts) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let who = run.who();
        let compose = run.service.is_some();
        if self.limits {
            let missing: Vec<_> = [
                (run.memory, "memory", "--memory 512m", "mem_limit: 512m"),
                (run.cpus, "processor time", "--cpus 1", "cpus: 1"),
                (run.pids, "processes", "--pids-limit 256", "pids_limit: 256"),
            ]
            .into_iter()
            .filter(|(limited, ..)| !limited)
            .collect();
            if !missing.is_empty() {
                let what: Vec<_> = missing.iter().map(|(_, what, ..)| *what).collect();
                let fix: Vec<_> = missing
                    .iter()
                    .map(|(_, _, flag, key)| format!("`{}`", if compose { key } else { flag }))
                    .collect();
                reasons.push(Reason::new(
                    "limits",
                    format!("{who} has no limit of {}", what.join(", ")),
                    format!("set {}", fix.join(", ")),
                ));
            }
        }
        if self.read_only && !run.read_only {
            let fix = match compose {
                true => "set `read_only: true`, with `tmpfs:` for what the program writes",
                false => "run it with `--read-only`, and `--tmpfs /tmp` for what the program writes",
            };
            reasons.push(Reason::new(
                "read-only",
                format!("{who} can write to its root file system"),
                fix,
            ));
        }
        if self.no_privileged && run.privileged {
            let fix = "leave `privileged` out, and add the capability or device that is needed";
            reasons.push(Reason::new("no-privileged", format!("{who} is privileged"), fix));
        }
        if self.no_secrets {
            for name in &run.secret_variables {
                let fix = format!(
                    "mount it as a secret and set `{name}_FILE`, or leave the value to the caller's environment"
                );
                let message = format!("{who} gets a secret in the variable `{name}`");
                reasons.push(Reason::new("no-secrets", message, fix));
            }
        }
        reasons
    }

    fn base(&self, base: &Base) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.pinned_base && !base.pinned {
            let fix = match &base.digest {
                Some(digest) => format!("write `{}@{digest}`", base.name),
                None => format!(
                    "write `{}@sha256:...`; `plimsoll imagetools inspect {}` says the digest",
                    base.name, base.name
                ),
            };
            let message = format!("base image `{}` is not pinned to a digest", base.name);
            reasons.push(Reason::new("pinned-base", message, fix));
        }
        if let Some(trusted) = &self.trusted_registries {
            let name = full_name(&base.name);
            if !trusted.iter().any(|one| covers(one, &name)) {
                let message = format!(
                    "base image `{}` is from a registry that is not trusted",
                    base.name
                );
                let fix = format!("take it from one of: {}", trusted.join(", "));
                reasons.push(Reason::new("trusted-registries", message, fix));
            }
        }
        reasons
    }

    fn finding(&self, finding: &FindingFact) -> Option<Reason> {
        let secret = secret::RULES.contains(&finding.rule.as_str());
        let demand = if secret && self.no_secrets {
            "no-secrets"
        } else if self.forbid_rules.contains(&finding.rule) {
            "forbid-rules"
        } else if self.no_findings.is_some_and(|least| finding.severity >= least) {
            "no-findings"
        } else {
            return None;
        };
        let place = finding
            .place
            .as_ref()
            .map(|place| format!("{place}: "))
            .unwrap_or_default();
        let message = format!("{place}{} [{}]", finding.message, finding.rule);
        let fix = finding
            .help
            .clone()
            .unwrap_or_else(|| format!("see `plimsoll check --explain {}`", finding.rule));
        Some(Reason::new(demand, message, fix))
    }
}

fn who(run: Option<&RunFacts>) -> String {
    run.map_or_else(|| "the image".to_owned(), RunFacts::who)
}

impl RunFacts {
    fn who(&self) -> String {
        match &self.service {
            Some(service) => format!("service `{service}`"),
            None => "the container".to_owned(),
        }
    }
}

/// A name with its registry: `nginx` is `docker.io/library/nginx`.
fn full_name(name: &str) -> String {
    let name = name.split('@').next().unwrap_or(name);
    let first = name.split('/').next().unwrap_or_default();
    let has_registry = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    let path = match (has_registry, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    let (folder, last) = path.rsplit_once('/').expect("there is a registry");
    format!("{folder}/{}", last.split(':').next().unwrap_or(last))
}

#[cfg(test)]
mod tests;
