use plimsoll_testkit::needs;

use super::*;
use crate::save::tests::built;
use crate::testing::*;

fn packing(compression: Compression) -> Packing {
    Packing {
        encoding: Encoding::new(compression, None).unwrap(),
        ..Packing::default()
    }
}

fn digests(image: &Image) -> Vec<String> {
    let layers = image.manifest.layers().iter();
    layers.map(|layer| layer.digest().to_string()).collect()
}

/// Every blob is there, is what its descriptor says, and unpacks to its diff id.
fn check(sandbox: &Sandbox, image: &Image) {
    let content = sandbox.images.store.content();
    for (layer, diff_id) in image.manifest.layers().iter().zip(&image.config.rootfs.diff_ids) {
        let digest = document::digest_of(layer, "a layer").unwrap();
        let blob = content.read(&digest, 1 << 20).unwrap();
        assert_eq!(Digest::of(&blob), digest);
        assert_eq!(blob.len() as u64, layer.size());
        let kind = Compression::of_media_type(layer.media_type().as_ref()).unwrap();
        let magic: &[u8] = match kind {
            Compression::Gzip => &[0x1f, 0x8b],
            Compression::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Compression::Uncompressed => b"",
        };
        assert!(blob.starts_with(magic));
        let mut tar = Vec::new();
        let mut reader = plimsoll_layer::decompress(&blob[..]).unwrap();
        io::Read::read_to_end(&mut reader, &mut tar).unwrap();
        assert_eq!(Digest::of(&tar), *diff_id);
    }
}

#[test]
fn what_came_stays_and_what_was_built_is_packed() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let packed = sandbox.images.pack(&image, &packing(compression)).unwrap();
        check(&sandbox, &packed);
        assert_eq!(packed.id, image.id);
        let (before, after) = (digests(&image), digests(&packed));
        assert_eq!(before[..2], after[..2], "the base image's blobs");
        assert_ne!(before[2], after[2]);
        let media_type = packed.manifest.layers()[2].media_type().to_string();
        assert_eq!(media_type, compression.media_type(true));
    }
}

#[test]
fn packing_again_finds_or_makes_the_same() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    let first = sandbox.images.pack(&image, &packing(Compression::Gzip)).unwrap();
    let again = sandbox.images.pack(&image, &packing(Compression::Gzip)).unwrap();
    assert_eq!(first.manifest_digest, again.manifest_digest);
    let layer = document::digest_of(&first.manifest.layers()[2], "a layer").unwrap();
    sandbox.images.store.content().remove(&layer).unwrap();
    let threads = NonZero::new(5).unwrap();
    let packing = Packing {
        threads,
        ..packing(Compression::Gzip)
    };
    let anew = sandbox.images.pack(&image, &packing).unwrap();
    assert_eq!(first.manifest_digest, anew.manifest_digest);
    check(&sandbox, &anew);
}

#[test]
fn force_changes_what_is_compressed_otherwise() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    let force = |compression| Packing {
        force: true,
        ..packing(compression)
    };
    let zstd = sandbox.images.pack(&image, &force(Compression::Zstd)).unwrap();
    check(&sandbox, &zstd);
    assert!(
        digests(&zstd)
            .iter()
            .all(|layer| !digests(&image).contains(layer))
    );
    let gzip = sandbox.images.pack(&image, &force(Compression::Gzip)).unwrap();
    assert_eq!(digests(&gzip)[..2], digests(&image)[..2], "gzip is gzip");
    let plain = sandbox
        .images
        .pack(&image, &force(Compression::Uncompressed))
        .unwrap();
    check(&sandbox, &plain);
    let diff_ids = image.config.rootfs.diff_ids.iter().map(Digest::to_string);
    assert_eq!(digests(&plain), diff_ids.collect::<Vec<_>>());
}

#[test]
fn docker_media_types() {
    needs!(root);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    let packing = Packing {
        oci_media_types: false,
        ..packing(Compression::Gzip)
    };
    let packed = sandbox.images.pack(&image, &packing).unwrap();
    let types = packed
        .manifest
        .layers()
        .iter()
        .map(|layer| layer.media_type().to_string());
    assert!(
        types
            .into_iter()
            .all(|kind| kind == Compression::Gzip.media_type(false))
    );
    assert_eq!(
        packed.manifest.config().media_type().to_string(),
        "application/vnd.docker.container.image.v1+json"
    );
    check(&sandbox, &packed);
}

/// A build that is not assembled yet: the chain's diff ids come out of the same pass.
#[test]
fn a_chain_without_an_image() {
    needs!(root);
    let sandbox = Sandbox::new();
    let snapshots = sandbox.images.store.snapshots();
    let mut top = None;
    for text in ["one", "two"] {
        let active = snapshots.prepare(top).unwrap();
        std::fs::write(active.upper().join("file"), text).unwrap();
        top = Some(snapshots.commit(active).unwrap());
    }
    let packed = sandbox
        .images
        .pack_chain(top, &packing(Compression::Gzip))
        .unwrap();
    let known = snapshots.known_layer(top.unwrap()).unwrap().unwrap();
    assert_eq!(packed.len(), 2);
    assert_eq!(packed[1].diff_id, known.diff_id);
    let image = sandbox
        .images
        .assemble(plimsoll_oci::ImageConfig::default(), top)
        .unwrap();
    let image = sandbox.images.pack(&image, &packing(Compression::Gzip)).unwrap();
    check(&sandbox, &image);
    assert_eq!(image.manifest.layers()[1], packed[1].descriptor);
}
