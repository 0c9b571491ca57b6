//! `compose images`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_image::{Image, Images};
use plimsoll_oci::ImageRef;
use serde_json::{Value, json};

use super::compose::Scope;
use super::compose::members::{Member, Which};
use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::{table, units};

/// List the images that the containers of a project were made of
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// `table` or `json`
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"])]
    format: Option<String>,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// What a container was made of.
struct Used {
    container: String,
    id: String,
    repository: String,
    tag: String,
    platform: String,
    size: u64,
    tagged: Option<Timestamp>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::by_name(context)?;
    let images = context.images()?;
    let used = scope
        .members(&containers(context)?, &args.services, Which::ALL)?
        .iter()
        .map(|member| used(member, &images))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = context.stdout();
    if args.quiet {
        let ids: BTreeSet<&str> = used.iter().map(|image| image.id.as_str()).collect();
        for id in ids {
            writeln!(out, "{}", id.strip_prefix("sha256:").unwrap_or(id))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.format.as_deref() == Some("json") {
        writeln!(out, "{}", used.iter().map(as_json).collect::<Value>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = "CONTAINER\tREPOSITORY\tTAG\tPLATFORM\tIMAGE ID\tSIZE\tCREATED".to_owned();
    for image in &used {
        let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
        let created = image.tagged.map_or("N/A".to_owned(), units::ago);
        let size = units::human_size(image.size);
        text.push_str(&format!(
            "\n{}\t{}\t{}\t{}\t{}\t{size}\t{created}",
            image.container,
            image.repository,
            image.tag,
            image.platform,
            &id[..id.len().min(12)],
        ));
    }
    out.write_all(table::align_with(&text, 20, 3).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The image may have lost its name, or be gone from the store: then the container still says what it was called.
fn used(member: &Member, images: &Images) -> Result<Used, CommandError> {
    let definition = &member.container.definition;
    let image = images.find(&definition.image_id)?;
    let name = definition.image.parse::<ImageRef>().ok();
    let size = image.as_ref().map(|image| images.size(image)).transpose()?;
    let tagged = image.as_ref().map(|image| since(images, image)).transpose()?;
    Ok(Used {
        container: member.container.name.clone(),
        id: definition.image_id.clone(),
        repository: name
            .as_ref()
            .map_or_else(|| definition.image.clone(), ImageRef::familiar_name),
        tag: name
            .as_ref()
            .and_then(ImageRef::tag)
            .unwrap_or("latest")
            .to_owned(),
        platform: definition.platform.clone(),
        size: size.unwrap_or(0),
        tagged: tagged.flatten(),
    })
}

/// When it got its name, or was made.
fn since(images: &Images, image: &Image) -> Result<Option<Timestamp>, CommandError> {
    let tagged = images.tagged(image)?;
    let tagged = tagged.and_then(|time| Timestamp::from_nanosecond(time.into()).ok());
    let created = || image.config.created.as_deref()?.parse().ok();
    Ok(tagged.or_else(created))
}

fn as_json(image: &Used) -> Value {
    json!({
        "ID": image.id,
        "ContainerName": image.container,
        "Repository": image.repository,
        "Tag": image.tag,
        "Platform": image.platform,
        "Size": image.size,
        "LastTagTime": image.tagged.map(|time| time.to_string()),
    })
}
