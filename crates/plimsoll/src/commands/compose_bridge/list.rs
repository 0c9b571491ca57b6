//! `compose bridge transformations list`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_image::{ImageSummary, Images};
use plimsoll_oci::ImageRef;
use serde_json::{Value, json};

use super::LABEL;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::{table, units};

/// List the images that transform projects
///
/// Those with the label `com.docker.compose.bridge=transformation`. `kubernetes` and `helm` are built in.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `table` or `json`
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"])]
    format: Option<String>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let found = transformations(&images)?;
    let mut out = context.stdout();
    if args.quiet {
        for image in &found {
            let name = image.name.as_ref().map(ImageRef::familiar);
            writeln!(out, "{}", name.unwrap_or_else(|| image.image.id.to_string()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.format.as_deref() == Some("json") {
        let rows = found
            .iter()
            .map(|image| as_json(image, &images))
            .collect::<Result<Value, _>>()?;
        writeln!(out, "{rows}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = "IMAGE ID\tREPO\tTAGS\tSIZE".to_owned();
    for image in &found {
        let id = image.image.id.to_string();
        let id = id.strip_prefix("sha256:").unwrap_or(&id);
        let name = image.name.as_ref();
        let repository = name.map_or_else(|| "<none>".to_owned(), ImageRef::familiar_name);
        let tag = name.and_then(ImageRef::tag).unwrap_or("<none>");
        let size = units::human_size(image.size);
        text.push_str(&format!(
            "\n{}\t{repository}\t{tag}\t{size}",
            &id[..id.len().min(12)]
        ));
    }
    out.write_all(table::align_with(&text, 20, 3).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Each image once, under its first name.
fn transformations(images: &Images) -> Result<Vec<ImageSummary>, CommandError> {
    let mut seen = BTreeSet::new();
    let mut found = images.list()?;
    found.retain(|image| {
        let labels = image.image.config.config.labels.as_ref();
        let is_one = labels.is_some_and(|labels| labels.get(LABEL.0).is_some_and(|value| value == LABEL.1));
        is_one && seen.insert(image.image.id.to_string())
    });
    Ok(found)
}

/// The engine's form of a listed image.
fn as_json(image: &ImageSummary, images: &Images) -> Result<Value, CommandError> {
    let text = |names: Vec<ImageRef>| -> Vec<String> { names.iter().map(ImageRef::familiar).collect() };
    let config = &image.image.config;
    let created = config
        .created
        .as_deref()
        .and_then(|time| time.parse::<Timestamp>().ok());
    Ok(json!({
        "Containers": 0,
        "Created": created.map_or(0, Timestamp::as_second),
        "Id": image.image.id.to_string(),
        "Labels": config.config.labels,
        "ParentId": "",
        "RepoDigests": text(images.digests(&image.image)?),
        "RepoTags": text(images.names(&image.image)?),
        "SharedSize": -1,
        "Size": image.size,
    }))
}
