//! Snapshots in one process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use plimsoll_oci::Digest;

use super::{Ground, count, layer, names};
use crate::{SnapshotId, Store, StoreError, chain_id};

fn committed(store: &Store, parent: Option<SnapshotId>, file: &str) -> SnapshotId {
    let active = store.snapshots().prepare(parent).unwrap();
    fs::write(active.upper().join(file), file).unwrap();
    store.snapshots().commit(active).unwrap()
}

#[test]
fn snapshots_stack() {
    let ground = Ground::new();
    let store = ground.open();
    let snapshots = store.snapshots();
    let bottom = committed(&store, None, "a");
    let middle = committed(&store, Some(bottom), "b");
    let top = snapshots.prepare(Some(middle)).unwrap();
    let directory = |id: &SnapshotId| snapshots.directories(*id).unwrap().0;
    assert_eq!(top.lowers(), [directory(&middle), directory(&bottom)]);
    assert_eq!(
        (top.parent(), snapshots.parent(middle).unwrap()),
        (Some(middle), Some(bottom))
    );
    assert_eq!(snapshots.layers(middle).unwrap(), top.lowers());
    assert!(top.upper().is_dir() && top.work().is_dir());
    assert!(
        !snapshots.directories(middle).unwrap().1.exists(),
        "no work directory after commit"
    );
}

#[test]
fn the_root_directory_looks_like_the_parents() {
    let ground = Ground::new();
    let store = ground.open();
    let first = store.snapshots().prepare(None).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(first.upper()), 0o755);
    fs::set_permissions(first.upper(), fs::Permissions::from_mode(0o1711)).unwrap();
    let first = store.snapshots().commit(first).unwrap();
    assert_eq!(
        mode(store.snapshots().prepare(Some(first)).unwrap().upper()),
        0o1711
    );
}

#[test]
fn what_is_not_committed_goes() {
    let ground = Ground::new();
    let store = ground.open();
    let active = store.snapshots().prepare(None).unwrap();
    fs::write(active.upper().join("x"), "").unwrap();
    let id = active.id();
    assert!(
        matches!(
            store.snapshots().prepare(Some(id)),
            Err(StoreError::MissingSnapshot { .. })
        ),
        "no parent yet"
    );
    drop(active);
    assert!(names(ground.path("root/snapshots")).is_empty() && names(ground.path("root/trash")).is_empty());
    assert_eq!(count(&store, "SELECT count(*) FROM snapshot"), 0);
    assert!(matches!(
        store.snapshots().layers(id),
        Err(StoreError::MissingSnapshot { .. })
    ));
}

#[test]
fn a_parent_stays() {
    let ground = Ground::new();
    let store = ground.open();
    let parent = committed(&store, None, "a");
    let child = committed(&store, Some(parent), "b");
    assert!(matches!(
        store.snapshots().remove(parent),
        Err(StoreError::SnapshotInUse { .. })
    ));
    store.snapshots().remove(child).unwrap();
    store.snapshots().remove(parent).unwrap();
    store.snapshots().remove(parent).unwrap();
    assert!(names(ground.path("root/snapshots")).is_empty());
}

#[test]
fn a_cache_record_goes_with_its_snapshot() {
    let ground = Ground::new();
    let store = ground.open();
    let id = committed(&store, None, "a");
    let insert = "INSERT INTO cache_record (key, snapshot, created, last_used) VALUES ('k', ?1, 0, 0)";
    store.db().write(|tx| tx.execute(insert, [id.0])).unwrap();
    store.snapshots().remove(id).unwrap();
    assert_eq!(count(&store, "SELECT count(*) FROM cache_record"), 0);
}

#[test]
fn a_containers_snapshot_survives_its_maker() {
    let ground = Ground::new();
    let id = ground.open().snapshots().prepare_container(None, "c").unwrap();
    let store = ground.open();
    store.snapshots().prepare(None).unwrap();
    assert!(store.snapshots().directories(id).unwrap().1.is_dir());
    store.snapshots().remove(id).unwrap();
    assert!(names(ground.path("root/snapshots")).is_empty());
}

