//! A service of a compose project, with words for what rules ask of it.

use std::sync::Arc;

use plimsoll_compose_file::{Entry, Node, Place, Project};
use plimsoll_diagnostics::{Fix, Span};

use super::edit;
use super::software::{self, Software};
use crate::Finding;
use crate::view::ComposeView;

/// A service.
#[derive(Clone, Copy)]
pub(in crate::rules) struct Service<'a> {
    /// Its name.
    pub(in crate::rules) name: &'a str,
    /// Where its name stands.
    pub(in crate::rules) key: &'a Place,
    /// What is said about it.
    pub(in crate::rules) node: &'a Node,
    /// All the rest.
    pub(in crate::rules) project: &'a Project,
}

/// A published port.
pub(in crate::rules) struct Port<'a> {
    /// How it is written.
    pub(in crate::rules) node: &'a Node,
    /// In the container.
    pub(in crate::rules) target: Option<u16>,
    /// Whether it is bound to an address of its own.
    pub(in crate::rules) has_address: bool,
}

/// A mount.
pub(in crate::rules) struct Mount<'a> {
    /// How it is written.
    pub(in crate::rules) node: &'a Node,
    /// `bind`, `volume`, `tmpfs`.
    pub(in crate::rules) kind: &'a str,
    /// Path on the host, or name of a volume.
    pub(in crate::rules) source: &'a str,
    /// Path in the container.
    pub(in crate::rules) target: &'a str,
    /// Whether it can only be read.
    pub(in crate::rules) read_only: bool,
}

/// The services of a project.
pub(in crate::rules) fn services(view: &ComposeView) -> Vec<Service<'_>> {
    let Some(project) = &view.project else {
        return Vec::new();
    };
    view.services()
        .into_iter()
        .map(|entry| Service {
            name: &entry.key,
            key: &entry.place,
            node: &entry.value,
            project,
        })
        .collect()
}

impl<'a> Service<'a> {
    /// The value of a key that says something.
    pub(in crate::rules) fn get(&self, key: &str) -> Option<&'a Node> {
        self.node.get(key).filter(|node| !node.is_null())
    }

    /// The value at the end of a path of keys.
    pub(in crate::rules) fn at(&self, path: &[&str]) -> Option<&'a Node> {
        self.node.at(path).filter(|node| !node.is_null())
    }

    /// The key and its value.
    pub(in crate::rules) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.node.entry(key).filter(|entry| !entry.value.is_null())
    }

    /// `image:`.
    pub(in crate::rules) fn image(&self) -> Option<&'a Node> {
        self.get("image").filter(|node| node.as_text().is_some())
    }

    /// The software that its image is known to be; only of services that are not built here.
    pub(in crate::rules) fn software(&self) -> Option<&'static Software> {
        match self.get("build") {
            Some(_) => None,
            None => software::of_image(self.image()?.as_text()?),
        }
    }

    /// A finding at its name.
    pub(in crate::rules) fn finding(&self, message: impl Into<String>) -> Finding {
        Finding::at(self.key, message)
    }

    /// A fix that adds lines to it; none where its text is not a block of its own.
    pub(in crate::rules) fn add(&self, fix: Fix, lines: &[&str]) -> Option<Fix> {
        match self.has_own_block() {
            true => edit::append(fix, self.node, lines),
            false => None,
        }
    }

    /// An alias (`web: *base`) has the text of another.
    fn has_own_block(&self) -> bool {
        let (key, node) = (self.key, &self.node.place);
        if !Arc::ptr_eq(&key.source.text, &node.source.text) || key.span.end > node.span.start {
            return false;
        }
        let between = node.source.slice(Span::new(key.span.end, node.span.start));
        between.lines().all(|line| {
            let line = line.trim().trim_start_matches(['"', '\'', ':']).trim_start();
            line.is_empty() || line.starts_with(['#', '&'])
        })
    }

    /// Its published ports.
    pub(in crate::rules) fn ports(&self) -> Vec<Port<'a>> {
        let items = self.get("ports").map_or(&[][..], Node::items);
        items
            .iter()
            .map(|node| Port {
                node,
                target: node.text_of("target").and_then(|target| target.parse().ok()),
                has_address: node
                    .text_of("host_ip")
                    .is_some_and(|address| !matches!(address, "" | "0.0.0.0" | "::" | "[::]")),
            })
            .collect()
    }

    /// Its mounts.
    pub(in crate::rules) fn mounts(&self) -> Vec<Mount<'a>> {
        let items = self.get("volumes").map_or(&[][..], Node::items);
        items
            .iter()
            .map(|node| Mount {
                node,
                kind: node.text_of("type").unwrap_or("volume"),
                source: node.text_of("source").unwrap_or_default(),
                target: node.text_of("target").unwrap_or_default(),
                read_only: node.get("read_only").is_some_and(Node::is_true),
            })
            .collect()
    }

    /// Words of a list such as `cap_add` or `security_opt`, with their places.
    pub(in crate::rules) fn words(&self, key: &str) -> Vec<(&'a str, &'a Node)> {
        let items = self.get(key).map_or(&[][..], Node::items);
        items
            .iter()
            .filter_map(|node| Some((node.as_text()?, node)))
            .collect()
    }

    /// Whether its health is looked at, as far as the file says: `Some(false)` where it is switched off.
    pub(in crate::rules) fn healthcheck(&self) -> Option<bool> {
        let check = self.get("healthcheck")?;
        let off = check.get("disable").is_some_and(Node::is_true)
            || check
                .get("test")
                .is_some_and(|test| test.items().first().and_then(Node::as_text) == Some("NONE"));
        match (off, check.get("test")) {
            (true, _) => Some(false),
            (false, Some(_)) => Some(true),
            // It only changes the times of the image's own.
            (false, None) => None,
        }
    }

    /// Whether it ends by itself: another waits for that, or its restart policy says so.
    pub(in crate::rules) fn is_one_shot(&self) -> bool {
        let waits = |service: &Entry| {
            service
                .value
                .at(&["depends_on", self.name, "condition"])
                .and_then(Node::as_text)
                == Some("service_completed_successfully")
        };
        self.project.section("services").into_iter().any(waits)
    }

    /// Names of the networks it is on.
    pub(in crate::rules) fn networks(&self) -> Vec<&'a str> {
        match self.get("networks") {
            Some(networks) => networks
                .entries()
                .iter()
                .map(|entry| entry.key.as_str())
                .collect(),
            None if self.get("network_mode").is_some() => Vec::new(),
            None => vec!["default"],
        }
    }
}

/// What was written for a value, variables not yet replaced.
pub(in crate::rules) fn written(node: &Node) -> &str {
    node.place.source.slice(node.place.span)
}
