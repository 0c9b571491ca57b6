//! Shell text inside RUN, CMD, ENTRYPOINT and HEALTHCHECK, parsed.
//!
//! [`Script`] is the door: the simple commands of an instruction in the order of the text, wherever they stand (chains,
//! pipelines, subshells, loops, functions, substitutions, `sh -c '...'`), each of their words with its place in the
//! Dockerfile. Exec forms give the same: one command, or what the shell in it is told to run.
//!
//! The parser is `shuck-parser`: of the kept-up shell parsers in Rust it is the only one with byte spans for every word
//! part, no `unsafe`, a permissive licence and limits on depth, work and stack of its own (`yash-syntax` is GPL,
//! `conch-parser` is asleep, `brush-parser` brings fifty crates, `tree-sitter-bash` gives an untyped tree out of C).
//! Everything is read as bash, which takes what `sh` takes. Text that is no shell's gives no commands, so rules are
//! silent about it.

mod command;
pub mod external;
mod lower;
mod text;
mod word;

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::{Command, HealthcheckInstruction, Heredoc, InstructionKind, Run, Word};
use shuck_parser::ShellDialect;
use shuck_parser::parser::{ParseStatus, Parser};

use crate::view::{Base, DockerfileView};
pub use command::{Assignment, Joint, Pipeline, Place, Redirect, RedirectKind, ShellCommand, operands};
use lower::Lowering;
use text::Text;
pub use word::{Expansion, ExpansionKind, ShellWord};

/// Who reads a shell text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `sh`, `ash`, `dash`.
    Posix,
    /// `bash`, and others that take its language.
    Bash,
}

/// The commands of one RUN (or CMD, ENTRYPOINT, HEALTHCHECK).
#[derive(Debug)]
pub struct Script {
    /// Who reads it; none for exec forms, which no shell reads.
    pub shell: Option<Shell>,
    /// Whether the shell is told by its arguments to stop at the first failure (`-e`).
    pub errexit: bool,
    /// Whether the shell is told by its arguments that a pipeline fails with any of its commands.
    pub pipefail: bool,
    /// Every simple command, those that stand in others first where the text has them first.
    pub commands: Vec<ShellCommand>,
    /// Why the text could not be parsed; there are no commands then.
    pub problem: Option<Problem>,
    /// Where the text stands.
    pub span: Span,
}

/// Shell text that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the parser stopped.
    pub span: Span,
    /// What it says.
    pub message: String,
}

/// Longer texts are not looked into: nobody wrote them by hand.
const LONGEST: usize = 128 * 1024;
/// Deeper braces are not looked into: the parser's time grows with the square of them.
const DEEPEST: usize = 100;

impl Script {
    /// Parses the shell text of an instruction; none where it has none, or where its shell is no POSIX shell.
    pub(crate) fn of(view: &DockerfileView, at: usize) -> Option<Self> {
        let step = view.step(at);
        match step.effective() {
            InstructionKind::Run(run) => Self::of_run(view, at, run),
            InstructionKind::Cmd(command)
            | InstructionKind::Entrypoint(command)
            | InstructionKind::Healthcheck(HealthcheckInstruction::Command { command, .. }) => {
                Self::of_command(view, at, command, &[])
            }
            _ => None,
        }
    }

    fn of_run(view: &DockerfileView, at: usize, run: &Run) -> Option<Self> {
        match run.script() {
            Some(heredoc) => Self::of_heredoc(view, at, heredoc),
            None => Self::of_command(view, at, &run.command, &run.heredocs),
        }
    }

    fn of_command(view: &DockerfileView, at: usize, command: &Command, heredocs: &[Heredoc]) -> Option<Self> {
        match command {
            Command::Exec(words) => Some(Self::of_exec(view, words)),
            Command::Shell(word) => {
                let reader = Reader::of(view, at)?;
                let mut text = Text::line(&view.unfold(word.span));
                for heredoc in heredocs {
                    text.heredoc(&view.source, heredoc);
                }
                Some(Self::parse(reader, &text, word.span))
            }
        }
    }

    /// RUN <<EOF: the body is the script, read by who its first line names.
    fn of_heredoc(view: &DockerfileView, at: usize, heredoc: &Heredoc) -> Option<Self> {
        let body = Text::body(&view.source, heredoc);
        let first = body.as_str().lines().next().unwrap_or_default();
        let reader = match first.strip_prefix("#!") {
            Some(shebang) => Reader::named(shebang.split_whitespace())?,
            None => Reader::of(view, at)?,
        };
        Some(Self::parse(reader, &body, heredoc.body.span))
    }

    fn of_exec(view: &DockerfileView, words: &[Word]) -> Self {
        let mut lowering = Lowering::default();
        lowering.exec(&view.source, words);
        let span = words.iter().map(|word| word.span).reduce(Span::join);
        Self {
            shell: None,
            errexit: false,
            pipefail: false,
            commands: lowering.finish(),
            problem: None,
            span: span.unwrap_or_default(),
        }
    }

