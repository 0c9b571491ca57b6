//! The parser as a whole: what it understands, what it says about the rest, and that no text
//! makes it fail.

use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use plimsoll_diagnostics::render;
use proptest::prelude::*;

use super::*;
use crate::tree::Piece;

fn parse(text: &str) -> Parsed {
    Dockerfile::parse(&Source::new("Dockerfile", text))
}

/// What the user sees.
fn told(text: &str) -> String {
    parse(text)
        .diagnostics
        .iter()
        .map(|diagnostic| render(diagnostic, false))
        .collect()
}

#[test]
fn spans_and_texts() {
    let source = "\u{feff}# escape=`\r\n\r\nfrom a AS b\r\n# note\r\n  RUN one `  \r\n # inside\r\n    && two\r\nEXPOSE 80 `";
    let parsed = parse(source);
    assert!(!parsed.has_errors());
    let shown: Vec<_> = parsed
        .dockerfile
        .instructions
        .iter()
        .map(|instruction| {
            (
                &source[instruction.span.range()],
                instruction.keyword.value.as_str(),
                instruction.text.as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("from a AS b", "from", "FROM a AS b"),
            (
                "RUN one `  \r\n # inside\r\n    && two",
                "RUN",
                "RUN one     && two"
            ),
            ("EXPOSE 80 `", "EXPOSE", "EXPOSE 80"),
        ]
    );
}

#[test]
fn order_of_instructions() {
    let message = |text| {
        parse(text)
            .diagnostics
            .into_iter()
            .map(|one| one.message)
            .collect::<Vec<_>>()
    };
    assert_eq!(message("ARG A=1\nFROM $A\n"), Vec::<String>::new());
    assert_eq!(
        message("ENV a=1\nRUN x\nFROM y\n"),
        ["ENV comes before the first FROM"]
    );
    assert_eq!(
        message("FORM y\nRUN x\n"),
        ["unknown instruction `FORM`"],
        "no consequences are told"
    );
    assert_eq!(
        message("ARG A\n"),
        ["the file holds no FROM, so there is nothing to build"]
    );
    for nothing in ["", "\n\n", "# comment\n", "\u{feff}", "\\", "\\\n# a\n \t\n"] {
        let shown = message(nothing);
        assert!(
            shown.contains(&"the file holds no instructions".to_owned()),
            "{nothing:?} {shown:?}"
        );
    }
}

#[test]
fn a_foreign_frontend_is_all_that_is_told() {
    assert_snapshot!(told("# syntax=acme/special:3\nWHATEVER this is\n"), @r"
    error: frontend `acme/special:3` is not available
     --> Dockerfile:1:10
      |
    1 | # syntax=acme/special:3
      |          ^^^^^^^^^^^^^^
    2 | WHATEVER this is
      |
    hint: only Dockerfile syntax is built in: `# syntax=docker/dockerfile:1`
    ");
}

#[test]
fn one_bad_instruction_one_message() {
    assert_snapshot!(told("FROM alpine\nRUNN a\nCOPY --form=build \\\n  /a /b\nENV a=1 \\\n\n  b\nWORKDIR /x\n"), @r#"
    error: unknown instruction `RUNN`
     --> Dockerfile:2:1
      |
    1 | FROM alpine
    2 | RUNN a
      | ^^^^
    3 | COPY --form=build \
      |
    hint: did you mean `RUN`?
    error: unknown flag `--form` for COPY
     --> Dockerfile:3:6
      |
    2 | RUNN a
    3 | COPY --form=build \
      |      ^^^^^^^^^^^^
    4 |   /a /b
      |
    hint: did you mean `--from`?
    error: `b` in ENV has no `=`
     --> Dockerfile:7:3
      |
    6 |
    7 |   b
      |   ^
    8 | WORKDIR /x
      |
    hint: a value with blanks needs quotes: `KEY="a b"`
    "#);
}

#[test]
fn a_heredoc_without_end() {
    assert_snapshot!(told("FROM alpine\nRUN <<EOF cat\nUSER x\n EOF\n"), @r"
    error: here-document `<<EOF` is never ended
     --> Dockerfile:2:5
      |
    1 | FROM alpine
    2 | RUN <<EOF cat
      |     ^^^^^
    3 | USER x
      |
    hint: a line that holds nothing but `EOF` ends it, without blanks around it
    ");
}

#[test]
fn warnings_do_not_stop() {
    assert_snapshot!(told("FROM alpine\nENV a=‘x’\nCMD ['node', 'a.js']\nENTRYPOINT [“sh”]\n"), @r#"
    warning: `‘` is no quote, it becomes part of the value
     --> Dockerfile:2:7
      |
    1 | FROM alpine
    2 | ENV a=‘x’
      |       ^^^
    3 | CMD ['node', 'a.js']
      |
    hint: write `"` or `'` instead
    warning: this is not valid JSON, so it is read as plain text
     --> Dockerfile:3:5
      |
    2 | ENV a=‘x’
    3 | CMD ['node', 'a.js']
      |     ^^^^^^^^^^^^^^^^
    4 | ENTRYPOINT [“sh”]
      |
    hint: a list needs plain double quotes: `["a", "b"]`, not `'`
    warning: this is not valid JSON, so it is read as plain text
     --> Dockerfile:4:12
      |
    3 | CMD ['node', 'a.js']
    4 | ENTRYPOINT [“sh”]
      |            ^^^^^^
    hint: a list needs plain double quotes: `["a", "b"]`, not `“`
    "#);
}

#[test]
fn empty_lines_within_an_instruction() {
    assert_snapshot!(told("FROM alpine\nRUN a \\\n\n  && b\n"), @r"
    warning: this empty line is in the midst of an instruction
     --> Dockerfile:3:1
      |
    2 | RUN a \
    3 |
      | ^
    4 |   && b
      |
    hint: remove it, or put a `#` there
    ");
}

#[test]
fn an_empty_file() {
    assert_snapshot!(told("# nothing yet\n"), @r"
    error: the file holds no instructions
     --> Dockerfile:1:14
      |
    1 | # nothing yet
      |              ^
    hint: a Dockerfile begins with `FROM IMAGE`
    ");
}

/// The text comes back whole, spans are in order and on character borders, and whatever is not
/// part of the tree is blank, a comment, or told as an error.
fn check_losslessness(parsed: &Parsed, text: &str) {
    assert_eq!(parsed.dockerfile.to_string(), text);
    let mut end = 0;
    for instruction in &parsed.dockerfile.instructions {
        assert!(end <= instruction.span.start && instruction.span.start < instruction.span.end);
        assert!(text.get(instruction.span.range()).is_some());
        let keyword = &text[instruction.keyword.span.range()];
        assert!(
            instruction.keyword.span.start == instruction.span.start,
            "{keyword}"
        );
        end = instruction.span.end;
    }
    if parsed.has_errors() {
        return;
    }
    for piece in parsed.dockerfile.pieces() {
        let Piece::Between(between) = piece else { continue };
        for line in between.trim_start_matches('\u{feff}').lines() {
            let line = line.trim();
            assert!(
                line.is_empty() || line.starts_with('#') || line == "\\" || line == "`",
                "{line:?} is lost"
            );
        }
    }
}

/// What the parser understood once, it understands again, from the text that ONBUILD would store.
fn check_verbatim(parsed: &Parsed) {
    if parsed.dockerfile.directives.escape != '\\' {
        return;
    }
    // A lone escape at the end of the joined line would continue it when read again.
    let whole = |one: &&Instruction| !one.text.ends_with('\\');
    for instruction in parsed.dockerfile.instructions.iter().filter(whole) {
        let source = Source::new("verbatim", instruction.verbatim.as_str());
        let again = Dockerfile::parse_trigger(&source);
        if let [only] = again.dockerfile.instructions.as_slice() {
            assert_eq!(only.text, instruction.text);
        }
    }
}

fn dockerfiles(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            dockerfiles(&path, found);
        } else if entry.file_name().to_string_lossy().contains("ockerfile") {
            found.push(path);
        }
    }
}

#[test]
fn every_example_at_hand() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/examples-seed");
    let mut found = Vec::new();
    dockerfiles(&folder, &mut found);
    if found.is_empty() {
        eprintln!("skipped: no examples beside the repository");
    }
    for path in found {
        let text = std::fs::read_to_string(&path).expect("an example is text");
        let name = path.to_string_lossy().into_owned();
        let parsed = Dockerfile::parse(&Source::new(name.clone(), text.as_str()));
        let shown: String = parsed.diagnostics.iter().map(|one| render(one, false)).collect();
        assert!(!parsed.has_errors(), "{shown}");
        check_losslessness(&parsed, &text);
        check_verbatim(&parsed);
    }
}

/// Pieces that Dockerfiles are made of, so that random texts get past the first word.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::sample::select(instruction::KEYWORDS.as_slice()).prop_map(|keyword| format!("\n{keyword} ")),
        3 => proptest::sample::select(vec![
            "\n", "\r\n", " ", "\t", "\\\n", "`\n", "\\", "\n# ", "# escape=`\n", "# syntax=x\n", "\u{feff}", "\n\n",
            "--from=a ", "--mount=x ", "--", "–from ", "<<EOF", "<<-\"E\" ", "EOF\n", "\nE\n", "[\"a\", \"b\"]", "['a']",
            "[1]", "'", "\"", "a=b ", "=", "$X", "${X:-", "}", "AS b", "CMD x", "NONE", "\u{a0}", "“", "é", "日本",
            "12: ", "#", "&&", "[", "\\u00",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        let parsed = parse(&text);
        check_losslessness(&parsed, &text);
    }

    #[test]
    fn anything_like_a_dockerfile_is_survived(pieces in proptest::collection::vec(piece(), 0..25)) {
        let text = pieces.concat();
        let parsed = parse(&text);
        check_losslessness(&parsed, &text);
        check_verbatim(&parsed);
        for diagnostic in &parsed.diagnostics {
            render(diagnostic, false);
        }
    }

    /// A bad instruction does not touch the ones after it.
    #[test]
    fn the_rest_is_still_parsed(bad in "[A-Z]{1,9}[ a-z=\\[\\]-]{0,12}") {
        let text = format!("FROM x\n{bad}\nUSER after\n");
        let parsed = parse(&text);
        let last = parsed.dockerfile.instructions.last().expect("FROM at least");
        prop_assert_eq!(last.text.as_str(), "USER after");
        let errors = parsed.diagnostics.iter().filter(|one| one.severity == Severity::Error);
        prop_assert!(errors.count() <= 1);
    }
}
