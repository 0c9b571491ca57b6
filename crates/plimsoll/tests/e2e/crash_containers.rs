//! Containers under load while processes of every kind are killed: afterwards nothing is said that is not so, and nothing is left.
//!
//! A few rounds by default; `PLIMSOLL_THOROUGH=1` takes as many as the promise names: 200 kills, and fifty containers ten times.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plimsoll_testkit::{Sandbox, needs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::leaks::leaks;
use crate::{wait_for, with_busybox};

/// Commands at work at a time.
const WORKERS: usize = 3;
/// Names that each of them uses again and again.
const NAMES: u64 = 3;

/// The few, or the many when all of them are asked for.
fn rounds(few: usize, many: usize) -> usize {
    match std::env::var_os("PLIMSOLL_THOROUGH") {
        Some(_) => many,
        None => few,
    }
}

/// Numbers that look random, and are the same again for the same seed.
struct Dice(u64);

impl Dice {
    /// Printed, so that a failure can be tried again with `PLIMSOLL_SEED`.
    fn new() -> Self {
        let given = std::env::var("PLIMSOLL_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |time| u64::from(time.subsec_nanos()))
        });
        println!("PLIMSOLL_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What can be killed, by what it is.
pub(crate) fn victims(sandbox: &Sandbox) -> Vec<(Pid, &'static str)> {
    let own = format!("PLIMSOLL_ROOT={}\0", sandbox.root());
    let group = format!("plimsoll-{}", sandbox.instance().unwrap_or_default());
    let read = |folder: &Path, name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let kind = |folder: &Path| {
        let line = read(folder, "cmdline");
        let words: Vec<&str> = line.split('\0').collect();
        match words.get(1..3) {
            Some(["shim", "reap" | "restore"]) => {
                (words.get(3) == Some(&sandbox.root().as_str())).then_some("reaper")
            }
            Some(["shim", id]) => sandbox
                .root()
                .join("run/containers")
                .join(id)
                .exists()
                .then_some("supervisor"),
            Some(["runner", _]) => {
                let status = read(folder, "status");
                let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
                let parent = Path::new("/proc").join(parent.unwrap_or("0"));
                read(&parent, "environ").contains(&own).then_some("runner")
            }
            _ if read(folder, "environ").contains(&own) => Some("command"),
            _ => read(folder, "cgroup").contains(&group).then_some("program"),
        }
    };
    let folders = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .map(|entry| entry.path());
    let numbered = folders.filter_map(|folder: PathBuf| {
        let pid = folder.file_name()?.to_str()?.parse().ok()?;
        Some((Pid::from_raw(pid)?, kind(&folder)?))
    });
    numbered.collect()
}

/// One thing that somebody does with the containers of the names `<worker>-<n>`.
fn command(worker: usize, dice: &mut Dice) -> Vec<String> {
    let name = format!("w{worker}-{}", dice.below(NAMES));
    let words = match dice.below(16) {
        0 | 1 => format!(
            "run -d --name {name} --restart always --network back -p 127.0.0.1::80 busybox sleep 1000"
        ),
        2 | 3 => format!("run -d --name {name} -p 80 busybox sleep 1000"),
        4 => "run --rm busybox true".to_owned(),
        5 => format!("run -d --rm --name {name} -v data{worker}:/data --network none busybox sleep 0.2"),
        6 => format!("stop -t 0 {name}"),
        7 => format!("start {name}"),
        8 | 9 => format!("rm -f {name}"),
        10 => format!("restart -t 0 {name}"),
        11 => format!("exec {name} true"),
        12 => format!("pause {name}"),
        13 => format!(
            "network {} net{worker}",
            if dice.below(2) == 0 { "create" } else { "rm" }
        ),
        14 => "build -q --no-cache -t app context".to_owned(),
        _ => "ps -a".to_owned(),
    };
    words.split(' ').map(str::to_owned).collect()
}

/// Runs a command to whatever end it has. One that has none is a failure.
fn attempt(sandbox: &Sandbox, words: &[String]) {
    let mut command = sandbox.command(words);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("it starts");
    let began = Instant::now();
    while child.try_wait().expect("it can be asked").is_none() {
        if began.elapsed() > Duration::from_secs(90) {
            let stack = std::fs::read_to_string(format!("/proc/{}/wchan", child.id())).unwrap_or_default();
            let _ = child.kill();
            panic!("{words:?} does not end ({stack})");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What is said of containers and is not so.
fn lies(sandbox: &Sandbox) -> Vec<String> {
    let ids = sandbox.ok(["ps", "-aq", "--no-trunc"]);
    let processes = |id: &str| -> Vec<String> {
        let folders = std::fs::read_dir("/proc").expect("/proc").flatten();
        folders
            .filter(|entry| {
                std::fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|text| text.contains(id))
            })
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let (mut lies, mut taken) = (Vec::new(), BTreeSet::new());
    for id in ids.lines() {
        let outcome = sandbox.run(["inspect", id]);
        let Ok(Value::Array(found)) = serde_json::from_str(&outcome.stdout) else {
            continue;
        };
        let Some(container) = found.first() else { continue };
        let (state, status) = (&container["State"], container["State"]["Status"].as_str());
        let inside = processes(id);
        let mut lie = |what: String| lies.push(format!("{} {state}: {what}", container["Name"]));
        match status {
            Some("running" | "paused") => {
                if !inside.contains(&state["Pid"].to_string()) {
                    lie(format!("its program is not among {inside:?}"));
                }
                if status == Some("running") && sandbox.run(["exec", id, "true"]).code != 0 {
                    lie("nothing can be executed".to_owned());
                }
                for (_, network) in container["NetworkSettings"]["Networks"]
                    .as_object()
                    .into_iter()
                    .flatten()
                {
                    let place = (network["NetworkID"].to_string(), network["IPAddress"].to_string());
                    if !taken.insert(place.clone()) {
                        lie(format!("somebody else has {place:?}, too"));
                    }
                }
                let ports = container["NetworkSettings"]["Ports"].as_object();
                for port in ports.into_iter().flatten().filter_map(|(_, ports)| ports.get(0)) {
                    let number: u16 = port["HostPort"]
                        .as_str()
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0);
                    if TcpStream::connect(("127.0.0.1", number)).is_err() {
                        lie(format!("nobody listens on {number}"));
                    }
                }
            }
            Some("exited" | "created" | "dead") if !inside.is_empty() => lie(format!("{inside:?} run")),
            _ => {}
        }
    }
    lies
}

#[test]
fn killed_at_random_nothing_lies_and_nothing_leaks() {
    needs!(root, overlay, tool = "nft");
    let kills = rounds(40, 200);
    let sandbox = with_busybox();
    sandbox.write(
        "context/Dockerfile",
        "FROM busybox\nRUN sleep 0.1; echo built > /built\n",
    );
    sandbox.ok(["network", "create", "back"]);
    let mut dice = Dice::new();
    let (over, mut killed) = (AtomicBool::new(false), BTreeMap::<_, u32>::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let mut dice = Dice(dice.below(u64::MAX >> 32));
            let (sandbox, over) = (&sandbox, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    attempt(sandbox, &command(worker, &mut dice));
                }
            });
        }
        let mut count = 0;
        while count < kills {
            std::thread::sleep(Duration::from_millis(dice.below(150)));
            let mut found = victims(&sandbox);
            // Every kind has its turn, the rarest first: most processes are commands and programs.
            let kinds: BTreeSet<_> = found.iter().map(|(_, kind)| *kind).collect();
            let Some(kind) = kinds
                .into_iter()
                .min_by_key(|kind| killed.get(kind).copied().unwrap_or(0))
            else {
                continue;
            };
            // Or on a busy machine no command gets as far as to have a supervisor.
            let so_far = killed.get(kind).copied().unwrap_or(0) as usize;
            if kind == "command" && so_far * 2 >= kills {
                continue;
            }
            found.retain(|(_, other)| *other == kind);
            let (pid, _) = found[dice.below(found.len() as u64) as usize];
            if kill_process(pid, Signal::KILL).is_ok() {
                *killed.entry(kind).or_insert(0) += 1;
                count += 1;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("killed in {:.1} s: {killed:?}", began.elapsed().as_secs_f32());

    // One look by an ordinary command puts everything right.
    sandbox.ok(["ps", "-a"]);
    let mut found = Vec::new();
    let settled = Instant::now();
    while settled.elapsed() < Duration::from_secs(30) {
        found = leaks(&sandbox);
        if found.is_empty() {
            break;
        }
    }
    assert_eq!(found, Vec::<String>::new(), "left behind");
    let mut said = Vec::new();
    let settled = Instant::now();
    while settled.elapsed() < Duration::from_secs(30) {
        said = lies(&sandbox);
        if said.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(said, Vec::<String>::new());

    let ids = sandbox.ok(["ps", "-aq"]);
    for id in ids.lines() {
        let outcome = sandbox.run(["rm", "-f", id]);
        assert!(
            outcome.code == 0 || outcome.stderr.contains("No such container"),
            "{outcome}"
        );
    }
    let networks = sandbox.ok(["network", "ls", "-q", "--filter", "type=custom"]);
    for id in networks.lines() {
        sandbox.ok(["network", "rm", id]);
    }
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
    assert_eq!(sandbox.ok(["run", "--rm", "busybox", "echo", "works"]), "works\n");
    let nothing_left = || sandbox.leftovers().is_empty().then_some(());
    wait_for(
        &format!("no leftovers: {:?}", sandbox.leftovers()),
        20,
        nothing_left,
    );
}

#[test]
fn fifty_containers_come_and_go_at_once() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    let names: Vec<String> = (0..50).map(|number| format!("c{number}")).collect();
    let each = |work: &(dyn Fn(&str) + Sync)| {
        std::thread::scope(|scope| names.iter().for_each(|name| drop(scope.spawn(|| work(name)))));
    };
    for round in 0..rounds(2, 10) {
        let began = Instant::now();
        each(&|name| {
            sandbox.ok([
                "run",
                "-d",
                "--name",
                name,
                "-p",
                "127.0.0.1::80",
                "busybox",
                "sleep",
                "1000",
            ]);
        });
        let started = began.elapsed();
        let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let ids = sandbox.ok(["ps", "-q"]);
        assert_eq!(ids.lines().count(), 50);
        let inspect = ["inspect", "-f", template].into_iter().chain(ids.lines());
        let addresses = sandbox.run(inspect).success(&["inspect"]);
        assert_eq!(
            addresses.lines().collect::<BTreeSet<_>>().len(),
            50,
            "each its own"
        );
        let began = Instant::now();
        each(&|name| drop(sandbox.ok(["rm", "-f", name])));
        println!(
            "round {round}: started in {started:.2?}, removed in {:.2?}",
            began.elapsed()
        );
        assert_eq!(sandbox.ok(["ps", "-aq"]), "");
    }
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
    wait_for("no leftovers", 20, || {
        sandbox.leftovers().is_empty().then_some(())
    });
}