    fn parse(reader: Reader, text: &Text, span: Span) -> Self {
        let mut script = Self {
            shell: Some(reader.shell),
            errexit: reader.errexit,
            pipefail: reader.pipefail,
            commands: Vec::new(),
            problem: None,
            span,
        };
        let mut lowering = Lowering::default();
        match lowering.text(text) {
            Ok(()) => script.commands = lowering.finish(),
            Err(problem) => script.problem = problem,
        }
        script
    }

    /// The commands that are run for themselves: whatever else their words are made of is left out.
    pub fn plain(&self) -> impl Iterator<Item = &ShellCommand> {
        self.commands.iter().filter(|command| !command.place.substitution)
    }

    /// The commands of a name, wherever they stand.
    pub fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ShellCommand> {
        self.commands
            .iter()
            .filter(move |command| command.program() == Some(name))
    }

    /// Whether a command sees to it that the shell stops at the first failure, before another one.
    pub fn stops_at_failures(&self, before: &ShellCommand) -> bool {
        self.errexit || self.sets(before, 'e', "errexit")
    }

    /// Whether a pipeline fails with any of its commands.
    pub fn has_pipefail(&self, before: &ShellCommand) -> bool {
        self.pipefail || self.sets(before, '\0', "pipefail")
    }

    fn sets(&self, before: &ShellCommand, letter: char, name: &str) -> bool {
        let earlier = self
            .called("set")
            .filter(|set| set.span.start < before.span.start);
        let sets = |set: &ShellCommand| {
            let mut words = set.args().iter().map(|word| word.text.as_str());
            words
                .clone()
                .any(|word| is_cluster(word) && word.contains(letter))
                || (words.clone().any(|word| is_cluster(word) && word.ends_with('o'))
                    && words.any(|word| word == name))
        };
        earlier.into_iter().any(sets)
    }
}

/// `-eux`: options of one letter.
fn is_cluster(word: &str) -> bool {
    word.strip_prefix('-')
        .is_some_and(|letters| !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// Parses shell text; the error is none for text that is left alone for its size.
fn parse(text: &Text) -> Result<shuck_parser::parser::ParseResult, Option<Problem>> {
    let script = text.as_str();
    if script.len() > LONGEST || depth(script) > DEEPEST {
        return Err(None);
    }
    let parsed = Parser::with_dialect(script, ShellDialect::Bash).parse();
    if parsed.status == ParseStatus::Clean {
        return Ok(parsed);
    }
    let place = parsed.diagnostics.first();
    let end = script.len();
    let (start, end) = place.map_or((end, end), |found| {
        (
            found.span.start.offset().min(end),
            found.span.end.offset().min(end),
        )
    });
    let message = place.map_or_else(
        || parsed.strict_error().to_string(),
        |found| found.message.trim_start_matches("syntax error: ").to_owned(),
    );
    Err(Some(Problem {
        span: text.span(start, end),
        message,
    }))
}

fn depth(text: &str) -> usize {
    let mut depth = 0usize;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The shell that reads a text, and how it was started.
struct Reader {
    shell: Shell,
    errexit: bool,
    pipefail: bool,
}

impl Reader {
    /// Who reads the shell forms at an instruction; none where that is no POSIX shell.
    fn of(view: &DockerfileView, at: usize) -> Option<Self> {
        if let Some(words) = view.shell_words(at) {
            return Self::named(words.iter().map(|word| word.value.as_str()));
        }
        if let Some(name) = view.shell_pragma() {
            return Self::named(name.split_whitespace());
        }
        let stage = view.step(at).stage;
        let windows = stage.is_some_and(|stage| {
            let image = view.base_image(stage).unwrap_or_default();
            let platform = stage.platform.as_deref().unwrap_or_default();
            image.contains("/windows")
                || platform.starts_with("windows")
                || stage.base == Base::Unknown && image.contains("windows")
        });
        (!windows).then_some(Self {
            shell: Shell::Posix,
            errexit: false,
            pipefail: false,
        })
    }

    /// Reads `/bin/bash -o pipefail -c`, and `conda run -n x bash -c`, which is the same to us.
    fn named<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        let shell = words.clone().find_map(shell_named)?;
        let cluster = |letter: char| {
            words
                .clone()
                .any(|word| is_cluster(word) && word.contains(letter))
        };
        Some(Self {
            shell,
            errexit: cluster('e'),
            pipefail: words.clone().any(|word| word == "pipefail"),
        })
    }
}

/// The shell of a program's name or path.
pub(crate) fn shell_named(program: &str) -> Option<Shell> {
    match program.rsplit(['/', '\\']).next()? {
        "sh" | "ash" | "dash" | "busybox" => Some(Shell::Posix),
        "bash" | "zsh" | "ksh" | "mksh" => Some(Shell::Bash),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
