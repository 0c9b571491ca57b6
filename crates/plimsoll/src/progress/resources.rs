//! Containers, networks, volumes and images of a project: one line each, in Docker Compose's words.

use jiff::Timestamp;
use plimsoll_progress::{Resource, ResourceState};
use serde_json::{Value, json};

use crate::output::table::width;

/// Frames of the mark of what goes on.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Milliseconds between two of them.
const SPIN: u128 = 100;

/// What goes before it where nothing is really done.
pub(crate) const DRY_RUN: &str = "DRY-RUN MODE -  ";
/// How the id of a thing begins.
const KINDS: [&str; 5] = ["Container", "Network", "Volume", "Image", "Service"];

/// All resources in the order in which they were first heard of.
#[derive(Default)]
pub(super) struct Resources(Vec<Entry>);

struct Entry {
    resource: Resource,
    /// When the work at it began that goes on now, or ended last.
    began: Timestamp,
}

/// One line of a drawing.
pub(super) struct Row {
    pub(super) text: String,
    pub(super) seconds: f64,
    pub(super) state: ResourceState,
}

impl Resources {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a report; a repeated one changes nothing, and false says so.
    pub(super) fn take(&mut self, resource: Resource) -> bool {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.resource.id == resource.id) else {
            let began = resource.timestamp;
            self.0.push(Entry { resource, began });
            return true;
        };
        let known = &entry.resource;
        if (known.state, &known.text, &known.detail) == (resource.state, &resource.text, &resource.detail) {
            return false;
        }
        if known.state != ResourceState::Working && resource.state == ResourceState::Working {
            entry.began = resource.timestamp;
        }
        entry.resource = resource;
        true
    }

    /// `[+] Running 2/3`
    pub(super) fn header(&self) -> String {
        let ready = self
            .0
            .iter()
            .filter(|entry| entry.resource.state != ResourceState::Working);
        format!("[+] Running {}/{}", ready.count(), self.0.len())
    }

    /// At most `room` lines, those of what goes on or went wrong before those of what is ready.
    pub(super) fn rows(&self, now: Timestamp, room: usize) -> Vec<Row> {
        let mut shown: Vec<&Entry> = self.0.iter().collect();
        if shown.len() > room {
            let is_ready = |entry: &&Entry| entry.resource.state == ResourceState::Done;
            let excess = shown.len() - room;
            let mut ready = shown.iter().filter(|entry| is_ready(entry)).count().min(excess);
            shown.retain(|entry| {
                let folded = ready > 0 && is_ready(entry);
                ready -= usize::from(folded);
                !folded
            });
            shown.truncate(room);
        }
        let longest = |part: fn(&Resource) -> &str| {
            let widths = self.0.iter().map(|entry| width(part(&entry.resource)));
            widths.max().unwrap_or(0)
        };
        let (id, text) = (
            longest(|resource| &resource.id),
            longest(|resource| &resource.text),
        );
        shown.into_iter().map(|entry| entry.row(now, id, text)).collect()
    }
}

impl Entry {
    fn row(&self, now: Timestamp, id_width: usize, text_width: usize) -> Row {
        let resource = &self.resource;
        let end = match resource.state {
            ResourceState::Working => now,
            _ => resource.timestamp,
        };
        let elapsed = end.duration_since(self.began);
        let mark = match resource.state {
            ResourceState::Done => "✔",
            ResourceState::Warning => "!",
            ResourceState::Error => "✘",
            ResourceState::Working => {
                let frame = elapsed.as_millis().unsigned_abs() / SPIN;
                SPINNER[usize::try_from(frame % 10).expect("below ten")]
            }
        };
        let Resource { id, text, detail, .. } = resource;
        let id = format!("{id}{:gap$}", "", gap = id_width - width(id));
        let text = format!("{text}{:gap$}", "", gap = text_width - width(text));
        Row {
            text: format!(" {mark} {id}  {text}  {detail}").trim_end().to_owned(),
            seconds: elapsed.as_secs_f64().max(0.0),
            state: resource.state,
        }
    }
}

