//! `history`, `image history`

use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plimsoll_image::{Image, Step};
use plimsoll_oci::Platform;
use serde_json::{Value, json};

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::{rows, units};

const MISSING: &str = "<missing>";
const TABLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const TABLE_OF_TIMES: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];
/// Docker cuts CREATED BY to this many characters.
const WIDTH: usize = 45;

/// Show how an image came to be, the latest step first
///
/// SIZE is what the files of the step's layer take; `image du` says where they are, and which of them later steps
/// wasted.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Print a table, `json`, or what a Go template says
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print sizes and dates for people
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    human: bool,
    /// Show whole IDs and instructions
    #[arg(long)]
    no_trunc: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Fail if the image is for another platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let image = images.get_for(&args.image, args.platform.as_ref())?;
    let rows: Vec<Value> = images
        .history(&image)?
        .iter()
        .rev()
        .enumerate()
        .map(|(at, step)| row(&args, (at == 0).then_some(&image), step))
        .collect();
    let mut out = context.stdout();
    if args.quiet && args.format.is_none() {
        for row in &rows {
            writeln!(out, "{}", row["ID"].as_str().unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let table = if args.human { TABLE } else { TABLE_OF_TIMES };
    rows::print(&mut out, args.format.as_deref(), table, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn row(args: &Args, image: Option<&Image>, step: &Step) -> Value {
    let created: Option<Timestamp> = step
        .history
        .created
        .as_deref()
        .and_then(|created| created.parse().ok());
    let id = image.map(|image| {
        if args.no_trunc {
            image.id.to_string()
        } else {
            image.id.short()
        }
    });
    let created_by = step
        .history
        .created_by
        .as_deref()
        .unwrap_or_default()
        .replace('\t', " ");
    json!({
        "Comment": step.history.comment.as_deref().unwrap_or_default(),
        "CreatedAt": created.map_or(String::new(), rfc3339),
        "CreatedBy": if args.no_trunc { created_by } else { cut(&created_by) },
        "CreatedSince": created.map_or("N/A".to_owned(), units::ago),
        "ID": id.as_deref().unwrap_or(MISSING),
        "Size": if args.human { units::human_size(step.size) } else { step.size.to_string() },
    })
}

fn rfc3339(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string()
        .replace("+00:00", "Z")
}

fn cut(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_instructions_are_cut() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(45)).chars().count(), 45);
        assert_eq!(cut(&"é".repeat(46)), format!("{}…", "é".repeat(44)));
    }
}
