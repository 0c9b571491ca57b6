use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use super::*;
use crate::FailureKind;
use crate::fake::{Fake, Reply, Request};

struct Broken;

impl BlobSource for Broken {
    fn open(&self, _: u64) -> io::Result<Box<dyn Read + Send>> {
        Err(io::Error::other("the disk is on fire"))
    }
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn blob(bytes: &[u8], mount_from: Option<&str>) -> Pushing {
    Pushing {
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        source: Arc::new(bytes.to_vec()),
        mount_from: mount_from.map(str::to_owned),
        report: Arc::new(|_| {}),
    }
}

fn plain() -> Registry {
    Registry::new(BTreeMap::new(), None)
}

fn image(fake: &Fake) -> ImageRef {
    format!("{}/team/app:1", fake.address).parse().unwrap()
}

/// What a registry knows.
#[derive(Default)]
struct Memory {
    blobs: Vec<Vec<u8>>,
    uploads: HashMap<String, Vec<u8>>,
    begun: usize,
    /// Does not know how far broken uploads got.
    forgets: bool,
    /// Takes no more at a time.
    limit: Option<usize>,
}

impl Memory {
    fn answer(&mut self, request: &Request, whole: bool) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let query = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs.into_iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.replace("%3A", ":"))
        };
        let has = |memory: &Self, digest: &str| {
            let mut digests = memory.blobs.iter().map(|blob| Digest::of(blob).to_string());
            digests.any(|known| known == digest)
        };
        match (request.method.as_str(), path.strip_prefix("/v2/team/app/blobs/")) {
            ("HEAD", Some(digest)) => Reply::new(if has(self, digest) { 200 } else { 404 }, ""),
            ("POST", Some("uploads/")) => {
                let there = query("mount").is_some_and(|digest| has(self, &digest));
                if there && query("from").is_some_and(|from| from == "team/base") {
                    return Reply::new(201, "");
                }
                self.begun += 1;
                self.uploads.insert(self.begun.to_string(), Vec::new());
                Reply::new(202, "").header(
                    "location",
                    format!("/v2/team/app/blobs/uploads/{}?x=y", self.begun),
                )
            }
            (method, Some(upload)) => {
                let id = upload.trim_start_matches("uploads/").to_owned();
                assert_eq!(query("x").as_deref(), Some("y"), "the location is kept whole");
                let Some(got) = self.uploads.get_mut(&id) else {
                    return Reply::new(404, "");
                };
                if let Some(range) = request.header("content-range") {
                    let start = range.split_once('-').unwrap().0.parse::<usize>().unwrap();
                    if start != got.len() {
                        return Reply::new(416, "");
                    }
                }
                if self.limit.is_some_and(|limit| request.body.len() > limit) {
                    return Reply::new(413, "");
                }
                got.extend_from_slice(&request.body);
                if !whole && self.forgets {
                    self.uploads.remove(&id);
                    return Reply::new(404, "");
                }
                let location = request.path.split("&digest").next().unwrap().to_owned();
                let range = format!("0-{}", got.len().saturating_sub(1));
                match method {
                    "PUT" => {
                        let got = self.uploads.remove(&id).unwrap();
                        match query("digest") {
                            Some(digest) if digest == Digest::of(&got).to_string() => {
                                self.blobs.push(got);
                                Reply::new(201, "")
                            }
                            _ => Reply::new(400, ""),
                        }
                    }
                    "PATCH" => Reply::new(202, "")
                        .header("location", location)
                        .header("range", range),
                    "GET" => Reply::new(204, "")
                        .header("location", location)
                        .header("range", range),
                    _ => Reply::new(405, ""),
                }
            }
            _ => Reply::new(404, ""),
        }
    }
}

/// A registry that breaks off the bodies whose number and method are in `cuts`, after so many bytes.
fn serve(memory: Memory, cuts: &'static [(&str, usize)]) -> (Fake, Arc<Mutex<Memory>>) {
    let memory = Arc::new(Mutex::new(memory));
    let (shared, broken) = (memory.clone(), Arc::new(Mutex::new(0)));
    let next = broken.clone();
    let cut = move |request: &Request| {
        let mut next = next.lock().unwrap();
        let (method, after) = cuts.get(*next)?;
        (request.method == *method && request.header("content-length") != Some("0")).then(|| {
            *next += 1;
            *after
        })
    };
    let fake = Fake::start_cutting(cut, move |request, _| {
        let length = request
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        let whole = request.body.len() == length;
        let mut memory = shared.lock().unwrap();
        if !whole && request.method == "PUT" {
            // As an unfinished PATCH: what came is kept, the digest is not looked at.
            let mut part = request.clone();
            part.method = "PATCH".to_owned();
            return memory.answer(&part, false);
        }
        memory.answer(request, whole)
    });
    (fake, memory)
}

