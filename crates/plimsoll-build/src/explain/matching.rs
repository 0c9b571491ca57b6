//! Which step of an earlier build is the same as one of this build.

use crate::record::{BuildRecord, StageRecord, StepRecord};

/// Returns the same step of an earlier build: in the same stage the same instruction, or else whatever stood in its
/// place, if that instruction is gone.
pub(super) fn earlier<'a>(
    record: &BuildRecord,
    step: &StepRecord,
    earlier: &'a BuildRecord,
) -> Option<&'a StepRecord> {
    let ours: Vec<_> = steps_of(record, &step.stage).collect();
    let theirs: Vec<_> = steps_of(earlier, &step.stage).collect();
    let place = ours.iter().position(|other| other.id == step.id)?;
    let ordinal = count(&ours[..place], &step.instruction);
    let mut equal = theirs
        .iter()
        .filter(|other| other.instruction == step.instruction);
    if let Some(found) = equal.nth(ordinal) {
        return Some(found);
    }
    let found = theirs.get(place)?;
    let replaced = count(&theirs, &found.instruction) > count(&ours, &found.instruction);
    (replaced && found.kind == step.kind).then_some(found)
}

/// The steps with a name of one stage, in order.
fn steps_of<'a>(record: &'a BuildRecord, stage: &StageRecord) -> impl Iterator<Item = &'a StepRecord> {
    let same = |other: &StageRecord| {
        let name = match (&stage.name, &other.name) {
            (None, None) => stage.index == other.index,
            (one, other) => one == other,
        };
        name && stage.platform == other.platform
    };
    record
        .steps
        .iter()
        .filter(move |step| step.name.is_some() && same(&step.stage))
}

fn count(steps: &[&StepRecord], instruction: &str) -> usize {
    steps
        .iter()
        .filter(|step| step.instruction == instruction)
        .count()
}
