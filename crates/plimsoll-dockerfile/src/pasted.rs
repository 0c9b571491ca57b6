//! Text that went through a word processor or a web page: curly quotes, long dashes, blanks that
//! are none, line numbers. It looks right and is not; the messages say so.

use crate::fault::{Fault, Result};
use crate::line::Slice;

const QUOTES: [char; 6] = ['“', '”', '„', '‘', '’', '«'];
const DASHES: [char; 6] = ['–', '—', '―', '‒', '−', '‐'];
/// No-break and other spaces that are no separators, and characters without any width.
const BLANKS: [char; 8] = [
    '\u{a0}', '\u{202f}', '\u{2007}', '\u{3000}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{feff}',
];

/// Returns a hint when the text holds characters that were probably not typed.
pub(crate) fn hint(text: &str) -> Option<String> {
    let found = text
        .chars()
        .find(|c| BLANKS.contains(c) || QUOTES.contains(c) || DASHES.contains(c))?;
    Some(match found {
        c if BLANKS.contains(&c) => format!(
            "there is an invisible character (U+{:04X}) here, perhaps copied from a web page; type a plain space instead",
            u32::from(c)
        ),
        c if QUOTES.contains(&c) => format!("`{c}` is a typographic quote; write `\"` or `'` instead"),
        c => format!("`{c}` is a typographic dash; write `-` or `--` instead"),
    })
}

/// Refuses an argument that was meant to be a flag: `–from=x` with a long dash.
pub(crate) fn check_dash(arguments: Slice<'_>) -> Result<()> {
    let (first, _) = arguments.split_first();
    let name = first.as_str().trim_start_matches(DASHES);
    if name.len() == first.as_str().len() || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    let message = format!(
        "`{}` begins with a typographic dash, so it is no flag",
        first.as_str()
    );
    Err(Fault::error("typographic-dash", first.span(), message).help(format!("write `--{name}`")))
}

/// Warns of a value whose quotes are typographic: they become part of it.
pub(crate) fn value_warning(value: Slice<'_>) -> Option<Fault> {
    let first = value.as_str().chars().next().filter(|c| QUOTES.contains(c))?;
    let message = format!("`{first}` is no quote, it becomes part of the value");
    Some(Fault::warning("typographic-quote", value.span(), message).help("write `\"` or `'` instead"))
}

/// Warns of a list that was meant to be JSON and is not, for its quotes.
pub(crate) fn list_warning(arguments: Slice<'_>) -> Option<Fault> {
    let inside = arguments.as_str().strip_prefix('[')?.trim_start();
    let quote = inside
        .chars()
        .next()
        .filter(|c| *c == '\'' || QUOTES.contains(c))?;
    let message = "this is not valid JSON, so it is read as plain text";
    let help = format!("a list needs plain double quotes: `[\"a\", \"b\"]`, not `{quote}`");
    Some(Fault::warning("json-quotes", arguments.span(), message).help(help))
}

/// Tells whether a keyword is a line number that was copied along: `12`, `12:`, `12.`, `12|`.
pub(crate) fn is_line_number(keyword: &str) -> bool {
    let digits = keyword.trim_end_matches([':', '.', '|', ')']);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
