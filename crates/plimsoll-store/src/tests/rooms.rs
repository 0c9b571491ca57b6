//! Making, opening and refusing stores; locks and leases; the trash.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ground, count, names};
use crate::{Store, StoreError};

#[test]
fn a_store_is_made_once() {
    let ground = Ground::new();
    let first = ground.open().instance();
    assert_eq!(ground.open().instance(), first);
    assert_ne!(Ground::new().open().instance(), first);
    let made = [
        "builds",
        "cache-mounts",
        "containers",
        "content",
        "contexts",
        "events",
        "layout-version",
        "manifest-lists",
        "snapshots",
        "trash",
        "volumes",
    ];
    assert_eq!(
        names(ground.path("root")),
        made,
        "the database comes with its first use"
    );
    assert_eq!(
        fs::read_to_string(ground.path("root/content/oci-layout")).unwrap(),
        r#"{"imageLayoutVersion":"1.0.0"}"#
    );
}

#[test]
fn many_may_make_it_together() {
    for _ in 0..20 {
        let ground = Ground::new();
        let opened: Vec<u32> = std::thread::scope(|scope| {
            let open = || {
                let store = ground.open();
                count(&store, "SELECT count(*) FROM blob");
                store.instance()
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(opened.iter().all(|instance| *instance == opened[0]), "{opened:?}");
    }
}

#[test]
fn a_later_layout_is_refused() {
    let ground = Ground::new();
    ground.open();
    fs::write(ground.path("root/layout-version"), "7\nsomething of the future\n").unwrap();
    let error = ground.try_open().err().unwrap();
    assert!(matches!(
        error,
        StoreError::FutureLayout {
            found: 7,
            known: 1,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("store layout 7") && text.contains("up to 1"),
        "{text}"
    );
    fs::write(ground.path("root/layout-version"), "what?").unwrap();
    assert!(matches!(ground.try_open(), Err(StoreError::DamagedLayout { .. })));
}

#[test]
fn a_later_database_is_refused() {
    let ground = Ground::new();
    ground
        .open()
        .db()
        .write(|tx| tx.pragma_update(None, "user_version", 99))
        .unwrap();
    let error = ground
        .open()
        .content()
        .size(&plimsoll_oci::Digest::of(""))
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("version 99") && cause.contains("up to 3"),
        "{cause}"
    );
}

#[test]
fn another_boot_clears_the_run_time_folder() {
    let ground = Ground::new();
    ground.open();
    fs::write(ground.path("run/containers/left"), "").unwrap();
    ground.open();
    assert_eq!(names(ground.path("run/containers")), ["left"], "same boot");
    fs::write(ground.path("run/boot-id"), "another").unwrap();
    ground.open();
    assert!(names(ground.path("run/containers")).is_empty());
    assert_eq!(
        names(ground.path("run")),
        ["boot-id", "containers", "locks", "netns"]
    );
}

#[test]
fn a_long_root_is_fine() {
    let ground = Ground::new();
    let root = ground.path(&"long-directory-name/".repeat(12)).join("root");
    let store = Store::open(&root, &ground.path("run")).unwrap();
    store.content().put(b"x").unwrap();
}

#[test]
fn a_lock_is_held_by_one_and_leaves_nothing() {
    let ground = Ground::new();
    let store = ground.open();
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let _lock = store.lock("build-key/sha256:x").unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert!(names(ground.path("run/locks")).is_empty());
    let lock = store.try_lock("a").unwrap().unwrap();
    assert!(store.try_lock("a").unwrap().is_none());
    assert_eq!(store.lock_holder("a"), Some(std::process::id()));
    assert!(store.try_lock("b").unwrap().is_some());
    drop(lock);
    assert!(store.try_lock("a").unwrap().is_some());
    assert_eq!(store.lock_holder("a"), None);
}

#[test]
fn a_lock_is_not_inherited() {
    let ground = Ground::new();
    let store = ground.open();
    let lock = store.lock("a").unwrap();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    drop(lock);
    assert!(store.try_lock("a").unwrap().is_some(), "though the child lives");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_lease_is_a_row_while_it_lives() {
    let ground = Ground::new();
    let store = ground.open();
    let lease = store.lease().unwrap();
    lease.keep_blob(&plimsoll_oci::Digest::of("x")).unwrap();
    lease.keep_blob(&plimsoll_oci::Digest::of("x")).unwrap();
    lease.keep_snapshot(crate::SnapshotId(5)).unwrap();
    let rows = "SELECT (SELECT count(*) FROM lease) * 10 + (SELECT count(*) FROM lease_ref)";
    assert_eq!(count(&store, rows), 12);
    drop(lease);
    assert_eq!(count(&store, rows), 0);
    assert!(
        names(ground.path("run/locks"))
            .iter()
            .all(|name| !name.starts_with("lease"))
    );
}

#[test]
fn discarding() {
    let ground = Ground::new();
    let store = ground.open();
    let volume = ground.path("root/volumes/v");
    fs::create_dir_all(volume.join("_data/deep")).unwrap();
    store.discard(&volume).unwrap();
    store.discard(&volume).unwrap();
    assert!(!volume.exists() && names(ground.path("root/trash")).is_empty());
    for outside in [ground.path("elsewhere"), ground.path("root")] {
        assert!(matches!(
            store.discard(&outside),
            Err(StoreError::OutsideStore { .. })
        ));
    }
}

#[test]
fn removing_a_store_leaves_what_is_not_its_own() {
    let ground = Ground::new();
    let store = ground.open();
    store.content().put(b"bytes").unwrap();
    store
        .events()
        .record("container", "start", "a", Default::default());
    std::fs::write(ground.path("root/manifest-lists/app"), "{}").unwrap();
    let foreign = ground.path("root/notes.txt");
    std::fs::write(&foreign, "mine").unwrap();
    store.remove().unwrap();
    let left: Vec<_> = ground
        .path("root")
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .collect();
    assert_eq!(left, [foreign]);
    assert!(!ground.path("run").exists());
    assert!(
        ground
            .open()
            .content()
            .size(&plimsoll_oci::Digest::of(b"bytes"))
            .unwrap()
            .is_none(),
        "a new one"
    );
}
