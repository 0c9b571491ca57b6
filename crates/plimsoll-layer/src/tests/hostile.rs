//! Archives that no honest builder makes: refused, or contained in the layer directory.

use tar::EntryType;

use super::{Room, Tar};
use crate::LayerError;

#[test]
fn what_would_leave_the_layer_is_refused() {
    for (what, tar) in [
        ("..", Tar::new().file("../outside", "changed")),
        (".. in the middle", Tar::new().file("a/../../outside", "changed")),
        ("absolute with ..", Tar::new().file("/../outside", "changed")),
        (
            "hard link out",
            Tar::new().hard_link("l", "../outside").file("l", "changed"),
        ),
        ("hard link to itself", Tar::new().hard_link("l", "l")),
        (
            "hard link to a directory",
            Tar::new().directory("d").hard_link("l", "d"),
        ),
        ("hard link to the root", Tar::new().hard_link("l", "/")),
        ("deletion of ..", Tar::new().file("d/.wh...", "")),
        ("deletion of .", Tar::new().file("d/.wh..", "")),
        ("deletion of nothing", Tar::new().file("d/.wh.", "")),
        ("below a deletion", Tar::new().file(".wh.d/x", "")),
        ("a file for a root", Tar::new().file("./", "")),
        ("a link for a root", Tar::new().symlink("/", "/etc")),
        (
            "an unknown type",
            Tar::new().entry(EntryType::new(b'V'), "x", "", b"", |_| {}),
        ),
        (
            "a dangling link on the way",
            Tar::new().symlink("d", "nowhere").file("d/x", ""),
        ),
        ("a file on the way", Tar::new().file("d", "").file("d/x", "")),
        (
            "a loop on the way",
            Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", ""),
        ),
        (
            "a NUL in a name",
            Tar::new().pax(&[("path", b"a\0b")]).file("x", ""),
        ),
        ("user -1", Tar::new().pax(&[("uid", b"4294967295")]).file("x", "")),
        (
            "user 2^32",
            Tar::new().pax(&[("uid", b"4294967296")]).file("x", ""),
        ),
        ("negative size", Tar::new().pax(&[("size", b"-1")]).file("x", "")),
    ] {
        let room = Room::new();
        assert!(room.apply(&tar.bytes()).is_err(), "{what}");
        room.assert_contained();
    }
}

#[test]
fn what_points_out_of_the_layer_is_contained() {
    let room = Room::new();
    let out = room.base().to_str().unwrap();
    let tar = Tar::new()
        .file("/absolute", "")
        .directory("tmp")
        .symlink("escape", "../../../../../../tmp")
        .file("escape/x", "inside")
        .symlink("file", &format!("{out}/outside"))
        .file("file", "replaces the link")
        .symlink("again", &format!("{out}/outside"))
        .entry(EntryType::Regular, "again", "", b"", |header| {
            header.set_mode(0o4777)
        })
        .bytes();
    room.apply(&tar).unwrap();
    assert_eq!(
        (room.read("tmp/x"), room.read("file")),
        ("inside".into(), "replaces the link".into())
    );
    assert!(room.path("absolute").exists());
    room.assert_contained();
}

#[test]
fn links_of_the_layers_below_lead_nowhere_else() {
    plimsoll_testkit::needs!(root);
    let (lower, room) = (Room::new(), Room::new());
    let out = lower.base().to_str().unwrap().to_owned();
    lower
        .apply(&Tar::new().symlink("d", &out).symlink("up", "..").bytes())
        .unwrap();
    let lowers = [lower.path("")];
    for target in ["d/outside", "up/outside"] {
        assert!(
            Room::new()
                .apply_on(&Tar::new().hard_link("l", target).bytes(), &lowers)
                .is_err(),
            "{target}"
        );
    }
    // As in Docker, an implied directory takes the place of a link below.
    room.apply_on(&Tar::new().file("d/x", "").bytes(), &lowers)
        .unwrap();
    assert!(std::fs::symlink_metadata(room.path("d")).unwrap().is_dir());
    lower.assert_contained();
}

#[test]
fn an_archive_that_is_cut_off_is_an_error() {
    let tar = Tar::new()
        .pax(&[("mtime", b"12.5")])
        .file("x", &"content".repeat(200))
        .directory("d")
        .file("d/y", "y")
        .bytes();
    // Where one member ends and the next begins a cut cannot be seen; the diff id tells.
    let boundaries = [0, 3072, 3584, 4608, 5120, 5632];
    assert_eq!(tar.len(), 5632);
    for length in (0..tar.len()).step_by(37).chain(boundaries) {
        let result = Room::new().apply(&tar[..length]);
        match boundaries.contains(&length) {
            true => assert!(result.is_ok(), "{length}: {result:?}"),
            false => assert!(
                matches!(result, Err(LayerError::Truncated { .. })),
                "{length}: {result:?}"
            ),
        }
    }
}

#[test]
fn damage_is_noticed() {
    let tar = Tar::new().file("x", "content").bytes();
    for at in 0..257 {
        let mut damaged = tar.clone();
        damaged[at] ^= 0x55;
        assert!(Room::new().apply(&damaged).is_err(), "byte {at}");
    }
    let mut gap = tar.clone();
    gap.splice(0..0, [0; 512]);
    assert!(
        matches!(Room::new().apply(&gap), Err(LayerError::Malformed { .. })),
        "members after one empty block"
    );
}

#[test]
fn sizes_out_of_proportion_cost_nothing() {
    let huge = |kind: EntryType, size| {
        Tar::new()
            .entry(kind, "x", "", b"", |header| header.set_size(size))
            .bytes()
    };
    for kind in [
        EntryType::XHeader,
        EntryType::GNULongName,
        EntryType::XGlobalHeader,
    ] {
        assert!(matches!(
            Room::new().apply(&huge(kind, 1 << 40)),
            Err(LayerError::Malformed { .. })
        ));
    }
    assert!(matches!(
        Room::new().apply(&huge(EntryType::Regular, 1 << 60)),
        Err(LayerError::Truncated { .. })
    ));
    let map = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"9"),
    ];
    for content in [
        "99999999999999999999\n",
        "9999999\n",
        "1\n5\n5\n",
        "1\n-1\n5\n",
        "x\n",
        "2\n4\n1\n0\n1\n",
    ] {
        let tar = Tar::new()
            .pax(&map)
            .file("x", &format!("{content:\0<512}12345"))
            .bytes();
        assert!(
            matches!(Room::new().apply(&tar), Err(LayerError::Malformed { .. })),
            "{content}"
        );
    }
}
