//! Values that have a short and a long form.

use super::{Shaper, absolute, has_variable, is_remote, mounts, ports, words};
use plimsoll_diagnostics::nearest;

use crate::node::{Mark, Node, Place, Value, integer};
use crate::schema::{Field, Form, Kind, tables};

impl Shaper<'_, '_> {
    pub(super) fn form(&mut self, node: Node, form: Form) -> Node {
        if node.is_null() {
            return node;
        }
        match form {
            Form::Command => self.command(node),
            Form::Ports => self.each(node, "a list of ports", Self::port),
            Form::Expose => self.each(node, "a list of ports", Self::expose),
            Form::Mounts => self.each(node, "a list of mounts", Self::mount),
            Form::Build => self.build(node),
            Form::Context => self.context(node),
            Form::AdditionalContexts => self.additional_contexts(node),
            Form::DependsOn => self.depends_on(node),
            Form::EnvFile => self.env_file(node),
            Form::Extends => self.text_or(node, tables::EXTENDS, "service"),
            Form::FileReferences => self.every(node, "a list", Self::file_reference),
            Form::Networks => self.names_or_map(node, tables::SERVICE_NETWORK),
            Form::Models => self.names_or_map(node, tables::SERVICE_MODEL),
            Form::Ulimits => self.ulimits(node),
            Form::Hosts => self.hosts(node),
            Form::Devices => self.each(node, "a list of devices", Self::device),
            Form::Gpus => self.gpus(node),
            Form::Include => self.every(node, "a list", Self::include),
            Form::Ssh => self.ssh(node),
            Form::PullPolicy => self.pull_policy(node),
            Form::HealthTest => self.health_test(node),
            Form::Requests => self.requests(node),
            Form::Count => self.count(node),
            Form::Mode => self.mode(node),
            Form::VolumeOptions => self.volume_options(node),
            Form::Paths => {
                let place = node.place.clone();
                let list = match node.value {
                    Value::Scalar(_) => Node::new(Value::List(vec![node]), &place),
                    _ => node,
                };
                self.list(list, Kind::Path)
            }
        }
    }

    /// A list whose items may become several; those with variables in them may have to wait.
    fn each(&mut self, node: Node, wanted: &str, item: impl Fn(&mut Self, Node) -> Vec<Node>) -> Node {
        let keeps = self.base.keeps_variables;
        self.every(node, wanted, |shaper, node| match keeps && has_variable(&node) {
            true => vec![node],
            false => item(shaper, node),
        })
    }

    /// A list whose items may become several.
    fn every(&mut self, node: Node, wanted: &str, item: impl Fn(&mut Self, Node) -> Vec<Node>) -> Node {
        let Value::List(items) = node.value else {
            return self.wrong(&node, wanted);
        };
        let items = items.into_iter().enumerate();
        let shaped = items.flat_map(|(at, node)| {
            self.inside(at.to_string(), |shaper| match shaper.is_there(&node) {
                true => item(shaper, node),
                false => Vec::new(),
            })
        });
        Node::new(
            Value::List(shaped.filter(|node| !node.is_null()).collect()),
            &node.place,
        )
    }

    /// A mapping, or a text that stands for its key `short`.
    fn text_or(&mut self, node: Node, fields: &'static [Field], short: &str) -> Node {
        match &node.value {
            Value::Scalar(_) => {
                let place = node.place.clone();
                let mut map = Node::map(&place);
                let text = self.text(node);
                map.set(short, text);
                self.object(map, fields)
            }
            _ => self.object(node, fields),
        }
    }

