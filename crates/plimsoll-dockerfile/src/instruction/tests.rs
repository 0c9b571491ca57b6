//! Each instruction: what it may say, and what is said about it when it cannot be understood.

use plimsoll_diagnostics::{Severity, Source};

use crate::tree::{Command, CopySource, Dockerfile, HealthcheckInstruction, InstructionKind, Parsed, Word};

fn parse(text: &str) -> Parsed {
    Dockerfile::parse(&Source::new("Dockerfile", text))
}

/// The instruction that follows `FROM x`; it must be understood.
fn one(text: &str) -> InstructionKind {
    let parsed = parse(&format!("FROM x\n{text}"));
    assert!(!parsed.has_errors(), "{text}: {:?}", parsed.diagnostics);
    parsed
        .dockerfile
        .instructions
        .last()
        .expect("there is one")
        .kind
        .clone()
}

/// Message and hint of the only error in the instruction that follows `FROM x`.
fn error(text: &str) -> (String, String) {
    let parsed = parse(&format!("FROM x\n{text}\nUSER after\n"));
    let [only] = parsed.diagnostics.as_slice() else {
        panic!("{text}: {:?}", parsed.diagnostics)
    };
    assert_eq!(only.severity, Severity::Error);
    let InstructionKind::User(_) = parsed.dockerfile.instructions[1].kind else {
        panic!("the rest is lost")
    };
    (only.message.clone(), only.help.clone().unwrap_or_default())
}

fn values(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.value.as_str()).collect()
}

fn value(word: &Option<Word>) -> Option<&str> {
    word.as_ref().map(|word| word.value.as_str())
}

#[test]
fn from() {
    let InstructionKind::From(from) = one("FROM --platform=$BUILDPLATFORM node:20 as Build.1") else {
        panic!()
    };
    assert_eq!(value(&from.platform), Some("$BUILDPLATFORM"));
    assert_eq!(from.image.value, "node:20");
    assert_eq!(value(&from.name), Some("Build.1"));
    assert_eq!(error("FROM").0, "FROM needs at least one argument");
    assert_eq!(
        error("FROM a b"),
        (
            "FROM takes an image, and `AS NAME` after it".into(),
            "to name the stage, write `AS b`".into()
        )
    );
    assert_eq!(error("FROM a AS").1, "the name of the stage is missing");
    assert_eq!(error("FROM a # base").1, "a comment stands on a line of its own");
    assert_eq!(error("FROM a AS 1b").0, "`1b` is not a valid stage name");
    assert_eq!(error("FROM --plaform=x a").1, "did you mean `--platform`?");
}

#[test]
fn run() {
    let InstructionKind::Run(run) = one(
        "RUN --mount=type=cache,target=/c --network=none --mount=type=secret,id=\"a b\" --security=insecure --device=x echo \"$A\" --x",
    ) else {
        panic!()
    };
    assert_eq!(
        values(&run.mounts),
        ["type=cache,target=/c", "type=secret,id=a b"]
    );
    assert_eq!(value(&run.network), Some("none"));
    assert_eq!(value(&run.security), Some("insecure"));
    assert_eq!(values(&run.devices), ["x"]);
    let Command::Shell(command) = run.command else {
        panic!()
    };
    assert_eq!(command.value, "echo \"$A\" --x");

    let InstructionKind::Run(run) = one("RUN [\"a\", \"b c\"]") else {
        panic!()
    };
    let Command::Exec(arguments) = run.command else {
        panic!()
    };
    assert_eq!(values(&arguments), ["a", "b c"]);

    for text in ["RUN", "RUN []", "RUN --network=none"] {
        assert_eq!(error(text).0, "RUN needs at least one argument", "{text}");
    }
    assert_eq!(
        error("RUN [\"a\", 1]").0,
        "a JSON array must hold nothing but strings here"
    );
    assert!(matches!(one("RUN [ -d /x ] && y"), InstructionKind::Run(_)));
}

