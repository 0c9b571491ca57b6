//! Dockerfile and .dockerignore text -> tree with spans.
#![allow(missing_docs)]
use plimsoll_diagnostics::{Diagnostic, Source, Span};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> { pub value: T, pub span: Span }
/// Unexpanded text.
pub type Word = Spanned<String>;

pub struct Parsed { pub dockerfile: Dockerfile, pub diagnostics: Vec<Diagnostic> }
pub struct Dockerfile { pub source: Source, pub directives: Directives, pub instructions: Vec<Instruction> }
#[derive(Clone, Debug)]
pub struct Directives { pub escape: char, pub syntax: Option<Word>, pub check: Option<Word> }
impl Dockerfile {
    /// Never fails: what cannot be understood becomes a diagnostic of severity error and is left out of the tree.
    pub fn parse(source: &Source) -> Parsed { let _ = source; unimplemented!() }
}

#[derive(Clone, Debug)]
pub struct Instruction {
    /// The whole instruction with continuation lines and here-documents.
    pub span: Span,
    pub keyword: Word,
    /// The instruction on one line as BuildKit shows it: keyword upper case, continuations joined: `RUN apk add x && y`.
    pub text: String,
    pub kind: InstructionKind,
}
#[derive(Clone, Debug)]
pub enum InstructionKind {
    From(From), Run(Run), Copy(Copy), Add(Copy),
    Env(Vec<KeyValue>), Label(Vec<KeyValue>), Arg(Vec<ArgDeclaration>),
    Expose(Vec<Word>), Volume(Vec<Word>), User(Word), Workdir(Word),
    Cmd(Command), Entrypoint(Command), Healthcheck(HealthcheckInstruction), Shell(Vec<Word>), Stopsignal(Word),
    Onbuild(Box<Instruction>), Maintainer(Word),
}
#[derive(Clone, Debug)]
pub struct From { pub platform: Option<Word>, pub image: Word, pub name: Option<Word> }
#[derive(Clone, Debug)]
pub struct KeyValue { pub key: Word, pub value: Word }
#[derive(Clone, Debug)]
pub struct ArgDeclaration { pub name: Word, pub default: Option<Word> }
#[derive(Clone, Debug)]
pub enum Command { Exec(Vec<Word>), Shell(Word) }
#[derive(Clone, Debug)]
pub struct Heredoc { pub delimiter: String, pub expand: bool, pub strip_tabs: bool, pub body: Word }
#[derive(Clone, Debug)]
pub struct Run { pub mounts: Vec<Word>, pub network: Option<Word>, pub security: Option<Word>, pub command: Command, pub heredocs: Vec<Heredoc> }
/// COPY and ADD.
#[derive(Clone, Debug)]
pub struct Copy {
    pub from: Option<Word>, pub chown: Option<Word>, pub chmod: Option<Word>, pub link: bool, pub parents: bool, pub exclude: Vec<Word>,
    pub checksum: Option<Word>, pub keep_git_dir: bool, pub unpack: Option<bool>,
    /// Paths, URLs, or the markers of here-documents.
    pub sources: Vec<CopySource>, pub destination: Word,
}
#[derive(Clone, Debug)]
pub enum CopySource { Path(Word), Heredoc(Heredoc) }
#[derive(Clone, Debug)]
pub enum HealthcheckInstruction { None, Command { command: Command, interval: Option<i64>, timeout: Option<i64>, start_period: Option<i64>, start_interval: Option<i64>, retries: Option<i64> } }

/// Expands variables in one word and removes quotes, as BuildKit's shell lexer ProcessWord.
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, ExpandError> { let _ = (word, escape, lookup); unimplemented!() }
/// The same with splitting on unquoted blanks (ProcessWords).
pub fn expand_words(text: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, ExpandError> { let _ = (text, escape, lookup); unimplemented!() }
pub struct Expanded { pub text: String, /// Names asked for and not found.
    pub undefined: Vec<String> }
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExpandError { pub message: String }

/// .dockerignore with moby/patternmatcher's semantics.
pub struct IgnoreFile;
impl IgnoreFile {
    pub fn parse(source: &Source) -> Result<Self, Box<Diagnostic>> { let _ = source; unimplemented!() }
    /// No patterns.
    pub fn empty() -> Self { unimplemented!() }
    pub fn is_empty(&self) -> bool { unimplemented!() }
    /// Tells whether `path` (slash separated, relative to the context root) is left out.
    pub fn excludes(&self, path: &str) -> bool { let _ = path; unimplemented!() }
    /// The last pattern that decided on `path`: its line (from 1) and text, and whether it excludes.
    pub fn deciding_rule(&self, path: &str) -> Option<IgnoreRule> { let _ = path; unimplemented!() }
    /// False when nothing below the excluded directory `path` can be re-included, so that a walk may skip it.
    pub fn may_include_below(&self, path: &str) -> bool { let _ = path; unimplemented!() }
}
#[derive(Clone, Debug)]
pub struct IgnoreRule { pub line: usize, pub pattern: String, pub excludes: bool }

/// Go's filepath.Match over bytes: `*` and `?` stop at `/`, `[...]`, `\` escapes.
pub fn glob_match(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> { let _ = (pattern, name); unimplemented!() }
#[derive(Debug, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// The nearest of `candidates` to `name` (edit distance below 3), for "did you mean".
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> { let _ = name; candidates.into_iter().next() }
