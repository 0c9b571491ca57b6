//! Comparing the steps of two builds.

use plimsoll_store::Store;

use super::files;
use super::matching::earlier;
use super::{Cause, Compared, Explanation, Note, StepExplanation, Variable};
use crate::record::{
    BuildRecord, BuildStatus, History, HistoryError, Part, PartKind, StepKind, StepOutcome, StepRecord,
};

/// So many earlier builds are looked at.
const LOOK_BACK: usize = 20;

/// A build and the earlier ones of the same Dockerfile and context, the best to compare with first.
pub(super) struct Comparison<'a> {
    store: &'a Store,
    record: &'a BuildRecord,
    earlier: Vec<BuildRecord>,
}

/// A step and the same one of an earlier build.
#[derive(Clone, Copy)]
struct Pair<'a> {
    new: &'a StepRecord,
    old: &'a StepRecord,
    /// The earlier build.
    then: &'a BuildRecord,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(history: &'a History, record: &'a BuildRecord) -> Result<Self, HistoryError> {
        let alike = |then: &BuildRecord| {
            let (now, then) = (&record.options, &then.options);
            now.build_args == then.build_args && now.platforms == then.platforms
        };
        let file_name = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let mut earlier = Vec::new();
        for summary in history.list()? {
            // A name depends on where the command ran.
            let same = file_name(&summary.detail.dockerfile) == file_name(&record.dockerfile.name)
                && summary.detail.context == record.context.root;
            let before = summary.started < record.started && summary.status != BuildStatus::Running;
            if same && before && summary.id != record.id && earlier.len() < LOOK_BACK {
                // One without a record was killed.
                earlier.extend(history.load(&summary.id).ok());
            }
        }
        // Stable: of those the latest first.
        earlier.sort_by_key(|then| (then.dockerfile.name != record.dockerfile.name, !alike(then)));
        Ok(Self::of(history.store(), record, earlier))
    }

    pub(super) fn of(store: &'a Store, record: &'a BuildRecord, earlier: Vec<BuildRecord>) -> Self {
        Self {
            store,
            record,
            earlier,
        }
    }

    pub(super) fn explain(&self) -> Explanation {
        let named = self.record.steps.iter().filter(|step| step.name.is_some());
        Explanation {
            build: self.record.id.clone(),
            steps: named.map(|step| self.step(step)).collect(),
        }
    }

    fn step(&self, step: &StepRecord) -> StepExplanation {
        let mut explained = StepExplanation {
            step: step.id,
            name: step.name.clone().unwrap_or_default(),
            place: step.place.clone(),
            outcome: step.outcome,
            same_as_earlier: step.same_as_earlier,
            compared_with: None,
            causes: Vec::new(),
            notes: Vec::new(),
        };
        if !step.outcome.has_run() {
            return explained;
        }
        let Some(pair) = self.pair(step) else {
            explained.causes = match has(step, PartKind::NoCache) {
                true => vec![Cause::NoCache],
                false if self.earlier.is_empty() => vec![Cause::FirstBuild],
                false => vec![Cause::NewStep],
            };
            return explained;
        };
        explained.compared_with = Some(Compared {
            build: pair.then.id.clone(),
            started: pair.then.started,
        });
        explained.causes = self.causes(pair);
        if explained.causes.is_empty() {
            explained.causes.push(match pair.old.outcome {
                StepOutcome::Failed => Cause::FailedBefore,
                StepOutcome::Unfinished => Cause::Interrupted,
                _ => Cause::Removed,
            });
        }
        explained.notes = self.notes(step);
        explained
    }

    /// The same step of the first earlier build that got as far.
    fn pair(&'a self, step: &'a StepRecord) -> Option<Pair<'a>> {
        self.earlier.iter().find_map(|then| {
            let old = earlier(self.record, step, then)?;
            let reached = old.outcome != StepOutcome::Unfinished || old.started.is_some();
            (reached && old.key.is_some()).then_some(Pair { new: step, old, then })
        })
    }

    fn causes(&'a self, pair: Pair<'a>) -> Vec<Cause> {
        let mut causes = Vec::new();
        if has(pair.new, PartKind::NoCache) {
            causes.push(Cause::NoCache);
        }
        causes.extend(variables(pair));
        causes.extend(command(
            pair,
            causes.iter().any(|cause| matches!(cause, Cause::Variable(_))),
        ));
        causes.extend(settings(pair));
        causes.extend(self.files(pair));
        causes.extend(self.inputs(pair));
        causes
    }

    /// What a COPY reads.
    fn files(&self, pair: Pair<'_>) -> Vec<Cause> {
        let Some(new) = part(pair.new, PartKind::Files, "") else {
            return Vec::new();
        };
        let Some(old) = self.old_files(pair) else {
            return Vec::new();
        };
        if new.value == old {
            return Vec::new();
        }
        let (then, now) = (&pair.then.context, &self.record.context);
        let mut changes = files::changes(self.store, &old, &new.value, then, now);
        if !differing(pair, &[PartKind::Command]).is_empty() {
            // Other paths name other files; what those that stayed hold may be a cause besides.
            changes.retain(|cause| matches!(cause, Cause::File(change) if change.is_of_both()));
        }
        changes
    }

    /// The list that the earlier step read. If it was found by its definition it read none, but then an earlier one of
    /// that definition did.
    fn old_files(&self, pair: Pair<'_>) -> Option<String> {
        let list = |step: &StepRecord| part(step, PartKind::Files, "").map(|part| part.value.clone());
        list(pair.old).or_else(|| self.with_key(pair.old).find_map(list))
    }

    /// The earlier steps of the same definition.
    fn with_key<'b>(&'b self, step: &'b StepRecord) -> impl Iterator<Item = &'b StepRecord> {
        let steps = self.earlier.iter().flat_map(|then| &then.steps);
        steps.filter(|other| other.key.is_some() && other.key == step.key)
    }

    fn inputs(&'a self, pair: Pair<'a>) -> Vec<Cause> {
        let (new, old) = (pair.new, pair.old);
        if new.inputs.len() != old.inputs.len() || new.on_base != old.on_base {
            // The base came or went, or mounts did, which the instruction says.
            return Vec::new();
        }
        let is_copy = matches!(new.kind, StepKind::Copy | StepKind::Add);
        let mut causes = Vec::new();
        for (at, (&one, &other)) in new.inputs.iter().zip(&old.inputs).enumerate() {
            let is_base = new.on_base && at == 0;
            let known = match (is_base, is_copy) {
                (true, _) => false,
                // The list of what is read was compared.
                (false, true) => has(new, PartKind::Files) && self.old_files(pair).is_some(),
                (false, false) => same_mounts(pair),
            };
            if !known {
                causes.extend(self.input(Pair {
                    new: &self.record.steps[one],
                    old: &pair.then.steps[other],
                    then: pair.then,
                }));
            }
        }
        causes
    }

    /// What an input has to do with it.
    fn input(&'a self, pair: Pair<'a>) -> Vec<Cause> {
        if self.same_result(pair) {
            return Vec::new();
        }
        let (new, old) = (pair.new, pair.old);
        match new.kind {
            StepKind::From => variables(pair).chain(base_image(pair)).collect(),
            StepKind::Link if new.kind == old.kind => self.inputs(pair),
            _ if new.name.is_none() && new.kind == old.kind => match self.causes(pair) {
                causes if causes.is_empty() => vec![Cause::Files],
                causes => causes,
            },
            _ => vec![Cause::Parent {
                step: new.id,
                name: new.name.clone().unwrap_or_else(|| new.instruction.clone()),
            }],
        }
    }

    /// Cache mounts that had to be made, though a run of an earlier build had them.
    fn notes(&self, step: &StepRecord) -> Vec<Note> {
        let had = |name: &str| {
            let mut before = self
                .earlier
                .iter()
                .filter_map(|then| earlier(self.record, step, then));
            before.any(|old| part(old, PartKind::CacheMount, name).is_some())
        };
        let made = step.parts.iter();
        let made = made.filter(|part| part.kind == PartKind::CacheMount && part.value == "new");
        made.filter(|part| had(&part.name))
            .map(|part| Note::CacheMountGone {
                id: part.name.clone(),
            })
            .collect()
    }

    fn same_result(&self, pair: Pair<'_>) -> bool {
        if pair.new.key == pair.old.key {
            return true;
        }
        let known = || self.with_key(pair.old).find_map(|step| step.content.as_ref());
        let old = pair.old.content.as_ref().or_else(known);
        old.is_some() && pair.new.content.as_ref() == old
    }
}

