//! The form for people: message, place, code frame, hint.
//!
//! ```text
//! error: unknown instruction `RUNN`
//!  --> Dockerfile:2:1
//!   |
//! 1 | FROM alpine
//! 2 | RUNN true
//!   | ^^^^
//! hint: did you mean `RUN`?
//! ```

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::Report;
use crate::{Diagnostic, Safety, Severity, Source, Span};

/// Lines shown before and after a place.
const CONTEXT: usize = 1;
/// Longer lines are cut around the place.
const WIDTH: usize = 140;

/// Draws one diagnostic; the text ends with a newline.
pub fn render(diagnostic: &Diagnostic, color: bool) -> String {
    let title = level(diagnostic.severity).primary_title(diagnostic.message.as_str());
    draw(diagnostic, title, color)
}

/// Draws all findings with the names of their rules, then how many there are.
pub(super) fn report(report: &Report<'_>, color: bool) -> String {
    let mut text = String::new();
    for finding in report.findings {
        let title = level(finding.severity)
            .primary_title(finding.message.as_str())
            .id(finding.code);
        text.push_str(&draw(finding, title, color));
        if let Some(fix) = &finding.fix {
            text.push_str(&hint_named("fix", &how(fix), color));
        }
        if finding.url.is_some() {
            let more = format!("plimsoll check --explain {}", finding.code);
            text.push_str(&hint_named("more", &more, color));
        }
        text.push('\n');
    }
    text.push_str(&summary(report));
    text
}

/// What a fix does, and which flag makes it.
fn how(fix: &crate::Fix) -> String {
    match fix.safety {
        Safety::Safe => format!("{} (`--fix`)", fix.title),
        Safety::Unsafe => format!("{} (`--unsafe-fixes`)", fix.title),
        Safety::DisplayOnly => fix.title.clone(),
    }
}

fn summary(report: &Report<'_>) -> String {
    let plural = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let looked = plural(report.files.len(), "file");
    if report.findings.is_empty() {
        return match report.hidden.len() {
            0 => format!("{looked} checked, nothing found\n"),
            hidden => format!("{looked} checked, nothing found; {hidden} hidden by comments\n"),
        };
    }
    let mut parts = Vec::new();
    for (severity, one) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
        parts.extend(
            Some(report.count(severity))
                .filter(|count| *count > 0)
                .map(|count| plural(count, one)),
        );
    }
    let rest = [(Severity::Info, "info"), (Severity::Style, "style")];
    let rest = rest.map(|(severity, name)| (report.count(severity), name));
    parts.extend(
        rest.into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}")),
    );
    let mut text = format!("{looked} checked: {}", parts.join(", "));
    match (report.fixable(Safety::Safe), report.fixable(Safety::Unsafe)) {
        (0, 0) => {}
        (safe, 0) => text.push_str(&format!("; `--fix` mends {safe}")),
        (0, risky) => text.push_str(&format!("; `--unsafe-fixes` mends {risky}")),
        (safe, risky) => text.push_str(&format!("; `--fix` mends {safe}, `--unsafe-fixes` {risky} more")),
    }
    if !report.hidden.is_empty() {
        text.push_str(&format!("; {} hidden by comments", report.hidden.len()));
    }
    text + "\n"
}

fn draw(diagnostic: &Diagnostic, title: annotate_snippets::Title<'_>, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    }
    .term_width(WIDTH);
    let source = &diagnostic.source;
    let report = match annotations(diagnostic) {
        // About nothing that is written anywhere.
        marks if marks.is_empty() && source.name.is_empty() => Group::with_title(title),
        // An image as a whole has no lines to show.
        marks if marks.is_empty() || source.text.is_empty() => title.element(Origin::path(&*source.name)),
        marks => frame(title, source, marks),
    };
    let mut text = renderer.render(&[report]).to_string();
    text.push('\n');
    if let Some(help) = &diagnostic.help {
        text.push_str(&hint(help, color));
    }
    text
}

/// Draws the `hint:` line that follows a message.
pub fn hint(text: &str, color: bool) -> String {
    hint_named("hint", text, color)
}

fn hint_named(name: &str, text: &str, color: bool) -> String {
    let text = normalize_untrusted_str(text);
    match color {
        true => {
            let style = annotate_snippets::renderer::DEFAULT_HELP_STYLE;
            format!("{style}{name}{style:#}: {text}\n")
        }
        false => format!("{name}: {text}\n"),
    }
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
        Severity::Style => Level::NOTE.with_name("style"),
    }
}

