//! The log for its supervisor: lines from bytes, kept wherever the driver says.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::config::{LogConfig, Subject};
use super::entry::{Entry, Format, Lines, LogStream};
use super::files::{Files, LogFile, packer};
use super::journal::{self, Journal};
use crate::model::{Definition, Paths};
use crate::{ContainerError, Result};

/// Writes a log. What could not be written yet waits in a queue; see [`LogWriter::flush`].
pub(crate) struct LogWriter {
    lines: Lines,
    attributes: String,
    files: Option<(Format, Files)>,
    journal: Option<Journal>,
    waiting: Waiting,
}

/// A log at one moment.
pub(crate) struct Snapshot {
    pub(crate) format: Format,
    /// The oldest first.
    pub(crate) files: Vec<LogFile>,
    /// As JSON what is not in the files yet.
    pub(crate) waiting: Vec<u8>,
}

/// Records on their way.
#[derive(Default)]
struct Waiting {
    files: VecDeque<Vec<u8>>,
    journal: VecDeque<Vec<u8>>,
    /// Bytes that may wait; None when the program waits instead.
    limit: Option<usize>,
    /// Bytes that do, as they were when the queue was filled or emptied last.
    bytes: usize,
    dropped: u64,
    /// The last attempt to write failed: the next one is made after a pause.
    failed: bool,
}

impl LogWriter {
    /// Opens the log of a container for appending.
    pub(crate) fn open(definition: &Definition, name: &str, paths: &Paths) -> Result<Self> {
        Self::open_with(definition, name, paths, Path::new(journal::SOCKET))
    }

    fn open_with(definition: &Definition, name: &str, paths: &Paths, socket: &Path) -> Result<Self> {
        let config = &definition.log;
        let subject = Subject::new(definition, name);
        let attributes = config.attributes(definition, &subject)?;
        let journal = if config.driver == "journald" {
            let connected = Journal::connect(socket, &subject, &config.tag(&subject)?, attributes.clone());
            Some(connected.map_err(ContainerError::file("reach the journal at", socket))?)
        } else {
            None
        };
        let format = config.format();
        let files = match (format, config.rotation()?) {
            (Some(format), Some(rotation)) => {
                let path = paths.log(format);
                let files = Files::open(path.as_std_path(), rotation, packer)
                    .map_err(ContainerError::file("open", &path))?;
                Some((format, files))
            }
            _ => None,
        };
        let attributes = if attributes.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&attributes).expect("a map of strings becomes JSON")
        };
        Ok(Self {
            lines: Lines::default(),
            attributes,
            files,
            journal,
            waiting: Waiting {
                limit: config.buffer()?,
                ..Waiting::default()
            },
        })
    }

    /// Whether the program has to wait while the log cannot be written.
    pub(crate) fn blocks(&self) -> bool {
        self.waiting.limit.is_none()
    }

    /// How many lines there was no room for.
    pub(crate) fn dropped(&self) -> u64 {
        self.waiting.dropped
    }

    /// Takes a piece of output. Its lines go into the queue, and as JSON to `follower`, if there is one.
    pub(crate) fn take(&mut self, stream: LogStream, bytes: &[u8], mut follower: Option<&mut Vec<u8>>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.take(stream, bytes, |entry| {
            self.enqueue(&entry, follower.as_deref_mut())
        });
        self.lines = lines;
    }

    /// Takes what is left of lines that were never ended.
    pub(crate) fn finish(&mut self, mut follower: Option<&mut Vec<u8>>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.finish(|entry| self.enqueue(&entry, follower.as_deref_mut()));
    }

    fn enqueue(&mut self, entry: &Entry<'_>, follower: Option<&mut Vec<u8>>) {
        if let Some(follower) = follower {
            Format::Json.encode(entry, &self.attributes, follower);
        }
        let file = self.files.as_ref().map(|(format, _)| {
            let mut record = Vec::with_capacity(entry.text.len() + 96);
            format.encode(entry, &self.attributes, &mut record);
            record
        });
        let message = self.journal.as_ref().map(|journal| journal.encode(entry));
        let size = |record: &Option<Vec<u8>>| record.as_ref().map_or(0, Vec::len);
        if !self.waiting.has_room(size(&file) + size(&message)) {
            // There may be room after all: the queue is emptied only between two pieces of output.
            if self.waiting.failed || self.flush().is_err() {
                self.waiting.dropped += 1;
                return;
            }
        }
        self.waiting.bytes += size(&file) + size(&message);
        self.waiting.files.extend(file);
        self.waiting.journal.extend(message);
    }

    /// Writes what waits. After an error the rest still waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let files = match &mut self.files {
            Some((_, files)) => files.write(&mut self.waiting.files),
            None => Ok(()),
        };
        let journal = match &self.journal {
            Some(journal) => journal.write(&mut self.waiting.journal),
            None => Ok(()),
        };
        let waiting = &mut self.waiting;
        waiting.bytes = waiting.files.iter().chain(&waiting.journal).map(Vec::len).sum();
        let flushed = files.and(journal);
        waiting.failed = flushed.is_err();
        flushed
    }

    /// The log as it is now; None when nothing is kept.
    pub(crate) fn snapshot(&self) -> io::Result<Option<Snapshot>> {
        let Some((format, files)) = &self.files else {
            return Ok(None);
        };
        let mut waiting = Vec::new();
        for record in &self.waiting.files {
            match format {
                Format::Json => waiting.extend_from_slice(record),
                Format::Local => {
                    let Some(line) = format.decode(record) else {
                        continue;
                    };
                    let whole = line.log.ends_with('\n');
                    let entry = Entry {
                        stream: line.stream,
                        time: line.time,
                        text: line.log.strip_suffix('\n').unwrap_or(&line.log).as_bytes(),
                        whole,
                    };
                    Format::Json.encode(&entry, "", &mut waiting);
                }
            }
        }
        Ok(Some(Snapshot {
            format: *format,
            files: files.snapshot()?,
            waiting,
        }))
    }
}

impl Waiting {
    fn has_room(&self, more: usize) -> bool {
        self.limit
            .is_none_or(|limit| self.bytes == 0 || self.bytes + more <= limit)
    }
}

impl LogConfig {
    /// The form of the files; None when there are none.
    pub(crate) fn format(&self) -> Option<Format> {
        match self.driver.as_str() {
            "json-file" => Some(Format::Json),
            "local" | "journald" => Some(Format::Local),
            _ => None,
        }
    }
}
