//! Variables and quotes, as BuildKit's shell lexer understands them (a subset of the shell's).
//!
//! | written | becomes |
//! | --- | --- |
//! | `$v` `${v}` | the value, empty when undefined |
//! | `${v:-w}` `${v-w}` | the value, or `w` when undefined (with `:` also when empty) |
//! | `${v:+w}` `${v+w}` | `w` when defined (with `:` and not empty), else empty |
//! | `${v:?w}` `${v?w}` | the value, or an error that says `w` |
//! | `${v#p}` `${v##p}` `${v%p}` `${v%%p}` | the value without the shortest or longest match of `p` at its start or end |
//! | `${v/p/r}` `${v//p/r}` | the value with the first or every match of `p` replaced by `r` |
//!
//! `w`, `p` and `r` are expanded themselves. Single quotes keep everything, double quotes all but
//! variables; the escape character keeps the next one.

mod pattern;

use std::iter::Peekable;
use std::str::Chars;

use pattern::Pattern;

/// Gives the value of a variable, `None` when it is undefined.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;
type Result<T> = std::result::Result<T, ExpandError>;

/// An expanded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Names asked for and not found, each once; not those whose form provides for that (`:-`,
    /// `:+`, `:?`).
    pub undefined: Vec<String>,
}

/// A text that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpandError {
    /// Why.
    pub message: String,
}

/// Expands variables in one word and removes quotes (BuildKit's `ProcessWord`).
pub fn expand(word: &str, escape: char, lookup: Lookup<'_>) -> Result<Expanded> {
    Lexer::new(word, escape, lookup).finish()
}

/// Expands the body of a here-document: quotes are ordinary characters in it, and the escape
/// character is always a backslash.
pub fn expand_heredoc(body: &str, lookup: Lookup<'_>) -> Result<Expanded> {
    Lexer {
        quotes: false,
        ..Lexer::new(body, '\\', lookup)
    }
    .finish()
}

/// Expands variables, removes quotes and splits on unquoted blanks, those that come out of
/// variables too (BuildKit's `ProcessWords`). Empty words vanish, quoted or not.
pub fn expand_words(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>> {
    let mut lexer = Lexer::new(text, escape, lookup);
    let mut words = Words::default();
    lexer.run(None, false, &mut words)?;
    Ok(words.finish())
}

/// Where expanded text goes.
trait Sink {
    /// Text whose blanks separate words.
    fn plain(&mut self, text: &str);
    /// Text whose blanks were quoted.
    fn quoted(&mut self, text: &str);
}

impl Sink for String {
    fn plain(&mut self, text: &str) {
        self.push_str(text);
    }

    fn quoted(&mut self, text: &str) {
        self.push_str(text);
    }
}

#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn finish(mut self) -> Vec<String> {
        self.end_word();
        self.done
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }
}

impl Sink for Words {
    fn plain(&mut self, text: &str) {
        for c in text.chars() {
            match c.is_whitespace() {
                true => self.end_word(),
                false => self.word.push(c),
            }
        }
    }

    fn quoted(&mut self, text: &str) {
        self.word.push_str(text);
    }
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    escape: char,
    lookup: Lookup<'a>,
    /// Whether quotes mean something.
    quotes: bool,
    undefined: Vec<String>,
    depth: usize,
}

