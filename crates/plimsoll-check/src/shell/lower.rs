//! From the parser's tree to a flat list of simple commands.

use plimsoll_diagnostics::{Source, Span};
use plimsoll_dockerfile::Word;
use shuck_ast::{
    ArrayElem, AssignmentValue, BinaryOp, BuiltinCommand, Command, CompoundCommand, ConditionalExpr,
    DeclOperand, RedirectTarget, Stmt, StmtSeq, StmtTerminator, WordPart, WordPartNode,
};

use super::command::{
    Assignment, Joint, Pipeline, Place, Redirect, RedirectKind, ShellCommand, base_name, program,
};
use super::text::Text;
use super::word::{Builder, ShellWord, is_misread, range};
use super::{Problem, parse, shell_named};

/// How many shells may be started one in another (`sh -c "sh -c ..."`).
const MOST_NESTED: usize = 4;

/// Gathers the commands of a text.
#[derive(Default)]
pub(super) struct Lowering {
    commands: Vec<ShellCommand>,
    lists: usize,
    pipelines: usize,
    nested: usize,
    /// The parser has misread something: nothing is certain.
    misread: bool,
}

/// What is known about a command before it is reached.
#[derive(Clone, Copy)]
struct Position {
    joint: Joint,
    list: usize,
    place: Place,
    pipeline: Option<Pipeline>,
}

impl Lowering {
    /// Takes the commands of shell text.
    pub(super) fn text(&mut self, text: &Text) -> Result<(), Option<Problem>> {
        self.text_at(text, Place::default())
    }

    /// Takes an exec form.
    pub(super) fn exec(&mut self, source: &Source, words: &[Word]) {
        let shell_words = words
            .iter()
            .map(|word| ShellWord::literal(&word.value, word.span));
        let shell_words: Vec<ShellWord> = shell_words.collect();
        let Some(span) = shell_words.iter().map(|word| word.span).reduce(Span::join) else {
            return;
        };
        let list = self.list();
        let pipeline = self.alone(span);
        self.push(
            shell_words,
            span,
            &pipeline.at(Joint::First, list, Place::default()),
        );
        let script = self.commands.last().and_then(script_argument);
        if let Some(at) = script {
            let text = Text::literal(source, &words[at].value, words[at].span);
            self.nested_text(&text, Place::default());
        }
    }

    /// The commands in the order of the text.
    pub(super) fn finish(mut self) -> Vec<ShellCommand> {
        if self.misread {
            return Vec::new();
        }
        self.commands.sort_by_key(|command| command.span.start);
        self.commands
    }

    fn text_at(&mut self, text: &Text, place: Place) -> Result<(), Option<Problem>> {
        let parsed = parse(text)?;
        self.sequence(text, &parsed.file.body, place);
        Ok(())
    }

    /// The text of a shell in a shell; when it cannot be parsed, nothing is known about it.
    fn nested_text(&mut self, text: &Text, place: Place) {
        if self.nested >= MOST_NESTED {
            return;
        }
        self.nested += 1;
        let place = Place {
            nested: true,
            ..place
        };
        let before = self.commands.len();
        if self.text_at(text, place).is_err() {
            self.commands.truncate(before);
        }
        self.nested -= 1;
    }

    fn list(&mut self) -> usize {
        self.lists += 1;
        self.lists
    }

    fn alone(&mut self, span: Span) -> Pipeline {
        self.pipelines += 1;
        Pipeline {
            id: self.pipelines,
            index: 0,
            length: 1,
            span,
        }
    }

    fn sequence(&mut self, text: &Text, sequence: &StmtSeq, place: Place) {
        let list = self.list();
        for (index, stmt) in sequence.iter().enumerate() {
            let joint = if index == 0 { Joint::First } else { Joint::Next };
            let background = matches!(stmt.terminator, Some(StmtTerminator::Background(_)));
            let place = Place {
                background: place.background || background,
                ..place
            };
            let position = Position {
                joint,
                list,
                place,
                pipeline: None,
            };
            self.stmt(text, stmt, position);
        }
    }

