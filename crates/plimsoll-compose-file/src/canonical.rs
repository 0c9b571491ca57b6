//! The normal form as JSON: keys in the order of the schema, times and numbers in one notation.

mod order;

use serde_json::{Map, Value as Json};

use crate::node::{Entry, Node, Value, integer};
use crate::schema::{Field, Kind, tables};
use crate::shape::duration;

/// For whom it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// `config --format json` of the reference, byte for byte: configuration hashes are made of it.
    Json,
    /// `config` of the reference.
    Yaml,
    /// Everything that was said, for the model.
    Full,
}

/// Keys that the reference keeps as a pointer: `false` and 0 are said, too.
const POINTERS: [&str; 10] = [
    "attach",
    "init",
    "enable_ipv4",
    "enable_ipv6",
    "required",
    "scale",
    "replicas",
    "parallelism",
    "max_attempts",
    "retries",
];

/// Keys of which nothing and an empty list are two things: what the image says, and nothing.
const COMMANDS: [&str; 2] = ["command", "entrypoint"];

/// The JSON of a value of that kind.
pub(crate) fn canonical(node: &Node, kind: Kind, flavour: Flavour) -> Json {
    if node.is_null() {
        return Json::Null;
    }
    match (kind.long(), &node.value) {
        (Kind::Object(fields), Value::Map(_)) => Json::Object(object(node, fields, flavour)),
        (Kind::Form(crate::schema::Form::Hosts), Value::Map(_)) => hosts(node),
        (Kind::Map(inner), Value::Map(_)) => by_name(node, *inner, flavour),
        (_, Value::Map(_)) => by_name(node, Kind::Any, flavour),
        (Kind::List(inner), Value::List(items)) => items
            .iter()
            .map(|item| canonical(item, *inner, flavour))
            .collect(),
        (_, Value::List(items)) => items
            .iter()
            .map(|item| canonical(item, Kind::Any, flavour))
            .collect(),
        (Kind::Duration, _) => go_duration(node),
        (Kind::Number, _) => number(node),
        _ => node.to_json(),
    }
}

/// A mapping with names of the user's, which stand in the order of the format.
fn by_name(node: &Node, kind: Kind, flavour: Flavour) -> Json {
    let mut entries: Vec<&Entry> = node.entries().iter().collect();
    entries.sort_by(|one, other| match flavour {
        Flavour::Yaml => order::by_nature(&one.key, &other.key),
        _ => one.key.cmp(&other.key),
    });
    let entries = entries
        .into_iter()
        .map(|entry| (entry.key.clone(), canonical(&entry.value, kind, flavour)));
    Json::Object(entries.collect())
}

fn object(node: &Node, fields: &'static [Field], flavour: Flavour) -> Map<String, Json> {
    let mut map = Map::new();
    for field in fields {
        let value = node.get(field.name);
        let value = value.map_or(Json::Null, |node| canonical(node, field.kind, flavour));
        let value = always(field.name, value, fields, flavour);
        if !is_left_out(field, fields, &value, flavour) {
            map.insert(spelled(field.name, fields, flavour), value);
        }
    }
    if flavour != Flavour::Json {
        let mut own: Vec<_> = node
            .entries()
            .iter()
            .filter(|entry| entry.key.starts_with("x-"))
            .collect();
        own.sort_by(|one, other| order::by_nature(&one.key, &other.key));
        map.extend(
            own.into_iter()
                .map(|entry| (entry.key.clone(), canonical(&entry.value, Kind::Any, flavour))),
        );
    }
    map
}

/// Structures that the reference's JSON has even where nothing is said.
fn always(name: &str, value: Json, fields: &'static [Field], flavour: Flavour) -> Json {
    let here = |table: &'static [Field]| std::ptr::eq(fields, table);
    let filled = (here(tables::DEPLOY) && matches!(name, "resources" | "placement"))
        || (here(tables::NETWORK) && name == "ipam");
    match flavour {
        Flavour::Json if value.is_null() && filled => Json::Object(Map::new()),
        Flavour::Json if value.is_null() && here(tables::WATCH) && name == "exec" => {
            serde_json::json!({ "command": null })
        }
        Flavour::Yaml if filled && value.as_object().is_some_and(Map::is_empty) => Json::Null,
        _ => value,
    }
}

