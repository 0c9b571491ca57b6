//! The containers that wait, with the real `kubectl` and a pretended cluster: what they are told to ask ends when it has
//! come true, and not before.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use plimsoll_bridge::{Target, convert};
use plimsoll_compose_file::{LoadOptions, load};
use plimsoll_testkit::needs;
use serde_json::{Value, json};

const PROJECT: &str = "
name: p
services:
  app:
    image: x
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
      slow: {condition: service_started}
  after: {image: x, depends_on: {migrate: {condition: service_started}}}
  db: {image: x, healthcheck: {test: [CMD, x]}, deploy: {replicas: 2}}
  slow: {image: x, healthcheck: {test: [CMD, x]}}
  migrate: {image: x}
";

/// The arguments of each waiting container, by the name of the pod's service and its own.
fn waiting() -> BTreeMap<String, Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("compose.yaml"), PROJECT).expect("written");
    let current = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("text");
    let options = LoadOptions {
        files: vec!["compose.yaml".into()],
        current,
        ..LoadOptions::default()
    };
    let project = load(&options).expect("loads");
    let conversion = convert(&project, &BTreeMap::new(), Target::Kubernetes).expect("converts");
    let mut all = BTreeMap::new();
    for file in conversion.files {
        let source = plimsoll_diagnostics::Source::new("test", file.text);
        let value = plimsoll_compose_file::parse(&source)
            .expect("YAML")
            .expect("a document")
            .to_json();
        let pod = &value["spec"]["template"]["spec"];
        for container in pod["initContainers"].as_array().into_iter().flatten() {
            let name = format!("{} {}", value["metadata"]["name"], container["name"]).replace('"', "");
            let words = container["args"].as_array().expect("arguments").iter();
            all.insert(
                name,
                words
                    .map(|word| word.as_str().expect("a text").to_owned())
                    .collect(),
            );
        }
    }
    all
}

/// What is true in the cluster, and who watches it.
#[derive(Default)]
struct State {
    is_true: bool,
    watches: usize,
    /// `VERB RESOURCE` of each request that was not about which resources there are.
    asked: Vec<String>,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

struct Cluster {
    address: String,
    state: Shared,
}

impl Cluster {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Shared::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { address, state }
    }

    /// Waits until somebody watches; the time is only for a test that fails.
    fn wait_for_watch(&self) {
        let (state, changed) = &*self.state;
        let state = state.lock().expect("not poisoned");
        let wait = changed.wait_timeout_while(state, Duration::from_secs(30), |state| state.watches == 0);
        assert!(
            !wait.expect("not poisoned").1.timed_out(),
            "kubectl watches nothing"
        );
    }

    fn comes_true(&self) {
        let (state, changed) = &*self.state;
        state.lock().expect("not poisoned").is_true = true;
        changed.notify_all();
    }
}