    fn stmt(&mut self, text: &Text, stmt: &Stmt, mut position: Position) {
        position.place.negated |= stmt.negated;
        if let Command::Binary(binary) = &stmt.command {
            match binary.op {
                BinaryOp::And | BinaryOp::Or => {
                    let (joint, rescued) = match binary.op {
                        BinaryOp::And => (Joint::And, false),
                        _ => (Joint::Or, true),
                    };
                    let mut left = position;
                    left.place.watched = true;
                    left.place.rescued |= rescued;
                    self.stmt(text, &binary.left, left);
                    self.stmt(text, &binary.right, Position { joint, ..position });
                }
                BinaryOp::Pipe | BinaryOp::PipeAll => self.pipeline(text, stmt, position),
            }
            return;
        }
        let pipeline = match position.pipeline {
            Some(pipeline) => pipeline,
            None => self.alone(span_of(stmt, text)),
        };
        position.pipeline = Some(pipeline);
        let before = self.commands.len();
        self.command(text, &stmt.command, position);
        let redirects: Vec<Redirect> = stmt.redirects.iter().map(|one| redirect(text, one)).collect();
        for redirect in &stmt.redirects {
            self.redirect_words(text, redirect, position.place);
        }
        if redirects.is_empty() {
            return;
        }
        // Those of a compound command are its commands' too, as far as anybody asks.
        for command in &mut self.commands[before..] {
            if !command.place.substitution || position.place.substitution {
                let own = matches!(
                    stmt.command,
                    Command::Simple(_) | Command::Decl(_) | Command::Builtin(_)
                );
                if own {
                    let end = redirects
                        .iter()
                        .map(|one| one.span)
                        .fold(command.span, Span::join);
                    command.span = end;
                }
                command.redirects.extend(redirects.iter().cloned());
            }
        }
        self.heredoc_script(text, stmt, before, position.place);
    }

    /// `bash <<EOF`: the here-document is the script.
    fn heredoc_script(&mut self, text: &Text, stmt: &Stmt, command: usize, place: Place) {
        let reads = self.commands.get(command).is_some_and(|command| {
            let shell = command.program().and_then(shell_named);
            shell.is_some()
                && command
                    .args()
                    .iter()
                    .all(|word| word.is_flag() || word.text == "pipefail")
        });
        let documents = stmt.redirects.iter().filter_map(|redirect| redirect.heredoc());
        for document in documents.filter(|_| reads) {
            let (start, end) = range(document.body.span, text);
            self.nested_text(&text.part(start, end), place);
        }
    }

    fn pipeline(&mut self, text: &Text, stmt: &Stmt, position: Position) {
        let mut parts = Vec::new();
        flatten(stmt, &mut parts);
        self.pipelines += 1;
        let id = self.pipelines;
        let length = parts.len();
        let span = span_of(stmt, text);
        for (index, part) in parts.into_iter().enumerate() {
            let pipeline = Some(Pipeline {
                id,
                index,
                length,
                span,
            });
            self.stmt(text, part, Position { pipeline, ..position });
        }
    }

    fn command(&mut self, text: &Text, command: &Command, position: Position) {
        let place = position.place;
        match command {
            Command::Simple(simple) => {
                let words = std::iter::once(&simple.name).chain(&simple.args);
                let words: Vec<&shuck_ast::Word> = words.filter(|word| !is_nothing(word)).collect();
                self.simple(text, &words, &simple.assignments, simple.span, position);
            }
            Command::Decl(clause) => self.declaration(text, clause, position),
            Command::Builtin(builtin) => self.builtin(text, builtin, position),
            Command::Binary(_) => unreachable!("a statement takes its lists and pipelines apart"),
            Command::Compound(compound) => self.compound(text, compound, position),
            Command::Function(function) => {
                let place = Place {
                    function: true,
                    ..place
                };
                let list = self.list();
                let joint = Joint::First;
                self.stmt(
                    text,
                    &function.body,
                    Position {
                        joint,
                        list,
                        place,
                        pipeline: None,
                    },
                );
            }
            Command::AnonymousFunction(_) => {}
        }
    }

