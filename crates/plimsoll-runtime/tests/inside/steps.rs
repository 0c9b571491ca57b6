//! Build steps, through a real runner process.

use crate::kit::{Kit, block_on, engine, use_engine};
use plimsoll_runtime::{Exit, Mount, MountKind, NetworkNamespace, Seccomp, Stream, Ulimit};
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("exit_codes_and_streams", exit_codes_and_streams),
    ("programs_that_do_not_start", programs_that_do_not_start),
    ("hardening_as_seen_from_inside", hardening_as_seen_from_inside),
    #[cfg(target_arch = "x86_64")]
    ("clone_makes_no_namespaces", clone_makes_no_namespaces),
    ("users_and_groups", users_and_groups),
    ("environment_and_hostname", environment_and_hostname),
    ("no_descriptor_leaks", no_descriptor_leaks),
    ("no_way_out_by_descriptors", no_way_out_by_descriptors),
    ("masked_and_read_only_paths", masked_and_read_only_paths),
    ("limits_are_set", limits_are_set),
    ("memory_is_short", memory_is_short),
    ("much_output_on_both_streams", much_output_on_both_streams),
    (
        "a_missing_working_directory_is_made",
        a_missing_working_directory_is_made,
    ),
    ("a_layer_holds_no_mount_points", a_layer_holds_no_mount_points),
    (
        "a_layer_keeps_what_the_step_made",
        a_layer_keeps_what_the_step_made,
    ),
    (
        "links_that_lead_nowhere_can_be_mounted_on",
        links_that_lead_nowhere_can_be_mounted_on,
    ),
    ("scratch_has_no_layer", scratch_has_no_layer),
    ("networks", networks),
    ("privileged_and_unconfined", privileged_and_unconfined),
    ("read_only_root_and_tmpfs", read_only_root_and_tmpfs),
    ("seccomp_profile_of_a_file", seccomp_profile_of_a_file),
    ("cancelling_kills", cancelling_kills),
    (
        "a_killed_runner_is_reported_and_cleaned_up",
        a_killed_runner_is_reported_and_cleaned_up,
    ),
    ("many_runs_leave_nothing", many_runs_leave_nothing),
    ("one_runtime_runs_many_steps", one_runtime_runs_many_steps),
    ("two_at_once", two_at_once),
];

fn exit_codes_and_streams() {
    let mut kit = Kit::new();
    assert_eq!(kit.sh("exit 0").code(), 0);
    assert_eq!(kit.sh("exit 3").code(), 3);
    let run = kit.sh("echo out; echo err >&2; read x || echo no input");
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("out\nno input\n", "err\n")
    );
    // The first process of a namespace does not hear signals it has no handler for; a child's end shows as 137.
    assert_eq!(kit.sh("sh -c 'kill -9 $$'; exit $?").code(), 137);
}

fn programs_that_do_not_start() {
    let mut kit = Kit::new();
    let lower = kit.path("lower");
    std::fs::write(lower.join("plain"), "x").unwrap();
    std::fs::write(lower.join("bin/nothing"), "not a program").unwrap();
    std::fs::write(lower.join("bin/lost"), "#!/bin/lost-interpreter\n").unwrap();
    for name in ["bin/nothing", "bin/lost"] {
        std::process::Command::new("chmod")
            .arg("755")
            .arg(lower.join(name))
            .status()
            .unwrap();
    }
    let mut message = |args: &[&str]| kit.run(args).error();
    assert_eq!(
        message(&["foo", "x"]),
        (127, "exec: \"foo\": executable file not found in $PATH".into())
    );
    assert_eq!(
        message(&["/foo"]),
        (127, "exec: \"/foo\": stat /foo: no such file or directory".into())
    );
    assert_eq!(
        message(&["/plain"]),
        (126, "exec: \"/plain\": permission denied".into())
    );
    assert_eq!(message(&["/etc"]), (126, "exec: \"/etc\": is a directory".into()));
    assert_eq!(
        message(&["nothing"]),
        (126, "exec /bin/nothing: exec format error".into())
    );
    assert_eq!(
        message(&["lost"]),
        (127, "exec /bin/lost: no such file or directory".into())
    );
    kit.spec.user = "nobody".into();
    let (code, text) = kit.run(&["true"]).error();
    assert_eq!(
        (code, text.as_str()),
        (
            125,
            "unable to find user nobody: no matching entries in passwd file"
        )
    );
    kit.spec.user = String::new();
    kit.spec.mounts = vec![bind("/no/such/source", "/x")];
    let (code, text) = kit.run(&["true"]).error();
    assert_eq!(code, 125);
    assert!(text.contains("/no/such/source"), "{text}");
}

