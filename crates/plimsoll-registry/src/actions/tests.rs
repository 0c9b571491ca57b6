use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::fake::{Fake, Reply, Request};

/// The service and the storage in one.
#[derive(Default)]
struct Service {
    /// In the order they were finished.
    entries: Vec<(String, Vec<u8>)>,
    reserved: Vec<String>,
    blocks: BTreeMap<String, Vec<u8>>,
    whole: Option<Vec<u8>>,
}

impl Service {
    fn answer(&mut self, request: &Request, host: &str) -> Reply {
        if let Some(method) = request.path.strip_prefix(&format!("/results/{SERVICE}/")) {
            assert_eq!(request.header("authorization"), Some("Bearer token"));
            let question: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(question["version"], version());
            return Reply::new(200, self.call(method, &question, host).to_string());
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/blob?sig=1") => {
                assert_eq!(request.header("x-ms-blob-type"), Some("BlockBlob"));
                self.whole = Some(request.body.clone());
            }
            ("PUT", "/blob?sig=1&comp=blocklist") => {
                let text = String::from_utf8(request.body.clone()).unwrap();
                let ids = text
                    .split("<Latest>")
                    .skip(1)
                    .map(|rest| rest.split('<').next().unwrap());
                let blocks = ids.map(|id| self.blocks[id].clone()).collect::<Vec<_>>();
                self.whole = Some(blocks.concat());
            }
            ("PUT", path) => {
                let id = path.split("blockid=").nth(1).unwrap().replace("%3D", "=");
                self.blocks.insert(id, request.body.clone());
            }
            ("GET", path) => {
                let number: usize = path.strip_prefix("/entry/").unwrap().parse().unwrap();
                let bytes = &self.entries[number].1;
                return match request.offset() {
                    Some(offset) => Reply::new(206, &bytes[offset..]),
                    None => Reply::new(200, bytes.clone()),
                };
            }
            _ => return Reply::new(404, ""),
        }
        Reply::new(201, "")
    }

    fn call(&mut self, method: &str, question: &Value, host: &str) -> Value {
        let key = question["key"].as_str().unwrap().to_owned();
        match method {
            "CreateCacheEntry" => {
                let taken = self.reserved.contains(&key);
                self.reserved.push(key);
                json!({"ok": !taken, "signed_upload_url": format!("http://{host}/blob?sig=1")})
            }
            "FinalizeCacheEntryUpload" => {
                let bytes = self.whole.take().unwrap();
                assert_eq!(question["size_bytes"], bytes.len().to_string());
                self.entries.push((key, bytes));
                json!({"ok": true, "entry_id": "1"})
            }
            _ => {
                let found = self
                    .entries
                    .iter()
                    .rposition(|(known, _)| known.starts_with(&key));
                match found {
                    None => json!({"ok": false}),
                    Some(at) => json!({
                        "ok": true,
                        "signed_download_url": format!("http://{host}/entry/{at}"),
                        "matched_key": self.entries[at].0,
                    }),
                }
            }
        }
    }
}

fn start(cut_downloads: bool) -> (Fake, ActionsCache, Arc<Mutex<Service>>) {
    let service = Arc::new(Mutex::new(Service::default()));
    let shared = service.clone();
    let fake = Fake::start(move |request, before| {
        if before == 0 {
            return Reply::new(429, "").header("retry-after", "0");
        }
        let host = request.header("host").unwrap().to_owned();
        let reply = shared.lock().unwrap().answer(request, &host);
        let first = request.method == "GET" && request.offset() == Some(0);
        if cut_downloads && first {
            reply.cut(100)
        } else {
            reply
        }
    });
    let cache = ActionsCache::new(&format!("http://{}/results", fake.address), "token").unwrap();
    (fake, cache, service)
}

async fn save(cache: &ActionsCache, key: &str, bytes: &[u8]) {
    let source: Arc<dyn BlobSource> = Arc::new(bytes.to_vec());
    let report: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(|_| {});
    cache
        .save(key, bytes.len() as u64, &source, &report)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_saved_is_found() {
    let (fake, cache, service) = start(true);
    let bytes = vec![7; 1000];
    assert!(cache.find("a").await.unwrap().is_none());
    save(&cache, "abc", &bytes).await;
    assert!(cache.find("a").await.unwrap().is_none(), "a beginning is no name");
    let entry = cache.find("abc").await.unwrap().unwrap();
    let mut read = Vec::new();
    let mut write = |bytes: &[u8]| {
        read.extend_from_slice(bytes);
        Ok(())
    };
    cache.read(&entry, 0, 1000, &mut write).await.unwrap();
    assert!(read == bytes, "it goes on where it was cut");
    let requests = fake.seen().len();
    save(&cache, "abc", &bytes).await;
    assert_eq!(fake.seen().len(), requests + 1, "it is only asked for");
    assert_eq!(service.lock().unwrap().entries.len(), 1);
}

#[tokio::test]
async fn large_entries_go_in_blocks() {
    let (_fake, cache, service) = start(false);
    let bytes: Vec<u8> = (0..BLOCK + 10)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    save(&cache, "large", &bytes).await;
    assert!(service.lock().unwrap().entries[0].1 == bytes);
    assert_eq!(service.lock().unwrap().blocks.len(), 2);
}

#[tokio::test]
async fn the_latest_wins_and_one_that_was_given_up_is_passed_over() {
    let (_fake, cache, service) = start(false);
    assert!(cache.find_latest("index").await.unwrap().is_none());
    cache.save_latest("index", b"one").await.unwrap();
    service.lock().unwrap().reserved.push("index#2".to_owned());
    cache.save_latest("index", b"two").await.unwrap();
    let entry = cache.find_latest("index").await.unwrap().unwrap();
    assert_eq!(entry.key, "index#3");
    assert_eq!(cache.read_document(&entry, 100).await.unwrap(), b"two");
}

#[test]
fn branches_are_read_from_the_token() {
    let claims = json!({"ac": r#"[{"Scope":"refs/heads/main","Permission":1},{"Scope":"refs/heads/x","Permission":3}]"#});
    let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let cache = ActionsCache::new("https://results.example/", &token).unwrap();
    assert_eq!(cache.scopes(), [short("refs/heads/x"), short("refs/heads/main")]);
    assert_eq!(
        ActionsCache::new("https://r/", "opaque").unwrap().scopes(),
        [short("")]
    );
    assert!(ActionsCache::new("ftp://r", "t").is_err());
}
