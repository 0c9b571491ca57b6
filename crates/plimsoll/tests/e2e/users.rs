//! Containers with users of their own (`--userns`): what the host sees of them, and what of theirs stays on disk.
//!
//! What they are like from inside is in the table of `inside`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::{Command, Stdio};

use plimsoll_testkit::{Sandbox, needs};

use crate::{wait_for, with_busybox};

const MAP: &str = "100000:200000";

/// A sandbox with a container that runs under [`MAP`].
fn with_container(options: &[&str]) -> Sandbox {
    let sandbox = with_busybox();
    let run = ["run", "-d", "--name", "up", "--userns", MAP];
    let program = [
        "busybox",
        "sh",
        "-c",
        "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done",
    ];
    sandbox
        .run(run.iter().chain(options).chain(&program))
        .success("a container with users of its own");
    wait_for("the trap", 10, || {
        (sandbox.ok(["logs", "up"]) == "up\n").then_some(())
    });
    sandbox
}

/// What a command prints in the running container.
#[track_caller]
fn shell(sandbox: &Sandbox, command: &str) -> String {
    sandbox.ok(["exec", "up", "sh", "-c", command])
}

/// `UID/GID NAME` of the entries of an archive that a command of ours writes to standard output.
fn owners<const N: usize>(sandbox: &Sandbox, args: [&str; N], only: &str) -> Vec<String> {
    let mut ours = sandbox.command(args).stdout(Stdio::piped()).spawn().unwrap();
    let tar = Command::new("tar")
        .args(["--numeric-owner", "-tvf", "-"])
        .stdin(ours.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(ours.wait().unwrap().success() && tar.status.success(), "{args:?}");
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        format!("{} {}", fields[1], fields[5])
    };
    let text = String::from_utf8(tar.stdout).unwrap();
    text.lines()
        .map(line)
        .filter(|line| line.contains(only))
        .collect()
}

