//! What a template can call.

use std::cmp::Ordering;

use serde_json::Value;

/// A function by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function(&'static (&'static str, Implementation));

type Implementation = fn(&[Value]) -> Result<Value, String>;

const FUNCTIONS: &[(&str, Implementation)] = &[
    ("and", |arguments| last(arguments)),
    ("or", |arguments| last(arguments)),
    ("not", |arguments| Ok((!is_true(one(arguments)?)).into())),
    ("eq", equal),
    ("ne", |arguments| {
        two(arguments).map(|(a, b)| (!same(a, b)).into())
    }),
    ("lt", |arguments| {
        compare(arguments, |order| order == Ordering::Less)
    }),
    ("le", |arguments| {
        compare(arguments, |order| order != Ordering::Greater)
    }),
    ("gt", |arguments| {
        compare(arguments, |order| order == Ordering::Greater)
    }),
    ("ge", |arguments| {
        compare(arguments, |order| order != Ordering::Less)
    }),
    ("index", index),
    ("slice", slice),
    ("len", length),
    ("print", |arguments| Ok(print(arguments).into())),
    ("println", |arguments| Ok(print_line(arguments).into())),
    ("printf", format),
    ("json", |arguments| Ok(one(arguments)?.to_string().into())),
    ("split", |arguments| {
        let (text, separator) = two(arguments)?;
        Ok(string(text)?.split(string(separator)?).collect::<Vec<_>>().into())
    }),
    ("join", |arguments| {
        let (list, separator) = two(arguments)?;
        let items = match list {
            Value::Array(items) => items.as_slice(),
            // A list that nobody has filled.
            Value::Null => &[],
            other => return Err(format!("wrong type {} for join", go_type(other))),
        };
        Ok(items
            .iter()
            .map(show)
            .collect::<Vec<_>>()
            .join(string(separator)?)
            .into())
    }),
    ("title", |arguments| Ok(title(string(one(arguments)?)?).into())),
    ("lower", |arguments| {
        Ok(string(one(arguments)?)?.to_lowercase().into())
    }),
    ("upper", |arguments| {
        Ok(string(one(arguments)?)?.to_uppercase().into())
    }),
    ("pad", pad),
    ("truncate", |arguments| {
        let (text, length) = two(arguments)?;
        Ok(string(text)?
            .chars()
            .take(count(length)?)
            .collect::<String>()
            .into())
    }),
];

/// What Docker's rows can be asked with an argument: `{{.Label "tier"}}`, looked up in the text of `.Labels`.
const LABEL: &(&str, Implementation) = &("Label", |arguments| {
    let (labels, name) = two(arguments)?;
    Ok(label(string(labels)?, string(name)?).into())
});

/// The value of a label in `a=1,b=2`; what has no name is the rest of a value with commas.
fn label(labels: &str, name: &str) -> String {
    let mut pieces = labels.split(',');
    let found = pieces.find_map(|piece| piece.split_once('=').filter(|(known, _)| *known == name));
    let Some((_, value)) = found else {
        return String::new();
    };
    let rest = pieces.take_while(|piece| !piece.contains('='));
    rest.fold(value.to_owned(), |value, piece| format!("{value},{piece}"))
}

impl Function {
    /// `.Label`, whose first argument is the row's `.Labels`.
    pub(super) fn label() -> Self {
        Self(LABEL)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, _)| *known == name).map(Self)
    }

    pub(super) fn name(self) -> &'static str {
        self.0.0
    }

    pub(super) fn call(self, arguments: &[Value]) -> Result<Value, String> {
        (self.0.1)(arguments)
    }

    /// True for `and` at a false value and `or` at a true one.
    pub(super) fn stops_at(self, value: &Value) -> bool {
        match self.name() {
            "and" => !is_true(value),
            "or" => is_true(value),
            _ => false,
        }
    }
}

/// Go's truth: everything but false, zero, nothing and what is empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Go's `%v`, with text/template's words for nothing.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        other => show_inner(other),
    }
}

fn show_inner(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(show_inner).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{key}:{}", show_inner(value)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// The type as Go would name it after decoding JSON.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn one(arguments: &[Value]) -> Result<&Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err(format!("wrong number of args: want 1 got {}", arguments.len())),
    }
}

fn two(arguments: &[Value]) -> Result<(&Value, &Value), String> {
    match arguments {
        [first, second] => Ok((first, second)),
        _ => Err(format!("wrong number of args: want 2 got {}", arguments.len())),
    }
}

fn last(arguments: &[Value]) -> Result<Value, String> {
    arguments
        .last()
        .cloned()
        .ok_or_else(|| "wrong number of args: want at least 1 got 0".to_owned())
}

fn string(value: &Value) -> Result<&str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("wrong type for value; expected string; got {}", go_type(value)))
}

fn count(value: &Value) -> Result<usize, String> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("wrong type for value; expected int; got {}", go_type(value)))
}

/// Numbers are equal by value: JSON's 1 and 1.0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

fn equal(arguments: &[Value]) -> Result<Value, String> {
    match arguments {
        [first, rest @ ..] if !rest.is_empty() => Ok(rest.iter().any(|other| same(first, other)).into()),
        _ => Err("missing argument for comparison".to_owned()),
    }
}

