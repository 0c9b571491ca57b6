//! The tree of a YAML document, with a place for every node.

use std::collections::HashMap;

use plimsoll_diagnostics::{Diagnostic, Source, Span};
use serde_json::{Map, Value as Json};

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which text.
    pub source: Source,
    /// Which bytes of it.
    pub span: Span,
}

impl Place {
    /// Makes an error about this place.
    pub fn error(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, &self.source, self.span, message)
    }

    /// Makes a warning about this place.
    pub fn warning(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(code, &self.source, self.span, message)
    }

    /// Whether a variable stands in the first line of what is written here.
    pub(crate) fn had_variables(&self) -> bool {
        let text = self.source.slice(self.span);
        text.lines().next().is_some_and(|line| line.contains('$'))
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it was written.
    pub place: Place,
    /// What a merge does with it.
    pub mark: Option<Mark>,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// A text, number, truth value or nothing: which one is a question of what the key wants.
    Scalar(Scalar),
    /// `- a`
    List(Vec<Node>),
    /// `key: value`, in the order of the text.
    Map(Vec<Entry>),
}

/// A scalar as it is written, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// Without quotes, so that `8080` is a number and `true` a truth value.
    pub plain: bool,
}

/// One line of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

/// Lines of a mapping in the making, found by their key at once however many there are.
#[derive(Debug)]
pub(crate) struct Collected {
    entries: Vec<Entry>,
    known: HashMap<String, usize>,
    place: Place,
}

impl Collected {
    /// A mapping that stands for what is written at `place`.
    pub(crate) fn new(place: &Place) -> Self {
        Self {
            entries: Vec::new(),
            known: HashMap::new(),
            place: place.clone(),
        }
    }

    /// Sets a key; a new one stands where the value does.
    pub(crate) fn set(&mut self, key: &str, value: Node) {
        if let Some(at) = self.known.get(key) {
            self.entries[*at].value = value;
            return;
        }
        self.known.insert(key.to_owned(), self.entries.len());
        self.entries.push(Entry {
            key: key.to_owned(),
            place: value.place.clone(),
            value,
        });
    }

    /// The texts of all keys.
    pub(crate) fn texts(&self) -> HashMap<String, Option<String>> {
        let pair = |entry: &Entry| (entry.key.clone(), entry.value.as_text().map(str::to_owned));
        self.entries.iter().map(pair).collect()
    }

    /// What was collected.
    pub(crate) fn into_node(self) -> Node {
        Node::new(Value::Map(self.entries), &self.place)
    }
}

/// The two tags of compose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `!reset`: takes away what earlier files say.
    Reset,
    /// `!override`: replaces it without merging.
    Override,
}

/// The YAML type of a plain scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction or an exponent.
    Float,
    /// Anything else.
    Text,
}

impl Scalar {
    /// Tells what it is by the core schema of YAML 1.2 (section 10.3.2).
    pub fn kind(&self) -> ScalarKind {
        if !self.plain {
            return ScalarKind::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => ScalarKind::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => ScalarKind::Bool,
            text if is_integer(text) => ScalarKind::Int,
            text if is_float(text) => ScalarKind::Float,
            _ => ScalarKind::Text,
        }
    }
}

impl Scalar {
    /// The text that the reference makes of a plain number or truth value where a text is wanted: as Go prints it.
    pub(crate) fn go_text(&self) -> Option<String> {
        match self.kind() {
            ScalarKind::Bool => Some(self.text.to_ascii_lowercase()),
            ScalarKind::Null => None,
            ScalarKind::Int | ScalarKind::Float | ScalarKind::Text if self.plain => number_text(&self.text),
            _ => None,
        }
    }
}

/// A number as go-yaml reads it and Go prints it: `0x10` is `16`, `1.50` is `1.5`, `1_000` is `1000`.
fn number_text(text: &str) -> Option<String> {
    if !text.starts_with(|letter: char| letter.is_ascii_digit() || "+-.".contains(letter)) {
        return None;
    }
    let plain = text.replace('_', "");
    if let Some(number) = whole(&plain) {
        return Some(number);
    }
    let number = plain.parse::<f64>().ok().filter(|_| is_float(&plain))?;
    Some(go_float(number))
}

/// A whole number by Go's prefixes; a zero in front is octal.
fn whole(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let number = u64::from_str_radix(digits, radix).ok()?;
    (!digits.starts_with('+')).then(|| match number {
        0 => "0".to_owned(),
        number => format!("{sign}{number}"),
    })
}

