use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::fake::{Fake, Reply, Request};
use crate::{FailureKind, RegistrySettings};

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

fn plain() -> Registry {
    Registry::new(BTreeMap::new(), None)
}

fn with_mirrors(mirrors: &[&Fake]) -> Registry {
    let mirrors = mirrors.iter().map(|fake| fake.address.clone()).collect();
    let settings = RegistrySettings {
        mirrors,
        ..RegistrySettings::default()
    };
    Registry::new(BTreeMap::from([("docker.io".to_owned(), settings)]), None)
}

fn image(fake: &Fake) -> ImageRef {
    format!("{}/team/app:1", fake.address).parse().unwrap()
}

fn ok() -> Reply {
    Reply::new(200, MANIFEST)
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(
        "application/octet-stream".into(),
        bytes.len() as u64,
        Digest::of(bytes),
    )
}

/// Serves `blob` with ranges.
fn serve(blob: &[u8], request: &Request) -> Reply {
    match request.offset() {
        Some(offset) => {
            let range = format!("bytes {offset}-{}/{}", blob.len() - 1, blob.len());
            Reply::new(206, &blob[offset..]).header("content-range", range)
        }
        None => Reply::new(200, blob),
    }
}

async fn download(
    registry: &Registry,
    image: &ImageRef,
    blob: &[u8],
    offset: usize,
) -> Result<Vec<u8>, RegistryError> {
    let mut got = blob[..offset].to_vec();
    let mut write = |bytes: &[u8]| {
        got.extend_from_slice(bytes);
        Ok(())
    };
    registry
        .blob(image, &descriptor(blob), offset as u64, &mut write)
        .await?;
    Ok(got)
}

fn kind(result: Result<impl Sized, RegistryError>) -> FailureKind {
    result.err().expect("it fails").kind()
}

#[tokio::test]
async fn a_manifest_is_asked_for_with_its_media_types() {
    let fake = Fake::start(|_, _| ok());
    let manifest = plain().manifest(&image(&fake)).await.unwrap();
    assert_eq!(manifest.digest, Digest::of(MANIFEST));
    assert_eq!(manifest.media_type, "application/vnd.oci.image.manifest.v1+json");
    let seen = fake.seen();
    assert_eq!(
        (seen.len(), seen[0].path.as_str()),
        (1, "/v2/team/app/manifests/1")
    );
    assert!(
        seen[0]
            .header("accept")
            .unwrap()
            .contains("application/vnd.docker.distribution.manifest.list.v2+json")
    );
}

