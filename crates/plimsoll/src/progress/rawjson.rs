//! BuildKit's status objects, one per line.

use std::io::{self, Write};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_progress::Event;
use plimsoll_progress::diagnostics::Diagnostic;
use serde_json::{Value, json};

use super::{Renderer, resources};

/// Writes each event as a `client.SolveStatus` of BuildKit.
pub(super) struct RawJson {
    out: Box<dyn Write + Send>,
}

impl RawJson {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out }
    }
}

/// Go's JSON writes bytes as base64.
fn bytes(data: &[u8]) -> String {
    STANDARD.encode(data)
}

fn status(event: &Event) -> Value {
    match event {
        Event::Vertex(vertex) => json!({"vertexes": [vertex]}),
        Event::Status(status) => json!({"statuses": [status]}),
        Event::Log(log) => json!({"logs": [{
            "vertex": log.vertex,
            "stream": log.stream,
            "data": bytes(&log.data),
            "timestamp": log.timestamp,
        }]}),
        Event::Warning(diagnostic) => json!({"warnings": [warning(diagnostic)]}),
        Event::Resource(resource) => resources::json(resource),
    }
}

fn warning(diagnostic: &Diagnostic) -> Value {
    let place = |offset| {
        let position = diagnostic.source.position(offset);
        json!({"line": position.line, "character": position.column})
    };
    let ranges: Vec<Value> = diagnostic
        .labels
        .iter()
        .map(|label| json!({"start": place(label.span.start), "end": place(label.span.end)}))
        .collect();
    let detail: Vec<String> = diagnostic
        .help
        .iter()
        .map(|help| bytes(help.as_bytes()))
        .collect();
    json!({
        "level": 1,
        "short": bytes(format!("{}: {}", diagnostic.code, diagnostic.message).as_bytes()),
        "detail": detail,
        "sourceInfo": {"filename": &*diagnostic.source.name, "data": bytes(diagnostic.source.text.as_bytes())},
        "range": ranges,
    })
}

impl Renderer for RawJson {
    fn event(&mut self, event: Event) -> io::Result<()> {
        writeln!(self.out, "{}", status(&event))
    }

    fn draw(&mut self, _: Instant) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn events_are_buildkits_status_objects() {
        let screen = fixture::Screen::default();
        let mut raw = RawJson::new(Box::new(screen.clone()));
        fixture::build()
            .into_iter()
            .skip(5)
            .take(4)
            .for_each(|event| raw.event(event).unwrap());
        raw.finish().unwrap();
        insta::assert_snapshot!(screen.take());
    }
}
