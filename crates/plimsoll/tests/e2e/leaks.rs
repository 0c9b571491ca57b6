//! `system check --leaks` finds what dead processes leave behind, and `system restore` clears it away.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use plimsoll_testkit::{Outcome, Sandbox, needs};
use serde_json::Value;

use crate::{wait_for, with_busybox};

/// What is found, as `kind name`.
pub(crate) fn leaks(sandbox: &Sandbox) -> Vec<String> {
    let outcome = sandbox.run(["system", "check", "--leaks", "--format", "json"]);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}"));
    let found: Vec<String> = report["leaks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|leak| {
            let text = |key: &str| leak[key].as_str().expect("text").to_owned();
            format!("{} {} {}", text("kind"), text("name"), text("reason"))
        })
        .collect();
    assert_eq!(outcome.code, i32::from(!found.is_empty()), "{outcome}");
    found
}

#[track_caller]
fn run(program: &str, args: &[&str]) {
    Outcome::of(Command::new(program).args(args)).success(program);
}

/// Killed when it goes out of scope.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder of a control group of ours, in any hierarchy.
fn cgroup_top() -> &'static Path {
    let unified = Path::new("/sys/fs/cgroup/cgroup.procs");
    let legacy = Path::new("/sys/fs/cgroup/pids");
    match unified.exists() {
        true => Path::new("/sys/fs/cgroup"),
        false => legacy,
    }
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    needs!(root, overlay, tool = "nft");
    let fresh = crate::sandbox();
    assert_eq!(fresh.ok(["system", "check", "--leaks"]), "No leaks\n");
    assert!(!fresh.root().exists(), "looking makes nothing");

    let sandbox = with_busybox();
    sandbox.ok(["network", "create", "back"]);
    let server = ["run", "-d", "-p", "127.0.0.1::80", "-p", "8000-8999:81"];
    sandbox
        .run(
            server
                .iter()
                .chain(&["--name", "one", "busybox", "sleep", "1000"]),
        )
        .success(&server);
    sandbox.ok([
        "run",
        "-d",
        "--network",
        "back",
        "--name",
        "two",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(["run", "--name", "ended", "busybox", "true"]);
    sandbox.ok(["create", "--name", "made", "busybox"]);
    sandbox.ok(["pause", "two"]);
    let layout = std::fs::read_to_string(sandbox.root().join("layout-version")).expect("a store");
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
    std::fs::write(sandbox.root().join("layout-version"), "99\n").expect("it is written");
    let error = sandbox.fails(2, ["system", "check", "--leaks"]);
    assert!(error.contains("store layout 99"), "could not look: {error}");
    std::fs::write(sandbox.root().join("layout-version"), layout).expect("it is written");
}

/// Plants one leak of each sort that a killed process can leave, and a few that only bad luck leaves.
#[test]
fn every_sort_of_leak_is_found_and_cleared_away() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let sandbox = with_busybox();
    sandbox.ok([
        "run", "-d", "-p", "80", "--name", "live", "busybox", "sleep", "1000",
    ]);
    sandbox.ok(["run", "--name", "dead", "busybox", "true"]);
    let instance = sandbox.instance().expect("a store");
    let (root, table) = (sandbox.root(), format!("plimsoll_{instance}"));
    let dead = sandbox.ok(["inspect", "-f", "{{.Id}}", "dead"]).trim().to_owned();
    let gone = "ab".repeat(32);
    wait_for("nothing to begin with", 10, || {
        leaks(&sandbox).is_empty().then_some(())
    });

    let store = plimsoll_store::Store::open(&root, &root.join("run")).expect("a store");
    let sql = |text: &str| {
        let done = store
            .db()
            .write(|transaction| -> plimsoll_store::Result<_> { Ok(transaction.execute(text, [])?) });
        assert_eq!(done.expect("a statement"), 1, "{text}");
    };
    // An address that the database says is taken, and a published port that leads to it.
    sql(&format!(
        "UPDATE endpoint SET active = 1 WHERE container = '{dead}'"
    ));
    run(
        "nft",
        &[
            "add",
            "element",
            "ip",
            &table,
            "any",
            "{ tcp . 7 : 198.51.100.9 . 7 }",
        ],
    );
    // A bridge of no network, and a port of ours that belongs to nobody.
    let bridge = format!("pl{instance}77");
    run("ip", &["link", "add", &bridge, "type", "bridge"]);
    let (ours, port) = (format!("pl{instance}0"), format!("plvffffff{}", &instance[2..]));
    run(
        "ip",
        &[
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            &format!("t{}", &port[3..]),
        ],
    );
    run("ip", &["link", "set", &port, "master", &ours]);
    // A rule in somebody else's chain.
    let foreign = format!("other_{instance}");
    let rule = format!(
        "add table ip {foreign}\nadd chain ip {foreign} forward\n\
         add rule ip {foreign} forward iifname \"{bridge}\" counter accept comment \"{table}\""
    );
    run("nft", &[&rule]);
    // Groups: one of a container that is no more with a process in it, one of a build step.
    let group = cgroup_top().join(format!("plimsoll-{instance}")).join(&gone);
    let step = group.with_file_name(format!("build-00000000{instance}00000000000fffff"));
    std::fs::create_dir_all(&group).expect("a group");
    std::fs::create_dir_all(&step).expect("a group");
    let orphan = Killed(Command::new("sleep").arg("1000").spawn().expect("sleep"));
    std::fs::write(group.join("cgroup.procs"), orphan.0.id().to_string()).expect("it is moved");
    // Mounts and namespaces that have a name.
    let mounted = root.join("volumes/a b");
    std::fs::create_dir_all(&mounted).expect("a folder");
    run("mount", &["-t", "tmpfs", "none", mounted.as_str()]);
    let namespace = root.join("run/netns/ns1");
    std::fs::write(&namespace, "").expect("a file");
    // Locks, leases, layers, files.
    std::fs::write(root.join("run/locks/build-key+x"), "1\n").expect("a file");
    sql("INSERT INTO lease (id, created) VALUES ('0123456789abcdef', 1)");
    sql("INSERT INTO snapshot (kind, lease, created) VALUES ('active', 'fedcba9876543210', 1)");
    for folder in [
        "snapshots/zzzz/fs",
        "trash/0123",
        "builds/0123456789012345678901234/scratch",
        &format!("containers/{gone}"),
        "run/containers/abababababab",
    ] {
        std::fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    std::fs::write(root.join("content/ingest/0123456789abcdef"), "x").expect("a file");
    std::fs::create_dir_all(root.join("run/networks")).expect("a folder");
    std::fs::write(root.join("run/networks/abababababab.json"), "{}").expect("a file");
    // A container that is said to run.
    let state = root.join("containers").join(&dead).join("state.json");
    let text = std::fs::read_to_string(&state).expect("a state");
    std::fs::write(&state, text.replace("\"exited\"", "\"running\"")).expect("it is written");

    let found = leaks(&sandbox);
    let snapshot = found
        .iter()
        .find(|leak| leak.starts_with("snapshot "))
        .expect("one");
    for wanted in [
        "container dead is said to be running",
        &format!("process {} in /plimsoll-{instance}/{gone}", orphan.0.id()),
        &format!("mount {mounted}"),
        &format!("netns {namespace}"),
        &format!("interface {bridge} a bridge of no network"),
        &format!("interface {port} of nobody"),
        &format!("rule ip {foreign} forward handle "),
        "port tcp . 7 leads to 198.51.100.9",
        &format!("address 172.17.0.3 of {}", &dead[..12]),
        &format!("cgroup /plimsoll-{instance}/{gone} of {}", &gone[..12]),
        &format!("cgroup /plimsoll-{instance}/build-"),
        "lock build-key+x nobody holds it",
        "lease 0123456789abcdef its process is dead",
        snapshot,
        "file snapshots/zzzz",
        "file trash/0123",
        "file builds/0123456789012345678901234/scratch",
        "file content/ingest/0123456789abcdef",
        &format!("file containers/{gone}"),
        &format!("file {root}/run/containers/abababababab"),
        "file networks/abababababab.json",
    ] {
        // Which address it is depends on what else this host has.
        let wanted = wanted.replace("172.17.0.3 ", "");
        let fits = |leak: &String| match wanted.strip_prefix("address ") {
            Some(owner) => leak.starts_with("address ") && leak.contains(owner),
            None => leak.starts_with(&wanted),
        };
        assert!(found.iter().any(fits), "{wanted}\n{found:#?}");
    }
    assert_eq!(found.len(), 21, "and nothing else: {found:#?}");
    let outcome = sandbox.run(["system", "check", "--leaks"]);
    assert!(outcome.stdout.starts_with("KIND       NAME "), "{outcome}");
    assert!(
        outcome.stderr.contains("hint: `plimsoll system restore`"),
        "{outcome}"
    );

    assert_eq!(sandbox.ok(["system", "restore"]), "", "nothing has a policy");
    let left = leaks(&sandbox);
    run("nft", &["delete", "table", "ip", &foreign]);
    assert_eq!(left, Vec::<String>::new());
    assert!(!group.exists() && !step.exists());
    assert!(sandbox.ok(["ps"]).contains("live"), "what lives is left alone");
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{.State.Status}}", "dead"]),
        "exited\n"
    );
    sandbox.ok(["start", "dead"]);
}

