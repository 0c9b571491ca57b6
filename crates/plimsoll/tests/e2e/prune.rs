//! What takes room, and taking it back: `system df`, `buildx du` and the prune commands.

use std::process::{Command, Stdio};
use std::time::Duration;

use plimsoll_testkit::{Sandbox, needs};

use crate::{build, build_ok, with_busybox};

const STEPS: &str = "FROM busybox\nRUN dd if=/dev/zero of=/one bs=1M count=1 2>/dev/null\nRUN dd if=/dev/zero of=/two bs=1M count=2 2>/dev/null\n";

/// Bytes that `du` counts below a folder of the root.
fn du(sandbox: &Sandbox, folder: &str) -> u64 {
    let output = Command::new("du")
        .args(["-s", "-B1", sandbox.root().join(folder).as_str()])
        .output()
        .expect("du runs");
    let text = String::from_utf8(output.stdout).expect("du prints text");
    text.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .expect("du prints a number")
}

/// A size as it is printed, in bytes.
fn bytes(text: &str) -> f64 {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).expect("a unit");
    let factor = match &text[digits..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => panic!("unit {other}"),
    };
    text[..digits].parse::<f64>().expect("a number") * factor
}

/// `system df` as type and size.
fn df(sandbox: &Sandbox) -> Vec<(String, f64)> {
    let text = sandbox.ok(["system", "df", "--format", "{{.Type}}={{.Size}}"]);
    let pair = |line: &str| {
        let (kind, size) = line.split_once('=').expect("as asked for");
        (kind.to_owned(), bytes(size))
    };
    text.lines().map(pair).collect()
}

#[test]
fn system_df_adds_up_to_what_du_says() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(&sandbox, STEPS, &[]);
    build_ok(
        &sandbox,
        &format!("{STEPS}RUN ln /one /three\n"),
        &["-t", "other"],
    );
    sandbox.ok(["create", "-v", "data:/data", "app", "true"]);
    let sum: f64 = df(&sandbox).iter().map(|(_, size)| size).sum();
    let folders = [
        "content",
        "snapshots",
        "containers",
        "volumes",
        "builds",
        "contexts",
        "cache-mounts",
    ];
    let du: u64 = folders.iter().map(|folder| du(&sandbox, folder)).sum();
    // The folders themselves are in no row, and four digits are printed.
    let difference = (du as f64 - sum).abs();
    assert!(
        difference < 60_000.0 + du as f64 / 1000.0,
        "du says {du}, df {sum}"
    );
    let table = sandbox.ok(["system", "df"]);
    let header = table.lines().next().unwrap_or_default();
    assert_eq!(
        header,
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE"
    );
    let lists = sandbox.ok(["system", "df", "-v"]);
    for title in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage:",
        "UNIQUE SIZE",
        "LAST USED",
    ] {
        assert!(lists.contains(title), "{lists}");
    }
}

#[test]
fn builder_prune_leaves_what_images_need() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(&sandbox, STEPS, &[]);
    build_ok(
        &sandbox,
        "FROM busybox\nRUN dd if=/dev/zero of=/x bs=1M count=3 2>/dev/null\n",
        &[],
    );
    sandbox.ok(["rmi", "-f", sandbox.ok(["images", "-qf", "dangling=true"]).trim()]);
    let listed = sandbox.ok(["buildx", "du"]);
    assert!(
        listed.starts_with("ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED\n"),
        "{listed}"
    );
    let before = du(&sandbox, "snapshots");
    let pruned = sandbox.ok(["builder", "prune", "-f"]);
    let total = pruned
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("Total:\t"))
        .map(bytes);
    let freed = before - du(&sandbox, "snapshots");
    assert!(freed > 3_000_000, "{pruned}");
    assert!(
        (total.unwrap_or_default() - freed as f64).abs() < 60_000.0,
        "{freed}: {pruned}"
    );
    assert_eq!(
        sandbox.ok(["run", "--rm", "--network=none", "app", "ls", "/x"]),
        "/x\n"
    );
    let log = build_ok(
        &sandbox,
        "FROM busybox\nRUN dd if=/dev/zero of=/x bs=1M count=3 2>/dev/null\n",
        &[],
    );
    assert!(log.contains("CACHED"), "{log}");
    sandbox.ok(["buildx", "prune", "-af"]);
    assert_eq!(
        sandbox.ok(["run", "--rm", "--network=none", "app", "ls", "/x"]),
        "/x\n"
    );
}

