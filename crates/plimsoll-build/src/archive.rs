//! Tar archives, plain or compressed by gzip, bzip2, xz or zstd. The two decoders that the layer crate has no use for
//! are pure Rust, for an archive may be anybody's.

use std::io::{self, BufReader, Cursor, Read};

/// Of a tar header.
pub(crate) const BLOCK: usize = 512;
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// `xz -9` needs 65 MiB; an archive that asks for more than this much means harm.
const XZ_MEMORY_KIB: u32 = 192 << 10;

/// The bytes below whatever compression there is, told by the first ones.
pub(crate) fn decompressed<'a>(mut reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 6];
    let read = read_up_to(&mut reader, &mut magic)?;
    let whole = Cursor::new(magic).take(read as u64).chain(reader);
    let magic = &magic[..read];
    Ok(if magic.starts_with(BZIP2) {
        Box::new(bzip2::bufread::MultiBzDecoder::new(BufReader::new(whole)))
    } else if magic.starts_with(XZ) {
        let whole = BufReader::new(whole);
        Box::new(lzma_rust2::XzReader::new_mem_limit(whole, true, XZ_MEMORY_KIB))
    } else {
        plimsoll_layer::decompress(whole).map_err(io::Error::other)?
    })
}

/// Fills the buffer, or as much of it as there is.
pub(crate) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// A tar header by its checksum: the sum of its bytes with the checksum field as blanks.
pub(crate) fn is_header(block: &[u8; BLOCK]) -> bool {
    let stored = std::str::from_utf8(&block[148..156]).ok();
    let stored = stored.and_then(|text| u32::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok());
    let sum = (0..BLOCK)
        .map(|at| {
            if (148..156).contains(&at) {
                u32::from(b' ')
            } else {
                u32::from(block[at])
            }
        })
        .sum();
    stored == Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_known_by_its_checksum() {
        let mut header = tar::Header::new_ustar();
        header.set_path("x").unwrap();
        header.set_cksum();
        let mut block = *header.as_bytes();
        assert!(is_header(&block));
        block[0] ^= 1;
        assert!(!is_header(&block));
    }
}
