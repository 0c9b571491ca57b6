//! Secrets, judged by what a value is; its name is a hint and no more.
//!
//! A value counts when it has the shape of a known token, is a URL with a password in it, or belongs to a name that says
//! so and is something that somebody could log in with. What is empty, a reference (`${TOKEN}`), a path, a truth value or
//! a placeholder (`<your token>`) is clean, and so is what a name says to be public, a file or a version.
//!
//! Nothing here gives a value back: what is found has a kind and a place. Whoever shows text around it uses [`mask`].

mod files;
mod names;
mod tokens;
mod url;

use plimsoll_diagnostics::Span;

pub use files::{FILE_LIMIT, InFile, is_secret_name, of_file};
pub use names::says_secret;
pub use tokens::find;

/// A secret that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secret {
    /// What it is, with its article: `a GitHub token`.
    pub kind: &'static str,
    /// Its bytes in the text that was looked at.
    pub span: Span,
}

/// The rules that find secrets, each at the place of what it has found.
pub const RULES: [&str; 5] = [
    "secret-in-env",
    "secret-in-run",
    "secret-file-copied",
    "compose-password",
    "compose-credential-in-url",
];

/// What is said of a value that has no shape of its own.
pub const NAMED: &str = "a value that its name says to be secret";

/// What is said of a password in a URL.
pub const IN_URL: &str = "a password in a URL";

/// Judges the value of a variable.
pub fn of_variable(name: &str, value: &str) -> Option<Secret> {
    let inner = unquoted(value);
    if is_clean(inner) {
        return None;
    }
    let start = value.find(inner).unwrap_or_default();
    let shift = |secret: Secret| Secret {
        span: Span::new(secret.span.start + start, secret.span.end + start),
        ..secret
    };
    if let Some(found) = of_text(inner).into_iter().next() {
        return Some(shift(found));
    }
    // What a name says to be public or a path is, unless it has the shape of a secret all the same.
    let hint = names::hint(name).filter(|_| !names::says_clean(name))?;
    let counts = match hint {
        names::Hint::Strong => !is_plain_word_of(inner, name),
        names::Hint::Weak => looks_random(inner),
    };
    counts.then(|| {
        shift(Secret {
            kind: NAMED,
            span: Span::new(0, inner.len()),
        })
    })
}

/// Finds tokens and URLs with passwords anywhere in a text.
pub fn of_text(text: &str) -> Vec<Secret> {
    let mut found = find(text.as_bytes());
    for secret in url::find(text) {
        let overlaps =
            |other: &Secret| other.span.start < secret.span.end && secret.span.start < other.span.end;
        if !found.iter().any(overlaps) {
            found.push(secret);
        }
    }
    found.sort_by_key(|secret| secret.span.start);
    found
}

/// Covers places of a text with stars; lines, columns and its length in bytes stay.
pub fn mask(text: &str, places: &[Span]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for place in places {
        let end = place.end.min(bytes.len());
        for byte in &mut bytes[place.start.min(end)..end] {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    // A place that ends inside a character leaves half of one behind.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// Covers all tokens and passwords in URLs that a text has, for showing it.
pub fn masked(text: &str) -> String {
    let places: Vec<Span> = of_text(text).into_iter().map(|secret| secret.span).collect();
    mask(text, &places)
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let strip = |quote: char| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    strip('"').or_else(|| strip('\'')).unwrap_or(value)
}

/// Whether nobody can log in with it, whatever its name is.
fn is_clean(value: &str) -> bool {
    let word = value.to_ascii_lowercase();
    value.is_empty()
        || is_reference(value)
        || is_path(value)
        || matches!(
            word.as_str(),
            "true"
                | "false"
                | "yes"
                | "no"
                | "on"
                | "off"
                | "none"
                | "null"
                | "nil"
                | "undefined"
                | "0"
                | "1"
        )
        || is_placeholder(&word)
}

/// `$NAME`, `${NAME}`, `${NAME:?why}`, `$(command)`, `%NAME%`, `{{ template }}`; a default is looked at for itself.
fn is_reference(value: &str) -> bool {
    if let Some(inner) = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        let default = inner.split_once(":-").or_else(|| inner.split_once('-'));
        return match default {
            Some((_, default)) => is_clean(default),
            None => true,
        };
    }
    let name = value.strip_prefix('$').unwrap_or_default();
    (!name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        || (value.starts_with("$(") && value.ends_with(')'))
        || (value.starts_with('%') && value.ends_with('%') && value.len() > 2)
        || (value.starts_with("{{") && value.ends_with("}}"))
}

fn is_path(value: &str) -> bool {
    let starts = ["/", "./", "../", "~/", "file:"]
        .iter()
        .any(|start| value.starts_with(start));
    // Base64 has slashes too, but does not begin like a folder.
    starts && !value.contains(['=', '+']) && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What stands where a value is to be put; `word` is in lower case.
fn is_placeholder(word: &str) -> bool {
    const WORDS: [&str; 14] = [
        "changeme",
        "change-me",
        "change_me",
        "replaceme",
        "replace-me",
        "replace_me",
        "placeholder",
        "redacted",
        "your-",
        "your_",
        "yourpassword",
        "insert-",
        "insert_",
        "todo",
    ];
    (word.starts_with('<') && word.ends_with('>'))
        || (word.starts_with('[') && word.ends_with(']'))
        || word
            .bytes()
            .all(|byte| matches!(byte, b'x' | b'*' | b'.' | b'-' | b'_' | b'?' | b'#'))
        || WORDS.iter().any(|part| word.starts_with(part))
        || word.ends_with("_here")
        || word.ends_with("-here")
}

/// `TOKEN_TYPE=bearer`-like: a name that hints, and a value that is its own description.
fn is_plain_word_of(value: &str, name: &str) -> bool {
    // `ENV SECRET=secret` is a password like any other; `ENV AUTH_TOKEN=auth_token` only repeats its name.
    value.eq_ignore_ascii_case(name) && name.contains('_')
}

/// Whether a text has as many different letters as keys have, and no words.
fn looks_random(value: &str) -> bool {
    let blanks = value.contains(char::is_whitespace);
    let digits = value.bytes().any(|byte| byte.is_ascii_digit());
    let letters = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    value.len() >= 16
        && !blanks
        && digits
        && letters
        && !value.contains("://")
        && entropy(value.as_bytes()) >= 3.2
}

/// Bits per byte (Shannon).
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let all = bytes.len() as f64;
    let of = |count: &u32| {
        let share = f64::from(*count) / all;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(of).sum()
}

#[cfg(test)]
mod tests;
