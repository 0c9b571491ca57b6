//! A program is told not to check whom it talks to or what it gets.
//!
//! ## Why
//! Then anybody between here and there can put something else into the image. A missing certificate is put right by
//! installing `ca-certificates` or the authority's certificate; an unsigned package by its signature.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN curl -k -fsSL -o /tmp/a https://example.com/a
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN curl -fsSL -o /tmp/a https://example.com/a
//! ```

use plimsoll_diagnostics::{Severity, Span};
use plimsoll_dockerfile::InstructionKind;

use crate::shell::{ShellCommand, ShellWord};
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("verification-off", Severity::Error)
    .aliases(&[
        "CKV2_DOCKER_2",
        "CKV2_DOCKER_3",
        "CKV2_DOCKER_4",
        "CKV2_DOCKER_5",
        "CKV2_DOCKER_6",
        "CKV2_DOCKER_7",
        "CKV2_DOCKER_8",
        "CKV2_DOCKER_9",
        "CKV2_DOCKER_10",
        "CKV2_DOCKER_11",
        "CKV2_DOCKER_12",
        "CKV2_DOCKER_13",
        "CKV2_DOCKER_14",
        "CKV2_DOCKER_15",
        "CKV2_DOCKER_16",
    ])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Env(pairs) = step.effective() else {
            continue;
        };
        for pair in pairs {
            if switches_off(&pair.key.value, pair.value.value.trim_matches(['"', '\''])) {
                let span = pair.key.span.join(pair.value.span);
                report(view, checker, span, &pair.key.value);
            }
        }
    }
    for ran in commands(view) {
        for one in &ran.command.assignments {
            if one
                .value
                .as_ref()
                .is_some_and(|value| switches_off(&one.name, &value.text))
            {
                report(view, checker, one.span, &one.name);
            }
        }
        if let Some(word) = option(ran.command) {
            report(view, checker, word.span, &word.text);
        }
    }
}

fn report(view: &DockerfileView, checker: &mut Checker<'_>, span: Span, what: &str) {
    let message = format!("`{what}` switches off the check of certificates or signatures");
    checker.report(
        Finding::new(&view.source, span, message)
            .help("leave it out, and install the certificate or key that is missing"),
    );
}

fn switches_off(name: &str, value: &str) -> bool {
    match name {
        "NODE_TLS_REJECT_UNAUTHORIZED" | "PYTHONHTTPSVERIFY" => value == "0",
        "GIT_SSL_NO_VERIFY" => !matches!(value, "" | "0" | "false"),
        "NPM_CONFIG_STRICT_SSL" | "npm_config_strict_ssl" | "YARN_ENABLE_STRICT_SSL" => value == "false",
        "PIP_TRUSTED_HOST" => !value.is_empty(),
        _ => false,
    }
}

/// The word that switches it off.
fn option(command: &ShellCommand) -> Option<&ShellWord> {
    let program = command.program()?;
    let named = |names: &[&str]| command.flag(None, names);
    let follows = |first: &str, values: &[&str]| {
        let args = command.args();
        let at = args.windows(2).position(|pair| {
            pair[0].text.eq_ignore_ascii_case(first)
                && values.contains(&pair[1].text.to_ascii_lowercase().as_str())
        })?;
        args.get(at)
    };
    let setting = |texts: &[&str]| {
        let mut args = command.args().iter();
        args.find(|word| {
            texts
                .iter()
                .any(|text| word.text.to_ascii_lowercase().starts_with(text))
        })
    };
    match program {
        "curl" => named(&["--insecure", "--proxy-insecure"])
            .or_else(|| command.args().iter().find(|word| is_insecure(&word.text))),
        "wget" => named(&["--no-check-certificate"]),
        "npm" => follows("strict-ssl", &["false"])
            .or_else(|| setting(&["--strict-ssl=false", "--no-strict-ssl", "strict-ssl=false"])),
        "yarn" | "pnpm" => follows("strict-ssl", &["false"]).or_else(|| setting(&["strict-ssl=false"])),
        "git" => follows("http.sslverify", &["false", "0", "\"false\""])
            .or_else(|| setting(&["http.sslverify=false", "http.sslverify=0"])),
        "apk" => named(&["--allow-untrusted"]),
        "apt-get" | "apt" | "aptitude" => named(&[
            "--allow-unauthenticated",
            "--force-yes",
            "--allow-insecure-repositories",
        ])
        .or_else(|| {
            setting(&[
                "acquire::allowinsecurerepositories=true",
                "apt::get::allowunauthenticated=true",
            ])
        }),
        "yum" | "dnf" | "microdnf" | "tdnf" => named(&["--nogpgcheck", "--no-gpgchecks"])
            .or_else(|| setting(&["sslverify=0", "--setopt=sslverify=0"])),
        "zypper" => named(&["--no-gpg-checks"]),
        "rpm" => named(&["--nosignature", "--nodigest", "--nogpg"]),
        "conda" | "mamba" => follows("ssl_verify", &["false", "no"]),
        "bundle" | "gem" => setting(&["ssl_verify_mode: 0"]),
        _ if program.starts_with("pip") || program.starts_with("python") => named(&["--trusted-host"]),
        _ => None,
    }
}

/// `-k` of curl, alone or among letters none of which takes what follows as its value.
fn is_insecure(text: &str) -> bool {
    let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else {
        return false;
    };
    let before = letters.split_once('k').map(|(before, _)| before);
    before.is_some_and(|before| {
        !before.contains([
            'o', 'H', 'd', 'u', 'A', 'e', 'b', 'c', 'F', 'T', 'X', 'x', 'm', 'w', 'r', 'E', 'K', 'C', 'D',
            'U', 'P', 'Q', 't', 'y', 'Y', 'z',
        ])
    })
}
