//! Reading a tar: members one after the other, every byte hashed, nothing held in memory but names.
//!
//! What counts as a tar is what Go's `archive/tar`, and so Docker and containerd, take: a missing end mark is fine (the
//! diff id tells whether something is missing), global pax headers are ignored, only regular files have content.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};

use plimsoll_oci::Hasher;

use crate::error::{LayerError, Result, refused};
use crate::header::{BLOCK, Header, padding, pax_records, pax_time};
use crate::sparse::{self, Part};
use crate::{Applied, attributes};

/// Longest header content (names, pax records) that is read; Linux allows 64 KiB per attribute.
const MAX_EXTENSION: u64 = 4 << 20;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One member of an archive; a file's content follows in the reader.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) time: (i64, u32),
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Size of the file as it will be.
    pub(crate) size: u64,
    /// The parts of a sparse file that are in the archive; none when all of it is.
    pub(crate) parts: Option<Vec<Part>>,
}

/// A tar being read.
pub(crate) struct Reader<R: Read> {
    source: BufReader<Hashing<R>>,
    /// Bytes of the current member not read yet.
    left: u64,
    /// Bytes after them up to the next block.
    padding: usize,
    ended: bool,
}

/// What the extension headers before a member said.
#[derive(Default)]
struct Extensions {
    any: bool,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<i64>,
    group: Option<i64>,
    time: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: sparse::Records,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(source: R) -> Self {
        let source = Hashing {
            source,
            hasher: Hasher::new(),
            count: 0,
        };
        Self {
            source: BufReader::with_capacity(256 << 10, source),
            left: 0,
            padding: 0,
            ended: false,
        }
    }

