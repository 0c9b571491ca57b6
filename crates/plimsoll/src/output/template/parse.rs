//! Tokens to a tree.

use serde_json::Value;

use super::TemplateError;
use super::functions::Function;
use super::lex::{self, Kind, Piece, Token};

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`; nothing is printed when it declares a variable.
    Print(Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

/// Commands whose results feed the next, perhaps into variables.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// A value, or a function with arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) function: Option<Function>,
    pub(super) operands: Vec<Operand>,
    pub(super) place: Place,
}

/// A value and the fields taken from it.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    /// Field names with their places.
    pub(super) fields: Vec<(String, Place)>,
}

impl Operand {
    /// Turns `.Label`, which stands before an argument, into the `.Labels` that it looks in.
    fn asks_for_label(&mut self) -> bool {
        match self.fields.last_mut() {
            Some((name, _)) if name == "Label" => {
                *name = "Labels".to_owned();
                true
            }
            _ => false,
        }
    }
}

/// Where an operand starts.
#[derive(Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Pipeline(Box<Pipeline>),
    /// A function without arguments, as an argument: `(json)` has no use, `true` is a literal; kept for errors.
    Call(Box<Command>),
}

/// Line, column and text of a part, for errors.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) text: String,
}

/// Parses a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let pieces = lex::split(text)?;
    let mut parser = Parser {
        text,
        pieces: pieces.into_iter(),
        variables: vec!["$".to_owned()],
        depth_of_range: 0,
        offset: 0,
    };
    let (nodes, end) = parser.block()?;
    match end {
        Close::Nothing => Ok(nodes),
        Close::End => Err(parser.error("unexpected {{end}}")),
        Close::Else(_) => Err(parser.error("unexpected {{else}}")),
    }
}

struct Parser<'a> {
    text: &'a str,
    pieces: std::vec::IntoIter<Piece>,
    variables: Vec<String>,
    depth_of_range: usize,
    offset: usize,
}

/// What ended a block.
enum Close {
    Nothing,
    End,
    /// With what follows `else`.
    Else(Vec<Token>),
}

impl Parser<'_> {
    fn error(&self, reason: impl Into<String>) -> TemplateError {
        lex::error(self.text, self.offset, reason)
    }

    /// Parses up to the `end` or `else` that closes this block.
    fn block(&mut self) -> Result<(Vec<Node>, Close), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            self.offset = tokens.first().map_or(self.offset, |token| token.start);
            let keyword = match tokens.first().map(|token| &token.kind) {
                Some(Kind::Word(word)) => word.clone(),
                _ => String::new(),
            };
            let rest = || {
                tokens
                    .iter()
                    .skip(1)
                    .skip_while(|token| token.kind == Kind::Space)
                    .cloned()
                    .collect()
            };
            match keyword.as_str() {
                "end" => return Ok((nodes, Close::End)),
                "else" => return Ok((nodes, Close::Else(rest()))),
                "if" | "with" | "range" => nodes.push(self.control(&keyword, rest())?),
                "break" | "continue" if self.depth_of_range == 0 => {
                    return Err(self.error(format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                }
                "break" => nodes.push(Node::Break),
                "continue" => nodes.push(Node::Continue),
                "define" | "template" | "block" => {
                    return Err(self.error(format!("{{{{{keyword}}}}} is not supported")));
                }
                _ => nodes.push(Node::Print(self.pipeline(tokens)?)),
            }
        }
        Ok((nodes, Close::Nothing))
    }

    /// `if`, `with` or `range` with its branches.
    fn control(&mut self, keyword: &str, tokens: Vec<Token>) -> Result<Node, TemplateError> {
        let visible = self.variables.len();
        let pipeline = self.pipeline(tokens)?;
        self.depth_of_range += usize::from(keyword == "range");
        let (body, end) = self.block()?;
        self.depth_of_range -= usize::from(keyword == "range");
        let otherwise = match end {
            Close::End => Vec::new(),
            Close::Nothing => return Err(self.error("unexpected EOF")),
            Close::Else(tokens) if tokens.is_empty() => self.last_branch()?,
            Close::Else(tokens) => self.else_if(keyword, &tokens)?,
        };
        self.variables.truncate(visible);
        Ok(match keyword {
            "if" => Node::If(pipeline, body, otherwise),
            "with" => Node::With(pipeline, body, otherwise),
            _ => Node::Range(pipeline, body, otherwise),
        })
    }

    fn last_branch(&mut self) -> Result<Vec<Node>, TemplateError> {
        match self.block()? {
            (nodes, Close::End) => Ok(nodes),
            (_, Close::Else(_)) => Err(self.error("expected end; found {{else}}")),
            (_, Close::Nothing) => Err(self.error("unexpected EOF")),
        }
    }

    /// `{{else if x}}` is `{{else}}{{if x}}` that shares its `{{end}}`.
    fn else_if(&mut self, keyword: &str, tokens: &[Token]) -> Result<Vec<Node>, TemplateError> {
        let follows = matches!(&tokens[0].kind, Kind::Word(word) if word == keyword && keyword != "range");
        if !follows {
            return Err(self.error(format!("unexpected {} in {keyword}", self.source(&tokens[0]))));
        }
        let rest = tokens[1..]
            .iter()
            .skip_while(|token| token.kind == Kind::Space)
            .cloned()
            .collect();
        Ok(vec![self.control(keyword, rest)?])
    }

    fn source(&self, token: &Token) -> String {
        format!("<{}>", &self.text[token.start..token.end])
    }

    fn pipeline(&mut self, tokens: Vec<Token>) -> Result<Pipeline, TemplateError> {
        let mut tokens = Tokens { tokens, position: 0 };
        let pipeline = self.pipeline_until(&mut tokens, None)?;
        Ok(pipeline)
    }

    fn pipeline_until(
        &mut self,
        tokens: &mut Tokens,
        close: Option<char>,
    ) -> Result<Pipeline, TemplateError> {
        let (variables, assigns) = self.declaration(tokens)?;
        let mut commands = Vec::new();
        loop {
            tokens.skip_space();
            let command = self.command(tokens, close)?;
            let is_first = commands.is_empty();
            if command.function.is_none() && !is_first {
                return Err(self.error(format!(
                    "non executable command in pipeline stage {}",
                    commands.len() + 1
                )));
            }
            commands.push(command);
            match tokens.next() {
                Some(Token {
                    kind: Kind::Sign('|'),
                    ..
                }) => {}
                Some(Token {
                    kind: Kind::Sign(sign),
                    ..
                }) if Some(sign) == close => break,
                None if close.is_none() => break,
                None => return Err(self.error("unclosed left paren")),
                Some(token) => {
                    return Err(self.error(format!("unexpected {} in operand", self.source(&token))));
                }
            }
        }
        Ok(Pipeline {
            variables,
            assigns,
            commands,
        })
    }

    /// `$x :=`, `$x =`, `$i, $e :=`
    fn declaration(&mut self, tokens: &mut Tokens) -> Result<(Vec<String>, bool), TemplateError> {
        let start = tokens.position;
        let mut names = Vec::new();
        loop {
            tokens.skip_space();
            let Some(Token {
                kind: Kind::Variable(name),
                ..
            }) = tokens.next()
            else {
                break;
            };
            names.push(name);
            tokens.skip_space();
            match tokens.next().map(|token| token.kind) {
                Some(Kind::Sign(',')) => {}
                Some(Kind::Declare) => {
                    self.variables.extend(names.iter().cloned());
                    return Ok((names, false));
                }
                Some(Kind::Assign) => {
                    names.iter().try_for_each(|name| self.known(name))?;
                    return Ok((names, true));
                }
                _ => break,
            }
        }
        tokens.position = start;
        Ok((Vec::new(), false))
    }

    fn known(&self, name: &str) -> Result<(), TemplateError> {
        let known = self.variables.iter().any(|variable| variable == name);
        if known {
            Ok(())
        } else {
            Err(self.error(format!("undefined variable {name:?}")))
        }
    }

    fn command(&mut self, tokens: &mut Tokens, close: Option<char>) -> Result<Command, TemplateError> {
        let start = tokens.start().unwrap_or(self.offset);
        let function = match tokens.peek() {
            Some(Kind::Word(word)) if !is_literal(word) => {
                let function = Function::named(word)
                    .ok_or_else(|| self.error(format!("function {word:?} not defined")))?;
                tokens.position += 1;
                Some(function)
            }
            _ => None,
        };
        let mut operands = Vec::new();
        loop {
            tokens.skip_space();
            match tokens.peek() {
                None | Some(Kind::Sign('|')) => break,
                Some(Kind::Sign(sign)) if Some(*sign) == close => break,
                Some(_) => operands.push(self.operand(tokens)?),
            }
        }
        let place = self.place(start, tokens.end_before());
        match (&function, operands.len()) {
            (None, 0) => Err(self.error("missing value for command")),
            (None, 2) if operands[0].asks_for_label() => Ok(Command {
                function: Some(Function::label()),
                operands,
                place,
            }),
            (None, 2..) => Err(self.error(format!("can't give argument to non-function {}", place.text))),
            _ => Ok(Command {
                function,
                operands,
                place,
            }),
        }
    }

    fn operand(&mut self, tokens: &mut Tokens) -> Result<Operand, TemplateError> {
        let token = tokens.next().expect("the caller has peeked");
        let start = token.start;
        let mut fields = Vec::new();
        let base = match token.kind {
            Kind::Field(name) if name.is_empty() => Base::Dot,
            Kind::Field(name) => {
                fields.push((name, self.place_at(start, start, token.end)));
                Base::Dot
            }
            Kind::Variable(name) => {
                self.known(&name)?;
                Base::Variable(name)
            }
            Kind::Text(text) => Base::Literal(text.into()),
            Kind::Number(number) => Base::Literal(number.into()),
            Kind::Sign('(') => Base::Pipeline(Box::new(self.pipeline_until(tokens, Some(')'))?)),
            Kind::Word(word) if is_literal(&word) => Base::Literal(match word.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => Value::Null,
            }),
            Kind::Word(word) => {
                let function = Function::named(&word)
                    .ok_or_else(|| self.error(format!("function {word:?} not defined")))?;
                let place = self.place(start, token.end);
                Base::Call(Box::new(Command {
                    function: Some(function),
                    operands: Vec::new(),
                    place,
                }))
            }
            _ => {
                let source = &self.text[start..token.end];
                return Err(self.error(format!("unexpected <{source}> in operand")));
            }
        };
        while let Some(Kind::Field(name)) = tokens.peek() {
            if name.is_empty() {
                return Err(self.error("unexpected <.> in operand"));
            }
            let name = name.clone();
            let token = tokens.next().expect("peeked");
            fields.push((name, self.place_at(token.start, start, token.end)));
        }
        Ok(Operand { base, fields })
    }

    fn place(&self, start: usize, end: usize) -> Place {
        self.place_at(start, start, end)
    }

    /// Go points at the last field of a chain and shows the whole chain.
    fn place_at(&self, offset: usize, start: usize, end: usize) -> Place {
        let before = &self.text[..offset];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            line,
            column,
            text: self.text[start..end.max(start)].to_owned(),
        }
    }
}

fn is_literal(word: &str) -> bool {
    matches!(word, "true" | "false" | "nil")
}

struct Tokens {
    tokens: Vec<Token>,
    position: usize,
}

impl Tokens {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.position).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.position).cloned();
        self.position += usize::from(token.is_some());
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Kind::Space) {
            self.position += 1;
        }
    }

    fn start(&self) -> Option<usize> {
        self.tokens.get(self.position).map(|token| token.start)
    }

    /// End of the last token before this one that is not white space.
    fn end_before(&self) -> usize {
        let before = self.tokens[..self.position]
            .iter()
            .rev()
            .find(|token| token.kind != Kind::Space);
        before.map_or(0, |token| token.end)
    }
}
