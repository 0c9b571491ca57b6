//! Many processes at one store, and processes that are killed.
//!
//! A child is this test binary again, told by `PLIMSOLL_STORE_TEST` which work to do on which store.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_oci::Digest;

use super::{Ground, count, layer, names};
use crate::{SnapshotId, Store};

const VARIABLE: &str = "PLIMSOLL_STORE_TEST";

/// Starts a child that does `work`.
fn child(ground: &Ground, work: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::processes::in_a_child", "--nocapture"])
        .env(VARIABLE, format!("{work}:{}", ground.path("")))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what a child runs.
#[test]
fn in_a_child() {
    let Ok(order) = std::env::var(VARIABLE) else {
        return;
    };
    let (work, base) = order.split_once(':').unwrap();
    let base = camino::Utf8Path::new(base);
    let store = Store::open(&base.join("root"), &base.join("run")).unwrap();
    match work {
        "count" => (0..200).for_each(|_| increment(&store)),
        "put" => put_many(&store),
        "unpack" => drop(unpack_both(&store)),
        "busy" => loop {
            keep_busy(&store);
        },
        "build" => (0..40).for_each(|_| build(&base.join("root"), &base.join("run"))),
        "prune" => loop {
            prune(&store);
        },
        other => panic!("no such work: {other}"),
    }
}

fn increment(store: &Store) {
    store
        .db()
        .write(|tx| -> rusqlite::Result<()> {
            let number: i64 = tx.query_row("SELECT count(*) FROM volume", [], |row| row.get(0))?;
            tx.execute(
                "INSERT INTO volume (name, created) VALUES (?1, 0)",
                [format!("v{number}")],
            )?;
            Ok(())
        })
        .unwrap();
}

fn put_many(store: &Store) {
    for number in 0..60 {
        store.content().put(format!("blob {number}").as_bytes()).unwrap();
    }
}

fn unpack_both(store: &Store) -> SnapshotId {
    let (base, top) = (
        layer(&[("a", &"a".repeat(100_000))]),
        layer(&[("b", "b"), ("a", "top")]),
    );
    let bottom = store
        .snapshots()
        .unpack(None, Digest::of(&base), &mut &base[..])
        .unwrap();
    store
        .snapshots()
        .unpack(Some(bottom), Digest::of(&top), &mut &top[..])
        .unwrap()
}

/// A bit of everything a command does.
fn keep_busy(store: &Store) {
    let content: Vec<u8> = (0..50_000_u32)
        .flat_map(|word| (word ^ std::process::id()).to_le_bytes())
        .collect();
    let number = count(store, "SELECT coalesce(max(id), 0) FROM snapshot");
    let digest = store
        .content()
        .put(&[&content[..], &number.to_le_bytes()].concat())
        .unwrap();
    let mut ingest = store
        .content()
        .ingest(Some(Digest::of(number.to_le_bytes())))
        .unwrap();
    ingest.restart().unwrap();
    ingest.write_all(&number.to_le_bytes()).unwrap();
    ingest.commit().unwrap();
    let tar = layer(&[("x", &number.to_string()), ("large", &"z".repeat(100_000))]);
    let parent = store
        .snapshots()
        .unpack(None, Digest::of(&tar), &mut &tar[..])
        .unwrap();
    let active = store.snapshots().prepare(Some(parent)).unwrap();
    std::fs::write(active.upper().join("y"), &content).unwrap();
    let child = store.snapshots().commit(active).unwrap();
    store.snapshots().layer(child).unwrap();
    drop(store.snapshots().prepare(Some(child)).unwrap());
    if number % 3 == 0 {
        store.snapshots().remove(child).unwrap();
        store.content().remove(&digest).unwrap();
    }
}

/// What a build does: finds or makes two steps and gives the image a row. A store of its own, as every process has.
fn build(root: &camino::Utf8Path, run: &camino::Utf8Path) {
    let store = Store::open(root, run).unwrap();
    store.protect().unwrap();
    let bottom = step(&store, "one", None);
    std::thread::sleep(Duration::from_millis(1));
    let top = step(&store, "two", Some(bottom));
    for layer in store.snapshots().layers(top).unwrap() {
        assert!(layer.join("y").exists(), "{}", layer.display());
    }
    let blob = store.content().put(b"shared by all builds").unwrap();
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(store.content().read(&blob, 100).unwrap(), b"shared by all builds");
}

fn step(store: &Store, key: &str, parent: Option<SnapshotId>) -> SnapshotId {
    if let Some(found) = super::gc::find(store, key) {
        return found;
    }
    let active = store.snapshots().prepare(parent).unwrap();
    std::fs::write(active.upper().join("y"), key).unwrap();
    let id = store.snapshots().commit(active).unwrap();
    super::gc::record(store, key, id);
    id
}

fn prune(store: &Store) {
    let request = crate::PruneRequest::default();
    store.prune(&super::gc::no_images, &request, &mut |_| {}).unwrap();
}

/// As the crash test, with somebody who prunes and is killed as well.
#[test]
fn pruning_never_breaks_a_build() {
    let ground = Ground::new();
    for round in 0..6_u64 {
        let mut pruning: Vec<Child> = (0..2).map(|_| child(&ground, "prune")).collect();
        let builds = (0..2).map(|_| child(&ground, "build")).collect();
        std::thread::sleep(Duration::from_millis(20 + round * 31 % 100));
        pruning[0].kill().unwrap();
        finish(builds);
        pruning[1].kill().unwrap();
        for child in &mut pruning {
            child.wait().unwrap();
        }
        check(&ground);
    }
    prune(&ground.open());
    let store = ground.open();
    assert_eq!(count(&store, "SELECT count(*) FROM snapshot"), 0);
    assert_eq!(count(&store, "SELECT count(*) FROM blob"), 0);
    assert!(names(ground.path("root/snapshots")).is_empty());
    assert!(names(ground.path("root/content/blobs/sha256")).is_empty());
}

fn finish(children: Vec<Child>) {
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn no_write_is_lost_or_busy() {
    let ground = Ground::new();
    finish((0..6).map(|_| child(&ground, "count")).collect());
    assert_eq!(count(&ground.open(), "SELECT count(*) FROM volume"), 1200);
}

#[test]
fn the_same_blobs_from_many() {
    let ground = Ground::new();
    finish((0..4).map(|_| child(&ground, "put")).collect());
    assert_eq!(count(&ground.open(), "SELECT count(*) FROM blob"), 60);
    assert!(names(ground.path("root/content/ingest")).is_empty());
    check(&ground);
}

#[test]
fn one_of_many_processes_unpacks() {
    let ground = Ground::new();
    finish((0..6).map(|_| child(&ground, "unpack")).collect());
    let store = ground.open();
    assert_eq!(
        count(&store, "SELECT max(id) FROM snapshot"),
        2,
        "each layer was prepared once"
    );
    assert_eq!(unpack_both(&store), SnapshotId(2));
    drop(store);
    check(&ground);
}

#[test]
fn whenever_a_process_is_killed_the_store_is_whole() {
    let ground = Ground::new();
    for round in 0..25_u64 {
        let before = highest(&ground);
        let mut children: Vec<Child> = (0..2).map(|_| child(&ground, "busy")).collect();
        // At work, however slow the machine is just now, and every time at another point of it.
        let end = Instant::now() + Duration::from_secs(10);
        while highest(&ground) == before && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(25 + round * 37 % 120));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let start = Instant::now();
        check(&ground);
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "nothing waits for the dead"
        );
    }
    let store = ground.open();
    assert!(
        count(&store, "SELECT count(*) FROM snapshot") > 5,
        "the children got somewhere"
    );
}

