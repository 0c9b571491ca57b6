//! The whole file: line after line, each instruction on its own, so that one bad instruction costs
//! one diagnostic; then the rules about their order.

use plimsoll_diagnostics::{Diagnostic, Severity, Source, Span};

use crate::directives;
use crate::fault::Fault;
use crate::instruction::{self, Context};
use crate::line::Lines;
use crate::pasted;
use crate::tree::{Directives, Dockerfile, Instruction, InstructionKind, Parsed};

impl Dockerfile {
    /// Parses the text of a Dockerfile.
    ///
    /// Never fails: what cannot be understood becomes a diagnostic of severity error and is left
    /// out of the tree.
    pub fn parse(source: &Source) -> Parsed {
        let (directives, mut diagnostics) = directives::read(source);
        let frontend = directives::check_frontend(source, &directives);
        let (instructions, found) = instructions(source, directives.escape);
        diagnostics.extend(found);
        let wrong = diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error);
        if !wrong {
            diagnostics.extend(order(source, &instructions));
        }
        // A file in another language is not judged by this one's rules.
        if let Some(frontend) = frontend {
            diagnostics = vec![frontend];
        }
        diagnostics.sort_by_key(|diagnostic| diagnostic.span().map(|span| span.start));
        let dockerfile = Dockerfile {
            source: source.clone(),
            directives,
            instructions,
        };
        Parsed {
            dockerfile,
            diagnostics,
        }
    }

    /// Parses an instruction that ONBUILD stored in an image: nothing comes before it, no FROM
    /// and no directive.
    pub fn parse_trigger(source: &Source) -> Parsed {
        let directives = Directives::default();
        let (instructions, mut diagnostics) = instructions(source, directives.escape);
        if instructions.len() != 1 && diagnostics.is_empty() {
            let whole = Span::new(0, source.text.len());
            diagnostics.push(Diagnostic::error(
                "trigger",
                source,
                whole,
                "a trigger is one instruction",
            ));
        }
        Parsed {
            dockerfile: Dockerfile {
                source: source.clone(),
                directives,
                instructions,
            },
            diagnostics,
        }
    }
}

fn instructions(source: &Source, escape: char) -> (Vec<Instruction>, Vec<Diagnostic>) {
    let mut instructions = Vec::new();
    let mut faults = Vec::new();
    let mut lines = Lines::new(&source.text);
    while let Some(first) = lines.next() {
        if first.is_comment() || first.is_empty() {
            continue;
        }
        let joined = lines.join(first, escape);
        let text = joined.line.whole();
        if text.trim().is_empty() {
            continue;
        }
        let mut warnings = Vec::from_iter(joined.empty_lines.first().map(|line| empty_line(*line)));
        let mut context = Context {
            lines: &mut lines,
            escape,
            warnings: &mut warnings,
        };
        match instruction::parse(text, joined.end, &mut context) {
            Ok(instruction) => {
                instructions.push(instruction);
                faults.extend(warnings);
            }
            Err(fault) => {
                let place = source.slice(fault.span);
                faults.push(fault.or_help(|| pasted::hint(place)));
            }
        }
    }
    let diagnostics = faults
        .into_iter()
        .map(|fault| fault.into_diagnostic(source))
        .collect();
    (instructions, diagnostics)
}

/// BuildKit's check NoEmptyContinuation.
fn empty_line(line: Span) -> Fault {
    Fault::warning(
        "empty-continuation",
        line,
        "this empty line is in the midst of an instruction",
    )
    .help("remove it, or put a `#` there")
}

/// Only ARG may come before the first FROM, and there must be one.
fn order(source: &Source, instructions: &[Instruction]) -> Option<Diagnostic> {
    let fault = match instructions
        .iter()
        .find(|one| !matches!(one.kind, InstructionKind::Arg(_)))
    {
        Some(Instruction {
            kind: InstructionKind::From(_),
            ..
        }) => return None,
        Some(early) => {
            let keyword = early.keyword.value.to_ascii_uppercase();
            let message = format!("{keyword} comes before the first FROM");
            Fault::error("no-build-stage", early.keyword.span, message)
                .help("a stage begins with `FROM IMAGE`; only ARG may come before it")
        }
        None => {
            let end = Span::new(source.text.len(), source.text.len());
            let message = match instructions.is_empty() {
                true => "the file holds no instructions",
                false => "the file holds no FROM, so there is nothing to build",
            };
            Fault::error("no-instructions", end, message).help("a Dockerfile begins with `FROM IMAGE`")
        }
    };
    Some(fault.into_diagnostic(source))
}

#[cfg(test)]
mod tests;
