//! What a container is like from inside: one table, held against every way of making one, and against Docker.
//!
//! What is expected was seen in Docker 28.5. `PLIMSOLL_TEST_DOCKER=docker` runs the table against the Docker that this
//! program reaches (its `busybox` must be the same image), so that "as Docker" is measured and not remembered.

use std::process::Command;

use plimsoll_testkit::{Outcome, Sandbox, needs};

use crate::{wait_for, with_busybox};

/// One container, and what its shell says of it: all it writes, in one line, and the exit code.
struct Row {
    name: &'static str,
    options: &'static [&'static str],
    script: &'static str,
    says: &'static str,
    code: i32,
    /// Where this machine may not have what is looked at.
    needs: Option<&'static str>,
    /// What only the direct path has.
    directly: bool,
}

const fn row(
    name: &'static str,
    options: &'static [&'static str],
    script: &'static str,
    says: &'static str,
) -> Row {
    Row {
        name,
        options,
        script,
        says,
        code: 0,
        needs: None,
        directly: false,
    }
}

impl Row {
    const fn ends_with(self, code: i32) -> Self {
        Self { code, ..self }
    }

    const fn where_there_is(self, path: &'static str) -> Self {
        Self {
            needs: Some(path),
            ..self
        }
    }

    const fn directly(self) -> Self {
        Self {
            directly: true,
            ..self
        }
    }
}

const STATUS: &str =
    "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp|Umask|SigBlk):' /proc/self/status | cut -f2";
const HELD: &str = "grep CapEff /proc/self/status | cut -f2";
const USERS: &[&str] = &["--userns", "100000:200000"];
const V1: &str = "/sys/fs/cgroup/memory";
pub(crate) const V2: &str = "/sys/fs/cgroup/cgroup.controllers";

