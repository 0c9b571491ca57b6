//! An image archive: an OCI layout whose digests are right except where the input says otherwise.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arbitrary::Arbitrary;
use camino::Utf8Path;
use libfuzzer_sys::fuzz_target;
use plimsoll_image::{ArchiveFormat, Images};
use plimsoll_oci::Digest;
use plimsoll_progress::Progress;
use plimsoll_registry::Registry;
use plimsoll_store::Store;

/// What is left out is made so that the archive is a good one.
#[derive(Arbitrary, Debug)]
struct Input {
    layer: Vec<u8>,
    diff_id: Option<[u8; 32]>,
    config: Option<String>,
    manifest: Option<String>,
    index: Option<String>,
    docker_manifest: Option<String>,
    further: Vec<(String, Vec<u8>)>,
    cut_off: Option<u16>,
}

fuzz_target!(|input: Input| {
    let images = images();
    let archive = archive(&input);
    match images.load(&mut &archive[..], &Progress::none()) {
        Err(_) => assert!(
            images.list().expect("the store works").is_empty(),
            "a refused archive named something"
        ),
        Ok(loaded) => {
            for (image, names) in loaded {
                let id = image.id.to_string();
                let mut saved = Vec::new();
                let _ = images.save(&[(image, names)], ArchiveFormat::Oci, &mut saved);
                images
                    .remove(&id, true, &|_| false)
                    .expect("a loaded image can be removed");
            }
        }
    }
});

/// One store for all inputs: opening it is most of the work.
fn images() -> &'static Images {
    static IMAGES: OnceLock<(Images, tempfile::TempDir)> = OnceLock::new();
    let (images, _) = IMAGES.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path())
            .expect("it is text")
            .join("root");
        let store = Store::open(&root, &root.join("run")).expect("a new store");
        let registry = Registry::new(BTreeMap::new(), None);
        (Images::new(&store, Arc::new(registry)), folder)
    });
    images
}

fn archive(input: &Input) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut blob = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        add(&mut tar, &format!("blobs/sha256/{}", digest.hex()), bytes);
        digest
    };
    let layer = blob(&input.layer);
    let diff_id = input
        .diff_id
        .map_or(layer.to_string(), |bytes| format!("sha256:{}", lower_hex(&bytes)));
    let config = input.config.clone().unwrap_or_else(|| {
        format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        )
    });
    let config_digest = blob(config.as_bytes());
    let descriptor = |kind: &str, digest: &Digest, size: usize| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{size}}}"#)
    };
    let manifest = input.manifest.clone().unwrap_or_else(|| {
        format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor("config.v1+json", &config_digest, config.len()),
            descriptor("layer.v1.tar", &layer, input.layer.len()),
        )
    });
    let manifest_digest = blob(manifest.as_bytes());
    let index = input.index.clone().unwrap_or_else(|| {
        format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            descriptor("manifest.v1+json", &manifest_digest, manifest.len())
        )
    });
    match &input.docker_manifest {
        Some(text) => add(&mut tar, "manifest.json", text.as_bytes()),
        None => add(&mut tar, "index.json", index.as_bytes()),
    }
    for (name, content) in &input.further {
        add(&mut tar, name, content);
    }
    let mut bytes = tar.into_inner().expect("writing to memory works");
    if let Some(length) = input.cut_off {
        bytes.truncate(length.into());
    }
    bytes
}

fn add(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    // A name that the writer refuses is no input for the reader.
    let _ = tar.append_data(&mut header, name, content);
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