#[test]
fn run_with_heredocs() {
    let text = "RUN <<EOF\n# no comment\nFROM nothing\n  \\\nEOF\n";
    let InstructionKind::Run(run) = one(text) else {
        panic!()
    };
    assert_eq!(
        run.script().unwrap().body.value,
        "# no comment\nFROM nothing\n  \\\n"
    );

    let InstructionKind::Run(run) = one("RUN cat <<-'A' 3<<B\n\tx\n\tA\ny\nB\n") else {
        panic!()
    };
    assert!(run.script().is_none());
    let found: Vec<_> = run
        .heredocs
        .iter()
        .map(|doc| (doc.delimiter.as_str(), doc.expand, doc.body.value.as_str()))
        .collect();
    assert_eq!(found, [("A", false, "x\n"), ("B", true, "y\n")]);

    let parsed = parse("FROM x\nRUN cat <<A \\\n  > f\nbody\nA\nUSER u\n");
    let [_, run, user] = parsed.dockerfile.instructions.as_slice() else {
        panic!()
    };
    assert_eq!(run.text, "RUN cat <<A   > f");
    assert_eq!(run.verbatim, "RUN cat <<A   > f\nbody\nA");
    assert_eq!(
        parsed.dockerfile.source.slice(run.span),
        "RUN cat <<A \\\n  > f\nbody\nA"
    );
    assert_eq!(user.text, "USER u");
}

#[test]
fn copy_and_add() {
    let InstructionKind::Copy(copy) = one(
        "COPY --from=b --chown=a:b --chmod=755 --link --parents=false --exclude=*.md --exclude=x a b* /c/",
    ) else {
        panic!()
    };
    assert_eq!(
        (value(&copy.from), value(&copy.chown), value(&copy.chmod)),
        (Some("b"), Some("a:b"), Some("755"))
    );
    assert_eq!((copy.link, copy.parents), (true, false));
    assert_eq!(values(&copy.exclude), ["*.md", "x"]);
    assert_eq!(copy.sources.len(), 2);
    assert_eq!(copy.destination.value, "/c/");

    let InstructionKind::Add(add) =
        one("ADD --checksum=sha256:0 --keep-git-dir --unpack=false https://e/x [\"a\" ]")
    else {
        panic!()
    };
    assert_eq!(value(&add.checksum), Some("sha256:0"));
    assert_eq!((add.keep_git_dir, add.unpack), (true, Some(false)));
    assert_eq!(add.sources.len(), 2, "not JSON, so words");

    let InstructionKind::Copy(copy) = one("COPY [\"a b\", \"c\"]") else {
        panic!()
    };
    let [CopySource::Path(path)] = copy.sources.as_slice() else {
        panic!()
    };
    assert_eq!(path.value, "a b");

    let InstructionKind::Copy(copy) = one("COPY <<a.txt f <<- \"b c\" /d/\n1\na.txt\n\t2\nb c\n") else {
        panic!()
    };
    let [
        CopySource::Heredoc(a),
        CopySource::Path(f),
        CopySource::Heredoc(b),
    ] = copy.sources.as_slice()
    else {
        panic!()
    };
    assert_eq!(
        (a.delimiter.as_str(), a.body.value.as_str(), a.expand),
        ("a.txt", "1\n", true)
    );
    assert_eq!(f.value, "f");
    assert_eq!(
        (b.delimiter.as_str(), b.body.value.as_str(), b.expand),
        ("b c", "2\n", false)
    );
    assert_eq!(copy.destination.value, "/d/");

    assert_eq!(
        error("COPY a").0,
        "COPY needs at least one source and a destination"
    );
    assert_eq!(error("ADD").0, "ADD needs at least one source and a destination");
    assert_eq!(
        error("COPY []").0,
        "COPY needs at least one source and a destination"
    );
    assert_eq!(error("COPY /a <<E\nE").0, "COPY cannot write to a here-document");
    assert_eq!(
        error("COPY --from=$X a b").0,
        "variables are not expanded in `--from`"
    );
    assert_eq!(error("ADD --from=x a b").0, "unknown flag `--from` for ADD");
}

#[test]
fn env_and_label() {
    let pairs = |text| match one(text) {
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => pairs
            .into_iter()
            .map(|pair| (pair.key.value, pair.value.value))
            .collect::<Vec<_>>(),
        kind => panic!("{kind:?}"),
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        pairs("ENV a=1 b=\"x y\" \\\n c=d=e"),
        [pair("a", "1"), pair("b", "\"x y\""), pair("c", "d=e")]
    );
    assert_eq!(pairs("ENV a= b=c\\ d"), [pair("a", ""), pair("b", "c\\ d")]);
    assert_eq!(
        pairs("ENV msg  it's a=b  old form "),
        [pair("msg", "it's a=b  old form")]
    );
    assert_eq!(pairs("LABEL \"com.x y\"='1'"), [pair("\"com.x y\"", "'1'")]);
    assert_eq!(error("ENV").0, "ENV needs at least one argument");
    assert_eq!(
        error("ENV a"),
        ("ENV needs a value for `a`".into(), "write `ENV a=VALUE`".into())
    );
    assert_eq!(
        error("ENV a=b c"),
        (
            "`c` in ENV has no `=`".into(),
            "a value with blanks needs quotes: `KEY=\"a b\"`".into()
        )
    );
    assert_eq!(error("LABEL =b").0, "LABEL needs a name before the `=`");
    assert_eq!(error("ENV a=\"b").0, "quote `\"` is never closed");
    assert_eq!(
        error("ENV --x a=b"),
        ("unknown flag `--x` for ENV".into(), "ENV takes no flags".into())
    );
}

