//! `events`, `system events`

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plimsoll_container::FolderWatch;
use plimsoll_store::StoreEvent;
use serde_json::{Value, json};

use super::logs::moment;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::template::Template;

/// Show what happens to containers, images, networks and volumes, as it happens
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Begin with what has happened since a time, or a duration ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End at a time, or a duration ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show what fits: `type=`, `event=`, `container=`, `image=`, `label=`, `network=`, `volume=`
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let now = Timestamp::now();
    let moment = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
    let (since, until) = (moment(&args.since)?.unwrap_or(now), moment(&args.until)?);
    let filters = args
        .filters
        .iter()
        .map(|text| Filter::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let form = Form::parse(args.format.as_deref())?;
    each(context, since, until, |event| {
        if Filter::all_pass(&filters, event) {
            let shown = form.show(event)?;
            let mut out = context.stdout();
            writeln!(out, "{shown}")?;
            out.flush()?;
        }
        Ok(())
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Does `work` with what has happened since a time, and with what happens, until a time if there is one.
pub(super) async fn each(
    context: &Context,
    since: Timestamp,
    until: Option<Timestamp>,
    mut work: impl FnMut(&StoreEvent) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let wrong = |error| CommandError::internal("cannot read the events", error);
    let mut reader = context.store()?.events().read().map_err(wrong)?;
    // Before the first reading, so that nothing falls between it and the watch.
    let watch = FolderWatch::new(reader.folder()).map_err(wrong)?;
    loop {
        while let Some(event) = reader.next_event().map_err(wrong)? {
            let time = time(&event);
            if until.is_some_and(|until| time > until) {
                return Ok(());
            }
            if time >= since {
                work(&event)?;
            }
        }
        let left =
            until.map(|until| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default());
        match left {
            None => watch.changed().await.map_err(wrong)?,
            Some(left) if left.is_zero() => return Ok(()),
            Some(left) => match tokio::time::timeout(left, watch.changed()).await {
                Ok(changed) => changed.map_err(wrong)?,
                Err(_) => return Ok(()),
            },
        }
    }
}

pub(super) fn time(event: &StoreEvent) -> Timestamp {
    Timestamp::from_nanosecond(event.time.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How events are printed.
enum Form {
    Text,
    Json,
    Template(Template),
}

impl Form {
    fn parse(format: Option<&str>) -> Result<Self, CommandError> {
        Ok(match format {
            None | Some("") => Self::Text,
            // The one template that is used for its field names.
            Some("json" | "{{json .}}") => Self::Json,
            Some(template) => Self::Template(Template::parse(template)?),
        })
    }

    fn show(&self, event: &StoreEvent) -> Result<String, CommandError> {
        match self {
            Self::Text => Ok(text(event, &TimeZone::system())),
            Self::Json => Ok(json(event).to_string()),
            Self::Template(template) => Ok(template.render(&fields(event))?),
        }
    }
}

/// `2026-11-21T15:18:14.371210066Z container create 0e22... (image=busybox, name=web)`
fn text(event: &StoreEvent, zone: &TimeZone) -> String {
    let time = time(event).to_zoned(zone.clone());
    let offset = if time.offset().seconds() == 0 {
        "Z".to_owned()
    } else {
        time.strftime("%:z").to_string()
    };
    let mut text = format!(
        "{}{offset} {} {} {}",
        time.strftime("%Y-%m-%dT%H:%M:%S.%9f"),
        event.kind,
        event.action,
        event.id
    );
    if !event.attributes.is_empty() {
        let attributes: Vec<_> = event
            .attributes
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        text.push_str(&format!(" ({})", attributes.join(", ")));
    }
    text
}

/// Containers and images have three fields more, from Docker's oldest interface.
fn json(event: &StoreEvent) -> Value {
    let mut value = json!({
        "status": event.action,
        "id": event.id,
        "from": event.attributes.get("image"),
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "scope": "local",
        "time": event.time / 1_000_000_000,
        "timeNano": event.time,
    });
    if let Some(fields) = value.as_object_mut() {
        if event.kind != "container" {
            fields.shift_remove("from");
        }
        if event.kind != "container" && event.kind != "image" {
            fields.shift_remove("status");
            fields.shift_remove("id");
        }
    }
    value
}

/// What templates see.
fn fields(event: &StoreEvent) -> Value {
    json!({
        "Status": event.action,
        "ID": event.id,
        "From": event.attributes.get("image").cloned().unwrap_or_default(),
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "Scope": "local",
        "Time": event.time / 1_000_000_000,
        "TimeNano": event.time,
    })
}

/// One `--filter`. Those of the same key are alternatives, but labels.
struct Filter {
    key: String,
    value: String,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, CommandError> {
        const KNOWN: &[&str] = &[
            "type",
            "event",
            "container",
            "image",
            "label",
            "network",
            "volume",
            "builder",
            "scope",
            "daemon",
        ];
        let wrong = || CommandError::user(format!("invalid filter `{text}`"));
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        if !KNOWN.contains(&key) {
            let near = plimsoll_dockerfile::nearest(key, KNOWN.iter().copied());
            return Err(near.into_iter().fold(wrong(), |error, near| {
                error.hint(format!("did you mean `{near}`?"))
            }));
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    fn all_pass(filters: &[Self], event: &StoreEvent) -> bool {
        filters.iter().all(|filter| {
            let mut same = filters.iter().filter(|other| other.key == filter.key);
            if filter.key == "label" {
                filter.passes(event)
            } else {
                same.any(|other| other.passes(event))
            }
        })
    }

    fn passes(&self, event: &StoreEvent) -> bool {
        let value = self.value.as_str();
        let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
        let named = |kind: &str| {
            let is_name = attribute("name") == Some(value);
            event.kind == kind && (is_name || (!value.is_empty() && event.id.starts_with(value)))
        };
        match self.key.as_str() {
            "type" => event.kind == value,
            // `exec_create: sh -c ls` and `health_status: healthy` are asked for by their first word, or whole.
            "event" => event.action == value || event.action.split(':').next() == Some(value),
            "container" => {
                named("container") || attribute("container").is_some_and(|id| id.starts_with(value))
            }
            "image" => {
                let without_tag = |name: &str| {
                    name.rsplit_once(':')
                        .map_or(name.to_owned(), |(name, _)| name.to_owned())
                };
                let known = attribute(if event.kind == "image" { "name" } else { "image" });
                named("image") || known.is_some_and(|name| name == value || without_tag(name) == value)
            }
            "label" => match value.split_once('=') {
                Some((name, value)) => attribute(name) == Some(value),
                None => attribute(value).is_some(),
            },
            "scope" => value == "local",
            kind => named(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, action: &str) -> StoreEvent {
        let attributes = [("image", "busybox:1"), ("name", "web"), ("tier", "front")];
        StoreEvent {
            time: 1_795_274_294_371_210_066,
            kind: kind.to_owned(),
            action: action.to_owned(),
            id: "0e2200".to_owned(),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        }
    }

    #[test]
    fn lines_are_dockers() {
        assert_eq!(
            text(&event("container", "create"), &TimeZone::UTC),
            "2026-11-21T15:18:14.371210066Z container create 0e2200 (image=busybox:1, name=web, tier=front)"
        );
        assert_eq!(
            json(&event("container", "die")).to_string(),
            r#"{"status":"die","id":"0e2200","from":"busybox:1","Type":"container","Action":"die","Actor":{"ID":"0e2200","Attributes":{"image":"busybox:1","name":"web","tier":"front"}},"scope":"local","time":1795274294,"timeNano":1795274294371210066}"#
        );
        assert!(json(&event("network", "connect")).get("status").is_none());
    }

    #[test]
    fn filters_choose() {
        let passes = |filters: &[&str], event: &StoreEvent| {
            let filters: Vec<_> = filters.iter().map(|text| Filter::parse(text).unwrap()).collect();
            Filter::all_pass(&filters, event)
        };
        let exec = event("container", "exec_create: sh -c ls");
        for filters in [
            &["type=container"][..],
            &["event=die", "event=exec_create"],
            &["container=web"],
            &["container=0e22"],
            &["image=busybox"],
            &["image=busybox:1", "label=tier=front", "label=tier"],
        ] {
            assert!(passes(filters, &exec), "{filters:?}");
        }
        for filters in [
            &["type=image"][..],
            &["event=die"],
            &["container=we"],
            &["image=busy"],
            &["label=tier", "label=x"],
        ] {
            assert!(!passes(filters, &exec), "{filters:?}");
        }
        assert!(Filter::parse("contaner=x").is_err() && Filter::parse("x").is_err());
    }
}
