//! What is known about an image, a container to be and a build context: plain data, filled in by whoever can look.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_diagnostics::{Severity, Source, Span};
use plimsoll_oci::ImageConfig;

use crate::secret;

/// All that a policy judges. What nobody could look at is `None`, and is not held against anyone.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The image.
    pub image: Option<ImageFacts>,
    /// How its container would run; only where one is to run.
    pub run: Option<RunFacts>,
    /// Base images by name, as the Dockerfile or the build's record has them.
    pub bases: Vec<Base>,
    /// What checking files and image has found.
    pub findings: Vec<FindingFact>,
}

/// A base image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// As it was written, variables resolved.
    pub name: String,
    /// `sha256:...` that it stood for, where that is known.
    pub digest: Option<String>,
    /// Whether its name says the digest.
    pub pinned: bool,
}

/// What a policy needs to know of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingFact {
    /// The rule.
    pub rule: String,
    /// Its severity.
    pub severity: Severity,
    /// What it says.
    pub message: String,
    /// `file:line`, where there is one.
    pub place: Option<String>,
    /// The way out.
    pub help: Option<String>,
}

/// How a container would run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFacts {
    /// Name of the service, with compose.
    pub service: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// Bytes of memory.
    pub memory: bool,
    /// Processor time.
    pub cpus: bool,
    /// Number of processes.
    pub pids: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// `--health-cmd`: some if it decides, and what.
    pub healthcheck: Option<bool>,
    /// A command that replaces the image's: whether it goes through a shell.
    pub shell_command: Option<bool>,
    /// Names of variables whose value is a secret.
    pub secret_variables: Vec<String>,
}

/// What is known of an image.
#[derive(Clone, Debug, Default)]
pub struct ImageFacts {
    /// The name that it was asked for by, or the archive.
    pub name: String,
    /// Other names that it has, in full and familiar form.
    pub names: Vec<String>,
    /// Its configuration and history.
    pub config: ImageConfig,
    /// Its layers, base first; empty where only the configuration is known.
    pub layers: Vec<LayerFacts>,
    /// What is in its files; none where nobody looked.
    pub files: Option<FileFacts>,
}

/// What a layer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerFacts {
    /// Bytes of its files.
    pub size: u64,
    /// Bytes of them that a later layer covers or deletes.
    pub wasted: u64,
}

/// What is in the files of an image.
#[derive(Clone, Debug, Default)]
pub struct FileFacts {
    /// Programs that run with the rights of their owner or group.
    pub setuid: Vec<FileFact>,
    /// What a build left behind.
    pub leftovers: Vec<FileFact>,
    /// Secrets in files, those of layers below included.
    pub secrets: Vec<SecretFile>,
    /// Names of programs in the folders of `PATH`.
    pub programs: BTreeSet<String>,
    /// Accounts of `/etc/passwd` and `/etc/shadow`.
    pub accounts: Vec<Account>,
    /// Groups of `/etc/group`: name and number.
    pub groups: Vec<(String, u32)>,
    /// Whether lists of a package manager are there: folder and bytes.
    pub package_lists: Vec<FileFact>,
    /// What later layers cover or delete, the greatest first.
    pub waste: Vec<WasteFact>,
    /// Owner of the folders that are volumes: path and number of the user.
    pub volume_owners: BTreeMap<String, u32>,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFact {
    /// Absolute.
    pub path: String,
    /// Its layer, counted from the base.
    pub layer: usize,
    /// Its bytes, or those of all that is in it.
    pub size: u64,
    /// Permissions and setuid bits.
    pub mode: u32,
}

/// A file with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Absolute.
    pub path: String,
    /// Its layer, counted from the base.
    pub layer: usize,
    /// From 1; none if the file as a whole is one.
    pub line: Option<usize>,
    /// What it is, with its article.
    pub kind: &'static str,
    /// Whether a later layer covers or deletes it: containers do not see it, whoever has the image does.
    pub covered: bool,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Whether anyone may log in without a password.
    pub empty_password: bool,
}

/// Bytes that no container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WasteFact {
    /// Absolute.
    pub path: String,
    /// How many.
    pub size: u64,
    /// The layer that has them.
    pub layer: usize,
    /// The layer that covers or deletes them.
    pub by: usize,
    /// Deleted, not replaced.
    pub deleted: bool,
}