fn compare(arguments: &[Value], accept: fn(Ordering) -> bool) -> Result<Value, String> {
    let order = match two(arguments)? {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    order
        .map(|order| accept(order).into())
        .ok_or_else(|| "incompatible types for comparison".to_owned())
}

/// `index x 1 2` is `x[1][2]`; a key that is not there gives nothing, as with Go's maps.
fn index(arguments: &[Value]) -> Result<Value, String> {
    let [value, keys @ ..] = arguments else {
        return Err("index of nothing".to_owned());
    };
    let mut current = value;
    for key in keys {
        current = match current {
            Value::Array(items) => {
                let place = key
                    .as_i64()
                    .ok_or_else(|| format!("cannot index slice/array with type {}", go_type(key)))?;
                let item = usize::try_from(place).ok().and_then(|place| items.get(place));
                item.ok_or_else(|| format!("index out of range: {place}"))?
            }
            Value::Object(map) => map.get(string(key)?).unwrap_or(&Value::Null),
            Value::Null => return Err("index of untyped nil".to_owned()),
            other => return Err(format!("can't index item of type {}", go_type(other))),
        };
    }
    Ok(current.clone())
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let [value, bounds @ ..] = arguments else {
        return Err("slice of nothing".to_owned());
    };
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", go_type(other))),
    };
    let start = bounds.first().map_or(Ok(0), count)?;
    let end = bounds.get(1).map_or(Ok(length), count)?;
    let wrong = || format!("index out of range: {end}");
    match value {
        Value::String(text) => Ok(text.get(start..end).ok_or_else(wrong)?.into()),
        Value::Array(items) => Ok(items.get(start..end).ok_or_else(wrong)?.to_vec().into()),
        _ => unreachable!("other types were refused above"),
    }
}

fn length(arguments: &[Value]) -> Result<Value, String> {
    match one(arguments)? {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Null => Ok(0.into()),
        other => Err(format!("len of type {}", go_type(other))),
    }
}

/// Go's `Sprint`: blanks only between operands of which neither is a string.
fn print(arguments: &[Value]) -> String {
    let mut text = String::new();
    for (place, value) in arguments.iter().enumerate() {
        if place > 0 && !value.is_string() && !arguments[place - 1].is_string() {
            text.push(' ');
        }
        text.push_str(&show_inner(value));
    }
    text
}

fn print_line(arguments: &[Value]) -> String {
    format!(
        "{}\n",
        arguments.iter().map(show_inner).collect::<Vec<_>>().join(" ")
    )
}

fn title(text: &str) -> String {
    let mut start = true;
    let upper = |character: char, start: bool| {
        if start {
            character.to_uppercase().collect::<String>()
        } else {
            character.to_string()
        }
    };
    let mut titled = String::new();
    for character in text.chars() {
        titled.push_str(&upper(character, start));
        start = character.is_whitespace();
    }
    titled
}

/// `pad text before after`; nothing stays nothing.
fn pad(arguments: &[Value]) -> Result<Value, String> {
    let [text, before, after] = arguments else {
        return Err(format!("wrong number of args: want 3 got {}", arguments.len()));
    };
    let text = string(text)?;
    if text.is_empty() {
        return Ok("".into());
    }
    Ok(format!(
        "{}{text}{}",
        " ".repeat(count(before)?),
        " ".repeat(count(after)?)
    )
    .into())
}

/// Go's `Sprintf` with `%s %v %d %q %t %x %f %%`, width, `-` and `0`.
fn format(arguments: &[Value]) -> Result<Value, String> {
    let [format, values @ ..] = arguments else {
        return Err("wrong number of args: want at least 1 got 0".to_owned());
    };
    let mut values = values.iter();
    let mut rest = string(format)?;
    let mut text = String::new();
    while let Some(percent) = rest.find('%') {
        text.push_str(&rest[..percent]);
        let directive = &rest[percent + 1..];
        let length = directive
            .find(|c: char| c.is_alphabetic() || c == '%')
            .unwrap_or(directive.len());
        let verb = directive[length..].chars().next();
        rest = &directive[length + verb.map_or(0, char::len_utf8)..];
        match verb {
            Some('%') => text.push('%'),
            None => text.push_str("%!(NOVERB)"),
            Some(verb) => match values.next() {
                Some(value) => text.push_str(&fit(&directive[..length], verb, value)),
                None => text.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    text.push_str(rest);
    Ok(text.into())
}

/// One directive of `printf`.
fn fit(flags: &str, verb: char, value: &Value) -> String {
    let (width, precision) = flags.split_once('.').unwrap_or((flags, ""));
    let precision: Option<usize> = precision.parse().ok();
    let body = match (verb, value) {
        ('q', Value::String(text)) => format!("{text:?}"),
        ('d', Value::Number(number)) => number.to_string(),
        ('x', Value::Number(number)) => format!("{:x}", number.as_i64().unwrap_or_default()),
        ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('f', Value::Number(number)) => {
            format!(
                "{:.*}",
                precision.unwrap_or(6),
                number.as_f64().unwrap_or_default()
            )
        }
        ('t', Value::Bool(value)) => value.to_string(),
        ('s', Value::String(text)) => text.chars().take(precision.unwrap_or(usize::MAX)).collect(),
        ('s' | 'v', other) => show_inner(other),
        (verb, other) => format!("%!{verb}({}={})", go_type(other), show_inner(other)),
    };
    let left = width.contains('-');
    let zeros = width.trim_start_matches(['-', '+']).starts_with('0') && !left && value.is_number();
    let width: usize = width
        .trim_start_matches(['-', '+', '0', ' '])
        .parse()
        .unwrap_or(0);
    match () {
        () if left => format!("{body:<width$}"),
        () if zeros => format!("{body:0>width$}"),
        () => format!("{body:>width$}"),
    }
}
