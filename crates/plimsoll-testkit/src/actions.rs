//! A stand-in for the cache service of GitHub Actions and the blob storage behind it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const SERVICE: &str = "/twirp/github.actions.results.api.v1.CacheService/";

/// The service; its thread ends with the test process.
pub struct ActionsService {
    /// What `ACTIONS_RESULTS_URL` says.
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Finished entries, oldest first: name, and number of the upload.
    entries: Vec<(String, usize)>,
    reserved: Vec<(String, usize)>,
    uploads: HashMap<usize, Vec<u8>>,
}

impl ActionsService {
    /// Starts it, empty.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, base) = (state.clone(), url.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, base) = (shared.clone(), base.clone());
                std::thread::spawn(move || serve(&stream, &shared, &base));
            }
        });
        Self { url, state }
    }

    /// The names of all entries, oldest first.
    pub fn keys(&self) -> Vec<String> {
        let state = self.state.lock().expect("no holder panics");
        state.entries.iter().map(|(key, _)| key.clone()).collect()
    }
}

/// Answers one request; the connection closes after it.
fn serve(stream: &TcpStream, state: &Mutex<State>, base: &str) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let offset = headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let mut state = state.lock().expect("no holder panics");
    let (status, answer) = match (method, path.strip_prefix(SERVICE)) {
        ("POST", Some(call)) => {
            let question = serde_json::from_slice(&body).ok()?;
            (200, state.call(call, &question, base).to_string().into_bytes())
        }
        (method, _) => state.blob(method, path, body, offset.unwrap_or(0)),
    };
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&answer))
        .ok()
}

impl State {
    fn call(&mut self, call: &str, question: &Value, base: &str) -> Value {
        let key = question["key"].as_str().unwrap_or_default().to_owned();
        match call {
            "CreateCacheEntry" => {
                let taken = self.reserved.iter().any(|(known, _)| *known == key);
                let number = self.reserved.len();
                self.reserved.push((key, number));
                json!({"ok": !taken, "signed_upload_url": format!("{base}blob/{number}?sig=x")})
            }
            "FinalizeCacheEntryUpload" => {
                let found = self.reserved.iter().find(|(known, _)| *known == key).cloned();
                self.entries.extend(found.clone());
                json!({"ok": found.is_some(), "entry_id": "1"})
            }
            _ => match self
                .entries
                .iter()
                .rev()
                .find(|(known, _)| known.starts_with(&key))
            {
                Some((key, number)) => json!({
                    "ok": true,
                    "matched_key": key,
                    "signed_download_url": format!("{base}blob/{number}"),
                }),
                None => json!({"ok": false}),
            },
        }
    }

    fn blob(&mut self, method: &str, path: &str, body: Vec<u8>, offset: usize) -> (u16, Vec<u8>) {
        let name = path.strip_prefix("/blob/").unwrap_or_default();
        let (number, query) = name.split_once('?').unwrap_or((name, ""));
        let Ok(number) = number.parse() else {
            return (404, Vec::new());
        };
        match method {
            // Blocks come in order, one after the other.
            "PUT" if query.contains("comp=blocklist") => (201, Vec::new()),
            "PUT" => {
                self.uploads.entry(number).or_default().extend(body);
                (201, Vec::new())
            }
            _ => match self.uploads.get(&number).and_then(|bytes| bytes.get(offset..)) {
                Some(rest) if offset > 0 => (206, rest.to_vec()),
                Some(rest) => (200, rest.to_vec()),
                None => (404, Vec::new()),
            },
        }
    }
}
