//! Containers: exit codes, the background, limits, what they see.

use std::process::Stdio;

use plimsoll_testkit::{Outcome, Sandbox, needs};
use serde_json::json;

use crate::{build_ok, inspect, wait_for, with_busybox};

/// Runs a shell command in a new container and returns its stdout.
#[track_caller]
fn shell(sandbox: &Sandbox, options: &[&str], command: &str) -> String {
    let args = ["run", "--rm"]
        .iter()
        .chain(options)
        .chain(&["busybox", "sh", "-c"])
        .copied()
        .chain([command]);
    sandbox.run(args).success(command)
}

#[test]
fn exit_codes_are_dockers() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    for (code, args) in [
        (0, &["busybox", "true"][..]),
        (3, &["busybox", "sh", "-c", "exit 3"]),
        (125, &["--memory", "lots", "busybox", "true"]),
        (125, &["--no-such-flag", "busybox"]),
        (126, &["busybox", "/etc"]),
        (127, &["busybox", "/no/such/program"]),
        (127, &["busybox", "no-such-program"]),
        (137, &["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]),
    ] {
        let outcome = sandbox.run(["run", "--rm"].iter().chain(args));
        assert_eq!(outcome.code, code, "{args:?}\n{outcome}");
    }
    assert_eq!(sandbox.ok(["ps", "-aq"]), "", "--rm leaves nothing");
}

#[test]
fn streams_are_kept_apart() {
    needs!(root, overlay);
    let outcome = with_busybox().run(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn stdin_reaches_the_program_when_asked_for() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    assert_eq!(
        sandbox
            .run_with_input(["run", "--rm", "-i", "busybox", "cat"], b"through\n")
            .stdout,
        "through\n"
    );
    let big = vec![b'x'; 3 << 20];
    assert_eq!(
        sandbox
            .run_with_input(["run", "--rm", "-i", "busybox", "wc", "-c"], &big)
            .stdout
            .trim(),
        "3145728"
    );
    assert_eq!(
        sandbox
            .run_with_input(["run", "--rm", "busybox", "cat"], b"not asked for")
            .stdout,
        ""
    );
}

#[test]
fn a_container_in_the_background() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let id = sandbox.ok([
        "run",
        "-d",
        "--name",
        "web",
        "-e",
        "GREETING=hi",
        "busybox",
        "sh",
        "-c",
        "echo $GREETING; sleep 100",
    ]);
    let id = id.trim();
    assert_eq!(id.len(), 64);
    wait_for("its output", 10, || {
        (sandbox.ok(["logs", "web"]) == "hi\n").then_some(())
    });
    assert_eq!(
        sandbox.ok(["ps", "--format", "{{.Names}} {{.Image}} {{.ID}}"]),
        format!("web busybox {}\n", &id[..12])
    );
    assert!(sandbox.ok(["ps"]).contains("Up "));
    let state = inspect(&sandbox, "web");
    assert_eq!(
        (&state["State"]["Status"], &state["State"]["Running"]),
        (&json!("running"), &json!(true))
    );
    assert_eq!((&state["Id"], &state["Name"]), (&json!(id), &json!("/web")));

    assert_eq!(
        sandbox.ok(["exec", "web", "sh", "-c", "echo $GREETING from $(hostname)"]),
        format!("hi from {}\n", &id[..12])
    );
    assert_eq!(sandbox.run(["exec", "web", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(sandbox.run(["exec", "web", "no-such-program"]).code, 127);
    assert_eq!(
        sandbox.run_with_input(["exec", "-i", "web", "cat"], b"in").stdout,
        "in"
    );

    assert_eq!(sandbox.ok(["stop", "-t", "0", "web"]), "web\n");
    assert_eq!(sandbox.ok(["ps", "-q"]), "");
    assert_eq!(inspect(&sandbox, "web")["State"]["ExitCode"], 137);
    assert!(sandbox.ok(["ps", "-a"]).contains("Exited (137)"));
    sandbox.fails(1, ["exec", "web", "true"]);
    assert_eq!(sandbox.ok(["rm", "web"]), "web\n");
    sandbox.fails(1, ["inspect", "web"]);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_name_is_taken_once() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["run", "-d", "--name", "web", "busybox", "sleep", "100"]);
    let stderr = sandbox.fails(125, ["run", "-d", "--name", "web", "busybox", "true"]);
    assert!(stderr.contains("web"), "{stderr}");
    let stderr = sandbox.fails(1, ["rm", "web"]);
    assert!(stderr.contains("running"), "{stderr}");
    sandbox.ok(["rm", "-f", "web"]);
}

#[test]
fn kill_sends_signals() {
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
        "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.1; done",
    ]);
    wait_for("the trap", 10, || {
        sandbox.ok(["logs", "box"]).contains("ready").then_some(())
    });
    sandbox.ok(["kill", "-s", "USR1", "box"]);
    wait_for("its end", 10, || {
        (inspect(&sandbox, "box")["State"]["Status"] == "exited").then_some(())
    });
    assert_eq!(inspect(&sandbox, "box")["State"]["ExitCode"], 5);
    assert!(sandbox.ok(["logs", "box"]).ends_with("got\n"));
}

#[test]
fn stop_uses_the_stop_signal_first() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        "FROM busybox\nSTOPSIGNAL SIGINT\nCMD trap 'exit 42' INT; echo ready; while :; do sleep 0.1; done\n",
        &[],
    );
    sandbox.ok(["run", "-d", "--name", "box", "app"]);
    wait_for("the trap", 10, || {
        sandbox.ok(["logs", "box"]).contains("ready").then_some(())
    });
    sandbox.ok(["stop", "box"]);
    assert_eq!(inspect(&sandbox, "box")["State"]["ExitCode"], 42);
}

