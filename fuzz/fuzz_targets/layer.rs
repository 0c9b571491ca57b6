//! A layer archive, unpacked below a folder that must hold all of it.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;
/// Larger files say nothing more and fill the disk.
const LARGEST: u64 = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("outside"), "untouched").expect("a file can be written");
    for name in ["layer", "again"] {
        fs::create_dir(path(name)).expect("a folder can be made");
    }
    let tar = repaired(bytes);
    let applied = plimsoll_layer::apply(&tar[..], &path("layer"), &[]);
    assert_eq!(
        fs::read_to_string(path("outside")).expect("it is there"),
        "untouched"
    );
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 3);
    if applied.is_ok() {
        assert_stable(&path("layer"), &path("again"));
    }
});

/// What was unpacked is written, unpacked and written again: the same bytes.
fn assert_stable(first: &Path, second: &Path) {
    let written = diff(first);
    plimsoll_layer::apply(&written[..], second, &[]).expect("what was written here can be unpacked");
    assert!(written == diff(second), "two archives of the same files differ");
}

fn diff(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    plimsoll_layer::diff(folder, &mut bytes).expect("what was unpacked can be written");
    bytes
}

/// Puts magic numbers, sizes that fit and checksums into the headers, which chance alone would not find.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while at + BLOCK <= tar.len() {
        let block = at..at + BLOCK;
        at += BLOCK;
        if tar[block.clone()].iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&tar[block.clone()]);
        let size = header.entry_size().unwrap_or(0) % LARGEST;
        header.set_size(size);
        header.as_mut_bytes()[257..265].copy_from_slice(b"ustar\x0000");
        header.set_cksum();
        tar[block].copy_from_slice(header.as_bytes());
        at += usize::try_from(size)
            .expect("it is small")
            .next_multiple_of(BLOCK);
    }
    tar
}
