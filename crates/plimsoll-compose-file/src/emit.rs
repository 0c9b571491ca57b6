//! JSON values as YAML, in the form of `docker compose config`.

use serde_json::Value;

/// Bytes of a key beyond which go-yaml marks it with `?`. Readers take no more than 1024 letters without (YAML 1.2,
/// section 7.4.2), escapes written out.
const MAX_SIMPLE_KEY: usize = 128;

/// Writes dollar signs of values twice, so that what is printed can be loaded again. Keys are not interpolated.
pub fn escape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(map) => map.values_mut().for_each(escape),
        _ => {}
    }
}

/// JSON as Go writes it, which escapes what could end a script.
pub(crate) fn as_go(json: &str) -> String {
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Writes a value as JSON, in the form of `docker compose config --format json`.
pub fn to_json(value: &Value) -> String {
    as_go(&format!("{value:#}\n"))
}

/// Writes a value as a block: two blanks a level, `- ` below its key.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (at, (key, value)) in map.iter().enumerate() {
                begin(out, at, indent);
                if key.len() > MAX_SIMPLE_KEY {
                    long_entry(out, key, value, indent);
                    continue;
                }
                out.push_str(&scalar(key));
                out.push(':');
                below(out, value, indent + 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                begin(out, at, indent);
                out.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => block(out, item, indent + 2),
                    Value::Array(items) if !items.is_empty() => {
                        // An array in an array begins on a line of its own.
                        out.pop();
                        out.push('\n');
                        block(out, item, indent + 2);
                    }
                    Value::String(text) if is_block(text) => {
                        out.pop();
                        literal(out, text, indent + 2);
                    }
                    _ => line(out, item),
                }
            }
        }
        value => line(out, value),
    }
}

/// A line of its own, except for the first part of an item or of the value of a long key.
fn begin(out: &mut String, at: usize, indent: usize) {
    if at > 0 || !(out.ends_with("- ") || out.ends_with(": ")) {
        out.push_str(&" ".repeat(indent));
    }
}

/// A key that is too long to be read without a mark, and its value.
fn long_entry(out: &mut String, key: &str, value: &Value, indent: usize) {
    let blanks = " ".repeat(indent);
    out.push_str(&format!("? {}\n{blanks}:", scalar(key)));
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push(' ');
            block(out, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push(' ');
            block(out, value, indent + 2);
        }
        value => below(out, value, indent + 2),
    }
}

fn below(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, value, indent);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(out, value, indent);
        }
        Value::String(text) if is_block(text) => literal(out, text, indent),
        value => {
            out.push(' ');
            line(out, value);
        }
    }
}

fn line(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => out.push_str(&scalar(text)),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

/// Whether a text is written as a block of lines, as go-yaml decides it.
fn is_block(text: &str) -> bool {
    let readable = |letter: char| letter == '\n' || letter == '\t' || is_printable(letter);
    text.contains('\n') && text.chars().all(readable) && !text.contains(" \n") && !text.ends_with(' ')
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push_str(" |");
    // Where the first line does not show how far the block is indented, a number does.
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let ends = text.len() - text.trim_end_matches('\n').len();
    out.push_str(match ends {
        0 => "-\n",
        1 if text.len() > 1 => "\n",
        _ => "+\n",
    });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(line);
        out.push('\n');
    }
}

/// What go-yaml writes as it is: nothing beyond the basic plane.
fn is_printable(letter: char) -> bool {
    matches!(letter, '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(letter, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// A text in double quotes, as go-yaml escapes it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            letter if is_printable(letter) => out.push(letter),
            letter => {
                let code = u32::from(letter);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                });
            }
        }
    }
    out.push('"');
    out
}

/// A text as go-yaml writes it: without quotes where it stays a text, in double quotes where another reader could take
/// it for something else, in single ones where only its letters need them.
fn scalar(text: &str) -> String {
    let plain = crate::Scalar {
        text: text.to_owned(),
        plain: true,
    };
    let printable = text.chars().all(is_printable);
    if plain.kind() != crate::ScalarKind::Text || is_ambiguous(text) || !printable {
        return quoted(text);
    }
    match is_safe(text) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "\'\'")),
    }
}

