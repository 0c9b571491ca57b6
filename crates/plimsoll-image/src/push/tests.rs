use plimsoll_testkit::{BaseRegistry, needs};

use super::*;
use crate::save::tests::built;
use crate::testing::*;

fn to(registry: &BaseRegistry, name: &str) -> ImageRef {
    format!("{}/{name}", registry.host).parse().unwrap()
}

async fn push(sandbox: &Sandbox, name: &ImageRef) -> Pushed {
    let packing = Packing::default();
    let pushed = sandbox.images.push(name, None, &packing, &Progress::none()).await;
    pushed.unwrap()
}

async fn pull(name: &ImageRef) -> (Sandbox, crate::Pulled) {
    let sandbox = Sandbox::new();
    let pulled = sandbox
        .images
        .pull(name, &Platform::host(), &Progress::none())
        .await;
    let pulled = pulled.unwrap();
    (sandbox, pulled)
}

fn how(pushed: &Pushed) -> Vec<LayerPush> {
    pushed.layers.iter().map(|(_, layer)| layer.clone()).collect()
}

#[tokio::test]
async fn what_was_built_comes_back() {
    needs!(root, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    let name = to(&registry, "team/app:1");
    sandbox.images.tag(&image, &name).unwrap();
    let first = push(&sandbox, &name).await;
    assert!(
        how(&first).iter().all(|layer| *layer == LayerPush::Sent),
        "{first:?}"
    );
    let again = push(&sandbox, &name).await;
    assert!(
        how(&again).iter().all(|layer| *layer == LayerPush::Existed),
        "{again:?}"
    );
    assert_eq!(first.digest, again.digest);
    let (there, pulled) = pull(&name).await;
    assert_eq!((pulled.digest, pulled.image.id), (first.digest, image.id));
    assert!(
        pulled.image.manifest.layers().iter().all(|layer| {
            Compression::of_media_type(layer.media_type().as_ref()) == Some(Compression::Gzip)
        })
    );
    assert_eq!(
        there.images.size(&pulled.image).unwrap(),
        sandbox.images.size(&image).unwrap()
    );
    let known = sandbox.images.digests(&image).unwrap();
    assert!(known.contains(&name.with_digest(first.digest)), "{known:?}");
}

#[tokio::test]
async fn what_was_pulled_keeps_its_digest() {
    needs!(root, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["busybox"], &[]);
    let source = to(&registry, "library/busybox:latest");
    let (sandbox, pulled) = pull(&source).await;
    let name = to(&registry, "mine/busybox:2");
    sandbox.images.tag(&pulled.image, &name).unwrap();
    let pushed = push(&sandbox, &name).await;
    assert_eq!(pushed.digest, pulled.image.manifest_digest);
    let mounted = LayerPush::MountedFrom("library/busybox".to_owned());
    assert!(how(&pushed).iter().all(|layer| *layer == mounted), "{pushed:?}");
}

#[tokio::test]
async fn an_image_of_an_index_goes_alone_where_the_others_are_not_here() {
    needs!(root, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["busybox"], &[]);
    let source = to(&registry, "library/busybox:latest");
    let (sandbox, pulled) = pull(&source).await;
    let name = to(&registry, "mine/busybox:3");
    sandbox.images.retag(&source.to_string(), &name).unwrap();
    let pushed = push(&sandbox, &name).await;
    assert_eq!(pushed.digest, pulled.image.manifest_digest);
    let missing: Platform = "plan9/mips".parse().unwrap();
    let refused = sandbox
        .images
        .push(&name, Some(&missing), &Packing::default(), &Progress::none())
        .await;
    assert!(
        matches!(refused, Err(ImageError::NoPlatform { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn two_built_images_go_as_one_index() {
    needs!(root, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let sandbox = Sandbox::new();
    let images = ["amd64", "arm64"].map(|architecture| {
        let sample = Sample::hello().of_architecture(architecture);
        sandbox.load_one(&pack(&sample.docker(&[])))
    });
    let entries = images.iter().map(|image| IndexEntry {
        media_type: media_type(image),
        digest: image.manifest_digest,
        size: sandbox
            .images
            .store
            .content()
            .size(&image.manifest_digest)
            .unwrap()
            .unwrap(),
        platform: image.config.platform(),
        annotations: Default::default(),
        attestations: vec![Attestation {
            predicate_type: "https://example.test/v1".to_owned(),
            predicate: serde_json::json!({"ok": true}),
        }],
    });
    let name = to(&registry, "team/many:1");
    let form = IndexForm {
        annotations: [("a".to_owned(), "b".to_owned())].into(),
        ..IndexForm::default()
    };
    let new = NewIndex::new(&entries.collect::<Vec<_>>(), &form);
    sandbox
        .images
        .keep_index(&images, &new, std::slice::from_ref(&name))
        .unwrap();
    let pushed = push(&sandbox, &name).await;
    assert_eq!(pushed.media_type, "application/vnd.oci.image.index.v1+json");
    assert_ne!(
        pushed.digest, new.index.digest,
        "layers are compressed on the way"
    );
    let fetched = sandbox.images.registry.manifest(&name).await.unwrap();
    assert_eq!(fetched.digest, pushed.digest);
    let index = Index::parse(fetched.digest, &fetched.bytes).unwrap();
    assert_eq!(index.document.annotations().as_ref().unwrap()["a"], "b");
    assert_eq!(
        index.document.manifests().len(),
        4,
        "two images, two attestations"
    );
    for (architecture, image) in ["amd64", "arm64"].iter().zip(&images) {
        let there = Sandbox::new();
        let platform: Platform = format!("linux/{architecture}").parse().unwrap();
        let pulled = there
            .images
            .pull(&name, &platform, &Progress::none())
            .await
            .unwrap();
        assert_eq!(pulled.image.id, image.id);
    }
}

#[tokio::test]
async fn faults_are_overcome() {
    needs!(root, tool = "docker-registry");
    let options = ["--fail-first", "1", "--kinds", "500,503,reset"];
    let registry = BaseRegistry::serve(&["none"], &options);
    let sandbox = Sandbox::new();
    let image = built(&sandbox);
    let name = to(&registry, "team/app:1");
    sandbox.images.tag(&image, &name).unwrap();
    let pushed = push(&sandbox, &name).await;
    assert_eq!(pull(&name).await.1.digest, pushed.digest);
}
