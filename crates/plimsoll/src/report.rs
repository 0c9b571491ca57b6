//! `build --report FILE.html`: one page that tells all about a build.
//!
//! Everything is in the file: styles, script, drawings. It asks the network for nothing, and its content security policy
//! forbids all scripts but its own, by their digest; so nothing that a Dockerfile, a file name or a step's output says
//! could run there, even if it were not escaped (it is: the template escapes whatever it is given).

mod page;
mod size;
mod timeline;
mod treemap;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use plimsoll_build::explain::{StepExplanation, explain};
use plimsoll_build::record::{BuildRecord, History, ImageRecord};
use plimsoll_diagnostics::Source;
use plimsoll_dockerfile::{Dockerfile, InstructionKind, Word};
use plimsoll_image::Images;
use plimsoll_oci::{Digest, Platform};
use plimsoll_store::{SnapshotId, Store};
use serde_json::Value;

use crate::command_error::CommandError;
use crate::output::file::PendingFile;
use crate::progress::visible;
use page::{Facts, ImageFacts, Page};

const TEMPLATE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");
/// Lines of output that are shown of each task.
const OUTPUT: usize = 40;
/// Code of the warning about a name that looks like a credential.
const CREDENTIAL: &str = "credential-in-image";
/// Values of fewer bytes are in too many other words to be hidden.
const HIDDEN: usize = 4;
/// Reasons that are told of each step.
const REASONS: usize = 25;

/// A report to be: that its file can be written is known from the beginning.
pub(crate) struct Report {
    file: PendingFile,
}

impl Report {
    /// Makes sure that there is room for the report of a build that is about to begin.
    pub(crate) fn open(path: &Path) -> Result<Self, CommandError> {
        Ok(Self {
            file: PendingFile::create(path)?,
        })
    }

    /// Writes what is known of a build.
    pub(crate) fn write(
        self,
        store: &Store,
        images: &Images,
        record: &BuildRecord,
    ) -> Result<(), CommandError> {
        let images = images_of(images, record)?;
        let facts = Facts {
            record,
            reasons: reasons(store, record),
            output: output(store, record),
            sizes: sizes(store, record, &images),
            images,
            credentials: credentials(record),
        };
        self.file.write(render(&facts)?.as_bytes())
    }
}

fn render(facts: &Facts<'_>) -> Result<String, CommandError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let broken = |error| CommandError::internal("cannot write the report", error);
    let template = environment.template_from_str(TEMPLATE).map_err(broken)?;
    let digest = STANDARD.encode(Digest::of(SCRIPT).as_bytes());
    let mut page = serde_json::to_value(Page::of(facts)).expect("a page is plain data");
    hide(&mut page, &facts.credentials);
    let values = context! { page => Serde(page), style => STYLE, script => SCRIPT, digest };
    template.render(values).map_err(broken)
}

/// Covers `values` wherever they are.
fn hide(page: &mut Value, values: &[String]) {
    match page {
        Value::String(text) => {
            for value in values.iter().filter(|value| !value.is_empty()) {
                *text = text.replace(value.as_str(), "***");
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| hide(one, values)),
        Value::Object(fields) => fields.values_mut().for_each(|one| hide(one, values)),
        _ => {}
    }
}

/// Why steps ran, as far as earlier builds tell.
fn reasons(store: &Store, record: &BuildRecord) -> BTreeMap<usize, Vec<String>> {
    let Ok(explanation) = explain(&History::new(store), record) else {
        return BTreeMap::new();
    };
    let of_step = |step: StepExplanation| {
        let causes = step.causes.iter().map(ToString::to_string);
        let mut all: Vec<String> = causes.chain(step.notes.iter().map(ToString::to_string)).collect();
        let more = all.len().saturating_sub(REASONS);
        if more > 0 {
            all.truncate(REASONS);
            all.push(format!("and {more} more"));
        }
        (step.step, all)
    };
    explanation.steps.into_iter().map(of_step).collect()
}

/// The last lines of every task's output. What cannot be read is not worth failing for.
fn output(store: &Store, record: &BuildRecord) -> BTreeMap<usize, (Vec<String>, usize)> {
    let history = History::new(store);
    let tasks = record.tasks.iter().enumerate();
    let lines = tasks.filter_map(|(place, task)| {
        let pieces = history.output(&record.id, task).ok()?;
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.data).collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let omitted = lines.len().saturating_sub(OUTPUT);
        let shown = lines[omitted..].iter().map(|line| visible(line)).collect();
        (!lines.is_empty()).then_some((place, (shown, omitted)))
    });
    lines.collect()
}

/// Bytes of what each step made: its snapshot's, or where nobody asked for that, its layer's.
fn sizes(store: &Store, record: &BuildRecord, images: &[ImageFacts]) -> BTreeMap<usize, u64> {
    let layers = images
        .iter()
        .flat_map(|image| image.owners.iter().zip(&image.usage.layers));
    let layers = layers.filter_map(|(owner, layer)| Some(((*owner)?, layer.size)));
    let snapshots = record.steps.iter().filter_map(|step| {
        let size = store.snapshots().size(SnapshotId(step.snapshot?)).ok()?;
        Some((step.id, size))
    });
    layers.chain(snapshots).collect()
}

/// What the Dockerfile sets as the values of names that look like credentials: a page that people hand on does not tell
/// them.
fn credentials(record: &BuildRecord) -> Vec<String> {
    let warnings = record
        .warnings
        .iter()
        .filter(|warning| warning.code == CREDENTIAL);
    let names: Vec<&str> = warnings
        .filter_map(|warning| warning.message.split('`').nth(1))
        .collect();
    let source = Source::new(record.dockerfile.name.as_str(), record.dockerfile.text.as_str());
    let mut values = Vec::new();
    for instruction in &Dockerfile::parse(&source).dockerfile.instructions {
        let words: Vec<(&str, &Word)> = match &instruction.kind {
            InstructionKind::Arg(all) => all
                .iter()
                .filter_map(|argument| Some((argument.name.value.as_str(), argument.default.as_ref()?)))
                .collect(),
            InstructionKind::Env(pairs) => pairs
                .iter()
                .map(|pair| (pair.key.value.as_str(), &pair.value))
                .collect(),
            _ => continue,
        };
        for (_, word) in words.into_iter().filter(|(name, _)| names.contains(name)) {
            let written = &record.dockerfile.text[word.span.start..word.span.end];
            values.extend([&word.value, written].map(|text| text.trim_matches(['"', '\'']).to_owned()));
        }
    }
    values.retain(|value| value.len() >= HIDDEN);
    // The longest first, as one may be part of another.
    values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    values.dedup();
    values
}

fn images_of(images: &Images, record: &BuildRecord) -> Result<Vec<ImageFacts>, CommandError> {
    let facts = |built: &ImageRecord| -> Result<Option<ImageFacts>, CommandError> {
        let platform = built.platform.parse::<Platform>().ok();
        // Exported elsewhere and not kept here, it may have gone already.
        let Ok(image) = images.get_for(&built.config_digest, platform.as_ref()) else {
            return Ok(None);
        };
        let mut steps = images.history(&image)?;
        steps.retain(|step| step.layer.is_some());
        Ok(Some(ImageFacts {
            platform: built.platform.clone(),
            usage: images.usage(&image)?,
            steps,
            owners: size::owners(record, &built.platform, &images.layer_snapshots(&image)?),
        }))
    };
    let found: Result<Vec<_>, _> = record.images.iter().map(facts).collect();
    Ok(found?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests;