/// Whether the letters of a text mean nothing to YAML.
fn is_safe(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    let second = text.chars().nth(1).unwrap_or(' ');
    let begins = match first {
        '-' | '?' | ':' => second != ' ',
        first => !",[]{}#&*!|>'\"%@` ".contains(first),
    };
    let flow = |letter: char| matches!(letter, ',' | '[' | ']' | '{' | '}' | '?');
    let inside = text.contains(": ") || text.contains(" #") || text.ends_with([':', ' ']);
    begins && !inside && !text.starts_with("---") && !text.starts_with("...") && !text.chars().all(flow)
}

/// Words and numbers that some version of YAML takes for something else.
fn is_ambiguous(text: &str) -> bool {
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "=" | "<<" | ".inf" | "-.inf" | "+.inf" | ".nan"
    );
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).replace('_', "");
    let number = digits.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
        && (digits.parse::<f64>().is_ok()
            || ["0x", "0b", "0o"].iter().any(|prefix| {
                digits
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
            }));
    word || number || is_of_base_60(text) || is_date(text)
}

/// `1:30`, which YAML 1.1 takes for 90.
fn is_of_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let sixty = |part: &&str| {
        let whole = part.split('.').next().unwrap_or_default();
        whole.len() <= 2 && whole.parse::<u8>().is_ok_and(|number| number < 60)
    };
    first.starts_with(|letter: char| letter.is_ascii_digit())
        && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && !rest.is_empty()
        && rest.iter().all(sixty)
}

/// `2026-11-21`, also with a time.
fn is_date(text: &str) -> bool {
    let date = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts[0].len() == 4 && parts.iter().all(digits)
}

#[cfg(test)]
mod tests {
    use plimsoll_diagnostics::Source;
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks() {
        let value = json!({
            "name": "app",
            "services": {"web": {"command": null, "environment": {"A": "1", "B": ""}, "ports": [{"mode": "ingress", "target": 80}],
                "entrypoint": ["sh", "-c", "a\nb"], "networks": {}, "script": "one\ntwo\n"}},
            "list": [["x"], []],
        });
        let text = "name: app\nservices:\n  web:\n    command: null\n    environment:\n      A: \"1\"\n      B: \"\"\n    ports:\n      - mode: ingress\n        target: 80\n    entrypoint:\n      - sh\n      - -c\n      - |-\n        a\n        b\n    networks: {}\n    script: |\n      one\n      two\nlist:\n  -\n    - x\n  - []\n";
        assert_eq!(to_yaml(&value), text);
    }

    #[test]
    fn long_keys_are_marked() {
        let key = |first: &str| format!("{first}{}", "k".repeat(140));
        let value = json!({"x": {
            key("a"): {"c": 1, "d": ["x"]}, key("b"): [1, [2]], key("c"): [], key("d"): "a\nb", key("e"): "e",
            key("\t"): [{"a": 1}],
        }});
        let written = to_yaml(&value);
        let expected = "x:\n  ? aK\n  : c: 1\n    d:\n      - x\n  ? bK\n  : - 1\n    -\n      - 2\n  ? cK\n  : []\n  ? dK\n  : |-\n    a\n    b\n  ? eK\n  : e\n  ? \"\\tK\"\n  : - a: 1\n";
        assert_eq!(written.replace(&"k".repeat(140), "K"), expected);
        let read = crate::parse(&Source::new("f", written)).unwrap().unwrap();
        assert_eq!(read.to_json(), value);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "\\PC{0,24}|[ -~\\n]{0,24}", key in "[ -~]{1,8}") {
            let mut map = serde_json::Map::new();
            map.insert(key, json!([text.clone(), {"k": text}]));
            let value = Value::Object(map);
            let written = to_yaml(&value);
            let read = crate::parse(&Source::new("f", written.as_str()));
            let read = read.map_err(|error| error.message).expect("it is YAML").expect("it is not empty").to_json();
            proptest::prop_assert_eq!(read, value, "{}", written);
        }
    }
}
