//! What a Dockerfile is made of: plain data, every part with its place.

use std::fmt;

use plimsoll_diagnostics::{Diagnostic, Severity, Source, Span};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the source.
    pub span: Span,
}

/// A piece of text as it was written: variables and quotes are still in it.
///
/// Flags (`--chown="a b"`) and JSON strings are the exception, they come without their quotes.
pub type Word = Spanned<String>;

/// What parsing gives: as much of a tree as could be understood, and what is wrong with the rest.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree.
    pub dockerfile: Dockerfile,
    /// Errors and warnings in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Tells whether something is wrong that forbids using the tree.
    pub fn has_errors(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// A Dockerfile.
///
/// The tree is lossless: [`Dockerfile::pieces`] gives the whole text again.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The text.
    pub source: Source,
    /// What the comments at the very top order.
    pub directives: Directives,
    /// The instructions in the order of the text, those that could be understood.
    pub instructions: Vec<Instruction>,
}

/// A part of the text.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Comments, blank lines, line endings, and instructions that could not be understood.
    Between(&'a str),
    /// An instruction and its text.
    Instruction(&'a Instruction, &'a str),
}

impl<'a> Piece<'a> {
    /// Returns the text.
    pub fn text(self) -> &'a str {
        match self {
            Self::Between(text) | Self::Instruction(_, text) => text,
        }
    }
}

impl Dockerfile {
    /// Cuts the whole text into instructions and what lies between them.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces = Vec::with_capacity(self.instructions.len() * 2 + 1);
        let mut end = 0;
        for instruction in &self.instructions {
            pieces.push(Piece::Between(
                self.source.slice(Span::new(end, instruction.span.start)),
            ));
            pieces.push(Piece::Instruction(
                instruction,
                self.source.slice(instruction.span),
            ));
            end = instruction.span.end;
        }
        pieces.push(Piece::Between(
            self.source.slice(Span::new(end, self.source.text.len())),
        ));
        pieces
    }
}

/// Prints the text the tree was parsed from.
impl fmt::Display for Dockerfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces()
            .into_iter()
            .try_for_each(|piece| f.write_str(piece.text()))
    }
}

/// What the comments at the very top order: `# syntax=`, `# escape=`, `# check=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// Continues lines and escapes characters: a backslash or a backtick.
    pub escape: char,
    /// The frontend asked for.
    pub syntax: Option<Word>,
    /// Which build checks are wanted, `skip=A,B;error=true`.
    pub check: Option<Word>,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            escape: '\\',
            syntax: None,
            check: None,
        }
    }
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The whole instruction with continuation lines and here-documents.
    pub span: Span,
    /// The first word, in the case it was written.
    pub keyword: Word,
    /// On one line as BuildKit shows it: keyword upper case, continuation lines joined (their
    /// indentation stays), without the bodies of here-documents.
    pub text: String,
    /// As ONBUILD stores it: the case as written, continuation lines joined, here-documents
    /// following. Parsing it again ([`Dockerfile::parse_trigger`]) gives the same instruction.
    pub verbatim: String,
    /// What it says.
    pub kind: InstructionKind,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstructionKind {
    /// Begins a stage.
    From(From),
    /// Runs a command in the stage.
    Run(Run),
    /// Copies files from the context, another stage or an image.
    Copy(Copy),
    /// The same, and unpacks archives and fetches URLs.
    Add(Copy),
    /// Sets variables for the stage and its containers.
    Env(Vec<KeyValue>),
    /// Sets labels.
    Label(Vec<KeyValue>),
    /// Declares build arguments.
    Arg(Vec<ArgDeclaration>),
    /// Names ports a container listens on.
    Expose(Vec<Word>),
    /// Names folders that hold a container's data.
    Volume(Vec<Word>),
    /// Sets the user for what follows and for containers.
    User(Word),
    /// Changes the directory.
    Workdir(Word),
    /// Sets the default command or its arguments.
    Cmd(Command),
    /// Sets the program that runs always.
    Entrypoint(Command),
    /// Says how to see whether a container is well.
    Healthcheck(HealthcheckInstruction),
    /// Sets the program that runs shell forms.
    Shell(Vec<Word>),
    /// Sets the signal that asks a container to stop.
    Stopsignal(Word),
    /// Stores an instruction for images built from this one.
    Onbuild(Box<Instruction>),
    /// Sets the author; the old way to say `LABEL`.
    Maintainer(Word),
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Word>,
    /// Image, earlier stage, or `scratch`.
    pub image: Word,
    /// The stage's name in the case it was written; names are compared without regard to case.
    pub name: Option<Word>,
}

/// `KEY=VALUE` or the old `KEY VALUE`; both unexpanded and with their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Left of the sign.
    pub key: Word,
    /// Right of the sign; empty for `KEY=`.
    pub value: Word,
}

/// `NAME` or `NAME=DEFAULT`; both unexpanded and with their quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The argument.
    pub name: Word,
    /// Its default; `Some` and empty for `NAME=`.
    pub default: Option<Word>,
}

/// A command line in one of its two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: the program and its arguments.
    Exec(Vec<Word>),
    /// Text for the shell, continuation lines joined. Here-documents appear by their markers only.
    Shell(Word),
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The line that ends it, and the name of the file it becomes.
    pub delimiter: String,
    /// Whether variables in the body are expanded (no part of the delimiter was quoted).
    pub expand: bool,
    /// `<<-`: leading tabs do not count.
    pub strip_tabs: bool,
    /// The lines up to the delimiter; the value has lost its leading tabs when `strip_tabs` says
    /// so. Line endings are as written.
    pub body: Word,
    /// The marker itself, `<<-"EOF"`.
    pub marker: Word,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `--mount` options as given.
    pub mounts: Vec<Word>,
    /// `--network`.
    pub network: Option<Word>,
    /// `--security`.
    pub security: Option<Word>,
    /// `--device` options as given.
    pub devices: Vec<Word>,
    /// What to run.
    pub command: Command,
    /// Here-documents in the order of their markers.
    pub heredocs: Vec<Heredoc>,
}

impl Run {
    /// Returns the here-document when the command consists of nothing but its marker: its body is
    /// the script then. Otherwise the shell reads the here-documents itself.
    pub fn script(&self) -> Option<&Heredoc> {
        match (&self.command, self.heredocs.as_slice()) {
            (Command::Shell(word), [only]) if word.value == only.marker.value => Some(only),
            _ => None,
        }
    }
}

/// COPY and ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// `--from`: stage, image or named context (COPY only).
    pub from: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents` (COPY only).
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<Word>,
    /// `--checksum` (ADD only).
    pub checksum: Option<Word>,
    /// `--keep-git-dir` (ADD only).
    pub keep_git_dir: bool,
    /// `--unpack` (ADD only).
    pub unpack: Option<bool>,
    /// What to copy.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
}

/// One source of COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path, a pattern or a URL.
    Path(Word),
    /// A file written in the Dockerfile.
    Heredoc(Heredoc),
}

/// `HEALTHCHECK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthcheckInstruction {
    /// Switches an inherited check off.
    None,
    /// Durations are in nanoseconds; what is absent or zero takes the default.
    Command {
        /// What to run.
        command: Command,
        /// `--interval`.
        interval: Option<i64>,
        /// `--timeout`.
        timeout: Option<i64>,
        /// `--start-period`.
        start_period: Option<i64>,
        /// `--start-interval`.
        start_interval: Option<i64>,
        /// `--retries`.
        retries: Option<i64>,
    },
}
