//! Lines of a log: made of a stream of bytes, and in the forms Docker keeps them in.

use std::collections::BTreeMap;

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

impl LogStream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of the log, as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogLine {
    /// The text with its line end; without one when the line was longer than 16 KiB or the output ended.
    pub log: String,
    /// Where it came from.
    pub stream: LogStream,
    /// What `--log-opt labels=..,env=..,tag=..` add.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    /// When its last byte was read.
    pub time: Timestamp,
}

/// One line of the log, as it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) stream: LogStream,
    pub(crate) time: Timestamp,
    /// Without its line end.
    pub(crate) text: &'a [u8],
    /// False for a piece of a longer line, but the last.
    pub(crate) whole: bool,
}

/// Puts lines together from what the pipes give.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: [Vec<u8>; 2],
}

impl Lines {
    /// Takes a piece of output and gives away the lines it completes.
    pub(crate) fn take(&mut self, stream: LogStream, mut bytes: &[u8], mut each: impl FnMut(Entry<'_>)) {
        let time = Timestamp::now();
        let partial = &mut self.partial[stream as usize];
        while !bytes.is_empty() {
            let window = &bytes[..bytes.len().min(LINE - partial.len())];
            let end = window.iter().position(|byte| *byte == b'\n');
            let (piece, rest) = match end {
                Some(at) => (&bytes[..at], &bytes[at + 1..]),
                None => bytes.split_at(window.len()),
            };
            bytes = rest;
            let whole = end.is_some();
            // Mostly a line lies in one piece, and then nothing is copied.
            if whole && partial.is_empty() {
                each(Entry {
                    stream,
                    time,
                    text: piece,
                    whole,
                });
                continue;
            }
            partial.extend_from_slice(piece);
            if whole || partial.len() == LINE {
                each(Entry {
                    stream,
                    time,
                    text: partial,
                    whole,
                });
                partial.clear();
            }
        }
    }

    /// Gives away what is left of lines that were never ended.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(Entry<'_>)) {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let text = std::mem::take(&mut self.partial[stream as usize]);
            if !text.is_empty() {
                each(Entry {
                    stream,
                    time: Timestamp::now(),
                    text: &text,
                    whole: false,
                });
            }
        }
    }
}

/// How lines lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    /// A JSON object per line: Docker's `json-file`.
    Json,
    /// Length, protobuf message, length: Docker's `local`.
    Local,
}

impl Format {
    /// Appends a line. `attributes` is a JSON object, or empty; the local form has no place for it.
    pub(crate) fn encode(self, entry: &Entry<'_>, attributes: &str, out: &mut Vec<u8>) {
        match self {
            Self::Json => json(entry, attributes, out),
            Self::Local => local(entry, out),
        }
    }

    /// Returns the bytes of the first record, of which `bytes` may hold a part only.
    pub(crate) fn record(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Json => bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
            Self::Local => {
                let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
                Some(length + 8).filter(|all| bytes.len() >= *all)
            }
        }
    }

    /// Reads one record; None when it is damaged.
    pub(crate) fn decode(self, record: &[u8]) -> Option<LogLine> {
        match self {
            Self::Json => serde_json::from_slice(record).ok(),
            Self::Local => decode_local(record.get(4..record.len().checked_sub(4)?)?),
        }
    }
}

