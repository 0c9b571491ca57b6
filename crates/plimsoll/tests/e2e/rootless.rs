//! The same program as an ordinary user: one made for the purpose, who is in no file of this machine.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use plimsoll_testkit::{Sandbox, basekit_archive, needs};
use tempfile::TempDir;

/// Nobody of this machine.
const UID: u32 = 21_000;
const FIRST: u32 = 2_100_000;
const SUBORDINATE: &str = "sailor:2100000:65536\n";

/// Before the program: /etc with the user and their ids, a tun device that they may open, and the user.
const WRAPPER: &str = r#"#!/bin/sh
exec unshare -m sh -c '
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=FOLDER/etc:/etc /etc
mkdir -p /dev/net && mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200
touch FOLDER/plimsoll && mount --bind PROGRAM FOLDER/plimsoll
exec setpriv --reuid UID --regid UID --clear-groups --inh-caps=-all -- FOLDER/plimsoll "$@"' sh "$@"
"#;

/// A sandbox whose commands are an ordinary user's.
struct User {
    sandbox: Sandbox,
    _folder: TempDir,
}

impl User {
    fn new(subordinate: &str) -> Self {
        let program =
            std::env::var("PLIMSOLL_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_plimsoll").to_owned());
        let folder = tempfile::Builder::new()
            .prefix("plimsoll-user-")
            .tempdir_in("/tmp")
            .unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("etc")).unwrap();
        for name in ["passwd", "group"] {
            let mut text = std::fs::read_to_string(Path::new("/etc").join(name)).unwrap();
            text.push_str(match name {
                "passwd" => "sailor:x:21000:21000::/:/bin/sh\n",
                _ => "sailor:x:21000:\n",
            });
            std::fs::write(path("etc").join(name), text).unwrap();
        }
        for name in ["subuid", "subgid"] {
            std::fs::write(path("etc").join(name), subordinate).unwrap();
        }
        let text = folder.path().to_str().unwrap();
        let wrapper = WRAPPER
            .replace("FOLDER", text)
            .replace("PROGRAM", &program)
            .replace("UID", &UID.to_string());
        std::fs::write(path("as-user"), wrapper).unwrap();
        for path in [folder.path().to_owned(), path("as-user")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let sandbox = Sandbox::of(path("as-user"));
        for path in [sandbox.path(""), sandbox.path("home"), sandbox.path("work")] {
            std::os::unix::fs::chown(&path, Some(UID), Some(UID)).unwrap();
        }
        Self {
            sandbox,
            _folder: folder,
        }
    }

    fn with_busybox() -> Self {
        let user = Self::new(SUBORDINATE);
        user.load();
        user
    }

    fn load(&self) {
        let archive = self.path("busybox.tar");
        std::fs::copy(basekit_archive("busybox"), &archive).unwrap();
        std::fs::set_permissions(&archive, std::fs::Permissions::from_mode(0o644)).unwrap();
        self.ok(["load", "-i", archive.as_str()]);
    }

    /// The process that keeps the namespaces.
    fn holder(&self) -> u32 {
        let text = std::fs::read_to_string(self.root().join("run/userns/holder")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }
}

impl std::ops::Deref for User {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.sandbox.run(["system", "reset", "-f"]);
    }
}

macro_rules! needs_user {
    () => {
        needs!(
            root,
            overlay,
            tool = "setpriv",
            tool = "unshare",
            tool = "newuidmap",
            tool = "newgidmap",
            tool = "nft"
        )
    };
}

/// Real, effective, saved, of files.
fn uids(pid: &str) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    line.split_whitespace().map(|uid| uid.parse().unwrap()).collect()
}

