//! `builder history inspect`, `buildx history inspect`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plimsoll_build::record::{BuildRecord, BuildStatus, PartKind, StepKind};
use serde_json::{Map, Value, json};

use super::{Reference, short_duration};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::json::pretty;
use crate::output::table;
use crate::output::template::Template;

/// Show what is remembered of a build
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reference: Reference,
    /// Print `pretty`, `json`, or what a Go template says
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    format: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (history, mut record) = args.reference.load(context)?;
    history.measure(&mut record);
    let mut out = context.stdout();
    match args.format.as_str() {
        "pretty" => print(&mut out, &record)?,
        "json" => writeln!(out, "{}", pretty(&object(&record)))?,
        template => writeln!(out, "{}", Template::parse(template)?.render(&object(&record))?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// buildx's object; `Record` is all that is remembered.
fn object(record: &BuildRecord) -> Value {
    let options = &record.options;
    let (completed, cached, total) = steps(record);
    let config = non_empty(json!({
        "Network": options.network,
        "ExtraHosts": options.add_hosts,
        "MultiPlatform": options.platforms.len() > 1,
        "NoCache": options.no_cache,
        "NoCacheFilter": options.no_cache_stages,
    }));
    non_empty(json!({
        "Name": record.name,
        "Ref": record.id,
        "Context": record.context.root,
        "Dockerfile": record.dockerfile.name,
        "Target": options.target,
        "Platform": options.platforms,
        "NamedContexts": options.contexts.iter().map(|name| json!({"Name": name})).collect::<Vec<_>>(),
        "StartedAt": record.started,
        "CompletedAt": record.finished,
        "Duration": u64::try_from(duration(record).as_nanos()).unwrap_or(u64::MAX),
        "Status": record.status.as_str(),
        "Error": record.error.as_ref().map(|error| json!({"Message": error.message})),
        "NumCompletedSteps": completed,
        "NumTotalSteps": total,
        "NumCachedSteps": cached,
        "BuildArgs": pairs(&options.build_args),
        "Labels": pairs(&options.labels),
        "Config": config,
        "Materials": materials(record),
        "Record": record,
    }))
}

/// Without what says nothing; numbers stay.
fn non_empty(value: Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let says_something = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    Value::Object(
        fields
            .into_iter()
            .filter(|(_, value)| says_something(value))
            .collect::<Map<_, _>>(),
    )
}

fn pairs(pairs: &BTreeMap<String, String>) -> Vec<Value> {
    let pair = |(name, value): (&String, &String)| json!({"Name": name, "Value": value});
    pairs.iter().map(pair).collect()
}

/// Base images.
fn materials(record: &BuildRecord) -> Vec<Value> {
    let from = record.steps.iter().filter(|step| step.kind == StepKind::From);
    let images = from
        .flat_map(|step| &step.parts)
        .filter(|part| part.kind == PartKind::Image);
    images
        .map(|part| json!({"URI": format!("docker-image://{}", part.name), "Digests": [part.value]}))
        .collect()
}

fn steps(record: &BuildRecord) -> (usize, usize, usize) {
    let named = || record.steps.iter().filter(|step| step.name.is_some());
    let cached = named().filter(|step| step.outcome.is_cached()).count();
    let failed =
        |step: &&plimsoll_build::record::StepRecord| step.outcome.has_run() && step.finished.is_some();
    let ran = named().filter(failed).count();
    (cached + ran, cached, named().count())
}

fn duration(record: &BuildRecord) -> Duration {
    let until = record.finished.unwrap_or_else(Timestamp::now);
    Duration::try_from(until.duration_since(record.started)).unwrap_or_default()
}

fn print(out: &mut dyn Write, record: &BuildRecord) -> io::Result<()> {
    let options = &record.options;
    let mut head = vec![("Name", record.name.clone()), ("Ref", record.id.clone())];
    head.push(("Context", record.context.root.clone()));
    head.push(("Dockerfile", record.dockerfile.name.clone()));
    head.push(("Target", options.target.clone().unwrap_or_default()));
    head.push(("Platforms", options.platforms.join(", ")));
    print_fields(out, &head)?;
    let (completed, cached, total) = steps(record);
    #[expect(clippy::cast_precision_loss, reason = "a percentage of a few steps")]
    let share = cached as f64 * 100.0 / total.max(1) as f64;
    let started = record
        .started
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string();
    let mut times = vec![
        ("Started", started),
        ("Duration", short_duration(duration(record))),
    ];
    match record.status {
        BuildStatus::Failed => {
            times.push((
                "Error",
                record
                    .error
                    .as_ref()
                    .map(|error| error.message.clone())
                    .unwrap_or_default(),
            ));
        }
        BuildStatus::Canceled => times.push(("Status", "Canceled".to_owned())),
        BuildStatus::Completed | BuildStatus::Running => {}
    }
    times.push(("Build Steps", format!("{completed}/{total} ({share:.0}% cached)")));
    print_fields(out, &times)?;
    let flag = |on: bool| if on { "true".to_owned() } else { String::new() };
    let config = [
        ("Network", options.network.clone()),
        ("Extra Hosts", options.add_hosts.join(", ")),
        ("No Cache", flag(options.no_cache)),
        ("No Cache Filter", options.no_cache_stages.join(", ")),
        ("Secrets", options.secrets.join(", ")),
        (
            "Images",
            record
                .images
                .iter()
                .map(|image| image.config_digest.clone())
                .collect::<Vec<_>>()
                .join(", "),
        ),
    ];
    print_fields(out, &config)?;
    print_pairs(out, "BUILD ARG", &options.build_args)?;
    print_pairs(out, "LABEL", &options.labels)?;
    let materials = materials(record);
    if !materials.is_empty() {
        let mut text = "Materials:\nURI\tDIGEST\n".to_owned();
        for material in materials {
            let (uri, digest) = (&material["URI"], &material["Digests"][0]);
            text.push_str(&format!(
                "{}\t{}\n",
                uri.as_str().unwrap_or_default(),
                digest.as_str().unwrap_or_default()
            ));
        }
        writeln!(out, "{}", table::align(text.trim_end()))?;
    }
    for warning in &record.warnings {
        writeln!(out, "{}", warning.shown)?;
    }
    writeln!(
        out,
        "Print build logs: plimsoll builder history logs {}",
        record.id
    )?;
    writeln!(
        out,
        "Why steps ran:    plimsoll builder history explain {}",
        record.id
    )
}

/// Lines of a name and what there is to say, and an empty one; nothing for nothing.
fn print_fields(out: &mut dyn Write, fields: &[(&str, String)]) -> io::Result<()> {
    let lines = fields.iter().filter(|(_, value)| !value.is_empty());
    let lines: Vec<String> = lines.map(|(name, value)| format!("{name}:\t{value}")).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => writeln!(out, "{}", table::align(&lines.join("\n"))),
    }
}

fn print_pairs(out: &mut dyn Write, title: &str, pairs: &BTreeMap<String, String>) -> io::Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}\t{value}"))
        .collect();
    writeln!(
        out,
        "{}",
        table::align(&format!("{title}\tVALUE\n{}", lines.join("\n")))
    )
}
