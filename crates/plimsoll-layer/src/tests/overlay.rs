//! The kernel as the judge: what overlayfs writes is archived rightly, and what is unpacked overlayfs shows rightly.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_linux::UnshareFlags;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::{Room, Tar};

/// Runs `work` with `lowers` (top first) and a fresh upper mounted; nobody else sees the mount.
fn with_overlay(lowers: &[PathBuf], upper: &Path, work: impl FnOnce(&Path) + Send) {
    let base = tempfile::tempdir().unwrap();
    let (scratch, merged) = (base.path().join("work"), base.path().join("merged"));
    fs::create_dir(&scratch).unwrap();
    fs::create_dir(&merged).unwrap();
    let lowers = lowers
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect::<Vec<_>>()
        .join(":");
    let options = format!(
        "lowerdir={lowers},upperdir={},workdir={},metacopy=off,redirect_dir=off,index=off",
        upper.display(),
        scratch.display()
    );
    let run = || {
        plimsoll_linux::unshare(UnshareFlags::NEWNS).unwrap();
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount(
            "overlay",
            &merged,
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        work(&merged);
        rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::empty()).unwrap();
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}

#[test]
fn deletions_and_replacements_survive() {
    plimsoll_testkit::needs!(root);
    let (lower, upper, unpacked, scratch) = (Room::new(), Room::new(), Room::new(), Room::new());
    let below = Tar::new()
        .file("gone", "")
        .file("d/a", "")
        .file("d/b", "")
        .file("replaced/old", "")
        .file("kept/x", "x")
        .hard_link("kept/y", "kept/x");
    lower.apply(&below.bytes()).unwrap();
    with_overlay(&[lower.path("")], &upper.path(""), |root| {
        fs::remove_file(root.join("gone")).unwrap();
        fs::remove_file(root.join("d/a")).unwrap();
        fs::remove_dir_all(root.join("replaced")).unwrap();
        fs::create_dir(root.join("replaced")).unwrap();
        fs::write(root.join("replaced/new"), "new").unwrap();
        fs::write(root.join("kept/x"), "changed").unwrap();
        fs::write(root.join("l1"), "linked").unwrap();
        fs::hard_link(root.join("l1"), root.join("l2")).unwrap();
    });
    let tar = upper.diff();
    let names: Vec<String> = tar::Archive::new(&tar[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            ".wh.gone",
            "d/",
            "d/.wh.a",
            "kept/",
            "kept/x",
            "l1",
            "l2",
            "replaced/",
            "replaced/.wh..wh..opq",
            "replaced/new"
        ]
    );
    unpacked.apply_on(&tar, &[lower.path("")]).unwrap();
    assert!(unpacked.diff() == tar);
    with_overlay(&[unpacked.path(""), lower.path("")], &scratch.path(""), |root| {
        let mut shown: Vec<String> = ["", "d", "kept", "replaced"]
            .iter()
            .flat_map(|name| fs::read_dir(root.join(name)).unwrap())
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "d",
                "d/b",
                "kept",
                "kept/x",
                "kept/y",
                "l1",
                "l2",
                "replaced",
                "replaced/new"
            ]
        );
        assert_eq!(fs::read_to_string(root.join("kept/x")).unwrap(), "changed");
        assert_eq!(fs::read_to_string(root.join("kept/y")).unwrap(), "x");
    });
}
