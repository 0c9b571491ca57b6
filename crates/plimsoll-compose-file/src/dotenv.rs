//! Files of variables: `.env`, `env_file`, `--env-file`, `label_file`.

use std::collections::{BTreeSet, HashMap};

use plimsoll_diagnostics::{Diagnostic, Source, Span};

use crate::interpolate::interpolate;

/// One line of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; none for a name alone, which stands for the caller's.
    pub value: Option<String>,
    /// Where the name stands.
    pub span: Span,
}

/// What came of a file.
#[derive(Debug, Default)]
pub struct Variables {
    /// In the order of the file; a later one of the same name wins.
    pub list: Vec<Variable>,
    /// Values in which a `$` came to nothing.
    pub warnings: Vec<Diagnostic>,
}

impl Variables {
    /// The value that wins.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().rev().find(|variable| variable.name == name);
        found.and_then(|variable| variable.value.as_deref())
    }
}

/// Values of files read before, which a file sees where it does not say itself.
pub(crate) type Earlier = HashMap<String, Option<String>>;

/// Parses `NAME=VALUE` lines: comments, `export`, quotes, values over several lines, `${}` of `lookup` and of earlier
/// lines. `raw` takes lines as they are.
pub fn parse(
    source: &Source,
    raw: bool,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Variables, Box<Diagnostic>> {
    parse_after(source, raw, lookup, Earlier::new())
}

/// As [`parse`], after other files.
pub(crate) fn parse_after(
    source: &Source,
    raw: bool,
    lookup: &dyn Fn(&str) -> Option<String>,
    earlier: Earlier,
) -> Result<Variables, Box<Diagnostic>> {
    let text = source.text.as_ref();
    let mut reader = Reader {
        source,
        at: if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        },
        lookup,
        found: Variables::default(),
        missed: BTreeSet::new(),
        values: earlier,
    };
    while reader.at < text.len() {
        match raw {
            true => reader.raw_line()?,
            false => reader.line()?,
        }
    }
    Ok(reader.found)
}

