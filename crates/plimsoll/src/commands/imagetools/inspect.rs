//! `imagetools inspect`

use std::io::Write;
use std::process::ExitCode;

use plimsoll_image::{
    ATTESTATION_MANIFEST, Images, PREDICATE_TYPE, Peeked, REFERENCE_DIGEST, REFERENCE_TYPE,
};
use plimsoll_oci::{Descriptor, ImageIndex, ImageRef, Platform};
use serde_json::{Map, Value, json};

use super::images_of;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::template::Template;

/// Show an image or index where it is, without pulling it
///
/// The registry is asked; for what was only built here, the store. Platforms and attestations are listed; a template
/// may print the bill of materials and the provenance.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of an image
    #[arg(value_name = "NAME")]
    name: String,
    /// Print the manifest or index as it is
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// Print what a Go template says of `.Name`, `.Manifest`, `.Image`, `.SBOM` and `.Provenance`
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted for Docker's sake: there is one builder
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let name: ImageRef = args.name.parse()?;
    let peeked = images.peek(&name).await?;
    let mut out = context.stdout();
    if args.raw {
        out.write_all(&peeked.top.bytes)?;
        return Ok(ExitCode::SUCCESS);
    }
    match args.format.as_deref() {
        None => print(&peeked, &mut out)?,
        Some("json") | Some("{{json .}}") => {
            let value = Facts::of(&images, &peeked).await?.value(false);
            writeln!(
                out,
                "{}",
                serde_json::to_string_pretty(&value).unwrap_or_default()
            )?;
        }
        Some(format) => {
            let template = Template::parse(format).map_err(|error| CommandError::usage(error.to_string()))?;
            let value = Facts::of(&images, &peeked).await?.value(true);
            let text = template
                .render(&value)
                .map_err(|error| CommandError::user(error.to_string()))?;
            // As buildx's own function `json` prints it.
            match serde_json::from_str::<Value>(&text) {
                Ok(value @ (Value::Object(_) | Value::Array(_))) => {
                    writeln!(
                        out,
                        "{}",
                        serde_json::to_string_pretty(&value).unwrap_or_default()
                    )?;
                }
                _ => writeln!(out, "{text}")?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// As buildx prints it, in columns that go on through empty lines.
fn print(peeked: &Peeked, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "{:<11}{}", "Name:", peeked.name)?;
    writeln!(out, "{:<11}{}", "MediaType:", peeked.top.media_type)?;
    writeln!(out, "{:<11}{}", "Digest:", peeked.top.digest)?;
    let Some(index) = peeked.index()? else {
        return Ok(());
    };
    writeln!(out, "{:<11}", "")?;
    writeln!(out, "{:<11}", "Manifests:")?;
    let annotated = |entry: &Descriptor| entry.annotations().as_ref().is_some_and(|all| !all.is_empty());
    let width = if index.manifests().iter().any(annotated) {
        15
    } else {
        13
    };
    for (at, entry) in index.manifests().iter().enumerate() {
        if at > 0 {
            writeln!(out, "{:<width$}", "")?;
        }
        writeln!(out, "{:<width$}{}@{}", "  Name:", peeked.name, entry.digest())?;
        writeln!(out, "{:<width$}{}", "  MediaType:", entry.media_type())?;
        if let Some(platform) = entry.platform() {
            let variant = platform
                .variant()
                .as_ref()
                .map_or(String::new(), |variant| format!("/{variant}"));
            let shown = format!("{}/{}{variant}", platform.os(), platform.architecture());
            writeln!(out, "{:<width$}{shown}", "  Platform:")?;
        }
        let Some(annotations) = entry.annotations().as_ref().filter(|all| !all.is_empty()) else {
            continue;
        };
        writeln!(out, "{:<width$}", "  Annotations:")?;
        let mut annotations: Vec<_> = annotations.iter().collect();
        annotations.sort();
        let widest = annotations
            .iter()
            .map(|(key, _)| key.len() + 1)
            .max()
            .unwrap_or(0);
        for (key, value) in annotations {
            writeln!(out, "    {:<widest$} {value}", format!("{key}:"))?;
        }
    }
    Ok(())
}

/// What a template may be about. Of one platform it is there by itself, of several by platform.
struct Facts {
    name: String,
    manifest: Value,
    images: Map<String, Value>,
    sboms: Map<String, Value>,
    provenances: Map<String, Value>,
}

impl Facts {
    async fn of(images: &Images, peeked: &Peeked) -> Result<Self, CommandError> {
        let top = &peeked.top;
        let mut manifest: Value = serde_json::from_slice(&top.bytes).unwrap_or_default();
        manifest["digest"] = top.digest.to_string().into();
        manifest["size"] = top.bytes.len().into();
        let mut facts = Self {
            name: peeked.name.to_string(),
            manifest,
            images: Map::new(),
            sboms: Map::new(),
            provenances: Map::new(),
        };
        match peeked.index()? {
            None => {
                let platform = super::platform(images, peeked).await?;
                let platform = platform.map_or_else(String::new, |platform| platform.to_string());
                facts.image(images, peeked, platform).await?;
            }
            Some(index) => facts.index(images, peeked, &index).await?,
        }
        Ok(facts)
    }

    async fn image(&mut self, images: &Images, image: &Peeked, platform: String) -> Result<(), CommandError> {
        let manifest = image.manifest()?;
        let config = images.peek_blob(image, manifest.config()).await?;
        let config = serde_json::from_slice(&config).unwrap_or_default();
        self.images.insert(platform, config);
        Ok(())
    }

    async fn index(
        &mut self,
        images: &Images,
        whole: &Peeked,
        index: &ImageIndex,
    ) -> Result<(), CommandError> {
        for entry in images_of(index.manifests()) {
            let image = images.peek_part(whole, entry).await?;
            self.image(images, &image, platform_of(entry)).await?;
        }
        for entry in index.manifests() {
            let annotation = |key: &str| entry.annotations().as_ref().and_then(|all| all.get(key)).cloned();
            if annotation(REFERENCE_TYPE).as_deref() != Some(ATTESTATION_MANIFEST) {
                continue;
            }
            let about = annotation(REFERENCE_DIGEST);
            let mut entries = index.manifests().iter();
            let image = entries.find(|image| Some(image.digest().to_string()) == about);
            let platform = image.map_or_else(String::new, platform_of);
            let attestation = images.peek_part(whole, entry).await?;
            self.attested(images, &attestation, &platform).await?;
        }
        Ok(())
    }

    async fn attested(
        &mut self,
        images: &Images,
        attestation: &Peeked,
        platform: &str,
    ) -> Result<(), CommandError> {
        for layer in attestation.manifest()?.layers() {
            let kind = layer
                .annotations()
                .as_ref()
                .and_then(|all| all.get(PREDICATE_TYPE))
                .cloned();
            let kind = kind.unwrap_or_default();
            let spdx = kind == "https://spdx.dev/Document";
            if !spdx && !kind.starts_with("https://slsa.dev/provenance/") {
                continue;
            }
            let statement = images.peek_blob(attestation, layer).await?;
            let mut statement: Value = serde_json::from_slice(&statement).unwrap_or_default();
            let predicate = statement["predicate"].take();
            if !spdx {
                self.provenances
                    .insert(platform.to_owned(), json!({"SLSA": predicate}));
                continue;
            }
            match self.sboms.get_mut(platform) {
                None => {
                    self.sboms.insert(platform.to_owned(), json!({"SPDX": predicate}));
                }
                // Of stages and contexts that were looked at besides.
                Some(known) => match known["AdditionalSPDXs"].as_array_mut() {
                    Some(list) => list.push(predicate),
                    None => known["AdditionalSPDXs"] = json!([predicate]),
                },
            }
        }
        Ok(())
    }

    /// Under the names of Go's fields, or those that they have in JSON.
    fn value(self, fields: bool) -> Value {
        let single = self.images.len() == 1;
        let flat = |map: Map<String, Value>| match single {
            true => map.into_iter().next().map_or(Value::Null, |(_, value)| value),
            false if map.is_empty() => Value::Null,
            false => map.into(),
        };
        let all = [
            ("Name", self.name.into()),
            ("Manifest", self.manifest),
            ("Image", flat(self.images)),
            ("Provenance", flat(self.provenances)),
            ("SBOM", flat(self.sboms)),
        ];
        let mut value = Map::new();
        for (name, field) in all {
            match fields {
                true => value.insert(name.to_owned(), field),
                false if field.is_null() => None,
                false => value.insert(name.to_lowercase(), field),
            };
        }
        value.into()
    }
}

fn platform_of(entry: &Descriptor) -> String {
    let platform = entry.platform().as_ref();
    let platform = platform.map(|platform| {
        let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
        Platform::normalised(&os, &architecture, platform.variant().as_deref()).to_string()
    });
    platform.unwrap_or_default()
}
