//! Hosts in trouble: full disks, disks that cannot be written, no addresses, no packet filter. Each is said clearly, and passes.

use std::process::Command;

use camino::Utf8PathBuf;
use plimsoll_testkit::{Outcome, Sandbox, needs};

use crate::leaks::leaks;
use crate::{sandbox, wait_for, with_busybox};

/// A root on a small file system of its own, in memory, with `options` of mount(8).
struct Small {
    sandbox: Sandbox,
    root: Utf8PathBuf,
}

impl Small {
    fn new(options: &str) -> Self {
        let sandbox = sandbox();
        let root = sandbox.root();
        std::fs::create_dir(&root).expect("a folder");
        let args = ["-t", "tmpfs", "-o", options, "none", root.as_str()];
        Outcome::of(Command::new("mount").args(args)).success("mount");
        Self { sandbox, root }
    }

    /// Busy while somebody still cleans up after a container.
    fn mount(&self, options: &str) {
        let args = ["-o", &format!("remount,{options}"), self.root.as_str()];
        let mounted = || Outcome::of(Command::new("mount").args(args)).code == 0;
        wait_for(options, 20, || mounted().then_some(()));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // What the sandbox would do later, when its folder is a mount no more.
        let _ = Outcome::of(&mut self.sandbox.command(["system", "reset", "-f"]));
        let _ = Outcome::of(Command::new("umount").args(["-l", self.root.as_str()]));
    }
}

/// It fails with words for people: no panic, no signal.
#[track_caller]
fn refused(outcome: &Outcome, words: &str) {
    assert!((1..=126).contains(&outcome.code), "{outcome}");
    assert!(outcome.stderr.contains("error: "), "{outcome}");
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    assert!(
        outcome.stderr.to_lowercase().contains(words),
        "`{words}`\n{outcome}"
    );
}

/// Everything works, and nothing is left of what did not.
#[track_caller]
fn works(sandbox: &Sandbox) {
    assert_eq!(sandbox.ok(["run", "--rm", "busybox", "echo", "works"]), "works\n");
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN echo built > /built\n");
    sandbox.ok(["build", "-q", "--no-cache", "-t", "app", "context"]);
    assert_eq!(
        sandbox.ok(["run", "--rm", "--network", "none", "app", "cat", "/built"]),
        "built\n"
    );
    sandbox.ok(["system", "restore"]);
    assert_eq!(leaks(sandbox), Vec::<String>::new());
}

/// Fills a file system to the last byte.
fn fill(root: &Utf8PathBuf) -> Utf8PathBuf {
    let path = root.join("filler");
    let mut file = std::fs::File::create(&path).expect("a file");
    let block = vec![0_u8; 64 << 10];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    while std::io::Write::write_all(&mut file, &[0]).is_ok() {}
    path
}

#[test]
fn a_full_disk() {
    needs!(root, overlay, tool = "mount");
    let small = Small::new("size=48m");
    let sandbox = &small.sandbox;
    sandbox.load("busybox");
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "while :; do sleep 0.1; done",
    ]);
    sandbox.ok(["create", "--name", "made", "busybox", "true"]);
    sandbox.write(
        "context/Dockerfile",
        "FROM busybox\nRUN head -c 64000000 /dev/zero > /big\n",
    );
    let outcome = sandbox.run(["build", "--progress=plain", "context"]);
    refused(&outcome, "no space left on device");
    works(sandbox);

    let filler = fill(&small.root);
    let full = "no space left on device";
    for args in [
        &["run", "--rm", "busybox", "true"][..],
        &["create", "busybox"],
        &["build", "-q", "--no-cache", "context"],
        &["network", "create", "back"],
        &["volume", "create", "data"],
    ] {
        let outcome = sandbox.run(args);
        assert_ne!(outcome.code, 0, "{args:?}");
        let said = outcome.stderr.to_lowercase();
        assert!(
            said.contains(full) || said.contains("disk is full") || said.contains("disk i/o"),
            "{args:?} {outcome}"
        );
        assert!(said.contains("hint: "), "{args:?} {outcome}");
    }
    // What runs goes on, and can be looked at.
    assert_eq!(sandbox.ok(["ps", "--format", "{{.Names}}"]), "box\n");
    assert_eq!(sandbox.ok(["images", "-q"]).lines().count(), 2);
    assert_eq!(sandbox.ok(["exec", "box", "echo", "alive"]), "alive\n");
    std::fs::remove_file(filler).expect("it is removed");
    assert_eq!(sandbox.ok(["ps", "--format", "{{.Names}}"]), "box\n");
    works(sandbox);
    sandbox.ok(["start", "-a", "made"]);
    sandbox.ok(["rm", "-f", "box", "made"]);
}

