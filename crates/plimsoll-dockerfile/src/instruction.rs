//! From one line of text to an [`Instruction`]: the parts that all of them share, and the table
//! of who reads which.

mod copy;
mod from;
mod healthcheck;
mod plain;
mod run;
mod variables;

use plimsoll_diagnostics::Span;

use crate::fault::{Fault, Result};
use crate::flags::{Flags, Known, Takes};
use crate::heredoc::{self, Found};
use crate::line::{Lines, Slice, is_blank};
use crate::pasted;
use crate::tree::{Instruction, InstructionKind, Word};
use crate::words::json_strings;
use plimsoll_diagnostics::nearest;

/// Every instruction there is.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What an instruction is parsed with.
pub(crate) struct Context<'c, 't> {
    /// The lines that follow, for here-documents.
    pub(crate) lines: &'c mut Lines<'t>,
    pub(crate) escape: char,
    /// What is odd but can be understood.
    pub(crate) warnings: &'c mut Vec<Fault>,
}

/// An instruction cut into its parts.
pub(crate) struct Statement<'a> {
    /// In upper case.
    keyword: String,
    keyword_place: Slice<'a>,
    flags: Flags,
    arguments: Slice<'a>,
    heredocs: Vec<Found<'a>>,
    escape: char,
}

/// Parses one instruction whose text on one line is `text` and ends at `end` in the source.
pub(crate) fn parse(text: Slice<'_>, end: usize, context: &mut Context<'_, '_>) -> Result<Instruction> {
    let text = text.trim();
    let (keyword_place, rest) = text.split_first();
    let keyword = keyword_place.as_str().to_ascii_uppercase();
    if !KEYWORDS.contains(&keyword.as_str()) {
        return Err(unknown(keyword_place, rest));
    }
    if keyword == "ONBUILD" {
        return onbuild(text, end, context);
    }
    let (flags, arguments) = Flags::split(rest);
    let (heredocs, body_end) = match keyword.as_str() {
        "RUN" | "COPY" | "ADD" if json_strings(arguments).unwrap_or_default().is_none() => {
            heredoc::read(arguments, context.lines)?
        }
        _ => (Vec::new(), None),
    };
    let end = body_end.unwrap_or(end);
    let mut verbatim = text.as_str().to_owned();
    for found in &heredocs {
        verbatim.push('\n');
        verbatim.push_str(&found.heredoc.body.value);
        verbatim.push_str(&found.heredoc.delimiter);
    }
    let statement = Statement {
        keyword,
        keyword_place,
        flags,
        arguments,
        heredocs,
        escape: context.escape,
    };
    let kind = statement.kind(context.warnings)?;
    Ok(finish(text, keyword_place, end, verbatim, kind))
}

fn finish(
    text: Slice<'_>,
    keyword: Slice<'_>,
    end: usize,
    verbatim: String,
    kind: InstructionKind,
) -> Instruction {
    let rest = &text.as_str()[keyword.as_str().len()..];
    Instruction {
        span: Span::new(text.span().start, end),
        keyword: keyword.word(),
        text: keyword.as_str().to_ascii_uppercase() + rest,
        verbatim,
        kind,
    }
}

/// ONBUILD holds an instruction, here-documents included, which is kept as it was written.
fn onbuild(text: Slice<'_>, end: usize, context: &mut Context<'_, '_>) -> Result<Instruction> {
    let (keyword, rest) = text.split_first();
    let (flags, rest) = Flags::split(rest);
    flags.check("ONBUILD", &[])?;
    let (inner, _) = rest.split_first();
    match inner.as_str().to_ascii_uppercase().as_str() {
        "" => return Err(needs_arguments("ONBUILD", keyword)),
        name @ ("ONBUILD" | "FROM" | "MAINTAINER") => {
            let message = format!("{name} is not allowed in ONBUILD");
            return Err(Fault::error("onbuild-instruction", inner.span(), message));
        }
        _ => {}
    }
    let inner = parse(rest, end, context)?;
    let line_break = inner.verbatim.find('\n').unwrap_or(inner.verbatim.len());
    let verbatim = text.as_str().to_owned() + &inner.verbatim[line_break..];
    let end = inner.span.end;
    Ok(finish(
        text,
        keyword,
        end,
        verbatim,
        InstructionKind::Onbuild(Box::new(inner)),
    ))
}