/// One request: a kubectl's connection is closed after it.
fn answer(mut stream: TcpStream, shared: &Shared) {
    let mut lines = BufReader::new(stream.try_clone().expect("a descriptor"))
        .lines()
        .map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let _ = lines.take_while(|line| !line.is_empty()).count();
    let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let Some((_, resource)) = path.split_once("/namespaces/p/") else {
        let _ = respond(&mut stream, &discovery(path));
        return;
    };
    let (resource, name) = resource.split_once('/').unwrap_or((resource, ""));
    let watches = query.contains("watch=true") || query.contains("watch=1");
    let (state, changed) = &**shared;
    let mut state = state.lock().expect("not poisoned");
    let verb = if watches {
        "watch"
    } else if name.is_empty() {
        "list"
    } else {
        "get"
    };
    state.asked.push(format!("{verb} {resource}"));
    if !watches {
        let value = object(resource, state.is_true);
        let list = json!({ "apiVersion": value["apiVersion"], "kind": "List", "metadata": { "resourceVersion": "1" }, "items": [value] });
        let _ = respond(&mut stream, if name.is_empty() { &list } else { &value });
        return;
    }
    state.watches += 1;
    changed.notify_all();
    let _ =
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
    let state = changed
        .wait_while(state, |state| !state.is_true)
        .expect("not poisoned");
    let event = json!({ "type": "MODIFIED", "object": object(resource, state.is_true) });
    let _ = writeln!(stream, "{event}");
    // Until the other side has seen enough.
    drop(state);
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn respond(stream: &mut TcpStream, value: &Value) -> std::io::Result<()> {
    let text = value.to_string();
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}

/// Which resources there are.
fn discovery(path: &str) -> Value {
    let resources = |version: &str, name: &str, kind: &str| {
        let resource = json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get", "list", "watch"] });
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [resource] })
    };
    let group = |name: &str| {
        let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    match path {
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"] }),
        "/apis" => {
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps"), group("batch")] })
        }
        "/api/v1" => resources("v1", "pods", "Pod"),
        "/apis/apps/v1" => resources("apps/v1", "deployments", "Deployment"),
        _ => resources("batch/v1", "jobs", "Job"),
    }
}

/// The one object of a kind, before and after.
fn object(resource: &str, is_true: bool) -> Value {
    let (version, kind, status) = match resource {
        "deployments" => {
            let ready = if is_true { 2 } else { 1 };
            let status = json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready, "availableReplicas": ready });
            ("apps/v1", "Deployment", status)
        }
        "jobs" if is_true => {
            let status = json!({ "startTime": "2026-01-01T00:00:00Z", "conditions": [{ "type": "Complete", "status": "True" }] });
            ("batch/v1", "Job", status)
        }
        "jobs" => ("batch/v1", "Job", json!({})),
        _ => (
            "v1",
            "Pod",
            json!({ "phase": if is_true { "Running" } else { "Pending" } }),
        ),
    };
    let name = match resource {
        "deployments" => "db",
        "jobs" => "migrate",
        _ => "slow-0",
    };
    let labels = json!({ "com.docker.compose.project": "p", "com.docker.compose.service": "slow" });
    json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": { "name": name, "namespace": "p", "uid": "u", "generation": 1, "labels": labels, "resourceVersion": if is_true { "2" } else { "1" } },
        "spec": { "replicas": 2, "selector": {}, "template": { "spec": { "containers": [] } }, "containers": [] },
        "status": status,
    })
}

#[test]
fn what_waits_ends_when_it_has_come_true() {
    needs!(tool = "kubectl");
    let all = waiting();
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "after wait-for-migrate",
            "app wait-for-db",
            "app wait-for-migrate",
            "app wait-for-slow"
        ]
    );
    for (name, words) in &all {
        let cluster = Cluster::start();
        let home = tempfile::tempdir().expect("a folder");
        let mut kubectl = Command::new("kubectl")
            .args(["--server", &cluster.address, "--namespace", "p"])
            .args(words)
            .env("HOME", home.path())
            .env_remove("KUBECONFIG")
            .stdout(Stdio::null())
            .spawn()
            .expect("kubectl starts");
        cluster.wait_for_watch();
        assert!(
            kubectl.try_wait().expect("its state").is_none(),
            "{name} did not wait"
        );
        cluster.comes_true();
        let begun = Instant::now();
        let status = loop {
            match kubectl.try_wait().expect("its state") {
                Some(status) => break status,
                None if begun.elapsed() > Duration::from_secs(30) => {
                    kubectl.kill().expect("it can be killed");
                    panic!("{name} goes on waiting: {words:?}");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        assert!(status.success(), "{name}: {status}");
        let asked = &cluster.state.0.lock().expect("not poisoned").asked;
        let allowed = ["deployments", "jobs", "pods"];
        assert!(
            asked
                .iter()
                .all(|asked| allowed.iter().any(|one| asked.ends_with(one))),
            "{name} asks for more than its role has: {asked:?}"
        );
    }
}
