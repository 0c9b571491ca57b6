//! Containers over time: restart policies, pauses, limits that change, names, and who is told.

use std::path::PathBuf;

use plimsoll_testkit::{Sandbox, needs};
use serde_json::Value;

use crate::{build_ok, inspect, wait_for, with_busybox};

fn field(sandbox: &Sandbox, template: &str) -> String {
    sandbox.ok(["inspect", "-f", template, "box"]).trim().to_owned()
}

#[track_caller]
fn until(sandbox: &Sandbox, template: &str, wanted: &str) {
    wait_for(&format!("{template} = {wanted}"), 20, || {
        (field(sandbox, template) == wanted).then_some(())
    });
}

/// Waits until it was started again so often, or more often.
#[track_caller]
fn until_restarted(sandbox: &Sandbox, times: u32) {
    wait_for(&format!("{times} restarts"), 20, || {
        let count: u32 = field(sandbox, "{{.RestartCount}}").parse().expect("a number");
        (count >= times).then_some(())
    });
}

/// The supervisor of the container `box`.
fn shim(sandbox: &Sandbox) -> rustix::process::Pid {
    let id = field(sandbox, "{{.Id}}");
    let wanted = format!("shim\0{}\0", &id[..12]);
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let found = entries.map(|entry| entry.path()).find(|path: &PathBuf| {
        std::fs::read(path.join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).ends_with(&wanted))
    });
    let path = found.expect("the supervisor runs");
    let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
    rustix::process::Pid::from_raw(pid.expect("a number")).expect("a process")
}

#[test]
fn a_failing_container_is_started_again_and_then_left() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "echo try; exit 3",
    ]);
    wait_for("restarting", 10, || {
        let shown = sandbox.ok(["ps", "--format", "{{.State}} {{.Status}}"]);
        (shown.starts_with("restarting Restarting (3)") || field(&sandbox, "{{.RestartCount}}") == "2")
            .then_some(())
    });
    until(
        &sandbox,
        "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}",
        "exited 2 3",
    );
    assert_eq!(sandbox.ok(["logs", "box"]), "try\n".repeat(3));
    assert_eq!(
        field(&sandbox, "{{json .HostConfig.RestartPolicy}}"),
        r#"{"Name":"on-failure","MaximumRetryCount":2}"#
    );
    // Started by hand it counts anew.
    sandbox.ok(["start", "box"]);
    until(&sandbox, "{{.State.Status}} {{.RestartCount}}", "exited 2");
    assert_eq!(sandbox.ok(["logs", "box"]), "try\n".repeat(6));
    sandbox.ok(["rm", "box"]);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn stop_ends_a_container_that_would_be_started_again() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "-p",
        "80",
        "--restart=always",
        "busybox",
        "false",
    ]);
    let address = || field(&sandbox, "{{.NetworkSettings.IPAddress}}");
    until_restarted(&sandbox, 2);
    let before = address();
    let count: u32 = field(&sandbox, "{{.RestartCount}}").parse().expect("a number");
    until_restarted(&sandbox, count + 1);
    assert_eq!(address(), before, "it keeps its address");
    assert!(
        sandbox
            .fails(1, ["rm", "box"])
            .contains("stop the container before removing")
    );
    sandbox.ok(["stop", "box"]);
    assert_eq!(
        field(&sandbox, "{{.State.Status}} {{.State.Running}}"),
        "exited false"
    );
    sandbox.ok(["rm", "box"]);

    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--restart=unless-stopped",
        "busybox",
        "sleep",
        "100",
    ]);
    sandbox.ok(["kill", "box"]);
    until(&sandbox, "{{.State.Status}} {{.State.ExitCode}}", "exited 137");
    sandbox.ok(["start", "box"]);
    sandbox.ok(["update", "--restart", "no", "box"]);
    sandbox.ok(["rm", "-f", "box"]);
    for (policy, words) in [
        ("bogus", "unknown policy 'bogus'"),
        ("no:3", "can only be used with 'on-failure'"),
    ] {
        let error = sandbox.fails(125, ["run", "--restart", policy, "busybox", "true"]);
        assert!(error.contains(words), "{error}");
    }
    let error = sandbox.fails(125, ["run", "--rm", "--restart", "always", "busybox", "true"]);
    assert!(
        error.contains("cannot specify both --restart and --rm"),
        "{error}"
    );
}

#[test]
fn the_restart_policy_can_be_changed_while_it_runs() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let script = "trap 'exit 1' USR1; echo up; while :; do sleep 0.05; done";
    sandbox.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    wait_for("up", 10, || (sandbox.ok(["logs", "box"]) == "up\n").then_some(()));
    assert_eq!(sandbox.ok(["update", "--restart", "on-failure", "box"]), "box\n");
    sandbox.ok(["kill", "-s", "USR1", "box"]);
    until(&sandbox, "{{.State.Status}} {{.RestartCount}}", "running 1");
}