fn status_field(text: &str, name: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
        .to_owned()
}

fn hardening_as_seen_from_inside() {
    let mut kit = Kit::new();
    let root = kit.sh("cat /proc/self/status; echo PID:$$").stdout;
    // Docker's fourteen.
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(status_field(&root, set), "00000000a80425fb", "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(status_field(&root, set), "0000000000000000", "{set}");
    }
    assert_eq!(status_field(&root, "Seccomp"), "2");
    assert_eq!(status_field(&root, "NoNewPrivs"), "0");
    assert_eq!(status_field(&root, "PID"), "1");
    assert_eq!(status_field(&root, "SigBlk"), "0000000000000000");
    // 32 and 33 are the C library's: its posix_spawn ignores them in every child.
    let ignored = u64::from_str_radix(&status_field(&root, "SigIgn"), 16).unwrap();
    assert_eq!(ignored & !0x1_8000_0000, 0);
    assert_eq!(status_field(&root, "Umask"), "0022");
    kit.spec.user = "app".into();
    kit.spec.no_new_privileges = true;
    let app = kit.sh("cat /proc/self/status").stdout;
    assert_eq!(status_field(&app, "CapEff"), "0000000000000000");
    assert_eq!(status_field(&app, "CapBnd"), "00000000a80425fb");
    assert_eq!(status_field(&app, "NoNewPrivs"), "1");
    assert_eq!(status_field(&app, "Seccomp"), "2");
    kit.spec.user = String::new();
    kit.spec.cap_drop = vec!["ALL".into()];
    kit.spec.cap_add = vec!["CAP_NET_BIND_SERVICE".into()];
    let few = kit.sh("cat /proc/self/status").stdout;
    assert_eq!(status_field(&few, "CapEff"), "0000000000000400");
    // What the filter forbids, with the capability to do it.
    kit.spec.cap_drop = Vec::new();
    kit.spec.cap_add = Vec::new();
    let denied = kit.sh("mount -t tmpfs x /tmp; unshare -U true; mknod /tmp/pipe p && echo pipes are fine");
    assert_eq!(denied.stdout, "pipes are fine\n");
    assert_eq!(denied.stderr.lines().count(), 2, "{}", denied.stderr);
}

/// A program that asks clone(2) for a user namespace, which anyone may have where no filter is, and ends with the
/// number of the error.
#[cfg(target_arch = "x86_64")]
fn clone_makes_no_namespaces() {
    use std::os::unix::fs::PermissionsExt;
    let code: &[u8] = &[
        0xb8, 56, 0, 0, 0, // eax = clone
        0xbf, 17, 0, 0, 0x10, // edi = CLONE_NEWUSER | SIGCHLD
        0x31, 0xf6, 0x31, 0xd2, 0x45, 0x31, 0xd2, 0x45, 0x31, 0xc0, // the other arguments = 0
        0x0f, 0x05, 0x89, 0xc7, // edi = syscall
        0x85, 0xff, 0x79, 4, // not negative: over two
        0xf7, 0xdf, 0xeb, 2, // edi = -edi
        0x31, 0xff, // edi = 0
        0xb8, 231, 0, 0, 0, 0x0f, 0x05, // exit_group
    ];
    let (base, headers) = (0x40_0000_u64, 64 + 56);
    let size = headers + code.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for number in [base + headers, 64, 0] {
        program.extend(number.to_le_bytes());
    }
    program.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    program.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, base, base, size, size, 0x1000] {
        program.extend(number.to_le_bytes());
    }
    program.extend(code);
    let mut kit = Kit::new();
    let path = kit.path("lower/bin/namespaces");
    std::fs::write(&path, program).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(kit.run(&["namespaces"]).code(), 1, "EPERM");
    kit.spec.seccomp = Seccomp::Unconfined;
    assert_eq!(kit.run(&["namespaces"]).code(), 0, "the kernel would allow it");
}

