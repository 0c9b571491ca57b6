//! `imagetools create`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use plimsoll_image::{Document, Images, Peeked};
use plimsoll_oci::ImageRef;
use serde_json::{Map, Value};

use super::{Listed, index, listed};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Make an index of images that registries have, in a registry
///
/// What the target's registry has not yet is copied to it. A single index goes as it is, with its digest.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Images and indexes to bring together
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    /// Name in a registry; may be given several times
    #[arg(short, long = "tag", value_name = "NAME")]
    tags: Vec<ImageRef>,
    /// Add to what the name means already
    #[arg(long)]
    append: bool,
    /// Print the index instead of pushing it
    #[arg(long)]
    dry_run: bool,
    /// Annotate the index, or an entry: `[index:|manifest-descriptor[PLATFORM]:]KEY=VALUE`
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// Read a source's descriptor from a file
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Make an index even of a single image
    #[arg(long, value_name = "BOOL", default_value = "true", action = clap::ArgAction::Set)]
    prefer_index: bool,
    /// How to show progress [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    progress: Option<Mode>,
    /// Accepted for Docker's sake: there is one builder
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let sources = sources(&args)?;
    if !args.dry_run && args.tags.is_empty() {
        return Err(CommandError::usage("can't push with no tags specified")
            .hint("name the result with `--tag`, or look at it with `--dry-run`"));
    }
    let mut peeked = Vec::new();
    for source in &sources {
        peeked.push(images.peek(source).await?);
    }
    let annotations = args
        .annotations
        .iter()
        .map(|text| Annotation::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let (made, parts) = combine(&images, &peeked, &annotations, args.prefer_index).await?;
    if args.dry_run {
        let mut out = context.stdout();
        out.write_all(&made.bytes)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let display = context.progress("Pushing", args.progress)?;
    let mut pushed = Ok(());
    for tag in &args.tags {
        pushed = images.push_made(tag, &made, &parts, display.progress()).await;
        if pushed.is_err() {
            break;
        }
    }
    display.finish();
    pushed?;
    Ok(ExitCode::SUCCESS)
}

/// Names, and what files say; a digest alone is looked for beside the first tag.
fn sources(args: &Args) -> Result<Vec<ImageRef>, CommandError> {
    let mut texts = args.sources.clone();
    for path in &args.files {
        let text = std::fs::read_to_string(path)
            .map_err(|error| CommandError::user(format!("cannot read `{}`: {error}", path.display())))?;
        let descriptor: Value = serde_json::from_str(&text)
            .map_err(|error| CommandError::user(format!("`{}` is no descriptor: {error}", path.display())))?;
        texts.push(descriptor["digest"].as_str().unwrap_or_default().to_owned());
    }
    if args.append {
        match args.tags.first() {
            Some(tag) => texts.insert(0, tag.to_string()),
            None => return Err(CommandError::usage("`--append` needs a `--tag` to add to")),
        }
    }
    if texts.is_empty() {
        return Err(CommandError::usage("no sources specified"));
    }
    let source = |text: &String| match (text.starts_with("sha256:"), args.tags.first()) {
        (true, Some(tag)) => {
            let digest = text
                .parse()
                .map_err(|error| CommandError::usage(format!("{error}")))?;
            Ok(tag.with_digest(digest))
        }
        _ => Ok(text.parse()?),
    };
    texts.iter().map(source).collect()
}

/// The document to push, and what it is made of.
async fn combine(
    images: &Images,
    sources: &[Peeked],
    annotations: &[Annotation],
    prefer_index: bool,
) -> Result<(Document, Vec<Peeked>), CommandError> {
    let mut all: Vec<Listed> = Vec::new();
    for source in sources {
        for entry in listed(images, source).await? {
            // What comes later takes the place of what is for the same platform and was there.
            all.retain(|known| known.part.top.digest != entry.part.top.digest);
            all.push(entry);
        }
    }
    let parts = |all: Vec<Listed>| all.into_iter().map(|listed| listed.part).collect();
    if let [only] = sources
        && annotations.is_empty()
        && (!prefer_index || only.index()?.is_some())
    {
        return Ok((only.top.clone(), parts(all)));
    }
    let mut own = Map::new();
    for annotation in annotations {
        match &annotation.entry {
            None => {
                own.insert(annotation.key.clone(), annotation.value.as_str().into());
            }
            Some(platform) => annotation.put(&mut all, platform.as_deref()),
        }
    }
    let entries = all.iter().map(|listed| listed.entry.clone()).collect();
    Ok((index(entries, own), parts(all)))
}

struct Annotation {
    /// None: of the index; else of the entries, or those of a platform.
    entry: Option<Option<String>>,
    key: String,
    value: String,
}

impl Annotation {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(CommandError::usage(format!(
                "annotation `{text}` is not KEY=VALUE"
            )));
        };
        let (level, key) = name.split_once(':').unwrap_or(("index", name));
        let (level, platform) = match level.split_once('[') {
            Some((level, platform)) => (level, Some(platform.trim_end_matches(']').to_owned())),
            None => (level, None),
        };
        let entry = match level {
            "index" => None,
            "manifest-descriptor" => Some(platform),
            _ => {
                let message = format!("annotations of type `{level}` cannot be set on an index");
                return Err(CommandError::usage(message)
                    .hint("use `index:` or `manifest-descriptor:`; manifests stay as they are"));
            }
        };
        Ok(Self {
            entry,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    fn put(&self, all: &mut [Listed], platform: Option<&str>) {
        for listed in all {
            let shown = |value: &Value| {
                let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                let variant = part("variant");
                let slash = if variant.is_empty() { "" } else { "/" };
                format!("{}/{}{slash}{variant}", part("os"), part("architecture"))
            };
            let own = listed.entry.get("platform").map(shown);
            if platform.is_some() && own.as_deref() != platform {
                continue;
            }
            let annotations = listed
                .entry
                .entry("annotations")
                .or_insert_with(|| Map::new().into());
            annotations[&self.key] = self.value.as_str().into();
        }
    }
}
