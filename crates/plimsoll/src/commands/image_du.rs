//! `image du`

use std::io::Write;
use std::process::ExitCode;

use plimsoll_image::{DirectoryUsage, Image, ImageUsage, Images, Step, Waste, WasteCause};
use plimsoll_oci::{ImageRef, Platform};
use serde_json::{Value, json};

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::template::Template;
use crate::output::units::human_size;
use crate::output::{json as json_text, table};

/// Characters of an instruction in a table.
const WIDTH: usize = 60;

/// Show what an image costs, by instruction and by directory, and what it wastes
///
/// A file that a later instruction writes again or deletes stays in its layer: it is pushed, pulled and stored, and no
/// container ever sees it. Changing only the mode or owner of a file does the same. Sizes are bytes of files, as in
/// `history`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
    /// How deep directories are looked into
    #[arg(long, value_name = "N", default_value_t = 2)]
    depth: usize,
    /// Rows of each table; 0: all of them
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Print tables, `json` (everything, whatever `--top`), or what a Go template says
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show whole instructions
    #[arg(long)]
    no_trunc: bool,
    /// Fail if the image is for another platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let image = images.get_for(&args.image, args.platform.as_ref())?;
    let cost = Cost::of(&images, image, args.depth)?;
    let mut out = context.stdout();
    match args.format.as_deref() {
        None | Some("" | "table") => out.write_all(cost.tables(&args).as_bytes())?,
        Some("json") => writeln!(out, "{}", json_text::pretty(&cost.json()))?,
        Some(template) => writeln!(out, "{}", Template::parse(template)?.render(&cost.json())?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// All there is to tell.
struct Cost {
    image: Image,
    names: Vec<String>,
    usage: ImageUsage,
    /// Those with a layer, base first, so that their places are the layers' numbers.
    steps: Vec<Step>,
    directories: Vec<DirectoryUsage>,
}

impl Cost {
    fn of(images: &Images, image: Image, depth: usize) -> Result<Self, CommandError> {
        let usage = images.usage(&image)?;
        let mut steps = images.history(&image)?;
        steps.retain(|step| step.layer.is_some());
        Ok(Self {
            names: images.names(&image)?.iter().map(ImageRef::familiar).collect(),
            directories: usage.directories(depth),
            steps,
            usage,
            image,
        })
    }

    fn files(&self) -> u64 {
        self.usage.layers.iter().map(|layer| layer.files).sum()
    }

    fn json(&self) -> Value {
        let layers = self.steps.iter().zip(&self.usage.layers).enumerate();
        let layer = |(place, (step, cost)): (usize, (&Step, &plimsoll_image::LayerUsage))| {
            json!({
                "layer": place + 1,
                "diffId": self.image.config.rootfs.diff_ids.get(place),
                "instruction": step.instruction(),
                "createdBy": step.history.created_by,
                "created": step.history.created,
                "size": cost.size,
                "files": cost.files,
                "wasted": cost.wasted,
            })
        };
        json!({
            "id": self.image.id,
            "names": self.names,
            "platform": self.image.config.platform().to_string(),
            "size": self.usage.size(),
            "files": self.files(),
            "wasted": self.usage.wasted(),
            "layers": layers.map(layer).collect::<Vec<_>>(),
            "directories": self.directories.iter().map(|row| json!({
                "path": String::from_utf8_lossy(&row.path),
                "size": row.size,
                "files": row.files,
                "wasted": row.wasted,
            })).collect::<Vec<_>>(),
            "waste": self.usage.waste.iter().map(|row| json!({
                "path": String::from_utf8_lossy(&row.path),
                "isDirectory": row.is_directory,
                "size": row.size,
                "files": row.files,
                "layer": row.layer + 1,
                "by": row.by + 1,
                "cause": row.cause,
            })).collect::<Vec<_>>(),
        })
    }

    fn tables(&self, args: &Args) -> String {
        let (size, wasted) = (self.usage.size(), self.usage.wasted());
        let name = self
            .names
            .first()
            .cloned()
            .unwrap_or_else(|| self.image.id.short());
        let mut text = format!(
            "{name} ({}): {} in {}, {}\n",
            self.image.config.platform(),
            human_size(size),
            counted(self.usage.layers.len() as u64, "layer"),
            counted(self.files(), "file"),
        );
        if wasted > 0 {
            let percent = percent(wasted, size);
            text.push_str(&format!(
                "{} of it ({percent}) no container sees\n",
                human_size(wasted)
            ));
        }
        text.push_str(&self.layer_table(args));
        text.push_str(&self.directory_table(args.top));
        text.push_str(&self.waste_table(args));
        text
    }

    fn layer_table(&self, args: &Args) -> String {
        let mut layers: Vec<_> = self.usage.layers.iter().enumerate().collect();
        layers.sort_by_key(|(place, layer)| (std::cmp::Reverse(layer.size), *place));
        let row = |(place, layer): &(usize, &plimsoll_image::LayerUsage)| {
            format!(
                "{}\t{}\t{}\t{}\t{}",
                human_size(layer.size),
                human_size(layer.wasted),
                layer.files,
                place + 1,
                self.instruction(*place, args.no_trunc)
            )
        };
        section("SIZE\tWASTED\tFILES\tLAYER\tINSTRUCTION", &layers, args.top, row)
    }

    fn directory_table(&self, top: usize) -> String {
        section("SIZE\tWASTED\tFILES\tDIRECTORY", &self.directories, top, |row| {
            format!(
                "{}\t{}\t{}\t{}",
                human_size(row.size),
                human_size(row.wasted),
                row.files,
                printable(&row.path)
            )
        })
    }

    fn waste_table(&self, args: &Args) -> String {
        let row = |waste: &Waste| {
            let slash = if waste.is_directory { "/" } else { "" };
            let cause = match waste.cause {
                WasteCause::Overwritten => "overwritten",
                WasteCause::Deleted => "deleted",
            };
            format!(
                "{}\t{}\t{}\t{}{slash}\t{cause} by {}: {}",
                human_size(waste.size),
                waste.files,
                waste.layer + 1,
                printable(&waste.path),
                waste.by + 1,
                self.instruction(waste.by, args.no_trunc)
            )
        };
        section(
            "WASTED\tFILES\tLAYER\tPATH\tWHY",
            &self.usage.waste,
            args.top,
            row,
        )
    }

    fn instruction(&self, layer: usize, whole: bool) -> String {
        let text = self.steps.get(layer).map(Step::instruction).unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = printable(words.join(" ").as_bytes());
        match whole || line.chars().count() <= WIDTH {
            true => line,
            false => line.chars().take(WIDTH - 1).chain(['…']).collect(),
        }
    }
}

/// A table after an empty line, and how many rows are left out; nothing when there are none.
fn section<T>(headers: &str, rows: &[T], top: usize, line: impl Fn(&T) -> String) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let shown = if top == 0 { rows.len() } else { top.min(rows.len()) };
    let lines: Vec<String> = rows[..shown].iter().map(line).collect();
    let mut text = format!("\n{}", table::align(&format!("{headers}\n{}", lines.join("\n"))));
    if shown < rows.len() {
        text.push_str(&format!("... and {} more\n", rows.len() - shown));
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn percent(part: u64, whole: u64) -> String {
    format!("{}%", u128::from(part) * 100 / u128::from(whole.max(1)))
}

/// Names in images are anybody's: what would move the cursor is shown as it would be escaped.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_say_what_they_leave_out() {
        let rows = [1, 2, 3];
        let text = section("A\tB", &rows, 2, |row| format!("{row}\t{row}"));
        assert_eq!(text, "\nA         B\n1         1\n2         2\n... and 1 more\n");
        assert_eq!(section("A", &rows, 0, ToString::to_string).lines().count(), 5);
        assert_eq!(section("A", &rows[..0], 0, ToString::to_string), "");
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(printable(b"a\x1b[2Jb\xff"), "a\\u{1b}[2Jb\u{fffd}");
    }
}
