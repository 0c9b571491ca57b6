//! Files and places as editors write them.

use std::str::FromStr as _;

use camino::{Utf8Path, Utf8PathBuf};
use lsp_types::{InitializeParams, Position, PositionEncodingKind, Range, Uri};
use plimsoll_diagnostics::{Source, Span};

/// What a column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes.
    Utf8,
    /// Code units of UTF-16: what everybody understands.
    Utf16,
}

impl Encoding {
    /// Bytes, if the editor can.
    pub(super) fn agreed(hello: &InitializeParams) -> Self {
        let general = hello.capabilities.general.as_ref();
        let offered = general.and_then(|general| general.position_encodings.as_deref());
        match offered.is_some_and(|offered| offered.contains(&PositionEncodingKind::UTF8)) {
            true => Self::Utf8,
            false => Self::Utf16,
        }
    }

    pub(super) fn kind(self) -> PositionEncodingKind {
        match self {
            Self::Utf8 => PositionEncodingKind::UTF8,
            Self::Utf16 => PositionEncodingKind::UTF16,
        }
    }

    pub(super) fn position(self, source: &Source, offset: usize) -> Position {
        let offset = source.clamp(Span::new(offset, offset)).start;
        let before = &source.text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count();
        let column = match self {
            Self::Utf8 => offset - start,
            Self::Utf16 => before[start..].chars().map(char::len_utf16).sum(),
        };
        Position::new(number(line), number(column))
    }

    pub(super) fn range(self, source: &Source, span: Span) -> Range {
        Range::new(self.position(source, span.start), self.position(source, span.end))
    }

    /// The byte at a place; past the end of a line it is the line's end.
    pub(super) fn offset(self, source: &Source, position: Position) -> usize {
        let text = &*source.text;
        let lines = text.split_inclusive('\n');
        let wanted = position.line as usize;
        let start: usize = lines.clone().take(wanted).map(str::len).sum();
        let line = lines.clone().nth(wanted).unwrap_or_default();
        let line = line.trim_end_matches(['\r', '\n']);
        let wanted = position.character as usize;
        let mut column = 0;
        for (at, letter) in line.char_indices() {
            if column >= wanted {
                return start + at;
            }
            column += match self {
                Self::Utf8 => letter.len_utf8(),
                Self::Utf16 => letter.len_utf16(),
            };
        }
        start + line.len()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The path of a `file:` URI; whatever else has no file (`untitled:Untitled-1`) gets its name in the folder.
pub(super) fn path(uri: &Uri, current: &Utf8Path) -> Utf8PathBuf {
    let text = uri.as_str();
    match text.strip_prefix("file://") {
        Some(path) => decoded(path).into(),
        None => current.join(decoded(text.rsplit([':', '/']).next().unwrap_or(text))),
    }
}

/// The URI of a file.
pub(super) fn uri(path: &Utf8Path) -> Option<Uri> {
    let mut text = String::from("file://");
    for byte in path.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    Uri::from_str(&text).ok()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'%')
            .then(|| after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let source = Source::new("f", "FROM a\r\nENV ä=日𝄞x\n");
        for encoding in [Encoding::Utf8, Encoding::Utf16] {
            for (offset, _) in source
                .text
                .char_indices()
                .filter(|(_, letter)| !"\r\n".contains(*letter))
            {
                let position = encoding.position(&source, offset);
                assert_eq!(encoding.offset(&source, position), offset, "{encoding:?}");
            }
        }
        let x = source.text.find('x').unwrap();
        assert_eq!(Encoding::Utf16.position(&source, x), Position::new(1, 9));
        assert_eq!(Encoding::Utf16.offset(&source, Position::new(0, 99)), 6);
        assert_eq!(
            Encoding::Utf16.offset(&source, Position::new(9, 0)),
            source.text.len()
        );
    }

    #[test]
    fn uris_are_paths() {
        let current = Utf8Path::new("/work");
        let there = Utf8Path::new("/a b/ü/Dockerfile");
        let encoded = uri(there).unwrap();
        assert_eq!(encoded.as_str(), "file:///a%20b/%C3%BC/Dockerfile");
        assert_eq!(path(&encoded, current), there);
        let untitled = Uri::from_str("untitled:Untitled-1").unwrap();
        assert_eq!(path(&untitled, current), "/work/Untitled-1");
    }
}
