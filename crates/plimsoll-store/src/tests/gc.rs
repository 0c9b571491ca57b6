//! What is collected and pruned, and what stays.

use std::fs;

use plimsoll_oci::Digest;

use super::{Ground, count, names};
use crate::{CacheItem, ImageNeeds, PruneRequest, Result, SnapshotId, Store, StoreError, now};

pub(super) fn no_images() -> Result<Vec<ImageNeeds>> {
    Ok(Vec::new())
}

/// Finds a record as the build does.
pub(super) fn find(store: &Store, key: &str) -> Option<SnapshotId> {
    let touch = "UPDATE cache_record SET last_used = ?2 WHERE key = ?1 RETURNING snapshot";
    let found: rusqlite::Result<Option<i64>> = store.db().write(|tx| {
        let mut touch = tx.prepare(touch)?;
        let mut rows = touch.query(rusqlite::params![key, now()])?;
        let found: Option<i64> = rows.next()?.map(|row| row.get(0)).transpose()?;
        while rows.next()?.is_some() {}
        Ok(found)
    });
    found.unwrap().map(SnapshotId)
}

/// Builds hold a lock from looking to recording, so that none takes away what another has found. Here the first one wins.
pub(super) fn record(store: &Store, key: &str, snapshot: SnapshotId) {
    let insert = "INSERT INTO cache_record (key, snapshot, created, last_used) VALUES (?1, ?2, ?3, ?3) \
                  ON CONFLICT DO NOTHING";
    let values = rusqlite::params![key, snapshot.0, now()];
    store.db().write(|tx| tx.execute(insert, values)).unwrap();
}

fn step(store: &Store, parent: Option<SnapshotId>, size: usize) -> SnapshotId {
    let active = store.snapshots().prepare(parent).unwrap();
    fs::write(active.upper().join("file"), vec![1; size]).unwrap();
    let id = store.snapshots().commit(active).unwrap();
    record(store, &format!("step {id}"), id);
    id
}

/// An image on `top`, whose only blob is its manifest.
fn image(store: &Store, top: SnapshotId) -> ImageNeeds {
    let layer = store.snapshots().layer(top).unwrap();
    let manifest = store
        .content()
        .put(format!("manifest of {top}").as_bytes())
        .unwrap();
    let insert = "INSERT INTO image (manifest_digest, media_type, config_digest, platform, size, created) \
                  VALUES (?1, '', '', '', 0, 0)";
    store
        .db()
        .write(|tx| tx.execute(insert, [manifest.to_string()]))
        .unwrap();
    ImageNeeds {
        manifest,
        blobs: vec![manifest],
        top: Some(layer.chain_id),
    }
}

fn prune(store: &Store, images: &[ImageNeeds], request: &PruneRequest<'_>) -> Vec<String> {
    let mut removed = Vec::new();
    let images = || Ok::<_, StoreError>(images.to_vec());
    store
        .prune(&images, request, &mut |item: &CacheItem| {
            removed.push(item.id.clone())
        })
        .unwrap();
    removed
}

fn left(ground: &Ground) -> Vec<String> {
    names(ground.path("root/snapshots"))
}

#[test]
fn what_an_image_needs_stays() {
    let ground = Ground::new();
    let store = ground.open();
    let base = step(&store, None, 1);
    let top = step(&store, Some(base), 1);
    let cached = step(&store, Some(top), 1);
    let needs = [image(&store, top)];
    let stray = store.content().put(b"nobody's").unwrap();
    drop(store);
    let store = ground.open();
    assert_eq!(
        prune(&store, &needs, &PruneRequest::default()),
        [cached.to_string()]
    );
    assert_eq!(left(&ground), [base.to_string(), top.to_string()]);
    assert_eq!(count(&store, "SELECT count(*) FROM cache_record"), 2);
    assert!(store.content().size(&stray).unwrap().is_none() && store.content().open(&stray).is_err());
    assert!(store.content().open(&needs[0].manifest).is_ok());
    let all = PruneRequest {
        all: true,
        ..PruneRequest::default()
    };
    assert_eq!(prune(&store, &needs, &all).len(), 2);
    assert_eq!(left(&ground).len(), 2, "their files are the image's");
    assert_eq!(count(&store, "SELECT count(*) FROM cache_record"), 0);
    store
        .db()
        .write(|tx| tx.execute("DELETE FROM image", []))
        .unwrap();
    let freed = store.collect(&no_images).unwrap();
    assert!(freed >= 3 * 4096, "{freed}");
    assert!(left(&ground).is_empty());
}

#[test]
fn leases_protect() {
    let ground = Ground::new();
    let old = ground.open();
    let (named, other) = (step(&old, None, 1), step(&old, None, 1));
    let blob = old.content().put(b"blob").unwrap();
    drop(old);
    let builder = ground.open();
    builder.protect().unwrap();
    assert!(builder.snapshots().hold(named).unwrap());
    assert!(builder.content().touch(&[blob]).unwrap());
    let made = step(&builder, Some(named), 1);
    let store = ground.open();
    assert_eq!(prune(&store, &[], &PruneRequest::default()), [other.to_string()]);
    assert!(!builder.snapshots().hold(other).unwrap(), "it has gone");
    assert!(store.content().open(&blob).is_ok());
    drop(builder);
    assert_eq!(
        prune(&store, &[], &PruneRequest::default()),
        [made.to_string(), named.to_string()]
    );
    assert!(left(&ground).is_empty() && store.content().open(&blob).is_err());
}