struct Reader<'a> {
    source: &'a Source,
    at: usize,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    found: Variables,
    /// Variables that were said to be unset.
    missed: BTreeSet<String>,
    /// The values so far, to be found at once.
    values: Earlier,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.source.text[self.at..]
    }

    /// The rest of the line; the cursor goes to the next one.
    fn take_line(&mut self) -> (usize, String) {
        let start = self.at;
        let rest = self.rest();
        let end = rest.find('\n').unwrap_or(rest.len());
        let line = rest[..end].trim_end_matches('\r').to_owned();
        self.at += (end + 1).min(rest.len());
        (start, line)
    }

    fn raw_line(&mut self) -> Result<(), Box<Diagnostic>> {
        let (start, line) = self.take_line();
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return Ok(());
        }
        let (name, value) = match trimmed.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (trimmed, None),
        };
        let at = start + line.len() - trimmed.len();
        if name.is_empty() || name.contains(char::is_whitespace) {
            let error = self.error(at, format!("`{name}` is no name of a variable"));
            let help = "with `format: raw` a line is NAME=VALUE: no `export`, no blanks around `=`";
            return Err(Box::new(error.with_help(help)));
        }
        self.add(name, value, at);
        Ok(())
    }

    fn add(&mut self, name: &str, value: Option<String>, at: usize) {
        self.values.insert(name.to_owned(), value.clone());
        self.found.list.push(Variable {
            name: name.to_owned(),
            value,
            span: Span::new(at, at + name.len()),
        });
    }

    fn line(&mut self) -> Result<(), Box<Diagnostic>> {
        self.skip(|letter| letter.is_whitespace());
        if self.rest().is_empty() || self.rest().starts_with('#') {
            self.take_line();
            return Ok(());
        }
        let exported = self
            .rest()
            .strip_prefix("export")
            .filter(|rest| rest.starts_with([' ', '\t']));
        if exported.is_some() {
            self.at += "export".len();
            self.skip(|letter| letter == ' ' || letter == '\t');
        }
        let start = self.at;
        self.skip(|letter| !letter.is_whitespace() && letter != '=' && letter != ':' && letter != '#');
        let name = self.source.text[start..self.at].to_owned();
        self.skip(|letter| letter == ' ' || letter == '\t');
        if name.is_empty()
            || !name
                .chars()
                .all(|letter| letter.is_alphanumeric() || "_.-[]".contains(letter))
        {
            let error = self.error(
                start,
                format!("unexpected character in the variable name `{name}`"),
            );
            return Err(Box::new(
                error.with_help("a line is NAME=VALUE, or begins with `#`"),
            ));
        }
        match self.rest().chars().next() {
            Some('=' | ':') => {
                self.at += 1;
                self.skip(|letter| letter == ' ' || letter == '\t');
                let value = self.value(start)?;
                self.add(&name, Some(value), start);
                Ok(())
            }
            None | Some('\n' | '\r' | '#') => {
                self.take_line();
                self.add(&name, None, start);
                Ok(())
            }
            Some(_) => {
                let message = format!("`{name}` is followed by neither `=` nor the end of the line");
                let help = "a name has no blanks; a comment begins with `#`";
                Err(Box::new(self.error(start, message).with_help(help)))
            }
        }
    }

    fn value(&mut self, name_at: usize) -> Result<String, Box<Diagnostic>> {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, name_at),
            _ => {
                let (start, line) = self.take_line();
                let value = without_comment(&line).trim_end().to_owned();
                self.interpolated(&value, start)
            }
        }
    }

    fn quoted(&mut self, quote: char, name_at: usize) -> Result<String, Box<Diagnostic>> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        loop {
            let Some(letter) = self.rest().chars().next() else {
                let message = format!("unterminated quoted value: the {quote} has no second one");
                let help = format!("add the second {quote}; a value may go over several lines");
                return Err(Box::new(self.error(start, message).with_help(help)));
            };
            self.at += letter.len_utf8();
            match letter {
                letter if letter == quote => break,
                '\\' => {
                    let next = self.rest().chars().next();
                    self.at += next.map_or(0, char::len_utf8);
                    escape(&mut value, next, quote);
                    if (quote, next) == ('"', Some('0')) {
                        self.octal(&mut value);
                    }
                }
                letter => value.push(letter),
            }
        }
        self.skip(|letter| letter == ' ' || letter == '\t');
        if !self.rest().starts_with(['#', '\n', '\r']) && !self.rest().is_empty() {
            let line = self.source.line_at(self.at);
            let span = Span::new(self.at, line.end);
            let message = "what follows the closing quote counts as a line of its own";
            let warning = Diagnostic::warning("env-file", self.source, span, message);
            let help = "put all of the value into quotes";
            self.found.warnings.push(warning.with_help(help));
        }
        match quote {
            '"' => self.interpolated(&value, name_at),
            _ => Ok(value),
        }
    }

    fn interpolated(&mut self, value: &str, at: usize) -> Result<String, Box<Diagnostic>> {
        let known = |name: &str| (self.lookup)(name).or_else(|| self.values.get(name).cloned().flatten());
        let done = interpolate(value, &known)
            .map_err(|error| Box::new(self.error(at, error.to_string()).with_help(error.help())))?;
        for name in &done.unset {
            if !self.missed.insert(name.clone()) {
                continue;
            }
            let line = self.source.line_at(at);
            let message = format!("the variable `{name}` is not set: `${name}` comes to nothing");
            let warning = Diagnostic::warning("unset-variable", self.source, line, message);
            let help = "write `$$` for a dollar sign, or put the value into single quotes";
            self.found.warnings.push(warning.with_help(help));
        }
        Ok(done.text)
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|letter| !wanted(letter)).unwrap_or(rest.len());
    }

    /// `\0101`: the letter of an octal number, of which the zero was read.
    fn octal(&mut self, value: &mut String) {
        let digits: String = self
            .rest()
            .chars()
            .take(3)
            .take_while(|letter| letter.is_digit(8))
            .collect();
        let letter = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
        if let Some(letter) = letter {
            self.at += digits.len();
            value.truncate(value.len() - "\\0".len());
            value.push(letter);
        }
    }

    fn error(&self, at: usize, message: String) -> Diagnostic {
        let line = self.source.line_at(at);
        let span = Span::new(at.min(line.end), line.end);
        Diagnostic::error("env-file", self.source, span, message)
    }
}

