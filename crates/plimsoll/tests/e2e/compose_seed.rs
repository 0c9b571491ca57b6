//! Compose projects with real servers: those that people wrote, and our own example.

use std::net::TcpListener;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_testkit::{Outcome, Sandbox, needs, skip_because};
use serde_json::Value;

use crate::{sandbox, wait_for};

/// A project in a folder of its own.
struct Project<'a> {
    sandbox: &'a Sandbox,
    folder: Utf8PathBuf,
}

impl<'a> Project<'a> {
    /// Copies a folder as it stands.
    fn copied(sandbox: &'a Sandbox, source: &Utf8Path) -> Self {
        let folder = sandbox
            .path("work")
            .join(source.file_name().expect("a folder has a name"));
        let copied = Outcome::of(Command::new("cp").args(["-a", source.as_str(), folder.as_str()]));
        assert_eq!(copied.code, 0, "{copied}");
        Self { sandbox, folder }
    }

    fn seed(sandbox: &'a Sandbox, name: &str) -> Self {
        Self::copied(sandbox, &repository().join("../shared/examples-seed").join(name))
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let args = ["compose"].iter().chain(args);
        Outcome::of(self.sandbox.command(args).current_dir(&self.folder))
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).success(args)
    }

    /// State and health of each container, by its name.
    fn states(&self) -> Vec<(String, String, String)> {
        let text = self.ok(&["ps", "-a", "--format", "json"]);
        let rows = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let field = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
        rows.map(|row| (field(&row, "Name"), field(&row, "State"), field(&row, "Health")))
            .collect()
    }

    #[track_caller]
    fn wait_healthy(&self, container: &str, seconds: u64) {
        wait_for(&format!("{container} is healthy"), seconds, || {
            let states = self.states();
            states
                .iter()
                .any(|(name, _, health)| name == container && health == "healthy")
                .then_some(())
        });
    }
}

