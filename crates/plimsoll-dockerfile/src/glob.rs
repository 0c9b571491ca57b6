//! Go's `filepath.Match` on Linux, which COPY and ADD use for wildcards.
//!
//! `*` and `?` stop at `/`; `[a-z]` and `[^a-z]` do not, and a backslash takes the next character
//! as it is. As in Go, a `*` takes the shortest run after which the text up to the next `*` fits,
//! and is never reconsidered.

/// The pattern cannot be read: an unclosed bracket, a range without an end, a lone backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Tells whether the whole of `name` fits `pattern`. Names need not be UTF-8: a byte that is not
/// part of a character counts as one.
pub fn glob_match(pattern: &[u8], name: &[u8]) -> Result<bool, BadPattern> {
    let chunks = parse(pattern)?;
    let mut name = name;
    for (index, chunk) in chunks.iter().enumerate() {
        let last = index + 1 == chunks.len();
        match chunk.advance(name, last) {
            Some(rest) => name = rest,
            None => return Ok(false),
        }
    }
    Ok(name.is_empty())
}

/// A run of items between stars.
struct Chunk {
    after_star: bool,
    items: Vec<Item>,
}

enum Item {
    Byte(u8),
    Any,
    Class { negated: bool, ranges: Vec<(u32, u32)> },
}

impl Chunk {
    /// Returns what is left of the name behind this chunk; the last chunk must leave nothing.
    fn advance<'n>(&self, name: &'n [u8], last: bool) -> Option<&'n [u8]> {
        if self.after_star && self.items.is_empty() {
            return (!name.contains(&b'/')).then_some(&[]);
        }
        let reach = if self.after_star {
            name.iter().position(|byte| *byte == b'/').unwrap_or(name.len())
        } else {
            0
        };
        (0..=reach)
            .filter_map(|skipped| self.fit(&name[skipped..]))
            .find(|rest| !last || rest.is_empty())
    }

    fn fit<'n>(&self, mut name: &'n [u8]) -> Option<&'n [u8]> {
        for item in &self.items {
            let (character, width) = decode(name)?;
            let (fits, width) = match item {
                Item::Byte(byte) => (name[0] == *byte, 1),
                Item::Any => (name[0] != b'/', width),
                Item::Class { negated, ranges } => {
                    let inside = ranges
                        .iter()
                        .any(|(low, high)| (*low..=*high).contains(&character));
                    (inside != *negated, width)
                }
            };
            if !fits {
                return None;
            }
            name = &name[width..];
        }
        Some(name)
    }
}

fn parse(mut pattern: &[u8]) -> Result<Vec<Chunk>, BadPattern> {
    let mut chunks = vec![Chunk {
        after_star: false,
        items: Vec::new(),
    }];
    while let Some((&first, rest)) = pattern.split_first() {
        let item = match first {
            b'*' => {
                pattern = rest;
                if !chunks
                    .last()
                    .is_some_and(|chunk| chunk.after_star && chunk.items.is_empty())
                {
                    chunks.push(Chunk {
                        after_star: true,
                        items: Vec::new(),
                    });
                }
                continue;
            }
            b'?' => (Item::Any, rest),
            b'[' => class(rest)?,
            b'\\' => {
                let (byte, rest) = rest.split_first().ok_or(BadPattern)?;
                (Item::Byte(*byte), rest)
            }
            byte => (Item::Byte(byte), rest),
        };
        pattern = item.1;
        chunks
            .last_mut()
            .expect("there is a first chunk")
            .items
            .push(item.0);
    }
    Ok(chunks)
}

/// Reads a class behind its opening bracket; the first `]` belongs to it only when escaped.
fn class(pattern: &[u8]) -> Result<(Item, &[u8]), BadPattern> {
    let (negated, mut rest) = match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix(b"]").filter(|_| !ranges.is_empty()) {
            return Ok((Item::Class { negated, ranges }, rest));
        }
        let (low, after) = class_character(rest)?;
        let (high, after) = match after.strip_prefix(b"-") {
            Some(after) => class_character(after)?,
            None => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

fn class_character(pattern: &[u8]) -> Result<(u32, &[u8]), BadPattern> {
    let pattern = match pattern.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => &pattern[1..],
        Some(_) => pattern,
    };
    match decode(pattern) {
        Some((character, width)) if character != INVALID || width > 1 => Ok((character, &pattern[width..])),
        _ => Err(BadPattern),
    }
}

/// What Go makes of a byte that is not UTF-8.
const INVALID: u32 = char::REPLACEMENT_CHARACTER as u32;

/// Returns the first character and its width.
fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(character) => Some((character.into(), character.len_utf8())),
        None => bytes.first().map(|_| (INVALID, 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matches_as_go_does() {
        // The table of Go's path/filepath package, in its own words: pattern, name, result.
        let table: &[(&str, &str, Result<bool, BadPattern>)] = &[
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a", Ok(true)),
            ("a*", "abc", Ok(true)),
            ("a*", "ab/c", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*/b", "a/c/b", Ok(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Ok(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Ok(false)),
            ("ab[c]", "abc", Ok(true)),
            ("ab[b-d]", "abc", Ok(true)),
            ("ab[e-g]", "abc", Ok(false)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a\\*b", "ab", Ok(false)),
            ("a?b", "a☺b", Ok(true)),
            ("a[^a]b", "a☺b", Ok(true)),
            ("a???b", "a☺b", Ok(false)),
            ("[a-ζ]*", "α", Ok(true)),
            ("*[a-ζ]", "A", Ok(false)),
            ("a?b", "a/b", Ok(false)),
            ("a*b", "a/b", Ok(false)),
            ("[\\]a]", "]", Ok(true)),
            ("[\\-x]", "-", Ok(true)),
            ("[x\\-]", "z", Ok(false)),
            ("[]a]", "]", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[x-]", "x", Err(BadPattern)),
            ("[a-b-c]", "a", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("[^", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("a[", "x", Err(BadPattern)),
            ("a/b[", "x", Err(BadPattern)),
            ("\\", "a", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
            ("", "", Ok(true)),
            ("", "a", Ok(false)),
            ("**", "a", Ok(true)),
            ("*", "", Ok(true)),
            (".*", ".env", Ok(true)),
            ("*", ".env", Ok(true)),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(
                glob_match(pattern.as_bytes(), name.as_bytes()),
                *expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn names_need_not_be_text() {
        assert_eq!(glob_match(b"a?c", b"a\xffc"), Ok(true));
        assert_eq!(glob_match(b"*c", b"a\xff\xfec"), Ok(true));
        assert_eq!(glob_match(b"a\xffc", b"a\xffc"), Ok(true));
        assert_eq!(glob_match(b"[\xff]", b"\xff"), Err(BadPattern));
    }

    proptest! {
        #[test]
        fn never_panics(pattern: Vec<u8>, name: Vec<u8>) {
            let _ = glob_match(&pattern, &name);
        }

        #[test]
        fn an_escaped_name_matches_itself(name in "[a-z*?\\[\\]\\\\/é-]{0,12}") {
            let pattern: String = name.chars().flat_map(|c| ['\\', c]).collect();
            // A backslash before a character of several bytes escapes its first byte, as in Go.
            prop_assert_eq!(glob_match(pattern.as_bytes(), name.as_bytes()), Ok(true));
        }
    }
}