fn part<'a>(step: &'a StepRecord, kind: PartKind, name: &str) -> Option<&'a Part> {
    step.parts
        .iter()
        .find(|part| part.kind == kind && part.name == name)
}

fn has(step: &StepRecord, kind: PartKind) -> bool {
    step.parts.iter().any(|part| part.kind == kind)
}

/// Parts of some kinds that differ, as they were and as they are.
fn differing<'a>(pair: Pair<'a>, kinds: &[PartKind]) -> Vec<(Option<&'a Part>, Option<&'a Part>)> {
    let of = |step: &'a StepRecord| step.parts.iter().filter(|part| kinds.contains(&part.kind));
    let mut found = Vec::new();
    for new in of(pair.new) {
        let old = part(pair.old, new.kind, &new.name);
        if old.is_none_or(|old| old.value != new.value) {
            found.push((old, Some(new)));
        }
    }
    let gone = of(pair.old).filter(|old| part(pair.new, old.kind, &old.name).is_none());
    found.extend(gone.map(|old| (Some(old), None)));
    found
}

fn variables(pair: Pair<'_>) -> impl Iterator<Item = Cause> {
    let differing = differing(pair, &[PartKind::Arg, PartKind::Env]);
    differing.into_iter().filter_map(|(old, new)| {
        let some = new.or(old)?;
        Some(Cause::Variable(Variable {
            kind: if some.kind == PartKind::Arg { "ARG" } else { "ENV" },
            name: some.name.clone(),
            old: old.map(|part| part.value.clone()),
            new: new.map(|part| part.value.clone()),
            hidden: some.hidden,
            first_seen: None,
        }))
    })
}

