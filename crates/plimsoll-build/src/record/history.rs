//! Builds of the past.

use std::io;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use plimsoll_store::{SnapshotId, Store, StoreError};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{BuildRecord, BuildStatus, TaskRecord};
use crate::explain::lists;
use crate::scratch;

/// Builds that are remembered.
const KEPT: usize = 100;
/// So many more are waited for before old ones are removed: that takes a look at every record.
const SLACK: usize = 20;
const FILE: &str = "record.json";

/// The builds that a store remembers.
#[derive(Clone)]
pub struct History {
    store: Store,
}

/// A line of `builder history ls`.
#[derive(Clone, Debug)]
pub struct BuildSummary {
    /// 25 letters and digits.
    pub id: String,
    /// As buildx calls it.
    pub name: String,
    /// How it ended.
    pub status: BuildStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What was built, and how much of it ran.
    pub detail: BuildDetail,
}

/// What was built, and how much of it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildDetail {
    /// Name of the Dockerfile.
    pub dockerfile: String,
    /// Folder of the context.
    pub context: String,
    /// `--target`.
    pub target: Option<String>,
    /// `--platform`.
    pub platforms: Vec<String>,
    /// Steps with a name.
    pub total_steps: usize,
    /// Of these, those that ran to their end or had not to.
    pub completed_steps: usize,
    /// Of these, those that had not to run.
    pub cached_steps: usize,
    /// How many.
    pub warnings: usize,
}

/// A piece of what a task printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedOutput {
    /// When.
    pub timestamp: Timestamp,
    /// 1 stdout, 2 stderr.
    pub stream: u8,
    /// What.
    pub data: Vec<u8>,
}

/// Why a build of the past cannot be told about.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is none of that name.
    #[error("no build `{0}` is remembered")]
    Unknown(String),
    /// Several begin so.
    #[error("`{0}` is the beginning of several builds")]
    Ambiguous(String),
    /// It still goes on, or its process was killed before it could write.
    #[error("build `{0}` has no record")]
    NoRecord(String),
    /// Its record is damaged, or of a newer version.
    #[error("cannot read the record of build `{id}`")]
    Record {
        /// Which.
        id: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl History {
    /// Returns the builds of a store.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns all builds, the latest first.
    pub fn list(&self) -> Result<Vec<BuildSummary>, HistoryError> {
        end_dead(&self.store)?;
        let sql = "SELECT id, name, status, started, finished, detail FROM build ORDER BY started DESC";
        Ok(self.store.db().read(|db| -> plimsoll_store::Result<_> {
            Ok(db
                .prepare_cached(sql)?
                .query_map([], summary)?
                .collect::<Result<_, _>>()?)
        })?)
    }

    /// Returns the build that is meant: an id or its beginning, `^1` for the last but one, nothing for the last.
    pub fn find(&self, reference: &str) -> Result<BuildSummary, HistoryError> {
        let mut builds = self.list()?;
        // As buildx: `builder/node/id`.
        let reference = reference.rsplit('/').next().unwrap_or_default();
        let unknown = || HistoryError::Unknown(reference.to_owned());
        let offset = match reference.strip_prefix('^') {
            _ if reference.is_empty() => Some(0),
            Some(offset) => Some(offset.parse::<usize>().map_err(|_| unknown())?),
            None => None,
        };
        if let Some(offset) = offset {
            return builds.drain(..).nth(offset).ok_or_else(unknown);
        }
        let mut found: Vec<_> = builds
            .into_iter()
            .filter(|build| build.id.starts_with(reference))
            .collect();
        match found.len() {
            0 => Err(unknown()),
            1 => Ok(found.remove(0)),
            _ => Err(HistoryError::Ambiguous(reference.to_owned())),
        }
    }

    /// Returns what is remembered of a build.
    pub fn load(&self, id: &str) -> Result<BuildRecord, HistoryError> {
        let path = self.home(id).join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HistoryError::NoRecord(id.to_owned()));
            }
            Err(source) => return Err(HistoryError::Read { path, source }),
        };
        serde_json::from_slice(&text).map_err(|source| HistoryError::Record {
            id: id.to_owned(),
            source,
        })
    }

    /// Returns what a task printed, piece by piece.
    pub fn output(&self, id: &str, task: &TaskRecord) -> Result<Vec<LoggedOutput>, HistoryError> {
        let Some(name) = &task.log else {
            return Ok(Vec::new());
        };
        let path = self.home(id).join("log").join(name);
        let read = |path: Utf8PathBuf| {
            std::fs::read(&path).map_err(|source| HistoryError::Read {
                path: path.clone(),
                source,
            })
        };
        let (output, times) = (read(path.clone())?, read(path.with_extension("times"))?);
        Ok(pieces(&output, &String::from_utf8_lossy(&times)))
    }

    /// Fills in the sizes of layers that are still in the store.
    pub fn measure(&self, record: &mut BuildRecord) {
        for step in &mut record.steps {
            if let (None, Some(snapshot)) = (step.bytes, step.snapshot) {
                // One that was removed since has no size any more.
                step.bytes = self.store.snapshots().size(SnapshotId(snapshot)).ok();
            }
        }
    }

    /// Forgets builds. One that goes on is left alone.
    pub fn remove(&self, ids: &[String]) -> Result<(), HistoryError> {
        for id in ids {
            remove(&self.store, id)?;
        }
        Ok(lists::sweep(&self.store)?)
    }

    fn home(&self, id: &str) -> Utf8PathBuf {
        self.store.root().join("builds").join(id)
    }
}