const TABLE: &[Row] = &[
    row(
        "root",
        &[],
        STATUS,
        "0022 0000000000000000 0000000000000000 00000000a80425fb 00000000a80425fb 00000000a80425fb 0000000000000000 0 2",
    ),
    row(
        "a user holds nothing, and may come to hold what root has",
        &["--user", "1000:1000"],
        STATUS,
        "0022 0000000000000000 0000000000000000 0000000000000000 0000000000000000 00000000a80425fb 0000000000000000 0 2",
    ),
    row(
        "users and groups by name",
        &["--user", "nobody:daemon", "--group-add", "7", "--group-add", "www-data"],
        "id -u; id -g; id -G",
        "65534 1 1 7 33",
    ),
    row("no capabilities", &["--cap-drop", "ALL"], HELD, "0000000000000000"),
    row(
        "only those asked for, in every spelling",
        &["--cap-drop", "all", "--cap-add", "CAP_NET_BIND_SERVICE", "--cap-add", "chown"],
        HELD,
        "0000000000000401",
    ),
    row(
        "some less",
        &["--cap-drop", "NET_RAW", "--cap-drop", "CAP_MKNOD"],
        HELD,
        "00000000a00405fb",
    ),
    row(
        "no new privileges",
        &["--security-opt", "no-new-privileges"],
        "grep NoNew /proc/self/status | cut -f2",
        "1",
    ),
    row(
        "no filter",
        &["--security-opt", "seccomp=unconfined"],
        "grep Seccomp: /proc/self/status | cut -f2; unshare -U true && echo unshared",
        "0 unshared",
    ),
    row(
        "what the filter and the capabilities refuse",
        &[],
        "unshare -U true; mount -t tmpfs x /tmp; reboot -f; hostname other; ip link set lo down; echo end",
        "unshare: unshare(0x10000000): Operation not permitted mount: permission denied (are you root?) \
         reboot: (null): Operation not permitted hostname: sethostname: Operation not permitted \
         ip: SIOCSIFFLAGS: Operation not permitted end",
    ),
    row(
        "a device is made and not opened",
        &[],
        "mknod /tmp/disk b 7 0 && cat /tmp/disk",
        "cat: can't open '/tmp/disk': Operation not permitted",
    )
    .ends_with(1),
    row(
        "privileged",
        &["--privileged"],
        "grep Seccomp: /proc/self/status | cut -f2; mount -t tmpfs x /tmp && echo mounted; \
         test -w /proc/sys/kernel/panic && echo writable; grep ' /sys ' /proc/mounts",
        "0 mounted writable sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0",
    ),
    row(
        "a privileged one has the host's devices",
        &["--privileged"],
        "test -c /dev/kmsg && echo kmsg",
        "kmsg",
    )
    .where_there_is("/dev/kmsg"),
    row(
        "what shows the host is covered",
        &[],
        "for p in /proc/acpi /proc/interrupts /proc/keys /proc/timer_list /sys/firmware; do \
         if [ -d $p ]; then ls $p | wc -l; elif [ -e $p ]; then wc -c < $p; fi; done | sort -u",
        "0",
    ),
    row(
        "what changes the host is read-only",
        &[],
        "for p in /proc/bus /proc/fs /proc/irq /proc/sys /sys; do grep -q \" $p .* ro,\" /proc/mounts && echo $p; done; \
         echo 1 > /proc/sys/kernel/panic",
        "/proc/bus /proc/fs /proc/irq /proc/sys /sys sh: can't create /proc/sys/kernel/panic: Read-only file system",
    )
    .ends_with(1),
    row(
        "or nothing of it",
        &["--security-opt", "systempaths=unconfined"],
        "grep -c ' /proc/' /proc/mounts",
        "0",
    )
    .ends_with(1),
    row(
        "a read-only root with a place to write",
        &["--read-only", "--tmpfs", "/tmp:size=1m,mode=1777"],
        "touch /x; touch /tmp/x && echo written; grep ' /tmp ' /proc/mounts; stat -c %a /tmp",
        "touch: /x: Read-only file system written tmpfs /tmp tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k 0 0 1777",
    ),
    row(
        "options of a tmpfs",
        &["--tmpfs", "/data:rw,exec,uid=5,gid=6,mode=750"],
        "grep ' /data ' /proc/mounts; stat -c '%a %u %g' /data",
        "tmpfs /data tmpfs rw,nosuid,nodev,relatime,mode=750,uid=5,gid=6 0 0 750 5 6",
    ),
    row(
        "devices",
        &[],
        "ls /dev | grep -v '^k*core$'; ls -l /dev/null /dev/tty | cut -c1-10",
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero crw-rw-rw- crw-rw-rw-",
    ),
    row(
        "a device of the host, for reading",
        &["--device", "/dev/zero:/dev/nix:r"],
        "head -c1 /dev/nix | wc -c; ls -l /dev/nix | cut -c1-10",
        "1 crw-rw-rw-",
    ),
    row(
        "a rule for devices without a node",
        &["--device-cgroup-rule", "c 1:11 rw"],
        "mknod /tmp/log c 1 11; : > /tmp/log && echo opened",
        "opened",
    ),
    row(
        "a terminal",
        &["-t"],
        "tty; ls -l /dev/console | cut -c1-10; test -t 0 && echo $TERM",
        "/dev/pts/0 crw--w---- xterm",
    ),
    row(
        "mounts",
        &[],
        "grep -E ' (/proc|/dev|/dev/pts|/dev/mqueue|/dev/shm|/sys) ' /proc/mounts | cut -d' ' -f1-4 | sort -k2",
        "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755 mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec,relatime \
         devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666 \
         shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k proc /proc proc rw,nosuid,nodev,noexec,relatime \
         sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime",
    ),
    row(
        "shared memory",
        &["--shm-size", "1m"],
        "grep ' /dev/shm ' /proc/mounts",
        "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k 0 0",
    ),
    row("no shared memory", &["--ipc", "none"], "test -d /dev/shm || echo none", "none"),
    row(
        "environment and name",
        &["-e", "A=1", "--hostname", "boat"],
        "env | sort; hostname",
        "A=1 HOME=/root HOSTNAME=boat PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PWD=/ SHLVL=1 boat",
    ),
    row("a folder that is not there", &["-w", "/new/folder"], "pwd; umask", "/new/folder 0022"),
    row(
        "the first process, with nothing open but its streams",
        &[],
        "echo $$; ls /proc/self/fd",
        "1 0 1 2 3",
    ),
    row(
        "limits of a process",
        &["--ulimit", "nofile=100:200", "--ulimit", "core=0"],
        "ulimit -Sn; ulimit -Hn; ulimit -c",
        "100 200 0",
    ),
    row("score", &["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
    row(
        "kernel parameters",
        &["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4096"],
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start",
        "1 4096 0",
    ),
    row(
        "the host's processes",
        &["--pid", "host"],
        "test $$ -gt 1 && test -d /proc/1/task && echo seen",
        "seen",
    ),
    row(
        "control groups of its own",
        &["--cgroupns", "private"],
        "cut -d: -f3 /proc/self/cgroup | sort -u",
        "/",
    ),
    row(
        "limits of the group",
        &["--memory", "32m", "--memory-reservation", "16m", "--pids-limit", "12"],
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes pids/pids.max",
        "33554432 16777216 12",
    )
    .where_there_is(V1),
    row(
        "processor time",
        &["--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0"],
        "cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares cpuset/cpuset.cpus",
        "50000 100000 512 0",
    )
    .where_there_is(V1),
    row(
        "processor time in the kernel's numbers",
        &["--cpu-period", "50000", "--cpu-quota", "25000"],
        "cd /sys/fs/cgroup/cpu; cat cpu.cfs_quota_us cpu.cfs_period_us",
        "25000 50000",
    )
    .where_there_is(V1),
    row(
        "limits of the group on v2",
        &["--memory", "32m", "--memory-swap", "64m", "--memory-reservation", "16m", "--pids-limit", "12"],
        "cd /sys/fs/cgroup; cat memory.max memory.low memory.swap.max pids.max",
        "33554432 16777216 33554432 12",
    )
    .where_there_is(V2),
    row(
        "processor time on v2",
        &["--cpus", "0.5", "--cpuset-cpus", "0"],
        "cd /sys/fs/cgroup; cat cpu.max cpuset.cpus",
        "50000 100000 0",
    )
    .where_there_is(V2),
    row(
        "a share of processors on v2",
        &["--cpu-shares", "1024"],
        "cat /sys/fs/cgroup/cpu.weight",
        "39",
    )
    .where_there_is(V2)
    // libcontainer converts by another formula.
    .directly(),
    row(
        "users of its own",
        USERS,
        "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; grep -E '^(CapEff|Seccomp):' /proc/self/status | cut -f2; \
         stat -c %u:%g / /bin/busybox /etc/hosts /etc/resolv.conf /dev /dev/null /dev/shm /proc/1 | sort -u",
        "0 100000 65536 0 200000 65536 0 0 00000000a80425fb 2 0:0",
    )
    .directly(),
    row(
        "a user among users of its own",
        &["--userns", "100000:200000", "--user", "1000:5", "--group-add", "7"],
        "id -u; id -G; grep CapEff /proc/self/status | cut -f2; touch /tmp/x && stat -c %u:%g /tmp/x; touch /x",
        "1000 5 7 0000000000000000 1000:5 touch: /x: Permission denied",
    )
    .ends_with(1)
    .directly(),
    row(
        "ids one by one",
        &["--uidmap", "0:1000", "--uidmap", "1:100000:70", "--gidmap", "0:100000:7"],
        "cat /proc/self/uid_map /proc/self/gid_map",
        "0 1000 1 1 100000 70 0 100000 7",
    )
    .directly(),
    row(
        "root of a container is root of its files",
        USERS,
        "touch /f && chown 33:44 /f && stat -c %u:%g /f; mkdir -m 700 /d && chown 7 /d && touch /d/f && stat -c %u /d/f; \
         chmod u+s /f; rm -r /d /f && ls -d /d; chroot / true && echo chroot; kill -0 1 && echo kill",
        "33:44 0 ls: /d: No such file or directory chroot kill",
    )
    .directly(),
    row(
        "and of nothing that is the host's",
        &["--userns", "100000:200000", "--cap-add", "ALL", "--security-opt", "seccomp=unconfined"],
        "mount -t tmpfs x /tmp; mount -o remount,rw /sys; umount /proc/sys; echo 1 > /proc/sys/kernel/panic; hostname other; \
         ip link set lo down; ping -c 1 127.0.0.1; mknod /n c 1 3; date -s 2030-01-01 > /dev/null; dmesg -c; echo end",
        "mount: permission denied (are you root?) mount: permission denied (are you root?) \
         umount: can't unmount /proc/sys: Operation not permitted \
         sh: can't create /proc/sys/kernel/panic: Read-only file system \
         hostname: sethostname: Operation not permitted ip: SIOCSIFFLAGS: Operation not permitted \
         PING 127.0.0.1 (127.0.0.1): 56 data bytes ping: permission denied (are you root?) \
         mknod: /n: Operation not permitted date: can't set date: Operation not permitted \
         dmesg: klogctl: Operation not permitted end",
    )
    .directly(),
    row(
        "mounts and terminals know them",
        &["-t", "--userns", "100000:200000", "--tmpfs", "/data:uid=5,gid=6,mode=750", "--read-only"],
        "tty; stat -c %u:%g /dev/console /dev/pts/0 /data; mkdir /dev/x && stat -c %u /dev/x; touch /x",
        "/dev/pts/0 0:5 0:5 5:6 0 touch: /x: Read-only file system",
    )
    .ends_with(1)
    .directly(),
    row(
        "streams, a folder that is not there, and an init",
        &["--userns", "100000:200000", "--init", "-w", "/new/folder"],
        "echo out > /dev/stdout; pwd; stat -c %u:%g /new /new/folder; cat /proc/1/comm; grep -E '^[UG]id' /proc/1/status",
        "out /new/folder 0:0 0:0 init Uid: 0 0 0 0 Gid: 0 0 0 0",
    )
    .directly(),
    row("the program's own code", &[], "exit 7", "").ends_with(7),
    row("a signal's", &[], "sh -c 'kill -9 $$'; exit $?", "Killed").ends_with(137),
];

/// Somebody who runs containers.
struct Engine<'a> {
    name: &'a str,
    run: &'a dyn Fn(&[&str]) -> Outcome,
}

/// Some kernels say of a tmpfs how wide its inode numbers are.
fn normal(text: &str) -> Vec<String> {
    text.replace(",inode64", "")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn check(engine: &Engine<'_>) {
    let mut wrong = Vec::new();
    for row in TABLE
        .iter()
        .filter(|row| !row.directly || engine.name == "direct")
    {
        if row.needs.is_some_and(|path| !std::path::Path::new(path).exists()) {
            eprintln!(
                "{}: skipped: {}: there is no {}",
                engine.name,
                row.name,
                row.needs.unwrap_or_default()
            );
            continue;
        }
        let script = format!("exec 2>&1; {}", row.script);
        let mut args = vec!["run", "--rm", "--network", "none"];
        args.extend(row.options);
        args.extend(["busybox", "sh", "-c", &script]);
        let outcome = (engine.run)(&args);
        let said = normal(&outcome.stdout);
        let says = normal(row.says);
        if (said, outcome.code) != (says, row.code) {
            wrong.push(format!(
                "{}: expected {} [{}]\n{outcome}",
                row.name, row.says, row.code
            ));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", engine.name, wrong.join("\n"));
}

/// The same table for another machine: a shell script that says of each row that is wrong what it is, and at the end how
/// many there were. `program` is ours, as the shell calls it.
pub(crate) fn script(program: &str, runtime: &str) -> String {
    script_but(program, runtime, &[], "s/,inode64//g")
}

/// The same without the rows of these names, for whom they are not true; what is said goes through `sed`.
pub(crate) fn script_but(program: &str, runtime: &str, but: &[&str], sed: &str) -> String {
    let directly = runtime == "direct";
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let mut lines = vec![
        "set -f; rows=0".to_owned(),
        r#"check() { name=$1 says=$2 wanted=$3; shift 3; said=$("$@" 2> /tmp/said); code=$?; said=$(echo $said | tr -d '\r' | sed SED); rows=$((rows + 1))
[ "$said [$code]" = "$says [$wanted]" ] || { echo "WRONG RUNTIME $name: expected $says [$wanted], was $said [$code]"; cat /tmp/said; }; }"#
            .replace("RUNTIME", runtime)
            .replace("SED", &quoted(sed)),
    ];
    let rows = TABLE.iter().filter(|row| directly || !row.directly);
    for row in rows.filter(|row| !but.contains(&row.name)) {
        let says: Vec<&str> = row.says.split_whitespace().collect();
        let inner = format!("exec 2>&1; {}", row.script);
        let options: Vec<String> = row.options.iter().map(|option| quoted(option)).collect();
        lines.push(format!(
            "[ ! -e {} ] || check {} {} {} {program} run --runtime {runtime} --rm --network none {} busybox sh -c {}",
            row.needs.unwrap_or("/"),
            quoted(row.name),
            quoted(&says.join(" ")),
            row.code,
            options.join(" "),
            quoted(&inner),
        ));
    }
    lines.push(format!("set +f; echo {runtime}: $rows rows"));
    lines.join("\n") + "\n"
}

/// How many rows a machine has on which `there` says which paths are.
pub(crate) fn rows(runtime: &str, there: impl Fn(&str) -> bool) -> usize {
    let rows = TABLE.iter().filter(|row| runtime == "direct" || !row.directly);
    rows.filter(|row| row.needs.is_none_or(&there)).count()
}

fn plimsoll(runtime: &str) {
    let sandbox = with_busybox();
    let run = |args: &[&str]| {
        let (run, options) = args.split_first().expect("a command");
        sandbox.run([*run, "--runtime", runtime].iter().chain(options))
    };
    check(&Engine {
        name: runtime,
        run: &run,
    });
}

#[test]
fn directly() {
    needs!(root, overlay);
    plimsoll("direct");
}

#[test]
fn by_libcontainer() {
    needs!(root, overlay);
    plimsoll("libcontainer");
}

#[test]
fn by_docker() {
    let Some(program) = std::env::var_os("PLIMSOLL_TEST_DOCKER") else {
        return eprintln!("skipped: PLIMSOLL_TEST_DOCKER names no Docker");
    };
    let run = |args: &[&str]| Outcome::of(Command::new(&program).args(args));
    check(&Engine {
        name: "Docker",
        run: &run,
    });
}

fn error(sandbox: &Sandbox, options: &[&str]) -> (i32, String) {
    let outcome = sandbox.run(["run", "--rm"].iter().chain(options).chain(&["busybox", "true"]));
    (outcome.code, outcome.stderr)
}

#[test]
fn what_cannot_be_had_says_why() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let table = [
        (
            &["--sysctl", "kernel.panic=1"][..],
            "sysctl `kernel.panic` is not in a separate kernel namespace",
        ),
        (
            &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
            "not allowed in the host's network namespace",
        ),
        (
            &["--cap-add", "SYS_NOTHING"],
            "unknown capability: \"CAP_SYS_NOTHING\"",
        ),
        (
            &["--device", "/no/such"],
            "error gathering device information while adding custom device \"/no/such\"",
        ),
        (
            &["--device-cgroup-rule", "x 1:1 r"],
            "invalid device cgroup format",
        ),
        (
            &["--user", "nix"],
            "unable to find user nix: no matching entries in passwd file",
        ),
        (&["--ulimit", "nix=1"], "invalid ulimit type: nix"),
        (&["--pid", "elsewhere"], "--pid: invalid PID mode"),
        (&["--pid", "container:nix"], "No such container: nix"),
        (&["--userns", "nix"], "--userns: invalid USER mode"),
        (&["--userns", "auto:size=0"], "--userns: invalid USER mode"),
        (
            &["--userns", "auto:size=4294967295"],
            "--userns auto: no 4294967295 users are left",
        ),
        (
            &["--userns", "1000:1000:0"],
            "invalid map of users: there are no 0",
        ),
        (
            &["--userns", "100000:100000", "--uidmap", "0:1"],
            "conflicting options: --userns and --uidmap",
        ),
        (
            &["--userns", "100000:100000", "--privileged"],
            "privileged mode is incompatible with user namespaces",
        ),
        (
            &["--userns", "100000:100000", "--runtime", "libcontainer"],
            "a map of users is not to be had with these options",
        ),
        (
            &["--userns", "100000:100000:10", "--user", "10:0"],
            "user 10 is not in the container's map of users",
        ),
        (
            &["--userns", "100000:100000", "--tmpfs", "/x:uid=70000"],
            "mount option `uid=70000`: it is not in the container's map of users",
        ),
        (&["--runtime", "nix"], "unknown or invalid runtime name: nix"),
        (&["--oom-score-adj", "2000"], "2000 is not in -1000..=1000"),
        (
            &["--blkio-weight", "5"],
            "Range of blkio weight is from 10 to 1000",
        ),
    ];
    for (options, text) in table {
        let (code, stderr) = error(&sandbox, options);
        assert!(
            code == 125 && stderr.contains(text),
            "{options:?}: {code}\n{stderr}"
        );
    }
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

#[test]
fn a_limit_that_cannot_be_raised_is_a_warning() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let mut command = sandbox.command([
        "run",
        "--rm",
        "--network",
        "none",
        "--ulimit",
        "nofile=500:900000000",
    ]);
    command.args(["busybox", "sh", "-c", "ulimit -Sn"]);
    let outcome = Outcome::of(&mut command);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "500\n"), "{outcome}");
    // Root with all its capabilities may raise it, as far as the kernel goes.
    assert!(
        outcome.stderr.is_empty() || outcome.stderr.starts_with("WARNING: ulimit `nofile` is held at"),
        "{outcome}"
    );
}