/// A comment begins after a blank: `K=#1` and `K= #1` are values.
fn without_comment(line: &str) -> &str {
    line.find(" #").map_or(line, |at| &line[..at])
}

fn escape(value: &mut String, letter: Option<char>, quote: char) {
    match (quote, letter) {
        ('"', Some('n')) => value.push('\n'),
        ('"', Some('r')) => value.push('\r'),
        ('"', Some('t')) => value.push('\t'),
        ('"', Some('a')) => value.push('\u{7}'),
        ('"', Some('b')) => value.push('\u{8}'),
        ('"', Some('f')) => value.push('\u{c}'),
        ('"', Some('v')) => value.push('\u{b}'),
        ('"', Some('$')) => value.push_str("$$"),
        ('"', Some(letter @ ('"' | '\\'))) | ('\'', Some(letter @ '\'')) => value.push(letter),
        (_, letter) => {
            value.push('\\');
            value.extend(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str, raw: bool) -> Vec<(String, Option<String>)> {
        let lookup = |name: &str| (name == "SHELL_VAR").then(|| "shell".to_owned());
        let found = parse(&Source::new(".env", text), raw, &lookup);
        let found = found.unwrap_or_else(|error| panic!("{text}: {}", error.message));
        found
            .list
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect()
    }

    #[test]
    fn values_as_docker_reads_them() {
        for (text, value) in [
            ("K=v", "v"),
            ("export K=v", "v"),
            ("K = v ", "v"),
            ("K: v", "v"),
            ("\u{feff}K=v\r\n", "v"),
            ("K=v # comment", "v"),
            ("K=v#no comment", "v#no comment"),
            ("K=#no comment", "#no comment"),
            ("K= #no comment", "#no comment"),
            ("K=v\t#no comment", "v\t#no comment"),
            ("K=\"\\a\\0101\"", "\u{7}A"),
            ("K='v # $X \\n'", "v # $X \\n"),
            ("K='it\\'s'", "it's"),
            ("K=\"a\\nb\\t\\\"c\\\\\"", "a\nb\t\"c\\"),
            ("K=\"$SHELL_VAR ${NO:-d}\"", "shell d"),
            ("K=\"\\$SHELL_VAR\"", "$SHELL_VAR"),
            ("K=$SHELL_VAR/x", "shell/x"),
            ("K=\"two\nlines\"", "two\nlines"),
            ("K=", ""),
            ("K=\"\" # none", ""),
        ] {
            assert_eq!(
                pairs(text, false),
                [("K".to_owned(), Some(value.to_owned()))],
                "{text:?}"
            );
        }
        assert_eq!(pairs("K", false), [("K".to_owned(), None)]);
        assert_eq!(pairs("# x\n\nA=1\nB=${A}2\n", false)[1].1.as_deref(), Some("12"));
    }

    #[test]
    fn raw_lines_stay_as_they_are() {
        assert_eq!(
            pairs("K=\"$X\" # y", true),
            [("K".to_owned(), Some("\"$X\" # y".to_owned()))]
        );
    }

    #[test]
    fn mistakes_have_a_line() {
        for text in ["K=\"open", "=v", "K x", "K='a' b c", "K=${X/y}"] {
            let error = parse(&Source::new(".env", format!("A=1\n{text}\n")), false, &|_| None).unwrap_err();
            assert_eq!(
                error.source.position(error.span().unwrap().start).line,
                2,
                "{text}"
            );
        }
        for text in ["export K=v", "K =v", "=v"] {
            let error = parse(&Source::new(".env", text), true, &|_| None).unwrap_err();
            assert!(error.help.is_some(), "{text}");
        }
        let found = parse(&Source::new(".env", "K='a' b=1"), false, &|_| None).unwrap();
        assert_eq!((found.get("K"), found.get("b")), (Some("a"), Some("1")));
        assert_eq!(found.warnings.len(), 1);
        let found = parse(&Source::new(".env", "P=a$b"), false, &|_| None).unwrap();
        assert!(found.warnings[0].message.contains("`b` is not set"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[ -~\\n\\r\\t]{0,60}") {
            let _ = parse(&Source::new(".env", text.as_str()), false, &|_| None);
            let _ = parse(&Source::new(".env", text.as_str()), true, &|_| None);
        }
    }
}
