//! Where output goes, and reading it again.

use std::io::Read as _;
use std::process::Stdio;

use plimsoll_testkit::{Outcome, Sandbox, needs};

use crate::{wait_for, with_busybox};

fn file(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let id = sandbox.ok(["inspect", "-f", "{{.Id}}", "box"]);
    sandbox
        .root()
        .join("containers")
        .join(id.trim())
        .join(name)
        .into()
}

fn ended(sandbox: &Sandbox) {
    sandbox.ok(["wait", "box"]);
}

#[test]
fn the_file_is_dockers() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "--name",
        "box",
        "-l",
        "tier=a b",
        "-e",
        "X=1",
        "--log-opt",
        "labels=tier",
        "--log-opt",
        "env=X",
        "--log-opt",
        "tag={{.Name}}",
        "busybox",
        "sh",
        "-c",
        "printf 'a\\tb<\\n'; printf 'rest' >&2",
    ]);
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{.LogPath}}", "box"]).trim(),
        file(&sandbox, "json.log").to_str().expect("text")
    );
    let text = std::fs::read_to_string(file(&sandbox, "json.log")).expect("a log");
    let lines: Vec<_> = text.lines().collect();
    let attributes = r#""attrs":{"X":"1","tag":"box","tier":"a b"}"#;
    assert!(
        lines[0].starts_with(&format!(
            r#"{{"log":"a\u0009b\u003c\n","stream":"stdout",{attributes},"time":"2"#
        )),
        "{text}"
    );
    assert!(
        lines[1].starts_with(&format!(
            r#"{{"log":"rest","stream":"stderr",{attributes},"time":"2"#
        )),
        "{text}"
    );
    let shown = sandbox.run(["logs", "--details", "box"]);
    assert_eq!(shown.stdout, "X=1,tag=box,tier=a+b a\tb<\n");
    assert_eq!(shown.stderr, "X=1,tag=box,tier=a+b rest");
}

#[test]
fn a_rotated_log_loses_nothing_for_those_who_follow() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "-i",
        "--name",
        "box",
        "--log-opt",
        "max-size=20k",
        "--log-opt",
        "max-file=3",
        "--log-opt",
        "compress=true",
        "busybox",
        "sh",
        "-c",
        "echo here; while ! test -e /go; do sleep 0.05; done; seq 1 50000",
    ]);
    let followers: Vec<_> = (0..3)
        .map(|_| {
            let mut follower = sandbox
                .command(["logs", "-f", "box"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts");
            // From here on it is told every line.
            let mut first = [0; 5];
            let stdout = follower.stdout.as_mut().expect("a pipe was asked for");
            stdout.read_exact(&mut first).expect("a line");
            assert_eq!(&first, b"here\n");
            follower
        })
        .collect();
    sandbox.ok(["exec", "box", "touch", "/go"]);
    let all: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    let readers = followers
        .into_iter()
        .map(|follower| std::thread::spawn(|| Outcome::from(follower.wait_with_output().expect("it ends"))));
    for reader in readers.collect::<Vec<_>>() {
        let outcome = reader.join().expect("it reads");
        assert!(
            outcome.stdout == all,
            "{} bytes of {}",
            outcome.stdout.len(),
            all.len(),
        );
    }
    ended(&sandbox);
    wait_for("old files are compressed", 10, || {
        file(&sandbox, "json.log.1.gz").exists().then_some(())
    });
    assert!(!file(&sandbox, "json.log.3").exists() && !file(&sandbox, "json.log.3.gz").exists());
    let kept = sandbox.ok(["logs", "box"]);
    assert!(
        all.ends_with(&kept) && kept.len() < all.len(),
        "what is kept is the end, whole"
    );
    let tail = sandbox.ok(["logs", "-n", "3", "box"]);
    assert_eq!(tail, "49998\n49999\n50000\n");
}

#[test]
fn the_local_driver_and_none() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "--name",
        "box",
        "--log-driver",
        "local",
        "busybox",
        "sh",
        "-c",
        "echo one; echo two >&2; printf rest",
    ]);
    assert!(file(&sandbox, "local.log").exists() && !file(&sandbox, "json.log").exists());
    let shown = sandbox.run(["logs", "-n", "2", "box"]);
    assert_eq!((shown.stdout.as_str(), shown.stderr.as_str()), ("rest", "two\n"));
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{json .HostConfig.LogConfig}}", "box"]),
        "{\"Type\":\"local\",\"Config\":{}}\n"
    );
    sandbox.ok(["rm", "box"]);
    let outcome = sandbox.run([
        "run",
        "--name",
        "box",
        "--log-driver",
        "none",
        "busybox",
        "echo",
        "seen",
    ]);
    assert_eq!(outcome.stdout, "seen\n");
    assert!(
        sandbox
            .fails(1, ["logs", "box"])
            .contains("configured logging driver does not support reading")
    );
    for (args, words) in [
        (["--log-driver", "nope"], "plugin \"nope\" not found"),
        (
            ["--log-opt", "x=y"],
            "unknown log opt 'x' for json-file log driver",
        ),
    ] {
        let error = sandbox.run(["run", args[0], args[1], "busybox", "true"]);
        assert_eq!(error.code, 125, "{error}");
        assert!(error.stderr.contains(words), "{error}");
    }
}

