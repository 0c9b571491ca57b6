//! What is remembered of a build: `builds/<id>/record.json`, and a row in the table `build`.
//!
//! Plain data. It is written for every build, also one that failed or was given up, and read by `builder history`,
//! `build --explain` and `build --report`. Why a step ran is not in it: [`crate::explain`] works that out by comparing
//! two records, when somebody asks.
//!
//! No secret is in it: secrets by their ids only, and the values of arguments that look like credentials as a short hash.

mod history;
mod journal;
mod recording;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use history::{BuildDetail, BuildSummary, History, HistoryError, LoggedOutput};
pub(crate) use history::{end_dead, is_known, remove_old};
pub(crate) use journal::Journal;
pub use recording::Recording;

/// Changes when a reader of older records would misunderstand newer ones.
const VERSION: u32 = 1;

/// One build.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRecord {
    /// Of this form.
    pub version: u32,
    /// 25 letters and digits, as BuildKit's.
    pub id: String,
    /// As buildx calls it: context, Dockerfile and target.
    pub name: String,
    /// How it ended.
    pub status: BuildStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What the command line asked for.
    pub options: BuildOptions,
    /// Name and text of the Dockerfile.
    pub dockerfile: TextRecord,
    /// The build context.
    pub context: ContextRecord,
    /// Operations, inputs before their users. Those without a name are parts of others: a file from the context that
    /// is mounted, the second half of `COPY --link`.
    #[serde(default)]
    pub steps: Vec<StepRecord>,
    /// Everything that had a line in the progress, in order: steps, pulls, exports.
    #[serde(default)]
    pub tasks: Vec<TaskRecord>,
    /// What looked like a mistake.
    #[serde(default)]
    pub warnings: Vec<WarningRecord>,
    /// What came of it, one for each platform.
    #[serde(default)]
    pub images: Vec<ImageRecord>,
    /// Where that went.
    #[serde(default)]
    pub exports: Vec<ExportRecord>,
    /// Why it failed.
    pub error: Option<ErrorRecord>,
}

/// How a build ended, in buildx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildStatus {
    /// Not yet.
    Running,
    /// Well.
    Completed,
    /// With an error.
    Failed,
    /// Given up, or its process was killed.
    Canceled,
}