fn status(pid: &str, field: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn root_inside_is_somebody_else_outside() {
    needs!(root, overlay);
    let sandbox = with_container(&[]);
    let pid = sandbox.ok(["inspect", "-f", "{{.State.Pid}}", "up"]);
    let pid = pid.trim();
    assert_eq!(status(pid, "Uid:"), [100_000; 4]);
    assert_eq!(status(pid, "Gid:"), [200_000; 4]);
    assert_eq!(status(pid, "Groups:"), [200_000]);
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(namespace(pid), namespace("self"));
    // Further processes are in the same one, as whoever they are to be.
    let theirs = namespace(pid).to_string_lossy().into_owned();
    let look = "readlink /proc/self/ns/user; readlink /proc/1/ns/user; id -u; grep CapEff /proc/self/status | cut -f2";
    let said = shell(&sandbox, look);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said, [&theirs, &theirs, "0", "00000000a80425fb"]);
    let user = sandbox.ok([
        "exec",
        "-u",
        "1000:7",
        "up",
        "sh",
        "-c",
        "id -u; id -g; echo x > /dev/stdout",
    ]);
    assert_eq!(user, "1000\n7\nx\n");
    let all = sandbox.ok([
        "exec",
        "--privileged",
        "up",
        "sh",
        "-c",
        "mknod /disk b 7 0 2>&1; ls /disk 2>&1; true",
    ]);
    assert!(
        all.contains("Operation not permitted") && all.contains("No such file"),
        "{all}"
    );
    let refused = sandbox.fails(125, ["exec", "-u", "70000", "up", "true"]);
    assert!(
        refused.contains("user 70000 is not in the container's map of users"),
        "{refused}"
    );
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{.HostConfig.UsernsMode}}", "up"]),
        format!("{MAP}\n")
    );
    // The same again after it was stopped.
    sandbox.ok(["stop", "-t", "10", "up"]);
    assert_eq!(sandbox.ok(["inspect", "-f", "{{.State.ExitCode}}", "up"]), "5\n");
    sandbox.ok(["start", "up"]);
    assert_eq!(
        shell(&sandbox, "cat /proc/self/uid_map")
            .split_whitespace()
            .nth(1),
        Some("100000")
    );
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn some_of_the_hosts_users_are_the_same_inside() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let maps = [
        "--uidmap",
        "0:100000:1000",
        "--uidmap",
        "1000:1000",
        "--gidmap",
        "0:100000:2000",
    ];
    let run = ["run", "-d", "--name", "up", "--user", "1000:7"];
    let container = run.iter().chain(&maps).chain(&["busybox", "sleep", "600"]);
    sandbox.run(container).success("a container with two ranges");
    let pid = sandbox.ok(["inspect", "-f", "{{.State.Pid}}", "up"]);
    assert_eq!(status(pid.trim(), "Uid:"), [1000; 4]);
    assert_eq!(status(pid.trim(), "Gid:"), [100_007; 4]);
    let shown = "{{range .HostConfig.IDMappings.UidMap}}{{.}} {{end}}{{.HostConfig.IDMappings.GidMap}}";
    let shown = sandbox.ok(["inspect", "-f", shown, "up"]);
    assert_eq!(shown, "0:100000:1000 1000:1000 [0:100000:2000]\n");
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn a_terminal_of_exec_and_health_probes() {
    needs!(root, overlay);
    let health = [
        "--health-cmd",
        "test $(id -u) = 0 && test $(stat -c %u /proc/1) = 0",
        "--health-interval",
        "100ms",
    ];
    let sandbox = with_container(&health);
    let said = sandbox.ok(["exec", "-t", "up", "sh", "-c", "tty; stat -c %u:%g $(tty)"]);
    assert_eq!(said, "/dev/pts/0\r\n0:5\r\n");
    wait_for("a healthy container", 10, || {
        let health = sandbox.ok(["inspect", "-f", "{{.State.Health.Status}}", "up"]);
        (health == "healthy\n").then_some(())
    });
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn what_it_writes_belongs_to_root_on_disk() {
    needs!(root, overlay);
    let sandbox = with_container(&[]);
    shell(
        &sandbox,
        "mkdir /made && echo one > /made/one && echo two > /made/two && chown 33:44 /made/two && rm /etc/group",
    );
    let all = ["0/0 made/", "0/0 made/one", "33/44 made/two"];
    assert_eq!(owners(&sandbox, ["cp", "up:/made", "-"], "made"), all);
    assert_eq!(owners(&sandbox, ["export", "up"], "made"), all);
    assert_eq!(
        sandbox.ok(["diff", "up"]),
        "C /etc\nD /etc/group\nA /made\nA /made/one\nA /made/two\n"
    );
    // In and out while it runs.
    let file = sandbox.write("theirs", "from outside\n");
    chown(file.as_std_path(), Some(5), Some(6)).unwrap();
    sandbox.ok(["cp", file.as_str(), "up:/made/theirs"]);
    assert_eq!(
        shell(&sandbox, "stat -c %u:%g /made/theirs; cat /made/theirs"),
        "5:6\nfrom outside\n"
    );
    let out = sandbox.path("out");
    sandbox.ok(["cp", "-a", "up:/made/two", out.as_str()]);
    let facts = fs::metadata(&out).unwrap();
    assert_eq!((facts.uid(), facts.gid()), (33, 44));
    // Made into an image, it is one for containers of every kind.
    sandbox.ok(["commit", "up", "made"]);
    let look = "stat -c %u:%g /made/one /made/two";
    for userns in ["host", MAP, "300000:300000"] {
        let said = sandbox.ok([
            "run",
            "--rm",
            "--network",
            "none",
            "--userns",
            userns,
            "made",
            "sh",
            "-c",
            look,
        ]);
        assert_eq!(said, "0:0\n33:44\n", "{userns}");
    }
    sandbox.ok(["stop", "-t", "10", "up"]);
    assert_eq!(
        owners(&sandbox, ["cp", "up:/made/two", "-"], "two"),
        ["33/44 two"]
    );
    sandbox.ok(["rm", "up"]);
}

#[test]
fn volumes_are_its_own_and_binds_the_hosts() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let (closed, open) = (sandbox.path("closed"), sandbox.path("open"));
    for (folder, owner) in [(&closed, 0), (&open, 100_007)] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "host\n").unwrap();
        for path in [folder.clone(), folder.join("file")] {
            chown(path.as_std_path(), Some(owner), Some(owner)).unwrap();
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (closed_mount, open_mount) = (format!("{closed}:/closed"), format!("{open}:/open"));
    let run = |userns: &str, user: &str, script: &str| {
        let script = format!("exec 2>&1; {script}");
        let args = [
            "run",
            "--rm",
            "--network",
            "none",
            "--userns",
            userns,
            "--user",
            user,
        ];
        let mounts = [
            "-v",
            "data:/data",
            "-v",
            "filled:/etc",
            "-v",
            &closed_mount,
            "-v",
            &open_mount,
        ];
        let outcome = sandbox.run(
            args.iter()
                .chain(&mounts)
                .chain(&["busybox", "sh", "-c", &script]),
        );
        outcome.stdout
    };
    let volume = "echo x > /data/root; chown 5:6 /data/root; stat -c %u:%g /data /data/root /etc/passwd";
    assert_eq!(run(MAP, "0", volume), "0:0\n5:6\n0:0\n");
    assert_eq!(run("host", "0", "stat -c %u:%g /data /data/root"), "0:0\n5:6\n");
    assert_eq!(
        run("300000:300000", "5", "echo y >> /data/root && cat /data/root"),
        "x\ny\n"
    );
    // What is nobody's is as closed as the host says, to root of the container as to anybody.
    let bind = "stat -c %u:%g /closed/file; cat /closed/file; echo x > /closed/file; touch /closed/new; chown 0 /closed/file";
    assert_eq!(
        run(MAP, "0", bind),
        "65534:65534\nhost\nsh: can't create /closed/file: Permission denied\ntouch: /closed/new: Permission denied\n\
         chown: /closed/file: Operation not permitted\n"
    );
    assert_eq!(
        run(
            MAP,
            "7",
            "stat -c %u /open/file; touch /open/new && stat -c %u /open/new"
        ),
        "7\n7\n"
    );
    let made = fs::metadata(open.join("new")).unwrap();
    assert_eq!(
        (
            made.uid(),
            fs::read_to_string(closed.join("file")).unwrap().as_str()
        ),
        (100_007, "host\n")
    );
}

