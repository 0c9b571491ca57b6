//! One document over another, by the rules of the schema.

use plimsoll_diagnostics::Diagnostic;

use crate::node::{Entry, Mark, Node, Value};
use crate::schema::{Form, Kind, Merge, find, tables};

/// Merges `over` onto `base`; both are in their long form. A clash of types is an error and leaves what was there.
pub(crate) fn merge(base: Node, over: Node, kind: Kind, found: &mut Vec<Diagnostic>) -> Node {
    let mut merger = Merger {
        found,
        path: Vec::new(),
    };
    merger.node(base, over, kind, Merge::Natural)
}

/// Takes marks out of a document that nothing is merged with any more: `!reset` its key, `!override` only the mark.
pub(crate) fn settle(node: &mut Node) {
    node.mark = None;
    match &mut node.value {
        Value::Map(entries) => {
            entries.retain(|entry| entry.value.mark != Some(Mark::Reset));
            entries.iter_mut().for_each(|entry| settle(&mut entry.value));
        }
        Value::List(items) => {
            items.retain(|item| item.mark != Some(Mark::Reset));
            items.iter_mut().for_each(settle);
        }
        Value::Scalar(_) => {}
    }
}

/// Lists whose items are known by a key: of those with the same one the last is kept, where the first stood.
pub(crate) fn unique(node: Node, kind: Kind, found: &mut Vec<Diagnostic>) -> Node {
    let Node { value, place, mark } = node;
    let value = match (kind.long(), value) {
        (Kind::Object(fields), Value::Map(entries)) => {
            let entries = entries.into_iter().map(|entry| {
                let Some(field) = find(fields, &entry.key) else {
                    return entry;
                };
                let value = unique(entry.value, field.kind, found);
                let value = match value.value {
                    Value::List(items) => Node {
                        value: Value::List(once(items, field.merge, field.kind, found)),
                        ..value
                    },
                    _ => value,
                };
                Entry { value, ..entry }
            });
            Value::Map(entries.collect())
        }
        (Kind::Map(inner), Value::Map(entries)) => {
            let entries = entries.into_iter().map(|entry| Entry {
                value: unique(entry.value, *inner, found),
                ..entry
            });
            Value::Map(entries.collect())
        }
        (_, value) => value,
    };
    Node { value, place, mark }
}

fn once(items: Vec<Node>, rule: Merge, kind: Kind, found: &mut Vec<Diagnostic>) -> Vec<Node> {
    let count = items.len();
    let mounts: Vec<Node> = match kind {
        Kind::Form(Form::Mounts) => items.clone(),
        _ => Vec::new(),
    };
    let kept = lists(Vec::new(), items, rule);
    if kept.len() < count {
        for (at, mount) in mounts.iter().enumerate() {
            let target = mount.text_of("target");
            if mounts[at + 1..]
                .iter()
                .any(|later| later.text_of("target") == target)
            {
                let message = format!(
                    "two mounts are on `{}`: the last one counts",
                    target.unwrap_or_default()
                );
                found.push(mount.place.warning("compose-mount", message));
            }
        }
    }
    kept
}

struct Merger<'a> {
    found: &'a mut Vec<Diagnostic>,
    path: Vec<String>,
}

impl Merger<'_> {
    fn node(&mut self, base: Node, over: Node, kind: Kind, rule: Merge) -> Node {
        if over.mark == Some(Mark::Override) || rule == Merge::Replace {
            return over;
        }
        if over.is_null() {
            return base;
        }
        if base.is_null() {
            return over;
        }
        match (base.value, over.value) {
            (Value::Map(mut base), Value::Map(over_entries)) => {
                if rule == Merge::Logging && another_driver(&base, &over_entries) {
                    base.clear();
                }
                for entry in over_entries {
                    self.entry(&mut base, entry, kind);
                }
                Node::new(Value::Map(base), &over.place)
            }
            (Value::List(base), Value::List(over_items)) => {
                Node::new(Value::List(lists(base, over_items, rule)), &over.place)
            }
            (Value::Scalar(_), Value::Scalar(scalar)) => Node::new(Value::Scalar(scalar), &over.place),
            // Keys of the user's have no type.
            (_, value) if matches!(kind, Kind::Any) => Node::new(value, &over.place),
            (base_value, _) => {
                let message = format!("cannot override `{}`: another kind of value", self.path.join("."));
                let error = over.place.error("compose-merge", message);
                let help = "`!override` before the value replaces what earlier files say";
                self.found.push(error.with_help(help));
                Node::new(base_value, &base.place)
            }
        }
    }

    fn entry(&mut self, base: &mut Vec<Entry>, entry: Entry, kind: Kind) {
        let at = base.iter().position(|known| known.key == entry.key);
        if entry.value.mark == Some(Mark::Reset) {
            if let Some(at) = at {
                base.remove(at);
            }
            return;
        }
        let Some(at) = at else {
            base.push(entry);
            return;
        };
        // A name alone is a value, too: it takes the caller's.
        if matches!(kind.long(), Kind::Pairs) {
            base[at] = entry;
            return;
        }
        let (kind, rule) = below(kind, &entry.key);
        self.path.push(entry.key);
        let known = base[at].value.clone();
        base[at].value = self.node(known, entry.value, kind, rule);
        base[at].place = entry.place;
        self.path.pop();
    }
}

