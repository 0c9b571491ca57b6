//! Words of shell commands.

use plimsoll_diagnostics::Span;
use shuck_ast::{
    BourneParameterExpansion, CommandSubstitutionSyntax, LiteralText, ParameterExpansionSyntax, WordPart,
    WordPartNode,
};

use super::text::Text;

/// A word of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellWord {
    /// Where it stands, quotes included.
    pub span: Span,
    /// Its text without quotes and escapes; expansions stay as they are written.
    pub text: String,
    /// What the shell puts in.
    pub expansions: Vec<Expansion>,
    /// Whether any part of it is quoted.
    pub quoted: bool,
    /// Whether it holds `*`, `?` or `[` that the shell reads as a pattern.
    pub glob: bool,
}

/// Something that the shell puts into a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// Where it stands, from the `$` on.
    pub span: Span,
    /// Whether double quotes keep its blanks from splitting the word.
    pub quoted: bool,
    /// What it is.
    pub kind: ExpansionKind,
}

/// What the shell puts in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpansionKind {
    /// The value of a variable, `$A`, `${A}`.
    Variable(String),
    /// The value of a variable, changed or replaced by something: `${A:-b}`, `${A%.*}`.
    Changed(String),
    /// All elements of an array or all arguments: `$@`, `${a[*]}`.
    Array(String),
    /// A number: `$((1 + 2))`, `${#A}`, `$?`.
    Number,
    /// What a command prints.
    Output {
        /// Written with backticks.
        backticks: bool,
    },
}

impl ShellWord {
    /// A word that nothing is put into.
    pub(super) fn literal(text: &str, span: Span) -> Self {
        Self {
            span,
            text: text.to_owned(),
            ..Self::default()
        }
    }

    /// Whether nothing is put into it: its text is what the program gets.
    pub fn is_literal(&self) -> bool {
        self.expansions.is_empty() && !self.glob
    }

    /// Whether it begins with a dash: an option, not a thing.
    pub fn is_flag(&self) -> bool {
        self.text.starts_with('-') && self.text.len() > 1
    }
}

/// Puts a word together from its parts.
pub(super) struct Builder<'a> {
    text: &'a Text,
    word: ShellWord,
}

impl<'a> Builder<'a> {
    pub(super) fn build(text: &'a Text, word: &shuck_ast::Word) -> ShellWord {
        let mut builder = Self {
            text,
            word: ShellWord::default(),
        };
        let (start, end) = range(word.span, text);
        builder.word.span = text.span(start, end);
        builder.parts(&word.parts, false);
        builder.word
    }

    fn parts(&mut self, parts: &[WordPartNode], quoted: bool) {
        for part in parts {
            self.part(part, quoted);
        }
    }

    fn part(&mut self, part: &WordPartNode, quoted: bool) {
        let source = self.text.as_str();
        match &part.kind {
            WordPart::Literal(literal) => {
                let text = literal.as_str(source, part.span);
                match literal {
                    LiteralText::Source => unescape(text, quoted, &mut self.word.text),
                    LiteralText::Owned(_) | LiteralText::CookedSource(_) => self.word.text.push_str(text),
                }
                if !quoted {
                    self.word.glob |= has_glob(literal.syntax_str(source, part.span));
                }
            }
            WordPart::SingleQuoted { value, .. } => {
                self.word.quoted = true;
                self.word.text.push_str(value.slice(source));
            }
            WordPart::DoubleQuoted { parts, .. } => {
                self.word.quoted = true;
                self.parts(parts, true);
            }
            kind => self.expansion(kind, part.span, quoted),
        }
    }

    fn expansion(&mut self, kind: &WordPart, span: shuck_ast::Span, quoted: bool) {
        let (start, end) = range(span, self.text);
        self.word.text.push_str(&self.text.as_str()[start..end]);
        self.word.expansions.push(Expansion {
            span: self.text.span(start, end),
            quoted,
            kind: expansion_kind(kind),
        });
    }
}

