//! Template text to tokens.

use super::TemplateError;

/// One piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Literal text.
    Text(String),
    /// What stands between `{{` and `}}`.
    Action(Vec<Token>),
}

/// A token and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Byte offset in the whole template.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// `if`, `json`, `true`
    Word(String),
    /// `.Name`; the dot alone has an empty name.
    Field(String),
    /// `$` or `$x`
    Variable(String),
    /// `"text"` and raw strings
    Text(String),
    /// `12`, `-1.5`, `'a'`
    Number(serde_json::Number),
    /// `|`, `(`, `)`, `,`
    Sign(char),
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// White space, which separates arguments from a chain such as `(x).Field`.
    Space,
}

/// Makes the error for a place in `text`.
pub(super) fn error(text: &str, offset: usize, reason: impl Into<String>) -> TemplateError {
    let line = text[..offset.min(text.len())].matches('\n').count() + 1;
    TemplateError::Parse {
        line,
        reason: reason.into(),
    }
}

/// Splits a template into text and actions; trim markers (`{{-`, `-}}`) are applied here.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut position = 0;
    let mut trim_next = false;
    loop {
        let open = text[position..].find("{{").map(|at| position + at);
        let mut literal = &text[position..open.unwrap_or(text.len())];
        if trim_next {
            literal = literal.trim_start();
        }
        let Some(open) = open else {
            push_text(&mut pieces, literal);
            return Ok(pieces);
        };
        let mut start = open + 2;
        if is_left_trim(&text[start..]) {
            literal = literal.trim_end();
            start += 1;
        }
        push_text(&mut pieces, literal);
        let mut lexer = Lexer {
            text,
            position: start,
        };
        let action = lexer.action()?;
        trim_next = action.trims;
        position = lexer.position;
        if let Some(tokens) = action.tokens {
            pieces.push(Piece::Action(tokens));
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, literal: &str) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.to_owned()));
    }
}

fn is_left_trim(rest: &str) -> bool {
    rest.strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_whitespace()))
}

struct Action {
    /// None for a comment.
    tokens: Option<Vec<Token>>,
    /// Whether it ended with `-}}`.
    trims: bool,
}

struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, reason: impl Into<String>) -> TemplateError {
        error(self.text, self.position, reason)
    }

    fn action(&mut self) -> Result<Action, TemplateError> {
        if let Some(comment) = self.comment()? {
            return Ok(comment);
        }
        let mut tokens: Vec<Token> = Vec::new();
        loop {
            if let Some(trims) = self.close() {
                while tokens.last().is_some_and(|token| token.kind == Kind::Space) {
                    tokens.pop();
                }
                return Ok(Action {
                    tokens: Some(tokens),
                    trims,
                });
            }
            let start = self.position;
            let Some(character) = self.peek() else {
                return Err(self.error("unclosed action"));
            };
            let kind = self.token(character)?;
            let leading = kind == Kind::Space && tokens.is_empty();
            if !leading {
                tokens.push(Token {
                    kind,
                    start,
                    end: self.position,
                });
            }
        }
    }

    /// `/* ... */`, which must fill its action.
    fn comment(&mut self) -> Result<Option<Action>, TemplateError> {
        let blanks = self.rest().len() - self.rest().trim_start().len();
        if !self.rest().trim_start().starts_with("/*") {
            return Ok(None);
        }
        let Some(end) = self.rest().find("*/") else {
            return Err(self.error("unclosed comment"));
        };
        self.position += end.max(blanks) + 2;
        match self.close() {
            Some(trims) => Ok(Some(Action { tokens: None, trims })),
            None => Err(self.error("comment ends before closing delimiter")),
        }
    }

    /// Takes `}}` or ` -}}`; says whether it trims.
    fn close(&mut self) -> Option<bool> {
        let rest = self.rest();
        let trimmed = rest.trim_start();
        if trimmed.len() < rest.len() && trimmed.starts_with("-}}") {
            self.position += rest.len() - trimmed.len() + 3;
            return Some(true);
        }
        if rest.starts_with("}}") {
            self.position += 2;
            return Some(false);
        }
        None
    }

    fn token(&mut self, first: char) -> Result<Kind, TemplateError> {
        match first {
            c if c.is_ascii_whitespace() => {
                self.take_while(|c| c.is_ascii_whitespace());
                Ok(Kind::Space)
            }
            '|' | '(' | ')' | ',' => {
                self.position += 1;
                Ok(Kind::Sign(first))
            }
            ':' if self.rest().starts_with(":=") => {
                self.position += 2;
                Ok(Kind::Declare)
            }
            '=' => {
                self.position += 1;
                Ok(Kind::Assign)
            }
            '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.position += 1;
                Ok(Kind::Field(self.take_while(is_word)))
            }
            '$' => {
                self.position += 1;
                Ok(Kind::Variable(format!("${}", self.take_while(is_word))))
            }
            '"' => self.quoted(),
            '`' => self.raw(),
            '\'' => self.character(),
            c if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            c if is_word(c) => Ok(Kind::Word(self.take_while(is_word))),
            c => Err(self.error(format!("unexpected {c:?} in command"))),
        }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let length = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        let word = rest[..length].to_owned();
        self.position += length;
        word
    }

    fn quoted(&mut self) -> Result<Kind, TemplateError> {
        self.position += 1;
        let mut text = String::new();
        loop {
            let Some(character) = self.peek().filter(|c| *c != '\n') else {
                return Err(self.error("unterminated quoted string"));
            };
            self.position += character.len_utf8();
            match character {
                '"' => return Ok(Kind::Text(text)),
                '\\' => text.push(self.escape()?),
                other => text.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, TemplateError> {
        let Some(character) = self.peek() else {
            return Err(self.error("unterminated quoted string"));
        };
        self.position += character.len_utf8();
        match character {
            'n' => Ok('\n'),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            '\\' | '"' | '\'' => Ok(character),
            'x' => self.code(2),
            'u' => self.code(4),
            'U' => self.code(8),
            other => Err(self.error(format!("unknown escape sequence \\{other}"))),
        }
    }

    fn code(&mut self, digits: usize) -> Result<char, TemplateError> {
        let number = self
            .rest()
            .get(..digits)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let character = number
            .and_then(char::from_u32)
            .ok_or_else(|| self.error("bad escape sequence"))?;
        self.position += digits;
        Ok(character)
    }

    fn raw(&mut self) -> Result<Kind, TemplateError> {
        self.position += 1;
        let Some(end) = self.rest().find('`') else {
            return Err(self.error("unterminated raw quoted string"));
        };
        let text = self.rest()[..end].to_owned();
        self.position += end + 1;
        Ok(Kind::Text(text))
    }

    /// A character constant is its number, as in Go.
    fn character(&mut self) -> Result<Kind, TemplateError> {
        self.position += 1;
        let unterminated = |lexer: &Self| lexer.error("unterminated character constant");
        let mut character = self.peek().ok_or_else(|| unterminated(self))?;
        self.position += character.len_utf8();
        if character == '\\' {
            character = self.escape()?;
        }
        if self.peek() != Some('\'') {
            return Err(unterminated(self));
        }
        self.position += 1;
        Ok(Kind::Number(u32::from(character).into()))
    }

    fn number(&mut self) -> Result<Kind, TemplateError> {
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        let digits = word.replace('_', "");
        let hexadecimal = digits
            .strip_prefix("0x")
            .and_then(|digits| i64::from_str_radix(digits, 16).ok());
        let integer = hexadecimal.or_else(|| digits.parse().ok());
        let number = match integer {
            Some(integer) => Some(integer.into()),
            None => digits.parse().ok().and_then(serde_json::Number::from_f64),
        };
        number
            .map(Kind::Number)
            .ok_or_else(|| self.error(format!("bad number syntax: {word:?}")))
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}
