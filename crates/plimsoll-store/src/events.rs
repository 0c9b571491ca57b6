//! What happened, for `events`: a file that every process of the store appends to.
//!
//! ```text
//! root/events/log      one JSON object per line, oldest first
//! root/events/log.1    what was before, when `log` had grown past a mebibyte
//! ```
//!
//! A file and no table, because supervisors of containers write here, too, and those have no database open; and
//! because whoever follows is woken by inotify instead of asking again and again. A line costs some 20 µs.
//!
//! Lines are appended under the file's lock, and after that lock was taken the name is looked at again: so nothing is
//! ever appended to a file that was renamed away, and a follower that has read such a file to its end may go on with
//! the next.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Bytes after which a new file is begun.
const LIMIT: u64 = 1 << 20;

/// Something that happened to something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreEvent {
    /// When, in unix nanoseconds.
    pub time: i64,
    /// `container`, `image`, `network`, `volume`, `builder`.
    pub kind: String,
    /// Docker's word: `start`, `die`, `pull`.
    pub action: String,
    /// To whom: an id or a name.
    pub id: String,
    /// What else is known, sorted by name as Docker prints it.
    pub attributes: BTreeMap<String, String>,
}

/// The events of one store. Cheap to make.
#[derive(Clone, Debug)]
pub struct EventLog {
    folder: Utf8PathBuf,
}

impl EventLog {
    /// The events of the store whose state directory is `root`.
    pub fn of(root: &Utf8Path) -> Self {
        Self {
            folder: root.join("events"),
        }
    }

    /// Writes down that something happened just now. What happened has happened: a failure is only logged.
    pub fn record(&self, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let event = StoreEvent {
            time: crate::now(),
            kind: kind.to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            attributes,
        };
        if let Err(error) = self.append(&event) {
            tracing::warn!("cannot write the event `{kind} {action}` of {id}: {error}");
        }
    }

    fn append(&self, event: &StoreEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut file = self.locked()?;
        file.write_all(&line)?;
        if file.metadata()?.len() > LIMIT {
            fs::rename(self.path(), self.folder.join("log.1"))?;
        }
        Ok(())
    }

    fn path(&self) -> Utf8PathBuf {
        self.folder.join("log")
    }

    /// The present file, with its lock: the name may have moved on while we waited.
    fn locked(&self) -> io::Result<File> {
        loop {
            let file = match File::options().create(true).append(true).open(self.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(&self.folder)?;
                    continue;
                }
                opened => opened?,
            };
            flock(&file, FlockOperation::LockExclusive)?;
            if is_at(&file, &self.path())? {
                return Ok(file);
            }
        }
    }

    /// Reads from the oldest event that is kept.
    pub fn read(&self) -> io::Result<EventReader> {
        fs::create_dir_all(&self.folder)?;
        let file = match File::open(self.folder.join("log.1")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(BufReader::new(opened?)),
        };
        Ok(EventReader {
            folder: self.folder.clone(),
            file,
            line: Vec::new(),
        })
    }
}

/// Reads events to the present end, and again when there are more.
pub struct EventReader {
    folder: Utf8PathBuf,
    file: Option<BufReader<File>>,
    line: Vec<u8>,
}

impl EventReader {
    /// The folder in which something changes when there are more.
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// Returns the next event, or None at the present end. Lines that are damaged are passed over.
    pub fn next_event(&mut self) -> io::Result<Option<StoreEvent>> {
        loop {
            let over = self.is_over()?;
            if self.read_line()? {
                let event = serde_json::from_slice(&self.line);
                self.line.clear();
                match event {
                    Ok(event) => return Ok(Some(event)),
                    Err(_) => continue,
                }
            }
            // Only what was asked before the last reading found nothing is sure.
            if !over {
                return Ok(None);
            }
            self.line.clear();
            match File::open(self.folder.join("log")) {
                Ok(file) => self.file = Some(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether nothing can follow in this file any more.
    fn is_over(&self) -> io::Result<bool> {
        match &self.file {
            None => Ok(true),
            Some(file) => Ok(!is_at(file.get_ref(), &self.folder.join("log"))?),
        }
    }

    /// Reads on to the end of a line; false when there is none yet.
    fn read_line(&mut self) -> io::Result<bool> {
        if let Some(file) = &mut self.file {
            file.read_until(b'\n', &mut self.line)?;
        }
        Ok(self.line.last() == Some(&b'\n'))
    }
}

fn is_at(file: &File, path: &Utf8Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, EventLog) {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::of(Utf8Path::from_path(folder.path()).unwrap());
        (folder, log)
    }

    fn ids(reader: &mut EventReader) -> Vec<String> {
        std::iter::from_fn(|| reader.next_event().unwrap())
            .map(|event| event.id)
            .collect()
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let (_folder, log) = log();
        let mut reader = log.read().unwrap();
        assert_eq!(reader.next_event().unwrap(), None);
        log.record("container", "start", "a", BTreeMap::new());
        log.record(
            "container",
            "die",
            "b",
            [("exitCode".to_owned(), "3".to_owned())].into(),
        );
        assert_eq!(ids(&mut reader), ["a", "b"]);
        log.record("image", "pull", "c", BTreeMap::new());
        assert_eq!(ids(&mut reader), ["c"]);
        assert_eq!(ids(&mut log.read().unwrap()), ["a", "b", "c"]);
    }

    #[test]
    fn many_writers_and_a_new_file_lose_nothing_for_a_follower() {
        let (_folder, log) = log();
        let mut reader = log.read().unwrap();
        let padding: BTreeMap<_, _> = [("x".to_owned(), "y".repeat(1000))].into();
        let mut seen = Vec::new();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (log, padding) = (&log, &padding);
                scope.spawn(move || {
                    for number in 0..400 {
                        log.record(
                            "container",
                            "start",
                            &format!("{writer}-{number}"),
                            padding.clone(),
                        );
                    }
                });
            }
            while seen.len() < 1600 {
                seen.extend(ids(&mut reader));
            }
        });
        assert!(log.folder.join("log.1").exists(), "the test must fill a file");
        for writer in 0..4 {
            let own: Vec<_> = seen
                .iter()
                .filter(|id| id.starts_with(&format!("{writer}-")))
                .collect();
            let expected: Vec<_> = (0..400).map(|number| format!("{writer}-{number}")).collect();
            assert_eq!(own, expected.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let (_folder, log) = log();
        log.record("container", "start", "a", BTreeMap::new());
        File::options()
            .append(true)
            .open(log.path())
            .unwrap()
            .write_all(b"rubbish\n")
            .unwrap();
        log.record("container", "start", "b", BTreeMap::new());
        assert_eq!(ids(&mut log.read().unwrap()), ["a", "b"]);
    }
}