#[test]
fn pruning_asks_first() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(&sandbox, STEPS, &[]);
    let refused = sandbox.run(["builder", "prune"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("[y/N]") && refused.stderr.contains("cancelled"),
        "{refused}"
    );
    // The first image has lost its name to the second.
    build_ok(&sandbox, "FROM busybox\nLABEL second=1\n", &[]);
    let agreed = sandbox.run_with_input(["image", "prune"], b"y\n");
    assert!(
        agreed.stdout.starts_with("Deleted Images:\ndeleted: sha256:"),
        "{agreed}"
    );
    assert_eq!(
        sandbox.ok(["image", "prune", "-f"]),
        "Total reclaimed space: 0B\n"
    );
    assert!(agreed.stderr.contains("all dangling images"), "{agreed}");
    let wrong = sandbox.fails(1, ["builder", "prune", "-f", "--filter", "untill=1h"]);
    assert!(wrong.contains("did you mean `until`?"), "{wrong}");
}

#[test]
fn ceilings_and_filters() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(&sandbox, STEPS, &[]);
    sandbox.ok(["rmi", "app"]);
    let count = || sandbox.ok(["buildx", "du"]).matches("true").count();
    let all = count();
    sandbox.ok(["builder", "prune", "-f", "--filter", "until=1h"]);
    assert_eq!(count(), all, "nothing is that old");
    sandbox.ok(["builder", "prune", "-f", "--max-used-space", "1GB"]);
    assert_eq!(count(), all, "there is room");
    let pruned = sandbox.ok(["builder", "prune", "-f", "--keep-storage", "1.5MB"]);
    assert!(
        bytes(pruned.lines().last().unwrap().trim_start_matches("Total:\t")) > 2e6,
        "{pruned}"
    );
    assert!(count() < all, "{pruned}");
    sandbox.ok(["builder", "prune", "-f"]);
    assert_eq!(count(), 0);
}

#[test]
fn images_go_with_their_layers() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(&sandbox, STEPS, &["--label", "keep=no"]);
    let old = sandbox.ok(["images", "-q", "--no-trunc", "app"]);
    build_ok(&sandbox, "FROM busybox\nRUN true\n", &[]);
    let pruned = sandbox.ok(["image", "prune", "-f", "--filter", "label!=keep"]);
    assert!(!pruned.contains("Deleted"), "{pruned}");
    let pruned = sandbox.ok(["image", "prune", "-f"]);
    assert!(
        pruned.starts_with(&format!(
            "Deleted Images:\ndeleted: {old}\nTotal reclaimed space: "
        )),
        "{pruned}"
    );
    sandbox.ok(["create", "app", "true"]);
    let pruned = sandbox.ok(["image", "prune", "-af"]);
    assert!(pruned.contains("untagged: busybox:latest\n"), "{pruned}");
    assert!(!pruned.contains("app"), "a container has it: {pruned}");
    let swept = sandbox.ok(["system", "prune", "-af", "--volumes"]);
    for part in [
        "Deleted Containers:",
        "untagged: app:latest",
        "Total reclaimed space: ",
    ] {
        assert!(swept.contains(part), "{swept}");
    }
    assert!(sandbox.ok(["images", "-q"]).is_empty());
    for folder in ["snapshots", "content/blobs/sha256", "trash"] {
        let left: Vec<_> = std::fs::read_dir(sandbox.root().join(folder)).unwrap().collect();
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

#[test]
fn pruning_beside_builds_breaks_none() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let mut pruning: Vec<_> = (0..40)
        .map(|round| Duration::from_millis(round * 13 % 60))
        .collect();
    std::thread::scope(|scope| {
        let builds = scope.spawn(|| {
            for round in 0..6 {
                let dockerfile = format!(
                    "FROM busybox AS one\nRUN echo {} > /one\nRUN echo two > /two\nFROM busybox\nCOPY --from=one /one /two /\nRUN cat /one /two > /all\n",
                    round % 2
                );
                let outcome = build(&sandbox, &dockerfile, &[]);
                assert_eq!(outcome.code, 0, "{outcome}");
                assert_eq!(
                    sandbox.ok(["run", "--rm", "--network=none", "app", "cat", "/all"]),
                    format!("{}\ntwo\n", round % 2)
                );
            }
        });
        while !builds.is_finished() {
            let delay = pruning.pop().unwrap_or(Duration::from_millis(30));
            let mut child = sandbox
                .command(["builder", "prune", "-af"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the program starts");
            std::thread::sleep(delay);
            // Some are killed in the middle, some have ended by themselves.
            let _ = child.kill();
            child.wait().expect("it can be waited for");
        }
    });
    sandbox.ok(["builder", "prune", "-af"]);
    assert_eq!(
        sandbox.ok(["run", "--rm", "--network=none", "app", "cat", "/two"]),
        "two\n"
    );
}
