use super::*;

fn entry(path: &str, kind: ListedKind) -> Listed {
    Listed {
        path: path.as_bytes().to_vec(),
        kind,
    }
}

fn file(path: &str, size: u64) -> Listed {
    entry(path, ListedKind::File { size })
}

/// Path, size, number of files, layer, by whom, cause.
fn wasted(usage: &ImageUsage) -> Vec<(String, u64, u64, usize, usize, WasteCause)> {
    let row = |waste: &Waste| {
        let path = String::from_utf8(waste.path.clone()).unwrap();
        (path, waste.size, waste.files, waste.layer, waste.by, waste.cause)
    };
    usage.waste.iter().map(row).collect()
}

#[test]
fn covered_and_deleted_files_are_wasted_by_the_layer_that_did_it() {
    let usage = ImageUsage::of(vec![
        vec![file("a", 100), file("b", 10), file("d/x", 1), file("kept", 1000)],
        vec![file("a", 7), entry("b", ListedKind::Deleted)],
        vec![entry("a", ListedKind::Deleted)],
    ]);
    assert_eq!(
        wasted(&usage),
        [
            ("/a".to_owned(), 100, 1, 0, 1, WasteCause::Overwritten),
            ("/b".to_owned(), 10, 1, 0, 1, WasteCause::Deleted),
            ("/a".to_owned(), 7, 1, 1, 2, WasteCause::Deleted),
        ]
    );
    assert_eq!((usage.size(), usage.wasted()), (1118, 117));
    let layers: Vec<_> = usage
        .layers
        .iter()
        .map(|layer| (layer.size, layer.files, layer.wasted))
        .collect();
    assert_eq!(layers, [(1111, 4, 110), (7, 1, 7), (0, 0, 0)]);
    let seen: Vec<_> = usage
        .files()
        .map(|file| (file.path, file.size, file.layer))
        .collect();
    assert_eq!(seen, [(&b"d/x"[..], 1, 0), (b"kept", 1000, 0)]);
}

#[test]
fn whole_directories_are_one_line() {
    let lists = vec![
        vec![
            file("app/a/1", 5),
            file("app/a/2", 5),
            file("app/b", 5),
            file("etc/passwd", 3),
            file("usr/x", 9),
        ],
        vec![
            file("app/a/1", 5),
            file("app/a/2", 5),
            file("app/b", 5),
            file("etc/passwd", 4),
        ],
    ];
    let usage = ImageUsage::of(lists);
    assert_eq!(
        wasted(&usage),
        [
            ("/app".to_owned(), 15, 3, 0, 1, WasteCause::Overwritten),
            ("/etc/passwd".to_owned(), 3, 1, 0, 1, WasteCause::Overwritten),
        ]
    );
}

#[test]
fn what_mostly_stays_is_named_file_by_file() {
    let usage = ImageUsage::of(vec![
        vec![file("lib/a", 1), file("lib/b", 1), file("lib/c", 100)],
        vec![file("lib/a", 1), file("lib/b", 1)],
    ]);
    let paths: Vec<_> = wasted(&usage).into_iter().map(|row| row.0).collect();
    assert_eq!(paths, ["/lib/a", "/lib/b"]);
}

#[test]
fn opaque_directories_and_changes_of_kind_hide_what_is_below() {
    let usage = ImageUsage::of(vec![
        vec![file("d/old", 10), file("e/x/y", 20), file("f", 30), file("dd", 1)],
        vec![
            entry("d", ListedKind::Directory),
            entry("d", ListedKind::Opaque),
            file("d/new", 1),
            file("e", 2),
            entry("f", ListedKind::Directory),
            file("f/g", 3),
        ],
    ]);
    assert_eq!(
        wasted(&usage),
        [
            ("/f".to_owned(), 30, 1, 0, 1, WasteCause::Overwritten),
            ("/e/x/y".to_owned(), 20, 1, 0, 1, WasteCause::Overwritten),
            ("/d/old".to_owned(), 10, 1, 0, 1, WasteCause::Deleted),
        ]
    );
    let seen: Vec<_> = usage.files().map(|file| file.path).collect();
    assert_eq!(seen, [&b"d/new"[..], b"dd", b"e", b"f/g"]);
}

#[test]
fn an_opaque_root_hides_everything() {
    let usage = ImageUsage::of(vec![
        vec![file("a/b", 10)],
        vec![entry("", ListedKind::Opaque), file("c", 1)],
    ]);
    assert_eq!((usage.size(), usage.wasted()), (11, 10));
}

#[test]
fn directories_add_up() {
    let usage = ImageUsage::of(vec![
        vec![
            file("usr/lib/a", 10),
            file("usr/lib/x/b", 5),
            file("usr/bin/c", 1),
            file("d", 2),
        ],
        vec![file("usr/lib/a", 3)],
    ]);
    let rows: Vec<_> = usage
        .directories(2)
        .into_iter()
        .map(|row| {
            (
                String::from_utf8(row.path).unwrap(),
                row.size,
                row.files,
                row.wasted,
            )
        })
        .collect();
    let row = |path: &str, size, files, wasted| (path.to_owned(), size, files, wasted);
    assert_eq!(
        rows,
        [
            row("/", 11, 4, 10),
            row("/usr", 9, 3, 10),
            row("/usr/lib", 8, 2, 10),
            row("/usr/bin", 1, 1, 0),
        ]
    );
}
