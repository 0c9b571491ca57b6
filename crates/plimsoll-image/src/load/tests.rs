use plimsoll_testkit::needs;
use serde_json::json;
use tar::EntryType;

use crate::testing::*;
use crate::{Image, ImageError};

fn named(name: &str) -> serde_json::Value {
    json!({"io.containerd.image.name": name})
}

/// The error of an archive that must leave no name behind.
fn refused(archive: &[u8]) -> String {
    let sandbox = Sandbox::new();
    let error = sandbox.load(archive).expect_err("it is refused");
    assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
    chain(&error)
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn check_hello(sandbox: &Sandbox, image: &Image) {
    assert_eq!(sandbox.file(image, "etc/greeting").as_deref(), Some("hello"));
    assert_eq!(sandbox.file(image, "etc/place").as_deref(), Some("world"));
}

#[test]
fn docker_archives_load_with_all_names() {
    needs!(root);
    let sandbox = Sandbox::new();
    let sample = Sample::hello();
    let loaded = sandbox
        .load(&pack(&sample.docker(&["app:1", "ghcr.io/a/app:2"])))
        .unwrap();
    let [(image, names)] = &loaded[..] else {
        panic!("{loaded:?}")
    };
    assert_eq!(
        names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["docker.io/library/app:1", "ghcr.io/a/app:2"]
    );
    check_hello(&sandbox, image);
    assert_eq!(
        sandbox.images.size(image).unwrap(),
        ("hello".len() + "world".len()) as u64
    );
    for name in [
        "app:1",
        "docker.io/library/app:1",
        "ghcr.io/a/app:2",
        &image.id.to_string(),
        &image.id.hex(),
        &image.id.short(),
    ] {
        assert_eq!(sandbox.images.get(name).unwrap().id, image.id, "{name}");
    }
}

#[test]
fn order_compression_and_links_do_not_matter() {
    needs!(root);
    let sample = Sample::hello().compressed();
    let mut files = sample.docker(&["app"]);
    files.reverse();
    let sandbox = Sandbox::new();
    let image = sandbox.load_one(&gzip(&pack(&files)));
    check_hello(&sandbox, &image);
    // As old versions of Docker do when two images share a layer.
    files
        .iter_mut()
        .filter(|(name, _)| name == "0/layer.tar")
        .for_each(|(name, _)| *name = "x/layer.tar".to_owned());
    for (target, kind) in [
        ("../x/layer.tar", EntryType::Symlink),
        ("x/layer.tar", EntryType::Link),
    ] {
        let sandbox = Sandbox::new();
        let image = sandbox.load_one(&pack_with_link("0/layer.tar", target, kind, &files));
        check_hello(&sandbox, &image);
    }
}

#[test]
fn oci_archives_load_by_their_annotations() {
    needs!(root);
    for (annotations, names) in [
        (named("docker.io/library/app:1"), vec!["app:1"]),
        (
            json!({"io.containerd.image.name": "docker.io/library/app:1", "org.opencontainers.image.ref.name": "1"}),
            vec!["app:1"],
        ),
        (
            json!({"org.opencontainers.image.ref.name": "ghcr.io/a/app:2"}),
            vec!["ghcr.io/a/app:2"],
        ),
        (
            json!({"org.opencontainers.image.ref.name": "app:3"}),
            vec!["app:3"],
        ),
        (
            json!({"org.opencontainers.image.ref.name": "latest"}),
            vec!["<none>"],
        ),
        (json!({}), vec!["<none>"]),
    ] {
        let sandbox = Sandbox::new();
        let image = sandbox.load_one(&pack(&Sample::hello().oci(annotations.clone())));
        assert_eq!(sandbox.names(), names, "{annotations}");
        assert_eq!(sandbox.images.get(&image.id.short()).unwrap().id, image.id);
        check_hello(&sandbox, &image);
    }
}

#[test]
fn an_index_gives_this_machines_image() {
    needs!(root);
    let (other, ours) = (
        Sample::new(&[&[("etc/x", "y")]]).of_architecture("s390x"),
        Sample::hello(),
    );
    let inner = index(&[platform(&other), platform(&ours)]);
    let mut entry = descriptor(INDEX, &inner);
    entry["annotations"] = named("docker.io/library/app:1");
    // As `docker save --platform` does, the other platform's blobs are left out.
    let mut files = vec![
        ("index.json".to_owned(), index(&[entry])),
        (blob_path(&inner), inner),
    ];
    files.extend(ours.blob_files());
    let sandbox = Sandbox::new();
    check_hello(&sandbox, &sandbox.load_one(&pack(&files)));
    // Platforms side by side in the top index are one image too.
    let mut files = vec![(
        "index.json".to_owned(),
        index(&[platform(&other), platform(&ours)]),
    )];
    files.extend(ours.blob_files());
    files.extend(other.blob_files());
    let sandbox = Sandbox::new();
    let loaded = sandbox.load(&pack(&files)).unwrap();
    assert_eq!(loaded.len(), 1);
    check_hello(&sandbox, &loaded[0].0);
}

#[test]
fn another_machines_image_loads_when_it_is_the_only_one() {
    needs!(root);
    let sample = Sample::hello().of_architecture("s390x");
    let mut files = vec![("index.json".to_owned(), index(&[platform(&sample)]))];
    files.extend(sample.blob_files());
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.load_one(&pack(&files)).config.architecture, "s390x");
}

