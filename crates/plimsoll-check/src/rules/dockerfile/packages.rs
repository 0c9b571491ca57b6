//! Package managers: what a command tells one of them to do, and with which packages.

use crate::shell::{ShellCommand, ShellWord, operands};

/// A package manager's command line.
pub(super) struct Manager {
    /// What it is called.
    programs: &'static [&'static str],
    /// Its options that take the next word as their value.
    valued: &'static [&'static str],
}

/// What a package manager is told.
pub(super) struct Call<'a> {
    /// The word that says what to do: `install`.
    pub(super) verb: &'a ShellWord,
    /// What to do it with.
    pub(super) operands: Vec<&'a ShellWord>,
}

pub(super) const APT: Manager = Manager {
    programs: &["apt-get", "apt", "aptitude"],
    valued: &[
        "-t",
        "--target-release",
        "--default-release",
        "-o",
        "--option",
        "-c",
        "--config-file",
        "-a",
    ],
};
pub(super) const APK: Manager = Manager {
    programs: &["apk"],
    valued: &[
        "--repository",
        "-X",
        "--virtual",
        "-t",
        "--root",
        "-p",
        "--keys-dir",
        "--arch",
        "--repositories-file",
        "--wait",
        "--cache-dir",
        "--cache-max-age",
        "--progress-fd",
    ],
};
pub(super) const YUM: Manager = Manager {
    programs: &["yum"],
    valued: RPM_VALUED,
};
pub(super) const DNF: Manager = Manager {
    programs: &["dnf", "microdnf", "dnf5"],
    valued: RPM_VALUED,
};
const RPM_VALUED: &[&str] = &[
    "--setopt",
    "--enablerepo",
    "--disablerepo",
    "--repo",
    "--exclude",
    "-x",
    "-c",
    "--releasever",
    "--installroot",
];
pub(super) const ZYPPER: Manager = Manager {
    programs: &["zypper"],
    valued: &[
        "--repo",
        "-r",
        "--from",
        "--root",
        "-R",
        "-t",
        "--type",
        "-C",
        "--capability",
        "--name",
        "-p",
    ],
};
const PIP: Manager = Manager {
    programs: &[],
    valued: &[
        "-r",
        "--requirement",
        "-c",
        "--constraint",
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-t",
        "--target",
        "--prefix",
        "--root",
        "--trusted-host",
        "--proxy",
        "--timeout",
        "--retries",
        "--cache-dir",
        "--src",
        "--platform",
        "--python-version",
        "--no-binary",
        "--only-binary",
        "--progress-bar",
        "--global-option",
        "--install-option",
        "--config-settings",
        "-C",
        "--build-option",
        "--python",
        "-e",
        "--editable",
        "--cert",
        "--client-cert",
        "--exists-action",
        "--upgrade-strategy",
        "--log",
        "--report",
        "--abi",
        "--implementation",
        "--root-user-action",
        "--use-feature",
        "--group",
    ],
};
pub(super) const NPM: Manager = Manager {
    programs: &["npm"],
    valued: &[
        "--registry",
        "--prefix",
        "-C",
        "--cache",
        "--loglevel",
        "--omit",
        "--include",
        "--userconfig",
        "-w",
        "--workspace",
        "--fetch-timeout",
        "--only",
        "--maxsockets",
        "--tag",
    ],
};
pub(super) const GEM: Manager = Manager {
    programs: &["gem"],
    valued: &[
        "-v",
        "--version",
        "-i",
        "--install-dir",
        "-n",
        "--bindir",
        "-s",
        "--source",
        "--platform",
        "-P",
        "--trust-policy",
        "-p",
        "--http-proxy",
        "--document",
    ],
};

impl Manager {
    /// What a command tells it, if it is one of `verbs`.
    pub(super) fn call<'a>(&self, command: &'a ShellCommand, verbs: &[&str]) -> Option<Call<'a>> {
        let program = command.program()?;
        self.programs
            .contains(&program)
            .then(|| self.read(command.args(), verbs))?
    }

    fn read<'a>(&self, args: &'a [ShellWord], verbs: &[&str]) -> Option<Call<'a>> {
        let mut operands = operands(args, self.valued);
        let verb = operands
            .next()
            .filter(|verb| verbs.contains(&verb.text.as_str()))?;
        Some(Call {
            verb,
            operands: operands.collect(),
        })
    }
}

/// `pip install`, by whatever name.
pub(super) fn pip_install(command: &ShellCommand) -> Option<Call<'_>> {
    let program = command.program()?;
    let args = command.args();
    let is_version = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is = |name: &str| program.strip_prefix(name).is_some_and(is_version);
    if is("pip") {
        return PIP.read(args, &["install"]);
    }
    let module = args
        .windows(2)
        .position(|pair| pair[0].text == "-m" && pair[1].text == "pip");
    match module {
        Some(at) if is("python") => PIP.read(&args[at + 2..], &["install"]),
        _ => None,
    }
}

/// Whether the shell puts something into a word, so that nobody can say what it is.
pub(super) fn is_dynamic(word: &ShellWord) -> bool {
    !word.expansions.is_empty()
}

/// The names of words, as a person lists them: the first three of them.
pub(super) fn listed(words: &[&ShellWord]) -> String {
    let mut names: Vec<String> = words
        .iter()
        .take(3)
        .map(|word| format!("`{}`", word.text))
        .collect();
    match words.len() {
        0..=3 => names.join(", "),
        more => {
            names.push(format!("{} more", more - 3));
            names.join(", ")
        }
    }
}
