//! Devices of the host: by their path, or by what they can do.

use super::Shaper;
use super::forms::default;
use crate::node::{Node, Value};
use crate::schema::{Kind, tables};

impl Shaper<'_, '_> {
    pub(super) fn device(&mut self, node: Node) -> Vec<Node> {
        if let Value::Map(_) = node.value {
            let mut device = self.object(node, tables::DEVICE);
            let Some(source) = device.text_of("source").map(str::to_owned) else {
                return vec![self.invalid(
                    &device,
                    "`source` is missing: the device of the host",
                    "name it: `source: /dev/NAME`",
                )];
            };
            default(&mut device, "target", &source);
            return vec![device];
        }
        let node = self.text(node);
        let Some(text) = node.as_text() else {
            return Vec::new();
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, permissions) = match parts[..] {
            [source] => (source, source, "rwm"),
            [source, target] => (source, target, "rwm"),
            [source, target, permissions] => (source, target, permissions),
            _ => return vec![self.invalid(&node, "too many colons", "it is written as `SOURCE[:TARGET[:PERMISSIONS]]`; paths with colons take the long form, with `source:` and `target:`")],
        };
        let mut device = Node::map(&node.place);
        for (key, value) in [
            ("source", source),
            ("target", target),
            ("permissions", permissions),
        ] {
            device.set(key, Node::text(value, &node.place));
        }
        vec![device]
    }

    pub(super) fn gpus(&mut self, node: Node) -> Node {
        match node.as_text() {
            Some("all") => {
                let request = Node::map(&node.place);
                all_without_count(Node::new(Value::List(vec![request]), &node.place))
            }
            Some(_) => self.invalid(
                &node,
                "it is `all` or a list",
                "write `gpus: all`, or a list such as `[{count: 1}]`",
            ),
            None => all_without_count(self.list(node, Kind::Object(tables::DEVICE_REQUEST))),
        }
    }

    /// Devices by what they can do, and how many or which.
    pub(super) fn requests(&mut self, node: Node) -> Node {
        let requests = self.list(node, Kind::Object(tables::DEVICE_REQUEST));
        for request in requests.items() {
            if !has(request, "capabilities") {
                self.invalid(
                    request,
                    "`capabilities` is missing, such as `[gpu]`",
                    "write `capabilities: [gpu]`",
                );
            }
            if has(request, "count") && has(request, "device_ids") {
                let help = "`count` is any so many of them, `device_ids` says which";
                self.invalid(request, "it has both `count` and `device_ids`", help);
            }
        }
        all_without_count(requests)
    }

    /// How many devices; all are -1.
    pub(super) fn count(&mut self, node: Node) -> Node {
        match node.as_text() {
            Some("all") => Node::plain("-1", &node.place),
            _ => self.kind(node, Kind::Integer),
        }
    }
}

fn has(map: &Node, key: &str) -> bool {
    map.get(key).is_some_and(|value| !value.is_null())
}

/// A request that says neither how many devices nor which is for all of them.
fn all_without_count(mut requests: Node) -> Node {
    if let Value::List(items) = &mut requests.value {
        for request in items
            .iter_mut()
            .filter(|request| matches!(request.value, Value::Map(_)))
        {
            if !has(request, "count") && !has(request, "device_ids") {
                let place = request.place.clone();
                request.set("count", Node::plain("-1", &place));
            }
        }
    }
    requests
}
