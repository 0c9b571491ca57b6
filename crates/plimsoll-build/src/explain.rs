//! Why steps ran: a record compared with that of an earlier build of the same Dockerfile and context.
//!
//! Nothing of this is worked out during a build. A record says by name what decided the keys of each step
//! ([`crate::record::Part`]); for the files of a COPY it names a list (`lists`). Each step that ran is compared with
//! the same step of the nearest earlier build that got as far, one with the same arguments and platforms first.

mod compare;
mod files;
pub(crate) mod lists;
mod matching;
#[cfg(test)]
mod tests;
mod words;

use jiff::Timestamp;
use serde::Serialize;

use crate::record::{BuildRecord, History, HistoryError, Place, StepOutcome};

/// Why the steps of one build ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The build.
    pub build: String,
    /// Every step with a name, in the order of the record.
    pub steps: Vec<StepExplanation>,
}

/// Why one step ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepExplanation {
    /// Its place in [`BuildRecord::steps`].
    pub step: usize,
    /// `[builder 2/5] RUN make`.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// How it got its result.
    pub outcome: StepOutcome,
    /// It ran and left what an earlier run had left, so steps after it stay cached.
    pub same_as_earlier: bool,
    /// What it was compared with.
    pub compared_with: Option<Compared>,
    /// Why it ran; empty if it did not.
    pub causes: Vec<Cause>,
    /// What made it slower, though not run.
    pub notes: Vec<Note>,
}

/// An earlier build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Its id.
    pub build: String,
    /// When it began.
    pub started: Timestamp,
}

/// One reason why a step ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Cause {
    /// `--no-cache` or `--no-cache-filter`.
    NoCache,
    /// The instruction is another one.
    Instruction {
        /// As it was.
        old: String,
        /// As it is.
        new: String,
    },
    /// An ARG or ENV that the step sees.
    Variable(Variable),
    /// A file or folder that is copied or mounted.
    File(FileChange),
    /// Files that are copied are others, but which is not known any more.
    Files,
    /// A base image is another one.
    BaseImage {
        /// As FROM names it.
        reference: String,
        /// As FROM named it, where that was something else.
        #[serde(skip_serializing_if = "Option::is_none")]
        old_reference: Option<String>,
        /// Digest of the image then.
        old: String,
        /// Digest of the image now.
        new: String,
    },
    /// A step before it came to other files.
    Parent {
        /// Its place in [`BuildRecord::steps`].
        step: usize,
        /// `[builder 2/5] RUN make`.
        name: String,
    },
    /// A mount, a flag, the user, the working directory, a here-document.
    Setting {
        /// Which.
        name: String,
        /// As it was; none if it was not there.
        old: Option<String>,
        /// As it is; none if it is gone.
        new: Option<String>,
    },
    /// A file of the web or a repository is another one.
    Source {
        /// Its URL.
        url: String,
        /// Digest or commit then.
        old: String,
        /// Digest or commit now.
        new: String,
    },
    /// It failed the last time: failures are not kept.
    FailedBefore,
    /// It ran the last time too, but the build ended before it did.
    Interrupted,
    /// Nothing changed, but its result is not in the store any more.
    Removed,
    /// No earlier build had this step.
    NewStep,
    /// There is no earlier build to compare with.
    FirstBuild,
}

/// An ARG or ENV that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// `ARG` or `ENV`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its value then; none if it was not set.
    pub old: Option<String>,
    /// Its value now; none if it is not set.
    pub new: Option<String>,
    /// The values are hashes: it looks like a credential.
    pub hidden: bool,
    /// The first step that saw the change, if it is not this one.
    pub first_seen: Option<String>,
}

/// A file or folder that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// As instructions name it: without a slash in front in a context, with one in the files of a stage.
    pub path: String,
    /// What about it.
    pub change: Change,
    /// Mode, owner or content then.
    pub old: Option<String>,
    /// Mode, owner or content now.
    pub new: Option<String>,
    /// Of a folder that was added or removed: files in it.
    pub files: Option<usize>,
    /// The rule of the ignore file that leaves it out, or did.
    pub rule: Option<IgnoreRule>,
}

impl FileChange {
    /// Tells whether both builds had it.
    fn is_of_both(&self) -> bool {
        !matches!(self.change, Change::Added | Change::Removed)
    }
}

/// What about a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is a folder or a link now, or was.
    Kind,
    /// Bytes, link target or extended attributes.
    Content,
    /// Permissions.
    Mode,
    /// User or group.
    Owner,
}

/// A line of an ignore file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IgnoreRule {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// As it is written.
    pub pattern: String,
}

/// What made a step slower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// A cache mount was filled by an earlier build and had been removed since.
    CacheMountGone {
        /// Its id.
        id: String,
    },
}

/// Works out why the steps of a build ran.
pub fn explain(history: &History, record: &BuildRecord) -> Result<Explanation, HistoryError> {
    let mut explanation = compare::Comparison::new(history, record)?.explain();
    mark_first_seen(&mut explanation.steps);
    Ok(explanation)
}

/// Tells every later step that sees a changed variable which one saw it first.
fn mark_first_seen(steps: &mut [StepExplanation]) {
    let mut seen: Vec<(&'static str, String, String)> = Vec::new();
    for step in steps {
        for cause in &mut step.causes {
            let Cause::Variable(variable) = cause else {
                continue;
            };
            let same =
                |(kind, name, _): &&(&str, String, String)| *kind == variable.kind && *name == variable.name;
            match seen.iter().find(same) {
                Some((_, _, first)) => variable.first_seen = Some(first.clone()),
                None => seen.push((variable.kind, variable.name.clone(), step.name.clone())),
            }
        }
    }
}
