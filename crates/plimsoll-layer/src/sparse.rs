//! Files with holes, in the four forms GNU tar has had: the old header, and pax records 0.0, 0.1 and 1.0.
//!
//! "Storing Sparse Files" in the GNU tar manual.

use crate::header::{BLOCK, Header, number};

/// More parts than any file system makes of a file in an image.
pub(crate) const MAX_PARTS: u64 = 1 << 20;

/// A run of bytes that is not a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A file's parts and its full size.
pub(crate) struct Map {
    pub(crate) parts: Vec<Part>,
    pub(crate) size: u64,
    pub(crate) name: Option<Vec<u8>>,
    /// Another block of map follows.
    pub(crate) continued: bool,
}

impl Map {
    /// Reads the map in an old GNU header: four parts, whether more follow, and the full size.
    pub(crate) fn from_header(header: &Header<'_>) -> Option<Self> {
        let block = header.0;
        let size = number(&block[483..495])?.try_into().ok()?;
        let mut map = Self {
            parts: Vec::new(),
            size,
            name: None,
            continued: block[482] != 0,
        };
        map.take(&block[386..482])?;
        Some(map)
    }

    /// Reads one more block: 21 parts, and whether more follow.
    pub(crate) fn extend(&mut self, block: &[u8; BLOCK]) -> Option<()> {
        self.continued = block[504] != 0;
        self.take(&block[..504])
    }

    fn take(&mut self, fields: &[u8]) -> Option<()> {
        for field in fields.chunks_exact(24) {
            if field[0] == 0 {
                break;
            }
            let offset = number(&field[..12])?.try_into().ok()?;
            let length = number(&field[12..])?.try_into().ok()?;
            self.parts.push(Part { offset, length });
        }
        (self.parts.len() as u64 <= MAX_PARTS).then_some(())
    }

    /// Returns whether the parts are in order, do not overlap, end within the file, and make up `stored` bytes.
    pub(crate) fn is_sound(&self, stored: u64) -> bool {
        let mut end = 0;
        let mut total: u64 = 0;
        for part in &self.parts {
            let Some(part_end) = part.offset.checked_add(part.length) else {
                return false;
            };
            if part.offset < end || part_end > self.size {
                return false;
            }
            end = part_end;
            total += part.length;
        }
        total == stored && i64::try_from(self.size).is_ok()
    }
}

/// What `GNU.sparse.*` records said.
#[derive(Default)]
pub(crate) struct Records {
    any: bool,
    major: Option<u64>,
    size: Option<u64>,
    name: Option<Vec<u8>>,
    /// Offsets and lengths in turn.
    numbers: Vec<u64>,
}

impl Records {
    /// Takes a record; false when it is one of these and damaged.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Some(key) = key.strip_prefix(b"GNU.sparse.") else {
            return true;
        };
        self.any = true;
        let decimal = |value: &[u8]| {
            std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        };
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.major = decimal(value),
            b"size" | b"realsize" => self.size = decimal(value),
            b"offset" | b"numbytes" => match decimal(value) {
                Some(number) => self.numbers.push(number),
                None => return false,
            },
            b"map" => match value.split(|byte| *byte == b',').map(decimal).collect() {
                Some(numbers) => self.numbers = numbers,
                None => return false,
            },
            _ => {}
        }
        true
    }

    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Form 1.0 has its map at the start of the content.
    pub(crate) fn in_content(&self) -> bool {
        self.major == Some(1)
    }

    pub(crate) fn into_map(self, parts: Option<Vec<Part>>) -> Option<Map> {
        let pairs = self.numbers.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return None;
        }
        let recorded = || {
            pairs
                .map(|pair| Part {
                    offset: pair[0],
                    length: pair[1],
                })
                .collect()
        };
        Some(Map {
            parts: parts.unwrap_or_else(recorded),
            size: self.size?,
            name: self.name,
            continued: false,
        })
    }
}