#[test]
fn it_has_a_network_like_any_other() {
    needs!(root, overlay);
    let sandbox = with_container(&["-p", "127.0.0.1::80"]);
    shell(
        &sandbox,
        "mkdir /www && echo served > /www/index.html && httpd -p 80 -h /www",
    );
    let port = sandbox.ok(["port", "up", "80"]);
    let url = format!("http://{}/", port.trim());
    let served = Command::new("curl")
        .args(["-s", "--retry", "5", "--retry-connrefused", &url])
        .output();
    assert_eq!(String::from_utf8(served.unwrap().stdout).unwrap(), "served\n");
    shell(
        &sandbox,
        "echo 192.0.2.1 elsewhere >> /etc/hosts && grep elsewhere /etc/hosts",
    );
    sandbox.ok(["rm", "-f", "up"]);
}

/// First user and group of the host that a running container has.
fn range_of(sandbox: &Sandbox, container: &str) -> (u32, u32) {
    let first = |kind: &str| {
        let text = sandbox.ok(["exec", container, "cat", &format!("/proc/self/{kind}_map")]);
        let fields: Vec<u32> = text.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!((fields[0], fields[2], fields.len()), (0, 65_536, 3), "{text}");
        fields[1]
    };
    (first("uid"), first("gid"))
}