fn frame<'a>(
    title: annotate_snippets::Title<'a>,
    source: &'a Source,
    marks: Vec<Annotation<'a>>,
) -> Group<'a> {
    title.element(
        Snippet::source(&*source.text)
            .path(&*source.name)
            .annotations(marks),
    )
}

fn annotations(diagnostic: &Diagnostic) -> Vec<Annotation<'_>> {
    let mut marks = Vec::new();
    for (index, label) in diagnostic.labels.iter().enumerate() {
        let kind = if index == 0 {
            AnnotationKind::Primary
        } else {
            AnnotationKind::Context
        };
        let span = visible_place(&diagnostic.source, label.span);
        let text = Some(label.message.as_str()).filter(|text| !text.is_empty());
        marks.push(kind.span(span.range()).label(text));
        marks
            .extend(context(&diagnostic.source, span).map(|line| AnnotationKind::Visible.span(line.range())));
    }
    marks
}

/// Moves a place behind the last newline to the end of the last line, and drops a line ending at
/// the end of a span: neither can be underlined.
fn visible_place(source: &Source, span: Span) -> Span {
    let span = source.clamp(span);
    let trimmed = source.text[..span.end].trim_end_matches(['\r', '\n']).len();
    if span.start == source.text.len() {
        return Span::new(trimmed, trimmed);
    }
    Span::new(span.start, trimmed.max(span.start))
}

