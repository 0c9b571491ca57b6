//! The merged tree, with what overlayfs would show.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::Ground;
use crate::{MergedTree, StoreError};

struct Layers {
    ground: Ground,
}

impl Layers {
    /// Makes directories `0` (top), `1` and so on.
    fn new(count: usize) -> Self {
        let ground = Ground::new();
        (0..count).for_each(|number| fs::create_dir(ground.path(&number.to_string())).unwrap());
        Self { ground }
    }

    fn path(&self, layer: usize, name: &str) -> PathBuf {
        let path = self.ground.path(&layer.to_string()).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path.into()
    }

    fn file(&self, layer: usize, name: &str) -> &Self {
        fs::write(self.path(layer, name), format!("{layer}")).unwrap();
        self
    }

    fn link(&self, layer: usize, name: &str, target: &str) -> &Self {
        symlink(target, self.path(layer, name)).unwrap();
        self
    }

    fn delete(&self, layer: usize, name: &str) -> &Self {
        rustix::fs::mknodat(
            CWD,
            self.path(layer, name),
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )
        .unwrap();
        self
    }

    fn opaque(&self, layer: usize, name: &str) -> &Self {
        let path = self
            .path(layer, &format!("{name}/x"))
            .parent()
            .unwrap()
            .to_owned();
        rustix::fs::setxattr(path, "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        self
    }

    fn tree(&self) -> MergedTree {
        let layers = (0..10).map(|number| self.ground.path(&number.to_string()).into_std_path_buf());
        MergedTree::new(layers.take_while(|path| path.exists()).collect())
    }
}

/// Content of the file `path`, or what else there is.
fn show(tree: &MergedTree, path: &str) -> String {
    match tree.resolve(Path::new(path)).unwrap() {
        None => "-".to_owned(),
        Some(entry) if entry.metadata.is_dir() => {
            let names = tree.read_dir(&entry).unwrap();
            names
                .iter()
                .map(|name| name.to_str().unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        }
        Some(entry) => std::io::read_to_string(entry.open().unwrap()).unwrap(),
    }
}

#[test]
fn the_topmost_file_shows_and_directories_merge() {
    let layers = Layers::new(3);
    layers
        .file(0, "d/b")
        .file(1, "d/a")
        .file(1, "d/b")
        .file(2, "d/c")
        .file(2, "e/f");
    let tree = layers.tree();
    assert_eq!(show(&tree, "/"), "d e");
    assert_eq!(show(&tree, "d"), "a b c");
    assert_eq!(
        (show(&tree, "/d/b"), show(&tree, "d/./a"), show(&tree, "e//f")),
        ("0".into(), "1".into(), "2".into())
    );
    assert_eq!(show(&tree, "d/none/x"), "-");
    assert_eq!(show(&tree, "d/a/x"), "-", "below a file there is nothing");
    assert_eq!(show(&tree, "../../d/../d/a"), "1");
}

#[test]
fn deletions_hide_what_is_below_them() {
    plimsoll_testkit::needs!(root);
    let layers = Layers::new(4);
    layers
        .file(3, "gone")
        .file(3, "d/a")
        .file(3, "d/b")
        .file(3, "back")
        .file(3, "o/old")
        .file(3, "k/x");
    layers
        .delete(1, "gone")
        .delete(1, "d/a")
        .delete(1, "back")
        .delete(1, "k")
        .opaque(1, "o")
        .file(1, "o/new");
    layers.file(0, "back").file(0, "o/newest").file(2, "o/never");
    let tree = layers.tree();
    assert_eq!(show(&tree, "/"), "back d o");
    assert_eq!(
        (show(&tree, "d"), show(&tree, "o"), show(&tree, "back")),
        ("b".into(), "new newest".into(), "0".into())
    );
    for hidden in ["gone", "d/a", "o/old", "o/never", "k", "k/x"] {
        assert_eq!(show(&tree, hidden), "-", "{hidden}");
    }
}

#[test]
fn a_file_and_a_directory_of_one_name_do_not_merge() {
    let layers = Layers::new(3);
    layers.file(0, "d/a").file(1, "d").file(2, "d/b");
    layers.file(0, "f").file(1, "f/x");
    let tree = layers.tree();
    assert_eq!(
        (
            show(&tree, "d"),
            show(&tree, "d/b"),
            show(&tree, "f"),
            show(&tree, "f/x")
        ),
        ("a".into(), "-".into(), "0".into(), "-".into())
    );
}

#[test]
fn links_are_followed_inside_the_root() {
    let layers = Layers::new(2);
    layers
        .file(1, "usr/lib/x")
        .link(1, "lib", "usr/lib")
        .link(0, "abs", "/lib/x")
        .link(0, "usr/up", "../../../../lib");
    layers
        .link(0, "dangling", "/nowhere/at/all")
        .link(1, "usr/lib/back", "..")
        .link(0, "host", "/proc/self/root/etc");
    let tree = layers.tree();
    for path in [
        "lib/x",
        "abs",
        "usr/up/x",
        "lib/back/lib/x",
        "usr/lib/back/../lib/x",
    ] {
        assert_eq!(show(&tree, path), "1", "{path}");
    }
    assert_eq!(
        (show(&tree, "dangling"), show(&tree, "host")),
        ("-".into(), "-".into())
    );
    let link = tree.lookup(Path::new("lib")).unwrap().unwrap();
    assert_eq!(
        (link.read_link().unwrap(), link.metadata.is_symlink()),
        ("usr/lib".into(), true)
    );
    assert!(link.open().is_err(), "no file");
    assert_eq!(
        tree.lookup(Path::new("lib/x")).unwrap().unwrap().path,
        Path::new("/usr/lib/x")
    );
}

#[test]
fn a_canonical_path_needs_no_file() {
    let layers = Layers::new(1);
    layers
        .file(0, "usr/lib/x")
        .link(0, "lib", "usr/lib")
        .link(0, "dangling", "/lib/new/dir")
        .link(0, "usr/lib/l", "x");
    let tree = layers.tree();
    for (path, canonical) in [
        ("", "/"),
        ("/..", "/"),
        ("lib", "/usr/lib"),
        ("lib/l", "/usr/lib/x"),
        ("lib/new/a", "/usr/lib/new/a"),
        ("dangling/x", "/usr/lib/new/dir/x"),
        ("lib/new/../other", "/usr/lib/other"),
        ("lib/new/../../x", "/usr/x"),
        ("no/lib", "/no/lib"),
    ] {
        assert_eq!(
            tree.canonical(Path::new(path)).unwrap(),
            Path::new(canonical),
            "{path}"
        );
    }
}

#[test]
fn a_loop_ends() {
    let layers = Layers::new(1);
    layers
        .link(0, "a", "b")
        .link(0, "b", "a")
        .link(0, "self", "self/x");
    for path in ["a", "a/x", "self"] {
        let error = layers.tree().resolve(Path::new(path)).unwrap_err();
        let StoreError::TooManyLinks { source, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(
            source.raw_os_error(),
            Some(rustix::io::Errno::LOOP.raw_os_error())
        );
    }
    assert!(layers.tree().lookup(Path::new("a")).unwrap().is_some());
}

#[test]
fn children_one_by_one() {
    let layers = Layers::new(2);
    layers.file(0, "d/a").file(1, "d/b");
    let tree = layers.tree();
    let directory = tree.resolve(Path::new("d")).unwrap().unwrap();
    let child = tree.child(&directory, "b".as_ref()).unwrap().unwrap();
    assert_eq!(child.path, Path::new("/d/b"));
    assert!(
        tree.child(&child, "x".as_ref()).unwrap().is_none(),
        "no directory"
    );
    rustix::fs::setxattr(&child.host_path, "user.a", b"1", XattrFlags::empty()).unwrap();
    assert_eq!(child.xattrs().unwrap(), [("user.a".into(), b"1".to_vec())]);
}

#[test]
fn no_layers_are_an_empty_root() {
    let tree = MergedTree::new(Vec::new());
    assert!(tree.lookup(Path::new("etc/passwd")).unwrap().is_none());
    assert_eq!(tree.canonical(Path::new("/etc/../x")).unwrap(), Path::new("/x"));
    assert!(tree.read_dir(&tree.root().unwrap()).unwrap().is_empty());
}