#[test]
fn an_init_reaps_and_forwards() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    for runtime in ["direct", "libcontainer"] {
        let run = |script: &str| {
            let args = ["run", "--rm", "--network", "none", "--init", "--runtime", runtime];
            sandbox.run(args.iter().chain(&["busybox", "sh", "-c", script]))
        };
        // An orphan that has ended does not stay as a zombie.
        let orphan =
            "sh -c 'sleep 0.1 &'; while ps -o comm | grep -q ^sleep; do :; done; cat /proc/1/comm; exit 7";
        let outcome = run(orphan);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (7, "init\n"),
            "{runtime}\n{outcome}"
        );
        assert_eq!(run("kill -15 $$").code, 143, "{runtime}");
        let detached = [
            "run",
            "-d",
            "--init",
            "--name",
            "kept",
            "--runtime",
            runtime,
            "busybox",
            "sh",
            "-c",
        ];
        sandbox.run(
            detached
                .iter()
                .chain(&["trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"]),
        );
        wait_for("the trap", 10, || {
            (sandbox.ok(["logs", "kept"]) == "up\n").then_some(())
        });
        sandbox.ok(["stop", "-t", "10", "kept"]);
        assert_eq!(
            sandbox.ok(["inspect", "-f", "{{.State.ExitCode}}", "kept"]),
            "5\n",
            "{runtime}"
        );
        sandbox.ok(["rm", "kept"]);
    }
    let terminal = [
        "run",
        "--rm",
        "-t",
        "--init",
        "busybox",
        "sh",
        "-c",
        "tty; test -t 0 && echo yes; jobs; exit 3",
    ];
    let outcome = sandbox.run(terminal);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (3, "/dev/pts/0\r\nyes\r\n"),
        "{outcome}"
    );
}