#[test]
fn logs_follow_until_the_end() {
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
        "for i in 1 2 3; do echo $i; sleep 0.2; done; echo err >&2",
    ]);
    let followed = sandbox.run(["logs", "-f", "box"]);
    assert_eq!(
        (followed.stdout.as_str(), followed.stderr.as_str()),
        ("1\n2\n3\n", "err\n")
    );
}

#[test]
fn a_read_only_root_with_tmpfs() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let out = shell(
        &sandbox,
        &["--read-only", "--tmpfs", "/scratch:size=1m,mode=1777"],
        "touch /x 2>/dev/null || echo refused; touch /scratch/y && df -k /scratch | tail -1 | awk '{print $2}'",
    );
    assert_eq!(out, "refused\n1024\n");
}

#[test]
fn limits_are_seen_inside() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let limit =
        "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes";
    assert_eq!(shell(&sandbox, &["-m", "64m"], limit), "67108864\n");
    let cpu = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us";
    assert!(shell(&sandbox, &["--cpus", "0.5"], cpu).starts_with("50000"));
}

#[test]
fn running_out_of_memory_is_said() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.run([
        "run",
        "--name",
        "box",
        "-m",
        "16m",
        "busybox",
        "sh",
        "-c",
        "x=a; while :; do x=$x$x; done",
    ]);
    let state = inspect(&sandbox, "box")["State"].clone();
    assert_eq!(
        (&state["OOMKilled"], &state["ExitCode"]),
        (&json!(true), &json!(137)),
        "{state}"
    );
}

#[test]
fn capabilities_and_seccomp_are_dockers() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let effective = "grep CapEff /proc/self/status | cut -f2; grep ^Seccomp: /proc/self/status | cut -f2";
    assert_eq!(shell(&sandbox, &[], effective), "00000000a80425fb\n2\n");
    assert_eq!(
        shell(&sandbox, &["--cap-drop", "ALL"], effective),
        "0000000000000000\n2\n"
    );
    assert_eq!(
        shell(
            &sandbox,
            &["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"],
            effective
        ),
        "0000000000000400\n2\n"
    );
    // A new user namespace is what the filter refuses without CAP_SYS_ADMIN.
    assert_eq!(
        shell(&sandbox, &[], "unshare -U true 2>/dev/null || echo refused"),
        "refused\n"
    );
}

