//! Which programs an image has, as far as its files or its name tell.

use std::collections::BTreeSet;

use plimsoll_dockerfile::InstructionKind;

use crate::view::{Base, DockerfileView, Stage, Workspace};

/// Programs of an image.
pub(super) struct Tools {
    /// From its files; none where they are not at hand.
    programs: Option<BTreeSet<String>>,
    /// Programs that are surely there, and surely not, by what is known of the base.
    family: Option<Family>,
    /// Texts of the instructions that install more.
    installs: String,
}

/// What a probe needs.
struct Probe {
    program: String,
    needs_shell: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Nothing at all: scratch, distroless.
    Empty,
    /// busybox: `wget`, no `curl`.
    Busybox,
    /// Debian, Ubuntu and languages on them: neither.
    Debian,
    /// The large images of languages have both.
    BuildPack,
}

/// The program that a health check starts with; none where that cannot be said.
fn probe(test: &[String]) -> Option<Probe> {
    let (first, rest) = test.split_first()?;
    match first.as_str() {
        "CMD" => Some(Probe {
            program: rest.first()?.clone(),
            needs_shell: false,
        }),
        "CMD-SHELL" => {
            // `a || exit 1` tries `a` first; with `a || b`, one of them may be missing.
            let text = rest.first()?;
            let commands: Vec<_> = text.split("||").map(str::trim).collect();
            let others = commands
                .iter()
                .skip(1)
                .any(|command| !command.starts_with("exit") && *command != "false");
            if others || text.starts_with(['(', '{', '!', '[', '$']) {
                return None;
            }
            let mut words = commands.first()?.split_whitespace();
            let program = words.find(|word| !word.contains('=') && !matches!(*word, "exec" | "timeout"))?;
            Some(Probe {
                program: program.to_owned(),
                needs_shell: true,
            })
        }
        _ => None,
    }
}

impl Tools {
    pub(super) fn known(programs: BTreeSet<String>) -> Self {
        Self {
            programs: Some(programs),
            family: None,
            installs: String::new(),
        }
    }

    pub(super) fn of_image(name: &str, workspace: &Workspace) -> Self {
        let files = workspace.image(name).and_then(|image| image.files.as_ref());
        Self {
            programs: files.map(|files| files.programs.clone()),
            family: family(name),
            installs: String::new(),
        }
    }

    pub(super) fn of_stage(view: &DockerfileView, stage: &Stage, workspace: &Workspace) -> Self {
        let mut tools = match (
            view.base_image(stage),
            view.chain(stage).last().map(|stage| &stage.base),
        ) {
            (Some(base), _) => Self::of_image(base, workspace),
            (None, Some(Base::Scratch)) => Self {
                programs: Some(BTreeSet::new()),
                family: Some(Family::Empty),
                installs: String::new(),
            },
            _ => Self {
                programs: None,
                family: None,
                installs: String::new(),
            },
        };
        for stage in view.chain(stage) {
            for step in view.steps_of(stage) {
                if matches!(
                    step.kind(),
                    InstructionKind::Run(_) | InstructionKind::Copy(_) | InstructionKind::Add(_)
                ) {
                    tools.installs += view.source.slice(step.span());
                    tools.installs.push('\n');
                }
            }
        }
        tools
    }

    /// What a health check needs and the image surely does not have.
    pub(super) fn lacks(&self, test: &[String]) -> Option<String> {
        let probe = probe(test)?;
        if probe.needs_shell && self.lacks_program("sh", false) {
            return Some("/bin/sh".to_owned());
        }
        self.lacks_program(&probe.program, probe.needs_shell)
            .then_some(probe.program)
    }

    /// Words of the shell need no program where there is one.
    fn lacks_program(&self, program: &str, in_shell: bool) -> bool {
        const BUILT_IN: [&str; 8] = ["test", "[", "exit", "true", "false", "echo", "kill", "cd"];
        let name = program.rsplit('/').next().unwrap_or(program);
        if self.installs.contains(name) || (in_shell && BUILT_IN.contains(&program)) {
            return false;
        }
        if let Some(programs) = &self.programs {
            // A path outside of PATH is a file that is not listed.
            let listed =
                !program.contains('/') || program.starts_with("/bin/") || program.starts_with("/usr/bin/");
            return listed && !programs.contains(name) && !(programs.contains("busybox") && is_applet(name));
        }
        match self.family {
            Some(Family::Empty) => ["sh", "curl", "wget", "nc"].contains(&name),
            Some(Family::Busybox) => ["curl", "bash"].contains(&name),
            Some(Family::Debian) => ["curl", "wget", "nc"].contains(&name),
            Some(Family::BuildPack) | None => false,
        }
    }