#[test]
fn every_container_with_automatic_users_has_its_own() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let run = |name: &str| {
        sandbox.ok([
            "run", "-d", "--name", name, "--userns", "auto", "busybox", "sleep", "600",
        ]);
        range_of(&sandbox, name)
    };
    let ranges: Vec<_> = ["one", "two", "three"].map(run).into();
    for (place, range) in ranges.iter().enumerate() {
        assert!(range.0 >= 65_536 && range.1 >= 65_536, "{ranges:?}");
        for other in &ranges[..place] {
            assert!(
                range.0.abs_diff(other.0) >= 65_536 && range.1.abs_diff(other.1) >= 65_536,
                "{ranges:?}"
            );
        }
    }
    let pid = sandbox.ok([
        "inspect",
        "-f",
        "{{.State.Pid}} {{.HostConfig.UsernsMode}}",
        "two",
    ]);
    let (pid, mode) = pid.trim().split_once(' ').unwrap();
    assert_eq!((status(pid, "Uid:"), mode), (vec![ranges[1].0; 4], "auto"));
    // It keeps them while it is stopped, and leaves them when it goes.
    sandbox.ok(["stop", "-t", "0", "two"]);
    sandbox.ok(["rm", "-f", "one"]);
    assert_eq!(run("four"), ranges[0], "the first place is free again");
    sandbox.ok(["start", "two"]);
    assert_eq!(range_of(&sandbox, "two"), ranges[1]);
    sandbox.ok(["kill", "two"]);
    sandbox.ok(["restart", "two"]);
    assert_eq!(range_of(&sandbox, "two"), ranges[1]);
    sandbox.ok(["rm", "-f", "two", "three", "four"]);
}

#[test]
fn automatic_users_change_no_owner_anywhere() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let folder = sandbox.path("bound");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine"), "host\n").unwrap();
    chown(folder.join("mine").as_std_path(), Some(1000), Some(7)).unwrap();
    let bind = format!("{folder}:/bound");
    let settings = sandbox.write("settings.toml", "[run]\nuserns = \"auto\"\n");
    let run = |more: &[&str], script: &str| {
        let args = [
            "--settings",
            settings.as_str(),
            "run",
            "--rm",
            "--network",
            "none",
            "-v",
            "data:/data",
            "-v",
            &bind,
        ];
        let outcome = sandbox.run(args.iter().chain(more).chain(&["busybox", "sh", "-c", script]));
        outcome.success(script)
    };
    let owners = "cut -c1-22 /proc/self/uid_map | grep -c ' 0  *0'; stat -c %u:%g /data/x /bound/mine /bound/new /etc/passwd";
    let made = "touch /data/x /bound/new; chown 5:6 /data/x /bound/new; ";
    let with = run(&[], &format!("{made}{owners}; true"));
    assert_eq!(with, "0\n5:6\n1000:7\n5:6\n0:0\n");
    // As by the host's own users, who look at it now.
    assert_eq!(run(&["--userns", "host"], owners), "1\n5:6\n1000:7\n5:6\n0:0\n");
    let facts = fs::metadata(folder.join("new")).unwrap();
    assert_eq!((facts.uid(), facts.gid()), (5, 6));
    // Owners count inside as they would outside.
    let denied = run(
        &["--user", "1001"],
        "cat /bound/mine; echo x >> /bound/mine || echo denied",
    );
    assert_eq!(denied, "host\ndenied\n");
    assert_eq!(
        run(&["--user", "1000"], "echo x >> /bound/mine && cat /bound/mine"),
        "host\nx\n"
    );
}

#[test]
fn what_cannot_map_owners_is_bound_as_it_is() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let args = [
        "run",
        "--rm",
        "--network",
        "none",
        "--userns",
        "auto",
        "-v",
        "/proc/sys/kernel:/kernel:ro",
        "busybox",
    ];
    let outcome = sandbox.run(args.iter().chain(&["stat", "-c", "%u", "/kernel/hostname"]));
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "65534\n"),
        "{outcome}"
    );
    assert!(
        outcome
            .stderr
            .starts_with("WARNING: owners of `/proc/sys/kernel` are not mapped"),
        "{outcome}"
    );
}

#[test]
fn in_a_user_namespace_nobody_has_further_users() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount"])
        .arg(sandbox.program());
    command.args([
        "run",
        "--rm",
        "--network",
        "none",
        "--userns",
        "auto",
        "busybox",
        "true",
    ]);
    command
        .env_clear()
        .envs(sandbox.environment())
        .current_dir(sandbox.path("work"));
    let outcome = plimsoll_testkit::Outcome::of(&mut command);
    assert_eq!(outcome.code, 125, "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("a map of users needs root of the machine")
            && outcome.stderr.contains("--userns host"),
        "{outcome}"
    );
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}