    /// Returns the next member, having skipped what was not read of the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        self.skip_rest()?;
        let mut extensions = Extensions::default();
        while let Some(block) = self.block()? {
            if block.iter().all(|byte| *byte == 0) {
                return self.end(&extensions);
            }
            let header = Header(&block);
            if !header.is_sound() {
                return Err(self.malformed("a header's checksum is wrong"));
            }
            let size = self.positive(header.size(), "a header's size is no number")?;
            match header.type_flag() {
                b'x' => {
                    let data = self.extension(size)?;
                    extensions = self.pax(&data)?;
                }
                b'g' => drop(self.extension(size)?),
                b'L' => extensions.long_path = Some(without_nul(self.extension(size)?)),
                b'K' => extensions.long_link = Some(without_nul(self.extension(size)?)),
                _ => return self.member(&header, size, extensions).map(Some),
            }
            extensions.any = true;
        }
        self.end(&extensions)
    }

    /// Copies the content of the current member, `length` bytes of it, to `out`.
    pub(crate) fn copy(&mut self, length: u64, out: &File, path: &[u8]) -> Result<()> {
        use crate::error::At as _;
        let mut out = out;
        self.consume(length, |bytes| out.write_all(bytes).at("write", path))
    }

    /// Reads to the very end, what comes after the end mark included: the digest is of all bytes.
    pub(crate) fn finish(mut self) -> Result<Applied> {
        self.skip_rest()?;
        io::copy(&mut self.source, &mut io::sink()).map_err(LayerError::Read)?;
        let hashing = self.source.into_inner();
        Ok(Applied {
            diff_id: hashing.hasher.finish(),
            tar_size: hashing.count,
        })
    }

    fn member(&mut self, header: &Header<'_>, size: u64, mut extensions: Extensions) -> Result<Member> {
        let path = extensions.long_path.take().unwrap_or_else(|| header.path());
        let kind = match header.type_flag() {
            // Before ustar a directory was a file with a slash at the end.
            0 if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(refused(&path, "its type is not one a layer can have")),
        };
        let stored = extensions.size.unwrap_or(size);
        if kind == Kind::File {
            self.left = stored;
            self.padding = padding(stored);
        }
        let mut member = Member {
            link: extensions.long_link.take().unwrap_or_else(|| header.link()),
            mode: self.positive(header.mode(), "a mode is no number")? as u32 & 0o7777,
            user: self.id(extensions.user.or(header.user()))?,
            group: self.id(extensions.group.or(header.group()))?,
            time: extensions
                .time
                .or(header.time().map(|time| (time, 0)))
                .ok_or_else(|| self.malformed("a time is no number"))?,
            device: self.device(kind, header)?,
            xattrs: extensions.xattrs,
            size: self.left,
            parts: None,
            path,
            kind,
        };
        if kind == Kind::File {
            self.sparse(header, extensions.sparse, &mut member)?;
        }
        Ok(member)
    }

    /// Finds out about holes: an old GNU header with more blocks of map after it, or pax records.
    fn sparse(&mut self, header: &Header<'_>, records: sparse::Records, member: &mut Member) -> Result<()> {
        let map = if header.type_flag() == b'S' {
            let mut map =
                sparse::Map::from_header(header).ok_or_else(|| self.malformed("a sparse map is damaged"))?;
            while map.continued {
                let block = self.block()?.ok_or_else(|| self.truncated())?;
                map.extend(&block)
                    .ok_or_else(|| self.malformed("a sparse map is damaged"))?;
            }
            map
        } else if records.in_content() {
            let parts = self.sparse_map_in_content()?;
            records
                .into_map(Some(parts))
                .ok_or_else(|| self.malformed("a sparse map is damaged"))?
        } else if records.any() {
            records
                .into_map(None)
                .ok_or_else(|| self.malformed("a sparse map is damaged"))?
        } else {
            return Ok(());
        };
        if !map.is_sound(self.left) {
            return Err(self.malformed("a sparse map does not fit its file"));
        }
        member.path = map.name.unwrap_or_else(|| std::mem::take(&mut member.path));
        member.size = map.size;
        member.parts = Some(map.parts);
        Ok(())
    }

    /// GNU's form 1.0: the content starts with decimal lines (count, then offset and length of each), padded to a block.
    fn sparse_map_in_content(&mut self) -> Result<Vec<Part>> {
        let mut read = 0;
        let count = self.decimal_line(&mut read)?;
        if count > sparse::MAX_PARTS {
            return Err(self.malformed("a sparse map is too long"));
        }
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(Part {
                offset: self.decimal_line(&mut read)?,
                length: self.decimal_line(&mut read)?,
            });
        }
        self.consume(padding(read) as u64, |_| Ok(()))?;
        Ok(parts)
    }

    fn decimal_line(&mut self, read: &mut u64) -> Result<u64> {
        let mut value: u64 = 0;
        loop {
            let mut byte = 0;
            self.consume(1, |bytes| {
                byte = bytes[0];
                Ok(())
            })?;
            *read += 1;
            let next = match byte {
                b'\n' => return Ok(value),
                b'0'..=b'9' => value
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(u64::from(byte - b'0'))),
                _ => None,
            };
            value = next.ok_or_else(|| self.malformed("a sparse map is damaged"))?;
        }
    }

    fn pax(&self, data: &[u8]) -> Result<Extensions> {
        let mut extensions = Extensions::default();
        let records = pax_records(data).ok_or_else(|| self.malformed("a pax record is damaged"))?;
        let decimal = |value: &[u8]| {
            std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
        };
        let no_number = || self.malformed("a pax record is no number");
        for (key, value) in records {
            match key {
                // An empty value takes back what a global header said.
                _ if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") => {}
                b"path" => extensions.long_path = Some(value.to_vec()),
                b"linkpath" => extensions.long_link = Some(value.to_vec()),
                b"size" => extensions.size = Some(self.positive(decimal(value), "a pax size is no number")?),
                b"uid" => extensions.user = Some(decimal(value).ok_or_else(no_number)?),
                b"gid" => extensions.group = Some(decimal(value).ok_or_else(no_number)?),
                b"mtime" => extensions.time = Some(pax_time(value).ok_or_else(no_number)?),
                _ => {
                    if let Some(name) = key
                        .strip_prefix(b"SCHILY.xattr.")
                        .filter(|name| attributes::kept(name))
                    {
                        extensions.xattrs.push((name.to_vec(), value.to_vec()));
                    } else if !extensions.sparse.take(key, value) {
                        return Err(self.malformed("a sparse map is damaged"));
                    }
                }
            }
        }
        Ok(extensions)
    }

    fn device(&self, kind: Kind, header: &Header<'_>) -> Result<(u32, u32)> {
        if !matches!(kind, Kind::CharacterDevice | Kind::BlockDevice) {
            return Ok((0, 0));
        }
        let numbers = header
            .device()
            .and_then(|(major, minor)| Some((major.try_into().ok()?, minor.try_into().ok()?)));
        numbers.ok_or_else(|| self.malformed("a device number is no number"))
    }

    /// -1 would mean "leave the owner as it is" to the kernel.
    fn id(&self, number: Option<i64>) -> Result<u32> {
        let id = number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|id| *id != u32::MAX);
        id.ok_or_else(|| self.malformed("an owner is no number of a user or group"))
    }

    fn positive(&self, number: Option<i64>, what: &'static str) -> Result<u64> {
        number
            .and_then(|number| u64::try_from(number).ok())
            .ok_or_else(|| self.malformed(what))
    }

    /// After the first block of zeros the archive has ended, or goes on with another one; anything else is no tar.
    fn end(&mut self, extensions: &Extensions) -> Result<Option<Member>> {
        if extensions.any {
            return Err(self.truncated());
        }
        if !self.ended {
            self.ended = true;
            if self
                .block()?
                .is_some_and(|block| block.iter().any(|byte| *byte != 0))
            {
                return Err(self.malformed("something follows a single block of zeros"));
            }
        }
        Ok(None)
    }

    /// Reads the content of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(self.malformed("an extension header is too long"));
        }
        self.left = size;
        self.padding = padding(size);
        let mut data = Vec::with_capacity(size as usize);
        self.consume(size, |bytes| {
            data.extend_from_slice(bytes);
            Ok(())
        })?;
        self.skip_rest()?;
        Ok(data)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let rest = self.left + std::mem::take(&mut self.padding) as u64;
        self.left = rest;
        self.consume(rest, |_| Ok(()))
    }

    /// Hands `length` bytes of the current member to `take`, piece by piece.
    fn consume(&mut self, length: u64, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if length > self.left {
            return Err(self.malformed("a file is shorter than its map"));
        }
        let mut wanted = length;
        while wanted > 0 {
            let bytes = self.source.fill_buf().map_err(LayerError::Read)?;
            if bytes.is_empty() {
                return Err(self.truncated());
            }
            let count = bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
            take(&bytes[..count])?;
            self.source.consume(count);
            wanted -= count as u64;
            self.left -= count as u64;
        }
        Ok(())
    }

    /// Reads a header block; none at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayerError::Read(error)),
            }
        }
        Ok(Some(block))
    }

    fn offset(&self) -> u64 {
        self.source.get_ref().count - self.source.buffer().len() as u64
    }

    fn truncated(&self) -> LayerError {
        LayerError::Truncated {
            offset: self.offset(),
        }
    }

    fn malformed(&self, what: &'static str) -> LayerError {
        LayerError::Malformed {
            offset: self.offset(),
            what,
        }
    }
}

/// GNU ends long names with a NUL.
fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}

/// Hashes and counts what is read through it.
struct Hashing<R> {
    source: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(out)?;
        self.hasher.update(&out[..count]);
        self.count += count as u64;
        Ok(count)
    }
}