/// Takes the output of a task apart as it came. The first line is its name.
fn pieces(output: &[u8], times: &str) -> Vec<LoggedOutput> {
    let start = output
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut rest = &output[start..];
    let mut pieces = Vec::new();
    for line in times.lines() {
        let mut fields = line.split(' ');
        let mut number = || fields.next()?.parse::<i128>().ok();
        let (Some(time), Some(stream), Some(length)) = (number(), number(), number()) else {
            break;
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        let (data, left) = rest.split_at(length);
        rest = left;
        pieces.push(LoggedOutput {
            timestamp: Timestamp::from_nanosecond(time).unwrap_or_default(),
            stream: u8::try_from(stream).unwrap_or(1),
            data: data.to_vec(),
        });
    }
    pieces
}

impl BuildRecord {
    /// Writes the record aside and then in one move.
    pub(super) fn write(&self, home: &camino::Utf8Path) -> plimsoll_store::Result<()> {
        let partial = home.join("record.partial");
        let text = serde_json::to_vec(self).expect("a record is plain data");
        std::fs::write(&partial, text)
            .and_then(|()| std::fs::rename(&partial, home.join(FILE)))
            .map_err(|source| StoreError::File {
                operation: "write",
                path: home.join(FILE).into(),
                source,
            })
    }

    fn detail(&self) -> BuildDetail {
        let named = || self.steps.iter().filter(|step| step.name.is_some());
        let cached = named().filter(|step| step.outcome.is_cached()).count();
        let ran = named()
            .filter(|step| step.outcome == super::StepOutcome::Ran)
            .count();
        BuildDetail {
            dockerfile: self.dockerfile.name.clone(),
            context: self.context.root.clone(),
            target: self.options.target.clone(),
            platforms: self.options.platforms.clone(),
            total_steps: named().count(),
            completed_steps: cached + ran,
            cached_steps: cached,
            warnings: self.warnings.len(),
        }
    }
}

impl BuildStatus {
    /// As the table `build` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    fn parse(text: &str) -> Self {
        [Self::Running, Self::Completed, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .unwrap_or(Self::Canceled)
    }
}

fn summary(row: &Row<'_>) -> rusqlite::Result<BuildSummary> {
    let time = |nanoseconds: i64| Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default();
    Ok(BuildSummary {
        id: row.get(0)?,
        name: row.get(1)?,
        status: BuildStatus::parse(&row.get::<_, String>(2)?),
        started: time(row.get(3)?),
        finished: row.get::<_, Option<i64>>(4)?.map(time),
        detail: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default(),
    })
}

pub(super) fn insert_row(store: &Store, record: &BuildRecord) -> plimsoll_store::Result<()> {
    let sql = "INSERT INTO build (id, started, status, name, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    store.db().write(|db| {
        let detail = serde_json::to_string(&record.detail()).expect("plain data");
        let values = params![
            record.id,
            nanoseconds(record.started),
            record.status.as_str(),
            record.name,
            detail
        ];
        db.prepare_cached(sql)?.execute(values)?;
        Ok(())
    })
}

