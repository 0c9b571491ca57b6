//! `manifest inspect`

use std::io::Write as _;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_image::{Document, Images, Peeked};
use plimsoll_oci::ImageRef;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::List;
use crate::command_error::CommandError;
use crate::commands::imagetools::{index, listed};
use crate::context::Context;

/// Show the manifest of an image, or a list of them
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A list that is here or in a registry, or an image; or a list and one of its images
    #[arg(value_name = "MANIFEST", required = true, num_args = 1..=2)]
    names: Vec<ImageRef>,
    /// Show names, descriptors and platforms too
    #[arg(short, long)]
    verbose: bool,
    /// Accepted for Docker's sake: the settings say which registries are insecure
    #[arg(long, hide = true)]
    insecure: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let name = args.names.last().expect("clap asks for one");
    let peeked = match List::load(context, name)? {
        Some(list) => Peeked {
            name: name.clone(),
            top: local(list),
        },
        None => images.peek(name).await?,
    };
    let value = match args.verbose {
        false => serde_json::from_slice(&peeked.top.bytes).unwrap_or_default(),
        true => verbose(&images, &peeked).await?,
    };
    let mut text = Vec::new();
    // Docker's own: lists in threes, everything else by tabs.
    let indent: &[u8] = if value["manifests"].is_array() {
        b"   "
    } else {
        b"\t"
    };
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    value.serialize(&mut serializer).expect("a value is JSON");
    let mut out = context.stdout();
    out.write_all(&text)?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

fn local(list: List) -> Document {
    let entries = list.entries.into_iter().map(|entry| entry.descriptor);
    index(entries.collect(), Map::new())
}

/// Docker's object for an image, a list of them for an index.
async fn verbose(images: &Images, peeked: &Peeked) -> Result<Value, CommandError> {
    let mut all = Vec::new();
    for found in listed(images, peeked).await? {
        let manifest: Value = serde_json::from_slice(&found.part.top.bytes).unwrap_or_default();
        let kind = match found.part.top.media_type.contains(".oci.") {
            true => "OCIManifest",
            false => "SchemaV2Manifest",
        };
        all.push(json!({
            "Ref": found.part.name.to_string(),
            "Descriptor": found.entry,
            "Raw": STANDARD.encode(&found.part.top.bytes),
            kind: manifest,
        }));
    }
    Ok(match (peeked.index()?, all.as_mut_slice()) {
        (None, [one]) => one.take(),
        _ => all.into(),
    })
}