#[test]
fn users_by_number_and_name() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    assert_eq!(
        shell(&sandbox, &["--user", "1000:1001"], "id -u; id -g"),
        "1000\n1001\n"
    );
    build_ok(
        &sandbox,
        "FROM busybox\nRUN echo 'app:x:77:88::/home/app:/bin/sh' >> /etc/passwd && echo 'app:x:88:' >> /etc/group\nUSER app\n",
        &[],
    );
    assert_eq!(
        sandbox.ok(["run", "--rm", "app", "sh", "-c", "id -u; id -g; echo $HOME"]),
        "77\n88\n/home/app\n"
    );
    let stderr = sandbox.fails(125, ["run", "--rm", "--user", "nobody-here", "busybox", "true"]);
    assert!(stderr.contains("nobody-here"), "{stderr}");
}

#[test]
fn binds_and_volumes() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("shared/in", "from the host\n");
    let shared = sandbox.path("work/shared");
    let bind = format!("{shared}:/shared");
    assert_eq!(
        shell(
            &sandbox,
            &["-v", &bind],
            "cat /shared/in; echo back > /shared/out"
        ),
        "from the host\n"
    );
    assert_eq!(std::fs::read_to_string(shared.join("out")).unwrap(), "back\n");
    let read_only = format!("{shared}:/shared:ro");
    assert_eq!(
        shell(
            &sandbox,
            &["-v", &read_only],
            "touch /shared/x 2>/dev/null || echo refused"
        ),
        "refused\n"
    );
    shell(&sandbox, &["-v", "data:/data"], "echo kept > /data/x");
    assert_eq!(shell(&sandbox, &["-v", "data:/data"], "cat /data/x"), "kept\n");
    build_ok(
        &sandbox,
        "FROM busybox\nRUN mkdir /data && echo seed > /data/s\nVOLUME /data\n",
        &[],
    );
    assert_eq!(
        sandbox.ok(["run", "--rm", "app", "cat", "/data/s"]),
        "seed\n",
        "a new volume starts with the image's files"
    );
}

#[test]
fn entrypoint_workdir_and_environment() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        "FROM busybox\nENV A=image B=image\nWORKDIR /srv\nENTRYPOINT [\"echo\", \"entry\"]\nCMD [\"default\"]\n",
        &[],
    );
    assert_eq!(sandbox.ok(["run", "--rm", "app"]), "entry default\n");
    assert_eq!(sandbox.ok(["run", "--rm", "app", "given"]), "entry given\n");
    assert_eq!(
        sandbox.ok(["run", "--rm", "--entrypoint", "pwd", "app"]),
        "/srv\n"
    );
    assert_eq!(
        sandbox.ok(["run", "--rm", "-w", "/made/new", "--entrypoint", "pwd", "app"]),
        "/made/new\n"
    );
    assert_eq!(
        sandbox.ok([
            "run",
            "--rm",
            "-e",
            "A=flag",
            "--entrypoint",
            "sh",
            "app",
            "-c",
            "echo $A $B"
        ]),
        "flag image\n"
    );
}

#[test]
fn the_foreground_gives_signals_on() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let mut command = sandbox.command([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "trap 'echo term; exit 6' TERM; echo ready; while :; do sleep 0.1; done",
    ]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
    let outcome = Outcome::from(child.wait_with_output().unwrap());
    assert_eq!((outcome.code, rest.as_str()), (6, "term\n"), "{outcome}");
}

