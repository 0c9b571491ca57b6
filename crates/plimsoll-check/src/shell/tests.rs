use std::fmt::Write;

use plimsoll_diagnostics::Source;
use proptest::prelude::*;

use super::*;
use crate::view::BuildSettings;

fn view(text: &str) -> DockerfileView {
    DockerfileView::new(
        "Dockerfile",
        &Source::new("Dockerfile", text),
        BuildSettings::default(),
    )
}

/// The last instruction's commands, one per line: place, program, what the source says at its words.
fn commands(text: &str) -> String {
    let view = view(text);
    let last = view.dockerfile.instructions.len() - 1;
    let Some(script) = view.script(last) else {
        return "no shell".into();
    };
    if let Some(problem) = &script.problem {
        let position = view.source.position(problem.span.start);
        return format!("{}:{}: {}", position.line, position.column, problem.message);
    }
    let mut out = String::new();
    for command in &script.commands {
        let position = view.source.position(command.span.start);
        let words = command.words.iter().map(|word| view.source.slice(word.span));
        let words: Vec<&str> = words.collect();
        let place = command.place;
        let flags = [
            (place.subshell, "subshell"),
            (place.condition, "condition"),
            (place.branch, "branch"),
            (place.looped, "loop"),
            (place.function, "function"),
            (place.substitution, "substitution"),
            (place.nested, "nested"),
            (place.background, "background"),
            (place.negated, "negated"),
            (place.rescued, "rescued"),
        ];
        let flags = flags
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, name)| format!(" {name}"));
        let pipe = match command.pipeline {
            Pipeline { length: 1, .. } => String::new(),
            Pipeline { index, length, .. } => format!(" {}/{length}", index + 1),
        };
        writeln!(
            out,
            "{}:{} {:?}{pipe}{} {} <- {}",
            position.line,
            position.column,
            command.joint,
            flags.collect::<String>(),
            command.program().unwrap_or("?"),
            words.join("|"),
        )
        .expect("a string takes all");
    }
    out
}

#[test]
fn chains_pipelines_and_what_stands_in_them() {
    insta::assert_snapshot!(commands(
        "FROM x\nRUN --mount=type=cache,target=/x set -eux; \\\n  apt-get update \\\n  # why\n\n  && DEBIAN_FRONTEND=noninteractive apt-get -y \\\n     install 'a b' \"$PKGS\" c\\\nurl; curl -fsSL https://x/$(uname -m) | sudo -E sh -s -- x >/dev/null 2>&1 || exit 1\n"
    ));
}

#[test]
fn compound_commands() {
    insta::assert_snapshot!(commands(
        "FROM x\nRUN if [ -f a ]; then b & elif ! c; then (d); else e; fi; for f in $(g); do h; done; while i; do j; done; case $k in l) m;; esac; n() { o; }; { p; } >q; export R=$(s) t; [[ -n $(u) ]]\n"
    ));
}

#[test]
fn here_documents() {
    insta::assert_snapshot!(commands(
        "FROM x\nRUN <<EOF\napt-get update\napt-get install -y x\nEOF\n"
    ));
    insta::assert_snapshot!(commands(
        "FROM x\nRUN cat <<EOF >/a && b <<-X\nfoo; bar\nEOF\n\t\tfoo\n\tX\n"
    ));
    insta::assert_snapshot!(commands(
        "FROM x\nRUN bash -ex <<-'EOF'\n\t\tfoo\n\tbar baz\n\tEOF\n"
    ));
    insta::assert_snapshot!(commands(
        "FROM x\nRUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n"
    ));
    insta::assert_snapshot!(commands("FROM x\nRUN <<EOF\n#!/usr/bin/env bash\nls\nEOF\n"));
    insta::assert_snapshot!(commands("FROM x\r\nRUN <<EOF\r\nls a\r\nls b\r\nEOF\r\n"));
}

#[test]
fn exec_forms_and_shells_in_shells() {
    insta::assert_snapshot!(commands(
        r#"FROM x
CMD ["/bin/sh", "-c", "cd /x && exec node app.js"]
"#
    ));
    insta::assert_snapshot!(commands(
        "FROM x\nRUN sh -ec 'a b' && su u -c \"c $D\" && su - u -c \"e\"\n"
    ));
    insta::assert_snapshot!(commands("FROM x\nHEALTHCHECK CMD curl -f x || exit 1\n"));
}