/// The instruction. What only follows from a variable in it needs no word.
fn command(pair: Pair<'_>, variable: bool) -> Option<Cause> {
    let (new, old) = (pair.new, pair.old);
    if new.instruction != old.instruction {
        return Some(Cause::Instruction {
            old: old.instruction.clone(),
            new: new.instruction.clone(),
        });
    }
    let (old, new) = differing(pair, &[PartKind::Command]).pop()?;
    (!variable).then(|| Cause::Instruction {
        old: old.map(|part| part.value.clone()).unwrap_or_default(),
        new: new.map(|part| part.value.clone()).unwrap_or_default(),
    })
}

fn settings(pair: Pair<'_>) -> Vec<Cause> {
    let rewritten = pair.new.instruction != pair.old.instruction;
    let kinds = [
        PartKind::Option,
        PartKind::Workdir,
        PartKind::User,
        PartKind::Document,
        PartKind::Mount,
        PartKind::Url,
        PartKind::Commit,
    ];
    let mut causes = Vec::new();
    for (old, new) in differing(pair, &kinds) {
        let Some(some) = new.or(old) else { continue };
        // What the instruction itself says was told with it.
        let of_instruction = matches!(some.kind, PartKind::Mount | PartKind::Document)
            || (some.kind == PartKind::Option && !some.name.starts_with("--add-host"));
        let workdir_itself = pair.new.kind == StepKind::Workdir && some.kind == PartKind::Workdir;
        if rewritten && (of_instruction || workdir_itself) {
            continue;
        }
        causes.push(match (some.kind, old, new) {
            (PartKind::Url | PartKind::Commit, Some(old), Some(new)) => Cause::Source {
                url: new.name.clone(),
                old: old.value.clone(),
                new: new.value.clone(),
            },
            _ => Cause::Setting {
                name: setting_name(some),
                old: old.map(|part| part.value.clone()),
                new: new.map(|part| part.value.clone()),
            },
        });
    }
    causes
}

fn setting_name(part: &Part) -> String {
    match part.kind {
        PartKind::Workdir => "WORKDIR".to_owned(),
        PartKind::User => "USER".to_owned(),
        PartKind::Document => format!("here-document {}", part.name),
        PartKind::Mount => format!("mount {}", part.name),
        _ => part.name.clone(),
    }
}

/// Whether all that is mounted of stages and contexts holds the same.
fn same_mounts(pair: Pair<'_>) -> bool {
    let known = has(pair.new, PartKind::MountFiles) && has(pair.old, PartKind::MountFiles);
    known && differing(pair, &[PartKind::MountFiles]).is_empty()
}

fn base_image(pair: Pair<'_>) -> Option<Cause> {
    let image = |step: &'_ StepRecord| {
        let part = step.parts.iter().find(|part| part.kind == PartKind::Image)?;
        Some((part.name.clone(), part.value.clone()))
    };
    let (reference, new) = image(pair.new)?;
    let (old_reference, old) = image(pair.old)?;
    Some(Cause::BaseImage {
        old_reference: (old_reference != reference).then_some(old_reference),
        reference,
        old,
        new,
    })
}