#[test]
fn a_killed_shim_takes_its_container_along() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let pid = inspect(&sandbox, "box")["State"]["Pid"].as_i64().unwrap();
    let shim = parent_of(pid).expect("the container's init has a parent");
    std::process::Command::new("kill")
        .args(["-9", &shim.to_string()])
        .status()
        .unwrap();
    wait_for("the container's death", 10, || {
        parent_of(pid).is_none().then_some(())
    });
    assert_eq!(sandbox.ok(["ps", "-q"]), "", "the next command sees it");
    assert_ne!(inspect(&sandbox, "box")["State"]["Status"], "running");
    sandbox.ok(["rm", "box"]);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

fn parent_of(pid: i64) -> Option<i64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    field("State:").filter(|state| !state.starts_with('Z'))?;
    field("PPid:")?.parse().ok()
}

#[test]
fn a_root_with_a_long_path_works() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let long = sandbox.path("root-".to_owned() + &"x".repeat(200 - sandbox.path("root-").as_str().len()));
    let archive = plimsoll_testkit::basekit_archive("busybox");
    sandbox.ok(["--root", long.as_str(), "load", "-i", archive.as_str()]);
    sandbox.ok([
        "--root",
        long.as_str(),
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sleep",
        "100",
    ]);
    assert_eq!(
        sandbox.ok(["--root", long.as_str(), "exec", "box", "echo", "ok"]),
        "ok\n"
    );
    sandbox.ok(["--root", long.as_str(), "system", "reset", "-f"]);
    assert!(!long.exists());
}

/// What Docker 28 says of the same commands.
#[test]
fn inspect_tells_who_was_attached_and_what_is_empty() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let format = "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}} {{.Config.OpenStdin}} {{.Config.StdinOnce}}";
    for (options, expected) in [
        (&["run"][..], "false true true false false"),
        (&["run", "-i"], "true true true true true"),
        (&["run", "-d"], "false false false false false"),
        (&["run", "-di"], "false false false true false"),
        (&["create"], "false true true false false"),
        (&["create", "-i"], "true true true true true"),
        (&["create", "-a", "stdout"], "false true false false false"),
    ] {
        let args = options
            .iter()
            .copied()
            .chain(["--name", "box", "busybox", "true"]);
        sandbox.run(args).success("the container");
        assert_eq!(
            sandbox.ok(["inspect", "-f", format, "box"]).trim(),
            expected,
            "{options:?}"
        );
        sandbox.ok(["rm", "-f", "box"]);
    }
    sandbox.ok(["create", "--name", "box", "busybox", "true"]);
    for (template, expected) in [
        (
            "{{.Config.StopTimeout}} {{json .Config.StopTimeout}}",
            "<nil> null",
        ),
        (
            "{{.Config.Entrypoint}} {{.Config.Volumes}} {{.Config.ExposedPorts}}",
            "[] map[] map[]",
        ),
        (
            "{{.Config.OnBuild}} {{.Config.Shell}} {{.Config.Healthcheck}}",
            "[] [] <nil>",
        ),
        (
            "{{.HostConfig.Binds}} {{.HostConfig.Links}} {{.HostConfig.Tmpfs}} {{.HostConfig.CapAdd}}",
            "[] [] map[] []",
        ),
        (
            "{{.ExecIDs}} {{.Mounts}} {{.State.Health}} {{.HostConfig.PidsLimit}}",
            "[] [] <nil> <nil>",
        ),
        (
            "{{json .Config.Entrypoint}} {{len .Config.Entrypoint}} {{join .Config.Entrypoint \",\"}}",
            "null 0",
        ),
    ] {
        assert_eq!(
            sandbox.ok(["inspect", "-f", template, "box"]).trim(),
            expected,
            "{template}"
        );
    }
    assert!(!sandbox.ok(["inspect", "box"]).contains("StopTimeout"));
    sandbox.ok([
        "create",
        "--name",
        "patient",
        "--stop-timeout",
        "3",
        "busybox",
        "true",
    ]);
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{.Config.StopTimeout}}", "patient"]),
        "3\n"
    );
}