#[test]
fn a_user_runs_what_root_runs() {
    needs_user!();
    let user = User::with_busybox();
    assert_eq!(
        user.ok(["run", "--rm", "--network", "none", "busybox", "id", "-u"]),
        "0\n"
    );
    assert_eq!(
        user.run([
            "run",
            "--rm",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            "exit 7"
        ])
        .code,
        7
    );
    assert_eq!(
        user.run(["run", "--rm", "--network", "none", "busybox", "nix"])
            .code,
        127
    );
    user.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "--user",
        "5",
        "-v",
        "data:/data",
        "busybox",
        "sleep",
        "1000",
    ]);
    let pid = user.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
    assert_eq!(
        uids(pid.trim()),
        [FIRST + 4; 4],
        "user 5 is the fifth after the user"
    );
    assert_eq!(uids(&user.holder().to_string()), [UID; 4]);

    assert_eq!(
        user.ok([
            "exec",
            "-u",
            "0",
            "box",
            "sh",
            "-c",
            "touch /data/x; chown 3:4 /data/x; ps >/dev/shm/ps; wc -l </dev/shm/ps"
        ]),
        "4\n"
    );
    let file = std::fs::metadata(user.root().join("volumes/data/_data/x")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&file), FIRST + 2);
    user.write("given", "text\n");
    user.ok(["cp", "given", "box:/given"]);
    assert_eq!(user.ok(["exec", "box", "cat", "/given"]), "text\n");
    assert_eq!(user.ok(["diff", "box"]), "A /data\nA /given\n");
    user.ok(["restart", "-t", "0", "box"]);
    user.ok(["stop", "-t", "0", "box"]);
    assert_eq!(
        user.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"]),
        "exited 137\n"
    );
    user.ok(["rm", "-v", "box"]);
    for (part, path) in [("", "/x/bin/sh"), (",image-subpath=bin", "/x/sh")] {
        let mount = format!("type=image,source=busybox,target=/x{part}");
        let look = format!("test -x {path} && ! touch /x/new 2>/dev/null");
        user.ok(["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", &look]);
    }
    let outcome = user.run([
        "run",
        "--rm",
        "-t",
        "--network",
        "none",
        "--pid",
        "host",
        "busybox",
        "sh",
        "-c",
        "tty; echo $$",
    ]);
    let (terminal, own) = outcome.stdout.trim().split_once("\r\n").unwrap();
    assert!(
        terminal == "/dev/pts/0" && own.parse::<u32>().unwrap() > 1,
        "{outcome}"
    );
}

#[test]
fn layers_are_those_that_root_makes() {
    needs_user!();
    let dockerfile = "FROM busybox AS one\nRUN mkdir /d && echo x > /d/x && chown -R 5:6 /d\nCOPY --chown=7:8 file /file\n\
        RUN rm -r /d && mkdir -m 711 /d && echo y > /d/y && rm /file && ln -s y /d/link\nFROM one\nRUN --network=none id -u; touch -d @5 /z\n";
    let (user, root) = (User::with_busybox(), crate::with_busybox());
    let ids = [&user.sandbox, &root].map(|sandbox| {
        sandbox.write("Dockerfile", dockerfile);
        sandbox.write("file", "text");
        sandbox.ok(["build", "--reproducible", "-q", "-t", "app", "."])
    });
    assert_eq!(ids[0], ids[1]);
    let said = user.ok([
        "run",
        "--rm",
        "--network",
        "none",
        "app",
        "sh",
        "-c",
        "ls /d; test -e /file || echo gone",
    ]);
    assert_eq!(said, "link\ny\ngone\n");
}

fn fetch(port: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn containers_find_each_other_and_are_reached() {
    needs_user!();
    let user = User::with_busybox();
    user.ok(["network", "create", "--internal", "inner"]);
    let server = "mkdir /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www";
    user.ok([
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "inner",
        "--network",
        "bridge",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        server,
    ]);
    let port = user.ok(["port", "web", "80/tcp"]);
    let port = port.trim().rsplit(':').next().unwrap();
    eventually(|| fetch(port).is_ok_and(|text| text.ends_with("served\n")));
    let ping = user.ok([
        "run",
        "--rm",
        "--network",
        "inner",
        "busybox",
        "ping",
        "-c",
        "1",
        "-W",
        "5",
        "web",
    ]);
    assert!(ping.contains("1 packets received"), "{ping}");
    user.ok(["rm", "-f", "web"]);
    assert!(
        TcpStream::connect(format!("127.0.0.1:{port}")).is_err(),
        "the port is free again"
    );
    user.ok(["network", "rm", "inner"]);
}

/// The address by which this machine reaches others, where it does.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn there_is_a_way_out() {
    needs_user!();
    needs!(tool = "pasta");
    let Some(address) = own_address() else {
        return println!("SKIPPED: needs a default route");
    };
    let user = User::with_busybox();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let waiting = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"from outside\n").unwrap();
    });
    // Debian 12's pasta says the last bytes again and again once the other side has closed.
    let script = format!("timeout 60 nc {address} {port} | head -n 1");
    let said = user.ok(["run", "--rm", "busybox", "sh", "-c", &script]);
    assert!(said.starts_with("from outside\n"), "{said}");
    waiting.join().unwrap();
}

