use std::process::Command;

use plimsoll_oci::{Digest, ImageConfig, ImageRef};
use plimsoll_testkit::needs;

use crate::Saved;
use crate::testing::*;
use crate::{ArchiveFormat, Image};

fn save(sandbox: &Sandbox, image: &Image, names: &[&str], format: ArchiveFormat) -> Vec<u8> {
    let names = names
        .iter()
        .map(|name| name.parse().unwrap())
        .collect::<Vec<ImageRef>>();
    let mut archive = Vec::new();
    sandbox
        .images
        .save(&[saved(image, names)], format, &mut archive)
        .unwrap();
    archive
}

/// An image with a layer that was built here, on a base that came compressed.
pub(crate) fn built(sandbox: &Sandbox) -> Image {
    let base = sandbox.load_one(&pack(&Sample::hello().compressed().docker(&["base"])));
    let parent = sandbox.images.snapshot(&base).unwrap();
    let snapshots = sandbox.images.store.snapshots();
    let active = snapshots.prepare(parent).unwrap();
    std::fs::create_dir(active.upper().join("etc")).unwrap();
    std::fs::write(active.upper().join("etc/place"), "home").unwrap();
    let top = snapshots.commit(active).unwrap();
    let config = ImageConfig {
        created: Some("2024-01-02T03:04:05Z".to_owned()),
        ..base.config.clone()
    };
    sandbox.images.assemble(config, Some(top)).unwrap()
}

fn saved(image: &Image, names: Vec<ImageRef>) -> Saved {
    Saved {
        image: image.clone(),
        index: None,
        names,
    }
}

#[test]
fn what_was_saved_loads_as_the_same_image() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = sandbox.load_one(&pack(&Sample::hello().compressed().oci(serde_json::json!({}))));
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        let other = Sandbox::new();
        let again = other.load_one(&save(&sandbox, &image, &["app:1", "ghcr.io/a/app:2"], format));
        assert_eq!(again.id, image.id);
        assert_eq!(other.names(), ["app:1", "ghcr.io/a/app:2"]);
        assert_eq!(other.file(&again, "etc/place").as_deref(), Some("world"));
        if format == ArchiveFormat::Oci {
            assert_eq!(
                again.manifest_digest, image.manifest_digest,
                "compressed blobs are kept as they came"
            );
        }
    }
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        let names = ["app:1", "app:2"];
        let (first, second) = (
            save(&sandbox, &image, &names, format),
            save(&sandbox, &image, &names, format),
        );
        assert!(first == second, "{format:?}");
    }
}

#[test]
fn a_built_image_is_saved_without_ever_having_been_a_blob() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    let layers: Vec<_> = image
        .manifest
        .layers()
        .iter()
        .map(|layer| layer.media_type().to_string())
        .collect();
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_eq!(layers, [gzip, gzip, "application/vnd.oci.image.layer.v1.tar"]);
    let top = Digest::try_from(image.manifest.layers()[2].digest()).unwrap();
    assert_eq!(Some(&top), image.config.rootfs.diff_ids.last());
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        let other = Sandbox::new();
        let again = other.load_one(&save(&sandbox, &image, &[], format));
        assert_eq!(again.id, image.id);
        assert_eq!(other.names(), ["<none>"]);
        assert_eq!(other.file(&again, "etc/place").as_deref(), Some("home"));
        assert_eq!(other.file(&again, "etc/greeting").as_deref(), Some("hello"));
    }
}

#[test]
fn images_that_share_layers_share_them_in_the_archive() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    let base = sandbox.images.get("base").unwrap();
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        let mut archive = Vec::new();
        let list = [
            saved(&image, vec!["app:1".parse().unwrap()]),
            saved(&base, vec!["base".parse().unwrap()]),
        ];
        sandbox.images.save(&list, format, &mut archive).unwrap();
        let mut paths: Vec<_> = tar::Archive::new(&archive[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned())
            .collect();
        let all = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), all);
        let other = Sandbox::new();
        other.load(&archive).unwrap();
        assert_eq!(other.names(), ["app:1", "base:latest"]);
    }
}

fn skopeo(args: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "skopeo {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn skopeo_reads_what_we_write_and_we_read_what_it_writes() {
    needs!(root, tool = "skopeo");
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    for (format, kind) in [
        (ArchiveFormat::Docker, "docker-archive"),
        (ArchiveFormat::Oci, "oci-archive"),
    ] {
        let path = |name: &str| sandbox.folder.path().join(name).display().to_string();
        let ours = path(kind);
        std::fs::write(&ours, save(&sandbox, &image, &["app:1"], format)).unwrap();
        let config = skopeo(&["inspect", "--config", "--raw", &format!("{kind}:{ours}")]);
        assert_eq!(Digest::of(config), image.id);
        for target in ["docker-archive", "oci-archive"] {
            let theirs = path(&format!("{kind}-{target}"));
            let names = if target == "docker-archive" {
                ":other:2"
            } else {
                ":docker.io/library/other:2"
            };
            skopeo(&[
                "copy",
                "-q",
                "--insecure-policy",
                &format!("{kind}:{ours}"),
                &format!("{target}:{theirs}{names}"),
            ]);
            let other = Sandbox::new();
            let again = other.load_one(&std::fs::read(theirs).unwrap());
            assert_eq!(other.names(), ["other:2"]);
            assert_eq!(other.file(&again, "etc/place").as_deref(), Some("home"));
        }
    }
}