    /// Words as a shell takes them apart, without running one.
    fn command(&mut self, node: Node) -> Node {
        let node = match &node.value {
            Value::Scalar(_) => self.text(node),
            _ => node,
        };
        match &node.value {
            Value::Scalar(_) if node.is_null() => node,
            Value::Scalar(_) => match words::split(node.as_text().unwrap_or_default()) {
                Some(split) => {
                    if let Some(rest) = &split.rest {
                        let message = format!(
                            "`{}`: no shell reads this: all from `{rest}` on is left out",
                            self.name()
                        );
                        let warning = node.place.warning("compose-command", message);
                        self.found
                            .push(warning.with_help("write `sh -c \"...\"` to have a shell read it"));
                    }
                    let words = split.words.into_iter().map(|word| Node::text(word, &node.place));
                    Node::new(Value::List(words.collect()), &node.place)
                }
                None => self.invalid(
                    &node,
                    "a quote or bracket is not closed, or a bracket has no `$` before it",
                    "write it as a list, or put that part into quotes",
                ),
            },
            Value::List(_) => self.list(node, Kind::Scalar),
            Value::Map(_) => self.wrong(&node, "a text or a list"),
        }
    }

    fn port(&mut self, node: Node) -> Vec<Node> {
        let place = node.place.clone();
        if let Value::Map(_) = node.value {
            let mut port = self.object(node, tables::PORT);
            let target = port
                .text_of("target")
                .and_then(|target| target.parse::<u16>().ok());
            let is_open = self.base.keeps_variables && port.get("target").is_some_and(has_variable);
            match target {
                None if is_open => {}
                Some(target) => port.set("target", Node::plain(target.to_string(), &place)),
                None => {
                    return vec![self.invalid(
                        &port,
                        "`target` is the port in the container, from 1 to 65535",
                        "write it as `target: 80`; the port of the host is `published`",
                    )];
                }
            }
            let address = port.text_of("host_ip").unwrap_or_default();
            let is_open = self.base.keeps_variables && port.get("host_ip").is_some_and(has_variable);
            if !is_open && !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
                let why = format!("`host_ip` is no IP address: `{address}`");
                let help = "leave it out for all addresses; `127.0.0.1` is this machine only";
                return vec![self.invalid(&port, why, help)];
            }
            default(&mut port, "mode", "ingress");
            default(&mut port, "protocol", "tcp");
            return vec![port];
        }
        let node = self.scalar(node);
        let ports = match ports::parse(node.as_text().unwrap_or_default()) {
            Ok(ports) => ports,
            Err(error) => return vec![self.invalid(&node, error.why, error.help)],
        };
        let long = |port: ports::Port| {
            let mut map = Node::map(&place);
            map.set("mode", Node::text("ingress", &place));
            if let Some(address) = port.host_ip {
                map.set("host_ip", Node::text(address, &place));
            }
            map.set("target", Node::plain(port.target.to_string(), &place));
            if let Some(published) = port.published {
                map.set("published", Node::text(published, &place));
            }
            map.set("protocol", Node::text(port.protocol, &place));
            map
        };
        ports.into_iter().map(long).collect()
    }

    fn expose(&mut self, node: Node) -> Vec<Node> {
        let node = self.scalar(node);
        match ports::parse(node.as_text().unwrap_or_default()) {
            Ok(_) => vec![node],
            Err(error) => vec![self.invalid(&node, error.why, error.help)],
        }
    }

    fn mount(&mut self, node: Node) -> Vec<Node> {
        let place = node.place.clone();
        if let Value::Map(_) = node.value {
            return vec![self.long_mount(node)];
        }
        let node = self.text(node);
        let Some(text) = node.as_text() else {
            return Vec::new();
        };
        let mount = match mounts::parse(text) {
            Ok(mount) => mount,
            Err(error) => return vec![self.invalid(&node, error.why, error.help)],
        };
        let mut map = Node::map(&place);
        let text = |text: &str| Node::text(text, &place);
        map.set("type", text(if mount.bind { "bind" } else { "volume" }));
        if let Some(source) = &mount.source {
            match mount.bind {
                true => map.set("source", text(&absolute(self.base, source))),
                false => map.set("source", text(source)),
            }
        }
        map.set("target", text(&clean(&mount.target)));
        if mount.read_only {
            map.set("read_only", Node::plain("true", &place));
        }
        let mut bind = Node::map(&place);
        if mount.bind {
            bind.set("create_host_path", Node::plain("true", &place));
        }
        for (key, value) in [("selinux", &mount.selinux), ("propagation", &mount.propagation)] {
            if let Some(value) = value {
                bind.set(key, text(value));
            }
        }
        let mut volume = Node::map(&place);
        if mount.nocopy {
            volume.set("nocopy", Node::plain("true", &place));
        }
        for (key, own, always) in [("bind", bind, mount.bind), ("volume", volume, !mount.bind)] {
            if always || !own.entries().is_empty() {
                map.set(key, own);
            }
        }
        for option in &mount.unknown {
            let message = format!(
                "`{}`: the option `{option}` is not known: it has no effect",
                self.name()
            );
            let warning = node.place.warning("compose-mount", message);
            self.found
                .push(match nearest(option, mounts::OPTIONS.iter().copied()) {
                    Some(near) => warning.with_help(format!("did you mean `{near}`?")),
                    None => warning.with_help(format!("options are {}", mounts::OPTIONS.join(", "))),
                });
        }
        vec![map]
    }

    fn long_mount(&mut self, node: Node) -> Node {
        let mut mount = self.object(node, tables::MOUNT);
        let place = mount.place.clone();
        let Some(kind) = mount.text_of("type").map(str::to_owned) else {
            // A wrong one has been said.
            if mount.entry("type").is_some() {
                return mount;
            }
            let help = match mount.text_of("source") {
                Some(path) if path.starts_with(['.', '/', '~']) => "write `type: bind`",
                Some(_) => "write `type: volume`",
                None => "write `type: tmpfs`, or `type: volume`",
            };
            return self.invalid(
                &mount,
                "`type` is missing: it is bind, volume, tmpfs or image",
                help,
            );
        };
        let Some(target) = mount.text_of("target").map(clean) else {
            let why = "`target` is missing: the path in the container";
            return self.invalid(&mount, why, "write it as `target: /data`");
        };
        mount.set("target", Node::text(target, &place));
        match (kind.as_str(), mount.text_of("source").map(str::to_owned)) {
            ("bind", Some(source)) => {
                mount.set("source", Node::text(absolute(self.base, &source), &place));
                mount
            }
            ("bind", None) => self.invalid(
                &mount,
                "a bind needs a `source`",
                "name the path of the host: `source: ./data`",
            ),
            _ => mount,
        }
    }

    fn build(&mut self, node: Node) -> Node {
        let build = self.text_or(node, tables::BUILD, "context");
        if let (Some(_), Some(inline)) = (build.get("dockerfile"), build.entry("dockerfile_inline")) {
            let error = inline.place.error(
                "compose-value",
                format!("`{}` has both `dockerfile` and `dockerfile_inline`", self.name()),
            );
            self.found.push(error.with_help("leave one of them out"));
        }
        build
    }

    fn context(&mut self, node: Node) -> Node {
        let node = self.text(node);
        match node.as_text() {
            Some(text) if !is_remote(text) => Node::text(absolute(self.base, text), &node.place),
            _ => node,
        }
    }

    fn additional_contexts(&mut self, node: Node) -> Node {
        let mut map = self.pairs(node);
        let entries = map.entries_mut().into_iter().flatten();
        for entry in entries.filter(|entry| entry.value.mark.is_none()) {
            let value = entry.value.as_text().unwrap_or_default().to_owned();
            if !is_remote(&value) && !value.starts_with("service:") {
                entry.value = Node::text(absolute(self.base, &value), &entry.value.place);
            }
        }
        map
    }

    fn depends_on(&mut self, node: Node) -> Node {
        let mut map = self.names_or_map(node, tables::DEPENDENCY);
        let entries = map.entries_mut().into_iter().flatten();
        for entry in entries.filter(|entry| entry.value.mark != Some(Mark::Reset)) {
            let place = entry.value.place.clone();
            if entry.value.is_null() {
                entry.value = Node::map(&place);
            }
            default(&mut entry.value, "condition", "service_started");
            if entry.value.get("required").is_none() {
                entry.value.set("required", Node::plain("true", &place));
            }
        }
        map
    }

    /// A list of names, or a mapping from names.
    fn names_or_map(&mut self, node: Node, fields: &'static [Field]) -> Node {
        let place = node.place.clone();
        match node.value {
            Value::List(items) => {
                let mut map = Node::map(&place);
                for (at, item) in items.into_iter().enumerate() {
                    if !self.inside(at.to_string(), |shaper| shaper.is_there(&item)) {
                        continue;
                    }
                    let item = self.text(item);
                    if let Some(name) = item.as_text() {
                        map.set(name, Node::plain("", &item.place));
                    }
                }
                map
            }
            _ => self.map(node, Kind::Object(fields)),
        }
    }

    fn env_file(&mut self, node: Node) -> Node {
        let place = node.place.clone();
        let list = match node.value {
            Value::List(_) => node,
            _ => Node::new(Value::List(vec![node]), &place),
        };
        self.every(list, "a list of files", |shaper, node| {
            let place = node.place.clone();
            let mut file = shaper.text_or(node, tables::ENV_FILE, "path");
            if file.get("required").is_none() {
                file.set("required", Node::plain("true", &place));
            }
            vec![file]
        })
    }

    /// A secret or a config. Secrets of a service say where they go even where the file does not.
    fn file_reference(&mut self, node: Node) -> Vec<Node> {
        let place = node.place.clone();
        let mut reference = self.text_or(node, tables::FILE_REFERENCE, "source");
        let Some(source) = reference.text_of("source").map(str::to_owned) else {
            return vec![self.invalid(&reference, "`source` is missing", "name it: `source: NAME`")];
        };
        let of_build = self.path.iter().any(|key| key == "build");
        let is_secret = self.path.iter().any(|key| key == "secrets");
        if is_secret && !of_build && reference.text_of("target").is_none() {
            reference.set("target", Node::text(format!("/run/secrets/{source}"), &place));
        }
        vec![reference]
    }

    /// `name=address` or `name:address` lines, or a mapping to one or several: becomes a mapping to lists.
    fn hosts(&mut self, node: Node) -> Node {
        let place = node.place.clone();
        let mut hosts = Node::map(&place);
        let add = |hosts: &mut Node, name: &str, address: Node| match hosts.get_mut(name) {
            Some(Node {
                value: Value::List(addresses),
                ..
            }) => addresses.push(address),
            _ => hosts.set(
                name,
                Node::new(Value::List(vec![address.clone()]), &address.place),
            ),
        };
        match node.value {
            Value::List(items) => {
                for item in items {
                    let item = self.text(item);
                    let Some(text) = item.as_text() else { continue };
                    if self.base.keeps_variables && has_variable(&item) && !text.contains(['=', ':']) {
                        add(&mut hosts, text, Node::text("", &item.place));
                        continue;
                    }
                    match text.split_once('=').or_else(|| text.split_once(':')) {
                        Some((name, address)) => {
                            add(&mut hosts, name, Node::text(bare(address), &item.place))
                        }
                        None => drop(self.invalid(
                            &item,
                            "it is written as `NAME=ADDRESS`",
                            format!("write `{text}=host-gateway` for this machine"),
                        )),
                    }
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let place = entry.value.place.clone();
                    if entry.value.mark == Some(Mark::Reset) {
                        hosts.set(&entry.key, entry.value);
                        continue;
                    }
                    let list = match &entry.value.value {
                        Value::List(_) => entry.value,
                        _ => Node::new(Value::List(vec![entry.value]), &place),
                    };
                    for address in self.list(list, Kind::Text).items() {
                        let text = bare(address.as_text().unwrap_or_default());
                        add(&mut hosts, &entry.key, Node::text(text, &address.place));
                    }
                }
            }
            Value::Scalar(_) => return self.wrong(&node, "a list or a mapping"),
        }
        hosts
    }

    fn ulimits(&mut self, node: Node) -> Node {
        let limits = self.map(node, tables::ULIMITS);
        for entry in limits.entries() {
            let pair = matches!(entry.value.value, Value::Map(_));
            if pair && ["soft", "hard"].iter().any(|key| entry.value.get(key).is_none()) {
                let why = format!(
                    "`{}` needs both `soft` and `hard`, or one number for both",
                    entry.key
                );
                self.invalid(
                    &entry.value,
                    why,
                    format!("write `{}: {{soft: 1024, hard: 2048}}`", entry.key),
                );
            }
        }
        limits
    }

    /// Permission bits: octal as a text, and as YAML has it as a number.
    fn mode(&mut self, node: Node) -> Node {
        let bits = match &node.value {
            Value::Scalar(scalar) if scalar.plain => integer(&scalar.text),
            Value::Scalar(scalar) => i64::from_str_radix(scalar.text.trim_start_matches("0o"), 8).ok(),
            _ => None,
        };
        match bits {
            Some(bits) => Node::text(format!("0{bits:o}"), &node.place),
            None => self.invalid(
                &node,
                "not permission bits: they are written as \"0440\"",
                "digits are 0 to 7, for user, group and others",
            ),
        }
    }

    /// Options of the local driver: the device of a bind is a path of the host.
    fn volume_options(&mut self, node: Node) -> Node {
        let mut options = self.options(node);
        let is_bind = options
            .text_of("o")
            .is_some_and(|o| o.split(',').any(|option| matches!(option, "bind" | "rbind")));
        if let (true, Some(device)) = (is_bind, options.get("device").cloned()) {
            let path = absolute(self.base, device.as_text().unwrap_or_default());
            options.set("device", Node::text(path, &device.place));
        }
        options
    }

    fn include(&mut self, node: Node) -> Vec<Node> {
        vec![self.text_or(node, tables::INCLUDE, "path")]
    }

    /// `default`, or `ID=PATH` lines, or a mapping.
    fn ssh(&mut self, node: Node) -> Node {
        let place = node.place.clone();
        let pairs = match &node.value {
            Value::Scalar(_) => self.pairs(Node::new(Value::List(vec![node]), &place)),
            _ => self.pairs(node),
        };
        let line = |entry: &crate::node::Entry| match entry.value.as_text() {
            Some(path) => Node::text(
                format!("{}={}", entry.key, absolute(self.base, path)),
                &entry.place,
            ),
            None => Node::text(entry.key.clone(), &entry.place),
        };
        Node::new(Value::List(pairs.entries().iter().map(line).collect()), &place)
    }

    fn pull_policy(&mut self, node: Node) -> Node {
        const WORDS: &[&str] = &[
            "always",
            "never",
            "missing",
            "if_not_present",
            "build",
            "daily",
            "weekly",
            "refresh",
        ];
        let node = self.text(node);
        match node.as_text() {
            Some("if_not_present") => Node::text("missing", &node.place),
            Some(text)
                if text
                    .strip_prefix("every_")
                    .is_some_and(|time| super::duration(time).is_some()) =>
            {
                node
            }
            _ => self.word(node, WORDS),
        }
    }

    fn health_test(&mut self, node: Node) -> Node {
        if let Value::Scalar(_) = node.value {
            let node = self.text(node);
            let words = ["CMD-SHELL", node.as_text().unwrap_or_default()];
            let words = words.iter().map(|word| Node::text(*word, &node.place)).collect();
            return Node::new(Value::List(words), &node.place);
        }
        let list = self.list(node, Kind::Scalar);
        match list.items().first().and_then(Node::as_text) {
            Some("NONE" | "CMD" | "CMD-SHELL") => list,
            None if list.items().is_empty() => list,
            _ => self.invalid(
                &list,
                "a list begins with NONE, CMD or CMD-SHELL",
                "as a text it is run by a shell; as a list it is `[\"CMD\", ...]`",
            ),
        }
    }
}

pub(super) fn default(map: &mut Node, key: &str, value: &str) {
    if map.get(key).is_none_or(Node::is_null) {
        let place: Place = map.place.clone();
        map.set(key, Node::text(value, &place));
    }
}

/// An address without the brackets of IPv6.
fn bare(address: &str) -> &str {
    let address = address.trim();
    address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address)
}

/// A path in the container without what says nothing: final slashes, `.`, and `..` after a name.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    match parts.is_empty() && root.is_empty() {
        true => ".".to_owned(),
        false => format!("{root}{}", parts.join("/")),
    }
}
