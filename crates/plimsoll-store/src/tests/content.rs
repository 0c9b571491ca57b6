//! Blobs.

use std::io::{Read as _, Write as _};

use plimsoll_oci::Digest;

use super::{Ground, count, names};
use crate::StoreError;

#[test]
fn what_is_put_can_be_read() {
    let ground = Ground::new();
    let store = ground.open();
    let digest = store.content().put(b"hello").unwrap();
    assert_eq!(store.content().put(b"hello").unwrap(), digest);
    assert_eq!(digest, Digest::of("hello"));
    assert_eq!(ground.open().content().size(&digest).unwrap(), Some(5));
    assert_eq!(store.content().read(&digest, 5).unwrap(), b"hello");
    let mut text = String::new();
    store
        .content()
        .open(&digest)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "hello");
    assert_eq!(names(ground.path("root/content/blobs/sha256")), [digest.hex()]);
    assert!(names(ground.path("root/content/ingest")).is_empty());
}

#[test]
fn what_is_not_there_or_too_large_is_said() {
    let ground = Ground::new();
    let store = ground.open();
    let absent = Digest::of("absent");
    assert_eq!(store.content().size(&absent).unwrap(), None);
    assert!(matches!(
        store.content().open(&absent),
        Err(StoreError::MissingBlob { .. })
    ));
    let digest = store.content().put(b"hello").unwrap();
    let error = store.content().read(&digest, 4).unwrap_err();
    assert!(error.to_string().contains("has 5 bytes, at most 4"), "{error}");
}

#[test]
fn a_wrong_digest_names_both_and_leaves_nothing() {
    let ground = Ground::new();
    let store = ground.open();
    let expected = Digest::of("expected");
    let mut ingest = store.content().ingest(Some(expected)).unwrap();
    ingest.write_all(b"actual").unwrap();
    let text = ingest.commit().unwrap_err().to_string();
    assert!(
        text.contains(&expected.to_string()) && text.contains(&Digest::of("actual").to_string()),
        "{text}"
    );
    assert!(names(ground.path("root/content/ingest")).is_empty());
    assert_eq!(store.content().size(&expected).unwrap(), None);
}

#[test]
fn a_download_is_continued() {
    let ground = Ground::new();
    let digest = Digest::of("hello world");
    let mut first = ground.open().content().ingest(Some(digest)).unwrap();
    first.write_all(b"hello ").unwrap();
    drop(first);
    let store = ground.open();
    let mut second = store.content().ingest(Some(digest)).unwrap();
    assert_eq!(second.offset(), 6);
    second.write_all(b"world").unwrap();
    assert_eq!(second.commit().unwrap(), (digest, 11));
    assert!(names(ground.path("root/content/ingest")).is_empty());
}

#[test]
fn a_download_may_start_again() {
    let ground = Ground::new();
    let store = ground.open();
    let digest = Digest::of("right");
    let mut ingest = store.content().ingest(Some(digest)).unwrap();
    ingest.write_all(b"wrong and longer").unwrap();
    ingest.restart().unwrap();
    assert_eq!(ingest.offset(), 0);
    ingest.write_all(b"right").unwrap();
    assert_eq!(ingest.commit().unwrap(), (digest, 5));
    assert_eq!(store.content().read(&digest, 100).unwrap(), b"right");
}

#[test]
fn two_downloads_of_one_blob_do_not_mix() {
    let ground = Ground::new();
    let store = ground.open();
    let digest = Digest::of("blob");
    let mut first = store.content().ingest(Some(digest)).unwrap();
    first.write_all(b"bl").unwrap();
    let mut second = store.content().ingest(Some(digest)).unwrap();
    assert_eq!(second.offset(), 0);
    second.write_all(b"blob").unwrap();
    second.commit().unwrap();
    first.write_all(b"ob").unwrap();
    first.commit().unwrap();
    assert_eq!(store.content().read(&digest, 100).unwrap(), b"blob");
    assert!(names(ground.path("root/content/ingest")).is_empty());
}

#[test]
fn without_an_expected_digest_nothing_is_kept() {
    let ground = Ground::new();
    let mut ingest = ground.open().content().ingest(None).unwrap();
    ingest.write_all(b"half").unwrap();
    drop(ingest);
    assert!(names(ground.path("root/content/ingest")).is_empty());
}

#[test]
fn removing() {
    let ground = Ground::new();
    let store = ground.open();
    let digest = store.content().put(b"x").unwrap();
    store.content().remove(&digest).unwrap();
    store.content().remove(&digest).unwrap();
    assert_eq!(store.content().size(&digest).unwrap(), None);
    assert!(names(ground.path("root/content/blobs/sha256")).is_empty());
    store.content().put(b"x").unwrap();
    assert_eq!(count(&store, "SELECT count(*) FROM blob"), 1);
}