#[test]
fn attestations_are_not_images() {
    needs!(root);
    let sample = Sample::hello();
    let mut attestation = descriptor(MANIFEST, b"{}");
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let mut files = vec![("index.json".to_owned(), index(&[platform(&sample), attestation]))];
    files.extend(sample.blob_files());
    assert_eq!(Sandbox::new().load(&pack(&files)).unwrap().len(), 1);
}

#[test]
fn an_archive_names_all_its_images_or_none() {
    needs!(root);
    let good = Sample::hello();
    let bad = Sample::new(&[&[("etc/x", "y")]]);
    let entry = |sample: &Sample, name: &str| {
        let mut entry = descriptor(MANIFEST, &sample.manifest());
        entry["annotations"] = named(name);
        entry
    };
    let mut files = vec![(
        "index.json".to_owned(),
        index(&[entry(&good, "good:1"), entry(&bad, "bad:1")]),
    )];
    files.extend(good.blob_files());
    files.extend(bad.blob_files());
    let sandbox = Sandbox::new();
    sandbox.load(&pack(&files)).unwrap();
    assert_eq!(sandbox.names(), ["bad:1", "good:1"]);
    files.retain(|(name, _)| *name != blob_path(&bad.layers[0]));
    let error = refused(&pack(&files));
    assert!(error.contains("layer") && error.contains("is missing"), "{error}");
}

#[test]
fn a_name_moves_and_leaves_the_old_image_without() {
    needs!(root);
    let sandbox = Sandbox::new();
    let old = sandbox.load_one(&pack(&Sample::hello().docker(&["app"])));
    let new = sandbox.load_one(&pack(&Sample::new(&[&[("etc/x", "y")]]).docker(&["app"])));
    assert_eq!(sandbox.images.get("app").unwrap().id, new.id);
    assert!(sandbox.images.names(&old).unwrap().is_empty());
    let mut names = sandbox.names();
    names.sort();
    assert_eq!(names, ["<none>", "app:latest"]);
}

#[test]
fn loading_again_changes_nothing() {
    needs!(root);
    let sandbox = Sandbox::new();
    let archive = pack(&Sample::hello().oci(named("app:1")));
    let (first, second) = (sandbox.load_one(&archive), sandbox.load_one(&archive));
    assert_eq!(
        (first.id, first.manifest_digest),
        (second.id, second.manifest_digest)
    );
    assert_eq!(sandbox.names(), ["app:1"]);
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    needs!(root);
    let mut sample = Sample::hello();
    let files = sample.docker(&["app"]);
    sample.layers[1] = Sample::new(&[&[("etc/place", "mars")]]).layers.remove(0);
    let mut exchanged = files.clone();
    exchanged[1].1.clone_from(&sample.layers[1]);
    let error = refused(&pack(&exchanged));
    assert!(error.contains("diff id"), "{error}");
}

