//! Extended attributes: which count as part of a layer.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, AsRawFd as _};
use rustix::io::Errno;

/// How a layer directory says that nothing shows through from below: `trusted.` where that is allowed, `user.` in a
/// user namespace (overlay's `userxattr`).
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Returns the extended attributes of `path`, which is not followed, that are part of a layer; sorted by name.
pub fn xattrs(path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    collect(
        |out| rustix::fs::llistxattr(path, out),
        |name, out| rustix::fs::lgetxattr(path, name, out),
    )
}

/// As [`xattrs`], following `path`: for names like `/proc/self/fd/N`.
pub(crate) fn followed_xattrs(path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    collect(
        |out| rustix::fs::listxattr(path, out),
        |name, out| rustix::fs::getxattr(path, name, out),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&OsStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let mut found = Vec::new();
    let names = match read_all(list) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(found),
        Err(error) => return Err(error.into()),
    };
    for name in names.split(|byte| *byte == 0).filter(|name| kept(name)) {
        let name = OsStr::from_bytes(name);
        found.push((name.to_owned(), read_all(|out| get(name, out))?));
    }
    found.sort();
    Ok(found)
}

/// Returns whether an attribute is part of a layer.
pub(crate) fn kept(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// Returns whether an extended attribute is part of a layer.
pub fn is_part_of_layer(name: &str) -> bool {
    kept(name.as_bytes())
}

/// Returns whether a layer's directory hides what is below it.
pub fn is_opaque(path: &Path) -> io::Result<bool> {
    for name in OPAQUE {
        let mut value = [0; 8];
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(length) if value[..length] == *b"y" => return Ok(true),
            Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Makes a directory hide what is below it.
pub(crate) fn set_opaque(path: &Path) -> io::Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    match rustix::fs::setxattr(path, OPAQUE[0], b"y", flags) {
        Err(Errno::PERM) => rustix::fs::setxattr(path, OPAQUE[1], b"y", flags),
        result => result,
    }
    .map_err(Into::into)
}

/// A path that names `name` in an open directory, for the calls that take no directory descriptor.
pub(crate) fn path_in(directory: impl AsFd, name: &[u8]) -> PathBuf {
    let mut path = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    OsString::from_vec(path).into()
}

/// Calls `get` with a larger buffer until the answer fits.
fn read_all(get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match get(&mut buffer) {
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 8, 0),
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_belongs_to_the_image() {
        for name in ["security.capability", "user.comment"] {
            assert!(kept(name.as_bytes()), "{name}");
        }
        let others = [
            "trusted.overlay.redirect",
            "user.overlay.opaque",
            "security.selinux",
            "trusted.x",
            "system.posix_acl_access",
            "",
        ];
        for name in others {
            assert!(!kept(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn reads_long_values_sorted() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x");
        std::fs::write(&file, "").unwrap();
        let long = vec![b'v'; 1000];
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(&file, "user.b", &long, flags).unwrap();
        rustix::fs::setxattr(&file, "user.a", b"1\n2", flags).unwrap();
        assert_eq!(
            xattrs(&file).unwrap(),
            [("user.a".into(), b"1\n2".to_vec()), ("user.b".into(), long)]
        );
    }
}