/// Deeper nesting of `${a:-${b:-...}}` is refused; the lexer recurses.
const DEEPEST: usize = 100;

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, lookup: Lookup<'a>) -> Self {
        Self {
            rest: text.chars().peekable(),
            escape,
            lookup,
            quotes: true,
            undefined: Vec::new(),
            depth: 0,
        }
    }

    fn finish(mut self) -> Result<Expanded> {
        let mut text = String::new();
        self.run(None, false, &mut text)?;
        Ok(Expanded {
            text,
            undefined: self.undefined,
        })
    }

    /// Reads up to `stop`, or to the end. In a pattern, escapes stay for the pattern to read.
    fn run(&mut self, stop: Option<char>, keep_escapes: bool, out: &mut dyn Sink) -> Result<()> {
        while let Some(&c) = self.rest.peek() {
            match c {
                c if Some(c) == stop => {
                    self.rest.next();
                    return Ok(());
                }
                '$' => out.plain(&self.dollar()?),
                '\'' if self.quotes => out.quoted(&self.single_quoted()?),
                '"' if self.quotes => out.quoted(&self.double_quoted(keep_escapes)?),
                c if c == self.escape => {
                    self.rest.next();
                    let mut text = String::new();
                    text.extend(keep_escapes.then_some(c));
                    text.extend(self.rest.next());
                    out.quoted(&text);
                }
                c => {
                    self.rest.next();
                    out.plain(c.encode_utf8(&mut [0; 4]));
                }
            }
        }
        match stop {
            Some(stop) => Err(error(format!("`{stop}` is missing in `${{...}}`"))),
            None => Ok(()),
        }
    }

    /// The word of a modifier, up to `stop`.
    fn word(&mut self, stop: char, keep_escapes: bool) -> Result<String> {
        let mut word = String::new();
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(error("variables are nested too deeply"));
        }
        self.run(Some(stop), keep_escapes, &mut word)?;
        self.depth -= 1;
        Ok(word)
    }

    fn single_quoted(&mut self) -> Result<String> {
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(text),
                Some(c) => text.push(c),
                None => return Err(error("a single quote is never closed")),
            }
        }
    }

    fn double_quoted(&mut self, keep_escapes: bool) -> Result<String> {
        self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.peek().copied() {
                None => return Err(error("a double quote is never closed")),
                Some('"') => {
                    self.rest.next();
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) => {
                    self.rest.next();
                    if c != self.escape {
                        text.push(c);
                        continue;
                    }
                    text.extend(keep_escapes.then_some(c));
                    let escaped = self
                        .rest
                        .next_if(|next| matches!(next, '"' | '$') || *next == self.escape);
                    match escaped {
                        Some(escaped) => text.push(escaped),
                        // At the very end it is dropped, elsewhere it is an ordinary character.
                        None => text.extend(self.rest.peek().map(|_| c)),
                    }
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String> {
        self.rest.next();
        if self.rest.next_if_eq(&'{').is_some() {
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            Ok("$".into())
        } else {
            Ok(self.value(&name))
        }
    }

    fn braces(&mut self) -> Result<String> {
        if let Some('{' | '}' | ':') = self.rest.peek() {
            return Err(error("`${...}` lacks a name"));
        }
        let name = self.name();
        let modifier = self
            .rest
            .next()
            .ok_or_else(|| error("`}` is missing in `${...}`"))?;
        match modifier {
            '}' => Ok(self.value(&name)),
            ':' => {
                let modifier = self
                    .rest
                    .next()
                    .ok_or_else(|| error("`}` is missing in `${...}`"))?;
                self.modified(&name, modifier, true)
            }
            '/' => self.replaced(&name),
            modifier => self.modified(&name, modifier, false),
        }
    }

    fn modified(&mut self, name: &str, modifier: char, empty_is_unset: bool) -> Result<String> {
        if !matches!(modifier, '-' | '+' | '?' | '#' | '%') {
            let colon = if empty_is_unset { ":" } else { "" };
            return Err(error(format!(
                "`{colon}{modifier}` in `${{{name}{colon}{modifier}...}}` is not supported"
            )));
        }
        let cut = matches!(modifier, '#' | '%');
        let word = self.word('}', cut)?;
        if cut {
            return self.cut(name, modifier, &word);
        }
        let value = (self.lookup)(name);
        let usable = value
            .as_ref()
            .is_some_and(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            '+' if usable => Ok(word),
            '+' => Ok(String::new()),
            '-' if !usable => Ok(word),
            '?' if !usable => {
                let state = if value.is_some() { "empty" } else { "unset" };
                let reason = if word.is_empty() {
                    format!("is not allowed to be {state}")
                } else {
                    word
                };
                Err(error(format!("{name}: {reason}")))
            }
            _ => Ok(value.unwrap_or_default()),
        }
    }

    /// `#` and `%`: the shortest match goes, the longest when the sign stands twice.
    fn cut(&mut self, name: &str, sign: char, word: &str) -> Result<String> {
        let (longest, pattern) = match word.strip_prefix(sign) {
            Some(pattern) => (true, pattern),
            None => (false, word),
        };
        let pattern = self.pattern(pattern)?;
        let value = self.value(name);
        Ok(match sign {
            '#' => pattern.without_prefix(&value, longest).to_owned(),
            _ => pattern.without_suffix(&value, longest).to_owned(),
        })
    }

    fn replaced(&mut self, name: &str) -> Result<String> {
        let every = self.rest.next_if_eq(&'/').is_some();
        let pattern = self.word('/', true)?;
        let replacement = self.word('}', true)?;
        let pattern = self.pattern(&pattern)?;
        Ok(pattern.replace(&self.value(name), &unescaped(&replacement, self.escape), every))
    }

    fn pattern(&self, text: &str) -> Result<Pattern> {
        Pattern::parse(text, self.escape)
            .map_err(|c| error(format!("pattern `{text}` escapes `{c}`, which needs no escape")))
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some(c) if c.is_numeric() => {
                while let Some(digit) = self.rest.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
            }
            // The shell's special parameters are names too, undefined ones.
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            _ => {
                while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn value(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            if !self.undefined.iter().any(|known| known == name) {
                self.undefined.push(name.to_owned());
            }
            String::new()
        })
    }
}

/// Removes the escapes that a replacement needed for `/` and `}`.
fn unescaped(text: &str, escape: char) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == escape
            && rest
                .peek()
                .is_some_and(|next| matches!(next, '/' | '}') || *next == escape)
        {
            out.extend(rest.next());
        } else {
            out.push(c);
        }
    }
    out
}