/// A lock that a command died with is the sign for the next one to clean up.
#[test]
fn the_next_command_clears_away_after_a_death() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    // Holds a lease of the store, and with it a lock.
    let mut build = sandbox.command(["build", "-q", "context"]);
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN sleep 1000\n");
    let mut build = build
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let runs = || {
        sandbox
            .root()
            .join("run/locks")
            .read_dir_utf8()
            .ok()?
            .flatten()
            .find(|entry| entry.file_name().starts_with("build-"))
    };
    wait_for("the build works", 20, runs);
    build.kill().expect("it runs");
    build.wait().expect("it ends");
    assert!(!leaks(&sandbox).is_empty());
    sandbox.ok(["ps"]);
    wait_for("nothing is left", 10, || leaks(&sandbox).is_empty().then_some(()));
}

/// A supervisor that nobody started yet holds what whoever starts it holds: their death in between frees nothing.
#[test]
fn what_is_being_started_is_nobodys_leak() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["create", "--name", "box", "busybox", "sleep", "1000"]);
    for _ in 0..8 {
        let mut start = sandbox.command(["start", "box"]);
        let mut start = start
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(std::time::Duration::from_millis(u64::from(start.id() % 7) * 6));
        let _ = start.kill();
        start.wait().expect("it ends");
        sandbox.ok(["ps"]);
        let running = wait_for("a truth", 10, || {
            let status = sandbox.ok(["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "box"]);
            let (status, pid) = status.trim().split_once(' ')?;
            let lives = Path::new("/proc").join(pid).exists();
            (lives == (status == "running")).then_some(lives)
        });
        if running {
            sandbox.ok(["stop", "-t", "0", "box"]);
        }
    }
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
}