    fn simple(
        &mut self,
        text: &Text,
        words: &[&shuck_ast::Word],
        assignments: &[shuck_ast::Assignment],
        span: shuck_ast::Span,
        position: Position,
    ) {
        self.misread |= words.iter().any(|word| is_misread(text, word));
        let shell_words: Vec<ShellWord> = words.iter().map(|word| Builder::build(text, word)).collect();
        let (start, end) = trimmed(span, text);
        let span = text.span(start, end);
        self.push(shell_words, span, &position);
        let own = self.commands.len() - 1;
        for assignment in assignments {
            self.assignment(text, assignment, own, position.place);
        }
        for word in words {
            self.word_commands(text, &word.parts, position.place);
        }
        self.shell_argument(text, words, own, position.place);
    }

    /// `sh -c '...'`, `su -c '...'`.
    fn shell_argument(&mut self, text: &Text, words: &[&shuck_ast::Word], own: usize, place: Place) {
        let Some(at) = script_argument(&self.commands[own]) else {
            return;
        };
        let word = self.commands[own].words[at].clone();
        let (start, end) = range(words[at].span, text);
        let written = &text.as_str()[start..end];
        let quoted = written.len() == word.text.len() + 2 && written[1..].starts_with(&word.text);
        let nested = match quoted {
            true => text.part(start + 1, end - 1),
            false => Text::somewhere(&word.text, word.span),
        };
        self.nested_text(&nested, place);
    }

    fn push(&mut self, words: Vec<ShellWord>, span: Span, position: &Position) {
        let pipeline = position.pipeline.unwrap_or(Pipeline {
            id: 0,
            index: 0,
            length: 1,
            span,
        });
        self.commands.push(ShellCommand {
            span,
            program: program(&words),
            words,
            assignments: Vec::new(),
            redirects: Vec::new(),
            joint: position.joint,
            pipeline,
            place: position.place,
            list: position.list,
        });
    }

    fn declaration(&mut self, text: &Text, clause: &shuck_ast::DeclClause, position: Position) {
        let place = position.place;
        let (start, end) = range(clause.variant_span, text);
        let mut words = vec![ShellWord::literal(
            &text.as_str()[start..end],
            text.span(start, end),
        )];
        for operand in &clause.operands {
            words.push(match operand {
                DeclOperand::Flag(word) | DeclOperand::Dynamic(word) => Builder::build(text, word),
                DeclOperand::Name(name) => slice(text, name.span),
                DeclOperand::Assignment(assignment) => slice(text, assignment.span),
            });
        }
        let (start, end) = trimmed(clause.span, text);
        self.push(words, text.span(start, end), &position);
        let own = self.commands.len() - 1;
        for assignment in &clause.assignments {
            self.assignment(text, assignment, own, place);
        }
        for operand in &clause.operands {
            match operand {
                DeclOperand::Assignment(assignment) => self.assignment(text, assignment, own, place),
                DeclOperand::Flag(word) | DeclOperand::Dynamic(word) => {
                    self.word_commands(text, &word.parts, place)
                }
                DeclOperand::Name(_) => {}
            }
        }
    }

    fn assignment(&mut self, text: &Text, assignment: &shuck_ast::Assignment, command: usize, place: Place) {
        let (start, end) = range(assignment.span, text);
        let value = match &assignment.value {
            AssignmentValue::Scalar(word) => Some(Builder::build(text, word)),
            AssignmentValue::Compound(_) => None,
        };
        self.commands[command].assignments.push(Assignment {
            span: text.span(start, end),
            name: assignment.target.name.as_str().to_owned(),
            value,
        });
        match &assignment.value {
            AssignmentValue::Scalar(word) => self.word_commands(text, &word.parts, place),
            AssignmentValue::Compound(array) => {
                for element in &array.elements {
                    let (ArrayElem::Sequential(value)
                    | ArrayElem::Keyed { value, .. }
                    | ArrayElem::KeyedAppend { value, .. }) = element;
                    self.word_commands(text, &value.word.parts, place);
                }
            }
        }
    }

    fn builtin(&mut self, text: &Text, builtin: &BuiltinCommand, position: Position) {
        let (name, argument, span) = match builtin {
            BuiltinCommand::Break(one) => ("break", &one.depth, one.span),
            BuiltinCommand::Continue(one) => ("continue", &one.depth, one.span),
            BuiltinCommand::Return(one) => ("return", &one.code, one.span),
            BuiltinCommand::Exit(one) => ("exit", &one.code, one.span),
        };
        let (start, end) = trimmed(span, text);
        let name_end = (start + name.len()).min(end);
        let mut words = vec![ShellWord::literal(name, text.span(start, name_end))];
        words.extend(argument.iter().map(|word| Builder::build(text, word)));
        self.push(words, text.span(start, end), &position);
        if let Some(word) = argument {
            self.word_commands(text, &word.parts, position.place);
        }
    }