impl<'a> Statement<'a> {
    fn kind(&self, warnings: &mut Vec<Fault>) -> Result<InstructionKind> {
        use InstructionKind as Kind;
        self.flags.check(&self.keyword, self.known_flags())?;
        if !self.known_flags().is_empty() {
            pasted::check_dash(self.arguments)?;
        }
        Ok(match self.keyword.as_str() {
            "ADD" => Kind::Add(copy::parse(self, warnings)?),
            "ARG" => Kind::Arg(variables::arguments(self, warnings)?),
            "CMD" => Kind::Cmd(plain::command(self, warnings)?),
            "COPY" => Kind::Copy(copy::parse(self, warnings)?),
            "ENTRYPOINT" => Kind::Entrypoint(plain::command(self, warnings)?),
            "ENV" => Kind::Env(variables::pairs(self, warnings)?),
            "EXPOSE" => Kind::Expose(plain::words(self)?),
            "FROM" => Kind::From(from::parse(self)?),
            "HEALTHCHECK" => Kind::Healthcheck(healthcheck::parse(self, warnings)?),
            "LABEL" => Kind::Label(variables::pairs(self, warnings)?),
            "RUN" => Kind::Run(run::parse(self, warnings)?),
            "SHELL" => Kind::Shell(plain::shell(self)?),
            "STOPSIGNAL" => Kind::Stopsignal(plain::signal(self)?),
            "USER" => Kind::User(plain::rest(self)?),
            "VOLUME" => Kind::Volume(plain::volumes(self, warnings)?),
            "WORKDIR" => Kind::Workdir(plain::rest(self)?),
            _ => Kind::Maintainer(plain::rest(self)?),
        })
    }

    fn known_flags(&self) -> &'static Known {
        known_flags(&self.keyword)
    }

    /// The arguments as words between blanks, or as the strings of a JSON array.
    fn list(&self) -> Result<Vec<Word>> {
        match json_strings(self.arguments)? {
            Some(strings) => Ok(strings),
            None => Ok(self.arguments.words().into_iter().map(Slice::word).collect()),
        }
    }

    fn needs_arguments(&self) -> Fault {
        needs_arguments(&self.keyword, self.keyword_place)
    }
}

fn known_flags(keyword: &str) -> &'static Known {
    match keyword {
        "ADD" => copy::ADD_FLAGS,
        "COPY" => copy::COPY_FLAGS,
        "FROM" => from::FLAGS,
        "HEALTHCHECK" => healthcheck::FLAGS,
        "RUN" => run::FLAGS,
        _ => &[],
    }
}

/// Returns the names of the flags that an instruction knows, `from` for `--from`, and whether each takes a value.
pub fn flags_of(keyword: &str) -> impl Iterator<Item = (&'static str, bool)> {
    let known = known_flags(&keyword.to_ascii_uppercase());
    known.iter().map(|(name, takes)| (*name, *takes != Takes::Switch))
}

fn needs_arguments(keyword: &str, place: Slice<'_>) -> Fault {
    Fault::error(
        "missing-argument",
        place.span(),
        format!("{keyword} needs at least one argument"),
    )
}

fn unknown(keyword: Slice<'_>, rest: Slice<'_>) -> Fault {
    let name = keyword.as_str();
    let fault = Fault::error(
        "unknown-instruction",
        keyword.span(),
        format!("unknown instruction `{}`", printable(name)),
    );
    let (next, _) = rest.split_first();
    let next_is_keyword = KEYWORDS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(next.as_str()));
    if pasted::is_line_number(name) && (next_is_keyword || next.is_empty()) {
        return fault.help("a line number seems to have been copied along; remove it");
    }
    if let Some(hint) = pasted::hint(name) {
        return fault.help(hint);
    }
    if let Some(known) = nearest(name, KEYWORDS) {
        return fault.help(format!("did you mean `{known}`?"));
    }
    match continues(name) {
        true => fault.help("if this belongs to the instruction above, end the line before with `\\`"),
        false => fault,
    }
}

/// Tells whether a line looks like the rest of a shell command.
fn continues(keyword: &str) -> bool {
    keyword.starts_with(['&', '|', ';', '-', '>', '<', ')', '}', '"', '\''])
        || keyword
            .chars()
            .all(|c| c.is_ascii_lowercase() || c == '-' || c == '_')
}

/// The word with what cannot be seen in it written out.
fn printable(name: &str) -> String {
    let visible = |c: char| !c.is_control() && (is_blank(c) || !c.is_whitespace());
    name.chars()
        .flat_map(|c| {
            if visible(c) {
                vec![c]
            } else {
                c.escape_unicode().collect()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
