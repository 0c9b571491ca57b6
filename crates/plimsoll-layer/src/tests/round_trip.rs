//! Any directory survives being archived and unpacked, and comes out as the same bytes again.

use std::collections::BTreeMap;

use plimsoll_testkit::Need;
use proptest::prelude::*;
use tar::EntryType;

use super::{Room, Tar};

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>),
    Symlink(String),
    Deletion,
    Fifo,
    Opaque,
}

#[derive(Clone, Debug)]
struct Look {
    mode: u32,
    owner: u32,
    seconds: i64,
    nanoseconds: u32,
    xattr: Option<Vec<u8>>,
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Node::File),
        1 => "[a-z/.]{1,140}".prop_map(Node::Symlink),
        1 => Just(Node::Deletion),
        1 => Just(Node::Fifo),
        1 => Just(Node::Opaque),
    ]
}

fn look() -> impl Strategy<Value = Look> {
    let xattr = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    (
        0..0o10000_u32,
        0..u32::MAX,
        -100_000..5_000_000_000_i64,
        0..1_000_000_000_u32,
        xattr,
    )
        .prop_map(|(mode, owner, seconds, nanoseconds, xattr)| Look {
            mode,
            owner,
            seconds,
            nanoseconds,
            xattr,
        })
}

/// Names that sort around the slash, long ones, and ones that are no ASCII.
fn path() -> impl Strategy<Value = String> {
    let name =
        prop_oneof![4 => "[a-c]{1,2}", 1 => "[a-c][-+!.][a-c]", 1 => "[d-f]{60,120}", 1 => "[äß日]{1,3}"];
    proptest::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

/// A tree as an archive. Paths that run through something that is no directory are left out.
fn archive(tree: &BTreeMap<String, (Node, Look)>) -> Vec<u8> {
    let mut tar = Tar::new();
    for (path, (node, look)) in tree {
        let above = |node: &(Node, Look)| !matches!(node.0, Node::Opaque);
        if path
            .match_indices('/')
            .any(|(at, _)| tree.get(&path[..at]).is_some_and(above))
        {
            continue;
        }
        // As other programs round negative times: seconds and a fraction towards zero.
        let time = match look.seconds {
            seconds if seconds < 0 => format!("{seconds}"),
            seconds => format!("{seconds}.{:09}", look.nanoseconds),
        };
        let owner = look.owner.to_string();
        let mut records = vec![
            ("path", path.as_bytes()),
            ("mtime", time.as_bytes()),
            ("uid", owner.as_bytes()),
            ("gid", owner.as_bytes()),
        ];
        let (kind, content) = match node {
            Node::File(content) => (EntryType::Regular, &content[..]),
            Node::Symlink(target) => {
                records.push(("linkpath", target.as_bytes()));
                (EntryType::Symlink, &b""[..])
            }
            Node::Fifo => (EntryType::Fifo, &b""[..]),
            Node::Opaque => (EntryType::Directory, &b""[..]),
            Node::Deletion => {
                let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
                tar = tar
                    .pax(&[("path", format!("{above}/.wh.{name}").as_bytes())])
                    .file("", "");
                continue;
            }
        };
        if let Some(value) = &look.xattr {
            records.push(("SCHILY.xattr.user.x", value));
        }
        tar = tar
            .pax(&records)
            .entry(kind, "", "", content, |header| header.set_mode(look.mode));
        if matches!(node, Node::Opaque) {
            tar = tar
                .pax(&[("path", format!("{path}/.wh..wh..opq").as_bytes())])
                .file("", "");
        }
    }
    tar.bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn diff_of_apply_is_stable(tree in proptest::collection::btree_map(path(), (node(), look()), 0..20)) {
        if !plimsoll_testkit::skip(&[Need::Root]) {
            let (first, second) = (Room::new(), Room::new());
            first.apply(&archive(&tree)).unwrap();
            let bytes = first.diff();
            let applied = second.apply(&bytes).unwrap();
            prop_assert_eq!(applied.diff_id, plimsoll_oci::Digest::of(&bytes));
            prop_assert!(second.diff() == bytes);
            let digest = |room: &Room| crate::content_digest(&room.path("")).unwrap();
            prop_assert_eq!(digest(&first), digest(&second));
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let room = Room::new();
        let _ = room.apply(&bytes);
        room.assert_contained();
    }

    #[test]
    fn flipped_bits_do_no_harm(flips in proptest::collection::vec((0..4096_usize, any::<u8>()), 1..6)) {
        let room = Room::new();
        let mut bytes = Tar::new().pax(&[("path", b"some/where"), ("SCHILY.xattr.user.a", b"b")]).file("x", "y").symlink("s", "..").hard_link("h", "s").bytes();
        for (at, with) in flips {
            let length = bytes.len();
            bytes[at % length] ^= with;
        }
        let _ = room.apply(&bytes);
        room.assert_contained();
    }
}
