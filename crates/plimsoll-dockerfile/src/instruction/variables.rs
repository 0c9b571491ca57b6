//! ENV, LABEL and ARG.

use super::Statement;
use crate::fault::{Fault, Result};
use crate::line::Slice;
use crate::pasted;
use crate::tree::{ArgDeclaration, KeyValue};
use crate::words::quoted_words;

/// `KEY=VALUE ...`, or the old `KEY VALUE` whose value is the rest of the line.
pub(super) fn pairs(statement: &Statement<'_>, warnings: &mut Vec<Fault>) -> Result<Vec<KeyValue>> {
    let keyword = &statement.keyword;
    let (first, rest) = statement.arguments.split_first();
    if first.is_empty() {
        return Err(statement.needs_arguments());
    }
    if let Some(pair) = old_form(statement, first, rest)? {
        return Ok(vec![pair]);
    }
    let words = quoted_words(statement.arguments, statement.escape)?;
    words
        .into_iter()
        .map(|word| {
            let Some((key, value)) = cut(word) else {
                let message = format!("`{}` in {keyword} has no `=`", word.as_str());
                return Err(Fault::error("missing-equals", word.span(), message)
                    .or_help(|| pasted::hint(word.as_str()))
                    .or_help(|| Some("a value with blanks needs quotes: `KEY=\"a b\"`".into())));
            };
            named(statement, word, key)?;
            warnings.extend(pasted::value_warning(value));
            Ok(KeyValue {
                key: key.word(),
                value: value.word(),
            })
        })
        .collect()
}

/// The form is decided by the first word, quotes considered: it has a `=` or it has not.
fn old_form(statement: &Statement<'_>, first: Slice<'_>, rest: Slice<'_>) -> Result<Option<KeyValue>> {
    let words = quoted_words(statement.arguments, statement.escape);
    let has_equals = match &words {
        Ok(words) => words.first().is_some_and(|word| word.as_str().contains('=')),
        // An apostrophe in the rest of the line is no concern of the first word.
        Err(_) => first.as_str().contains('='),
    };
    if has_equals {
        return Ok(None);
    }
    if rest.is_empty() {
        let (keyword, key) = (&statement.keyword, first.as_str());
        let message = format!("{keyword} needs a value for `{key}`");
        return Err(Fault::error("missing-value", first.span(), message)
            .help(format!("write `{keyword} {key}=VALUE`")));
    }
    Ok(Some(KeyValue {
        key: first.word(),
        value: rest.word(),
    }))
}

/// `NAME`, `NAME=DEFAULT`, several of them.
pub(super) fn arguments(statement: &Statement<'_>, warnings: &mut Vec<Fault>) -> Result<Vec<ArgDeclaration>> {
    let words = quoted_words(statement.arguments, statement.escape)?;
    if words.is_empty() {
        return Err(statement.needs_arguments());
    }
    words
        .into_iter()
        .map(|word| {
            let (name, default) = match cut(word) {
                Some((name, default)) => (name, Some(default)),
                None => (word, None),
            };
            named(statement, word, name)?;
            warnings.extend(default.and_then(pasted::value_warning));
            Ok(ArgDeclaration {
                name: name.word(),
                default: default.map(Slice::word),
            })
        })
        .collect()
}

fn cut(word: Slice<'_>) -> Option<(Slice<'_>, Slice<'_>)> {
    let equals = word.as_str().find('=')?;
    Some((word.part(0, equals), word.after(equals + 1)))
}

fn named(statement: &Statement<'_>, word: Slice<'_>, name: Slice<'_>) -> Result<()> {
    if !name.is_empty() {
        return Ok(());
    }
    let message = format!("{} needs a name before the `=`", statement.keyword);
    Err(Fault::error("missing-name", word.span(), message).help("no blanks may stand around the `=`"))
}
