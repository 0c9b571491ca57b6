//! To whom belongs what a thread makes (setfsuid(2)).

use std::io;

/// Makes files of the calling thread belong to `uid` and `gid`, while it stays who it is in every other respect. The
/// kernel takes away capabilities over files, a signal on the parent's death, and dumps with it: whoever wants them
/// takes them again.
pub fn make_files_as(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: both change only a credential of this thread, and touch no memory.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    // They return who it was, and never an error: -1 is nobody, so nothing changes and the answer is who it is.
    // SAFETY: as above.
    let now = unsafe { (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX)) };
    if (now.0.cast_unsigned(), now.1.cast_unsigned()) == (uid, gid) {
        Ok(())
    } else {
        Err(rustix::io::Errno::PERM.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn only_this_thread_makes_files_of_another() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let pid = std::process::id();
        let path = |name: &str| std::env::temp_dir().join(format!("plimsoll-owner-{pid}-{name}"));
        let make = |name: &str| {
            std::fs::write(path(name), "").unwrap();
            let facts = std::fs::metadata(path(name)).unwrap();
            std::fs::remove_file(path(name)).unwrap();
            (facts.uid(), facts.gid())
        };
        let theirs = std::thread::scope(|scope| {
            let work = || {
                make_files_as(70_000, 80_000).unwrap();
                make("theirs")
            };
            scope.spawn(work).join().unwrap()
        });
        assert_eq!((theirs, make("ours")), ((70_000, 80_000), (0, 0)));
        assert!(make_files_as(u32::MAX, 0).is_err());
        make_files_as(0, 0).unwrap();
    }
}
