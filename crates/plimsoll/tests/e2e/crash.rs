//! `kill -9` at random moments leaves a store in which the next command works.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use plimsoll_testkit::{Sandbox, basekit_archive, needs};

use crate::{build_ok, sandbox, wait_for, with_busybox};

/// Moments tried per command.
const ROUNDS: u32 = 20;

/// Small, seeded by the clock and printed, so that a failure can be tried again.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |time| time.subsec_nanos());
        println!("seed {seed}");
        Self(u64::from(seed) | 1)
    }

    /// A time up to `longest`.
    fn next(&mut self, longest: Duration) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = u32::try_from(self.0 >> 40).unwrap_or_default() % 1000;
        longest * part / 1000
    }
}

/// Starts a command and kills it after `delay`.
fn kill_after(sandbox: &Sandbox, args: &[&str], delay: Duration) {
    let mut command = sandbox.command(args);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    std::thread::sleep(delay);
    let _ = child.kill();
    child.wait().expect("it can be waited for");
}

/// Starts a build, and kills it `delay` after it has shown a line with `sign`; tells whether there was one.
fn kill_after_sign(sandbox: &Sandbox, sign: &str, delay: Duration) -> bool {
    let mut child = sandbox
        .command([
            "build",
            "--progress=plain",
            "--no-cache",
            "-t",
            "killed",
            "context",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe was asked for")).lines();
    let seen = lines.any(|line| line.is_ok_and(|line| line.contains(sign)));
    std::thread::sleep(delay);
    let _ = child.kill();
    child.wait().expect("it can be waited for");
    seen
}

/// The same build works now, what it made is whole, and nothing of those before it is left.
#[track_caller]
fn assert_works(sandbox: &Sandbox, dockerfile: &str) {
    build_ok(sandbox, dockerfile, &[]);
    // Every layer is written from its snapshot and held against its digest.
    sandbox.ok(["save", "-o", "app.tar", "app"]);
    let nothing_left = || sandbox.leftovers().is_empty().then_some(());
    wait_for(
        &format!("no leftovers: {:?}", sandbox.leftovers()),
        20,
        nothing_left,
    );
}

/// Time of one undisturbed run.
fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

#[test]
fn a_killed_build_leaves_a_working_store() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/file", vec![7; 300_000]);
    let dockerfile = |round: u32| {
        format!(
            "FROM busybox AS one\nRUN echo {round} > /one; dd if=/dev/zero of=/big bs=64k count=40 2>/dev/null\nFROM busybox\nCOPY file /f{round}\nCOPY --from=one /one /big /\nRUN cat /one && sleep 0.05\n"
        )
    };
    let whole = time(|| drop(build_ok(&sandbox, &dockerfile(0), &[])));
    let mut moments = Moments::new();
    for round in 1..=ROUNDS {
        sandbox.write("context/Dockerfile", dockerfile(round));
        kill_after(
            &sandbox,
            &["build", "-q", "-t", "killed", "context"],
            moments.next(whole),
        );
    }
    let log = build_ok(&sandbox, &dockerfile(ROUNDS + 1), &[]);
    assert!(log.contains("DONE"), "{log}");
    let one = sandbox.ok(["run", "--rm", "--network", "none", "app", "cat", "/one"]);
    assert_eq!(one, format!("{}\n", ROUNDS + 1));
    let nothing_left = || sandbox.leftovers().is_empty().then_some(());
    wait_for(
        &format!("no leftovers: {:?}", sandbox.leftovers()),
        10,
        nothing_left,
    );
}

#[test]
fn a_killed_load_leaves_a_working_store() {
    needs!(root, overlay);
    let archive = basekit_archive("busybox");
    let whole = time(|| drop(sandbox().ok(["load", "-i", archive.as_str()])));
    let sandbox = sandbox();
    let mut moments = Moments::new();
    for _ in 0..ROUNDS {
        kill_after(&sandbox, &["load", "-i", archive.as_str()], moments.next(whole));
        let listed = sandbox.run(["images", "-q"]);
        assert_eq!(listed.code, 0, "{listed}");
    }
    sandbox.ok(["load", "-i", archive.as_str()]);
    build_ok(&sandbox, "FROM busybox\nRUN echo works\n", &[]);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_killed_run_is_cleaned_up_by_the_next_command() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let mut moments = Moments::new();
    for round in 0..ROUNDS / 2 {
        let name = format!("box{round}");
        kill_after(
            &sandbox,
            &["run", "--name", &name, "busybox", "sleep", "0.1"],
            moments.next(Duration::from_millis(400)),
        );
    }
    let ids = sandbox.ok(["ps", "-aq"]);
    for id in ids.lines() {
        sandbox.ok(["rm", "-f", id]);
    }
    assert_eq!(sandbox.ok(["run", "--rm", "busybox", "echo", "works"]), "works\n");
    let nothing_left = || sandbox.leftovers().is_empty().then_some(());
    wait_for(
        &format!("no leftovers: {:?}", sandbox.leftovers()),
        10,
        nothing_left,
    );
}

#[test]
fn a_build_killed_in_run_takes_the_step_with_it() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile =
        "FROM busybox\nRUN --mount=type=cache,target=/cache touch /cache/x; echo begun; sleep 1000\n";
    sandbox.write("context/Dockerfile", dockerfile);
    let mut moments = Moments::new();
    for _ in 0..4 {
        let delay = moments.next(Duration::from_millis(50));
        assert!(kill_after_sign(&sandbox, " begun", delay));
    }
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/cache ls /cache\n";
    assert_works(&sandbox, dockerfile);
}

#[test]
fn a_build_killed_in_copy_leaves_nothing_half_copied() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    for number in 0..300 {
        sandbox.write(
            &format!("context/d{}/f{number}", number % 7),
            vec![7; number * 100],
        );
    }
    sandbox.write("context/big", vec![1; 8 << 20]);
    let dockerfile = "FROM busybox\nCOPY . /copied\n";
    let whole = time(|| drop(build_ok(&sandbox, dockerfile, &[])));
    let mut moments = Moments::new();
    for _ in 0..6 {
        kill_after_sign(&sandbox, "COPY . /copied", moments.next(whole));
    }
    assert_works(&sandbox, dockerfile);
    let count = "find /copied -type f | wc -l; wc -c < /copied/big; wc -c < /copied/d5/f299";
    let counted = sandbox.ok(["run", "--rm", "--network", "none", "app", "sh", "-c", count]);
    assert_eq!(counted, "302\n8388608\n29900\n");
}

#[test]
fn a_build_killed_in_a_commit_leaves_nothing_half_committed() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    // What comes after the last line of output is the commit: hashing, renaming, the row.
    let dockerfile = "FROM busybox\nRUN for i in $(seq 300); do echo $i > /f$i; done; head -c 8000000 /dev/zero > /big; echo written\n";
    let whole = time(|| drop(build_ok(&sandbox, dockerfile, &[])));
    let mut moments = Moments::new();
    for _ in 0..6 {
        assert!(kill_after_sign(&sandbox, " written", moments.next(whole / 2)));
    }
    assert_works(&sandbox, dockerfile);
    let counted = sandbox.ok([
        "run",
        "--rm",
        "--network",
        "none",
        "app",
        "sh",
        "-c",
        "ls /f* | wc -l; cat /f300",
    ]);
    assert_eq!(counted, "300\n300\n");
}