#[test]
fn limits_that_cannot_be_had_are_named_or_refused() {
    needs_user!();
    let user = User::with_busybox();
    // Nobody's systemd runs for somebody who is in no file of this machine.
    let run = |more: &[&str]| {
        let args = [
            "run",
            "--rm",
            "--network",
            "none",
            "-m",
            "64m",
            "--pids-limit",
            "9",
        ];
        user.run(args.iter().chain(more).chain(&["busybox", "true"]))
    };
    let outcome = run(&[]);
    assert_eq!(outcome.code, 0, "{outcome}");
    for limit in ["memory", "pids-limit"] {
        let warning = format!("WARNING: limit `{limit}` has no effect: an ordinary user cannot set it here");
        assert!(outcome.stderr.contains(&warning), "{outcome}");
    }
    let outcome = run(&["--hardened", "--user", "5"]);
    assert_eq!(outcome.code, 125, "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("a hardened container must have its limits: memory, pids-limit"),
        "{outcome}"
    );
    for (options, text) in [
        (
            &["--cgroup-parent", "/x"][..],
            "an ordinary user can only name a slice",
        ),
        (
            &["--runtime", "libcontainer"],
            "libcontainer would make this container",
        ),
        (&["--userns", "auto"], "a map of users needs root of the machine"),
    ] {
        let outcome = run(options);
        assert!(outcome.code == 125 && outcome.stderr.contains(text), "{outcome}");
    }
}

#[test]
fn without_subordinate_ids_there_is_one_user() {
    needs_user!();
    let user = User::new("");
    user.load();
    let outcome = user.run(["system", "reset", "-f"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let outcome = user.run(["images"]);
    assert!(
        outcome.code == 0
            && outcome
                .stderr
                .contains("you have no subordinate ids in /etc/subuid"),
        "{outcome}"
    );
    user.load();
    assert_eq!(
        user.ok(["run", "--rm", "--network", "none", "busybox", "id", "-u"]),
        "0\n"
    );
    let outcome = user.run([
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "chown",
        "5",
        "/etc",
    ]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("Invalid argument"),
        "{outcome}"
    );
    let check = user.run(["system", "check", "--format", "json"]);
    assert_eq!(check.code, 1, "{check}");
    let report: serde_json::Value = serde_json::from_str(&check.stdout).unwrap();
    let piece = report["pieces"]
        .as_array()
        .unwrap()
        .iter()
        .find(|piece| piece["name"] == "subordinate ids")
        .unwrap();
    assert_eq!(piece["status"], "missing");
    let fix = piece["fix"].as_str().unwrap();
    assert!(
        fix.starts_with("sudo usermod --add-subuids ") && fix.ends_with(" sailor"),
        "{fix}"
    );
}

#[test]
fn a_check_makes_nothing() {
    needs_user!();
    let user = User::new(SUBORDINATE);
    let outcome = user.run(["system", "check"]);
    for piece in [
        "user namespaces       can be made",
        "subordinate ids       65536 users and groups",
        "overlay               can be mounted",
    ] {
        assert!(outcome.stdout.contains(&format!("ok       {piece}")), "{outcome}");
    }
    assert!(!user.root().exists());
}

#[test]
fn a_killed_holder_is_replaced() {
    needs_user!();
    let user = User::with_busybox();
    user.ok(["network", "create", "net"]);
    user.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "net",
        "busybox",
        "sleep",
        "1000",
    ]);
    let first = user.holder();
    assert!(
        Command::new("kill")
            .args(["-9", &first.to_string()])
            .status()
            .unwrap()
            .success()
    );
    eventually(|| !Path::new(&format!("/proc/{first}/ns/user")).exists() || uids_are_gone(first));
    // The containers of before and after share a network, and so the namespaces.
    let ping = user.ok([
        "run",
        "--rm",
        "--network",
        "net",
        "busybox",
        "ping",
        "-c",
        "1",
        "-W",
        "5",
        "box",
    ]);
    assert!(ping.contains("1 packets received"), "{ping}");
    assert_ne!(user.holder(), first);
    assert_eq!(user.ok(["exec", "box", "echo", "inside"]), "inside\n");
}

/// A zombie, which nobody has waited for yet, is in no namespace.
fn uids_are_gone(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).map_or(true, |status| status.contains("State:\tZ"))
}

#[test]
fn nothing_is_left_of_a_root() {
    needs_user!();
    let user = User::with_busybox();
    user.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let holder = user.holder();
    user.ok(["system", "reset", "-f"]);
    assert!(!user.root().exists());
    eventually(|| named(user.root().as_str()).is_empty());
    assert!(uids_are_gone(holder));
    // Nor of a reset of nothing, which makes namespaces to look in.
    user.ok(["system", "reset", "-f"]);
    assert!(!user.root().exists());
    eventually(|| named(user.root().as_str()).is_empty());
}

/// Processes whose arguments name `text`.
fn named(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(text)).collect()
}

fn eventually(true_at_last: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !true_at_last() {
        assert!(Instant::now() < until, "it did not come true");
        std::thread::sleep(Duration::from_millis(20));
    }
}
