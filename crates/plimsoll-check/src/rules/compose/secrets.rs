//! Secrets in the text of a service.

use plimsoll_compose_file::{Node, Place, Value};
use plimsoll_diagnostics::Span;

use super::service::{Service, written};
use crate::secret::{self, Secret};

/// A secret in a compose file.
pub(super) struct Found<'a> {
    /// The variable it belongs to.
    pub(super) name: Option<&'a str>,
    /// Where the variable's name stands, where that is a key of its own.
    pub(super) key: Option<&'a Place>,
    /// Whether it is one of the service's `environment`.
    pub(super) in_environment: bool,
    /// Where the value begins in `NAME=value` of a list.
    pub(super) assignment: Option<usize>,
    /// The value as it is written.
    pub(super) node: &'a Node,
    /// What it is, and where in the text of the value.
    pub(super) secret: Secret,
}

impl Found<'_> {
    /// Its bytes in the file.
    pub(super) fn span(&self) -> Span {
        let start = self.node.place.span.start;
        Span::new(start + self.secret.span.start, start + self.secret.span.end)
    }

    /// Whether it is a password in a URL.
    pub(super) fn is_url(&self) -> bool {
        self.secret.kind == secret::IN_URL
    }
}

/// All secrets that stand in the text of a service, variables not replaced: what they come to is somewhere else.
pub(super) fn found<'a>(service: &Service<'a>) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    variables(service.get("environment"), true, &mut found);
    variables(service.at(&["build", "args"]), false, &mut found);
    for entry in service.node.entries() {
        match entry.key.as_str() {
            "environment" => {}
            "build" => {
                let parts = entry.value.entries().iter().filter(|part| part.key != "args");
                parts.for_each(|part| texts(&part.value, &mut found));
            }
            _ => texts(&entry.value, &mut found),
        }
    }
    // Short forms become several values with one text.
    let mut seen = Vec::new();
    found.retain(|one| {
        let place = (one.node.place.source.name.clone(), one.span());
        let is_new = !seen.contains(&place);
        seen.push(place);
        is_new
    });
    found
}

fn variables<'a>(node: Option<&'a Node>, in_environment: bool, found: &mut Vec<Found<'a>>) {
    for entry in node.map_or(&[][..], Node::entries) {
        let (node, name) = (&entry.value, entry.key.as_str());
        let text = written(node);
        // `- NAME=value` has one place for both.
        let (text, assignment) = match text.trim_start_matches(['"', '\'']).strip_prefix(name) {
            Some(rest) if rest.starts_with('=') && entry.place.span == node.place.span => {
                let start = text.len() - rest.len() + 1;
                (text[start..].trim_end_matches(['"', '\'']), Some(start))
            }
            _ => (text, None),
        };
        let Some(mut secret) = secret::of_variable(name, text) else {
            continue;
        };
        let shift = assignment.unwrap_or_default();
        secret.span = Span::new(secret.span.start + shift, secret.span.end + shift);
        found.push(Found {
            name: Some(name),
            key: Some(&entry.place).filter(|_| assignment.is_none()),
            in_environment,
            assignment,
            node,
            secret,
        });
    }
}

/// Tokens and URLs anywhere else: commands, labels, health checks.
fn texts<'a>(node: &'a Node, found: &mut Vec<Found<'a>>) {
    match &node.value {
        Value::Scalar(_) => {
            let of_node = secret::of_text(written(node)).into_iter().map(|secret| Found {
                name: None,
                key: None,
                in_environment: false,
                assignment: None,
                node,
                secret,
            });
            found.extend(of_node);
        }
        Value::List(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Map(entries) => entries.iter().for_each(|entry| texts(&entry.value, found)),
    }
}
