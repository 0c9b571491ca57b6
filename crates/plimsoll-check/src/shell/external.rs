//! Shell text for a checker of its own, and what it says about it, brought back to the Dockerfile.

use plimsoll_diagnostics::{Severity, Span};
use plimsoll_dockerfile::{Command, InstructionKind};
use serde::Deserialize;

use super::text::Text;
use super::{Reader, Shell};
use crate::view::DockerfileView;

/// The shell text of a RUN.
#[derive(Debug)]
pub struct ShellText {
    /// Who reads it, as ShellCheck calls it: `sh` or `bash`.
    pub dialect: &'static str,
    text: Text,
}

/// What ShellCheck says, as `shellcheck -f json1` prints it.
#[derive(Debug, Default, Deserialize)]
pub struct Answer {
    /// One for each fault.
    #[serde(default)]
    comments: Vec<Comment>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Comment {
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    level: String,
    code: u32,
    message: String,
}

/// A fault that ShellCheck has found, where it is in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Where.
    pub span: Span,
    /// How bad it is.
    pub severity: Severity,
    /// `SC2086`
    pub code: String,
    /// What it says.
    pub message: String,
}

/// The shell text of every RUN that a POSIX shell reads.
pub fn texts(view: &DockerfileView) -> Vec<ShellText> {
    let text = |at: usize| {
        let InstructionKind::Run(run) = view.step(at).effective() else {
            return None;
        };
        let (reader, text) = match (run.script(), &run.command) {
            (Some(heredoc), _) => {
                let body = Text::body(&view.source, heredoc);
                let first = body.as_str().lines().next().unwrap_or_default().to_owned();
                let reader = match first.strip_prefix("#!") {
                    Some(shebang) => Reader::named(shebang.split_whitespace())?,
                    None => Reader::of(view, at)?,
                };
                (reader, body)
            }
            (None, Command::Shell(word)) => {
                let mut text = Text::line(&view.unfold(word.span));
                for heredoc in &run.heredocs {
                    text.heredoc(&view.source, heredoc);
                }
                (Reader::of(view, at)?, text)
            }
            (None, Command::Exec(_)) => return None,
        };
        let dialect = match reader.shell {
            Shell::Posix => "sh",
            Shell::Bash => "bash",
        };
        Some(ShellText { dialect, text })
    };
    (0..view.dockerfile.instructions.len()).filter_map(text).collect()
}

impl ShellText {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// What was said about it, at its place in the Dockerfile.
    pub fn bring_back(&self, answer: Answer) -> Vec<External> {
        let bring = |comment: Comment| External {
            span: self.span(&comment),
            severity: match comment.level.as_str() {
                "error" => Severity::Error,
                "warning" => Severity::Warning,
                "info" => Severity::Info,
                _ => Severity::Style,
            },
            code: format!("SC{}", comment.code),
            message: comment.message,
        };
        answer.comments.into_iter().map(bring).collect()
    }

    fn span(&self, comment: &Comment) -> Span {
        let start = self.offset(comment.line, comment.column);
        let end = self.offset(comment.end_line, comment.end_column).max(start);
        self.text.span(start, end)
    }

    /// Lines and columns count from 1, columns in characters.
    fn offset(&self, line: usize, column: usize) -> usize {
        let text = self.text.as_str();
        let before: usize = text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let content = text[before..].lines().next().unwrap_or_default();
        let within: usize = content
            .chars()
            .take(column.saturating_sub(1))
            .map(char::len_utf8)
            .sum();
        before + within
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_diagnostics::Source;

    use super::*;
    use crate::view::BuildSettings;

    #[test]
    fn places_come_back_to_the_dockerfile() {
        let text = "FROM x\nSHELL [\"bash\", \"-c\"]\nRUN a && \\\n # why\n  écho $B\nRUN <<E\nx\n\ty $Z\nE\nRUN [\"a\"]\n";
        let source = Source::new("Dockerfile", text);
        let view = DockerfileView::new("Dockerfile", &source, BuildSettings::default());
        let texts = texts(&view);
        let told: Vec<_> = texts.iter().map(|text| (text.dialect, text.as_str())).collect();
        assert_eq!(told, [("bash", "a &&   écho $B"), ("bash", "x\n\ty $Z\n")]);
        let json = |line: usize, column: usize| {
            format!(
                r#"{{"comments":[{{"file":"-","line":{line},"endLine":{line},"column":{column},"endColumn":{},"level":"info","code":2086,"message":"quote","fix":null}}]}}"#,
                column + 2
            )
        };
        let place = |text: &ShellText, json: String| {
            let found = text.bring_back(serde_json::from_str(&json).expect("it is an answer"));
            assert_eq!(
                (found[0].severity, found[0].code.as_str()),
                (Severity::Info, "SC2086")
            );
            source.slice(found[0].span).to_owned()
        };
        assert_eq!(place(&texts[0], json(1, 13)), "$B");
        assert_eq!(place(&texts[1], json(2, 4)), "$Z");
    }
}
