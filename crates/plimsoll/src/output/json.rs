//! JSON as `inspect` prints it.

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

/// Returns `value` over several lines, indented by four blanks as Docker does.
pub(crate) fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).expect("a value is JSON");
    String::from_utf8(text).expect("JSON is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_blanks() {
        let value = serde_json::json!([{"Id": "a", "Tags": []}]);
        assert_eq!(
            pretty(&value),
            "[\n    {\n        \"Id\": \"a\",\n        \"Tags\": []\n    }\n]"
        );
    }
}