#[test]
fn unpacking_finds_what_is_there() {
    plimsoll_testkit::needs!(root);
    let ground = Ground::new();
    let store = ground.open();
    let (base, top) = (layer(&[("a", "1")]), layer(&[("d/b", "2")]));
    let unpack = |parent, tar: &[u8]| {
        store
            .snapshots()
            .unpack(parent, Digest::of(tar), &mut &tar[..])
            .unwrap()
    };
    let first = unpack(None, &base);
    let second = unpack(Some(first), &top);
    let chain = chain_id(Some(&Digest::of(&base)), &Digest::of(&top));
    assert_eq!(store.snapshots().by_chain_id(&chain).unwrap(), Some(second));
    let info = store.snapshots().layer(second).unwrap();
    assert_eq!(
        (info.diff_id, info.chain_id, info.tar_size),
        (Digest::of(&top), chain, top.len() as u64)
    );
    let again = store
        .snapshots()
        .unpack(Some(first), Digest::of(&top), &mut std::io::empty())
        .unwrap();
    assert_eq!(again, second, "nothing was read");
    assert_ne!(
        unpack(None, &top),
        second,
        "the same layer on nothing is another chain"
    );
}

#[test]
fn a_layer_that_is_not_the_images_is_refused() {
    let ground = Ground::new();
    let store = ground.open();
    let tar = layer(&[("a", "1")]);
    let expected = Digest::of("something else");
    let error = store
        .snapshots()
        .unpack(None, expected, &mut &tar[..])
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&expected.to_string()) && text.contains(&Digest::of(&tar).to_string()),
        "{text}"
    );
    let cut = store
        .snapshots()
        .unpack(None, Digest::of(&tar), &mut &tar[..600])
        .unwrap_err();
    assert!(matches!(cut, StoreError::Layer { .. }));
    assert!(names(ground.path("root/snapshots")).is_empty());
    assert_eq!(count(&store, "SELECT count(*) FROM snapshot"), 0);
}