#[test]
fn no_inodes_left() {
    needs!(root, overlay, tool = "mount");
    let small = Small::new("size=64m,nr_inodes=2000");
    let sandbox = &small.sandbox;
    sandbox.load("busybox");
    sandbox.write(
        "context/Dockerfile",
        "FROM busybox\nRUN mkdir /d && cd /d && for i in $(seq 4000); do : > $i || exit 1; done\n",
    );
    let outcome = sandbox.run(["build", "--progress=plain", "context"]);
    refused(&outcome, "no space left on device");
    let folder = small.root.join("filler");
    std::fs::create_dir(&folder).expect("a folder");
    let mut number = 0;
    while std::fs::File::create(folder.join(number.to_string())).is_ok() {
        number += 1;
    }
    refused(
        &sandbox.run(["run", "--rm", "busybox", "true"]),
        "no space left on device",
    );
    assert!(
        sandbox
            .run(["run", "--rm", "busybox", "true"])
            .stderr
            .contains("inodes"),
        "the hint says what is missing"
    );
    std::fs::remove_dir_all(&folder).expect("it is removed");
    works(sandbox);
}

#[test]
fn a_state_folder_that_cannot_be_written() {
    needs!(root, overlay, tool = "mount");
    let small = Small::new("size=64m");
    let sandbox = &small.sandbox;
    sandbox.load("busybox");
    sandbox.ok(["run", "--name", "box", "busybox", "true"]);
    small.mount("ro");
    for args in [
        &["run", "--rm", "busybox", "true"][..],
        &["start", "box"],
        &["rm", "box"],
        &["build", "-q", "context"],
    ] {
        sandbox.write("context/Dockerfile", "FROM busybox\nRUN true\n");
        let outcome = sandbox.run(args);
        refused(&outcome, "read-only");
        assert!(outcome.stderr.contains("hint: "), "{args:?} {outcome}");
    }
    assert_eq!(
        sandbox.ok(["ps", "-a", "--format", "{{.Names}}"]),
        "box\n",
        "reading goes on"
    );
    small.mount("rw");
    assert_eq!(sandbox.ok(["ps", "-a", "--format", "{{.Names}}"]), "box\n");
    sandbox.ok(["rm", "box"]);
    works(sandbox);
}

#[test]
fn no_address_left() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.ok(["network", "create", "--subnet", "10.213.7.0/30", "tiny"]);
    let run = |name: &str| {
        sandbox.run([
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "tiny",
            "busybox",
            "sleep",
            "1000",
        ])
    };
    assert_eq!(run("one").code, 0);
    let outcome = run("two");
    refused(
        &outcome,
        "network `tiny` has no free address left in 10.213.7.0/30",
    );
    assert!(outcome.stderr.contains("hint: "), "{outcome}");
    assert_eq!(outcome.code, 125);
    // Nobody remembers an address at the cost of one who needs it.
    sandbox.ok(["stop", "-t", "0", "one"]);
    sandbox.ok(["start", "two"]);
    refused(&sandbox.run(["start", "one"]), "no free address left");
    sandbox.ok(["rm", "-f", "two"]);
    sandbox.ok(["start", "one"]);
    works(&sandbox);
}

/// The program where `/usr/sbin`, and with it `nft`, is empty.
fn without_nft(sandbox: &Sandbox, args: &[&str]) -> Outcome {
    let inner = sandbox.command(args);
    let hide = "mount -t tmpfs none /usr/sbin && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", hide])
        .arg(inner.get_program())
        .args(inner.get_args());
    command
        .env_clear()
        .envs(sandbox.environment())
        .current_dir(sandbox.path("work"));
    Outcome::of(&mut command)
}