/// As Docker's own encoder writes it: HTML's and control characters as `\u00XX`, but for line ends.
fn json(entry: &Entry<'_>, attributes: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(entry.text, out);
    if entry.whole {
        out.extend_from_slice(b"\\n");
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(entry.stream.as_str().as_bytes());
    out.push(b'"');
    if !attributes.is_empty() {
        out.extend_from_slice(b",\"attrs\":");
        out.extend_from_slice(attributes.as_bytes());
    }
    out.extend_from_slice(format!(",\"time\":\"{}\"}}\n", entry.time).as_bytes());
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut start = 0;
        for (at, byte) in valid.iter().enumerate() {
            let plain = *byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
            // U+2028 and U+2029 end lines in JavaScript.
            let separator = *byte == 0xe2 && matches!(valid.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9]));
            if plain && !separator {
                continue;
            }
            out.extend_from_slice(&valid[start..at]);
            start = at + if separator { 3 } else { 1 };
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                _ if separator => {
                    out.extend_from_slice(if valid[at + 2] == 0xa8 {
                        b"\\u2028"
                    } else {
                        b"\\u2029"
                    });
                }
                other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
            }
        }
        out.extend_from_slice(&valid[start..]);
        // One sign for each byte that is no text, as Go does.
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// moby api/types/plugins/logdriver/entry.proto: source = 1, time_nano = 2, line = 3, partial = 4.
fn local(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let source = entry.stream.as_str().as_bytes();
    out.extend_from_slice(&[0x0a, u8::try_from(source.len()).expect("six letters")]);
    out.extend_from_slice(source);
    out.push(0x10);
    let nanoseconds = i64::try_from(entry.time.as_nanosecond()).unwrap_or(i64::MAX);
    varint(nanoseconds.cast_unsigned(), out);
    out.push(0x1a);
    varint(entry.text.len() as u64, out);
    out.extend_from_slice(entry.text);
    if !entry.whole {
        out.extend_from_slice(&[0x20, 1]);
    }
    let length = u32::try_from(out.len() - start - 4)
        .expect("lines are short")
        .to_be_bytes();
    out[start..start + 4].copy_from_slice(&length);
    out.extend_from_slice(&length);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn decode_local(mut message: &[u8]) -> Option<LogLine> {
    let (mut stream, mut nanoseconds, mut text, mut partial) = (LogStream::Stdout, 0, &[][..], false);
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = take_varint(&mut message)?;
                match key >> 3 {
                    2 => nanoseconds = value.cast_signed(),
                    4 => partial = value != 0,
                    _ => {}
                }
            }
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                match key >> 3 {
                    1 if bytes == b"stderr" => stream = LogStream::Stderr,
                    3 => text = bytes,
                    _ => {}
                }
            }
            _ => return None,
        }
    }
    let mut log = String::from_utf8_lossy(text).into_owned();
    if !partial {
        log.push('\n');
    }
    Some(LogLine {
        log,
        stream,
        attrs: BTreeMap::new(),
        time: Timestamp::from_nanosecond(nanoseconds.into()).ok()?,
    })
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[(LogStream, &[u8])]) -> Vec<(LogStream, Vec<u8>, bool)> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        let mut each = |entry: Entry<'_>| seen.push((entry.stream, entry.text.to_vec(), entry.whole));
        for (stream, bytes) in pieces {
            lines.take(*stream, bytes, &mut each);
        }
        lines.finish(&mut each);
        seen
    }

    #[test]
    fn lines_are_whole_and_streams_apart() {
        use LogStream::{Stderr, Stdout};
        let seen = lines(&[(Stdout, b"one\ntw"), (Stderr, b"bad\n\n"), (Stdout, b"o\nrest")]);
        let expected = [
            (Stdout, "one", true),
            (Stderr, "bad", true),
            (Stderr, "", true),
            (Stdout, "two", true),
            (Stdout, "rest", false),
        ];
        let expected = expected.map(|(stream, text, whole)| (stream, text.as_bytes().to_vec(), whole));
        assert_eq!(seen, expected);
    }

    #[test]
    fn long_lines_are_split_as_docker_does() {
        let long = vec![b'x'; 40_000];
        let seen = lines(&[(LogStream::Stdout, &long), (LogStream::Stdout, b"\n")]);
        let lengths: Vec<_> = seen.iter().map(|(_, text, whole)| (text.len(), *whole)).collect();
        assert_eq!(
            lengths,
            [(16_384, false), (16_384, false), (40_000 - 2 * 16_384, true)]
        );
    }

    fn entry(text: &[u8], whole: bool) -> Entry<'_> {
        Entry {
            stream: LogStream::Stdout,
            time: "2026-11-21T15:18:14.55555677Z".parse().unwrap(),
            text,
            whole,
        }
    }

    fn encoded(format: Format, entry: &Entry<'_>, attributes: &str) -> Vec<u8> {
        let mut out = Vec::new();
        format.encode(entry, attributes, &mut out);
        out
    }

    /// What Docker 28.5 wrote for the same output.
    #[test]
    fn the_json_form_is_dockers_byte_for_byte() {
        let text = encoded(Format::Json, &entry(b"\t\x08\x0c\x01<>&\r", true), "");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"log\":\"\\u0009\\u0008\\u000c\\u0001\\u003c\\u003e\\u0026\\r\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T15:18:14.55555677Z\"}\n"
        );
        let text = encoded(
            Format::Json,
            &entry("a\u{2028}\"\\é\u{e000}".as_bytes(), false),
            "{\"tag\":\"x\"}",
        );
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"log\":\"a\\u2028\\\"\\\\é\u{e000}\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"x\"},\"time\":\"2026-11-21T15:18:14.55555677Z\"}\n"
        );
        let text = encoded(Format::Json, &entry(b"\xff\xfea", false), "");
        assert!(text.starts_with(b"{\"log\":\"\\ufffd\\ufffda\""));
    }

    #[test]
    fn what_was_written_is_read_in_both_forms() {
        for format in [Format::Json, Format::Local] {
            for (text, whole) in [
                (&b"hello \"you\""[..], true),
                (b"", true),
                (&[b'x'; 16_384], false),
            ] {
                let record = encoded(format, &entry(text, whole), "");
                assert_eq!(format.record(&record), Some(record.len()));
                assert_eq!(format.record(&record[..record.len() - 1]), None);
                let line = format.decode(&record).unwrap();
                let end = if whole { "\n" } else { "" };
                assert_eq!(line.log, format!("{}{end}", String::from_utf8_lossy(text)));
                assert_eq!(line.time, entry(text, whole).time);
            }
        }
        assert_eq!(Format::Json.decode(b"{\"log\":\n"), None);
        assert_eq!(Format::Local.decode(b"\0\0\0\x02\xff\xff\0\0\0\x02"), None);
    }
}
