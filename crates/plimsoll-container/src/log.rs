//! The log of a container: one JSON object per line, as Docker's `json-file` driver writes it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Docker splits longer lines: the pieces before the last have no line end.
const LINE: usize = 16 << 10;

/// Which stream a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output; everything when there is a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The text with its line end; without one when the line was longer than 16 KiB or the output ended.
    pub log: String,
    /// Where it came from.
    pub stream: LogStream,
    /// When its last byte was read.
    pub time: Timestamp,
}

/// Writes a log; lines of each stream are put together from what the pipes give.
pub(crate) struct LogWriter {
    file: File,
    partial: [Vec<u8>; 2],
}

impl LogWriter {
    /// Opens the log for appending.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self {
            file,
            partial: Default::default(),
        })
    }

    /// Takes a piece of output.
    pub(crate) fn write(&mut self, stream: LogStream, mut bytes: &[u8]) -> io::Result<()> {
        let mut lines = Vec::new();
        let partial = &mut self.partial[stream as usize];
        while !bytes.is_empty() {
            let room = LINE - partial.len();
            let window = &bytes[..bytes.len().min(room)];
            let end = window.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let (piece, rest) = bytes.split_at(end.unwrap_or(window.len()));
            partial.extend_from_slice(piece);
            bytes = rest;
            if end.is_some() || partial.len() == LINE {
                encode(&mut lines, stream, partial)?;
                partial.clear();
            }
        }
        self.file.write_all(&lines)
    }

    /// Writes what is left of lines that were never ended.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                let mut line = Vec::new();
                encode(&mut line, stream, &partial)?;
                self.file.write_all(&line)?;
            }
        }
        Ok(())
    }
}

fn encode(lines: &mut Vec<u8>, stream: LogStream, text: &[u8]) -> io::Result<()> {
    let log = String::from_utf8_lossy(text).into_owned();
    serde_json::to_writer(
        &mut *lines,
        &LogLine {
            log,
            stream,
            time: Timestamp::now(),
        },
    )?;
    lines.push(b'\n');
    Ok(())
}

/// Reads a log from somewhere to its present end, and again when there is more.
pub struct LogReader {
    file: BufReader<File>,
    line: Vec<u8>,
}

impl LogReader {
    /// Opens the log; `tail` skips all but the last that many lines. A container that never ran has an empty one.
    pub(crate) fn open(path: &Path, tail: Option<usize>) -> io::Result<Self> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::open("/dev/null")?,
            opened => opened?,
        };
        if let Some(tail) = tail {
            let start = tail_offset(&mut file, tail)?;
            file.seek(SeekFrom::Start(start))?;
        }
        Ok(Self {
            file: BufReader::new(file),
            line: Vec::new(),
        })
    }

    /// Returns the next whole line, or None at the present end. Lines that are damaged are passed over.
    pub fn next_line(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            self.file.read_until(b'\n', &mut self.line)?;
            if self.line.last() != Some(&b'\n') {
                return Ok(None);
            }
            let line = serde_json::from_slice(&self.line);
            self.line.clear();
            if let Ok(line) = line {
                return Ok(Some(line));
            }
        }
    }
}

/// Where the last `tail` lines of the file begin.
fn tail_offset(file: &mut File, tail: usize) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let end = file.metadata()?.len();
    if tail == 0 {
        return Ok(end);
    }
    let (mut position, mut found) = (end, 0);
    while position > 0 {
        let start = position.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(position - start).expect("at most a block")];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        for at in (0..block.len()).rev() {
            let offset = start + at as u64;
            if block[at] == b'\n' && offset + 1 < end {
                found += 1;
                if found == tail {
                    return Ok(offset + 1);
                }
            }
        }
        position = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(path: &Path, tail: Option<usize>) -> Vec<(String, LogStream)> {
        let mut reader = LogReader::open(path, tail).unwrap();
        std::iter::from_fn(|| reader.next_line().unwrap())
            .map(|line| (line.log, line.stream))
            .collect()
    }

    #[test]
    fn lines_are_whole_and_streams_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut log = LogWriter::open(&path).unwrap();
        log.write(LogStream::Stdout, b"one\ntw").unwrap();
        log.write(LogStream::Stderr, b"bad\n").unwrap();
        log.write(LogStream::Stdout, b"o\nrest").unwrap();
        log.finish().unwrap();
        let seen = read_all(&path, None);
        let expected = [("one\n", 0), ("bad\n", 1), ("two\n", 0), ("rest", 0)];
        assert_eq!(seen.len(), 4);
        for ((log, stream), (text, number)) in seen.iter().zip(expected) {
            assert_eq!((log.as_str(), *stream as i32), (text, number));
        }
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with(r#"{"log":"one\n","stream":"stdout","time":"2"#)
        );
    }

    #[test]
    fn long_lines_are_split_as_docker_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut log = LogWriter::open(&path).unwrap();
        log.write(LogStream::Stdout, &vec![b'x'; 40_000]).unwrap();
        log.write(LogStream::Stdout, b"\n").unwrap();
        let lengths: Vec<_> = read_all(&path, None).iter().map(|(log, _)| log.len()).collect();
        assert_eq!(lengths, [16_384, 16_384, 40_000 - 2 * 16_384 + 1]);
    }

    #[test]
    fn tail_counts_from_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut log = LogWriter::open(&path).unwrap();
        for number in 0..5_000 {
            log.write(LogStream::Stdout, format!("line {number}\n").as_bytes())
                .unwrap();
        }
        for (tail, first) in [(1, 4_999), (3_000, 2_000), (9_000, 0)] {
            let seen = read_all(&path, Some(tail));
            assert_eq!(seen[0].0, format!("line {first}\n"));
            assert_eq!(seen.last().unwrap().0, "line 4999\n");
        }
        assert!(read_all(&path, Some(0)).is_empty());
        assert!(read_all(&folder.path().join("none"), Some(3)).is_empty());
    }

    #[test]
    fn reading_goes_on_after_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("json.log");
        let mut log = LogWriter::open(&path).unwrap();
        let mut reader = LogReader::open(&path, None).unwrap();
        assert_eq!(reader.next_line().unwrap(), None);
        log.file.write_all(br#"{"log":"a\n","stre"#).unwrap();
        assert_eq!(reader.next_line().unwrap(), None);
        log.file
            .write_all(b"am\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}\n")
            .unwrap();
        assert_eq!(reader.next_line().unwrap().unwrap().log, "a\n");
    }
}
