//! Hostile images and processes: what was published against runc, Docker, BuildKit and Podman, tried here.
//!
//! docs/security.md says which promise each test holds. What a container does to files by way of a command of ours is in
//! `hostile_files`.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};

use plimsoll_testkit::{Archive, Sandbox, needs};
use serde_json::json;

use crate::{build, build_ok, inspect, wait_for, with_busybox};

/// What nobody in a container may read.
const SECRET: &str = "of the host, and nobody else's";

/// An archive for ADD that holds what no RUN could make.
#[derive(Clone, Copy)]
pub(crate) enum Thing<'a> {
    Link(&'a str, &'a str),
    File(&'a str, &'a [u8]),
    /// A character device without a driver: whoever opens it gets ENXIO.
    Device(&'a str),
    Fifo(&'a str),
    Folder(&'a str),
}

pub(crate) fn archive(things: &[Thing<'_>]) -> Vec<u8> {
    use tar::EntryType;
    let mut builder = tar::Builder::new(Vec::new());
    for thing in things {
        let (name, kind, data): (&str, _, &[u8]) = match thing {
            Thing::Link(name, _) => (name, EntryType::Symlink, b""),
            Thing::File(name, data) => (name, EntryType::Regular, data),
            Thing::Device(name) => (name, EntryType::Char, b""),
            Thing::Fifo(name) => (name, EntryType::Fifo, b""),
            Thing::Folder(name) => (name, EntryType::Directory, b""),
        };
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        if let Thing::Link(_, target) = thing {
            header.set_link_name_literal(target).unwrap();
        }
        let device = matches!(thing, Thing::Device(_));
        header.set_device_major(if device { 250 } else { 0 }).unwrap();
        header.set_device_minor(if device { 77 } else { 0 }).unwrap();
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A sandbox with an image `app` of busybox, `things` and further instructions.
fn with_image(things: &[Thing<'_>], more: &str) -> Sandbox {
    let sandbox = with_busybox();
    make(&sandbox, things, more);
    sandbox
}

fn make(sandbox: &Sandbox, things: &[Thing<'_>], more: &str) {
    sandbox.write("context/evil.tar", archive(things));
    let dockerfile = format!("FROM scratch\nCOPY --from=busybox /bin /bin\nADD evil.tar /\n{more}\n");
    build_ok(sandbox, &dockerfile, &[]);
}

/// A container that runs for as long as it is left alone.
fn start(sandbox: &Sandbox, options: &[&str], script: &str) {
    let run = ["run", "-d", "--name", "up"];
    let program = ["busybox", "sh", "-c", script];
    sandbox
        .run(run.iter().chain(options).chain(&program))
        .success("a container");
}

/// What a container needs to have the host's python.
fn python() -> impl Iterator<Item = &'static str> {
    let folders = ["/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro"];
    let there = |folder: &&str| std::path::Path::new(folder.split(':').next().unwrap_or_default()).exists();
    folders
        .into_iter()
        .filter(there)
        .flat_map(|folder| ["-v", folder])
}

/// A command that is ended with the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_directory_of_the_host_is_left_open_for_anybody() {
    // CVE-2024-21626: WORKDIR and cwd by a descriptor that leaked, and programs found by one.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let secret = sandbox.write("secret", SECRET);
    start(&sandbox, &[], "sleep 1000");
    let way = format!("../../../../../../../../../..{secret}");
    for number in 3..20 {
        let folder = format!("/proc/self/fd/{number}");
        let program = format!("{folder}/../../../../../../../../../bin/cat");
        let tries = [
            vec![
                "run",
                "--rm",
                "--network",
                "none",
                "-w",
                &folder,
                "busybox",
                "cat",
                &way,
            ],
            vec!["exec", "-w", &folder, "up", "cat", &way],
            vec![
                "run",
                "--rm",
                "--network",
                "none",
                "busybox",
                &program,
                secret.as_str(),
            ],
            vec!["exec", "up", &program, secret.as_str()],
        ];
        for args in tries {
            let outcome = sandbox.run(&args);
            assert!(
                outcome.code != 0 && !outcome.stdout.contains(SECRET),
                "{args:?}\n{outcome}"
            );
        }
    }
    for number in [6, 7, 8, 9] {
        let dockerfile = format!("FROM busybox\nWORKDIR /proc/self/fd/{number}\nRUN cat {way}\n");
        let outcome = build(&sandbox, &dockerfile, &["--no-cache"]);
        assert!(outcome.code != 0 && !outcome.stderr.contains(SECRET), "{outcome}");
    }
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn nothing_of_its_maker_comes_with_a_program() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let look = "ls /proc/self/fd | tr '\\n' ' '; pwd; env | cut -d= -f1 | sort | tr '\\n' ' '; readlink /proc/self/cwd; readlink /proc/self/root";
    let expected = "0 1 2 3 /\nHOME HOSTNAME PATH PWD SHLVL /\n/\n";
    let mut command = sandbox.command(["run", "--rm", "--network", "none", "busybox", "sh", "-c", look]);
    command.env("PLIMSOLL_TEST_SECRET", SECRET);
    assert_eq!(
        plimsoll_testkit::Outcome::of(&mut command).success("run"),
        expected
    );
    start(&sandbox, &[], "sleep 1000");
    assert_eq!(sandbox.ok(["exec", "up", "sh", "-c", look]), expected);
    // Likewise for a step of a build: what it prints ends up in the image.
    let dockerfile = format!("FROM busybox\nRUN ({look}) > /said\n");
    build_ok(&sandbox, &dockerfile, &["--network", "none"]);
    let said = sandbox.ok(["run", "--rm", "--network", "none", "app", "cat", "/said"]);
    assert_eq!(said, expected);
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn our_program_is_out_of_reach_of_its_containers() {
    // CVE-2019-5736: /proc/N/exe of who is about to enter, or stays as init, kept open and written to later.
    needs!(root, overlay);
    let copy = tempfile::Builder::new()
        .prefix("plimsoll-copy-")
        .tempdir_in("/tmp")
        .unwrap();
    let program = copy.path().join("plimsoll");
    fs::copy(env!("CARGO_BIN_EXE_plimsoll"), &program).unwrap();
    let before = plimsoll_oci::Digest::of(fs::read(&program).unwrap());
    let sandbox = Sandbox::of(program.clone());
    sandbox.load("busybox");
    // While it runs it is busy; that it is on a mount that nobody writes to is seen by what else would change it.
    let hold = "exec 9< /proc/1/exe && echo held; chmod 777 /proc/self/fd/9 2>&1; touch /proc/1/exe 2>&1; \
                { : >> /proc/self/fd/9; } 2>/dev/null && echo WRITTEN; true";
    let init = [
        "run",
        "--rm",
        "--init",
        "--cap-add",
        "SYS_PTRACE",
        "--cap-add",
        "DAC_OVERRIDE",
    ];
    let outcome = sandbox.run(
        init.iter()
            .chain(&["--network", "none", "busybox", "sh", "-c", hold]),
    );
    assert!(
        outcome.stdout.starts_with("held\n")
            && outcome.stdout.matches("Read-only file system").count() == 2
            && !outcome.stdout.contains("WRITTEN"),
        "{outcome}"
    );
    // Scripts whose interpreter is whoever starts them, through the front door and as a further process.
    make(&sandbox, &[Thing::File("evil", b"#!/proc/self/exe\n")], "");
    for args in [
        &["run", "--rm", "--network", "none", "app", "/evil"][..],
        &["run", "--rm", "--network", "none", "app", "/proc/self/exe"],
    ] {
        assert_ne!(sandbox.run(args).code, 0, "{args:?}");
    }
    let watch = "while :; do for p in /proc/[0-9]*; do \
                 case \"$(readlink $p/exe)\" in /bin/*|'') ;; *) echo seen; { : >> $p/exe; } && echo WRITTEN;; esac; done; done";
    start(&sandbox, &["--network", "none"], watch);
    for _ in 0..10 {
        assert_ne!(sandbox.run(["exec", "up", "/proc/self/exe"]).code, 0);
        sandbox.ok(["exec", "up", "true"]);
    }
    let said = sandbox.ok(["logs", "up"]);
    assert!(!said.contains("WRITTEN"), "{said}");
    assert_eq!(plimsoll_oci::Digest::of(fs::read(&program).unwrap()), before);
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn who_enters_a_container_cannot_be_looked_into() {
    // CVE-2016-9962: descriptors, root and memory of a process on its way in.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let secret = sandbox.write("secret", SECRET);
    let look = format!(
        "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; \
         cat $p/root{secret} $p/cwd{secret} 2>/dev/null && echo OUT; \
         for f in $p/fd/*; do cat $f/../../../../../..{secret} 2>/dev/null && echo OUT; done; done; done"
    );
    start(&sandbox, &["--network", "none"], &look);
    for _ in 0..25 {
        sandbox.ok(["exec", "up", "true"]);
    }
    let said = sandbox.ok(["logs", "up"]);
    assert!(!said.contains(SECRET) && !said.contains("OUT"), "{said}");
    sandbox.ok(["rm", "-f", "up"]);
    // Among the host's processes, too.
    let outcome = sandbox.run([
        "run", "--rm", "--network", "none", "--pid", "host", "busybox", "sh", "-c",
        "ls /proc/1/root/ /proc/1/cwd/ 2>&1; cat /proc/1/environ 2>&1; for p in /proc/[0-9]*; do cat $p/environ 2>/dev/null; done | grep -c PLIMSOLL_ROOT",
    ]);
    assert_eq!(
        outcome.stdout.matches("Permission denied").count(),
        3,
        "{outcome}"
    );
    assert!(outcome.stdout.ends_with("\n0\n"), "{outcome}");
}

#[test]
fn what_commands_a_container_is_not_in_it() {
    // CVE-2020-15257: supervisors that listened in the network's own name space.
    needs!(root, overlay);
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = with_busybox();
    start(&sandbox, &["--network", "host"], "sleep 1000");
    let sockets = sandbox.ok(["exec", "up", "cat", "/proc/net/unix"]);
    let id = inspect(&sandbox, "up")["Id"].as_str().unwrap().to_owned();
    let abstracts: Vec<&str> = sockets.lines().filter(|line| line.contains(" @")).collect();
    assert!(
        !abstracts
            .iter()
            .any(|line| line.contains("plimsoll") || line.contains("shim") || line.contains(&id[..12])),
        "{abstracts:?}"
    );
    let found = sandbox.ok([
        "exec",
        "up",
        "sh",
        "-c",
        "find / -xdev -type s; find /run /var -name 'shim*'; true",
    ]);
    assert_eq!(found, "");
    // Given the whole host to look at, only root of the host gets to the socket, or to any container's files.
    let folder = sandbox.root().join("run/containers").join(&id[..12]);
    let folder = if folder.exists() {
        folder
    } else {
        panic!("{folder}")
    };
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let all = format!("{}:/host", sandbox.path(""));
    let outcome = sandbox.run([
        "run", "--rm", "--network", "none", "--user", "1000", "-v", &all, "busybox", "sh", "-c",
        "find /host -type s; find /host -name spec.json; find /host -name meta.db | while read f; do cat $f; done | wc -c",
    ]);
    assert_eq!(outcome.stdout, "0\n", "{outcome}");
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn proc_is_the_kernels() {
    // CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2025-52881: a /proc of the image's making, or links to it.
    needs!(root, overlay);
    let sandbox = with_image(
        &[Thing::Folder("proc"), Thing::File("proc/version", b"fake")],
        "VOLUME /proc",
    );
    let refused = |sandbox: &Sandbox, options: &[&str], wanted: &str| {
        // The host's network needs no kernel parameter to be set there.
        let run = ["run", "--rm", "--network", "host"];
        let outcome = sandbox.run(run.iter().chain(options).chain(&["app", "cat", "/proc/version"]));
        assert!(
            outcome.code == 125 && outcome.stderr.contains(wanted) && !outcome.stdout.contains("fake"),
            "{options:?}\n{outcome}"
        );
    };
    refused(&sandbox, &[], "inside /proc");
    make(&sandbox, &[Thing::Link("x", "/proc")], "VOLUME /x");
    refused(&sandbox, &[], "inside /proc");
    make(&sandbox, &[Thing::Link("x", "/proc/self/attr")], "VOLUME /x");
    refused(&sandbox, &[], "inside /proc");
    make(&sandbox, &[Thing::Link("x", "/proc/sys")], "");
    for option in [
        &["-v", "data:/x"][..],
        &["--tmpfs", "/x"],
        &["--tmpfs", "/proc"],
        &["-v", "data:/proc/sys/kernel"],
    ] {
        refused(&sandbox, option, "inside /proc");
    }
    // A link in one volume for the mount of another to follow (CVE-2021-30465).
    sandbox.ok([
        "run",
        "--rm",
        "-v",
        "first:/a",
        "app",
        "sh",
        "-c",
        "ln -s /proc/self /a/b; ln -s /proc /a/c",
    ]);
    refused(&sandbox, &["-v", "first:/a", "-v", "second:/a/b"], "inside /proc");
    refused(&sandbox, &["-v", "first:/a", "-v", "second:/a/c"], "inside /proc");
    // What the kernel's file systems are mounted on must be no link.
    for name in ["proc", "sys", "dev"] {
        make(&sandbox, &[Thing::Folder("etc"), Thing::Link(name, "/etc")], "");
        let outcome = sandbox.run(["run", "--rm", "--network", "host", "app", "true"]);
        assert!(
            outcome.code == 125 && outcome.stderr.contains("mount"),
            "{name}\n{outcome}"
        );
    }
    // Numbers of one's own are still to be had.
    let sandbox = with_busybox();
    let mine = sandbox.write("cpuinfo", "one\n");
    let mine = format!("{mine}:/proc/cpuinfo:ro");
    assert_eq!(
        sandbox.ok(["run", "--rm", "-v", &mine, "busybox", "cat", "/proc/cpuinfo"]),
        "one\n"
    );
}

#[test]
fn masks_hold_whatever_dev_is() {
    // CVE-2025-31133 and CVE-2025-52565: /dev/null and /dev/console as links, to have something else bound over a path.
    needs!(root, overlay);
    let things = [
        Thing::Folder("dev"),
        Thing::Link("dev/null", "/proc/sys/kernel/core_pattern"),
        Thing::Link("dev/console", "/proc/sys/kernel/core_pattern"),
        Thing::Link("dev/zero", "/proc/sysrq-trigger"),
    ];
    let sandbox = with_image(&things, "VOLUME /dev");
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let look = "for p in /proc/kcore /proc/keys /proc/timer_list; do [ -z \"$(cat $p 2>/dev/null | head -c 1 | tr '\\0' x)\" ] || echo SEEN $p; done; \
                echo '|/evil' > /proc/sys/kernel/core_pattern; echo '|/evil' > /dev/console; echo h > /proc/sysrq-trigger; \
                umount /proc/kcore; mount -o remount,rw /proc/sys; echo end";
    for options in [&[][..], &["-t"], &["--tmpfs", "/dev"], &["-t", "--tmpfs", "/dev"]] {
        let run = ["run", "--rm", "--network", "host"];
        let outcome = sandbox.run(run.iter().chain(options).chain(&["app", "sh", "-c", look]));
        assert!(!outcome.stdout.contains("SEEN"), "{options:?}\n{outcome}");
        assert_eq!(
            fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(),
            before,
            "{options:?}"
        );
    }
}

#[test]
fn accounts_of_an_image_are_nobodys_friend() {
    // CVE-2016-3697: a user who is called like another one's number. Files that hold, act or lead away.
    needs!(root, overlay);
    let named = Thing::File("etc/passwd", b"1000:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n");
    let groups = Thing::File("etc/group", b"7:x:0:\n");
    let sandbox = with_image(&[Thing::Folder("etc"), named, groups], "");
    let ids = ["--rm", "--network", "none", "app", "sh", "-c", "id -u; id -G"];
    for (user, expected) in [("1000", "1000\n0\n"), ("1000:7", "1000\n7\n")] {
        let outcome = sandbox.run(["run", "--user", user].iter().chain(&ids));
        assert_eq!(outcome.stdout, expected, "{user}\n{outcome}");
    }
    let secret = sandbox.write("passwd", "theirs:x:4711:4711::/:/bin/sh\n");
    let huge = vec![b'#'; 17 << 20];
    let wrong = [
        (Thing::Device("etc/passwd"), "not a regular file"),
        (Thing::Fifo("etc/passwd"), "not a regular file"),
        (Thing::Folder("etc/passwd"), "not a regular file"),
        (Thing::File("etc/passwd", &huge), "larger than"),
        (
            Thing::Link("etc/passwd", secret.as_str()),
            "unable to find user theirs",
        ),
        (
            Thing::Link("etc/passwd", "/proc/self/cwd/passwd"),
            "unable to find user theirs",
        ),
        (Thing::Link("etc/passwd", "passwd"), "unable to find user theirs"),
    ];
    for (thing, text) in wrong {
        make(&sandbox, &[Thing::Folder("etc"), thing], "");
        let outcome = sandbox.run(["run", "--user", "theirs"].iter().chain(&ids));
        assert!(
            outcome.code == 125 && outcome.stderr.contains(text),
            "{text}\n{outcome}"
        );
        let outcome = sandbox.run(["create", "--name", "up", "--user", "0", "app", "true"]);
        assert_eq!(outcome.code, 0, "{outcome}");
        sandbox.ok(["rm", "up"]);
    }
}

#[test]
fn what_would_change_the_host_is_refused() {
    // Helpers that the kernel starts on the host, keys, modules, clocks, disks: with the rights a container has by default.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hotplug /proc/sysrq-trigger \
                  /proc/sys/fs/binfmt_misc/register /proc/sys/vm/panic_on_oom /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run \
                  /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release /sys/fs/cgroup/cgroup.procs; do \
                  [ -e $f ] && { echo 0 > $f; } 2>/dev/null && echo WROTE $f; done; \
                  mkdir /m; mount -t cgroup -o memory c /m 2>/dev/null && echo MOUNTED; mount -t proc p /m 2>/dev/null && echo MOUNTED; \
                  mount --bind / /m 2>/dev/null && echo MOUNTED; \
                  unshare -m sh -c 'umount /proc/kcore && echo UNCOVERED; mount -o remount,rw,bind /proc/sys && echo WRITABLE' 2>/dev/null; \
                  unshare -Urm sh -c 'umount /proc/kcore && echo UNCOVERED; mount -o remount,rw,bind /proc/sys && echo WRITABLE' 2>/dev/null; nsenter -t 1 -m true 2>/dev/null && echo ENTERED; \
                  mknod /d b 8 0 && cat /d 2>/dev/null && echo READ; date -s 2001-01-01 2>&1 | grep -q 'not permitted' || echo DATED; \
                  insmod /x 2>&1 | grep -q 'not permitted' || [ ! -x /sbin/insmod ] || echo INSMOD; chroot / true; echo end";
    for options in [
        &[][..],
        &["--userns", "auto", "--cap-add", "ALL"],
        &["--network", "host"],
    ] {
        let run = ["run", "--rm"];
        let outcome = sandbox.run(run.iter().chain(options).chain(&["busybox", "sh", "-c", script]));
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (0, "end\n"),
            "{options:?}\n{outcome}"
        );
    }
    let dockerfile = format!("FROM busybox\nRUN ({script}) > /said\n");
    build_ok(&sandbox, &dockerfile, &[]);
    assert_eq!(sandbox.ok(["run", "--rm", "app", "cat", "/said"]), "end\n");
    // CVE-2024-23653: more rights for a step, which only whoever builds may give.
    let outcome = build(
        &sandbox,
        "FROM busybox\nRUN --security=insecure mount -t tmpfs x /tmp\n",
        &[],
    );
    assert!(
        outcome.code != 0 && outcome.stderr.contains("security.insecure"),
        "{outcome}"
    );
}

#[test]
fn keys_of_a_session_stay_with_it() {
    needs!(root, overlay, tool = "python3");
    let sandbox = with_busybox();
    // The container has the host's python, and no filter, to ask which keyring is its session's.
    let ask = "import ctypes; print(ctypes.CDLL(None).syscall(250, 0, -3, 0))";
    let ours = plimsoll_testkit::Outcome::of(std::process::Command::new("python3").args(["-c", ask]));
    if ours.stdout.starts_with('-') {
        return eprintln!("skipped: no keyrings here");
    }
    let mut args = vec![
        "run",
        "-d",
        "--name",
        "up",
        "--network",
        "none",
        "--security-opt",
        "seccomp=unconfined",
    ];
    args.extend(python());
    args.extend(["busybox", "sleep", "1000"]);
    sandbox.run(&args).success("a container");
    // The shell that asks has one of its own, which everything it starts would have.
    let enter = |inner: &str| {
        let script = "import ctypes, os, sys; l = ctypes.CDLL(None); print(l.syscall(250, 1, b'mine'), flush=True); \
             os.execv(sys.argv[1], sys.argv[1:])";
        let mut command = std::process::Command::new("python3");
        command.args(["-c", script]).arg(sandbox.program()).args([
            "exec",
            "up",
            "/usr/bin/python3",
            "-c",
            inner,
        ]);
        command
            .env_clear()
            .envs(sandbox.environment())
            .current_dir(sandbox.path("work"));
        plimsoll_testkit::Outcome::of(&mut command).success("exec")
    };
    let said = enter(ask);
    let rings: BTreeSet<&str> = said.lines().chain(ours.stdout.lines()).collect();
    assert_eq!(rings.len(), 3, "{said} {}", ours.stdout);
    sandbox.ok(["rm", "-f", "up"]);
}

/// Sends what a router would: here is a network, and I am the way out.
const ADVERTISE: &str = r#"
import socket, struct
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
source = socket.inet_pton(socket.AF_INET6, "fe80::bad")
target = socket.inet_pton(socket.AF_INET6, "ff02::1")
prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, "fd00:bad::")
body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
pseudo = source + target + struct.pack("!II", len(body), 58)
body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target + body
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86dd))
raw.bind(("eth0", 0))
mac = raw.getsockname()[4]
raw.send(b"\x33\x33\0\0\0\x01" + mac + b"\x86\xdd" + packet)
print("sent")
"#;

#[test]
fn a_container_is_no_router_of_the_host() {
    // CVE-2020-13401: with raw packets a container told the host about routes.
    needs!(root, overlay, tool = "python3");
    if !std::path::Path::new("/proc/sys/net/ipv6").exists() {
        return eprintln!("skipped: no IPv6 here");
    }
    let sandbox = with_busybox();
    sandbox.ok(["run", "--rm", "busybox", "true"]);
    let bridge = format!("pl{}0", sandbox.instance().unwrap());
    let of_bridge = |name: &str| format!("/proc/sys/net/ipv6/conf/{bridge}/{name}");
    // As on most hosts: one that forwards hears no routers anyhow.
    fs::write(of_bridge("forwarding"), "0").unwrap();
    let mut args = vec!["run", "--rm"];
    args.extend(python());
    args.extend(["busybox", "/usr/bin/python3", "-c", ADVERTISE]);
    assert_eq!(sandbox.run(&args).success("python"), "sent\n");
    let accepts = fs::read_to_string(of_bridge("accept_ra")).unwrap();
    let mut command = std::process::Command::new("ip");
    let seen = plimsoll_testkit::Outcome::of(command.args(["-6", "address", "show", "dev", &bridge])).stdout;
    assert!(accepts == "0\n" && !seen.contains("fd00:bad"), "{accepts}{seen}");
}

#[test]
fn torrents_of_output_cost_little_memory() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    // One line of 100 MB for the log, and probes that say as much.
    let health = [
        "--health-cmd",
        "yes | head -c 50000000; exit 1",
        "--health-interval",
        "300ms",
    ];
    start(
        &sandbox,
        &health,
        "yes | tr -d '\\n' | head -c 100000000; sleep 1000",
    );
    let said = wait_for("a probe", 30, || {
        let health = inspect(&sandbox, "up")["State"]["Health"]["Log"].clone();
        health.as_array().filter(|log| log.len() >= 2).cloned()
    });
    for probe in said {
        assert!(probe["Output"].as_str().unwrap().len() <= 4096 + 100);
    }
    let pid = sandbox.ok(["inspect", "-f", "{{.State.Pid}}", "up"]);
    let field = |pid: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let shim = field(pid.trim(), "PPid:");
    let peak: u64 = field(&shim, "VmHWM:").parse().unwrap();
    assert!(peak < 60_000, "{peak} kB");
    // Somebody who reads nothing does not make it grow either.
    let mut follow = sandbox.command(["logs", "-f", "up"]);
    let follower = Background(follow.stdout(Stdio::piped()).spawn().unwrap());
    sandbox.ok(["exec", "up", "sh", "-c", "yes | head -c 20000000 > /proc/1/fd/1"]);
    let peak: u64 = field(&shim, "VmHWM:").parse().unwrap();
    assert!(peak < 60_000, "{peak} kB");
    drop(follower);
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn a_container_that_changed_its_root_is_entered_as_it_was() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let secret = sandbox.write("secret", SECRET);
    // Its first process looks elsewhere, and what programs are found by leads out.
    let script = format!(
        "mkdir -p /jail/bin; cp /bin/busybox /jail/bin/; for n in sh sleep cat; do ln -s busybox /jail/bin/$n; done; \
         rm -rf /etc; ln -s /proc/1/root/etc /etc; ln -s / /jail/up; ln -s {secret} /leak; exec chroot /jail sleep 1000"
    );
    start(&sandbox, &["--network", "none"], &script);
    wait_for("the other root", 10, || {
        (sandbox.run(["exec", "up", "test", "-e", "/leak"]).code == 1
            || sandbox.run(["exec", "up", "readlink", "/leak"]).code == 0)
            .then_some(())
    });
    let outcome = sandbox.run(["exec", "up", "cat", "/leak", "/jail/up/leak"]);
    assert!(outcome.code != 0 && !outcome.stdout.contains(SECRET), "{outcome}");
    for path in ["up:/leak", "up:/up/leak", "up:/etc/passwd"] {
        let _ = sandbox.run(["cp", "-L", path, "stolen"]);
        let stolen = fs::read_to_string(sandbox.path("work/stolen")).unwrap_or_default();
        assert!(
            !stolen.contains(SECRET) && !stolen.contains("root:x:0:0:root:/root:/bin/bash"),
            "{path}: {stolen}"
        );
    }
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn what_an_image_says_of_itself_is_only_words() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    let long = "x".repeat(1 << 20);
    let configs = [
        json!({"Volumes": {"/": {}}}),
        json!({"Volumes": {"": {}, "..": {}, "../../..": {}}}),
        json!({"Volumes": {format!("/../../../../../..{outside}"): {}, "/a\u{0}b": {}}}),
        json!({"WorkingDir": "../../../../../.."}),
        json!({"WorkingDir": format!("/{long}")}),
        json!({"WorkingDir": "/a\u{0}b"}),
        json!({"Env": ["A\u{0}B=1", "=x", "", "PATH", long]}),
        json!({"ExposedPorts": {"99999/tcp": {}, "abc": {}, "-1/udp": {}, "1-70000/tcp": {}}}),
        json!({"StopSignal": "SIGNIX"}),
        json!({"StopSignal": "-1"}),
        json!({"User": ":::"}),
        json!({"User": format!("{long}:{long}")}),
        json!({"Labels": {"\u{1b}[2J": "\u{1b}]0;title\u{7}", long.clone(): long}}),
        json!({"Healthcheck": {"Test": ["CMD"], "Interval": -5, "Timeout": i64::MAX, "StartPeriod": i64::MIN, "Retries": i32::MAX}}),
        json!({"Healthcheck": {"Test": ["WHAT", "ever"], "Interval": 1}}),
        json!({"Entrypoint": [""], "Cmd": ["", ""]}),
        json!({"Cmd": []}),
    ];
    for config in configs {
        let mut config = config;
        config
            .as_object_mut()
            .unwrap()
            .entry("Cmd")
            .or_insert(json!(["/nothing"]));
        let short: String = config.to_string().chars().take(100).collect();
        let path = sandbox.path("work/words.tar");
        Archive::new("words:1")
            .file("nothing", "", 0o755)
            .config(config)
            .write_docker(&path);
        let loaded = sandbox.run(["load", "-i", path.as_str()]);
        let ran = sandbox.run(["run", "--rm", "--network", "none", "-P", "words:1"]);
        let named = sandbox.run(["run", "--rm", "--network", "none", "words:1", "/bin/none"]);
        for outcome in [
            loaded,
            ran,
            named,
            sandbox.run(["image", "inspect", "words:1"]),
            sandbox.run(["history", "words:1"]),
        ] {
            assert!(
                outcome.code < 128 && outcome.code != 101 && !outcome.stderr.contains("panicked"),
                "{short}\n{outcome}"
            );
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{short}");
        let _ = sandbox.run(["rmi", "-f", "words:1"]);
    }
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}
