//! FROM.

use super::Statement;
use crate::fault::{Fault, Result};
use crate::flags::{Known, Takes};
use crate::line::Slice;
use crate::tree::From;

pub(super) const FLAGS: &Known = &[("platform", Takes::Value)];

pub(super) fn parse(statement: &Statement<'_>) -> Result<From> {
    let words = statement.arguments.words();
    let (image, name) = match words.as_slice() {
        [] => return Err(statement.needs_arguments()),
        [image] => (image, None),
        [image, as_word, name] if as_word.as_str().eq_ignore_ascii_case("as") => (image, Some(name)),
        [_, rest @ ..] => return Err(misunderstood(rest)),
    };
    if let Some(name) = name.filter(|name| !is_stage_name(name.as_str())) {
        let message = format!("`{}` is not a valid stage name", name.as_str());
        return Err(Fault::error("stage-name", name.span(), message)
            .help("a name begins with a letter and holds letters, digits, `-`, `_` and `.`"));
    }
    let platform = statement.flags.value("platform");
    Ok(From {
        platform,
        image: image.word(),
        name: name.map(|name| name.word()),
    })
}

fn misunderstood(rest: &[Slice<'_>]) -> Fault {
    let place = rest
        .iter()
        .map(|word| word.span())
        .reduce(|all, word| all.join(word))
        .unwrap_or_default();
    let fault = Fault::error(
        "from-arguments",
        place,
        "FROM takes an image, and `AS NAME` after it",
    );
    match rest {
        [word, ..] if word.as_str().starts_with('#') => fault.help("a comment stands on a line of its own"),
        [word] if word.as_str().eq_ignore_ascii_case("as") => fault.help("the name of the stage is missing"),
        [word] => fault.help(format!("to name the stage, write `AS {}`", word.as_str())),
        _ => fault,
    }
}

/// BuildKit's `^[a-z][a-z0-9-_.]*$`, after lower-casing.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