    fn compound(&mut self, text: &Text, compound: &CompoundCommand, position: Position) {
        let place = position.place;
        let condition = Place {
            condition: true,
            ..place
        };
        let branch = Place {
            branch: true,
            ..place
        };
        let looped = Place {
            looped: true,
            ..place
        };
        match compound {
            CompoundCommand::If(one) => {
                self.sequence(text, &one.condition, condition);
                self.sequence(text, &one.then_branch, branch);
                for (test, body) in &one.elif_branches {
                    self.sequence(
                        text,
                        test,
                        Place {
                            branch: true,
                            ..condition
                        },
                    );
                    self.sequence(text, body, branch);
                }
                if let Some(body) = &one.else_branch {
                    self.sequence(text, body, branch);
                }
            }
            CompoundCommand::For(one) => {
                for word in one.words.iter().flatten() {
                    self.word_commands(text, &word.parts, place);
                }
                self.sequence(text, &one.body, looped);
            }
            CompoundCommand::Foreach(one) => self.sequence(text, &one.body, looped),
            CompoundCommand::Repeat(one) => self.sequence(text, &one.body, looped),
            CompoundCommand::Select(one) => self.sequence(text, &one.body, looped),
            CompoundCommand::ArithmeticFor(one) => self.sequence(text, &one.body, looped),
            CompoundCommand::While(one) => {
                self.sequence(
                    text,
                    &one.condition,
                    Place {
                        looped: true,
                        ..condition
                    },
                );
                self.sequence(text, &one.body, looped);
            }
            CompoundCommand::Until(one) => {
                self.sequence(
                    text,
                    &one.condition,
                    Place {
                        looped: true,
                        ..condition
                    },
                );
                self.sequence(text, &one.body, looped);
            }
            CompoundCommand::Case(one) => {
                self.word_commands(text, &one.word.parts, place);
                for item in &one.cases {
                    self.sequence(text, &item.body, branch);
                }
            }
            CompoundCommand::Subshell(body) => self.sequence(
                text,
                body,
                Place {
                    subshell: true,
                    ..place
                },
            ),
            CompoundCommand::BraceGroup(body) => self.sequence(text, body, place),
            CompoundCommand::Always(one) => {
                self.sequence(text, &one.body, place);
                self.sequence(text, &one.always_body, place);
            }
            CompoundCommand::Time(one) => {
                if let Some(stmt) = &one.command {
                    self.stmt(text, stmt, position);
                }
            }
            CompoundCommand::Coproc(one) => self.stmt(text, &one.body, position),
            CompoundCommand::Conditional(one) => {
                let (start, end) = trimmed(one.span, text);
                let bracket = ShellWord::literal("[[", text.span(start, (start + 2).min(end)));
                self.push(vec![bracket], text.span(start, end), &position);
                self.conditional(text, &one.expression, place);
            }
            CompoundCommand::Arithmetic(_) => {}
        }
    }

    fn conditional(&mut self, text: &Text, expression: &ConditionalExpr, place: Place) {
        match expression {
            ConditionalExpr::Binary(one) => {
                self.conditional(text, &one.left, place);
                self.conditional(text, &one.right, place);
            }
            ConditionalExpr::Unary(one) => self.conditional(text, &one.expr, place),
            ConditionalExpr::Parenthesized(one) => self.conditional(text, &one.expr, place),
            ConditionalExpr::Word(word) | ConditionalExpr::Regex(word) => {
                self.word_commands(text, &word.parts, place)
            }
            ConditionalExpr::Pattern(_) | ConditionalExpr::VarRef(_) => {}
        }
    }

    fn redirect_words(&mut self, text: &Text, redirect: &shuck_ast::Redirect, place: Place) {
        if let RedirectTarget::Word(word) = &redirect.target {
            self.misread |= is_misread(text, word);
            self.word_commands(text, &word.parts, place);
        }
    }