#[test]
fn hostile_and_broken_archives_are_refused_with_the_reason() {
    needs!(root);
    let sample = Sample::hello();
    let files = || sample.docker(&["app"]);
    let with = |name: &str, bytes: &[u8]| {
        let mut files = files();
        files.retain(|(known, _)| known != name);
        files.push((name.to_owned(), bytes.to_vec()));
        pack(&files)
    };
    let without = |name: &str| {
        let mut files = files();
        files.retain(|(known, _)| known != name);
        pack(&files)
    };
    let config = format!("{}.json", plimsoll_oci::Digest::of(sample.config()).hex());
    let whole = pack(&files());
    let manifest = |text: &str| with("manifest.json", text.as_bytes());
    for (archive, reason) in [
        (
            with("../../etc/cron.d/x", b"x"),
            "`../../etc/cron.d/x` leads out of it",
        ),
        (with("/etc/passwd", b"x"), "`/etc/passwd` leads out of it"),
        (with(&config, b"{}"), "has digest"),
        (with(&blob_path(b"x"), b"y"), "has digest"),
        (
            with("manifest.json", &vec![b' '; 9 << 20]),
            "too large for a document",
        ),
        (without("1/layer.tar"), "`1/layer.tar` is named in it and missing"),
        (without("manifest.json"), "neither `index.json`"),
        (manifest("[{"), "cannot make sense of `manifest.json`"),
        (
            manifest(r#"[{"Config":"../x","Layers":[]}]"#),
            "`../x` is named in it and missing",
        ),
        (
            manifest(&format!(r#"[{{"Config":"{config}","Layers":["{config}"]}}]"#)),
            "is not a layer",
        ),
        (
            manifest(&format!(r#"[{{"Config":"{config}","Layers":["0/layer.tar"]}}]"#)),
            "it has 1 layers, its configuration 2",
        ),
        (
            manifest(&format!(
                r#"[{{"Config":"{config}","RepoTags":["A B"],"Layers":["0/layer.tar","1/layer.tar"]}}]"#
            )),
            "`A B`",
        ),
        (
            pack_with_link("a", "../../etc/shadow", EntryType::Symlink, &files()),
            "the link `a` leads out of it",
        ),
        (
            pack_with_link("a", "/etc/shadow", EntryType::Link, &files()),
            "the link `a` leads out of it",
        ),
        (
            pack_with_link("a", "b", EntryType::Char, &files()),
            "entry of type Char",
        ),
        (
            pack_with_link("0/layer.tar", "0/layer.tar", EntryType::Link, &{
                let mut files = files();
                files.remove(0);
                files
            }),
            "leads to no end",
        ),
        (whole[..whole.len() / 2].to_vec(), "damaged"),
        (
            gzip(&whole)[..whole.len() / 100].to_vec(),
            "cannot read the image archive",
        ),
        (
            b"#!/bin/sh\necho I am not an archive at all\n".repeat(50),
            "not a tar archive",
        ),
        (Vec::new(), "neither `index.json`"),
    ] {
        let error = refused(&archive);
        assert!(error.contains(reason), "expected {reason:?} in {error:?}");
    }
}

#[test]
fn broken_oci_archives_are_refused_with_the_reason() {
    needs!(root);
    let sample = Sample::hello();
    let top = |entry: serde_json::Value| {
        let mut files = vec![("index.json".to_owned(), index(&[entry]))];
        files.extend(sample.blob_files());
        pack(&files)
    };
    let entry = |key: &str, value: serde_json::Value| {
        let mut entry = descriptor(MANIFEST, &sample.manifest());
        entry[key] = value;
        entry
    };
    let other = plimsoll_oci::Digest::of("other");
    let sha512 = format!("sha512:{}", "0".repeat(128));
    for (archive, reason) in [
        (
            pack(&vec![("index.json".to_owned(), index(&[]))]),
            "names no image",
        ),
        (
            top(entry("digest", json!(other))),
            "manifest `sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa` is missing",
        ),
        (top(entry("digest", json!(sha512))), "unusable digest"),
        (top(entry("size", json!(1))), "the index says 1"),
        (top(entry("annotations", named("A B"))), "`A B`"),
        (
            top(entry("mediaType", json!(INDEX))),
            "cannot make sense of index",
        ),
    ] {
        let error = refused(&archive);
        assert!(error.contains(reason), "expected {reason:?} in {error:?}");
    }
}

#[test]
fn a_name_that_is_not_there_gets_a_suggestion() {
    needs!(root);
    let sandbox = Sandbox::new();
    sandbox.load_one(&pack(
        &Sample::hello().docker(&["busybox:latest", "node:20-alpine"]),
    ));
    let nearest = |name: &str| match sandbox.images.get(name) {
        Err(ImageError::NotFound { nearest, .. }) => nearest,
        other => panic!("{other:?}"),
    };
    assert_eq!(nearest("busibox").as_deref(), Some("busybox"));
    assert_eq!(nearest("node:20-alpin").as_deref(), Some("node:20-alpine"));
    assert_eq!(nearest("postgres"), None);
}

#[test]
fn the_base_kits_archive_loads() {
    needs!(root, path = "tools/basekit");
    let path = plimsoll_testkit::basekit_archive("busybox");
    let sandbox = Sandbox::new();
    let image = sandbox.load_one(&std::fs::read(path).unwrap());
    assert_eq!(sandbox.names(), ["busybox:latest"]);
    let top = sandbox.images.snapshot(&image).unwrap().unwrap();
    assert!(
        sandbox.images.store.snapshots().layers(top).unwrap()[0]
            .join("bin/busybox")
            .exists()
    );
}