/// Go's `%v`: the shortest digits, with an exponent from a million on and below a ten thousandth.
fn go_float(number: f64) -> String {
    let shortest = format!("{number:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    match exponent {
        -4..=5 => format!("{number}"),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all = |digits: &str, test: fn(u8) -> bool| !digits.is_empty() && digits.bytes().all(test);
    match digits.get(..2) {
        Some("0x") => all(&digits[2..], |byte| byte.is_ascii_hexdigit()),
        Some("0o") => all(&digits[2..], |byte| matches!(byte, b'0'..=b'7')),
        _ => all(digits, |byte| byte.is_ascii_digit()),
    }
}

fn is_float(text: &str) -> bool {
    let first = text.trim_start_matches(['-', '+']);
    first.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
        && first.bytes().any(|byte| byte.is_ascii_digit())
        && first
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && text.parse::<f64>().is_ok()
}

/// A whole number in YAML's notations; a zero in front is octal, as in YAML 1.1 and the reference.
pub fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = match digits.get(..2) {
        Some("0x") => i64::from_str_radix(&digits[2..], 16).ok()?,
        Some("0o") => i64::from_str_radix(&digits[2..], 8).ok()?,
        _ if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(digits, 8).ok()?,
        _ => digits.parse().ok()?,
    };
    Some(sign * number)
}

impl Node {
    /// A text that stands for what is written at `place`.
    pub fn text(text: impl Into<String>, place: &Place) -> Self {
        Self::new(
            Value::Scalar(Scalar {
                text: text.into(),
                plain: false,
            }),
            place,
        )
    }

    /// A plain scalar: a number or a truth value.
    pub fn plain(text: impl Into<String>, place: &Place) -> Self {
        Self::new(
            Value::Scalar(Scalar {
                text: text.into(),
                plain: true,
            }),
            place,
        )
    }

    /// An empty mapping.
    pub fn map(place: &Place) -> Self {
        Self::new(Value::Map(Vec::new()), place)
    }

    /// A value that stands for what is written at `place`.
    pub fn new(value: Value, place: &Place) -> Self {
        Self {
            value,
            place: place.clone(),
            mark: None,
        }
    }

    /// The text of a scalar that is not null.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.kind() != ScalarKind::Null => Some(&scalar.text),
            _ => None,
        }
    }

    /// Whether there is nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.kind() == ScalarKind::Null)
    }

    /// Whether it says yes.
    pub fn is_true(&self) -> bool {
        self.as_text()
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// The items of a list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The lines of a mapping.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The lines of a mapping, to be changed.
    pub fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The line of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let entries = self.entries_mut()?;
        entries
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.value)
    }

    /// The value at the end of a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text of a key.
    pub fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::as_text)
    }

    /// Sets a key of a mapping; a new one stands where the value does.
    pub fn set(&mut self, key: &str, value: Node) {
        let Some(entries) = self.entries_mut() else { return };
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => entries.push(Entry {
                key: key.to_owned(),
                place: value.place.clone(),
                value,
            }),
        }
    }

    /// Takes a key out of a mapping.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        let entries = self.entries_mut()?;
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(at).value)
    }

    /// The value as JSON: plain scalars by their YAML type, the rest as texts.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_json()));
                Json::Object(pairs.collect::<Map<_, _>>())
            }
            Value::Scalar(scalar) => match scalar.kind() {
                ScalarKind::Null => Json::Null,
                ScalarKind::Bool => Json::Bool(scalar.text.eq_ignore_ascii_case("true")),
                ScalarKind::Int => {
                    integer(&scalar.text).map_or_else(|| Json::from(scalar.text.as_str()), Json::from)
                }
                ScalarKind::Float => {
                    let number = scalar
                        .text
                        .parse::<f64>()
                        .ok()
                        .and_then(serde_json::Number::from_f64);
                    number.map_or_else(|| Json::from(scalar.text.as_str()), Json::Number)
                }
                ScalarKind::Text => Json::from(scalar.text.as_str()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_types() {
        let kind = |text: &str| {
            Scalar {
                text: text.to_owned(),
                plain: true,
            }
            .kind()
        };
        for (text, expected) in [
            ("", ScalarKind::Null),
            ("~", ScalarKind::Null),
            ("true", ScalarKind::Bool),
            ("yes", ScalarKind::Text),
            ("80", ScalarKind::Int),
            ("0x1F", ScalarKind::Int),
            ("-1", ScalarKind::Int),
            ("1.10", ScalarKind::Float),
            ("1e3", ScalarKind::Float),
            ("8080:80", ScalarKind::Text),
            ("1.2.3", ScalarKind::Text),
            ("-", ScalarKind::Text),
            (".", ScalarKind::Text),
            ("1m", ScalarKind::Text),
            ("inf", ScalarKind::Text),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        let go = |text: &str| {
            let scalar = Scalar {
                text: text.to_owned(),
                plain: true,
            };
            scalar.go_text().unwrap_or_else(|| text.to_owned())
        };
        for (text, expected) in [
            ("0x10", "16"),
            ("010", "8"),
            ("080", "80"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("-0", "0"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1e6", "1e+06"),
            ("123456789.5", "1.234567895e+08"),
            ("0.00001", "1e-05"),
            ("12345678901234567890", "12345678901234567890"),
            ("True", "true"),
            ("1.2.3", "1.2.3"),
            ("1:30", "1:30"),
            ("yes", "yes"),
        ] {
            assert_eq!(go(text), expected, "{text}");
        }
        assert_eq!(integer("0o17"), Some(15));
        assert_eq!(integer("-0x10"), Some(-16));
        assert_eq!(integer("0755"), Some(0o755));
        assert_eq!(integer("080"), None);
    }
}