#[test]
fn nobody_sees_our_binary_but_read_only() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let look = "grep -c plimsoll /proc/1/maps; readlink /proc/1/exe; : >> /proc/1/exe";
    let args = [
        "run",
        "--rm",
        "--init",
        "--cap-add",
        "SYS_PTRACE",
        "busybox",
        "sh",
        "-c",
        look,
    ];
    let outcome = sandbox.run(args);
    assert_ne!(outcome.code, 0, "{outcome}");
    let stat = std::fs::metadata(sandbox.program()).unwrap();
    assert!(stat.len() > 0);
}

#[test]
fn namespaces_of_another_container() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "donor",
        "--ipc",
        "shareable",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(["exec", "donor", "sh", "-c", "echo shared > /dev/shm/file"]);
    let args = [
        "run",
        "--rm",
        "--pid",
        "container:donor",
        "--ipc",
        "container:donor",
        "busybox",
        "sh",
        "-c",
    ];
    let script = "cat /dev/shm/file; cat /proc/1/comm; test $$ -gt 1 && echo beside";
    let outcome = sandbox.run(args.iter().chain(&[script]));
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "shared\nsleep\nbeside\n"),
        "{outcome}"
    );
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{.State.Running}}", "donor"]),
        "true\n"
    );
    sandbox.ok(["run", "-d", "--name", "private", "busybox", "sleep", "1000"]);
    let (code, text) = error(&sandbox, &["--ipc", "container:private"]);
    assert!(code == 125 && text.contains("non-shareable IPC"), "{text}");
    sandbox.ok(["rm", "-f", "donor", "private"]);
}

