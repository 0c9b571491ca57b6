//! `images`, `image ls`

use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plimsoll_image::{ImageSummary, Images};
use plimsoll_oci::ImageRef;
use serde_json::{Value, json};

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::{rows, units};

const NONE: &str = "<none>";
const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const HEADERS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];

/// List images
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show only images of this repository; `*` stands for a part of it
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
    /// Accepted for Docker's sake: there are no intermediate images
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Show only what matches: `reference=PATTERN`, `dangling=true|false`, `label=KEY[=VALUE]`, `before=IMAGE`,
    /// `since=IMAGE`
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// Print a table, `json`, or what a Go template says
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show whole IDs
    #[arg(long)]
    no_trunc: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    tree: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let filter = Filter::new(&args, &images)?;
    let mut lines = images.list()?;
    lines.retain(|line| filter.keeps(line));
    let rows: Vec<Value> = lines.iter().map(|line| row(line, args.no_trunc)).collect();
    let mut out = context.stdout();
    if args.quiet && args.format.is_none() {
        for row in &rows {
            writeln!(out, "{}", row["ID"].as_str().unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let table = if args.digests { TABLE_WITH_DIGESTS } else { TABLE };
    rows::print(&mut out, args.format.as_deref(), table, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn row(line: &ImageSummary, no_trunc: bool) -> Value {
    let id = &line.image.id;
    let created = line
        .image
        .config
        .created
        .as_deref()
        .and_then(|created| created.parse().ok());
    let name = line.name.as_ref();
    json!({
        "Containers": "N/A",
        "CreatedAt": created.map_or("N/A".to_owned(), created_at),
        "CreatedSince": created.map_or("N/A".to_owned(), units::ago),
        "Digest": line.digest.map_or(NONE.to_owned(), |digest| digest.to_string()),
        "ID": if no_trunc { id.to_string() } else { id.short() },
        "Repository": name.map_or(NONE.to_owned(), ImageRef::familiar_name),
        "SharedSize": "N/A",
        "Size": units::human_size(line.size),
        "Tag": name.and_then(ImageRef::tag).unwrap_or(NONE),
        "UniqueSize": "N/A",
        "VirtualSize": units::human_size(line.size),
    })
}

/// A time as Go prints it: `2024-01-02 03:04:05 +0000 UTC`.
pub(crate) fn created_at(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %z %Z")
        .to_string()
}

/// What all lines must fulfil.
#[derive(Default)]
struct Filter {
    references: Vec<String>,
    dangling: Option<bool>,
    labels: Vec<String>,
    before: Option<String>,
    since: Option<String>,
}

impl Filter {
    fn new(args: &Args, images: &Images) -> Result<Self, CommandError> {
        let mut filter = Self {
            references: args.reference.iter().cloned().collect(),
            ..Self::default()
        };
        let created = |name: &str| -> Result<_, CommandError> { Ok(images.get(name)?.config.created) };
        for text in &args.filters {
            match text.split_once('=') {
                Some(("reference", pattern)) => filter.references.push(pattern.to_owned()),
                Some(("dangling", "true" | "1")) => filter.dangling = Some(true),
                Some(("dangling", "false" | "0")) => filter.dangling = Some(false),
                Some(("label", label)) => filter.labels.push(label.to_owned()),
                Some(("before", name)) => filter.before = created(name)?,
                Some(("since", name)) => filter.since = created(name)?,
                _ => {
                    return Err(CommandError::user(format!("invalid filter `{text}`"))
                        .hint("filters are `reference=`, `dangling=`, `label=`, `before=` and `since=`"));
                }
            }
        }
        Ok(filter)
    }

    fn keeps(&self, line: &ImageSummary) -> bool {
        let labels = line.image.config.config.labels.clone().unwrap_or_default();
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
            None => labels.contains_key(wanted),
        };
        let created = &line.image.config.created;
        let tagged = line.name.as_ref().is_some_and(|name| name.tag().is_some());
        self.labels.iter().all(has)
            && self.dangling.is_none_or(|dangling| dangling != tagged)
            && self
                .before
                .as_ref()
                .is_none_or(|before| created.as_ref().is_some_and(|created| created < before))
            && self
                .since
                .as_ref()
                .is_none_or(|since| created.as_ref().is_some_and(|created| created > since))
            && self.keeps_name(line.name.as_ref())
    }

    /// One pattern must match the name with or without its tag.
    fn keeps_name(&self, name: Option<&ImageRef>) -> bool {
        let matches = |pattern: &String, text: &str| {
            plimsoll_dockerfile::glob_match(pattern.as_bytes(), text.as_bytes()).unwrap_or(false)
        };
        self.references.is_empty()
            || name.is_some_and(|name| {
                let texts = [name.familiar(), name.familiar_name(), name.to_string()];
                self.references
                    .iter()
                    .any(|pattern| texts.iter().any(|text| matches(pattern, text)))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_as_docker_shows_them() {
        let matches = |pattern: &str, name: &str| {
            let filter = Filter {
                references: vec![pattern.to_owned()],
                ..Filter::default()
            };
            filter.keeps_name(Some(&name.parse().unwrap()))
        };
        assert!(matches("busybox", "busybox:1.36"));
        assert!(matches("busybox:1.*", "busybox:1.36"));
        assert!(matches("b*", "busybox"));
        assert!(matches("ghcr.io/*/app", "ghcr.io/team/app:2"));
        assert!(!matches("busy", "busybox"));
        assert!(!matches("*", "ghcr.io/team/app"), "`*` stops at a slash");
        assert!(
            !Filter {
                references: vec!["*".to_owned()],
                ..Filter::default()
            }
            .keeps_name(None)
        );
    }
}