fn users_and_groups() {
    let table = [
        ("", "0 0 0 10 /root"),
        ("root", "0 0 0 10 /root"),
        ("app", "1000 1000 77 1000 /home/app"),
        ("1000", "1000 1000 77 1000 /home/app"),
        ("app:extra", "1000 77 77 /home/app"),
        ("4711:4712", "4711 4712 4712 /"),
    ];
    let mut kit = Kit::new();
    for (user, wanted) in table {
        kit.spec.user = user.into();
        let run = kit.sh("echo $(id -u) $(id -g) $(grep Groups: /proc/self/status | cut -f2) $HOME");
        assert_eq!(run.stdout.trim(), wanted, "{user}");
    }
}

fn environment_and_hostname() {
    let mut kit = Kit::new();
    kit.spec.env = vec![
        "B=2".into(),
        "A=1 with space".into(),
        "PATH=/bin".into(),
        "HOSTNAME".into(),
    ];
    let run = kit.run(&["/bin/env"]);
    // In the order given; PATH keeps its place.
    assert_eq!(run.stdout, "PATH=/bin\nB=2\nA=1 with space\nHOME=/root\n");
    assert_eq!(kit.run(&["hostname"]).stdout, "boat\n");
    kit.spec.hostname = String::new();
    assert_eq!(kit.run(&["hostname"]).stdout.trim(), &kit.spec.id[..12]);
    kit.spec.env = Vec::new();
    let run = kit.run(&["env"]);
    assert!(
        run.stdout
            .starts_with("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=0")
    );
}

fn no_descriptor_leaks() {
    let mut kit = Kit::new();
    // The listing itself holds one more.
    let run = kit.run(&["ls", "/proc/self/fd"]);
    assert_eq!(run.stdout, "0\n1\n2\n3\n");
    let links = kit
        .sh("for n in 0 1 2; do readlink /proc/self/fd/$n; done; ls /proc/1/fd | wc -l")
        .stdout;
    let lines: Vec<&str> = links.lines().collect();
    assert_eq!((lines[0], lines.len()), ("/dev/null", 4));
    assert!(
        lines[1].starts_with("pipe:") && lines[2].starts_with("pipe:"),
        "{links}"
    );
    // Nothing of the host is left among the mounts.
    let mounts = kit.run(&["cat", "/proc/self/mounts"]).stdout;
    let targets: BTreeSet<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let own = |target: &&str| {
        ["/proc", "/sys", "/dev"]
            .iter()
            .any(|own| target.starts_with(own))
            || *target == "/"
    };
    assert!(targets.iter().all(own), "{mounts}");
}

/// What is open while the program is looked for closes only when it runs (CVE-2024-21626).
fn no_way_out_by_descriptors() {
    let mut kit = Kit::new();
    let runtime = kit.runtime();
    let up = "../".repeat(12);
    let outside = kit.folder.path().join("lower/bin/busybox");
    block_on(async {
        for number in 0..24 {
            let program = format!("/proc/self/fd/{number}/{up}{}", outside.display());
            kit.spec.args = vec![program, "true".to_owned()];
            let end = runtime.run_once(kit.request(), &mut |_, _| {}).await;
            assert!(end.is_err(), "descriptor {number}");
        }
    });
    for number in 0..24 {
        kit.spec.cwd = format!("/proc/self/fd/{number}/{up}");
        kit.spec.args = vec!["/bin/ls".to_owned()];
        let end = block_on(kit.runtime().run_once(kit.request(), &mut |_, bytes| {
            assert!(
                !String::from_utf8_lossy(bytes).contains("sbin"),
                "descriptor {number}"
            );
        }));
        drop(end);
    }
}

fn masked_and_read_only_paths() {
    let mut kit = Kit::new();
    let run = kit.sh(
        "echo 1 > /proc/sys/kernel/domainname; echo 1 > /sys/kernel/x; wc -c < /proc/interrupts; wc -c < /proc/timer_list;
         ls /sys/firmware | wc -l; touch /sys/fs/cgroup/x; mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x;
         for f in null zero full random urandom tty ptmx; do test -c /dev/$f || echo no $f; done;
         test -d /dev/shm && test -d /dev/mqueue && test -d /dev/pts && echo ok > /dev/shm/x && cat /dev/shm/x;
         cat /proc/self/cgroup | cut -d: -f3 | sort -u | head -1; stat -f -c %T /dev/shm; dd if=/dev/zero bs=1 count=1 2>/dev/null | wc -c",
    );
    assert_eq!(
        run.stdout.lines().collect::<Vec<_>>(),
        ["0", "0", "0", "ok", "/", "tmpfs", "1"],
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.matches("Read-only file system").count() >= 3,
        "{}",
        run.stderr
    );
}