    /// The commands whose output becomes part of a word.
    fn word_commands(&mut self, text: &Text, parts: &[WordPartNode], place: Place) {
        let place = Place {
            substitution: true,
            ..place
        };
        for part in parts {
            match &part.kind {
                WordPart::CommandSubstitution { body, .. } | WordPart::ProcessSubstitution { body, .. } => {
                    self.sequence(text, body, place);
                }
                WordPart::DoubleQuoted { parts, .. } => self.word_commands(text, parts, place),
                WordPart::ParameterExpansion {
                    operand_word_ast: Some(word),
                    ..
                } => self.word_commands(text, &word.parts, place),
                _ => {}
            }
        }
    }
}

impl Pipeline {
    fn at(self, joint: Joint, list: usize, place: Place) -> Position {
        Position {
            joint,
            list,
            place,
            pipeline: Some(self),
        }
    }
}

/// The number of the word that a shell is given to run.
fn script_argument(command: &ShellCommand) -> Option<usize> {
    let first = command.words.len() - command.args().len();
    let name = command.program()?;
    if name != "su" && shell_named(base_name(name)).is_none() {
        return None;
    }
    let args = command.args();
    let asks = |word: &ShellWord| {
        word.text == "--command" || (super::is_cluster(&word.text) && word.text.ends_with('c'))
    };
    let at = args.iter().position(asks)? + 1;
    (at < args.len() && args[at].expansions.is_empty()).then_some(first + at)
}

/// The parts of a pipeline.
fn flatten<'a>(stmt: &'a Stmt, parts: &mut Vec<&'a Stmt>) {
    match &stmt.command {
        Command::Binary(binary) if matches!(binary.op, BinaryOp::Pipe | BinaryOp::PipeAll) => {
            flatten(&binary.left, parts);
            flatten(&binary.right, parts);
        }
        _ => parts.push(stmt),
    }
}

fn redirect(text: &Text, redirect: &shuck_ast::Redirect) -> Redirect {
    use shuck_ast::RedirectKind as Kind;
    let kind = match redirect.kind {
        Kind::Output | Kind::Clobber | Kind::OutputBoth => RedirectKind::Write,
        Kind::Append => RedirectKind::Append,
        Kind::Input => RedirectKind::Read,
        Kind::HereDoc | Kind::HereDocStrip | Kind::HereString => RedirectKind::Document,
        Kind::ReadWrite | Kind::DupOutput | Kind::DupInput => RedirectKind::Other,
    };
    let target = match &redirect.target {
        RedirectTarget::Word(word) if kind != RedirectKind::Other => Some(Builder::build(text, word)),
        _ => None,
    };
    let (mut start, mut end) = trimmed(redirect.span, text);
    if let RedirectTarget::Heredoc(document) = &redirect.target {
        (_, end) = range(document.delimiter.span, text);
        start = start.min(end);
    }
    Redirect {
        span: text.span(start, end),
        kind,
        descriptor: redirect.fd,
        target,
    }
}

fn slice(text: &Text, span: shuck_ast::Span) -> ShellWord {
    let (start, end) = range(span, text);
    ShellWord::literal(&text.as_str()[start..end], text.span(start, end))
}

/// A command that only assigns has a name without anything in it.
fn is_nothing(word: &shuck_ast::Word) -> bool {
    word.span.start.offset() >= word.span.end.offset()
}

/// A span of the parser, which may cover the blanks and the end of line behind.
fn trimmed(span: shuck_ast::Span, text: &Text) -> (usize, usize) {
    let (start, end) = range(span, text);
    let written = &text.as_str()[start..end];
    (
        start,
        start + written.trim_end_matches([' ', '\t', '\n', ';', '&']).len(),
    )
}

fn span_of(stmt: &Stmt, text: &Text) -> Span {
    let (start, mut end) = trimmed(stmt.span, text);
    // The bodies of here-documents stand behind the line.
    let documents = stmt.redirects.iter().filter_map(|redirect| redirect.heredoc());
    for document in documents {
        end = end.min(range(document.body.span, text).0);
    }
    let end = start + text.as_str()[start..end].trim_end().len();
    text.span(start, end)
}