/// The reference has no names of its own for these keys, so Go's are written.
fn spelled(name: &str, fields: &'static [Field], flavour: Flavour) -> String {
    let is_rate = std::ptr::eq(fields, tables::BLKIO_RATE) || std::ptr::eq(fields, tables::BLKIO_WEIGHT);
    match flavour {
        Flavour::Json if is_rate => name[..1].to_ascii_uppercase() + &name[1..],
        _ => name.to_owned(),
    }
}

fn is_left_out(field: &Field, fields: &'static [Field], value: &Json, flavour: Flavour) -> bool {
    let is_command = COMMANDS.contains(&field.name);
    let is_pointer = POINTERS.contains(&field.name);
    let is_zero = |text: &str| text.is_empty() || (text == "0" && matches!(field.kind, Kind::Size));
    // Times of an update are numbers to the reference, others pointers.
    let is_no_time = |text: &str| text == "0s" && std::ptr::eq(fields, tables::UPDATE_CONFIG);
    match (flavour, value) {
        (Flavour::Json, Json::Null) => !is_command,
        (_, Json::Null) => true,
        (Flavour::Full, _) => false,
        (_, Json::Bool(truth)) => !truth && !is_pointer,
        (_, Json::Number(number)) => number.as_f64() == Some(0.0) && !is_pointer,
        (_, Json::String(text)) => is_zero(text) || is_no_time(text),
        (_, Json::Array(items)) => items.is_empty() && !is_command,
        (_, Json::Object(map)) => {
            map.is_empty() && !matches!(field.kind.long(), Kind::Object(_)) && field.name != "services"
        }
    }
}

/// `NAME=ADDRESS` lines.
fn hosts(node: &Node) -> Json {
    let mut entries: Vec<_> = node.entries().iter().collect();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    let lines = entries.into_iter().flat_map(|entry| {
        let addresses = entry.value.items().iter().filter_map(Node::as_text);
        addresses.map(|address| Json::from(format!("{}={address}", entry.key)))
    });
    lines.collect()
}

/// A whole number without a fraction.
fn number(node: &Node) -> Json {
    let text = node.as_text().unwrap_or_default();
    if let Some(number) = integer(text) {
        return Json::from(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() < 1e15 => Json::from(number as i64),
        Ok(number) => Json::from(number),
        Err(_) => node.to_json(),
    }
}

/// A time as Go prints it: `1h0m0s`, `1.5s`, `200ms`.
fn go_duration(node: &Node) -> Json {
    let text = node.as_text().unwrap_or_default();
    match duration(text) {
        Some(nanoseconds) => Json::from(go_text(nanoseconds)),
        None => node.to_json(),
    }
}

fn go_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        match digits.trim_end_matches('0') {
            "" => (value / unit).to_string(),
            digits => format!("{}.{digits}", value / unit),
        }
    };
    const SECOND: u64 = 1_000_000_000;
    let text = match total {
        0 => return "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(total, 1_000)),
        1_000_000..SECOND => format!("{}ms", fraction(total, 1_000_000)),
        _ => {
            let minutes = total / SECOND / 60;
            let seconds = fraction(total - minutes * 60 * SECOND, SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_does() {
        for (text, expected) in [
            ("0", "0s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1500ms", "1.5s"),
            ("200ms", "200ms"),
            ("1.5ms", "1.5ms"),
            ("7us", "7µs"),
            ("12ns", "12ns"),
            ("2d", "48h0m0s"),
            ("61m1.25s", "1h1m1.25s"),
            ("-90s", "-1m30s"),
        ] {
            assert_eq!(go_text(duration(text).expect("a duration")), expected, "{text}");
        }
    }
}