fn limit_file(v1: &str, v2: &str) -> String {
    format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}")
}

fn limits_are_set() {
    let mut kit = Kit::new();
    kit.spec.resources.memory = Some(64 << 20);
    kit.spec.resources.nano_cpus = Some(500_000_000);
    kit.spec.resources.pids_limit = Some(50);
    kit.spec.resources.cpuset_cpus = "0".into();
    let soft = Ulimit {
        name: "nofile".into(),
        soft: 100,
        hard: 200,
    };
    let wide = Ulimit {
        name: "core".into(),
        soft: u64::MAX,
        hard: u64::MAX,
    };
    kit.spec.ulimits = vec![soft, wide];
    let line = [
        limit_file("memory/memory.limit_in_bytes", "memory.max"),
        limit_file("pids/pids.max", "pids.max"),
        limit_file("cpuset/cpuset.cpus", "cpuset.cpus"),
        "ulimit -Sn; ulimit -Hn".to_owned(),
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max"
            .to_owned(),
    ];
    let run = kit.sh(&line.join("; "));
    assert_eq!(
        run.stdout.lines().collect::<Vec<_>>(),
        ["67108864", "50", "0", "100", "200", "50000"]
    );
    kit.spec.ulimits = vec![Ulimit {
        name: "nofile".into(),
        soft: 1 << 40,
        hard: 1 << 40,
    }];
    let run = kit.sh("true");
    match run.end {
        // Either this process may not raise it, which is a warning, or the kernel's own bound is met.
        Ok(finished) => assert!(finished.warnings[0].contains("nofile"), "{finished:?}"),
        Err(error) => assert_eq!(error.exit_code(), 125),
    }
}

fn memory_is_short() {
    let mut kit = Kit::new();
    kit.spec.resources.memory = Some(16 << 20);
    kit.spec.resources.memory_swap = Some(16 << 20);
    let finished = kit.run(&["tail", "-c", "200m", "/dev/zero"]).end.unwrap();
    assert_eq!((finished.exit, finished.oom_killed), (Exit::Signal(9), true));
    assert_eq!(finished.exit.code(), 137);
    let fine = kit.run(&["true"]).end.unwrap();
    assert_eq!((fine.exit, fine.oom_killed), (Exit::Code(0), false));
}

fn much_output_on_both_streams() {
    let mut kit = Kit::new();
    let run =
        kit.sh("(head -c 1048576 /dev/zero | tr '\\0' b >&2) & head -c 1048576 /dev/zero | tr '\\0' a; wait");
    assert_eq!(
        (run.code(), run.stdout.len(), run.stderr.len()),
        (0, 1 << 20, 1 << 20)
    );
    assert!(run.stdout.bytes().all(|byte| byte == b'a') && run.stderr.bytes().all(|byte| byte == b'b'));
}

fn a_missing_working_directory_is_made() {
    let mut kit = Kit::new();
    kit.spec.cwd = "/srv/deep/er".into();
    assert_eq!(kit.sh("pwd").stdout, "/srv/deep/er\n");
    assert_eq!(kit.layer(), ["srv", "srv/deep", "srv/deep/er"]);
    let outside = tempfile::tempdir().unwrap();
    kit.spec.mounts = vec![bind(outside.path().to_str().unwrap(), "/work")];
    kit.spec.cwd = "/work/sub".into();
    assert_eq!(kit.sh("pwd").stdout, "/work/sub\n");
    assert!(outside.path().join("sub").is_dir());
}

fn bind(source: &str, target: &str) -> Mount {
    Mount {
        kind: MountKind::Bind,
        source: source.into(),
        target: target.into(),
        read_only: false,
        options: Vec::new(),
    }
}

