//! Commands in one text, taken apart as the reference does it: like a shell, without running one.

/// What a text comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) words: Vec<String>,
    /// Where a shell would go on with something else: left out, as the reference does.
    pub(super) rest: Option<String>,
}

/// Takes a text apart at blanks. `None` says that a quote or bracket is not closed.
pub(super) fn split(text: &str) -> Option<Words> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut quote = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (quote, letter) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), letter) => word.push(letter),
            (_, '\\') => word.push(letters.next()?.1),
            // What a shell would run stays one word as it is.
            (Some('`'), '`') | (Some('('), ')') => {
                word.push(letter);
                quote = None;
            }
            (Some(_), letter) => word.push(letter),
            (None, '\'' | '"') => quote = Some(letter),
            (None, '`') => {
                word.push(letter);
                quote = Some(letter);
            }
            (None, '(') if word.ends_with('$') => {
                word.push(letter);
                quote = Some(letter);
            }
            (None, '(' | ')') => return None,
            (None, ' ' | '\t' | '\r' | '\n') => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
                continue;
            }
            (None, ';' | '&' | '|' | '<' | '>') => {
                // The number before `>` is a stream, not a word.
                let is_stream = letter == '>' && word.starts_with(|first: char| first.is_ascii_digit());
                words.extend((begun && !is_stream).then_some(word));
                let rest = Some(text[at..].to_owned());
                return Some(Words { words, rest });
            }
            (None, letter) => word.push(letter),
        }
        begun = true;
    }
    words.extend(begun.then_some(word));
    quote.is_none().then_some(Words { words, rest: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_the_reference_takes_them() {
        for (text, expected) in [
            ("a  b\tc\n", &["a", "b", "c"][..]),
            (r#"a 'b c' "d e" f\ g"#, &["a", "b c", "d e", "f g"]),
            (r#""a\"b" 'c\d' "x\ty""#, &["a\"b", r"c\d", "xty"]),
            ("a '' \"\"", &["a", "", ""]),
            ("--color #fff", &["--color", "#fff"]),
            ("echo `date x` $(date +%s)", &["echo", "`date x`", "$(date +%s)"]),
            ("", &[]),
        ] {
            let split = split(text).expect(text);
            assert_eq!(
                (split.words.as_slice(), split.rest),
                (
                    &expected.iter().map(|word| word.to_string()).collect::<Vec<_>>()[..],
                    None
                ),
                "{text}"
            );
        }
        for (text, words, rest) in [
            ("a && b", "a", "&& b"),
            ("a b 2>&1", "a b", ">&1"),
            ("a;b", "a", ";b"),
        ] {
            let split = split(text).expect(text);
            assert_eq!(
                (split.words.join(" ").as_str(), split.rest.as_deref()),
                (words, Some(rest))
            );
        }
        for text in ["a 'b", "\"", "a (b)", "$(x", "a\\"] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