fn methods(fake: &Fake) -> Vec<String> {
    fake.seen().into_iter().map(|request| request.method).collect()
}

#[tokio::test]
async fn a_blob_is_sent_once() {
    let (fake, memory) = serve(Memory::default(), &[]);
    let content = bytes(700_000);
    let (registry, image) = (plain(), image(&fake));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = sent.clone();
    let mut first = blob(&content, None);
    first.report = Arc::new(move |bytes| log.lock().unwrap().push(bytes));
    assert_eq!(registry.push_blob(&image, &first).await.unwrap(), BlobPush::Sent);
    assert_eq!(
        registry.push_blob(&image, &blob(&content, None)).await.unwrap(),
        BlobPush::Existed
    );
    assert_eq!(methods(&fake), ["HEAD", "POST", "PUT", "HEAD"]);
    assert_eq!(memory.lock().unwrap().blobs, [content]);
    assert_eq!(*sent.lock().unwrap(), [262_144, 524_288, 700_000]);
}

#[tokio::test]
async fn an_empty_blob_is_one_too() {
    let (fake, memory) = serve(Memory::default(), &[]);
    plain().push_blob(&image(&fake), &blob(b"", None)).await.unwrap();
    assert_eq!(memory.lock().unwrap().blobs, [b""]);
}

#[tokio::test]
async fn a_blob_of_another_repository_is_taken_over() {
    let content = bytes(1000);
    let memory = Memory {
        blobs: vec![content.clone()],
        ..Memory::default()
    };
    let inner = Mutex::new(memory);
    let fake = Fake::start(move |request, _| match request.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        _ => inner.lock().unwrap().answer(request, true),
    });
    let pushed = plain()
        .push_blob(&image(&fake), &blob(&content, Some("team/base")))
        .await
        .unwrap();
    assert_eq!(pushed, BlobPush::Mounted);
    let digest = Digest::of(&content);
    let mount = format!("/v2/team/app/blobs/uploads/?mount={digest}&from=team/base");
    assert_eq!(fake.seen()[1].path, mount);
    // Where it is not, the registry begins an upload instead.
    let pushed = plain()
        .push_blob(&image(&fake), &blob(&content, Some("team/other")))
        .await
        .unwrap();
    assert_eq!(pushed, BlobPush::Sent);
}