pub(crate) fn repository() -> Utf8PathBuf {
    Utf8PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// What a server answers; None when it does not, or with an error.
fn get(url: &str) -> Option<String> {
    let mut curl = Command::new("curl");
    let outcome = Outcome::of(curl.args(["-fsSk", "--max-time", "5", url]));
    (outcome.code == 0).then_some(outcome.stdout)
}

#[track_caller]
fn wait_for_page(url: &str, seconds: u64) -> String {
    wait_for(url, seconds, || get(url))
}

/// The files want these on the host.
fn all_free(ports: &[u16]) -> bool {
    ports
        .iter()
        .all(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
}

/// One test for all: they want the same ports.
#[test]
fn the_seed_projects_behave_as_their_readme_says() {
    needs!(
        root,
        overlay,
        tool = "nft",
        tool = "curl",
        tool = "openssl",
        path = "../shared/examples-seed/13-compose-stack/docker-compose.yml"
    );
    if !all_free(&[3000, 80, 443, 5432, 6379, 18080, 18081, 18082]) {
        return skip_because("ports 3000, 80, 443, 5432, 6379 and 18080 to 18082 are not all free");
    }
    let mut sandbox = sandbox();
    sandbox.serve(&[]);
    stack(&sandbox);
    development(&sandbox);
    replicas(&sandbox);
    networks(&sandbox);
    assert_eq!(sandbox.ok(["ps", "-aq"]), "", "nothing is left");
}

/// 13: app, PostgreSQL, Redis and nginx.
fn stack(sandbox: &Sandbox) {
    let project = Project::seed(sandbox, "13-compose-stack");
    let made = Outcome::of(
        Command::new("sh")
            .arg("make-cert.sh")
            .current_dir(&project.folder),
    );
    assert_eq!(made.code, 0, "{made}");
    let shown = project.run(&["--progress", "plain", "up", "-d"]);
    assert_eq!(shown.code, 0, "{shown}");
    let place = |text: &str| {
        shown
            .stderr
            .find(text)
            .unwrap_or_else(|| panic!("{text}:\n{shown}"))
    };
    assert!(
        place("Container 13-compose-stack-db-1  Healthy")
            < place("Container 13-compose-stack-app-1  Starting")
            && place("Container 13-compose-stack-app-1  Started")
                < place("Container 13-compose-stack-nginx-1  Starting"),
        "{shown}"
    );
    let expected = r#"{"status":"healthy","db":true,"cache":true}"#;
    for url in [
        "http://127.0.0.1:3000/health",
        "http://127.0.0.1/health",
        "https://127.0.0.1/health",
    ] {
        assert_eq!(wait_for_page(url, 20), expected, "{url}");
    }
    let log = project.ok(&["logs", "app"]);
    assert!(
        log.starts_with("app-1  | ") && log.contains("db at start: true"),
        "{log}"
    );
    let count = [
        "exec",
        "-T",
        "db",
        "psql",
        "-U",
        "postgres",
        "-d",
        "myapp",
        "-tAc",
        "SELECT count(*) FROM greetings",
    ];
    assert_eq!(project.ok(&count), "2\n");
    let appendonly = project.ok(&["exec", "-T", "cache", "redis-cli", "config", "get", "appendonly"]);
    assert_eq!(appendonly, "appendonly\nyes\n");
    project.wait_healthy("13-compose-stack-app-1", 60);
    project.ok(&["down", "-v"]);
    assert_eq!(sandbox.ok(["volume", "ls", "-q"]), "");
    assert!(!sandbox.ok(["network", "ls"]).contains("13-compose-stack"));
}

/// 14: sources from the host, their packages from the image.
fn development(sandbox: &Sandbox) {
    let project = Project::seed(sandbox, "14-compose-dev");
    let names = || {
        let entries = std::fs::read_dir(&project.folder).expect("it is there");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("it can be read").file_name())
            .collect();
        names.sort();
        names
    };
    let mut before = names();
    project.ok(&["up", "-d"]);
    assert_eq!(
        wait_for_page("http://127.0.0.1:3000/health", 20),
        r#"{"status":"healthy"}"#
    );
    let inside = project.ok(&["exec", "-T", "app", "sh", "-c", "ls /app /app/node_modules"]);
    for name in ["docker-compose.yml", "server.js", "polka"] {
        assert!(inside.lines().any(|line| line == name), "{name}: {inside}");
    }
    project.ok(&["down", "-v"]);
    before.push("node_modules".into());
    before.sort();
    assert_eq!(names(), before);
    let left = std::fs::read_dir(project.folder.join("node_modules")).expect("the mount point");
    assert_eq!(left.count(), 0, "an empty folder");
}

/// 15: three replicas that want one port; then a port each.
fn replicas(sandbox: &Sandbox) {
    let app = Project::seed(sandbox, "08-node-layer-order");
    let built = sandbox.run([
        "build",
        "-q",
        "-t",
        "myapp:latest",
        "-f",
        app.folder.join("Dockerfile.small").as_str(),
        app.folder.as_str(),
    ]);
    assert_eq!(built.code, 0, "{built}");
    let project = Project::seed(sandbox, "15-compose-prod");
    let outcome = project.run(&["up", "-d"]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("port is already allocated"),
        "{outcome}"
    );
    let states = project.states();
    let running = states
        .iter()
        .filter(|(name, state, _)| name.contains("-app-") && state == "running");
    assert_eq!(running.count(), 1, "one has the port: {states:?}");
    project.ok(&["down", "-v"]);
    project.ok(&["-f", "docker-compose.fixed.yml", "up", "-d"]);
    for port in 18080..18083 {
        wait_for_page(&format!("http://127.0.0.1:{port}/"), 20);
    }
    project.ok(&["-f", "docker-compose.fixed.yml", "down", "-v"]);
}

/// 16: a network with a way out and one without.
fn networks(sandbox: &Sandbox) {
    let project = Project::seed(sandbox, "16-compose-fragments");
    let files = ["-f", "networks.yml", "-f", "networks-runnable.override.yml"];
    let with =
        |args: &[&str]| -> Vec<String> { files.iter().chain(args).map(|arg| (*arg).to_owned()).collect() };
    let run = |args: &[&str]| {
        let args = with(args);
        project.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let up = run(&["up", "-d"]);
    assert_eq!(up.code, 0, "{up}");
    // The outside is this host, by an address that is not one of the bridges.
    let outside = TcpListener::bind("0.0.0.0:0").expect("a port is free");
    let port = outside.local_addr().expect("it is bound").port().to_string();
    let address = Outcome::of(Command::new("hostname").arg("-I")).stdout;
    let address = address.split_whitespace().next().unwrap_or("127.0.0.1");
    std::thread::spawn(move || while outside.accept().is_ok() {});
    let reaches = |service: &str, server: &str, port: &str| {
        // Redis hangs up when told to, and so does the listener.
        let script = format!("printf 'QUIT\\r\\n' | timeout 10 nc -w 3 {server} {port}");
        run(&["exec", "-T", service, "sh", "-c", &script]).code == 0
    };
    assert!(wait_for("redis answers", 20, || reaches("app", "redis", "6379")
        .then_some(true)));
    assert!(reaches("db", "redis", "6379") && reaches("app", address, &port));
    assert!(
        !reaches("db", address, &port),
        "nothing leaves an internal network"
    );
    let down = run(&["down"]);
    assert_eq!(down.code, 0, "{down}");
}

#[test]
fn a_stack_of_real_servers_comes_back_with_its_data() {
    needs!(root, overlay, tool = "nft", tool = "curl");
    let mut sandbox = sandbox();
    sandbox.serve(&[
        "postgres:15-alpine",
        "redis:7-alpine",
        "nginx:alpine",
        "python:3.11-slim",
    ]);
    let project = Project::copied(&sandbox, &repository().join("examples/compose-stack"));
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port is free")
        .port();
    std::fs::write(project.folder.join(".env"), format!("PORT={port}\n")).expect("it can be written");
    let up = project.run(&["up", "-d", "--wait", "--wait-timeout", "240"]);
    if up.code != 0 && up.stderr.contains("pip") {
        return skip_because("no packages can be had from PyPI");
    }
    assert_eq!(up.code, 0, "{up}");
    let url = format!("http://127.0.0.1:{port}/");
    let write = |name: &str| {
        let sent = Outcome::of(Command::new("curl").args(["-fsS", "--max-time", "5", "-d", name, &url]));
        assert_eq!(sent.code, 0, "{sent}");
        sent.stdout
    };
    assert_eq!(write("Ada"), "{\"visits\": 1, \"counted\": 1}\n");
    write("Grace");

    // Each part on its own, then all at once.
    let parts = ["db", "cache", "app", "web"];
    let kill = |service: &str| {
        let pid = sandbox.ok([
            "inspect",
            "-f",
            "{{.State.Pid}}",
            &format!("guestbook-{service}-1"),
        ]);
        let killed = Outcome::of(Command::new("kill").args(["-9", pid.trim()]));
        assert_eq!(killed.code, 0, "{killed}");
    };
    let comes_back = || {
        for service in parts {
            project.wait_healthy(&format!("guestbook-{service}-1"), 60);
        }
        let expected = "{\"visits\": 2, \"counted\": 2}\n";
        wait_for("all that was written is there", 30, || {
            get(&url).filter(|page| page == expected)
        });
    };
    for service in parts {
        kill(service);
        comes_back();
    }
    parts.iter().for_each(|service| kill(service));
    comes_back();

    // What is stopped and taken away, but for its volumes, is there again.
    project.ok(&["down"]);
    project.ok(&["up", "-d", "--wait"]);
    comes_back();
    let counts = sandbox.ok(["inspect", "-f", "{{.RestartCount}}", "guestbook-db-1"]);
    assert_eq!(counts, "0\n", "it is a new container");
    project.ok(&["down", "-v", "--rmi", "local"]);
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
    assert_eq!(sandbox.ok(["volume", "ls", "-q"]), "");
}