fn a_layer_holds_no_mount_points() {
    let mut kit = Kit::new();
    kit.spec.mounts = vec![
        bind("/etc/hostname", "/etc/hosts"),
        bind("/etc/hostname", "/etc/resolv.conf"),
    ];
    kit.spec.mounts.push(bind("/usr", "/run/secrets/deep"));
    let run = kit.sh(
        "test -s /etc/hosts && test -s /etc/resolv.conf && test -d /proc/1 && test -d /run/secrets/deep/bin",
    );
    assert_eq!(run.code(), 0, "{}", run.stderr);
    assert_eq!(kit.layer(), [""; 0]);
    assert!(!kit.path("work/work/incompat").exists());
}

fn a_layer_keeps_what_the_step_made() {
    let mut kit = Kit::new();
    kit.spec.mounts = vec![
        bind("/etc/hostname", "/etc/hosts"),
        bind("/etc/hostname", "/run/x/hosts"),
    ];
    let run =
        kit.sh("echo mine > /etc/foo; touch /run/x/empty; mkdir -p /opt/a; chmod 700 /tmp; rm /bin/wget");
    assert_eq!(run.code(), 0, "{}", run.stderr);
    assert_eq!(
        kit.layer(),
        [
            "bin",
            "bin/wget",
            "etc",
            "etc/foo",
            "opt",
            "opt/a",
            "run",
            "run/x",
            "run/x/empty",
            "tmp"
        ]
    );
    // Only the owner of the directory changed: it is a change all the same.
    let mut kit = Kit::new();
    kit.spec.mounts = vec![bind("/etc/hostname", "/etc/hosts")];
    assert_eq!(kit.sh("chown 1000 /etc").code(), 0);
    assert_eq!(kit.layer(), ["etc"]);
}

fn links_that_lead_nowhere_can_be_mounted_on() {
    let mut kit = Kit::new();
    symlink("../run/systemd/stub.conf", kit.path("lower/etc/resolv.conf")).unwrap();
    kit.spec.mounts = vec![bind("/etc/hostname", "/etc/resolv.conf")];
    let run = kit.sh("test -s /etc/resolv.conf && readlink /etc/resolv.conf");
    assert_eq!(
        (run.code(), run.stdout.as_str()),
        (0, "../run/systemd/stub.conf\n")
    );
    assert_eq!(kit.layer(), [""; 0]);
}

fn scratch_has_no_layer() {
    let mut kit = Kit::new();
    std::fs::create_dir(kit.path("upper/bin")).unwrap();
    std::fs::copy(kit.path("lower/bin/busybox"), kit.path("upper/bin/busybox")).unwrap();
    kit.spec.args = ["/bin/busybox", "sh", "-c", "echo $HOME; cd /; echo *"]
        .map(str::to_owned)
        .to_vec();
    let mut request = kit.request();
    request.rootfs.lowers.clear();
    let mut text = Vec::new();
    let runtime = kit.runtime();
    let exit = block_on(runtime.run_once(request, &mut |_, bytes| text.extend_from_slice(bytes))).unwrap();
    assert_eq!(
        (exit, String::from_utf8(text).unwrap().as_str()),
        (Exit::Code(0), "/\nbin dev proc sys\n")
    );
    assert_eq!(kit.layer(), ["bin", "bin/busybox"]);
}

fn networks() {
    let mut kit = Kit::new();
    let links =
        "ls /sys/class/net | tr '\\n' ' '; cat /sys/class/net/lo/operstate; readlink /proc/self/ns/net";
    let none = kit.sh(links);
    assert!(none.stdout.starts_with("lo "), "{}", none.stdout);
    assert_eq!(kit.sh("ip link show lo | grep -c LOOPBACK,UP").stdout, "1\n");
    assert_eq!(
        kit.sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").stdout,
        "0\n"
    );
    kit.spec.network = NetworkNamespace::Host;
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        kit.sh("readlink /proc/self/ns/net").stdout.trim(),
        own.to_str().unwrap()
    );
    let made = std::thread::spawn(|| {
        plimsoll_linux::unshare(plimsoll_linux::UnshareFlags::NEWNET).unwrap();
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        (namespace, std::fs::read_link("/proc/thread-self/ns/net").unwrap())
    });
    let (namespace, name) = made.join().unwrap();
    kit.spec.network = NetworkNamespace::Given;
    kit.netns = Some(namespace.into());
    assert_eq!(
        kit.sh("readlink /proc/self/ns/net").stdout.trim(),
        name.to_str().unwrap()
    );
}

