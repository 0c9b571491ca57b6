//! Reading a log: what the files hold, then what the supervisor says.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use flate2::read::MultiGzDecoder;

use super::entry::{Format, LogLine};
use super::files::LogFile;
use crate::protocol::Reply;
use crate::wire::{Kind, Receiver};
use crate::{ContainerError, Result};

/// What of a log is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogQuery {
    /// The last so many lines only.
    pub tail: Option<usize>,
    /// What is written from now on, too, until the container ends.
    pub follow: bool,
}

/// Reads a log from somewhere to its end.
pub struct LogReader {
    format: Format,
    files: VecDeque<Box<dyn BufRead + Send>>,
    record: Vec<u8>,
    /// Lines that came over the connection, as JSON.
    lines: VecDeque<u8>,
    live: Option<Receiver>,
    exit_code: Option<i32>,
    id: String,
}

impl LogReader {
    pub(crate) fn new(
        format: Format,
        files: Vec<LogFile>,
        tail: Option<usize>,
        live: Option<Receiver>,
        id: &str,
    ) -> io::Result<Self> {
        Ok(Self {
            format,
            files: from_tail(format, files, tail)?,
            record: Vec::new(),
            lines: VecDeque::new(),
            live,
            exit_code: None,
            id: id.to_owned(),
        })
    }

    /// Returns the next line, or None at the end. Lines that are damaged are passed over.
    pub async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            let read = self.next_stored();
            let read = read.map_err(ContainerError::file("read", "the log"))?;
            if let Some(line) = read {
                return Ok(Some(line));
            }
            if let Some(line) = self.next_received() {
                return Ok(Some(line));
            }
            if !self.receive().await? {
                return Ok(None);
            }
        }
    }

    /// Returns with which code the program has ended whose lines were followed to their end.
    pub fn exit_code(&self) -> Option<i32> {
        self.exit_code
    }

    /// Returns whether the next line is there without waiting for it.
    pub fn is_ready(&mut self) -> bool {
        while let Some(file) = self.files.front_mut() {
            // A file that was read to its end has nothing more; an error is told by the next reading.
            if !matches!(file.fill_buf(), Ok(buffer) if buffer.is_empty()) {
                return true;
            }
            self.files.pop_front();
        }
        !self.lines.is_empty()
    }

    fn next_stored(&mut self) -> io::Result<Option<LogLine>> {
        while let Some(file) = self.files.front_mut() {
            self.record.clear();
            if !read_record(self.format, file, &mut self.record)? {
                self.files.pop_front();
                continue;
            }
            if let Some(line) = self.format.decode(&self.record) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    fn next_received(&mut self) -> Option<LogLine> {
        loop {
            self.record.clear();
            let found = self.lines.read_until(b'\n', &mut self.record).unwrap_or(0);
            if found == 0 {
                return None;
            }
            if let Some(line) = Format::Json.decode(&self.record) {
                return Some(line);
            }
        }
    }

    /// Waits for more; false when nothing follows.
    async fn receive(&mut self) -> Result<bool> {
        let Some(live) = &mut self.live else {
            return Ok(false);
        };
        let broken = |source| ContainerError::Shim {
            id: self.id.clone(),
            source,
        };
        match live.next().await {
            Ok(Some(frame)) if frame.kind == Kind::Log => {
                self.lines.extend(frame.body);
                Ok(true)
            }
            // The container has ended.
            Ok(Some(frame)) => {
                if let Reply::Exited(ended) = frame.message().map_err(broken)? {
                    self.exit_code = Some(ended.exit_code);
                }
                self.live = None;
                Ok(false)
            }
            Ok(None) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(broken(error)),
        }
    }
}

/// Opens the files at the place where their last `tail` records begin.
fn from_tail(
    format: Format,
    files: Vec<LogFile>,
    tail: Option<usize>,
) -> io::Result<VecDeque<Box<dyn BufRead + Send>>> {
    let mut open: VecDeque<Box<dyn BufRead + Send>> = VecDeque::new();
    let mut wanted = tail.unwrap_or(usize::MAX);
    for file in files.into_iter().rev() {
        if wanted == 0 {
            break;
        }
        if tail.is_none() {
            open.push_front(reader(file, 0)?);
        } else if file.packed {
            let records = count(format, &mut reader(file.try_clone()?, 0)?)?;
            let mut reader = reader(file, 0)?;
            let mut record = Vec::new();
            for _ in wanted..records {
                record.clear();
                read_record(format, &mut reader, &mut record)?;
            }
            wanted = wanted.saturating_sub(records);
            open.push_front(reader);
        } else {
            let (start, found) = last_records(format, &file.file, file.length, wanted)?;
            wanted -= found;
            open.push_front(reader(file, start)?);
        }
    }
    Ok(open)
}

impl LogFile {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            length: self.length,
            packed: self.packed,
        })
    }
}