impl ImageFacts {
    /// Tells whether a name means this image.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.names.iter().any(|own| own == name)
    }

    /// The image as a text that findings can point into: its history, a line for each instruction, secrets covered.
    pub fn source(&self) -> Source {
        let lines: Vec<String> = self.instructions().map(|line| covered(&line)).collect();
        Source::new(self.name.as_str(), lines.join("\n"))
    }

    /// The instructions of the history on one line each, base first.
    pub fn instructions(&self) -> impl Iterator<Item = String> {
        let texts = self.config.history.iter().map(|line| line.created_by.as_deref());
        texts.map(|text| instruction(text.unwrap_or_default()).replace(['\n', '\t'], " "))
    }

    /// The line of the history that made a layer.
    pub fn line_of_layer(&self, layer: usize) -> Option<usize> {
        let lines = self.config.history.iter().enumerate();
        lines
            .filter(|(_, line)| !line.empty_layer)
            .nth(layer)
            .map(|(line, _)| line)
    }

    /// Bytes of all layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Variables with their values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.config.config.env.iter();
        variables.map(|variable| variable.split_once('=').unwrap_or((variable, "")))
    }

    /// Whether it says how to see that a container is well; `NONE` says not to look.
    pub fn has_healthcheck(&self) -> bool {
        let check = self.config.config.healthcheck.as_ref();
        check.is_some_and(|check| !check.test.is_empty() && check.test[0] != "NONE")
    }

    /// Whether a shell that nobody asked for starts the program: the shell form of CMD or ENTRYPOINT.
    pub fn uses_shell_form(&self) -> bool {
        let config = &self.config.config;
        let commands = [&config.entrypoint, &config.cmd];
        commands
            .into_iter()
            .flatten()
            .any(|command| is_shell_form(command))
    }
}

/// An instruction with stars where secrets stand, those too that only their names give away.
fn covered(line: &str) -> String {
    let mut places: Vec<Span> = secret::of_text(line)
        .into_iter()
        .map(|found| found.span)
        .collect();
    for (at, _) in line.match_indices('=') {
        let before = &line[..at];
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let name = &before[before.trim_end_matches(is_name).len()..];
        // Values with blanks are quoted, or the last of their line.
        let value = &line[at + 1..];
        let quote = value.chars().next().filter(|letter| matches!(letter, '"' | '\''));
        let end = match quote {
            Some(quote) => value[1..].find(quote).map(|end| end + 2),
            None if line[at + 1..].contains('=') => value.find(' '),
            None => None,
        };
        let value = &value[..end.unwrap_or(value.len())];
        if let Some(found) = secret::of_variable(name, value) {
            places.push(Span::new(at + 1 + found.span.start, at + 1 + found.span.end));
        }
    }
    secret::mask(line, &places)
}

/// An instruction as somebody would write it, from what builders put into the history.
fn instruction(text: &str) -> String {
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim();
    if let Some(command) = text.strip_prefix("RUN /bin/sh -c ") {
        return format!("RUN {command}");
    }
    match text.strip_prefix("/bin/sh -c #(nop)") {
        Some(instruction) => instruction.trim().to_owned(),
        None if text.starts_with("/bin/sh -c ") || text.starts_with('|') => format!("RUN {text}"),
        None => text.to_owned(),
    }
}

/// `USER name:group` without the group.
pub fn account(user: &str) -> &str {
    match user.split(':').next().unwrap_or_default().trim() {
        "" => "root",
        user => user,
    }
}

/// Whether a `USER` means root.
pub fn is_root(user: &str) -> bool {
    let user = account(user);
    user == "root" || user.parse::<u32>() == Ok(0)
}

/// As builders write the shell form. `["sh", "-c", "..."]` that somebody wrote on purpose has no path.
pub fn is_shell_form(command: &[String]) -> bool {
    let [shell, flag, _] = command else { return false };
    matches!(
        (shell.as_str(), flag.as_str()),
        ("/bin/sh", "-c") | ("/bin/bash", "-c" | "-lc")
    ) || (shell == "cmd" && flag == "/S")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_many_names() {
        for user in ["", "root", "0", "0:0", "root:app", ":app", " 0 ", "00"] {
            assert!(is_root(user), "{user:?}");
        }
        for user in ["node", "65532", "app:root", "1000:0"] {
            assert!(!is_root(user), "{user:?}");
        }
    }

    #[test]
    fn no_line_of_the_history_shows_a_secret() {
        for (line, shown) in [
            ("ENV API_KEY=hunter2-hunter2", "ENV API_KEY=***************"),
            ("ENV A=1 PASSWORD=hunter2 B=2", "ENV A=1 PASSWORD=******* B=2"),
            ("ENV PASSWORD=\"two words\" B=2", "ENV PASSWORD=\"*********\" B=2"),
            (
                "RUN |1 TOKEN=hunter2 /bin/sh -c make A=b",
                "RUN |1 TOKEN=******* /bin/sh -c make A=b",
            ),
            (
                "RUN git clone https://me:hunter2@example.com/x",
                "RUN git clone https://me:*******@example.com/x",
            ),
        ] {
            assert_eq!(covered(line), shown);
        }
    }

    #[test]
    fn the_shell_form_is_known_by_what_builders_make_of_it() {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert!(is_shell_form(&command(&["/bin/sh", "-c", "node server.js"])));
        assert!(!is_shell_form(&command(&["sh", "-c", "node server.js"])));
        assert!(!is_shell_form(&command(&["node", "server.js"])));
    }
}