/// Whether the parser has taken for one word what are several: blanks are in it that nothing quotes. It does so behind a
/// `{` or `=(` that is never closed.
pub(super) fn is_misread(text: &Text, word: &shuck_ast::Word) -> bool {
    word.parts.iter().any(|part| match &part.kind {
        WordPart::Literal(literal) => has_blank(literal.syntax_str(text.as_str(), part.span)),
        _ => false,
    })
}

fn has_blank(text: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|c| {
        let found = !escaped && c.is_whitespace();
        escaped = c == '\\' && !escaped;
        found
    })
}

fn expansion_kind(part: &WordPart) -> ExpansionKind {
    match part {
        WordPart::Variable(name) => variable(name.as_str()),
        WordPart::CommandSubstitution { syntax, .. } => ExpansionKind::Output {
            backticks: *syntax == CommandSubstitutionSyntax::Backtick,
        },
        WordPart::ProcessSubstitution { .. } => ExpansionKind::Output { backticks: false },
        WordPart::ArithmeticExpansion { .. } | WordPart::Length(_) | WordPart::ArrayLength(_) => {
            ExpansionKind::Number
        }
        WordPart::Parameter(parameter) => match &parameter.syntax {
            ParameterExpansionSyntax::Bourne(BourneParameterExpansion::Access { reference }) => {
                access(reference)
            }
            ParameterExpansionSyntax::Bourne(BourneParameterExpansion::Length { .. }) => {
                ExpansionKind::Number
            }
            ParameterExpansionSyntax::Bourne(_) | ParameterExpansionSyntax::Zsh(_) => {
                ExpansionKind::Changed(String::new())
            }
        },
        WordPart::ArrayAccess(reference) => access(reference),
        WordPart::ParameterExpansion { reference, .. }
        | WordPart::Substring { reference, .. }
        | WordPart::IndirectExpansion { reference, .. }
        | WordPart::Transformation { reference, .. } => {
            ExpansionKind::Changed(reference.name.as_str().to_owned())
        }
        WordPart::ArraySlice { reference, .. } | WordPart::ArrayIndices(reference) => {
            ExpansionKind::Array(reference.name.as_str().to_owned())
        }
        WordPart::PrefixMatch { prefix, .. } => ExpansionKind::Array(prefix.as_str().to_owned()),
        _ => ExpansionKind::Changed(String::new()),
    }
}

fn access(reference: &shuck_ast::VarRef) -> ExpansionKind {
    let name = reference.name.as_str();
    match reference.has_array_selector() {
        true => ExpansionKind::Array(name.to_owned()),
        false => variable(name),
    }
}

fn variable(name: &str) -> ExpansionKind {
    match name {
        "@" | "*" => ExpansionKind::Array(name.to_owned()),
        "?" | "$" | "!" | "#" => ExpansionKind::Number,
        _ => ExpansionKind::Variable(name.to_owned()),
    }
}

/// Takes backslashes away as the shell does; in double quotes only some characters need them.
fn unescape(text: &str, quoted: bool, out: &mut String) {
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let escapes = c == '\\'
            && rest
                .peek()
                .is_some_and(|next| !quoted || "\"$`\\".contains(*next));
        match escapes {
            true => out.extend(rest.next()),
            false => out.push(c),
        }
    }
}

fn has_glob(text: &str) -> bool {
    let mut escaped = false;
    let closes = text.contains(']');
    text.chars().any(|c| {
        let found = !escaped && (matches!(c, '*' | '?') || (c == '[' && closes));
        escaped = c == '\\' && !escaped;
        found
    })
}

/// The bytes of a span of the parser, within the text and between characters whatever it says.
pub(super) fn range(span: shuck_ast::Span, text: &Text) -> (usize, usize) {
    let text = text.as_str();
    let floor = |offset: usize| {
        let offset = offset.min(text.len());
        (0..=offset)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0)
    };
    let start = floor(span.start.offset());
    (start, floor(span.end.offset()).max(start))
}