#[test]
fn times_and_ends() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo one; sleep 1.2; echo two",
    ]);
    let stamped = sandbox.ok(["logs", "-t", "box"]);
    let times: Vec<&str> = stamped
        .lines()
        .map(|line| line.split(' ').next().expect("a time"))
        .collect();
    assert_eq!(times[1].len(), "2026-11-21T15:18:14.555310508Z".len());
    assert_eq!(sandbox.ok(["logs", "--since", times[1], "box"]), "two\n");
    assert_eq!(sandbox.ok(["logs", "--until", times[0], "box"]), "one\n");
    assert_eq!(sandbox.ok(["logs", "--since", "1h", "box"]), "one\ntwo\n");
    assert_eq!(sandbox.ok(["logs", "--until", "1h", "box"]), "");
    assert_eq!(sandbox.ok(["logs", "--tail", "0", "box"]), "");
    // Following something that has ended ends at once; with a time in the future, then.
    assert_eq!(sandbox.ok(["logs", "-f", "--tail", "1", "box"]), "two\n");
    sandbox.ok(["rm", "box"]);
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo up; sleep 100",
    ]);
    wait_for("output", 10, || {
        (sandbox.ok(["logs", "box"]) == "up\n").then_some(())
    });
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(2);
    let until = ["logs", "-f", "--until", &soon.to_string(), "box"];
    assert_eq!(sandbox.ok(until), "up\n");
    assert!(jiff::Timestamp::now() >= soon, "what comes until then is shown");
}

#[test]
fn long_lines_come_whole() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end",
    ]);
    ended(&sandbox);
    assert_eq!(
        sandbox.ok(["logs", "box"]),
        format!("{}\nend\n", "x".repeat(40_000))
    );
    let text = std::fs::read_to_string(file(&sandbox, "json.log")).expect("a log");
    let sizes: Vec<_> = text.lines().map(|line| line.matches('x').count()).collect();
    assert_eq!(sizes, [16_384, 16_384, 7_232, 0], "pieces of 16 KiB, as Docker's");
}

/// A file system of 2 MiB below the containers.
fn small_disk(sandbox: &Sandbox) -> camino::Utf8PathBuf {
    let folder = sandbox.root().join("containers");
    std::fs::create_dir_all(&folder).expect("a folder");
    mount(&["-t", "tmpfs", "-o", "size=2m", "tmpfs", folder.as_str()]);
    folder
}

fn mount(args: &[&str]) {
    assert!(
        std::process::Command::new("mount")
            .args(args)
            .status()
            .expect("mount runs")
            .success()
    );
}

#[test]
fn a_full_disk_makes_the_program_wait() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let disk = small_disk(&sandbox);
    sandbox.ok(["run", "-d", "--name", "box", "busybox", "seq", "1", "100000"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{.State.Status}}", "box"]),
        "running\n",
        "it waits"
    );
    mount(&["-o", "remount,size=64m", disk.as_str()]);
    ended(&sandbox);
    let all: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(sandbox.ok(["logs", "box"]) == all, "and nothing is lost");
}

#[test]
fn a_full_disk_does_not_hold_up_who_does_not_want_to_wait() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let disk = small_disk(&sandbox);
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--log-opt",
        "mode=non-blocking",
        "--log-opt",
        "max-buffer-size=64k",
        "busybox",
        "sh",
        "-c",
        "seq 1 100000; touch /done; sleep 1000",
    ]);
    wait_for("the program goes on", 20, || {
        (sandbox.run(["exec", "box", "test", "-e", "/done"]).code == 0).then_some(())
    });
    let outcome = sandbox.run(["logs", "box"]);
    let lost = 100_000 - outcome.stdout.lines().count();
    assert!(lost > 10_000, "{lost}");
    mount(&["-o", "remount,size=64m", disk.as_str()]);
    sandbox.ok(["stop", "-t", "0", "box"]);
    let outcome = sandbox.run(["logs", "box"]);
    let lost = 100_000 - outcome.stdout.lines().count();
    assert!(
        outcome.stderr.contains(&format!("{lost} lines were dropped")),
        "{lost}: {}",
        outcome.stderr
    );
}