pub(super) fn update_row(store: &Store, record: &BuildRecord) -> plimsoll_store::Result<()> {
    let sql = "UPDATE build SET finished = ?2, status = ?3, detail = ?4 WHERE id = ?1";
    store.db().write(|db| {
        let detail = serde_json::to_string(&record.detail()).expect("plain data");
        let finished = record.finished.map(nanoseconds);
        db.prepare_cached(sql)?
            .execute(params![record.id, finished, record.status.as_str(), detail])?;
        Ok(())
    })
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// Ends the rows of builds whose process died. Returns the ids of all builds, the latest first.
pub(crate) fn end_dead(store: &Store) -> plimsoll_store::Result<Vec<String>> {
    let sql = "SELECT id, status = 'running' FROM build ORDER BY started DESC";
    let rows = store
        .db()
        .read(|db| -> plimsoll_store::Result<Vec<(String, bool)>> {
            let mut query = db.prepare_cached(sql)?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
    for (id, _) in rows.iter().filter(|(_, running)| *running) {
        let Some(_dead) = store.try_lock(&scratch::lock_name(id))? else {
            continue;
        };
        scratch::free(store, id)?;
        scratch::clear(store, &store.root().join("builds").join(id))?;
        store.db().write(|db| -> plimsoll_store::Result<()> {
            let sql =
                "UPDATE build SET status = 'canceled', finished = ?2 WHERE id = ?1 AND status = 'running'";
            db.execute(sql, params![id, plimsoll_store::now()])?;
            Ok(())
        })?;
    }
    Ok(rows.into_iter().map(|(id, _)| id).collect())
}

/// Tells whether a build has a row.
pub(crate) fn is_known(store: &Store, id: &str) -> plimsoll_store::Result<bool> {
    store.db().read(|db| {
        let mut query = db.prepare_cached("SELECT 1 FROM build WHERE id = ?1")?;
        Ok(query.query_row([id], |_| Ok(())).optional()?.is_some())
    })
}

/// Forgets the oldest of these builds, the latest of which come first, when there are too many.
pub(crate) fn remove_old(store: &Store, builds: &[String]) -> plimsoll_store::Result<()> {
    if builds.len() <= KEPT + SLACK {
        return Ok(());
    }
    for id in &builds[KEPT..] {
        remove(store, id)?;
    }
    lists::sweep(store)
}

/// The row first, then the files. A build that goes on is left alone.
fn remove(store: &Store, id: &str) -> plimsoll_store::Result<()> {
    let Some(_ended) = store.try_lock(&scratch::lock_name(id))? else {
        return Ok(());
    };
    store.db().write(|db| -> plimsoll_store::Result<()> {
        db.execute("DELETE FROM build WHERE id = ?1", [id])?;
        Ok(())
    })?;
    store.discard(&store.root().join("builds").join(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_taken_apart_as_it_came() {
        let output = b"# [2/2] RUN make\none\ntwo\nthr";
        let found = pieces(output, "1000000000 1 4\n2000000000 2 4\n3000000000 1 5\n");
        let text = |at: usize| String::from_utf8_lossy(&found[at].data).into_owned();
        assert_eq!(
            (text(0), text(1), text(2)),
            ("one\n".into(), "two\n".into(), "thr".into())
        );
        assert_eq!((found[1].stream, found[1].timestamp.as_second()), (2, 2));
    }
}
