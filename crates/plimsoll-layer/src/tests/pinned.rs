//! Bytes that others hash. A change here changes the digest of every layer built from now on: it needs a reason.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Room, Tar};
use plimsoll_oci::Digest;
use tar::EntryType;

/// A directory with one of everything.
fn specimen() -> Room {
    let room = Room::new();
    let long = "n".repeat(130);
    let tar = Tar::new()
        .directory("bin")
        .entry(EntryType::Regular, "bin/su", "", b"#!/bin/true\n", |header| {
            header.set_mode(0o4755)
        })
        .hard_link("bin/zu", "bin/su")
        .directory("a-b")
        .directory("a")
        .file("a/x", "x")
        .symlink("a/l", "x")
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"3000000"),
            ("mtime", b"1700000000.75"),
        ])
        .file("", "long")
        .pax(&[("SCHILY.xattr.user.note", b"line\nline"), ("mtime", b"-86400")])
        .file("old", "")
        .entry(EntryType::Char, "null", "", b"", |header| {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        })
        .entry(EntryType::Fifo, "fifo", "", b"", |_| {})
        .file(".wh.gone", "")
        .file("opaque/.wh..wh..opq", "")
        .bytes();
    room.apply(&tar).unwrap();
    room
}

#[test]
fn the_bytes_of_a_layer() {
    plimsoll_testkit::needs!(root);
    let room = specimen();
    let _socket = std::os::unix::net::UnixListener::bind(room.path("socket")).unwrap();
    let tar = room.diff();
    let names: Vec<String> = tar::Archive::new(&tar[..])
        .entries()
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .unwrap()
                .to_str()
                .unwrap()
                .chars()
                .take(20)
                .collect()
        })
        .collect();
    let expected = [
        ".wh.gone",
        "a-b/",
        "a/",
        "a/l",
        "a/x",
        "bin/",
        "bin/su",
        "bin/zu",
        "fifo",
        "nnnnnnnnnnnnnnnnnnnn",
        "null",
        "old",
        "opaque/",
        "opaque/.wh..wh..opq",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        Digest::of(&tar).to_string(),
        "sha256:07947d46e7047b8f2e2a52e1c1939110a4f40b98d288ffea327cdbb08a3435af"
    );
    assert_eq!(
        crate::content_digest(&room.path("")).unwrap().to_string(),
        "sha256:c4fc17d138ed40cd418fbc078dede464791670d54800e7331b3dc7dae2ebe254"
    );
}

#[test]
fn other_programs_read_it() {
    plimsoll_testkit::needs!(root);
    let room = specimen();
    let other = tempfile::tempdir().unwrap();
    let archive = other.path().join("layer.tar");
    fs::write(&archive, room.diff()).unwrap();
    let output = std::process::Command::new("tar")
        .args([
            "--warning=no-timestamp",
            "-xpf",
            "layer.tar",
            "--xattrs",
            "--xattrs-include=*",
        ])
        .current_dir(other.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.stderr, b"");
    assert_eq!(fs::read(other.path().join("bin/zu")).unwrap(), b"#!/bin/true\n");
    assert_eq!(
        crate::xattrs(&other.path().join("old")).unwrap(),
        [("user.note".into(), b"line\nline".to_vec())]
    );
}

#[test]
fn the_content_digest_ignores_times_and_nothing_else() {
    plimsoll_testkit::needs!(root);
    let room = Room::new();
    room.apply(&Tar::new().file("d/x", "x").symlink("l", "x").bytes())
        .unwrap();
    let of = || crate::content_digest(&room.path("")).unwrap();
    let first = of();
    room.apply(&Tar::new().pax(&[("mtime", b"5")]).file("d/x", "x").bytes())
        .unwrap();
    assert_eq!(of(), first);
    let changes: [(&str, &dyn Fn()); 5] = [
        ("bytes", &|| fs::write(room.path("d/x"), "y").unwrap()),
        ("mode", &|| {
            fs::set_permissions(room.path("d/x"), fs::Permissions::from_mode(0o600)).unwrap()
        }),
        ("path", &|| {
            fs::rename(room.path("d/x"), room.path("d/y")).unwrap()
        }),
        ("link", &|| {
            fs::hard_link(room.path("d/y"), room.path("z")).unwrap()
        }),
        ("xattr", &|| {
            rustix::fs::setxattr(room.path("d/y"), "user.a", b"", rustix::fs::XattrFlags::empty()).unwrap()
        }),
    ];
    let mut seen = vec![first];
    for (what, change) in changes {
        change();
        assert!(!seen.contains(&of()), "{what}");
        seen.push(of());
    }
}

#[test]
fn a_name_that_would_mean_a_deletion_is_not_archived() {
    let room = Room::new();
    fs::write(room.path(".wh.x"), "").unwrap();
    assert!(crate::diff(&room.path(""), std::io::sink()).is_err());
}
