//! What the images are made of: by stage, by instruction, by directory, and what they waste.

use std::collections::BTreeMap;

use plimsoll_build::record::{BuildRecord, StepKind, StepOutcome, StepRecord};
use plimsoll_image::{ImageUsage, LayerUsage, Step, Waste, WasteCause};
use plimsoll_store::SnapshotId;
use serde::Serialize;

use super::page::{Facts, ImageFacts};
use super::treemap::{Cell, treemap};
use crate::output::units::human_size;

/// Rows of waste that are shown.
const WASTE: usize = 12;
/// Colours of layers; the smaller ones share the last.
const COLOURS: usize = 8;

/// What a stage's own steps made.
#[derive(Serialize)]
pub(super) struct Stage {
    name: String,
    size: String,
    is_kept: bool,
    note: String,
    /// Percent of the greatest.
    share: f64,
}

/// One image.
#[derive(Serialize)]
pub(super) struct ImageView {
    platform: String,
    size: String,
    wasted: u64,
    wasted_size: String,
    wasted_percent: String,
    layers: Vec<LayerView>,
    /// Layers without files.
    empty: usize,
    waste: Vec<WasteView>,
    cells: Vec<Cell>,
}

/// A layer with the instruction that made it.
#[derive(Serialize)]
struct LayerView {
    colour: usize,
    instruction: String,
    stage: String,
    size: String,
    wasted: Option<String>,
    /// Percent of the greatest layer.
    share: f64,
    /// Percent of this layer.
    wasted_share: f64,
}

#[derive(Serialize)]
struct WasteView {
    path: String,
    size: String,
    files: u64,
    verb: &'static str,
    by: String,
}

/// Returns the step that made each of the layers, base first; none for those of base images.
///
/// They are the steps from the last one down to its FROM: each of these makes one layer.
pub(super) fn owners(record: &BuildRecord, platform: &str, snapshots: &[SnapshotId]) -> Vec<Option<usize>> {
    let mut owners = vec![None; snapshots.len()];
    let is_last = |step: &&StepRecord| !record.steps.iter().any(|other| other.inputs.contains(&step.id));
    let is_its = |step: &&StepRecord| record.images.len() < 2 || step.stage.platform == platform;
    let mut next = record.steps.iter().rev().filter(is_last).find(is_its);
    let mut layers = owners.iter_mut().zip(snapshots).rev();
    while let Some(step) = next.filter(|step| step.kind != StepKind::From) {
        let Some((owner, snapshot)) = layers.next() else {
            break;
        };
        if step.snapshot.is_none_or(|made| made == snapshot.0) {
            *owner = Some(step.id);
        }
        let below = step.inputs.first().filter(|_| step.on_base);
        next = below.and_then(|below| record.steps.get(*below));
    }
    owners
}

/// Returns every stage with what its own steps made, the base image first of all.
pub(super) fn stages(facts: &Facts<'_>) -> Vec<Stage> {
    let Some(image) = facts.images.first() else {
        return Vec::new();
    };
    let mut base = Sum::default();
    let mut own: BTreeMap<usize, Sum> = BTreeMap::new();
    let of_platform = |step: &&StepRecord| facts.images.len() < 2 || step.stage.platform == image.platform;
    for step in facts
        .record
        .steps
        .iter()
        .filter(of_platform)
        .filter(|step| step.kind != StepKind::From)
    {
        let sum = own
            .entry(step.stage.index)
            .or_insert_with(|| Sum::named(stage_name(step)));
        sum.made += facts.sizes.get(&step.id).unwrap_or(&0);
        sum.is_needed |= step.outcome != StepOutcome::Unneeded;
    }
    for (owner, layer) in image.owners.iter().zip(&image.usage.layers) {
        let stage = owner.map(|step| facts.record.steps[step].stage.index);
        let sum = stage.and_then(|stage| own.get_mut(&stage)).unwrap_or(&mut base);
        sum.kept += layer.size;
    }
    base.made = base.kept;
    base.name = "base image".to_owned();
    let sums: Vec<Sum> = std::iter::once(base).chain(own.into_values()).collect();
    let greatest = sums.iter().map(|sum| sum.made).max().unwrap_or(0);
    sums.into_iter().filter_map(|sum| sum.stage(greatest)).collect()
}

