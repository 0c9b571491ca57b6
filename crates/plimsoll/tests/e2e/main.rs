//! The real program, from outside: own root, own home, cleared environment for every test.
//!
//! Behaviour that a crate can show alone is tested there; these tests show that it is wired.

mod binds;
mod build;
mod build_check;
mod caches;
mod check;
mod check_fix_proof;
mod check_images;
mod cli;
mod compose;
mod compose_bridge;
mod compose_commands;
mod compose_elsewhere;
mod compose_remote;
mod compose_seed;
mod compose_services;
mod compose_up;
mod compose_updates;
mod compose_watch;
mod compose_words;
mod copy;
mod crash;
mod crash_containers;
mod devices;
mod du;
mod events;
mod explain;
mod exports;
mod faults;
mod files;
mod gate;
mod health;
mod hostile;
mod hostile_files;
mod image_mounts;
mod images;
mod inside;
mod instructions;
mod leaks;
mod lifecycle;
mod logs;
mod lsp;
mod mounts;
mod network;
mod networks;
mod platforms;
mod progress;
mod prune;
mod push;
mod refusals;
mod report;
mod reset;
mod restore;
mod rootless;
mod run;
mod seed;
mod sources;
mod terminals;
mod together;
mod users;
mod vm;
mod vm_rootless;

use std::time::{Duration, Instant};

use plimsoll_testkit::{Outcome, Sandbox};

/// A new sandbox with the program under test.
fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_plimsoll"))
}

/// A sandbox in which `busybox` is loaded.
fn with_busybox() -> Sandbox {
    let sandbox = sandbox();
    sandbox.load("busybox");
    sandbox
}

/// Builds `dockerfile` in the folder `context` as `app`.
fn build(sandbox: &Sandbox, dockerfile: &str, options: &[&str]) -> Outcome {
    sandbox.write("context/Dockerfile", dockerfile);
    let args = ["build", "--progress=plain", "-t", "app"]
        .iter()
        .chain(options)
        .chain(&["context"]);
    sandbox.run(args)
}

/// As [`build`], and it must work; returns stderr.
#[track_caller]
fn build_ok(sandbox: &Sandbox, dockerfile: &str, options: &[&str]) -> String {
    let outcome = build(sandbox, dockerfile, options);
    assert_eq!(outcome.code, 0, "{outcome}");
    outcome.stderr
}

/// Builds into a folder of files and returns its path.
#[track_caller]
fn build_files(sandbox: &Sandbox, dockerfile: &str, options: &[&str]) -> camino::Utf8PathBuf {
    let folder = sandbox.path("work/files");
    let output = format!("type=local,dest={folder}");
    let options: Vec<&str> = options.iter().copied().chain(["--output", &output]).collect();
    build_ok(sandbox, dockerfile, &options);
    folder
}

/// What `inspect` prints for a container.
#[track_caller]
fn inspect(sandbox: &Sandbox, container: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(&sandbox.ok(["inspect", container])).expect("JSON")[0].clone()
}

/// How many times as long everything may take on a machine that has a lot else to do.
const BUSY: u64 = 6;

/// Waits until `check` gives something, at most `seconds` on a machine with nothing else to do.
#[track_caller]
fn wait_for<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds * BUSY);
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {} s in vain: {what}",
            seconds * BUSY
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The first of `count` ports that nobody has at the moment: lower than those that the kernel gives to whoever wants any, and
/// others than tests that run at the same time get.
fn free_ports(count: u16) -> u16 {
    let own = u16::try_from(std::process::id() % 500).expect("less than 500") * 20;
    let mut starts = (0..500).map(|turn| 20_000 + (own + turn * 20) % 10_000);
    let is_free = |port| std::net::TcpListener::bind(("0.0.0.0", port)).is_ok();
    let start = starts.find(|start| (*start..start + count).all(is_free));
    start.expect("not all ports are taken")
}

/// Snapshots with the filters for what varies.
fn assert_shows(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    for (pattern, replacement) in plimsoll_testkit::filters() {
        settings.add_filter(pattern, replacement);
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
