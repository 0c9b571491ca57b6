//! `compose events`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plimsoll_compose::labels::{ONE_OFF, PROJECT, SERVICE};
use plimsoll_store::StoreEvent;
use serde_json::json;

use super::compose::Scope;
use super::events::{each, time};
use super::interruptible;
use super::logs::moment;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show what happens to the containers of a project, as it happens
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print an object per line
    #[arg(long)]
    json: bool,
    /// Begin with what has happened since a time, or a duration ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End at a time, or a duration ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(show(args, context)).await
}

async fn show(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let now = Timestamp::now();
    let moment = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
    let (since, until) = (moment(&args.since)?.unwrap_or(now), moment(&args.until)?);
    let scope = Scope::with_services(context, &args.services)?;
    each(context, since, until, |event| {
        let label = |name: &str| event.attributes.get(name).map(String::as_str);
        let service = label(SERVICE).unwrap_or_default();
        let is_asked = args.services.is_empty() || args.services.iter().any(|name| name == service);
        if event.kind != "container"
            || label(PROJECT) != Some(&scope.name)
            || label(ONE_OFF) == Some("True")
            || !is_asked
        {
            return Ok(());
        }
        let mut out = context.stdout();
        match args.json {
            true => writeln!(out, "{}", as_json(event, service))?,
            false => writeln!(out, "{}", as_text(event, &TimeZone::system()))?,
        }
        Ok(out.flush()?)
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// All that are not Compose's own.
fn attributes(event: &StoreEvent) -> BTreeMap<&str, &str> {
    let attributes = event.attributes.iter();
    let foreign = attributes.filter(|(name, _)| !name.starts_with("com.docker.compose."));
    foreign
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// `2026-11-21 18:27:53.228370 container stop b27a31eaf997... (image=busybox, name=shop-db-1)`
fn as_text(event: &StoreEvent, zone: &TimeZone) -> String {
    let time = time(event).to_zoned(zone.clone());
    let attributes: Vec<_> = attributes(event)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{} container {} {} ({})",
        time.strftime("%Y-%m-%d %H:%M:%S.%6f"),
        event.action,
        event.id,
        attributes.join(", ")
    )
}

fn as_json(event: &StoreEvent, service: &str) -> serde_json::Value {
    json!({
        "action": event.action,
        "attributes": attributes(event),
        "id": event.id,
        "service": service,
        "time": time(event).to_string(),
        "type": "container",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_composes() {
        let attributes = [("image", "busybox"), ("name", "t1-db-1"), (SERVICE, "db")];
        let event = StoreEvent {
            time: 1_795_285_673_228_370_487,
            kind: "container".to_owned(),
            action: "stop".to_owned(),
            id: "b27a".to_owned(),
            attributes: attributes
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        assert_eq!(
            as_text(&event, &TimeZone::UTC),
            "2026-11-21 18:27:53.228370 container stop b27a (image=busybox, name=t1-db-1)"
        );
        assert_eq!(
            as_json(&event, "db").to_string(),
            r#"{"action":"stop","attributes":{"image":"busybox","name":"t1-db-1"},"id":"b27a","service":"db","time":"2026-11-21T18:27:53.228370487Z","type":"container"}"#
        );
    }
}