#[test]
fn arg() {
    let InstructionKind::Arg(arguments) = one("ARG A B= C=\"x y\" D=$A") else {
        panic!()
    };
    let found: Vec<_> = arguments
        .iter()
        .map(|one| (one.name.value.as_str(), value(&one.default)))
        .collect();
    assert_eq!(
        found,
        [
            ("A", None),
            ("B", Some("")),
            ("C", Some("\"x y\"")),
            ("D", Some("$A"))
        ]
    );
    assert_eq!(error("ARG").0, "ARG needs at least one argument");
    assert_eq!(error("ARG A = 1").1, "no blanks may stand around the `=`");
}

#[test]
fn healthcheck() {
    let InstructionKind::Healthcheck(HealthcheckInstruction::Command {
        command,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    }) = one(
        "HEALTHCHECK --interval=30s --timeout=1.5s --start-period=1m --start-interval=0s --retries=3 CMD curl -f x || exit 1",
    )
    else {
        panic!()
    };
    assert_eq!(
        (interval, timeout, start_period),
        (Some(30_000_000_000), Some(1_500_000_000), Some(60_000_000_000))
    );
    assert_eq!((start_interval, retries), (None, Some(3)));
    let Command::Shell(command) = command else {
        panic!()
    };
    assert_eq!(command.value, "curl -f x || exit 1");
    assert_eq!(
        one("HEALTHCHECK none"),
        InstructionKind::Healthcheck(HealthcheckInstruction::None)
    );
    assert!(matches!(
        one("HEALTHCHECK cmd [\"a\"]"),
        InstructionKind::Healthcheck(HealthcheckInstruction::Command {
            command: Command::Exec(_),
            ..
        })
    ));
    assert_eq!(error("HEALTHCHECK").0, "HEALTHCHECK needs at least one argument");
    assert_eq!(error("HEALTHCHECK CMD").0, "HEALTHCHECK CMD needs a command");
    assert_eq!(
        error("HEALTHCHECK NONE x").0,
        "HEALTHCHECK NONE takes no arguments"
    );
    assert_eq!(
        error("HEALTHCHECK curl x"),
        (
            "HEALTHCHECK is `CMD` or `NONE`, not `curl`".into(),
            "write `HEALTHCHECK CMD curl x`".into()
        )
    );
    assert_eq!(
        error("HEALTHCHECK --interval=1us CMD x").0,
        "`--interval=1us` is shorter than 1ms"
    );
    assert_eq!(
        error("HEALTHCHECK --interval=30 CMD x"),
        ("`30` is no duration".into(), "a unit is missing: `30s`".into())
    );
    assert_eq!(
        error("HEALTHCHECK --retries=-1 CMD x").0,
        "`--retries=-1` is not a number of times"
    );
    assert_eq!(
        error("HEALTHCHECK --retires=1 CMD x").1,
        "did you mean `--retries`?"
    );
}

