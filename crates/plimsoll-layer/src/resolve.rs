//! Names inside a layer: nothing in an archive or a layer directory leads out of it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Result, refused};

/// Brings a name from an archive into the form `a/b/c`: absolute names become relative, `.` goes, the root is empty.
///
/// A name with `..` is refused: honest layers have none, and programs differ in what they take it for.
pub(crate) fn normalised(path: &[u8]) -> Result<Vec<u8>> {
    let mut normal = Vec::with_capacity(path.len());
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(refused(path, "its name has `..` in it")),
            _ if component.contains(&0) => return Err(refused(path, "its name has a NUL in it")),
            _ => {}
        }
        if !normal.is_empty() {
            normal.push(b'/');
        }
        normal.extend_from_slice(component);
    }
    Ok(normal)
}

/// Splits a normal name into directory and last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Opens `path` below `root`. Symbolic links on the way are followed as if `root` were `/`; a final one is not.
pub(crate) fn open_in(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Says the kernel when something anywhere is renamed while it follows `..` of a link: try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Stats an entry of a directory without following it; none when it is not there.
pub(crate) fn stat(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        result => result.map(Some),
    }
}

/// Returns whether an entry of a layer directory means that the name is deleted.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Removes an entry of a directory, with all below it if it is a directory itself; follows no link.
pub(crate) fn remove(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        result => return result,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
    for child in names(&inside)? {
        remove(&inside, &child)?;
    }
    rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR)
}

/// Returns the names in an open directory.
pub(crate) fn names(directory: impl AsFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(name.to_vec()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_relative_and_plain() {
        for (given, normal) in [
            ("./a//b/", "a/b"),
            ("/etc/x", "etc/x"),
            ("./", ""),
            ("/", ""),
            ("", ""),
            ("a/./b", "a/b"),
            ("..a", "..a"),
        ] {
            assert_eq!(
                normalised(given.as_bytes()).unwrap(),
                normal.as_bytes(),
                "{given}"
            );
        }
        for given in ["..", "a/../b", "../x", "a/..", "a\0b"] {
            assert!(normalised(given.as_bytes()).is_err(), "{given}");
        }
    }

    #[test]
    fn splits() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }
}