#[test]
fn no_packet_filter() {
    needs!(root, overlay, tool = "nft", tool = "unshare");
    let sandbox = with_busybox();
    let fresh = without_nft(&sandbox, &["run", "--rm", "busybox", "true"]);
    refused(&fresh, "`nft` is not installed");
    assert!(
        fresh.stderr.contains("hint: `apt-get install nftables`"),
        "{fresh}"
    );
    let without = without_nft(
        &sandbox,
        &["run", "--rm", "--network", "none", "busybox", "echo", "works"],
    );
    assert_eq!(
        (without.code, without.stdout.as_str()),
        (0, "works\n"),
        "{without}"
    );

    // It was there when a port was published, and is gone when the supervisor dies.
    sandbox.ok([
        "run", "-d", "--name", "box", "-p", "80", "busybox", "sleep", "1000",
    ]);
    let (pid, _) = crate::crash_containers::victims(&sandbox)
        .into_iter()
        .find(|(_, kind)| *kind == "supervisor")
        .expect("it runs");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it was there");
    let state = ["inspect", "-f", "{{.State.Status}}", "box"];
    wait_for("its end is known all the same", 10, || {
        let seen = without_nft(&sandbox, &state);
        assert_eq!(seen.code, 0, "{seen}");
        (seen.stdout == "exited\n").then_some(())
    });
    assert!(
        leaks(&sandbox).iter().any(|leak| leak.starts_with("port tcp . ")),
        "{:?}",
        leaks(&sandbox)
    );
    works(&sandbox);
    sandbox.ok(["start", "box"]);
    let removed = without_nft(&sandbox, &["rm", "-f", "box"]);
    assert_eq!(removed.code, 0, "its supervisor knows where `nft` is: {removed}");
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
}

/// Times from the future and from long ago, as after a clock that jumped; the machine of `restore` really changes its clock.
#[test]
fn times_that_cannot_be() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--restart",
        "always",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(["run", "--name", "ended", "busybox", "true"]);
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN echo built > /built\n");
    sandbox.ok(["build", "-q", "-t", "app", "context"]);
    let root = sandbox.root();
    let store = plimsoll_store::Store::open(&root, &root.join("run")).expect("a store");
    let year = 365 * 86_400 * 1_000_000_000_i64;
    for by in [3 * year, -6 * year] {
        for table in [
            "blob",
            "image",
            "image_name",
            "snapshot",
            "cache_record",
            "container",
            "network",
            "endpoint",
        ] {
            let shift = format!("UPDATE {table} SET created = created + {by}");
            let done = store
                .db()
                .write(|transaction| -> plimsoll_store::Result<_> { Ok(transaction.execute(&shift, [])?) });
            assert!(done.is_ok(), "{shift}");
        }
        for id in ["box", "ended"] {
            let id = sandbox.ok(["inspect", "-f", "{{.Id}}", id]);
            let state = root.join("containers").join(id.trim()).join("state.json");
            let text = std::fs::read_to_string(&state).expect("a state");
            let this = text
                .split("_at\":\"20")
                .nth(1)
                .map_or("26", |rest| &rest[..2])
                .to_owned();
            let other = if by > 0 { "39" } else { "01" };
            std::fs::write(
                &state,
                text.replace(&format!("_at\":\"20{this}"), &format!("_at\":\"20{other}")),
            )
            .expect("written");
        }
        assert_eq!(sandbox.ok(["ps", "-q"]).lines().count(), 1);
        sandbox.ok(["ps", "-a"]);
        sandbox.ok(["images"]);
        sandbox.ok(["inspect", "box", "ended"]);
        sandbox.ok(["system", "df"]);
        sandbox.ok(["builder", "prune", "-f"]);
        sandbox.ok(["container", "prune", "-f", "--filter", "until=24h"]);
        sandbox.ok(["restart", "-t", "0", "box"]);
        works(&sandbox);
        sandbox.run(["run", "--name", "ended", "busybox", "true"]);
    }
}
