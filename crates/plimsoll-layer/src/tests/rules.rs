//! One test per rule of unpacking.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use tar::EntryType;

use super::{Room, Tar};
use crate::LayerError;
use plimsoll_oci::Digest;

fn is_whiteout(room: &Room, name: &str) -> bool {
    let metadata = fs::symlink_metadata(room.path(name)).unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(room: &Room, name: &str) -> bool {
    crate::is_opaque(&room.path(name)).unwrap()
}

#[test]
fn every_kind_of_entry() {
    plimsoll_testkit::needs!(root);
    let room = Room::new();
    let tar = Tar::new()
        .directory("d/")
        .entry(EntryType::Regular, "d/setuid", "", b"#!", |header| {
            header.set_mode(0o4751);
            header.set_uid(12);
            header.set_gid(34);
        })
        .symlink("d/s", "/anywhere/at all")
        .hard_link("h", "d/setuid")
        .entry(EntryType::Fifo, "fifo", "", b"", |_| {})
        .entry(EntryType::Block, "disk", "", b"", |header| {
            header.set_device_major(8).unwrap();
            header.set_device_minor(1).unwrap();
        })
        .bytes();
    room.apply(&tar).unwrap();
    let file = fs::metadata(room.path("d/setuid")).unwrap();
    assert_eq!(
        (file.mode(), file.uid(), file.gid(), file.nlink()),
        (0o104_751, 12, 34, 2)
    );
    assert_eq!(file.ino(), fs::metadata(room.path("h")).unwrap().ino());
    assert_eq!(
        fs::read_link(room.path("d/s")).unwrap().to_str(),
        Some("/anywhere/at all")
    );
    assert_eq!(fs::symlink_metadata(room.path("d/s")).unwrap().mtime(), 1_000_000);
    assert!(fs::metadata(room.path("fifo")).unwrap().file_type().is_fifo());
    let disk = fs::metadata(room.path("disk")).unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), rustix::fs::makedev(8, 1));
    assert_eq!(
        fs::metadata(room.path("d")).unwrap().mtime(),
        1_000_000,
        "set after what is in it"
    );
}

#[test]
fn pax_says_what_a_header_cannot() {
    plimsoll_testkit::needs!(root);
    let room = Room::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let capability = b"\x01\x00\x00\x02\x00\x04\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let tar = Tar::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"3000000"),
            ("mtime", b"-1.25"),
        ])
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"3000000"),
            ("mtime", b"1700000000.123456789"),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.x", b"a\nb\0"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ])
        .file("ignored", "content")
        .bytes();
    room.apply(&tar).unwrap();
    let metadata = fs::metadata(room.path(&long)).unwrap();
    assert_eq!(
        (metadata.uid(), metadata.mtime(), metadata.mtime_nsec()),
        (3_000_000, 1_700_000_000, 123_456_789)
    );
    let xattrs = crate::xattrs(&room.path(&long)).unwrap();
    assert_eq!(
        xattrs,
        [
            ("security.capability".into(), capability.to_vec()),
            ("user.x".into(), b"a\nb\0".to_vec())
        ]
    );
    let mut value = [0; 8];
    assert!(rustix::fs::getxattr(room.path(&long), "trusted.overlay.redirect", &mut value[..]).is_err());
}

#[test]
fn long_names_of_gnu() {
    let room = Room::new();
    let (path, target) = ("p".repeat(180), "t".repeat(150));
    let name = |text: &str| [text.as_bytes(), b"\0"].concat();
    let tar = Tar::new()
        .entry(EntryType::GNULongName, "././@LongLink", "", &name(&path), |_| {})
        .entry(
            EntryType::GNULongLink,
            "././@LongLink",
            "",
            &name(&target),
            |_| {},
        )
        .symlink("cut", "cut")
        .bytes();
    room.apply(&tar).unwrap();
    assert_eq!(
        fs::read_link(room.path(&path)).unwrap().to_str(),
        Some(&target[..])
    );
}

#[test]
fn deletions_become_overlay_ones() {
    plimsoll_testkit::needs!(root);
    let room = Room::new();
    let tar = Tar::new()
        .directory("d/")
        .file("d/.wh.x", "")
        .file(".wh.y", "")
        .file("o/.wh..wh..opq", "")
        .file("o/new", "")
        .bytes();
    room.apply(&tar).unwrap();
    assert!(is_whiteout(&room, "d/x") && is_whiteout(&room, "y"));
    assert!(is_opaque(&room, "o") && !is_opaque(&room, "d"));
    assert_eq!(room.path("d").read_dir().unwrap().count(), 1);
}