#[test]
fn hardened_containers() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = sandbox.run(["run", "--rm", "--hardened", "busybox", "true"]);
    assert_eq!(outcome.code, 125, "{outcome}");
    for reason in [
        "the image runs as root: add `--user",
        "no memory limit: add `--memory",
    ] {
        assert!(outcome.stderr.contains(reason), "{outcome}");
    }
    let asked = [
        "run",
        "--rm",
        "--hardened",
        "--user",
        "1000:1000",
        "--memory",
        "64m",
        "--network",
        "none",
    ];
    let look = "touch /x; touch /tmp/x && echo tmp; \
                grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2; id -u";
    let outcome = sandbox.run(asked.iter().chain(&["busybox", "sh", "-c", look]));
    let said: Vec<&str> = outcome.stdout.split_whitespace().collect();
    let expected = ["tmp", "0000000000000000", "0000000000000000", "1", "2", "1000"];
    assert_eq!((outcome.code, said.as_slice()), (0, &expected[..]), "{outcome}");
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
    // A name that is root all the same.
    let alias = [
        "run",
        "--rm",
        "--hardened",
        "--user",
        "0000",
        "--memory",
        "64m",
        "busybox",
        "true",
    ];
    let outcome = sandbox.run(alias);
    assert!(
        outcome.code == 125 && outcome.stderr.contains("is root in this image"),
        "{outcome}"
    );
    // The settings ask for it, and a flag may still say no.
    let settings = sandbox.write("settings.toml", "[run]\nhardened = true\n");
    let with = |options: &[&str]| {
        let global = [
            "--settings",
            settings.as_str(),
            "run",
            "--rm",
            "--network",
            "none",
        ];
        sandbox
            .run(global.iter().chain(options).chain(&["busybox", "true"]))
            .code
    };
    assert_eq!((with(&[]), with(&["--hardened=false"])), (125, 0));
}
