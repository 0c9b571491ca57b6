use std::io::{Read as _, Write as _};
use std::num::NonZero;

use plimsoll_oci::Digest;

use super::*;

/// Words and noise, a little more than five blocks of gzip; the same everywhere.
fn sample() -> Vec<u8> {
    let mut state = 42_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32
    };
    let words = [
        "plimsoll ",
        "layer ",
        "content ",
        "ship\n",
        "0123456789",
        "\0\0\0\0",
    ];
    let mut bytes = Vec::new();
    while bytes.len() < (5 << 20) + 4321 {
        match next() % 8 {
            0 => bytes.extend_from_slice(&next().to_le_bytes()),
            _ => bytes.extend_from_slice(words[next() as usize % words.len()].as_bytes()),
        }
    }
    bytes
}

fn pack(encoding: Encoding, bytes: &[u8], threads: usize, piece: usize) -> (Vec<u8>, Compressed) {
    let mut compressor = encoding.pack(Vec::new(), NonZero::new(threads).unwrap());
    for piece in bytes.chunks(piece) {
        compressor.write_all(piece).unwrap();
    }
    compressor.finish().unwrap()
}

fn all() -> Vec<Encoding> {
    let new = |compression, level| Encoding::new(compression, level).unwrap();
    let mut all = vec![
        Encoding::default(),
        new(Compression::Zstd, None),
        new(Compression::Uncompressed, Some(7)),
    ];
    all.extend([0, 1, 9].map(|level| new(Compression::Gzip, Some(level))));
    all
}

fn unpack(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::decompress(bytes).unwrap().read_to_end(&mut out).unwrap();
    out
}

#[test]
fn bytes_do_not_depend_on_threads_or_writes() {
    let sample = sample();
    for encoding in all() {
        let (first, described) = pack(encoding, &sample, 1, sample.len());
        assert_eq!(described.digest, Digest::of(&first));
        assert_eq!(described.size, first.len() as u64);
        assert!(unpack(&first) == sample, "{}", encoding.version());
        for (threads, piece) in [(2, 64 << 10), (5, 1000), (3, (1 << 20) + 1)] {
            let (bytes, other) = pack(encoding, &sample, threads, piece);
            assert!(bytes == first, "{} on {threads} threads", encoding.version());
            assert_eq!(other, described);
        }
    }
}

/// What others hash. When an encoder's bytes change, its version has to change as well.
#[test]
fn bytes_are_pinned() {
    let sample = sample();
    let made = all()[..3]
        .iter()
        .map(|encoding| {
            let (_, compressed) = pack(*encoding, &sample, 2, 4096);
            format!("{}: {}", encoding.version(), compressed.digest)
        })
        .collect::<Vec<_>>();
    let pinned = [
        "gzip-4 zlib-rs-1: sha256:864063afa740f7f3cbcefce220bd1529bc067465484cc9f05f3fe392827c437c",
        "zstd-3 zstd-1: sha256:1bea91b82e74a090749ec78eef309a2983d083b3bd1a400672ebca9e8487d73d",
        "uncompressed: sha256:162c8bfe5b313da09182031f58cdf0936c8e54000acb72b194ed0aed39c644d9",
    ];
    assert_eq!(made, pinned);
}

/// The whole is one member, so that a reader which stops after the first gets everything.
#[test]
fn gzip_is_one_member() {
    let sample = sample();
    let (bytes, _) = pack(Encoding::default(), &sample, 2, 4096);
    let mut out = Vec::new();
    let mut reader = flate2::bufread::GzDecoder::new(&bytes[..]);
    reader.read_to_end(&mut out).unwrap();
    assert!(out == sample);
    assert!(reader.into_inner().is_empty());
}

/// A block border is a place to start at: nothing after it refers to what was before.
#[test]
fn gzip_blocks_stand_alone() {
    let sample = sample();
    let (bytes, _) = pack(Encoding::default(), &sample, 2, 4096);
    let mark = [0, 0, 0xff, 0xff];
    let (head, _) = pack(Encoding::default(), &sample[..1 << 20], 1, 4096);
    let border = head.len() - 8 - 2;
    assert_eq!(bytes[..border], head[..border]);
    assert_eq!(bytes[border - 4..border], mark);
    let mut rest = Vec::new();
    let mut reader = flate2::bufread::DeflateDecoder::new(&bytes[border..]);
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest == sample[1 << 20..]);
}

/// Noise is stored, at the cost of a few bytes per block; what only looks like it is not.
#[test]
fn dense_blocks_are_stored() {
    let mut noise = Vec::new();
    let mut digest = Digest::of(b"seed");
    while noise.len() < 3 << 20 {
        digest = Digest::of(digest.as_bytes());
        noise.extend_from_slice(digest.as_bytes());
    }
    let (bytes, _) = pack(Encoding::default(), &noise, 2, 4096);
    assert!(unpack(&bytes) == noise);
    assert!(bytes.len() > noise.len() && bytes.len() < noise.len() + noise.len() / 1000);
    let repeated = noise[..4096].repeat(512);
    let (bytes, _) = pack(Encoding::default(), &repeated, 2, 4096);
    assert!(bytes.len() < repeated.len() / 20, "{}", bytes.len());
}

#[test]
fn nothing_and_whole_blocks() {
    let sample = sample();
    for encoding in all() {
        for size in [0, 1, 1 << 20, 2 << 20] {
            let (bytes, _) = pack(encoding, &sample[..size], 2, 4096);
            assert!(
                unpack(&bytes) == sample[..size],
                "{} of {size}",
                encoding.version()
            );
        }
    }
    assert!(!pack(Encoding::default(), b"", 1, 1).0.is_empty());
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sample = sample();
    for encoding in all() {
        let mut compressor = encoding.pack(Full(50_000), NonZero::new(2).unwrap());
        let result = compressor
            .write_all(&sample)
            .and_then(|()| compressor.finish().map(drop));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn names_and_levels() {
    for name in ["gzip", "zstd", "uncompressed"] {
        let compression: Compression = name.parse().unwrap();
        assert_eq!(compression.to_string(), name);
        for oci in [true, false] {
            let media_type = compression.media_type(oci);
            assert_eq!(Compression::of_media_type(media_type), Some(compression));
        }
    }
    assert!(matches!(
        "estargz".parse::<Compression>(),
        Err(EncodingError::Unsupported(_))
    ));
    assert!(matches!(
        "brotli".parse::<Compression>(),
        Err(EncodingError::Unknown(_))
    ));
    assert_eq!(
        Encoding::new(Compression::Gzip, Some(10))
            .unwrap_err()
            .to_string(),
        "gzip has levels from 0 to 9, not 10"
    );
    assert!(Encoding::new(Compression::Zstd, Some(22)).is_ok());
    assert_eq!(
        Compression::of_media_type("application/vnd.oci.image.config.v1+json"),
        None
    );
}
