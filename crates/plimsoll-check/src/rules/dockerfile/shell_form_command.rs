//! CMD or ENTRYPOINT is in shell form, so a shell stands between the container and the program.
//!
//! ## Why
//! The shell is process 1 then, and it does not hand on signals: `docker stop` waits ten seconds and kills. Arguments
//! given to `docker run` are lost with a shell-form ENTRYPOINT. Where SHELL is set, the shell form is taken to be
//! meant.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! CMD node server.js
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! CMD ["node", "server.js"]
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::{Command, InstructionKind};

use crate::rules::image::look;
use crate::shell::{Place, ShellWord};
use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("shell-form-command", Severity::Warning)
    .aliases(&["DL3025", "JSONArgsRecommended"])
    .checks(&[Check::Dockerfile(check), Check::Image(look::shell_form_command)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let (InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command)) = step.effective() else {
            continue;
        };
        let Command::Shell(text) = command else { continue };
        if view.shell_words(step.at).is_some() || text.value.trim().is_empty() {
            continue;
        }
        let keyword = match step.effective() {
            InstructionKind::Cmd(_) => "CMD",
            _ => "ENTRYPOINT",
        };
        let message = format!("{keyword} is in shell form: the program gets no signals");
        let mut finding = Finding::new(&view.source, text.span, message);
        finding = match exec_form(view, step) {
            Some(json) => {
                let title = "write the exec form";
                let fix = if is_safe(view, step) {
                    Fix::safe(title)
                } else {
                    Fix::ask(title)
                };
                finding.help(format!("write `{keyword} {json}`")).fix(fix.replace(
                    &view.source,
                    text.span,
                    json,
                ))
            }
            None => finding.help(
                "write it as a JSON array; what needs a shell can call one and `exec` the program in it",
            ),
        };
        checker.report(finding);
    }
}

/// The words of a command that is nothing but a program and its arguments.
fn exec_form(view: &DockerfileView, step: Step<'_>) -> Option<String> {
    const BUILTINS: [&str; 24] = [
        "cd", "exec", "exit", "export", "set", "source", ".", ":", "eval", "ulimit", "umask", "wait", "trap",
        "type", "read", "unset", "shift", "alias", "local", "return", "break", "continue", "command", "[[",
    ];
    let script = view.script(step.at)?;
    let [command] = script.commands.as_slice() else {
        return None;
    };
    let place = command.place;
    if !command.assignments.is_empty() || !command.redirects.is_empty() || place != Place::default() {
        return None;
    }
    let words = match command.words.as_slice() {
        [exec, rest @ ..] if exec.text == "exec" && !rest.first()?.is_flag() => rest,
        words => words,
    };
    let first = words.first()?;
    let plain = |word: &ShellWord| {
        let written = view.source.slice(word.span);
        word.is_literal() && (word.quoted || !written.contains(['{', '~', '\n', '#', '\r']))
    };
    if BUILTINS.contains(&first.text.as_str()) || !words.iter().all(plain) {
        return None;
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| serde_json::Value::from(word.text.as_str()).to_string())
        .collect();
    Some(format!("[{}]", words.join(", ")))
}

/// A shell form of ENTRYPOINT ignores CMD, and one of CMD is given to an ENTRYPOINT as three words.
fn is_safe(view: &DockerfileView, step: Step<'_>) -> bool {
    let Some(stage) = step.stage else { return false };
    let steps = view.chain(stage).flat_map(|stage| view.steps_of(stage));
    let is_cmd = matches!(step.effective(), InstructionKind::Cmd(_));
    let other = |kind: &InstructionKind| match kind {
        InstructionKind::Entrypoint(_) => is_cmd,
        InstructionKind::Cmd(_) => !is_cmd,
        _ => false,
    };
    let clashes = steps.into_iter().any(|step| other(step.effective()));
    !clashes
        && matches!(
            step.kind(),
            InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_)
        )
}
