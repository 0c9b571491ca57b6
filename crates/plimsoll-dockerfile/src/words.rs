//! The ways in which arguments are cut into words.

use crate::fault::{Fault, Result};
use crate::line::Slice;
use crate::tree::Word;

/// Cuts at blanks outside quotes; quotes and escapes stay in the words (ENV, LABEL, ARG).
pub(crate) fn quoted_words<'a>(text: Slice<'a>, escape: char) -> Result<Vec<Slice<'a>>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote: Option<(usize, char)> = None;
    let mut end = text.as_str().len();
    let mut rest = text.as_str().char_indices();
    while let Some((at, c)) = rest.next() {
        if c.is_whitespace() && quote.is_none() {
            words.extend(start.take().map(|start| text.part(start, at)));
            continue;
        }
        if c == escape && !matches!(quote, Some((_, '\''))) && rest.next().is_none() {
            // At the very end it escapes nothing and is dropped.
            end = at;
            break;
        }
        start.get_or_insert(at);
        quote = match quote {
            None if c == '\'' || c == '"' => Some((at, c)),
            Some((_, open)) if open == c => None,
            quote => quote,
        };
    }
    if let Some((at, quote)) = quote {
        let place = text.after(at);
        return Err(Fault::error(
            "unclosed-quote",
            place.span(),
            format!("quote `{quote}` is never closed"),
        ));
    }
    words.extend(
        start
            .filter(|start| *start < end)
            .map(|start| text.part(start, end)),
    );
    Ok(words)
}

/// Reads a JSON array of strings.
///
/// `None` when the text is no valid JSON array: it means something else then, mostly a shell
/// command. A valid array that holds anything but strings is an error.
pub(crate) fn json_strings(text: Slice<'_>) -> Result<Option<Vec<Word>>> {
    let text = text.trim();
    if !text.as_str().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text.as_str()) else {
        return Ok(None);
    };
    if !values.iter().all(serde_json::Value::is_string) {
        let message = "a JSON array must hold nothing but strings here";
        return Err(Fault::error("json-not-strings", text.span(), message)
            .help("quote every item, as in `[\"sleep\", \"5\"]`"));
    }
    let values = values
        .into_iter()
        .filter_map(|value| value.as_str().map(str::to_owned));
    let literals = string_literals(text);
    Ok(Some(
        values
            .zip(literals)
            .map(|(value, literal)| literal.spanned(value))
            .collect(),
    ))
}

/// Finds the string literals in an array that holds nothing else.
fn string_literals(array: Slice<'_>) -> Vec<Slice<'_>> {
    let mut literals = Vec::new();
    let mut open = None;
    let mut bytes = array.as_str().bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (byte, open) {
            (b'"', None) => open = Some(at),
            (b'"', Some(start)) => {
                literals.push(array.part(start, at + 1));
                open = None;
            }
            (b'\\', Some(_)) => {
                bytes.next();
            }
            _ => {}
        }
    }
    literals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Line, Lines};

    fn line(text: &str) -> Line {
        let mut lines = Lines::new(text);
        let first = lines.next().unwrap();
        lines.join(first, '\\').line
    }

    fn words(text: &str, escape: char) -> Vec<String> {
        let line = line(text);
        let words = quoted_words(line.whole(), escape).unwrap();
        words.into_iter().map(|word| word.as_str().to_owned()).collect()
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(
            words("a=1  b='x y' c=\"p 'q\"z", '\\'),
            ["a=1", "b='x y'", "c=\"p 'q\"z"]
        );
        assert_eq!(
            words("a=x\\ y b=\\\"c 'd\\'", '\\'),
            ["a=x\\ y", "b=\\\"c", "'d\\'"]
        );
        assert_eq!(words("a=b`", '`'), ["a=b"]);
        assert_eq!(words("p=C:\\ q", '`'), ["p=C:\\", "q"]);
        assert_eq!(words(" ", '\\'), Vec::<String>::new());
    }

    #[test]
    fn unclosed_quotes_are_found() {
        let line = line("a=1 b='x y");
        let fault = quoted_words(line.whole(), '\\').unwrap_err();
        assert_eq!(fault.span.range(), 6..10);
    }

    #[test]
    fn json_arrays_of_strings() {
        let text = "[ \"a\\\"b\", \\\n \"\\u00e9\" ,\"\" ]";
        let line = line(text);
        let strings = json_strings(line.whole()).unwrap().unwrap();
        let found: Vec<_> = strings
            .iter()
            .map(|word| (word.value.as_str(), &text[word.span.range()]))
            .collect();
        assert_eq!(
            found,
            [("a\"b", "\"a\\\"b\""), ("é", "\"\\u00e9\""), ("", "\"\"")]
        );
    }

    #[test]
    fn what_is_no_json_is_not_refused() {
        for text in [
            "['a']",
            "[ -f x ] && y",
            "a",
            "[\"a\",]",
            "[\"a\"] x",
            "{\"a\":1}",
        ] {
            let line = line(text);
            assert!(json_strings(line.whole()).unwrap().is_none(), "{text}");
        }
        for text in ["[1]", "[\"a\", [\"b\"]]", "[null]", "[{}]"] {
            let line = line(text);
            assert!(json_strings(line.whole()).is_err(), "{text}");
        }
    }
}
