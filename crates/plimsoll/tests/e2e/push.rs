//! Giving images to registries, and the credentials for that.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use plimsoll_testkit::{Archive, BaseRegistry, Sandbox, needs};
use serde_json::{Value, json};

use crate::{build_ok, sandbox, wait_for, with_busybox};

/// Loads a small image as `tag`.
fn load_small(sandbox: &Sandbox, tag: &str) {
    let path = sandbox.path("small.tar");
    Archive::new(tag)
        .file("hello", "world\n", 0o644)
        .write_docker(&path);
    sandbox.ok(["load", "-i", path.as_str()]);
}

/// The line with the digest, which comes last.
fn digest(stdout: &str) -> &str {
    let line = stdout.lines().last().expect("a last line");
    let (_, rest) = line
        .split_once(": digest: ")
        .unwrap_or_else(|| panic!("{stdout}"));
    rest.split_once(" size: ").expect("a size").0
}

#[test]
fn what_was_built_here_runs_elsewhere() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let name = format!("{}/team/app", registry.host);
    let here = with_busybox();
    build_ok(&here, "FROM busybox\nRUN echo hello >/greeting\n", &["-t", &name]);
    let pushed = here.ok(["push", &name]);
    assert!(
        pushed.starts_with("Using default tag: latest\nThe push refers to repository ["),
        "{pushed}"
    );
    assert_eq!(pushed.matches(": Pushed\n").count(), 2, "{pushed}");
    let again = here.ok(["push", &name]);
    assert_eq!(again.matches(": Layer already exists\n").count(), 2, "{again}");
    assert_eq!(digest(&pushed), digest(&again));
    assert_eq!(here.ok(["push", "-q", &name]), format!("{name}:latest\n"));
    let there = sandbox();
    assert!(
        there
            .ok(["pull", &name])
            .contains(&format!("Digest: {}\n", digest(&pushed)))
    );
    assert_eq!(there.ok(["run", "--rm", &name, "cat", "/greeting"]), "hello\n");
}

#[test]
fn all_tags_of_a_repository() {
    needs!(root, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let sandbox = sandbox();
    let name = format!("{}/small", registry.host);
    load_small(&sandbox, &format!("{name}:1"));
    sandbox.ok(["tag", &format!("{name}:1"), &format!("{name}:2")]);
    let pushed = sandbox.ok(["push", "-a", &name]);
    assert!(
        pushed.contains("\n1: digest: ") && pushed.contains("\n2: digest: "),
        "{pushed}"
    );
    let stderr = sandbox.fails(1, ["push", "-a", &format!("{name}:1")]);
    assert!(
        stderr.contains("tag can't be used with --all-tags/-a"),
        "{stderr}"
    );
    let stderr = sandbox.fails(1, ["push", &format!("{name}:3")]);
    assert!(stderr.contains("no such image"), "{stderr}");
}

#[test]
fn a_login_opens_the_registry() {
    needs!(root, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &["--token", "me:secret"]);
    let sandbox = sandbox();
    let name = format!("{}/me/small", registry.host);
    load_small(&sandbox, &name);
    let stderr = sandbox.fails(1, ["push", &name]);
    let hint = format!("hint: log in with `plimsoll login {}`", registry.host);
    assert!(stderr.contains(&hint), "{stderr}");
    let login = |password: &str| {
        sandbox.run_with_input(
            ["login", "-u", "me", "--password-stdin", &registry.host],
            password.as_bytes(),
        )
    };
    let refused = login("guess");
    assert_eq!(refused.code, 1, "{refused}");
    assert!(!refused.to_string().contains("guess"), "{refused}");
    let outcome = login("secret\n");
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "Login Succeeded\n"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("stored unencrypted in"), "{outcome}");
    let file = sandbox.path("home/.docker/config.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    sandbox.ok(["push", &name]);
    let again = sandbox.ok(["login", &registry.host]);
    assert!(
        again.contains("Authenticating with existing credentials"),
        "{again}"
    );
    let out = sandbox.ok(["logout", &registry.host]);
    assert_eq!(out, format!("Removing login credentials for {}\n", registry.host));
    assert_eq!(
        sandbox.ok(["logout", &registry.host]),
        format!("Not logged in to {}\n", registry.host)
    );
    sandbox.fails(1, ["push", &name]);
}

#[test]
fn wrong_ways_to_log_in() {
    let sandbox = sandbox();
    let stderr = sandbox.fails(1, ["login", "-p", "x", "--password-stdin", "-u", "me"]);
    assert!(stderr.contains("mutually exclusive"), "{stderr}");
    let stderr = sandbox.fails(1, ["login", "--password-stdin"]);
    assert!(stderr.contains("requires --username"), "{stderr}");
    let stderr = sandbox.fails(1, ["login", "r.test"]);
    assert!(stderr.contains("non-TTY"), "{stderr}");
}

/// A helper that keeps what it is given in a file per server.
const HELPER: &str = r#"#!/bin/sh
store="$(dirname "$0")/kept"
mkdir -p "$store"
input="$(cat)"
case "$1" in
store) server="$(printf %s "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')"
       printf %s "$input" >"$store/$(printf %s "$server" | tr /: __)" ;;
