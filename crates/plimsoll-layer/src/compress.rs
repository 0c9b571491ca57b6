//! Layers packed for elsewhere: gzip, zstd or as they are, with digest and size computed on the way.
//!
//! The bytes depend on what is written and on the [`Encoding`], never on the number of threads nor on how the writes
//! were cut: input is cut into blocks of a fixed size, each is packed by itself on one of several threads, and the
//! results are joined in order.
//!
//! | | block | joined as |
//! | --- | --- | --- |
//! | gzip | 1 MiB | one member: raw deflate, each block ended by a full flush; the checksums are combined |
//! | zstd | 4 MiB | one frame per block ([RFC 8878], section 3: a stream is one or more frames) |
//!
//! Several gzip *members* would be simpler, but some streaming readers stop after the first.
//!
//! [RFC 8878]: https://www.rfc-editor.org/rfc/rfc8878

mod blocks;

use std::fmt;
use std::io::{self, Write};
use std::num::NonZero;
use std::str::FromStr;

use plimsoll_oci::{Digest, Hasher};

use blocks::{Blocks, Packer};

/// Part of [`Encoding::version`]: changed whenever the same settings give other bytes, which a test notices.
const GZIP_VERSION: &str = "zlib-rs-1";
const ZSTD_VERSION: &str = "zstd-1";
/// Packs as tightly as Go's gzip at its default level, which is BuildKit's: to 0.387 of 1 GiB of programs, libraries and
/// texts, Go to 0.388. Level 6 comes to 0.381 and takes half as long again.
const GZIP_LEVEL: u32 = 4;
/// BuildKit's and the library's own default.
const ZSTD_LEVEL: u32 = 3;

/// What the bytes of a layer are packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar.
    Uncompressed,
    /// What every reader takes.
    Gzip,
    /// Smaller and faster; for registries and engines of the last years.
    Zstd,
}

/// A compression with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoding {
    compression: Compression,
    level: u32,
}

/// A compression or a level there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not a name of a compression.
    #[error("compression `{0}` is not known: use gzip, zstd or uncompressed")]
    Unknown(String),
    /// A compression of containerd's and BuildKit's that is not made here.
    #[error("compression `{0}` is not supported: use gzip, zstd or uncompressed")]
    Unsupported(String),
    /// The compression has no such level.
    #[error("{compression} has levels from 0 to {highest}, not {level}")]
    Level {
        /// Of what.
        compression: Compression,
        /// The one asked for.
        level: u32,
        /// The last there is.
        highest: u32,
    },
}

impl Compression {
    /// Returns the compression that a layer's media type names.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let kind = media_type.rsplit(['+', '.']).next()?;
        match kind {
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "tar" => Some(Self::Uncompressed),
            _ => None,
        }
    }

    /// Returns the media type of such layers, of the OCI image specification or of Docker's. Docker has none for zstd.
    pub fn media_type(self, oci: bool) -> &'static str {
        match (self, oci) {
            (Self::Uncompressed, true) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Gzip, true) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Uncompressed, false) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Gzip, false) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Self::Zstd, _) => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    fn highest_level(self) -> u32 {
        match self {
            Self::Uncompressed => 0,
            Self::Gzip => 9,
            Self::Zstd => 22,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uncompressed => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for Compression {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        match text {
            "uncompressed" => Ok(Self::Uncompressed),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            "estargz" | "nydus" => Err(EncodingError::Unsupported(text.to_owned())),
            _ => Err(EncodingError::Unknown(text.to_owned())),
        }
    }
}

impl Default for Encoding {
    /// gzip at the default level.
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            level: GZIP_LEVEL,
        }
    }
}

impl Encoding {
    /// Returns the encoding with this level, or with the default one of the compression.
    pub fn new(compression: Compression, level: Option<u32>) -> Result<Self, EncodingError> {
        let highest = compression.highest_level();
        if let Some(level) =
            level.filter(|level| *level > highest && compression != Compression::Uncompressed)
        {
            return Err(EncodingError::Level {
                compression,
                level,
                highest,
            });
        }
        let default = match compression {
            Compression::Uncompressed => {
                return Ok(Self {
                    compression,
                    level: 0,
                });
            }
            Compression::Gzip => GZIP_LEVEL,
            Compression::Zstd => ZSTD_LEVEL,
        };
        Ok(Self {
            compression,
            level: level.unwrap_or(default),
        })
    }

    /// Returns the compression.
    pub fn compression(self) -> Compression {
        self.compression
    }

    /// Names the encoder: two with the same name give the same bytes for the same tar, today and with a later program.
    pub fn version(self) -> String {
        let Self { compression, level } = self;
        match compression {
            Compression::Uncompressed => compression.to_string(),
            Compression::Gzip => format!("{compression}-{level} {GZIP_VERSION}"),
            Compression::Zstd => format!("{compression}-{level} {ZSTD_VERSION}"),
        }
    }

    /// Starts packing into `out`, on as many threads beside the one that writes.
    pub fn pack<W: Write>(self, out: W, threads: NonZero<usize>) -> Compressor<W> {
        let level = self.level;
        let packer = match self.compression {
            Compression::Uncompressed => None,
            Compression::Gzip => Some(Packer::Gzip { level }),
            Compression::Zstd => Some(Packer::Zstd { level }),
        };
        Compressor {
            out: Digesting {
                out,
                hasher: Hasher::new(),
                size: 0,
            },
            blocks: packer.map(|packer| Blocks::new(packer, threads)),
        }
    }
}

/// What came out of a [`Compressor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// Digest of the packed bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// Packs what is written to it. Without [`Compressor::finish`] the output is cut off.
pub struct Compressor<W: Write> {
    out: Digesting<W>,
    blocks: Option<Blocks>,
}

impl<W: Write> Compressor<W> {
    /// Packs what is left, and returns the output with what is in it.
    pub fn finish(mut self) -> io::Result<(W, Compressed)> {
        if let Some(blocks) = self.blocks.take() {
            blocks.finish(&mut self.out)?;
        }
        self.out.flush()?;
        let compressed = Compressed {
            digest: self.out.hasher.finish(),
            size: self.out.size,
        };
        Ok((self.out.out, compressed))
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.blocks {
            Some(blocks) => blocks.write(bytes, &mut self.out),
            None => self.out.write(bytes),
        }
    }

    /// Blocks stay whole: what is not full yet waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes and counts what is written through it.
struct Digesting<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