#[test]
fn other_shells_are_not_read() {
    for text in [
        "FROM x\nSHELL [\"powershell\", \"-Command\"]\nRUN Get-Item x\n",
        "FROM mcr.microsoft.com/windows/servercore:ltsc2022\nRUN dir\n",
        "FROM x\nSHELL [\"cmd\", \"/S\", \"/C\"]\nRUN dir\n",
    ] {
        assert_eq!(commands(text), "no shell", "{text}");
    }
}

#[test]
fn how_the_shell_was_started_is_known() {
    let script = |text: &str| {
        let view = view(text);
        let script = view
            .script(view.dockerfile.instructions.len() - 1)
            .expect("it has a shell");
        let last = script.commands.last().expect("it has commands");
        (
            script.shell,
            script.stops_at_failures(last),
            script.has_pipefail(last),
        )
    };
    let bash = "FROM x\nSHELL [\"/bin/bash\", \"-eo\", \"pipefail\", \"-c\"]\nRUN a | b\n";
    assert_eq!(script(bash), (Some(Shell::Bash), true, true));
    assert_eq!(script("FROM x\nRUN a | b\n"), (Some(Shell::Posix), false, false));
    assert_eq!(
        script("FROM x\nRUN set -euxo pipefail; a | b\n"),
        (Some(Shell::Posix), true, true)
    );
    assert_eq!(
        script("FROM x\nRUN set -o pipefail && a | b\n"),
        (Some(Shell::Posix), false, true)
    );
    assert!(script("FROM x\nRUN a | b; set -o pipefail; c\n").2);
    assert_eq!(script("FROM x\nCMD [\"a\"]\n").0, None);
}

#[test]
fn what_cannot_be_parsed_is_told_once() {
    insta::assert_snapshot!(commands("FROM x\nRUN a && \\\n  if b; then\n"));
    insta::assert_snapshot!(commands("FROM x\nRUN a 'b\n"));
    assert_eq!(commands("FROM x\nRUN\n"), "no shell");
}

#[test]
fn words_tell_what_is_put_in() {
    let view = view("FROM x\nRUN a $B \"${C}d\" `e` \"$(f)\" ${G:-h} *.c '*' $@ \\*i\n");
    let script = view.script(1).expect("it has a shell");
    let words = script
        .commands
        .iter()
        .find(|command| command.program() == Some("a"));
    let words = words.expect("it is there").args().iter();
    let told: Vec<String> = words
        .map(|word| {
            let kinds = word.expansions.iter().map(|one| (&one.kind, one.quoted));
            format!("{} {:?} glob={}", word.text, kinds.collect::<Vec<_>>(), word.glob)
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn flags_and_operands() {
    let view = view("FROM x\nRUN apt-get -qqy --option=a -t stable install -- -x y\n");
    let command = &view.script(1).expect("it has a shell").commands[0];
    assert!(command.has_flag(Some('y'), &["--yes"]));
    assert!(command.has_flag(None, &["--option"]));
    assert!(!command.has_flag(Some('x'), &[]));
    assert_eq!(command.flag_value(&["-t", "--target-release"]), Some("stable"));
    assert_eq!(command.flag_value(&["--option"]), Some("a"));
    let operands: Vec<&str> = command.operands(&["-t"]).map(|word| word.text.as_str()).collect();
    assert_eq!(operands, ["install", "-x", "y"]);
}

#[test]
fn odd_texts_take_no_time() {
    let odd = [
        "(",
        "{ ",
        "a;",
        "a&&",
        "`",
        "\"a",
        "${a:-",
        "$((",
        "a|",
        "if a; then ",
        "case a in a) ",
        "{a,",
        "[[ ",
        "a() ",
        "a=(",
        "$(",
        "sh -c '",
        "sh -c \"sh -c ",
        "{a,}",
        "${a}{",
    ];
    for piece in odd {
        let text = format!("FROM x\nRUN {}\n", piece.repeat(100_000 / piece.len()));
        let started = std::time::Instant::now();
        commands(&text);
        assert!(started.elapsed().as_secs() < 5, "{piece}");
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "(FROM|RUN|CMD|[a-z $(){}'\"`|&;<>\\\\\n=\\[\\]!#*é-])*") {
        commands(&format!("FROM x\nRUN {text}"));
        commands(&format!("FROM x\nRUN <<E\n{text}\nE\n"));
    }
}

#[test]
fn an_open_brace_silences_what_cannot_be_told_apart() {
    assert_eq!(commands("FROM x\nRUN a {- && b\n"), "");
    assert_eq!(commands("FROM x\nRUN a {b,c} && d\n").lines().count(), 2);
    assert_eq!(
        commands("FROM x\nRUN find . -exec rm {} \\; && d\n")
            .lines()
            .count(),
        2
    );
}