get)   cat "$store/$(printf %s "$input" | tr /: __)" 2>/dev/null \
         || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$store/$(printf %s "$input" | tr /: __)" ;;
esac
"#;

#[test]
fn a_helper_keeps_the_password() {
    needs!(root, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &["--token", "me:secret"]);
    let sandbox = sandbox();
    let helper = sandbox.write("bin/docker-credential-fake", HELPER);
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = sandbox.path("docker");
    std::fs::create_dir(&folder).unwrap();
    let config = json!({"credHelpers": {&registry.host: "fake"}, "detachKeys": "ctrl-e"});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let run = |args: &[&str], input: &str| {
        let mut command = sandbox.command(["--config", folder.as_str()]);
        let path = format!("{}:{}", helper.parent().unwrap(), std::env::var("PATH").unwrap());
        let command = command.args(args).env("PATH", path);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let name = format!("{}/me/small", registry.host);
    load_small(&sandbox, &name);
    assert_eq!(run(&["push", "-q", &name], "").0, Some(1));
    let login = ["login", "-u", "me", "--password-stdin", &registry.host];
    assert_eq!(run(&login, "secret"), (Some(0), "Login Succeeded\n".to_owned()));
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        kept["auths"][&registry.host],
        json!({}),
        "only the helper knows: {text}"
    );
    assert_eq!(kept["detachKeys"], "ctrl-e");
    assert_eq!(run(&["push", "-q", &name], "").0, Some(0));
    assert_eq!(run(&["logout", &registry.host], "").0, Some(0));
    assert_eq!(run(&["push", "-q", &name], "").0, Some(1));
}

/// Passes bytes to and from a registry; of what goes to it only so many, until [`Gate::open`].
pub(crate) struct Gate {
    pub(crate) host: String,
    pub(crate) passed: Arc<AtomicUsize>,
    state: Arc<(Mutex<Option<usize>>, Condvar)>,
}

impl Gate {
    pub(crate) fn new(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let passed = Arc::new(AtomicUsize::new(0));
        let state = Arc::new((Mutex::new(None), Condvar::new()));
        let (upstream, count, gate) = (registry.to_owned(), passed.clone(), state.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&upstream).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (count, gate) = (count.clone(), gate.clone());
                std::thread::spawn(move || pass(from, to, Some((count, gate))));
                std::thread::spawn(move || pass(server, client, None));
            }
        });
        Self { host, passed, state }
    }

    /// From now on lets so many bytes more through.
    pub(crate) fn close_after(&self, bytes: usize) {
        self.passed.store(0, Ordering::SeqCst);
        *self.state.0.lock().unwrap() = Some(bytes);
    }

    pub(crate) fn open(&self) {
        *self.state.0.lock().unwrap() = None;
        self.state.1.notify_all();
    }
}

type Closed = (Arc<AtomicUsize>, Arc<(Mutex<Option<usize>>, Condvar)>);

fn pass(mut from: TcpStream, mut to: TcpStream, gate: Option<Closed>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Some((passed, gate)) = &gate {
            passed.fetch_add(count, Ordering::SeqCst);
            let limit = gate.0.lock().unwrap();
            let closed =
                |limit: &mut Option<usize>| limit.is_some_and(|limit| passed.load(Ordering::SeqCst) > limit);
            drop(gate.1.wait_while(limit, closed).unwrap());
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Starts `args`, ends it when `bytes` have gone through the gate, and opens the gate.
pub(crate) fn kill_after(sandbox: &Sandbox, gate: &Gate, bytes: usize, args: &[&str]) {
    gate.close_after(bytes);
    let mut child = sandbox
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the push to get that far", 30, || {
        let there = gate.passed.load(Ordering::SeqCst) > bytes;
        (there || child.try_wait().unwrap().is_some()).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    gate.open();
}

#[test]
fn a_push_that_was_killed_is_finished_by_the_next() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let gate = Gate::new(&registry.host);
    let sandbox = with_busybox();
    let random = "FROM busybox\nRUN head -c 700000 /dev/urandom >/noise\n";
    for (at, bytes) in [100, 1_000, 300_000, 900_000, 1_500_000, 1_890_000]
        .into_iter()
        .enumerate()
    {
        let name = format!("{}/team/app:{at}", gate.host);
        build_ok(&sandbox, random, &["-t", &name, "--no-cache"]);
        kill_after(&sandbox, &gate, bytes, &["push", "-q", &name]);
        let pushed = sandbox.ok(["push", &name]);
        let there = self::sandbox();
        let pulled = there.ok(["pull", &name]);
        assert!(
            pulled.contains(digest(&pushed)),
            "after {bytes} bytes: {pulled}\n{pushed}"
        );
    }
}