/// What is below a key.
fn below(kind: Kind, key: &str) -> (Kind, Merge) {
    match kind.long() {
        Kind::Form(Form::Hosts) => (Kind::List(&Kind::Text), Merge::Unique),
        Kind::Object(fields) => {
            find(fields, key).map_or((Kind::Any, Merge::Natural), |field| (field.kind, field.merge))
        }
        // Of a limit that both have, the later one wins whole.
        Kind::Map(inner) if std::ptr::eq(inner, &tables::ULIMITS) => (*inner, Merge::Replace),
        Kind::Map(inner) => match inner.long() {
            Kind::List(_) => (*inner, Merge::Unique),
            _ => (*inner, Merge::Natural),
        },
        _ => (Kind::Any, Merge::Natural),
    }
}

fn another_driver(base: &[Entry], over: &[Entry]) -> bool {
    let driver = |entries: &[Entry]| {
        let entry = entries.iter().find(|entry| entry.key == "driver");
        entry.and_then(|entry| entry.value.as_text()).map(str::to_owned)
    };
    match (driver(base), driver(over)) {
        (Some(base), Some(over)) => base != over,
        _ => false,
    }
}

/// Where a secret or config goes.
fn path_of(reference: &Node) -> Option<&str> {
    let target = reference
        .text_of("target")
        .or_else(|| reference.text_of("source"));
    target.map(|target| target.trim_start_matches("/run/secrets/"))
}

fn lists(mut base: Vec<Node>, over: Vec<Node>, rule: Merge) -> Vec<Node> {
    for item in over {
        let same = base.iter().position(|known| match rule {
            Merge::Unique => known.as_text().is_some() && known.as_text() == item.as_text(),
            Merge::ByPath | Merge::By(_) if known.as_text().is_some() || item.as_text().is_some() => {
                known.as_text() == item.as_text()
            }
            Merge::ByPath => path_of(known) == path_of(&item),
            Merge::By(keys) => keys.iter().all(|key| known.text_of(key) == item.text_of(key)),
            _ => false,
        });
        match same {
            Some(at) => base[at] = item,
            None => base.push(item),
        }
    }
    base
}

#[cfg(test)]
mod tests {
    use plimsoll_diagnostics::Source;
    use proptest::prelude::*;

    use super::*;
    use crate::schema::PROJECT;
    use crate::shape::{Base, shape};

    /// A document as it is when files are merged.
    fn document(text: &str) -> Node {
        let node = crate::parse(&Source::new("f", text))
            .expect("YAML")
            .expect("a document");
        let base = Base {
            folder: "/app".into(),
            home: None,
            keeps_paths: false,
            keeps_variables: false,
            forgives: false,
        };
        let mut found = Vec::new();
        let shaped = shape(node, PROJECT, &base, &mut found);
        assert!(found.is_empty(), "{text}: {found:?}");
        shaped
    }

    fn merged(base: Node, over: Node) -> Node {
        let mut found = Vec::new();
        let merged = merge(base, over, Kind::Object(PROJECT), &mut found);
        assert!(found.is_empty(), "{found:?}");
        merged
    }

    /// Lines of a service, one for each way in which keys are merged.
    fn line() -> impl Strategy<Value = String> {
        let word = "[abc]";
        prop_oneof![
            word.prop_map(|v| format!("image: {v}")),
            (word, word).prop_map(|(k, v)| format!("environment: {{{k}: {v}}}")),
            (word, word).prop_map(|(k, v)| format!("labels: [{k}={v}]")),
            word.prop_map(|v| format!("command: [{v}]")),
            word.prop_map(|v| format!("cap_add: [{v}]")),
            word.prop_map(|v| format!("security_opt: [{v}]")),
            (1..3u8, 1..3u8).prop_map(|(p, t)| format!("ports: ['{p}:{t}']")),
            (word, word).prop_map(|(s, t)| format!("volumes: ['./{s}:/{t}']")),
            (word, word).prop_map(|(s, t)| format!("secrets: [{{source: {s}, target: {t}}}]")),
            (word, 1..3u8).prop_map(|(k, n)| format!("ulimits: {{{k}: {n}}}")),
            (word, word).prop_map(|(k, v)| format!("networks: {{{k}: {{aliases: [{v}]}}}}")),
            (word, word).prop_map(|(k, v)| format!("extra_hosts: {{{k}: {v}}}")),
            word.prop_map(|v| format!("healthcheck: {{test: [CMD, {v}]}}")),
            (1..9u8).prop_map(|n| format!("deploy: {{resources: {{limits: {{pids: {n}}}}}}}")),
        ]
    }

    fn file() -> impl Strategy<Value = String> {
        proptest::collection::vec((0..2u8, line()), 0..6).prop_map(|lines| {
            let mut services = std::collections::BTreeMap::<u8, Vec<String>>::new();
            for (service, line) in lines {
                let key = line.split(':').next().unwrap_or_default().to_owned();
                let known = services.entry(service).or_default();
                if !known.iter().any(|line| line.split(':').next() == Some(&key)) {
                    known.push(line);
                }
            }
            let mut text = "services:\n  z: {}\n".to_owned();
            for (service, lines) in services {
                text.push_str(&format!("  s{service}:\n"));
                lines
                    .iter()
                    .for_each(|line| text.push_str(&format!("    {line}\n")));
            }
            text
        })
    }

    proptest! {
        /// What stands over what does not depend on which pair is merged first (compose specification, "Merge").
        #[test]
        fn merging_is_associative(a in file(), b in file(), c in file()) {
            let left = merged(merged(document(&a), document(&b)), document(&c));
            let right = merged(document(&a), merged(document(&b), document(&c)));
            prop_assert_eq!(left.to_json(), right.to_json(), "{}---\n{}---\n{}", a, b, c);
        }

        /// An override that says nothing changes nothing.
        #[test]
        fn an_empty_override_changes_nothing(a in file()) {
            let empty = "services: {z: {}}\n";
            let over = merged(document(&a), document(empty));
            prop_assert_eq!(over.to_json(), document(&a).to_json());
        }
    }
}