/// Number of the newest snapshot.
fn highest(ground: &Ground) -> i64 {
    count(&ground.open(), "SELECT coalesce(max(id), 0) FROM snapshot")
}

/// What must be true of a store that nobody works on.
fn check(ground: &Ground) {
    let store = ground.open();
    // Preparing sweeps away what the dead left.
    drop(store.snapshots().prepare(None).unwrap());
    assert_eq!(
        count(&store, "SELECT count(*) FROM snapshot WHERE kind <> 'committed'"),
        0
    );
    assert_eq!(count(&store, "SELECT count(*) FROM lease"), 1, "our own");
    assert!(names(ground.path("root/trash")).is_empty());
    let partial = names(ground.path("root/content/ingest"));
    assert!(
        partial.iter().all(|name| Digest::from_hex(name).is_ok()),
        "only what can be continued: {partial:?}"
    );
    for digest in blobs(&store) {
        let bytes = store.content().read(&digest, u64::MAX).unwrap();
        assert_eq!(Digest::of(&bytes), digest);
        assert_eq!(store.content().size(&digest).unwrap(), Some(bytes.len() as u64));
    }
    let ids = snapshots(&store);
    assert_eq!(
        names(ground.path("root/snapshots")).len(),
        ids.len(),
        "no directory without a row"
    );
    for id in ids {
        let (upper, work) = store.snapshots().directories(id).unwrap();
        assert!(upper.is_dir() && !work.exists());
        assert!(
            upper.join("large").exists() || upper.join("y").exists() || upper.join("a").exists(),
            "complete"
        );
    }
}

fn blobs(store: &Store) -> Vec<Digest> {
    let list = |db: &rusqlite::Connection| -> rusqlite::Result<Vec<String>> {
        db.prepare("SELECT digest FROM blob")?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    store
        .db()
        .read(list)
        .unwrap()
        .iter()
        .map(|text| text.parse().unwrap())
        .collect()
}

fn snapshots(store: &Store) -> Vec<SnapshotId> {
    let list = |db: &rusqlite::Connection| -> rusqlite::Result<Vec<i64>> {
        db.prepare("SELECT id FROM snapshot")?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    store
        .db()
        .read(list)
        .unwrap()
        .into_iter()
        .map(SnapshotId)
        .collect()
}