#[tokio::test]
async fn a_wrong_digest_is_refused() {
    let fake = Fake::start(|_, _| Reply::new(404, "").header("x", "y"));
    let pinned: ImageRef = format!("{}/a@{}", fake.address, Digest::of("other"))
        .parse()
        .unwrap();
    assert_eq!(kind(plain().manifest(&pinned).await), FailureKind::NotFound);
    let fake = Fake::start(|_, before| {
        let declared = if before == 0 {
            Digest::of("other")
        } else {
            Digest::of(MANIFEST)
        };
        ok().header("docker-content-digest", declared.to_string())
    });
    plain().manifest(&image(&fake)).await.unwrap();
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn other_documents_are_not_manifests() {
    for body in [
        "<html>",
        "{}",
        r#"{"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#,
    ] {
        let fake = Fake::start(move |_, _| Reply::new(200, body).header("content-type", "text/html"));
        let error = plain().manifest(&image(&fake)).await.unwrap_err();
        assert!(error.to_string().contains("sent something else"), "{error}");
        assert_eq!(fake.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    for status in [429, 500, 503] {
        let fake = Fake::start(move |_, before| {
            if before < 2 {
                Reply::new(status, "").header("retry-after", "0")
            } else {
                ok()
            }
        });
        plain().manifest(&image(&fake)).await.unwrap();
        assert_eq!(fake.seen().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let fake = Fake::start(|_, _| {
        Reply::new(
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
        )
        .header("content-type", "application/json; charset=utf-8")
    });
    let error = plain().manifest(&image(&fake)).await.unwrap_err();
    let address = &fake.address;
    let text = format!(
        "manifest of `{address}/team/app:1` was not found: `{address}/team/app` answered 404 (manifest unknown)"
    );
    assert_eq!(error.to_string(), text);
    let fake = Fake::start(|_, _| Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\""));
    assert_eq!(
        kind(plain().manifest(&image(&fake)).await),
        FailureKind::Unauthorised
    );
    let fake = Fake::start(|_, _| Reply::new(405, ""));
    assert_eq!(kind(plain().manifest(&image(&fake)).await), FailureKind::Other);
    let closed: ImageRef = "127.0.0.1:1/a".parse().unwrap();
    let error = plain().manifest(&closed).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unreachable);
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn mirrors_are_asked_in_order_for_the_full_name() {
    let empty = Fake::start(|_, _| Reply::new(404, ""));
    let full = Fake::start(|_, _| ok());
    let node: ImageRef = "node:20-alpine".parse().unwrap();
    with_mirrors(&[&empty, &full]).manifest(&node).await.unwrap();
    for fake in [&empty, &full] {
        assert_eq!(fake.seen()[0].path, "/v2/library/node/manifests/20-alpine");
    }
}

#[tokio::test]
async fn an_unreachable_mirror_is_named_once_and_then_left_alone() {
    let fake = Fake::start(|_, _| Reply::new(404, ""));
    let settings = RegistrySettings {
        mirrors: vec!["127.0.0.1:1".to_owned()],
        ..RegistrySettings::default()
    };
    let registry = Registry::new(BTreeMap::from([(fake.address.clone(), settings)]), None);
    let first = registry.manifest(&image(&fake)).await.unwrap_err();
    assert!(
        first
            .to_string()
            .contains("`127.0.0.1:1/team/app` cannot be reached"),
        "{first}"
    );
    assert_eq!(first.kind(), FailureKind::NotFound);
    let second = registry.manifest(&image(&fake)).await.unwrap_err();
    assert!(!second.to_string().contains("127.0.0.1:1/"), "{second}");
}

#[tokio::test]
async fn a_mirror_gets_a_blob_started_and_the_next_one_ends_it() {
    let blob = bytes(100_000);
    let (one, two) = (blob.clone(), blob.clone());
    let first = Fake::start(move |request, before| {
        if before == 0 {
            serve(&one, request).cut(40_000)
        } else {
            Reply::new(404, "")
        }
    });
    let second = Fake::start(move |request, _| serve(&two, request));
    let registry = with_mirrors(&[&first, &second]);
    assert_eq!(
        download(&registry, &"node".parse().unwrap(), &blob, 0)
            .await
            .unwrap(),
        blob
    );
    assert_eq!(second.seen()[0].header("range"), Some("bytes=40000-"));
}

#[tokio::test]
async fn a_cut_blob_is_resumed() {
    let blob = bytes(300_000);
    let served = blob.clone();
    let fake = Fake::start(move |request, before| {
        let reply = serve(&served, request);
        if before < 2 { reply.cut(100_000) } else { reply }
    });
    assert_eq!(download(&plain(), &image(&fake), &blob, 0).await.unwrap(), blob);
    let ranges: Vec<_> = fake.seen().iter().map(Request::offset).collect();
    assert_eq!(ranges, [None, Some(100_000), Some(200_000)]);
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_from_the_start() {
    let blob = bytes(50_000);
    let served = blob.clone();
    let fake = Fake::start(move |_, _| Reply::new(200, served.clone()));
    assert_eq!(
        download(&plain(), &image(&fake), &blob, 20_000).await.unwrap(),
        blob
    );
    assert_eq!(
        download(&plain(), &image(&fake), &blob, blob.len())
            .await
            .unwrap(),
        blob
    );
    assert_eq!(fake.seen().len(), 1, "nothing is asked for a blob that is there");
}

#[tokio::test]
async fn a_blob_of_another_size_or_range_is_refused() {
    let blob = bytes(1000);
    let fake = Fake::start(|_, _| Reply::new(200, bytes(1001)));
    assert_eq!(
        kind(download(&plain(), &image(&fake), &blob, 0).await),
        FailureKind::Other
    );
    let fake = Fake::start(|_, _| Reply::new(206, bytes(500)).header("content-range", "bytes 0-499/1000"));
    let error = download(&plain(), &image(&fake), &blob, 500).await.unwrap_err();
    assert!(error.to_string().contains("the range"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_not_the_registrys_fault() {
    let blob = bytes(1000);
    let served = blob.clone();
    let fake = Fake::start(move |request, _| serve(&served, request));
    let mut write = |_: &[u8]| Err(io::ErrorKind::StorageFull.into());
    let result = plain()
        .blob(&image(&fake), &descriptor(&blob), 0, &mut write)
        .await;
    assert!(matches!(result, Err(RegistryError::Keep { .. })), "{result:?}");
    assert_eq!(fake.seen().len(), 1);
}

/// A registry with tokens: `user` may have `good`, nobody else anything.
fn with_tokens() -> Fake {
    Fake::start(|request, _| {
        if request.path.starts_with("/token") {
            return match request.header("authorization") {
                Some("Basic dXNlcjpwYXNz") => Reply::new(200, r#"{"token":"good"}"#),
                Some(_) => Reply::new(401, ""),
                None => Reply::new(200, r#"{"token":"anonymous"}"#),
            };
        }
        let realm = format!("http://{}/token", request.header("host").unwrap());
        match request.header("authorization") {
            Some("Bearer good") => ok(),
            _ => Reply::new(401, "").header(
                "www-authenticate",
                format!("Bearer realm=\"{realm}\",service=\"s\""),
            ),
        }
    })
}

fn logged_in(fake: &Fake, auth: &str) -> (Registry, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, fake.address);
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    let path = camino::Utf8PathBuf::try_from(folder.path().to_owned()).unwrap();
    (Registry::new(BTreeMap::new(), Some(path)), folder)
}

#[tokio::test]
async fn a_token_is_fetched_once() {
    let fake = with_tokens();
    let (registry, _folder) = logged_in(&fake, "dXNlcjpwYXNz");
    registry.manifest(&image(&fake)).await.unwrap();
    registry.manifest(&image(&fake)).await.unwrap();
    let paths: Vec<_> = fake.seen().into_iter().map(|request| request.path).collect();
    let manifest = "/v2/team/app/manifests/1";
    assert_eq!(
        paths,
        [
            manifest,
            "/token?scope=repository%3Ateam%2Fapp%3Apull&service=s",
            manifest,
            manifest
        ]
    );
}

#[tokio::test]
async fn a_refused_token_is_a_refusal() {
    let fake = with_tokens();
    assert_eq!(
        kind(plain().manifest(&image(&fake)).await),
        FailureKind::Unauthorised
    );
    assert_eq!(fake.seen().len(), 3, "the anonymous token is tried");
    let (registry, _folder) = logged_in(&fake, "dXNlcjp3cm9uZw==");
    assert_eq!(
        kind(registry.manifest(&image(&fake)).await),
        FailureKind::Unauthorised
    );
}

#[tokio::test]
async fn basic_authentication() {
    let answer = |request: &Request, _| match request.header("authorization") {
        Some("Basic dXNlcjpwYXNz") => ok(),
        _ => Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\""),
    };
    let fake = Fake::start(answer);
    let (registry, _folder) = logged_in(&fake, "dXNlcjpwYXNz");
    registry.manifest(&image(&fake)).await.unwrap();
}

#[tokio::test]
async fn secrets_do_not_go_elsewhere_in_the_clear() {
    let fake = Fake::start(|_, _| {
        Reply::new(401, "").header(
            "www-authenticate",
            "Bearer realm=\"http://registry.invalid/token\"",
        )
    });
    let (registry, _folder) = logged_in(&fake, "dXNlcjpwYXNz");
    let error = registry.manifest(&image(&fake)).await.unwrap_err();
    assert!(
        error.to_string().contains("credentials over plain HTTP"),
        "{error}"
    );
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_secret() {
    let blob = bytes(1000);
    let served = blob.clone();
    let cdn = Fake::start(move |request, _| {
        if request.header("authorization").is_some() {
            Reply::new(400, "")
        } else {
            serve(&served, request)
        }
    });
    let target = format!("http://localhost:{}/x", cdn.address.rsplit_once(':').unwrap().1);
    let fake = Fake::start(move |request, _| match request.header("authorization") {
        None => Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\""),
        Some(_) => Reply::new(307, "").header("location", target.clone()),
    });
    let (registry, _folder) = logged_in(&fake, "dXNlcjpwYXNz");
    assert_eq!(
        download(&registry, &image(&fake), &blob, 100).await.unwrap(),
        blob
    );
    assert_eq!(cdn.seen()[0].header("range"), Some("bytes=100-"));
}

#[tokio::test]
async fn many_at_once_share_one_registry() {
    let fake = with_tokens();
    let (registry, _folder) = logged_in(&fake, "dXNlcjpwYXNz");
    let (registry, image) = (Arc::new(registry), image(&fake));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (registry, image) = (registry.clone(), image.clone());
        all.spawn(async move { registry.manifest(&image).await.map(drop) });
    }
    for result in all.join_all().await {
        result.unwrap();
    }
}