/// ` Container shop-db-1  Starting`, as Compose prints it without a terminal; what is told of no such thing has one
/// blank: ` db Pulling`.
pub(super) fn plain(resource: &Resource) -> String {
    let Resource { id, text, detail, .. } = resource;
    let thing = id.strip_prefix(DRY_RUN).unwrap_or(id);
    let kind = thing.split_once(' ').map_or("", |(kind, _)| kind);
    // An image that was built is one of them, though it does not say so.
    let is_thing = KINDS.contains(&kind) || matches!(text.as_str(), "Building" | "Built");
    let gap = if is_thing { "  " } else { " " };
    format!(" {id}{gap}{text}{gap}{detail}").trim_end().to_owned()
}

/// Compose's `--progress json`.
pub(super) fn json(resource: &Resource) -> Value {
    let mut value = json!({ "id": resource.id, "status": resource.text });
    if !resource.detail.is_empty() {
        value["details"] = resource.detail.as_str().into();
    }
    if resource.state == ResourceState::Error {
        value["error"] = true.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::fixture::at;
    use super::*;

    fn resource(id: &str, state: ResourceState, text: &str, time: i64) -> Resource {
        Resource {
            id: id.to_owned(),
            state,
            text: text.to_owned(),
            detail: String::new(),
            timestamp: at(time),
        }
    }

    #[test]
    fn time_is_that_of_the_work_at_hand() {
        let mut resources = Resources::default();
        assert!(resources.take(resource(
            "Container a-db-1",
            ResourceState::Working,
            "Creating",
            0
        )));
        assert!(!resources.take(resource(
            "Container a-db-1",
            ResourceState::Working,
            "Creating",
            10
        )));
        resources.take(resource("Container a-db-1", ResourceState::Done, "Created", 100));
        resources.take(resource("Network a_default", ResourceState::Error, "Error", 100));
        resources.take(resource(
            "Container a-db-1",
            ResourceState::Working,
            "Starting",
            200,
        ));
        let rows: Vec<_> = resources
            .rows(at(500), 10)
            .into_iter()
            .map(|row| (row.text, row.seconds))
            .collect();
        assert_eq!(
            rows,
            [
                (" ⠸ Container a-db-1   Starting".to_owned(), 0.3),
                (" ✘ Network a_default  Error".to_owned(), 0.0),
            ]
        );
        assert_eq!(resources.header(), "[+] Running 1/2");
    }

    #[test]
    fn what_goes_on_is_shown_first_when_room_is_short() {
        let mut resources = Resources::default();
        for number in 0..5 {
            resources.take(resource(&format!("c{number}"), ResourceState::Done, "Started", 0));
        }
        resources.take(resource("c5", ResourceState::Working, "Starting", 0));
        let rows = resources.rows(at(0), 2);
        assert!(rows.len() == 2 && rows[1].text.contains("c5"));
    }

    #[test]
    fn the_words_without_a_terminal() {
        let mut stopped = resource("Container a-db-1", ResourceState::Error, "Error", 0);
        assert_eq!(plain(&stopped), " Container a-db-1  Error");
        for (id, text) in [
            ("db", " db Error"),
            (
                "DRY-RUN MODE -  Container a-db-1",
                " DRY-RUN MODE -  Container a-db-1  Error",
            ),
            ("a-db-1 export a-db-1 to x", " a-db-1 export a-db-1 to x Error"),
        ] {
            assert_eq!(plain(&resource(id, ResourceState::Error, "Error", 0)), text);
        }
        stopped.detail = "exited (3)".to_owned();
        assert_eq!(
            json(&stopped).to_string(),
            r#"{"id":"Container a-db-1","status":"Error","details":"exited (3)","error":true}"#
        );
    }
}
