//! Where a bind comes from: a path of the host, or one in a folder that others change.
//!
//! A volume belongs to every container that has it. What was a directory of it when a container was made may be a link to
//! `/` when it starts (CVE-2021-25741 and its kin). So a part of a volume is opened below the volume at the moment it is
//! mounted, and a link on the way is refused.

use crate::root::Root;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Option of a bind: `beneath=` and the folder that its source is to be in, whatever links are made there.
pub const BENEATH: &str = "beneath=";

/// The folder that the options name.
pub(crate) fn beneath(options: &[String]) -> Option<&Path> {
    let folder = options.iter().find_map(|option| option.strip_prefix(BENEATH));
    folder.map(Path::new)
}

/// Opens a source, as a place only.
pub(crate) fn open(source: &Path, beneath: Option<&Path>) -> rustix::io::Result<OwnedFd> {
    let Some(folder) = beneath else {
        return rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    };
    let below = source.strip_prefix(folder).map_err(|_| Errno::XDEV)?;
    let root = Root::open(folder).map_err(|_| Errno::NOENT)?;
    root.open_exactly(below, OFlags::PATH)
}

/// A copy of the mount of a source, with those below it or without; attached to nothing.
pub fn copy_of_source(source: &Path, beneath: Option<&Path>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    if beneath.is_none() {
        return open_tree(CWD, source, flags);
    }
    let place = open(source, beneath)?;
    flags |= OpenTreeFlags::from_bits_retain(AtFlags::EMPTY_PATH.bits());
    open_tree(&place, "", flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("data/real")).unwrap();
        symlink("/etc", at("data/away")).unwrap();
        symlink("real", at("data/near")).unwrap();
        let data = at("data");
        let open = |name: &str| open(&at(name), Some(&data)).map(drop);
        assert_eq!((open("data/real"), open("data")), (Ok(()), Ok(())));
        assert_eq!(open("data/away"), Err(Errno::LOOP));
        assert_eq!(open("data/near"), Err(Errno::LOOP));
        assert_eq!(open("data/away/passwd"), Err(Errno::LOOP));
        assert_eq!(open("elsewhere"), Err(Errno::XDEV));
        // `..` ends at the folder.
        assert_eq!(open("data/../data/real"), Err(Errno::NOENT));
    }
}