#[test]
fn what_is_found_is_protected_from_then_on() {
    let ground = Ground::new();
    let old = ground.open();
    let base = step(&old, None, 1);
    let top = step(&old, Some(base), 1);
    drop(old);
    let builder = ground.open();
    builder.protect().unwrap();
    assert_eq!(find(&builder, &format!("step {top}")), Some(top));
    assert_eq!(
        prune(&ground.open(), &[], &PruneRequest::default()),
        Vec::<String>::new()
    );
    drop(builder);
    assert_eq!(prune(&ground.open(), &[], &PruneRequest::default()).len(), 2);
}

#[test]
fn ceilings_take_the_oldest_first() {
    let ground = Ground::new();
    let store = ground.open();
    let steps: Vec<SnapshotId> = (0..4).map(|_| step(&store, None, 1 << 20)).collect();
    find(&store, &format!("step {}", steps[0])).unwrap();
    drop(store);
    let store = ground.open();
    let request = |max_used, reserved| PruneRequest {
        max_used,
        reserved,
        ..PruneRequest::default()
    };
    let removed = prune(&store, &[], &request(Some(3 << 20), None));
    assert_eq!(
        removed,
        [steps[1].to_string(), steps[2].to_string()],
        "a MiB each, and their folders"
    );
    let none: [String; 0] = [];
    assert_eq!(prune(&store, &[], &request(Some(0), Some(10 << 20))), none);
    let room = PruneRequest {
        min_free: Some(0),
        ..PruneRequest::default()
    };
    assert_eq!(prune(&store, &[], &room), none, "there is room");
    assert_eq!(
        prune(&store, &[], &request(None, Some(2 << 20))),
        [steps[3].to_string()]
    );
    assert_eq!(left(&ground), [steps[0].to_string()]);
}

#[test]
fn filters_keep_what_lies_below() {
    let ground = Ground::new();
    let store = ground.open();
    let base = step(&store, None, 1);
    let cut = now();
    let top = step(&store, Some(base), 1);
    let other = step(&store, None, 1);
    drop(store);
    let store = ground.open();
    let until = PruneRequest {
        until: Some(cut),
        ..PruneRequest::default()
    };
    assert_eq!(prune(&store, &[], &until), Vec::<String>::new());
    let name = other.to_string();
    let by_id = |item: &CacheItem| item.id == name;
    let matching = PruneRequest {
        matches: Some(&by_id),
        ..PruneRequest::default()
    };
    assert_eq!(prune(&store, &[], &matching), [other.to_string()]);
    assert_eq!(left(&ground), [base.to_string(), top.to_string()]);
}

#[test]
fn cache_mounts_count_and_a_used_one_stays() {
    let ground = Ground::new();
    let store = ground.open();
    let mount = ground.path("root/cache-mounts/abc");
    for name in ["0", "1"] {
        fs::create_dir_all(mount.join(name)).unwrap();
        fs::write(mount.join(name).join("data"), vec![1; 100_000]).unwrap();
    }
    fs::write(mount.join("id"), "/root/.cache").unwrap();
    let lock = fs::File::create(mount.join("0.lock")).unwrap();
    lock.lock_shared().unwrap();
    let items = store.cache(&no_images).unwrap();
    let is_mount = |item: &CacheItem| {
        item.kind.as_str() == "exec.cachemount"
            && item.size >= 100_000
            && item.description == "/root/.cache"
            && item.in_use == (item.id == "abc.0")
    };
    assert!(items.len() == 2 && items.iter().all(is_mount), "{items:?}");
    assert_eq!(prune(&store, &[], &PruneRequest::default()), ["abc.1"]);
    assert_eq!(names(mount), ["0", "0.lock", "1.lock", "id"]);
}

#[test]
fn an_image_that_came_meanwhile_is_asked_for_again() {
    let ground = Ground::new();
    let store = ground.open();
    let top = step(&store, None, 1);
    let needs = image(&store, top);
    drop(store);
    let store = ground.open();
    let asked = std::cell::Cell::new(0);
    let images = || {
        asked.set(asked.get() + 1);
        Ok::<_, StoreError>(if asked.get() == 1 {
            Vec::new()
        } else {
            vec![needs.clone()]
        })
    };
    store.collect(&images).unwrap();
    assert_eq!(asked.get(), 2);
    assert_eq!(left(&ground), [top.to_string()]);
}

#[test]
fn usage_counts_every_block_once() {
    let ground = Ground::new();
    let store = ground.open();
    let base = step(&store, None, 300_000);
    let active = store.snapshots().prepare(Some(base)).unwrap();
    let linked = store.snapshots().directories(base).unwrap().0.join("file");
    fs::hard_link(linked, active.upper().join("again")).unwrap();
    let top = store.snapshots().commit(active).unwrap();
    let needs = [image(&store, base), image(&store, top)];
    let images = || Ok::<_, StoreError>(needs.to_vec());
    let used = |manifest: &Digest| *manifest == needs[0].manifest;
    let usage = store.disk_usage(&images, &used).unwrap();
    let total = crate::Meter::default()
        .measure(&ground.path("root/snapshots"))
        .unwrap();
    let blobs = crate::Meter::default()
        .measure(&ground.path("root/content/blobs/sha256"))
        .unwrap();
    assert_eq!(usage.images, total + blobs - 2 * 4096, "but for the two folders");
    assert!(usage.images_reclaimable < 100_000, "{usage:?}");
    assert!(usage.image[&needs[0].manifest].shared > 300_000);
    assert!(usage.image[&needs[1].manifest].unique > 0);
    assert!(usage.cache.iter().all(|item| item.shared));
}
