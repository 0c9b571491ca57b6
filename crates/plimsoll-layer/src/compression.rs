//! Telling compressions apart and undoing them.

use std::io::{BufRead as _, BufReader, Read};

use crate::LayerError;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Returns a reader of the uncompressed bytes, told by the magic number: gzip, zstd or as it is.
pub fn decompress<'a>(reader: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
    let mut reader = BufReader::with_capacity(128 << 10, reader);
    let mut magic = Vec::with_capacity(ZSTD.len());
    // A slow source may give fewer bytes than a magic number has.
    while magic.len() < ZSTD.len() {
        let start = reader.fill_buf().map_err(LayerError::Read)?;
        let Some(byte) = start.first() else { break };
        magic.push(*byte);
        reader.consume(1);
    }
    let whole = std::io::Cursor::new(magic.clone()).chain(reader);
    Ok(if magic.starts_with(GZIP) {
        // A gzip file may have several members (pigz, estargz); the plain decoder stops after the first.
        Box::new(flate2::read::MultiGzDecoder::new(whole))
    } else if magic == ZSTD {
        Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::new(whole)).map_err(LayerError::Read)?)
    } else {
        Box::new(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn read(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes).unwrap().read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn tells_by_the_magic_number() {
        assert_eq!(read(&gzip(b"hello")).unwrap(), b"hello");
        assert_eq!(
            read(&zstd::encode_all(&b"hello"[..], 1).unwrap()).unwrap(),
            b"hello"
        );
        for plain in [&b"hello"[..], b"", b"\x1f", b"\x28\xb5\x2f"] {
            assert_eq!(read(plain).unwrap(), plain);
        }
    }

    #[test]
    fn reads_every_member_and_frame() {
        assert_eq!(
            read(&[gzip(b"hello "), gzip(b"world")].concat()).unwrap(),
            b"hello world"
        );
        let frame = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        assert_eq!(
            read(&[frame(b"hello "), frame(b"world")].concat()).unwrap(),
            b"hello world"
        );
    }

    #[test]
    fn a_truncated_stream_is_an_error() {
        for bytes in [
            gzip(b"hello world"),
            zstd::encode_all(&b"hello world"[..], 1).unwrap(),
        ] {
            assert!(read(&bytes[..bytes.len() - 5]).is_err());
        }
    }

    #[test]
    fn a_source_may_trickle() {
        struct Trickle<'a>(&'a [u8]);
        impl Read for Trickle<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let count = out.len().min(1);
                self.0.read(&mut out[..count])
            }
        }
        let bytes = gzip(b"hello");
        let mut out = Vec::new();
        decompress(Trickle(&bytes))
            .unwrap()
            .read_to_end(&mut out)
            .unwrap();
        assert_eq!(out, b"hello");
    }
}
