//! What became of a vertex, for those who want to know afterwards.

use jiff::Timestamp;
use plimsoll_oci::Digest;

use crate::VertexId;

/// How a vertex got its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Recorded under its definition.
    Found,
    /// Recorded under what it reads of its inputs.
    FoundByContent,
    /// Of another vertex of the graph that says the same.
    Shared,
    /// Made.
    Ran,
    /// Not at all.
    Failed,
}

/// What is known of a vertex; fills up while it is solved. One that nobody needed keeps no outcome.
#[derive(Clone, Debug)]
pub struct Report<T> {
    /// Its task in the progress, if it has a name.
    pub task: Option<String>,
    /// The definition key.
    pub key: Option<Digest>,
    /// The content key; only worked out where the definition was not enough.
    pub content_key: Option<Digest>,
    /// How it ended; none while it runs, or when a later result made it needless.
    pub outcome: Option<Outcome>,
    /// When it began to run.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What it made itself.
    pub made: Option<T>,
    /// What others went on with: an earlier result with the same content takes the place of what was made.
    pub output: Option<T>,
}

impl<T> Default for Report<T> {
    fn default() -> Self {
        Self {
            task: None,
            key: None,
            content_key: None,
            outcome: None,
            started: None,
            finished: None,
            made: None,
            output: None,
        }
    }
}

impl<T: Clone> Report<T> {
    pub(crate) fn ran<E>(&mut self, result: &Result<T, E>) {
        self.finished = Some(Timestamp::now());
        self.made = result.as_ref().ok().cloned();
        self.outcome = Some(match result {
            Ok(_) => Outcome::Ran,
            Err(_) => Outcome::Failed,
        });
    }
}

/// Of each vertex that was looked at: itself, its inputs, and what came of it.
pub type Reports<'a, T> = Vec<(VertexId, &'a [VertexId], Report<T>)>;