#[test]
fn a_supervisor_that_was_killed_is_replaced_by_the_next_command() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--restart=always",
        "busybox",
        "sleep",
        "100",
    ]);
    rustix::process::kill_process(shim(&sandbox), rustix::process::Signal::KILL).expect("it was there");
    wait_for("the next command starts it again", 10, || {
        sandbox.ok(["ps"]).contains("Up ").then_some(())
    });
    // Without a policy, or stopped by hand, it stays.
    sandbox.ok(["update", "--restart", "no", "box"]);
    rustix::process::kill_process(shim(&sandbox), rustix::process::Signal::KILL).expect("it was there");
    until(&sandbox, "{{.State.Status}} {{.State.ExitCode}}", "exited 137");
    assert_eq!(sandbox.ok(["ps", "-q"]), "");
}

#[test]
fn restart_keeps_a_container_that_goes_when_it_ends() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["run", "-d", "--rm", "--name", "box", "busybox", "sleep", "100"]);
    let id = field(&sandbox, "{{.Id}}");
    sandbox.ok(["restart", "-t", "0", "box"]);
    assert_eq!(
        field(&sandbox, "{{.Id}} {{.State.Status}}"),
        format!("{id} running")
    );
    sandbox.ok(["stop", "-t", "0", "box"]);
    wait_for("it goes", 10, || {
        sandbox.ok(["ps", "-aq"]).is_empty().then_some(())
    });
}

#[test]
fn a_paused_container_stands_still() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let script = "while :; do echo x; sleep 0.02; done";
    sandbox.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    let written = || sandbox.ok(["logs", "box"]).len();
    wait_for("output", 10, || (written() > 0).then_some(()));
    assert_eq!(sandbox.ok(["pause", "box"]), "box\n");
    assert!(sandbox.ok(["ps"]).contains("(Paused)"));
    assert_eq!(
        field(&sandbox, "{{.State.Status}} {{.State.Running}} {{.State.Paused}}"),
        "paused true true"
    );
    // What it wrote before may still be on its way.
    let before = wait_for("silence", 10, || {
        let before = written();
        std::thread::sleep(std::time::Duration::from_millis(300));
        (written() == before).then_some(before)
    });
    for (args, words) in [
        (
            ["exec", "box", "true"].as_slice(),
            "is paused, unpause the container before exec",
        ),
        (&["pause", "box"], "is already paused"),
        (&["attach", "box"], "You cannot attach to a paused container"),
    ] {
        let outcome = sandbox.run(args);
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(outcome.stderr.contains(words), "{outcome}");
    }
    assert_eq!(sandbox.ok(["unpause", "box"]), "box\n");
    wait_for("output", 10, || (written() > before).then_some(()));
    assert!(sandbox.fails(1, ["unpause", "box"]).contains("is not paused"));
    sandbox.ok(["pause", "box"]);
    sandbox.ok(["stop", "-t", "1", "box"]);
    assert_eq!(field(&sandbox, "{{.State.Status}}"), "exited");
}

#[test]
fn processes_and_what_they_use() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "-m",
        "64m",
        "busybox",
        "sh",
        "-c",
        "yes > /dev/null & sleep 1000",
    ]);
    let both = |line: &&str| line.ends_with("sleep 1000") || line.ends_with("yes");
    let top = wait_for("both of its programs", 10, || {
        let top = sandbox.ok(["top", "box"]);
        (top.lines().filter(both).count() == 2).then_some(top)
    });
    assert!(
        top.starts_with("UID                 PID                 PPID"),
        "{top}"
    );
    wait_for("the name of one", 10, || {
        let top = sandbox.ok(["top", "box", "-o", "pid,comm"]);
        top.lines().any(|line| line.ends_with("yes")).then_some(())
    });

    let line = sandbox.ok(["stats", "--no-stream", "--format", "json", "box"]);
    let stats: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&stats["Name"], &stats["Container"]),
        (&"box".into(), &"box".into())
    );
    assert!(
        stats["MemUsage"].as_str().expect("text").ends_with(" / 64MiB"),
        "{stats}"
    );
    let pids: u32 = stats["PIDs"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a number");
    assert!(pids >= 2, "{stats}");
    let busy: f64 = stats["CPUPerc"]
        .as_str()
        .and_then(|text| text.trim_end_matches('%').parse().ok())
        .expect("a share");
    assert!(busy > 1.0, "{stats}");

    sandbox.ok([
        "update",
        "-m",
        "32m",
        "--memory-swap",
        "64m",
        "--pids-limit",
        "50",
        "box",
    ]);
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}";
    assert_eq!(field(&sandbox, limits), "33554432 50");
    let shown = sandbox.ok(["stats", "--no-stream", "--format", "{{.MemUsage}}"]);
    assert!(shown.trim().ends_with(" / 32MiB"), "{shown}");
    assert!(
        sandbox
            .fails(1, ["update", "box"])
            .contains("you must provide one or more flags")
    );
    let error = sandbox.fails(1, ["update", "-m", "100m", "box"]);
    assert!(error.contains("already set memoryswap limit"), "{error}");

    sandbox.ok(["stop", "-t", "0", "box"]);
    assert!(sandbox.fails(1, ["top", "box"]).contains("is not running"));
    let table = sandbox.ok(["stats", "--no-stream", "-a"]);
    assert!(table.starts_with("CONTAINER ID   NAME      CPU %"), "{table}");
    assert!(table.contains("0B / 0B"), "{table}");
}