/// What the command line asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildOptions {
    /// `--target`.
    pub target: Option<String>,
    /// `--platform`.
    pub platforms: Vec<String>,
    /// `--build-arg`; values that look like credentials hidden.
    pub build_args: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// Names of `--build-context`.
    pub contexts: Vec<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--no-cache-filter`.
    pub no_cache_stages: Vec<String>,
    /// `--pull`.
    pub pull: bool,
    /// `--network`.
    pub network: String,
    /// `--add-host`.
    pub add_hosts: Vec<String>,
    /// Ids of `--secret`.
    pub secrets: Vec<String>,
    /// Ids of `--ssh`.
    pub ssh: Vec<String>,
}

/// A text and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextRecord {
    /// As the user knows it.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// The build context.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextRecord {
    /// The folder, or the URL it came from; `-` for an archive from standard input, empty for a build without files.
    pub root: String,
    /// Its ignore file.
    pub ignore: Option<TextRecord>,
}

/// One operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// Where it stands in [`BuildRecord::steps`].
    pub id: usize,
    /// Where its task stands in [`BuildRecord::tasks`].
    pub task: Option<usize>,
    /// `[builder 2/5] RUN make`.
    pub name: Option<String>,
    /// What it does.
    pub kind: StepKind,
    /// The stage it belongs to.
    pub stage: StageRecord,
    /// The instruction, on one line.
    pub instruction: String,
    /// Where that stands.
    pub place: Place,
    /// Steps whose results it takes. The first one is what it stands on, if [`StepRecord::on_base`].
    pub inputs: Vec<usize>,
    /// Whether its first input is what it stands on.
    pub on_base: bool,
    /// How it got its result.
    pub outcome: StepOutcome,
    /// When it began to run; waiting for others does not count.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The definition key.
    pub key: Option<String>,
    /// The content key, where it was worked out.
    pub content_key: Option<String>,
    /// Digest of the files of the stage after it, times apart.
    pub content: Option<String>,
    /// It ran and left what an earlier run had left, whose result was taken.
    #[serde(default)]
    pub same_as_earlier: bool,
    /// Number of the result in the store, as long as it is there.
    pub snapshot: Option<i64>,
    /// Bytes of the files of its layer, where that is known; see [`History::measure`].
    pub bytes: Option<u64>,
    /// What decides its keys, by name.
    pub parts: Vec<Part>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// FROM an image.
    From,
    /// RUN.
    Run,
    /// COPY, or files of the context for a mount.
    Copy,
    /// ADD.
    Add,
    /// The second half of `COPY --link`.
    Link,
    /// WORKDIR.
    Workdir,
    /// A file of the web.
    Http,
    /// A git repository.
    Git,
}

/// How a step got its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Found under its definition.
    Cached,
    /// Found by what it reads: its inputs are others, but those files are the same.
    CachedByContent,
    /// The same as another step of this build.
    Shared,
    /// A later result was known, so nobody asked for this one.
    Unneeded,
    /// An image that was there or had been pulled.
    Base,
    /// It ran.
    Ran,
    /// It ran and failed.
    Failed,
    /// The build ended before it did.
    Unfinished,
}

impl StepOutcome {
    /// Tells whether nothing had to run.
    pub fn is_cached(self) -> bool {
        matches!(
            self,
            Self::Cached | Self::CachedByContent | Self::Shared | Self::Unneeded | Self::Base
        )
    }

    /// Tells whether it ran, well or not.
    pub fn has_run(self) -> bool {
        matches!(self, Self::Ran | Self::Failed)
    }
}

/// A stage of the Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRecord {
    /// From 0.
    pub index: usize,
    /// As FROM names it.
    pub name: Option<String>,
    /// What its programs run on.
    pub platform: String,
}

/// A place in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The Dockerfile, or where an ONBUILD trigger came from.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// Of the end.
    pub last_line: usize,
}

/// One thing that decides the keys of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What kind of thing.
    pub kind: PartKind,
    /// Which one, where there are several: the variable, the mount's target.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it is.
    pub value: String,
    /// The value is a hash of one that looks like a credential.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What kind of thing decides a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartKind {
    /// The program and its arguments, or the paths of a COPY after expansion.
    Command,
    /// An ARG that the step sees.
    Arg,
    /// An ENV that the step sees.
    Env,
    /// A flag of the instruction, or of the command line.
    Option,
    /// Directory it works in.
    Workdir,
    /// USER.
    User,
    /// A here-document; its digest.
    Document,
    /// What a COPY reads: name of a list of files, see [`crate::explain`].
    Files,
    /// A base image: its digest, named by its reference.
    Image,
    /// Digest of a base image's files.
    Layers,
    /// A mount: its options.
    Mount,
    /// Digest of the files of a mount.
    MountFiles,
    /// What `--no-cache` or `--no-cache-filter` says. Not in the key.
    NoCache,
    /// A cache mount that was there before, or was new. Not in the key.
    CacheMount,
    /// A file of the web: its digest.
    Url,
    /// A repository: its commit.
    Commit,
}

/// Something that had a line in the progress.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskRecord {
    /// As events call it.
    pub digest: String,
    /// Tasks it waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// What the user reads.
    pub name: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// The result was known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was counted, as it stood last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<CountRecord>,
    /// Name of the file with its output, in `builds/<id>/log/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// A count within a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CountRecord {
    /// What is counted.
    pub id: String,
    /// Done, bytes unless the name says otherwise.
    pub current: u64,
    /// Expected in all; 0 when unknown.
    pub total: u64,
    /// Time of this reading.
    pub timestamp: Timestamp,
    /// When counting began.
    pub started: Option<Timestamp>,
    /// When it was done.
    pub completed: Option<Timestamp>,
}

/// What looked like a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarningRecord {
    /// `undefined-variable`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// Where; none for one about the whole build.
    pub place: Option<Place>,
    /// With the lines it is about, as it was shown.
    pub shown: String,
}

/// What was built for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecord {
    /// What was asked for.
    pub platform: String,
    /// Digest of the manifest.
    pub manifest_digest: String,
    /// Digest of the configuration: Docker's image ID.
    pub config_digest: String,
}

/// Where the result went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRecord {
    /// `image`, `oci`, `local`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names it was given.
    #[serde(default)]
    pub names: Vec<String>,
    /// `dest`, `compression` and the like.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Of the manifest or index that was written.
    #[serde(default)]
    pub digest: Option<String>,
}

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// In words.
    pub message: String,
    /// Where in the Dockerfile.
    pub place: Option<Place>,
}