#[tokio::test]
async fn a_refused_mount_is_an_upload() {
    let inner = Mutex::new(Memory::default());
    let fake = Fake::start(move |request, _| match request.path.contains("mount=") {
        true => Reply::new(403, ""),
        false => inner.lock().unwrap().answer(request, true),
    });
    let pushed = plain()
        .push_blob(&image(&fake), &blob(b"x", Some("secret/base")))
        .await
        .unwrap();
    assert_eq!(pushed, BlobPush::Sent);
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_was() {
    let (fake, memory) = serve(Memory::default(), &[("PUT", 300_000), ("PATCH", 200_000)]);
    let content = bytes(1_000_000);
    plain()
        .push_blob(&image(&fake), &blob(&content, None))
        .await
        .unwrap();
    assert_eq!(
        methods(&fake),
        ["HEAD", "POST", "PUT", "GET", "PATCH", "GET", "PATCH", "PUT"]
    );
    let ranges: Vec<_> = fake
        .seen()
        .iter()
        .filter_map(|request| request.header("content-range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["300000-999999", "500000-999999"]);
    assert_eq!(memory.lock().unwrap().blobs, [content]);
}

#[tokio::test]
async fn a_registry_that_forgets_is_sent_the_blob_anew() {
    let memory = Memory {
        forgets: true,
        ..Memory::default()
    };
    let (fake, memory) = serve(memory, &[("PUT", 300_000), ("PUT", 400_000)]);
    let content = bytes(500_000);
    plain()
        .push_blob(&image(&fake), &blob(&content, None))
        .await
        .unwrap();
    assert_eq!(memory.lock().unwrap().begun, 3);
    assert_eq!(memory.lock().unwrap().blobs, [content]);
}

#[tokio::test]
async fn what_is_too_large_goes_in_chunks() {
    let memory = Memory {
        limit: Some(CHUNK as usize),
        ..Memory::default()
    };
    let (fake, memory) = serve(memory, &[]);
    let content = bytes(CHUNK as usize + 10);
    plain()
        .push_blob(&image(&fake), &blob(&content, None))
        .await
        .unwrap();
    assert_eq!(
        methods(&fake),
        ["HEAD", "POST", "PUT", "POST", "PATCH", "PATCH", "PUT"]
    );
    assert!(memory.lock().unwrap().blobs == [content]);
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let memory = Mutex::new(Memory::default());
    let fake = Fake::start(move |request, before| match before % 3 {
        0 => Reply::new(503, "").header("retry-after", "0"),
        _ => memory.lock().unwrap().answer(request, true),
    });
    plain()
        .push_blob(&image(&fake), &blob(b"busy", None))
        .await
        .unwrap();
    assert_eq!(
        methods(&fake),
        ["HEAD", "HEAD", "POST", "PUT", "GET", "PATCH", "PUT", "GET", "PUT"]
    );
}

#[tokio::test]
async fn refusals_are_told() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"no push for you"}]}"#;
    let fake = Fake::start(move |request, _| match request.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        _ => Reply::new(403, denied).header("content-type", "application/json"),
    });
    let error = plain()
        .push_blob(&image(&fake), &blob(b"x", None))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unauthorised);
    assert!(
        error.to_string().ends_with("answered 403 (no push for you)"),
        "{error}"
    );
    let error = plain()
        .push_manifest(&image(&fake), "a/b", b"{}")
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("manifest of"), "{error}");
}

#[tokio::test]
async fn a_source_that_fails_is_not_the_registrys_fault() {
    let (fake, _) = serve(Memory::default(), &[]);
    let mut broken = blob(b"xyz", None);
    broken.source = Arc::new(Broken);
    let error = plain().push_blob(&image(&fake), &broken).await.unwrap_err();
    assert!(matches!(error, RegistryError::ReadBlob { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_is_put_under_its_name() {
    let fake = Fake::start(|request, _| {
        Reply::new(201, "").header("docker-content-digest", Digest::of(&request.body).to_string())
    });
    plain()
        .push_manifest(&image(&fake), "application/x", b"{}")
        .await
        .unwrap();
    let seen = fake.seen().remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("PUT", "/v2/team/app/manifests/1")
    );
    assert_eq!(
        (seen.header("content-type"), seen.body.as_slice()),
        (Some("application/x"), &b"{}"[..])
    );
}

#[tokio::test]
async fn rights_to_write_are_asked_for_and_mirrors_are_not() {
    let memory = Mutex::new(Memory::default());
    let fake = Fake::start(move |request, _| {
        if request.path.starts_with("/token") {
            return Reply::new(200, r#"{"token":"good"}"#);
        }
        match request.header("authorization") {
            Some("Bearer good") => memory.lock().unwrap().answer(request, true),
            _ => {
                let realm = format!("http://{}/token", request.header("host").unwrap());
                Reply::new(401, "").header("www-authenticate", format!("Bearer realm=\"{realm}\""))
            }
        }
    });
    let mirror = Fake::start(|_, _| Reply::new(200, ""));
    let settings = crate::RegistrySettings {
        mirrors: vec![mirror.address.clone()],
        ..Default::default()
    };
    let registry = Registry::new(BTreeMap::from([(fake.address.clone(), settings)]), None);
    registry
        .push_blob(&image(&fake), &blob(b"x", Some("team/other")))
        .await
        .unwrap();
    let tokens: Vec<_> = fake
        .seen()
        .into_iter()
        .map(|request| request.path)
        .filter(|path| path.starts_with("/token"))
        .collect();
    let push = "/token?scope=repository%3Ateam%2Fapp%3Apull%2Cpush";
    assert_eq!(
        tokens,
        [
            push.to_owned(),
            format!("{push}&scope=repository%3Ateam%2Fother%3Apull")
        ]
    );
    assert!(mirror.seen().is_empty());
}