#[test]
fn a_deletion_is_of_lower_layers_only() {
    plimsoll_testkit::needs!(root);
    let room = Room::new();
    let tar = Tar::new()
        .file("kept", "mine")
        .file(".wh.kept", "")
        .directory("before")
        .file("before/x", "")
        .file(".wh.before", "")
        .file(".wh.after", "")
        .directory("after")
        .file("after/x", "")
        .file(".wh.implied", "")
        .file("implied/x", "")
        .bytes();
    room.apply(&tar).unwrap();
    assert_eq!(room.read("kept"), "mine");
    assert!(is_opaque(&room, "implied") && room.path("implied/x").exists());
    assert!(is_opaque(&room, "before") && room.path("before/x").exists());
    assert!(is_opaque(&room, "after") && room.path("after/x").exists());
}

#[test]
fn bookkeeping_of_aufs_is_no_content() {
    let room = Room::new();
    let tar = Tar::new()
        .directory(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh..wh.aufs", "")
        .bytes();
    room.apply(&tar).unwrap();
    assert_eq!(room.path("").read_dir().unwrap().count(), 0);
}

#[test]
fn an_opaque_root_hides_each_name_below() {
    plimsoll_testkit::needs!(root);
    let (lower, room) = (Room::new(), Room::new());
    lower
        .apply(&Tar::new().file("a", "").file("d/x", "").file("k/x", "").bytes())
        .unwrap();
    room.apply_on(
        &Tar::new().file("k/y", "").file(".wh..wh..opq", "").bytes(),
        &[lower.path("")],
    )
    .unwrap();
    assert!(is_whiteout(&room, "a") && is_whiteout(&room, "d") && is_opaque(&room, "k"));
}

#[test]
fn implied_directories_look_like_those_below() {
    plimsoll_testkit::needs!(root);
    let (lower, room) = (Room::new(), Room::new());
    let below = Tar::new().entry(EntryType::Directory, "tmp", "", b"", |header| {
        header.set_mode(0o1777);
        header.set_uid(5);
    });
    lower.apply(&below.bytes()).unwrap();
    room.apply_on(
        &Tar::new().file("tmp/x", "").file("new/deep/y", "").bytes(),
        &[lower.path("")],
    )
    .unwrap();
    let tmp = fs::metadata(room.path("tmp")).unwrap();
    assert_eq!((tmp.mode(), tmp.uid(), tmp.mtime()), (0o041_777, 5, 1_000_000));
    let new = fs::metadata(room.path("new/deep")).unwrap();
    assert_eq!((new.mode(), new.uid(), new.mtime()), (0o040_755, 0, 0));
}

#[test]
fn hard_links_to_lower_files_copy_them_up() {
    plimsoll_testkit::needs!(root);
    let (top, bottom, room) = (Room::new(), Room::new(), Room::new());
    let below = Tar::new().pax(&[("SCHILY.xattr.user.x", b"v")]).entry(
        EntryType::Regular,
        "bin/busybox",
        "",
        b"box",
        |header| header.set_mode(0o4755),
    );
    bottom
        .apply(
            &below
                .file("gone", "")
                .file("hidden/x", "")
                .symlink("bin/link", "busybox")
                .bytes(),
        )
        .unwrap();
    top.apply(
        &Tar::new()
            .file(".wh.gone", "")
            .file("hidden/.wh..wh..opq", "")
            .bytes(),
    )
    .unwrap();
    let lowers = [top.path(""), bottom.path("")];
    room.apply_on(
        &Tar::new()
            .hard_link("bin/sh", "/bin/busybox")
            .hard_link("l", "bin/link")
            .bytes(),
        &lowers,
    )
    .unwrap();
    let (sh, busybox) = (
        fs::metadata(room.path("bin/sh")).unwrap(),
        fs::metadata(room.path("bin/busybox")).unwrap(),
    );
    assert_eq!(
        (sh.ino(), sh.mode(), sh.mtime()),
        (busybox.ino(), 0o104_755, 1_000_000)
    );
    assert_eq!(room.read("bin/sh"), "box");
    assert_eq!(crate::xattrs(&room.path("bin/sh")).unwrap().len(), 1);
    assert_eq!(fs::read_link(room.path("l")).unwrap().to_str(), Some("busybox"));
    for target in ["gone", "hidden/x", "never"] {
        let refused = Room::new().apply_on(&Tar::new().hard_link("l", target).bytes(), &lowers);
        assert!(matches!(refused, Err(LayerError::Refused { .. })), "{target}");
    }
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let room = Room::new();
    let tar = Tar::new()
        .directory("d")
        .file("d/x", "")
        .file("d", "a file now")
        .symlink("f", "nowhere")
        .file("f", "f")
        .file("e", "")
        .directory("e")
        .file("e/y", "y")
        .directory("k")
        .file("k/z", "z")
        .entry(EntryType::Directory, "k", "", b"", |header| {
            header.set_mode(0o700)
        })
        .bytes();
    room.apply(&tar).unwrap();
    assert_eq!(room.read("d"), "a file now");
    assert_eq!(
        (room.read("f"), room.read("e/y"), room.read("k/z")),
        ("f".into(), "y".into(), "z".into())
    );
    assert_eq!(
        fs::metadata(room.path("k")).unwrap().permissions().mode() & 0o7777,
        0o700
    );
}

#[test]
fn links_inside_the_layer_are_followed_inside_it() {
    plimsoll_testkit::needs!(root);
    let room = Room::new();
    let tar = Tar::new()
        .directory("usr/lib")
        .symlink("lib", "/usr/lib")
        .symlink("up", "../../usr")
        .file("lib/x", "1")
        .file("up/y", "2")
        .bytes();
    room.apply(&tar).unwrap();
    assert_eq!(
        (room.read("usr/lib/x"), room.read("usr/y")),
        ("1".into(), "2".into())
    );
    room.assert_contained();
}

#[test]
fn the_root_entry_sets_metadata_of_the_root() {
    let room = Room::new();
    let root = |path: &str, mode| {
        Tar::new().entry(EntryType::Directory, path, "", b"", |header| {
            header.set_mode(mode)
        })
    };
    room.apply(&root("./", 0o711).file("x", "").bytes()).unwrap();
    let metadata = fs::metadata(room.path("")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o711, 1_000_000));
    room.apply(&root("/", 0o755).bytes()).unwrap();
    assert_eq!(fs::metadata(room.path("")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn the_digest_is_of_every_byte() {
    let mut tar = Tar::new().file("x", "content").bytes();
    let of = |tar: &[u8]| Room::new().apply(tar).unwrap();
    assert_eq!(
        (of(&tar).diff_id, of(&tar).tar_size),
        (Digest::of(&tar), tar.len() as u64)
    );
    tar.resize(tar.len() + 8192, 0);
    tar.extend_from_slice(b"and something after the end");
    assert_eq!(
        (of(&tar).diff_id, of(&tar).tar_size),
        (Digest::of(&tar), tar.len() as u64)
    );
    for empty in [&b""[..], &[0; 512], &[0; 1024]] {
        assert_eq!(of(empty).diff_id, Digest::of(empty));
    }
}

#[test]
fn holes_stay_holes() {
    let base = tempfile::tempdir().unwrap();
    let file = fs::File::create(base.path().join("sparse")).unwrap();
    let mut expected = vec![0; 9 << 20];
    for chunk in 0..30 {
        let at = chunk * 300_000;
        expected[at..at + 5].copy_from_slice(b"data!");
        std::os::unix::fs::FileExt::write_all_at(&file, b"data!", at as u64).unwrap();
    }
    file.set_len(9 << 20).unwrap();
    for format in [
        "--format=gnu",
        "--sparse-version=0.0",
        "--sparse-version=0.1",
        "--sparse-version=1.0",
    ] {
        let posix = if format.starts_with("--sparse") {
            "--format=posix"
        } else {
            format
        };
        let output = std::process::Command::new("tar")
            .args([posix, format, "-S", "-cf", "-", "sparse"])
            .current_dir(base.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{format}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.stdout.len() < 1 << 20, "{format}: tar saw the holes");
        let room = Room::new();
        room.apply(&output.stdout).unwrap();
        assert!(fs::read(room.path("sparse")).unwrap() == expected, "{format}");
        assert!(
            fs::metadata(room.path("sparse")).unwrap().blocks() * 512 < 4 << 20,
            "{format}"
        );
    }
}
