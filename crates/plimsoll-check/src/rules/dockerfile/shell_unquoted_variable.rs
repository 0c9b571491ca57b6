//! A variable without quotes is split at its blanks.
//!
//! ## Why
//! A value with a blank becomes two arguments, one with `*` the names of files. Variables whose value the Dockerfile
//! says, and that has none of both, are left alone; so are those whose name says that they hold several words (`FLAGS`,
//! `PACKAGES`, `OPTS`).
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ARG TARGET
//! RUN mkdir $TARGET
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ARG TARGET
//! RUN mkdir "$TARGET"
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::shell::{Expansion, ExpansionKind, ShellWord};
use crate::view::{DockerfileView, Variable};
use crate::{Check, Checker, Finding, Rule};

use super::runs::{Ran, commands};
use super::variables;

pub(super) const RULE: Rule = Rule::new("shell-unquoted-variable", Severity::Info)
    .aliases(&["SC2086"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        // `[[` splits nothing; `for x in $LIST` is no command.
        for word in ran
            .command
            .words
            .iter()
            .chain(ran.command.redirects.iter().filter_map(|one| one.target.as_ref()))
        {
            for one in word.expansions.iter().filter(|one| !one.quoted) {
                let ExpansionKind::Variable(name) = &one.kind else {
                    continue;
                };
                if ran.command.program() != Some("[[") && !holds_words(name) && !is_one_word(view, ran, name)
                {
                    report(view, checker, ran, word, one, name);
                }
            }
        }
    }
}

fn report(
    view: &DockerfileView,
    checker: &mut Checker<'_>,
    ran: Ran<'_>,
    word: &ShellWord,
    one: &Expansion,
    name: &str,
) {
    let written = view.source.slice(one.span);
    let finding = Finding::new(
        &view.source,
        one.span,
        format!("`{written}` is split where its value has blanks"),
    )
    .help(format!("write `\"{written}\"`"));
    // Whole words only: quotes in the midst of one are right too, and ugly.
    let whole = written.starts_with('$')
        && word.span.len() >= one.span.len()
        && !word.quoted
        && word.expansions.len() == 1;
    let list = matches!(
        ran.command.program(),
        Some("apt-get" | "apt" | "apk" | "pip" | "npm" | "yum" | "dnf" | "eval" | "exec")
    );
    let quoted = view.source.slice(word.span);
    let plain = !quoted.contains(['\n', '\\', '*', '?', '[', '~', '{', '`', '"'])
        || (quoted == written && !quoted.contains('\n'));
    // In the text of another shell, or in JSON, quotes mean something else.
    let quotable = !ran.command.place.nested && ran.of.script.shell.is_some();
    let program = ran
        .command
        .program_word()
        .is_some_and(|first| first.span == word.span);
    checker.report(
        match whole && quotable && plain && !list && !program && !name.is_empty() {
            true => {
                finding.fix(Fix::ask("quote it").replace(&view.source, word.span, format!("\"{quoted}\"")))
            }
            false => finding,
        },
    );
}

/// The name says that it holds several words.
fn holds_words(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let ends = [
        "FLAGS",
        "OPTS",
        "OPTIONS",
        "ARGS",
        "PACKAGES",
        "PKGS",
        "DEPS",
        "LIST",
        "PLUGINS",
        "MODULES",
        "EXTENSIONS",
        "LIBS",
        "TOOLS",
        "FILES",
        "DIRS",
        "REQUIREMENTS",
    ];
    ends.iter().any(|end| name.ends_with(end)) || name == "*"
}

/// The Dockerfile says its value, or the text sets it to something without blanks.
fn is_one_word(view: &DockerfileView, ran: Ran<'_>, name: &str) -> bool {
    let plain = |value: &str| !value.is_empty() && !value.contains([' ', '\t', '\n', '*', '?', '[']);
    let set = ran
        .of
        .script
        .commands
        .iter()
        .flat_map(|command| &command.assignments)
        .filter(|one| one.name == name);
    let mut values = set
        .map(|one| {
            one.value
                .as_ref()
                .is_some_and(|value| value.expansions.is_empty() && plain(&value.text))
        })
        .peekable();
    if values.peek().is_some() {
        return values.all(|plain| plain);
    }
    let platform = variables::PLATFORM_ARGS.contains(&name);
    platform || matches!(view.variable(ran.of.step.at, name), Variable::Known(value) if plain(&value))
}