/// Bytes of a stage.
#[derive(Default)]
struct Sum {
    name: String,
    made: u64,
    kept: u64,
    is_needed: bool,
}

impl Sum {
    fn named(name: String) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    fn stage(self, greatest: u64) -> Option<Stage> {
        let note = match (self.kept, self.is_needed) {
            (0, false) => "cached, and nothing asked for it".to_owned(),
            (0, true) => "left behind".to_owned(),
            (kept, _) if kept < self.made => format!("{} of it in the image", human_size(kept)),
            _ => "in the image".to_owned(),
        };
        let is_base_of_nothing = self.made == 0 && self.is_needed;
        (!is_base_of_nothing && !self.name.is_empty()).then(|| Stage {
            is_kept: self.kept > 0,
            size: if self.made > 0 {
                human_size(self.made)
            } else {
                "–".to_owned()
            },
            share: percent(self.made, greatest),
            name: self.name,
            note,
        })
    }
}

fn stage_name(step: &StepRecord) -> String {
    match &step.stage.name {
        Some(name) => name.clone(),
        None => format!("stage-{}", step.stage.index),
    }
}

/// Returns what there is to show of an image.
pub(super) fn image_view(facts: &Facts<'_>, image: &ImageFacts) -> ImageView {
    let usage = &image.usage;
    let by_size = by_size(usage);
    let colour = |layer: usize| {
        by_size
            .iter()
            .position(|other| *other == layer)
            .unwrap_or(0)
            .min(COLOURS)
    };
    let instruction = |layer: usize| image.steps.get(layer).map(Step::instruction).unwrap_or_default();
    let greatest = usage.layers.iter().map(|layer| layer.size).max().unwrap_or(0);
    let layer_view = |number: &usize| {
        let layer: &LayerUsage = &usage.layers[*number];
        let step = image.owners[*number].map(|step| &facts.record.steps[step]);
        LayerView {
            colour: colour(*number),
            instruction: instruction(*number),
            stage: step.map_or("base image".to_owned(), stage_name),
            size: human_size(layer.size),
            wasted: (layer.wasted > 0).then(|| human_size(layer.wasted)),
            share: percent(layer.size, greatest),
            wasted_share: percent(layer.wasted, layer.size),
        }
    };
    let waste_view = |waste: &Waste| WasteView {
        path: format!(
            "{}{}",
            String::from_utf8_lossy(&waste.path),
            if waste.is_directory { "/" } else { "" }
        ),
        size: human_size(waste.size),
        files: waste.files,
        verb: match waste.cause {
            WasteCause::Overwritten => "overwritten",
            WasteCause::Deleted => "deleted",
        },
        by: instruction(waste.by),
    };
    let mut cells = treemap(usage.files());
    cells.iter_mut().for_each(|cell| cell.layer = colour(cell.layer));
    let shown: Vec<_> = by_size
        .iter()
        .filter(|layer| usage.layers[**layer].size > 0)
        .map(layer_view)
        .collect();
    ImageView {
        platform: image.platform.clone(),
        size: human_size(usage.size()),
        wasted: usage.wasted(),
        wasted_size: human_size(usage.wasted()),
        wasted_percent: format!("{:.0}", percent(usage.wasted(), usage.size())),
        empty: usage.layers.len() - shown.len(),
        layers: shown,
        waste: usage.waste.iter().take(WASTE).map(waste_view).collect(),
        cells,
    }
}

/// Numbers of the layers, the greatest first.
fn by_size(usage: &ImageUsage) -> Vec<usize> {
    let mut layers: Vec<usize> = (0..usage.layers.len()).collect();
    layers.sort_by_key(|layer| (std::cmp::Reverse(usage.layers[*layer].size), *layer));
    layers
}

/// Returns the share of a whole.
#[expect(clippy::cast_precision_loss, reason = "it is drawn")]
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