#[test]
fn several_want_one_layer_and_one_unpacks_it() {
    let ground = Ground::new();
    let tar = layer(&[("a", &"content".repeat(10_000))]);
    let stores: Vec<Store> = (0..4).map(|_| ground.open()).collect();
    let unpack = |store: &Store| {
        store
            .snapshots()
            .unpack(None, Digest::of(&tar), &mut &tar[..])
            .unwrap()
    };
    let ids: Vec<SnapshotId> = std::thread::scope(|scope| {
        let threads: Vec<_> = stores.iter().map(|store| scope.spawn(|| unpack(store))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(
        count(&stores[0], "SELECT max(id) FROM snapshot"),
        1,
        "prepared once"
    );
}

#[test]
fn a_built_layer_is_written_as_recorded_or_not_at_all() {
    let ground = Ground::new();
    let store = ground.open();
    let snapshots = store.snapshots();
    let parent = committed(&store, None, "a");
    let id = committed(&store, Some(parent), "b");
    let mut tar = Vec::new();
    let written = snapshots.write_layer(id, &mut tar).unwrap();
    assert_eq!(
        (written.diff_id, written.tar_size),
        (Digest::of(&tar), tar.len() as u64)
    );
    assert_eq!(snapshots.layer(id).unwrap(), written);
    let below = snapshots.layer(parent).unwrap();
    assert_eq!(
        written.chain_id,
        chain_id(Some(&below.chain_id), &written.diff_id)
    );
    assert_eq!(snapshots.by_chain_id(&written.chain_id).unwrap(), Some(id));
    fs::write(snapshots.directories(id).unwrap().0.join("b"), "changed").unwrap();
    let error = snapshots.write_layer(id, &mut std::io::sink()).unwrap_err();
    assert!(
        matches!(error, StoreError::LayerChanged { snapshot, .. } if snapshot == id),
        "{error}"
    );
}

#[test]
fn the_same_change_has_the_same_digest() {
    let ground = Ground::new();
    let store = ground.open();
    let digest_of = |content: &str| {
        let active = store.snapshots().prepare(None).unwrap();
        fs::write(active.upper().join("x"), content).unwrap();
        store.snapshots().diff_digest(active.upper()).unwrap()
    };
    assert_eq!(digest_of("1"), digest_of("1"));
    assert_ne!(digest_of("1"), digest_of("2"));
}

#[test]
fn after_another_boot_what_may_be_torn_is_made_again() {
    let ground = Ground::new();
    let store = ground.open();
    let (tar, other) = (layer(&[("a", "1")]), layer(&[("b", "2")]));
    let synced = store
        .snapshots()
        .unpack(None, Digest::of(&tar), &mut &tar[..])
        .unwrap();
    store.sync().unwrap();
    store.sync().unwrap();
    let unpacked = store
        .snapshots()
        .unpack(Some(synced), Digest::of(&other), &mut &other[..])
        .unwrap();
    let built = committed(&store, Some(unpacked), "built");
    let layer = store.snapshots().layer(built).unwrap();
    for id in [synced, unpacked, built] {
        let insert = "INSERT INTO cache_record (key, snapshot, created, last_used) VALUES (?1, ?1, 0, 0)";
        store.db().write(|tx| tx.execute(insert, [id.0])).unwrap();
    }
    let blob = store.content().put(&other).unwrap();
    let insert = "INSERT INTO layer_blob (diff_id, digest, media_type, size) VALUES (?1, ?1, 'tar', 0)";
    store
        .db()
        .write(|tx| tx.execute(insert, [blob.to_string()]))
        .unwrap();
    drop(store);
    start_again(&ground);
    let store = ground.open();
    let found = |chain: &Digest| store.snapshots().by_chain_id(chain).unwrap();
    assert_eq!(found(&Digest::of(&tar)), Some(synced));
    assert_eq!(found(&layer.chain_id), Some(built), "nothing else has it");
    assert_eq!(count(&store, "SELECT max(snapshot) FROM cache_record"), synced.0);
    let again = store
        .snapshots()
        .unpack(Some(synced), Digest::of(&other), &mut &other[..])
        .unwrap();
    assert_ne!(again, unpacked, "unpacked again");
}

/// As if the machine had started again.
fn start_again(ground: &Ground) {
    fs::write(ground.path("run/boot-id"), "another").unwrap();
    let db = rusqlite::Connection::open(ground.path("root/meta.db")).unwrap();
    db.execute("UPDATE snapshot SET boot = 'before' WHERE boot IS NOT NULL", [])
        .unwrap();
}

#[test]
fn what_is_old_is_on_disk() {
    let ground = Ground::new();
    let store = ground.open();
    let (old, new) = (committed(&store, None, "a"), committed(&store, None, "b"));
    let age = "UPDATE snapshot SET created = created - 700000000000 WHERE id = ?1";
    store.db().write(|tx| tx.execute(age, [old.0])).unwrap();
    ground.open().snapshots().prepare(None).unwrap();
    assert_eq!(count(&store, "SELECT id FROM snapshot WHERE boot IS NULL"), old.0);
    assert_eq!(
        count(&store, "SELECT id FROM snapshot WHERE boot IS NOT NULL"),
        new.0
    );
}

#[test]
fn overlay_takes_what_is_prepared() {
    plimsoll_testkit::needs!(root);
    let ground = Ground::new();
    let store = ground.open();
    let parent = committed(&store, None, "a");
    let active = store.snapshots().prepare(Some(parent)).unwrap();
    let merged = ground.path("merged");
    fs::create_dir(&merged).unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        active.lowers()[0].display(),
        active.upper().display(),
        active.work().display()
    );
    let run = || {
        plimsoll_linux::unshare(plimsoll_linux::UnshareFlags::NEWNS).unwrap();
        use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        mount(
            "overlay",
            merged.as_str(),
            "overlay",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        fs::remove_file(merged.join("a")).unwrap();
        fs::write(merged.join("b"), "b").unwrap();
        unmount(merged.as_str(), UnmountFlags::empty()).unwrap();
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    let id = store.snapshots().commit(active).unwrap();
    let tree = crate::MergedTree::new(store.snapshots().layers(id).unwrap());
    assert_eq!(tree.read_dir(&tree.root().unwrap()).unwrap(), ["b"]);
}
