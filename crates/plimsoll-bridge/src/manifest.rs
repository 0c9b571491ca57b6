//! Objects of Kubernetes as they are written: JSON with keys in the order in which people read them.

use serde_json::{Map, Value, json};

/// One object, and the file it gets.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// The name of its file, without a folder.
    pub(crate) file: String,
    /// The service it was made for, by its name in the compose file.
    pub(crate) service: Option<String>,
    /// What is written.
    pub(crate) value: Value,
}

impl Manifest {
    /// `Kind/name`, which has to be its own.
    pub(crate) fn identity(&self) -> (String, String) {
        let text = |pointer: &str| {
            let text = self.value.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        (text("/kind"), text("/metadata/name"))
    }
}

/// A mapping that is filled key by key; what is nothing or empty is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets a key, unless the value is nothing, an empty list or an empty mapping.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        let is_empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !is_empty {
            self.0.insert(key.to_owned(), value);
        }
        self
    }

    /// Sets a key to `true`, or leaves it out.
    pub(crate) fn flag(&mut self, key: &str, is_set: bool) -> &mut Self {
        if is_set {
            self.0.insert(key.to_owned(), Value::Bool(true));
        }
        self
    }

    /// Sets a key of a mapping under a key.
    pub(crate) fn merge(&mut self, key: &str, inner: &str, value: &str) {
        let map = self.0.entry(key).or_insert_with(|| Value::Object(Map::new()));
        map[inner] = Value::from(value);
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Object(fields.0)
    }
}

/// The frame of an object: what it is, what it is called, and what it is for.
pub(crate) fn object(version: &str, kind: &str, metadata: Fields) -> Map<String, Value> {
    let frame = json!({ "apiVersion": version, "kind": kind, "metadata": Value::from(metadata) });
    match frame {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Two mappings in one.
pub(crate) fn joined(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

/// Pairs as a mapping, in their order.
pub(crate) fn pairs<K: Into<String>, V: Into<Value>>(list: impl IntoIterator<Item = (K, V)>) -> Value {
    Value::Object(
        list.into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect(),
    )
}