fn privileged_and_unconfined() {
    let mut kit = Kit::new();
    kit.spec.seccomp = Seccomp::Unconfined;
    assert_eq!(
        status_field(&kit.run(&["cat", "/proc/self/status"]).stdout, "Seccomp"),
        "0"
    );
    kit.spec.privileged = true;
    kit.spec.seccomp = Seccomp::Default;
    let run = kit.sh("cat /proc/self/status; mount -t tmpfs x /tmp && echo 1 > /proc/sys/net/ipv4/ip_forward && echo DONE: yes");
    assert_eq!(status_field(&run.stdout, "DONE"), "yes", "{}", run.stderr);
    assert_eq!(status_field(&run.stdout, "Seccomp"), "0");
    let bounding = status_field(&std::fs::read_to_string("/proc/self/status").unwrap(), "CapBnd");
    assert_eq!(status_field(&run.stdout, "CapEff"), bounding);
}

fn read_only_root_and_tmpfs() {
    let mut kit = Kit::new();
    kit.spec.read_only = true;
    let options = vec!["size=1m".to_owned(), "mode=1777".to_owned()];
    kit.spec.mounts = vec![Mount {
        kind: MountKind::Tmpfs,
        source: "".into(),
        target: "/tmp".into(),
        read_only: false,
        options,
    }];
    kit.spec.mounts.push(Mount {
        read_only: true,
        ..bind("/usr", "/host-usr")
    });
    let run = kit.sh(
        "touch /x; touch /host-usr/x; touch /tmp/x && echo tmp is fine; grep ' /tmp ' /proc/mounts | grep -o 'nosuid,nodev,noexec.*size=1024k'",
    );
    assert_eq!(
        run.stderr.matches("Read-only file system").count(),
        2,
        "{}",
        run.stderr
    );
    assert!(
        run.stdout.starts_with("tmp is fine\nnosuid,nodev,noexec"),
        "{}",
        run.stdout
    );
}

fn seccomp_profile_of_a_file() {
    let mut kit = Kit::new();
    kit.spec.seccomp = Seccomp::Profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#
            .into(),
    );
    let run = kit.sh("mkdir /x; echo still here");
    assert_eq!(run.stdout, "still here\n");
    assert!(run.stderr.contains("No space left"), "{}", run.stderr);
    kit.spec.seccomp = Seccomp::Profile("{}".into());
    assert!(
        kit.sh("true")
            .error()
            .1
            .starts_with("seccomp profile is not valid")
    );
}