#[test]
fn plain_instructions() {
    let InstructionKind::Expose(ports) = one("EXPOSE 80 443/tcp 8000-8010 $P") else {
        panic!()
    };
    assert_eq!(values(&ports), ["80", "443/tcp", "8000-8010", "$P"]);
    let InstructionKind::Volume(volumes) = one("VOLUME [\"/a b\", \"/c\"]") else {
        panic!()
    };
    assert_eq!(values(&volumes), ["/a b", "/c"]);
    let InstructionKind::Volume(volumes) = one("VOLUME /a /b") else {
        panic!()
    };
    assert_eq!(values(&volumes), ["/a", "/b"]);
    let InstructionKind::Workdir(path) = one("WORKDIR  /a b ") else {
        panic!()
    };
    assert_eq!(path.value, "/a b");
    let InstructionKind::Shell(shell) = one("SHELL [\"/bin/bash\", \"-c\"]") else {
        panic!()
    };
    assert_eq!(values(&shell), ["/bin/bash", "-c"]);
    for signal in ["SIGTERM", "term", "9", "SIGRTMIN+3", "$SIG"] {
        assert!(matches!(
            one(&format!("STOPSIGNAL {signal}")),
            InstructionKind::Stopsignal(_)
        ));
    }
    assert!(matches!(one("CMD []"), InstructionKind::Cmd(Command::Exec(arguments)) if arguments.is_empty()));
    assert!(
        matches!(one("MAINTAINER a b <c@d>"), InstructionKind::Maintainer(word) if word.value == "a b <c@d>")
    );

    for keyword in [
        "EXPOSE",
        "VOLUME",
        "USER",
        "WORKDIR",
        "SHELL",
        "STOPSIGNAL",
        "CMD",
        "ENTRYPOINT",
        "MAINTAINER",
        "ONBUILD",
    ] {
        assert_eq!(error(keyword).0, format!("{keyword} needs at least one argument"));
    }
    assert_eq!(
        error("VOLUME [\"\"]").0,
        "VOLUME needs a path, not an empty string"
    );
    assert_eq!(error("SHELL /bin/bash -c").0, "SHELL takes a JSON array only");
    assert_eq!(
        error("STOPSIGNAL SIGTREM"),
        (
            "`SIGTREM` is not a signal".into(),
            "did you mean `SIGTERM`?".into()
        )
    );
    assert_eq!(error("STOPSIGNAL 0").0, "`0` is not a signal");
}

#[test]
fn onbuild() {
    let parsed = parse("FROM x\nonbuild copy <<f  . \\\n  /d\nbody\nf\nUSER u\n");
    let [_, onbuild, _] = parsed.dockerfile.instructions.as_slice() else {
        panic!("{:?}", parsed.diagnostics)
    };
    let InstructionKind::Onbuild(inner) = &onbuild.kind else {
        panic!()
    };
    assert_eq!(inner.verbatim, "copy <<f  .   /d\nbody\nf");
    assert_eq!(onbuild.verbatim, "onbuild copy <<f  .   /d\nbody\nf");
    assert_eq!(onbuild.text, "ONBUILD copy <<f  .   /d");
    assert_eq!(
        parsed.dockerfile.source.slice(inner.span),
        "copy <<f  . \\\n  /d\nbody\nf"
    );

    let again = Dockerfile::parse_trigger(&Source::new("trigger", inner.verbatim.as_str()));
    assert!(!again.has_errors());
    let InstructionKind::Copy(copy) = &again.dockerfile.instructions[0].kind else {
        panic!()
    };
    assert_eq!(copy.destination.value, "/d");
    assert!(Dockerfile::parse_trigger(&Source::new("trigger", "RUN a\nRUN b")).has_errors());
    assert!(Dockerfile::parse_trigger(&Source::new("trigger", "")).has_errors());

    assert_eq!(error("ONBUILD FROM x").0, "FROM is not allowed in ONBUILD");
    assert_eq!(
        error("ONBUILD ONBUILD RUN x").0,
        "ONBUILD is not allowed in ONBUILD"
    );
    assert_eq!(error("ONBUILD RUNN x").1, "did you mean `RUN`?");
}

#[test]
fn pasted_text() {
    let nbsp = "there is an invisible character (U+00A0) here, perhaps copied from a web page; type a plain space instead";
    assert_eq!(
        error("RUN\u{a0}true"),
        ("unknown instruction `RUN\\u{a0}true`".into(), nbsp.into())
    );
    assert_eq!(error("COPY a\u{a0}b").1, nbsp);
    assert_eq!(
        error("COPY —from=x a b"),
        (
            "`—from=x` begins with a typographic dash, so it is no flag".into(),
            "write `--from=x`".into()
        )
    );
    assert_eq!(error("HEALTHCHECK –interval=5s CMD x").1, "write `--interval=5s`");
    assert_eq!(
        error("ENV a=“x y”").1,
        "`”` is a typographic quote; write `\"` or `'` instead"
    );
    for numbered in ["12 RUN x", "12: RUN x", "3. USER y", "7| CMD z"] {
        assert_eq!(
            error(numbered).1,
            "a line number seems to have been copied along; remove it"
        );
    }
    assert_eq!(
        error("&& apt-get update").1,
        "if this belongs to the instruction above, end the line before with `\\`"
    );
}
