//! `volume inspect`

use std::process::ExitCode;

use plimsoll_container::Volume;
use serde_json::{Value, json};

use super::containers::containers;
use super::inspect::Output;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show everything about volumes
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// Volumes, by name
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    args.output
        .print(context, &args.names, |name| volume(context, name))
}

/// What Docker prints for a volume.
pub(crate) fn volume(context: &Context, name: &str) -> Result<Value, CommandError> {
    Ok(describe(&containers(context)?.volume(name)?))
}

fn describe(volume: &Volume) -> Value {
    let map = |map: &std::collections::BTreeMap<String, String>| match map.is_empty() {
        true => Value::Null,
        false => json!(map),
    };
    let mut labels = volume.options.labels.clone();
    if volume.anonymous {
        labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
    }
    json!({
        "CreatedAt": volume.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "Driver": "local",
        "Labels": map(&labels),
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": map(&volume.options.driver),
        "Scope": "local",
    })
}