/// The lines around a place that are shown with it.
fn context(source: &Source, span: Span) -> impl Iterator<Item = Span> {
    let mut lines = Vec::new();
    let mut start = source.line_at(span.start).start;
    for _ in 0..CONTEXT {
        let Some(offset) = start.checked_sub(1) else { break };
        let line = source.line_at(offset);
        lines.push(line);
        start = line.start;
    }
    let mut end = source.line_at(span.end).end;
    for _ in 0..CONTEXT {
        let next = source.text[end..].find('\n').map(|newline| end + newline + 1);
        let Some(offset) = next.filter(|offset| *offset < source.text.len()) else {
            break;
        };
        let line = source.line_at(offset);
        lines.push(line);
        end = line.end;
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    const FILE: &str =
        "# syntax=docker/dockerfile:1\nFROM alpine AS build\nRUNN apk add curl\n\nCOPY --from=bulid /a /b\n";

    fn at(text: &str, needle: &str) -> (Source, Span) {
        let start = text.find(needle).expect("needle is in the text");
        (
            Source::new("Dockerfile", text),
            Span::new(start, start + needle.len()),
        )
    }

    fn shown(text: &str, needle: &str) -> String {
        let (source, span) = at(text, needle);
        render(&Diagnostic::error("test", &source, span, "this is wrong"), false)
    }

    #[test]
    fn error_with_hint() {
        let (source, span) = at(FILE, "RUNN");
        let diagnostic =
            Diagnostic::error("unknown-instruction", &source, span, "unknown instruction `RUNN`")
                .with_help("did you mean `RUN`?");
        assert_snapshot!(render(&diagnostic, false), @r"
        error: unknown instruction `RUNN`
         --> Dockerfile:3:1
          |
        2 | FROM alpine AS build
        3 | RUNN apk add curl
          | ^^^^
        4 |
          |
        hint: did you mean `RUN`?
        ");
    }

    #[test]
    fn warning_with_a_second_place() {
        let (source, span) = at(FILE, "bulid");
        let (_, other) = at(FILE, "build");
        let diagnostic =
            Diagnostic::warning("stage", &source, span, "stage `bulid` is not in this Dockerfile")
                .with_label(other, "this one is");
        assert_snapshot!(render(&diagnostic, false), @r"
        warning: stage `bulid` is not in this Dockerfile
         --> Dockerfile:5:13
          |
        1 | # syntax=docker/dockerfile:1
        2 | FROM alpine AS build
          |                ----- this one is
        3 | RUNN apk add curl
        4 |
        5 | COPY --from=bulid /a /b
          |             ^^^^^
        ");
    }

    #[test]
    fn coloured() {
        let (source, span) = at("FROM x\n", "x");
        let diagnostic = Diagnostic::error("test", &source, span, "no").with_help("yes");
        let text = render(&diagnostic, true);
        assert!(text.contains("\u{1b}["));
        assert_snapshot!(text.escape_debug(), @r"\u{1b}[1m\u{1b}[91merror\u{1b}[0m\u{1b}[1m: no\u{1b}[0m\n \u{1b}[1m\u{1b}[94m--> \u{1b}[0mDockerfile:1:6\n  \u{1b}[1m\u{1b}[94m|\u{1b}[0m\n\u{1b}[1m\u{1b}[94m1\u{1b}[0m \u{1b}[1m\u{1b}[94m|\u{1b}[0m FROM x\n  \u{1b}[1m\u{1b}[94m|\u{1b}[0m      \u{1b}[1m\u{1b}[91m^\u{1b}[0m\n\u{1b}[1m\u{1b}[96mhint\u{1b}[0m: yes\n");
    }

    #[test]
    fn style_and_info_have_their_names() {
        let (source, span) = at("FROM x\n", "x");
        let text = |severity| render(&Diagnostic::new(severity, "test", &source, span, "hm"), false);
        assert!(text(Severity::Style).starts_with("style: hm\n"));
        assert!(text(Severity::Info).starts_with("info: hm\n"));
    }

    #[test]
    fn several_lines() {
        assert_snapshot!(shown("FROM x\nRUN a \\\n  && b \\\n  && c\nCMD d\n", "RUN a \\\n  && b \\\n  && c"), @r"
        error: this is wrong
         --> Dockerfile:2:1
          |
        1 |   FROM x
        2 | / RUN a \
        3 | |   && b \
        4 | |   && c
          | |______^
        5 |   CMD d
          |
        ");
    }

    #[test]
    fn tabs_and_wide_characters_line_up() {
        assert_snapshot!(shown("ENV\tÄ=日本 BAD=1\r\nRUN x\r\n", "BAD"), @r"
        error: this is wrong
         --> Dockerfile:1:10
          |
        1 | ENV    Ä=日本 BAD=1
          |               ^^^
        2 | RUN x
          |
        ");
    }

    #[test]
    fn long_lines_are_cut() {
        let text = format!("RUN echo {} BAD {}\n", "a".repeat(300), "b".repeat(300));
        let shown = shown(&text, "BAD");
        assert!(
            shown.lines().all(|line| line.chars().count() <= WIDTH + 20),
            "{shown}"
        );
        assert!(shown.contains("BAD"));
        assert!(shown.contains("--> Dockerfile:1:311"));
    }

    #[test]
    fn end_of_file_is_a_place() {
        let source = Source::new("Dockerfile", "FROM x\n");
        let diagnostic = Diagnostic::error("test", &source, Span::new(7, 7), "something is missing");
        assert_snapshot!(render(&diagnostic, false), @r"
        error: something is missing
         --> Dockerfile:1:7
          |
        1 | FROM x
          |       ^
        ");
    }

    #[test]
    fn empty_file_and_no_place() {
        let source = Source::new("Dockerfile", "");
        let mut diagnostic = Diagnostic::error("test", &source, Span::default(), "file is empty");
        assert_snapshot!(render(&diagnostic, false), @r"
        error: file is empty
        --> Dockerfile
        ");
        diagnostic.labels.clear();
        assert_snapshot!(render(&diagnostic, false), @r"
        error: file is empty
        --> Dockerfile
        ");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let (source, span) = at("RUN \u{1b}[2J x\n", "x");
        let diagnostic =
            Diagnostic::error("test", &source, span, "bad \u{1b}[2J").with_help("worse \u{1b}[2J");
        assert!(!render(&diagnostic, false).contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn any_text_and_any_spans_can_be_drawn(
            text in "([a-zé日\t \r\n\\\\]|\u{feff}|\u{1F600}){0,60}",
            spans in proptest::collection::vec((0usize..80, 0usize..80), 0..4),
            color: bool,
        ) {
            let source = Source::new("f", text);
            let labels = spans.iter().map(|(start, end)| crate::Label {
                span: Span::new(*start, *end),
                message: if start % 2 == 0 { "here".into() } else { String::new() },
            });
            let mut diagnostic = Diagnostic::error("test", &source, Span::default(), "m");
            diagnostic.labels = labels.collect();
            let drawn = render(&diagnostic, color);
            prop_assert!(drawn.ends_with('\n'));
        }

        #[test]
        fn place_in_the_frame_is_the_position(
            text in "([a-zé日\t ]|\r\n|\n){1,60}",
            offset in 0usize..100,
        ) {
            let source = Source::new("f", text);
            let seen = source.text.char_indices().filter(|(_, c)| !"\r\n".contains(*c)).map(|(at, _)| at);
            let seen: Vec<usize> = seen.collect();
            prop_assume!(!seen.is_empty(), "there is something to point at");
            let start = seen[offset % seen.len()];
            let position = source.position(start);
            let drawn = render(&Diagnostic::error("test", &source, Span::new(start, start), "m"), false);
            let place = format!("--> f:{}:{}\n", position.line, position.column);
            prop_assert!(drawn.contains(&place), "{drawn} has no {place}");
        }
    }
}