fn reader(mut file: LogFile, start: u64) -> io::Result<Box<dyn BufRead + Send>> {
    file.file.seek(SeekFrom::Start(start))?;
    if file.packed {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(file.file))));
    }
    Ok(Box::new(BufReader::with_capacity(
        64 << 10,
        file.file.take(file.length - start),
    )))
}

/// Reads one record; false at the end. One that is not whole, after a crash, is the end, too.
fn read_record(format: Format, reader: &mut dyn BufRead, record: &mut Vec<u8>) -> io::Result<bool> {
    match format {
        Format::Json => {
            reader.read_until(b'\n', record)?;
        }
        Format::Local => {
            reader.take(4).read_to_end(record)?;
            if let Ok(length) = <[u8; 4]>::try_from(record.as_slice()) {
                let rest = u64::from(u32::from_be_bytes(length)) + 4;
                reader.take(rest).read_to_end(record)?;
            }
        }
    }
    Ok(format.record(record).is_some())
}

fn count(format: Format, reader: &mut dyn BufRead) -> io::Result<usize> {
    let (mut records, mut record) = (0, Vec::new());
    while read_record(format, reader, &mut record)? {
        record.clear();
        records += 1;
    }
    Ok(records)
}

/// Where the last `wanted` records of a file begin, and how many there are from there on.
fn last_records(format: Format, file: &File, length: u64, wanted: usize) -> io::Result<(u64, usize)> {
    match format {
        Format::Json => last_lines(file, length, wanted),
        Format::Local => {
            let (mut position, mut found) = (length, 0);
            while position > 0 && found < wanted {
                let mut size = [0; 4];
                file.read_exact_at(&mut size, position.saturating_sub(4))?;
                let record = u64::from(u32::from_be_bytes(size)) + 8;
                // Damaged: what lies before cannot be found from here.
                let Some(start) = position.checked_sub(record) else {
                    break;
                };
                position = start;
                found += 1;
            }
            Ok((position, found))
        }
    }
}

fn last_lines(file: &File, length: u64, wanted: usize) -> io::Result<(u64, usize)> {
    const BLOCK: u64 = 64 << 10;
    let (mut position, mut found) = (length, 0);
    while position > 0 {
        let start = position.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(position - start).expect("at most a block")];
        file.read_exact_at(&mut block, start)?;
        for at in (0..block.len()).rev() {
            let offset = start + at as u64;
            if block[at] == b'\n' && offset + 1 < length {
                found += 1;
                if found == wanted {
                    return Ok((offset + 1, found));
                }
            }
        }
        position = start;
    }
    Ok((0, found + usize::from(length > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::files::{compress, log_files};
    use crate::log::{LogStream, entry::Entry};
    use std::path::Path;

    fn write(path: &Path, format: Format, numbers: std::ops::Range<u32>) {
        let mut bytes = Vec::new();
        for number in numbers {
            let text = format!("line {number}");
            let entry = Entry {
                stream: LogStream::Stdout,
                time: jiff::Timestamp::now(),
                text: text.as_bytes(),
                whole: true,
            };
            format.encode(&entry, "", &mut bytes);
        }
        std::fs::write(path, bytes).unwrap();
    }

    fn read(path: &Path, format: Format, tail: Option<usize>) -> Vec<String> {
        let mut reader = LogReader::new(format, log_files(path).unwrap(), tail, None, "x").unwrap();
        let event_loop = tokio::runtime::Builder::new_current_thread().build().unwrap();
        event_loop.block_on(async {
            let mut lines = Vec::new();
            while let Some(line) = reader.next().await.unwrap() {
                lines.push(line.log);
            }
            lines
        })
    }

    #[test]
    fn tail_counts_from_the_end_over_all_files() {
        for format in [Format::Json, Format::Local] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.log");
            write(&folder.path().join("x.log.2"), format, 0..3_000);
            compress(&folder.path().join("x.log.2")).unwrap();
            write(&folder.path().join("x.log.1"), format, 3_000..5_000);
            write(&path, format, 5_000..5_002);
            for tail in [1, 2, 3, 2_001, 2_002, 2_003, 4_000, 5_002, 9_000] {
                let seen = read(&path, format, Some(tail));
                assert_eq!(seen.len(), tail.min(5_002), "{format:?} {tail}");
                assert_eq!(seen[0], format!("line {}\n", 5_002 - seen.len()));
                assert_eq!(seen.last().unwrap(), "line 5001\n");
            }
            assert_eq!(read(&path, format, None).len(), 5_002);
            assert!(read(&path, format, Some(0)).is_empty());
            assert!(read(&folder.path().join("none"), format, Some(3)).is_empty());
        }
    }

    #[test]
    fn a_record_that_is_not_whole_is_passed_over() {
        for format in [Format::Json, Format::Local] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.log");
            write(&path, format, 0..2);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            assert_eq!(read(&path, format, None), ["line 0\n"]);
        }
    }
}