/// Processes on the host whose command line holds `mark`.
fn processes_with(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let own = std::process::id().to_string();
    let command = |path: &Path| std::fs::read(path.join("cmdline")).unwrap_or_default();
    entries
        .filter(|entry| entry.file_name() != own.as_str())
        .filter(|entry| String::from_utf8_lossy(&command(&entry.path())).contains(mark))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn cancelling_kills() {
    let mut kit = Kit::new();
    let mark = format!("100{}", std::process::id());
    kit.spec.args = ["/bin/sh", "-c", &format!("sleep {mark} & echo ready; wait")]
        .map(str::to_owned)
        .to_vec();
    let (runtime, request) = (kit.runtime(), kit.request());
    block_on(async {
        let (sender, ready) = tokio::sync::oneshot::channel();
        let mut sender = Some(sender);
        let mut output = |_: Stream, _: &[u8]| {
            let _ = sender.take().map(|sender| sender.send(()));
        };
        tokio::select! {
            end = runtime.run_once(request, &mut output) => panic!("it ended: {end:?}"),
            _ = ready => {}
        }
    });
    wait_until("everything is gone", || {
        processes_with(&mark).is_empty()
            && kit.cgroups().is_empty()
            && !kit.path("run").join(&kit.spec.id).exists()
    });
}

/// Kills runners that are the parents of these, but for this process; returns whether there was one.
fn kill_runners_of(pids: &[String]) -> bool {
    let stats = pids
        .iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    let parents = stats.filter_map(|stat| {
        let parent = stat.rsplit_once(')')?.1.split(' ').nth(2)?.parse().ok()?;
        rustix::process::Pid::from_raw(parent)
    });
    let own = std::process::id() as i32;
    let mut killed = false;
    for parent in parents.filter(|parent| parent.as_raw_nonzero().get() != own) {
        let command = std::fs::read(format!("/proc/{}/cmdline", parent.as_raw_nonzero())).unwrap_or_default();
        if command == b"plimsoll\0runner\0" {
            rustix::process::kill_process(parent, rustix::process::Signal::KILL).unwrap();
            killed = true;
        }
    }
    killed
}

fn a_killed_runner_is_reported_and_cleaned_up() {
    let mut kit = Kit::new();
    let mark = format!("200{}", std::process::id());
    kit.spec.args = [
        "/bin/sh",
        "-c",
        &format!("cut -d' ' -f4 /proc/self/stat; sleep {mark}"),
    ]
    .map(str::to_owned)
    .to_vec();
    let (runtime, request) = (kit.runtime(), kit.request());
    let mut killed = false;
    let mut output = |_: Stream, _: &[u8]| {
        // A shell that is about to become its last command has no command line for a moment.
        wait_until("the runner is killed", || {
            killed |= kill_runners_of(&processes_with(&mark));
            killed
        });
    };
    let end = block_on(runtime.run_once(request, &mut output));
    assert!(killed);
    let message = end.unwrap_err().to_string();
    assert!(message.contains("the runner ended early"), "{message}");
    assert_eq!(processes_with(&mark), [""; 0]);
    assert!(!kit.path("run").join(&kit.spec.id).exists());
}

fn many_runs_leave_nothing() {
    let mut kit = Kit::new();
    // Others may mount things at the same time.
    let folder = kit.folder.path().to_str().unwrap().to_owned();
    let mounts = || {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        text.lines().filter(|line| line.contains(&folder)).count()
    };
    assert_eq!(kit.run(&["true"]).code(), 0);
    let begun = Instant::now();
    let count = 30;
    for _ in 0..count {
        assert_eq!(kit.run(&["true"]).code(), 0);
        assert_eq!(kit.cgroups(), [""; 0].map(std::path::PathBuf::from));
    }
    eprintln!(
        "run_once(true): {:.1} ms each",
        begun.elapsed().as_secs_f64() * 1000.0 / f64::from(count)
    );
    assert_eq!(mounts(), 0);
    assert_eq!(kit.state(), [""; 0]);
    assert_eq!(kit.layer(), [""; 0]);
    let tag = kit.path("run");
    assert_eq!(processes_with(tag.to_str().unwrap()), [""; 0]);
}

fn one_runtime_runs_many_steps() {
    let mut kit = Kit::new();
    let runtime = kit.runtime();
    let count = 20;
    let lines = [
        "echo $$ > /kept; exit 3",
        "sleep 100 & test ! -e /tmp/x",
        "/no/such/program",
        "exit 0",
    ];
    block_on(async {
        for line in lines {
            kit.spec.args = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
            let exit = runtime.run_once(kit.request(), &mut |_, _| {}).await.unwrap();
            assert_eq!(
                exit.code(),
                if line.ends_with('3') {
                    3
                } else if line.starts_with("/no") {
                    127
                } else {
                    0
                }
            );
        }
        kit.spec.args = vec!["missing".to_owned()];
        let error = runtime.run_once(kit.request(), &mut |_, _| {}).await.unwrap_err();
        assert_eq!(error.exit_code(), 127);
        kit.spec.args = vec!["true".to_owned()];
        let begun = Instant::now();
        for _ in 0..count {
            assert_eq!(
                runtime.run_once(kit.request(), &mut |_, _| {}).await.unwrap(),
                Exit::Code(0)
            );
        }
        let each = begun.elapsed().as_secs_f64() * 1000.0 / f64::from(count);
        eprintln!("{:?}: a step takes {each:.1} ms", engine());
    });
    assert_eq!(kit.layer(), ["kept"]);
    assert_eq!(kit.cgroups(), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(kit.state(), [""; 0]);
}

fn two_at_once() {
    let engine = engine();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            std::thread::spawn(move || {
                use_engine(engine);
                let mut kit = Kit::new();
                for _ in 0..3 {
                    assert_eq!(kit.sh(&format!("exit {n}")).code(), n);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