    /// What to use instead.
    pub(super) fn advice(&self, missing: &str) -> String {
        let has_wget = self
            .programs
            .as_ref()
            .map_or(self.family == Some(Family::Busybox), |programs| {
                programs.contains("wget") || programs.contains("busybox")
            });
        match (missing, has_wget) {
            ("curl", true) => "write `wget -q -O /dev/null URL`, which it has".to_owned(),
            ("/bin/sh", _) => {
                "it has no shell: write the check as a list with a program of the image".to_owned()
            }
            _ => format!("install `{missing}`, or look with a program that it has"),
        }
    }
}

fn is_applet(name: &str) -> bool {
    matches!(
        name,
        "wget" | "nc" | "sh" | "pgrep" | "ps" | "cat" | "grep" | "nslookup" | "ping" | "stat" | "netstat"
    )
}

/// What the name of an image tells of its programs.
fn family(name: &str) -> Option<Family> {
    let name = name.split('@').next()?;
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (name, "latest"),
    };
    let last = path.rsplit('/').next()?;
    if path.contains("distroless") {
        let debug = tag.contains("debug");
        return Some(if debug { Family::Busybox } else { Family::Empty });
    }
    const LANGUAGES: [&str; 10] = [
        "node",
        "python",
        "golang",
        "ruby",
        "rust",
        "php",
        "openjdk",
        "eclipse-temurin",
        "perl",
        "gcc",
    ];
    let is_official =
        !path.contains('/') || path.starts_with("docker.io/library/") || path.starts_with("library/");
    if !is_official {
        return None;
    }
    let alpine = tag.contains("alpine");
    match last {
        "scratch" => Some(Family::Empty),
        // php brings curl, also on alpine.
        "php" => None,
        "alpine" | "busybox" => Some(Family::Busybox),
        "debian" | "ubuntu" => Some(Family::Debian),
        _ if LANGUAGES.contains(&last) && alpine => Some(Family::Busybox),
        _ if LANGUAGES.contains(&last) && tag.contains("slim") => Some(Family::Debian),
        _ if LANGUAGES.contains(&last) => Some(Family::BuildPack),
        "postgres" | "redis" | "memcached" | "rabbitmq" if alpine => Some(Family::Busybox),
        "postgres" | "redis" | "memcached" | "mysql" | "mariadb" | "mongo" => Some(Family::Debian),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_tell_what_is_in_them() {
        let lacks = |image: &str, program: &str| {
            let tools = Tools::of_image(image, &Workspace::default());
            let test = ["CMD".to_owned(), program.to_owned()];
            tools.lacks(&test).is_some()
        };
        for image in [
            "node:22-alpine",
            "python:3-slim",
            "alpine",
            "debian:12",
            "postgres:17",
            "redis:7-alpine",
        ] {
            assert!(lacks(image, "curl"), "{image}");
        }
        for (image, program) in [
            ("node:22-alpine", "wget"),
            ("node:22", "curl"),
            ("nginx:alpine", "curl"),
            ("example/node", "curl"),
            ("php:8-alpine", "curl"),
            ("alpine", "/app/check"),
        ] {
            assert!(!lacks(image, program), "{image} {program}");
        }
        assert!(lacks("gcr.io/distroless/static", "wget"));
    }

    #[test]
    fn a_probe_is_what_runs_first() {
        let of = |text: &str| probe(&["CMD-SHELL".to_owned(), text.to_owned()]).map(|probe| probe.program);
        assert_eq!(of("curl -f http://x || exit 1").as_deref(), Some("curl"));
        assert_eq!(of("A=1 wget x").as_deref(), Some("wget"));
        assert_eq!(of("wget x || curl x"), None);
        assert_eq!(of("[ -f /ok ]"), None);
        assert!(probe(&["NONE".to_owned()]).is_none());
    }
}