#[test]
fn another_name() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["run", "-d", "--name", "box", "busybox", "sleep", "100"]);
    sandbox.ok(["create", "--name", "other", "busybox"]);
    assert_eq!(sandbox.ok(["rename", "box", "web"]), "");
    assert_eq!(inspect(&sandbox, "web")["Name"], "/web");
    sandbox.fails(1, ["inspect", "box"]);
    assert!(
        sandbox
            .fails(1, ["rename", "web", "other"])
            .contains("already in use")
    );
    assert!(sandbox.fails(1, ["rename", "web", "web"]).contains("same name"));
    sandbox.ok(["create", "--name", "box", "busybox"]);
}

#[test]
fn a_process_that_takes_too_much_memory_is_named() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let args = [
        "run",
        "--name",
        "box",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "tail",
        "/dev/zero",
    ];
    let outcome = sandbox.run(args);
    assert_eq!(outcome.code, 137, "{outcome}");
    assert!(outcome.stderr.contains("ran out of memory"), "{outcome}");
    assert_eq!(
        field(&sandbox, "{{.State.OOMKilled}} {{.State.ExitCode}}"),
        "true 137"
    );
    let seen = sandbox.ok([
        "events",
        "--since",
        "1m",
        "--until",
        "0s",
        "--filter",
        "type=container",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        ["create", "start", "oom", "die"]
    );
}

#[test]
fn an_unhealthy_container_is_started_again_if_asked_for() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--health-cmd",
        "test -e /ok",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
        "--health-on-failure",
        "restart",
        "busybox",
        "sh",
        "-c",
        "test -e /first && touch /ok; touch /first; trap 'exit 0' TERM; while :; do sleep 0.05; done",
    ]);
    until(
        &sandbox,
        "{{.State.Health.Status}} {{.State.Status}}",
        "healthy running",
    );
    until_restarted(&sandbox, 1);
}

#[test]
fn a_probe_is_killed_with_all_it_started() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        "FROM busybox\nHEALTHCHECK --interval=100ms --timeout=300ms --retries=1 CMD sleep 4321 | cat\nCMD sleep 1000\n",
        &[],
    );
    sandbox.ok(["run", "-d", "--name", "box", "app"]);
    until(&sandbox, "{{.State.Health.Status}}", "unhealthy");
    let log = field(
        &sandbox,
        "{{(index .State.Health.Log 0).Output}} {{(index .State.Health.Log 0).ExitCode}}",
    );
    assert_eq!(log, "Health check exceeded timeout (300ms) -1");
    // Probes follow each other without overlapping, so there is one at most.
    for _ in 0..10 {
        let top = sandbox.ok(["top", "box"]);
        assert!(
            top.lines().filter(|line| line.ends_with("sleep 4321")).count() <= 1,
            "{top}"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn some_streams_only() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = sandbox.run([
        "run",
        "--rm",
        "-a",
        "stderr",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 4",
    ]);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (4, "", "err\n")
    );
    sandbox.fails(125, ["run", "-d", "-a", "stdout", "busybox", "true"]);
    sandbox.fails(125, ["run", "-a", "nothing", "busybox", "true"]);
}

#[test]
fn stopped_containers_can_be_removed_at_once() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let run = |name: &str, label: &str| {
        sandbox.ok(["run", "--name", name, "--label", label, "busybox", "true"]);
    };
    run("one", "keep=yes");
    run("two", "keep=no");
    sandbox.ok(["run", "-d", "--name", "three", "busybox", "sleep", "100"]);
    let pruned = sandbox.ok(["container", "prune", "-f", "--filter", "label!=keep=yes"]);
    assert!(
        pruned.starts_with("Deleted Containers:\n") && pruned.contains("Total reclaimed space: "),
        "{pruned}"
    );
    assert_eq!(sandbox.ok(["ps", "-a", "--format", "{{.Names}}"]), "three\none\n");
    let refused = sandbox.run_with_input(["container", "prune"], b"n\n");
    assert_eq!(refused.code, 1, "{refused}");
    assert_eq!(
        sandbox.ok(["container", "prune", "-f", "--filter", "until=1h"]),
        "Total reclaimed space: 0B\n"
    );
    sandbox.fails(1, ["container", "prune", "-f", "--filter", "nope=1"]);
}
