//! What an upper directory changes, as one digest.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use plimsoll_oci::{Digest, Hasher};
use rustix::fs::FileType;

use crate::LayerError;
use crate::attributes::{path_in, xattrs};
use crate::diff::{Links, open};
use crate::error::{At as _, Result};
use crate::resolve::kind;
use crate::walk::{Found, walk};

/// First bytes of every digest; a change of what is hashed changes them.
const VERSION: &str = "plimsoll layer content 1";

/// Returns a digest of an overlay upper directory: paths, types, modes, owners, extended attributes, link targets,
/// device numbers and bytes, but no times. Two with the same digest are the same to all that builds on them.
pub fn content_digest(upper: &Path) -> Result<Digest, LayerError> {
    let mut hasher = Hasher::new();
    hasher.field(VERSION);
    let mut links = Links::default();
    walk(upper, &mut |found| add(found, &mut links, &mut hasher))?;
    Ok(hasher.finish())
}

fn add(found: &Found<'_>, links: &mut Links, hasher: &mut Hasher) -> Result<()> {
    hasher.field(found.path);
    let Some(stat) = found.stat else {
        hasher.field("mark");
        return Ok(());
    };
    if let Some(first) = links.earlier(stat, found.path) {
        hasher.field("link");
        hasher.field(first);
        return Ok(());
    }
    for number in [stat.st_mode, stat.st_uid, stat.st_gid] {
        hasher.field(number.to_le_bytes());
    }
    let attributes = xattrs(&path_in(found.parent, found.name)).at("read the attributes of", found.path)?;
    hasher.field((attributes.len() as u64).to_le_bytes());
    for (name, value) in attributes {
        hasher.field(name.as_encoded_bytes());
        hasher.field(value);
    }
    match kind(stat) {
        FileType::RegularFile => {
            let digest = hash_file(&mut open(found)?).at("read", found.path)?;
            hasher.field(digest.as_bytes());
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new())
                .at("read the link", found.path)?;
            hasher.field(target.as_bytes());
        }
        FileType::CharacterDevice | FileType::BlockDevice => hasher.field(stat.st_rdev.to_le_bytes()),
        _ => {}
    }
    Ok(())
}

/// In pieces of 64 KiB: `io::copy` reads 8.
fn hash_file(file: &mut File) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = [0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