fn error(message: impl Into<String>) -> ExpandError {
    ExpandError {
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "PWD" => "/home",
            "SHELL" => "bash",
            "EMPTY" => "",
            "BLANKS" => "a b  c",
            "KOREAN" => "한국어",
            "V" => "1.22.3",
            "FILE" => "/usr/lib/lib.tar.gz",
            "WEIRD" => "a*b?c/d}",
            "HOME_1" => "x",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn expanded(word: &str) -> std::result::Result<String, String> {
        expand(word, '\\', &lookup)
            .map(|done| done.text)
            .map_err(|error| error.message)
    }

    #[test]
    fn words_expand_as_in_the_reference_builder() {
        let table = [
            ("hello", "hello"),
            ("he'll'o", "hello"),
            ("he\\'llo", "he'llo"),
            ("he\\\\'ll'o", "he\\llo"),
            ("abc\\tdef", "abctdef"),
            ("\"abc\\tdef\"", "abc\\tdef"),
            ("\"abc\\\\tdef\"", "abc\\tdef"),
            ("'abc\\tdef'", "abc\\tdef"),
            ("hello\\", "hello"),
            ("hello\\\\", "hello\\"),
            ("\"''\"", "''"),
            ("\"$\"", "$"),
            ("$", "$"),
            ("he$xx", "he"),
            ("he$xx.", "he."),
            ("he${xx}llo", "hello"),
            ("'he$xx'", "he$xx"),
            ("he\\$PWD", "he$PWD"),
            ("he${PWD}xx", "he/homexx"),
            ("\"he$PWD\"", "he/home"),
            ("\"he\\$PWD\"", "he$PWD"),
            ("$PWD-x$HOME_1.y", "/home-xx.y"),
            ("${KOREAN}안녕$KOREAN", "한국어안녕한국어"),
            ("안녕\"하세요\"", "안녕하세요"),
            ("$1$10$@", ""),
            ("$$PWD", "PWD"),
            ("${PWD:-x}${PWD-x}", "/home/home"),
            ("${EMPTY:-x}|${EMPTY-x}|", "x||"),
            ("${NOPE:-x}|${NOPE-x}", "x|x"),
            ("${NOPE:-${NOPE2:-${PWD}}}", "/home"),
            ("${NOPE:-'a b' \"$PWD\"}", "a b /home"),
            ("${NOPE:-a\\}b}", "a}b"),
            ("${PWD:+x}|${EMPTY:+x}|${EMPTY+x}|${NOPE:+x}|${NOPE+x}", "x||x||"),
            ("${PWD:?no}${PWD?no}${EMPTY?no}", "/home/home"),
            ("${V#*.}|${V##*.}|${V%.*}|${V%%.*}", "22.3|3|1.22|1"),
            (
                "${FILE##*/}|${FILE%.gz}|${FILE#/usr}|${FILE#nope}",
                "lib.tar.gz|/usr/lib/lib.tar|/lib/lib.tar.gz|/usr/lib/lib.tar.gz",
            ),
            ("${V#?}|${V%?}|${V%%*}|${V##*}|${V#*}", ".22.3|1.22.|||1.22.3"),
            (
                "${WEIRD#*\\*}|${WEIRD#a\\*b\\?}|${WEIRD%\\}}",
                "b?c/d}|c/d}|a*b?c/d",
            ),
            ("${V/./-}|${V//./-}|${V/2*/x}|${V//2/}", "1-22.3|1-22-3|1.x|1..3"),
            ("${WEIRD/\\//_}|${WEIRD//[bc]/x}", "a*b?c_d}|a*b?c/d}"),
            ("${V/./\\/}|${V/./$PWD}|${V/3/\\}}", "1/22.3|1/home22.3|1.22.}"),
            ("${KOREAN/국/x}|${KOREAN#?}", "한x어|국어"),
            ("${NOPE#a}${NOPE/a/b}", ""),
        ];
        for (word, text) in table {
            assert_eq!(expanded(word).as_deref(), Ok(text), "{word}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_says_why() {
        let table = [
            ("'abc", "a single quote is never closed"),
            ("\"abc", "a double quote is never closed"),
            ("\"abc\\\"", "a double quote is never closed"),
            ("${", "`}` is missing in `${...}`"),
            ("${PWD", "`}` is missing in `${...}`"),
            ("${PWD:", "`}` is missing in `${...}`"),
            ("${PWD:-x", "`}` is missing in `${...}`"),
            ("${PWD/a", "`/` is missing in `${...}`"),
            ("${PWD/a/b", "`}` is missing in `${...}`"),
            ("${}", "`${...}` lacks a name"),
            ("${{PWD}}", "`${...}` lacks a name"),
            ("${:-x}", "`${...}` lacks a name"),
            ("${PWD:x}", "`:x` in `${PWD:x...}` is not supported"),
            ("${PWD^^}", "`^` in `${PWD^...}` is not supported"),
            ("${NOPE?}", "NOPE: is not allowed to be unset"),
            ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
            ("${NOPE:?please set it}", "NOPE: please set it"),
            ("${V#a\\b}", "pattern `a\\b` escapes `b`, which needs no escape"),
        ];
        for (word, message) in table {
            assert_eq!(
                expanded(word).as_ref().map_err(String::as_str),
                Err(message),
                "{word}"
            );
        }
    }

    #[test]
    fn undefined_names_are_told_once() {
        let done = expand("$A ${B} '$C' \\$D ${E:-x} ${F#x} $A ${PWD}", '\\', &lookup).unwrap();
        assert_eq!(done.undefined, ["A", "B", "F"]);
    }

    #[test]
    fn backtick_as_escape() {
        let done = expand("C:\\new`$PWD \"`\"x`n\"", '`', &lookup).unwrap();
        assert_eq!(done.text, "C:\\new$PWD \"x`n");
        assert_eq!(expand("${WEIRD#a`*b}", '`', &lookup).unwrap().text, "?c/d}");
    }

    #[test]
    fn words_split_on_blanks_outside_quotes() {
        let words = |text| expand_words(text, '\\', &lookup).unwrap();
        assert_eq!(words("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(words("'a b' \"c d\"e f\\ g"), ["a b", "c de", "f g"]);
        assert_eq!(words("$BLANKS x"), ["a", "b", "c", "x"]);
        assert_eq!(words("\"$BLANKS\" x"), ["a b  c", "x"]);
        assert_eq!(words("'' \"\" $EMPTY"), Vec::<String>::new());
        assert!(expand_words("'a", '\\', &lookup).is_err());
    }

    #[test]
    fn heredoc_bodies_keep_their_quotes() {
        let body = |text| expand_heredoc(text, &lookup).unwrap().text;
        assert_eq!(body("\"$PWD\" 'it''s $PWD'\n"), "\"/home\" 'it''s /home'\n");
        assert_eq!(body("\\$PWD \\\\ don't\n"), "$PWD \\ don't\n");
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = format!("{}{}", "${A:-".repeat(5000), "}".repeat(5000));
        assert_eq!(expanded(&deep), Err("variables are nested too deeply".into()));
    }

    proptest! {
        #[test]
        fn never_panics(word in "([$\\{\\}:#%/*?'\"\\\\ `+-]|PWD|V|NOPE|é){0,30}", backtick: bool) {
            let escape = if backtick { '`' } else { '\\' };
            let _ = expand(&word, escape, &lookup);
            let _ = expand_words(&word, escape, &lookup);
            let _ = expand_heredoc(&word, &lookup);
        }

        #[test]
        fn text_without_signs_stays(word in "[a-z0-9 é./:-]{0,20}") {
            prop_assert_eq!(expanded(&word), Ok(word));
        }

        #[test]
        fn single_quotes_keep_everything(word in "[^']{0,20}") {
            prop_assert_eq!(expanded(&format!("'{word}'")), Ok(word));
        }
    }
}
