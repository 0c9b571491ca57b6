//! The hosts users have: systemd, cgroup v2, kernel 6.1.

use std::process::Command;

use plimsoll_testkit::{Outcome, basekit_archive, needs};

use crate::{inside, sandbox};

/// Who makes containers.
const RUNTIMES: [&str; 2] = ["direct", "libcontainer"];

const SCRIPT: &str = r#"set -e
export PLIMSOLL_ROOT=/lab/root
p=/lab/plimsoll
$p load -i /lab/busybox.tar
mkdir -p /lab/context && cd /lab/context
printf 'FROM busybox\nRUN echo built > /built\nCMD ["cat", "/built"]\n' > Dockerfile
$p build -q -t app . > /dev/null
[ "$($p run --rm app)" = built ] && echo BUILD-AND-RUN
[ "$($p run --rm -m 64m app cat /sys/fs/cgroup/memory.max)" = 67108864 ] && echo MEMORY-LIMIT
limits='cd /sys/fs/cgroup; cat memory.swap.max memory.low pids.max cpu.max cpuset.cpus'
seen=$($p run --rm -m 64m --memory-swap 96m --memory-reservation 32m --pids-limit 50 --cpus 0.5 --cpuset-cpus 0 app sh -c "$limits" | tr '\n' ' ')
[ "$seen" = "33554432 33554432 50 50000 100000 0 " ] && echo LIMITS || echo "seen: $seen"
code=0; $p run --name full -m 16m --memory-swap 16m app sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' || code=$?
[ "$code $($p inspect -f '{{.State.OOMKilled}}' full)" = "137 true" ] && echo OOM || echo "code: $code"
$p run -d --name box app sleep 1000 > /dev/null
[ "$($p exec box echo inside)" = inside ] && echo EXEC
$p update -m 48m --memory-swap 48m --pids-limit 20 box > /dev/null
[ "$($p exec box sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max' | tr '\n' ' ')" = "50331648 20 " ] && echo UPDATE
$p pause box > /dev/null && [ "$($p inspect -f '{{.State.Status}}' box)" = paused ] && $p unpause box > /dev/null && echo FREEZER
[ "$($p stats --no-stream --format '{{.Name}} {{.PIDs}}' box)" = "box 1" ] && echo STATS
$p stop -t 1 box && $p rm box > /dev/null && echo STOP
$p run -d --name below --cgroup-parent /work/deep -m 64m app sleep 1000 > /dev/null
$p run -d --name inner --cgroup-parent work-a.slice -m 48m app sleep 1000 > /dev/null
group() { cut -d: -f3 /proc/$($p inspect -f '{{.State.Pid}}' $1)/cgroup; }
case "$(group below)" in /work/deep/*) [ "$(cat /sys/fs/cgroup$(group below)/memory.max)" = 67108864 ] && echo PARENT;; esac
case "$(group inner)" in /work.slice/work-a.slice/plimsoll-*.scope/*) [ "$(cat /sys/fs/cgroup$(group inner)/memory.max)" = 50331648 ] && echo SLICE;; esac
scope=$(basename $(dirname $(group inner)))
systemctl is-active -q $scope && [ "$($p exec inner sh -c 'echo $(cat /sys/fs/cgroup/memory.max)')" = 50331648 ] && echo SCOPE
[ "$($p stats --no-stream --format '{{.Name}} {{.PIDs}}' inner)" = "inner 1" ] && $p pause inner > /dev/null && $p unpause inner > /dev/null && echo SCOPE-FREEZER
$p rm -f below inner > /dev/null
systemctl is-active -q $scope || [ -z "$(find /sys/fs/cgroup/work /sys/fs/cgroup/work.slice -name cgroup.procs -exec cat {} +)" ] && echo SCOPE-GONE
$p run -d --name own --userns auto -p 8080:80 -v data:/data -v /lab/context:/bound app sh -c 'mkdir /www; echo served > /www/index.html; touch /data/x /bound/x; chown 5:6 /data/x /bound/x; httpd -f -p 80 -h /www' > /dev/null
pid=$($p inspect -f '{{.State.Pid}}' own)
[ "$(stat -c %u /proc/$pid)" -gt 65535 ] && [ "$(stat -c %u:%g /lab/context/x)" = 5:6 ] && [ "$($p run --rm -v data:/data app stat -c %u:%g /data/x)" = 5:6 ] && echo AUTOMATIC-USERS
fetch() { exec 3<> /dev/tcp/127.0.0.1/8080 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && tail -n 1 <&3; }
for n in $(seq 50); do served=$(fetch 2> /dev/null) && break; sleep 0.1; done
[ "$served" = served ] && [ "$($p exec own id -u)" = 0 ] && $p rm -f own > /dev/null && echo THEIR-NETWORK
"#;

#[test]
fn a_systemd_machine_with_cgroup_v2() {
    needs!(
        root,
        overlay,
        tool = "qemu-system-x86_64",
        path = "../shared/vmlab/run"
    );
    let sandbox = sandbox();
    let tables: String = RUNTIMES
        .iter()
        .map(|runtime| inside::script("$p", runtime))
        .collect();
    let script = sandbox.write("script.sh", format!("{SCRIPT}set +e\n{tables}"));
    // Without its debug information: it is copied into a machine that may be emulated.
    let program = sandbox.path("plimsoll");
    Outcome::of(
        Command::new("strip")
            .arg("-o")
            .arg(&program)
            .arg(sandbox.program()),
    )
    .success("strip");
    let busybox = format!("{}:busybox.tar", basekit_archive("busybox"));
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vmlab/run");
    let mut command = Command::new(lab);
    command.args([
        "--cpus",
        "1",
        "--timeout",
        "900",
        "--put",
        program.as_str(),
        "--put",
        &busybox,
        "--put",
        script.as_str(),
    ]);
    command.args(["--", "bash", "script.sh"]);
    let outcome = Outcome::of(&mut command);
    for step in [
        "BUILD-AND-RUN",
        "MEMORY-LIMIT",
        "LIMITS",
        "OOM",
        "EXEC",
        "UPDATE",
        "FREEZER",
        "STATS",
        "STOP",
        "PARENT",
        "SLICE",
        "SCOPE",
        "SCOPE-FREEZER",
        "SCOPE-GONE",
        "AUTOMATIC-USERS",
        "THEIR-NETWORK",
    ] {
        assert!(outcome.stdout.contains(step), "{step}\n{outcome}");
    }
    // The table that holds on cgroup v1, here.
    assert!(!outcome.stdout.contains("WRONG"), "{outcome}");
    for runtime in RUNTIMES {
        let rows = inside::rows(runtime, |path| path == inside::V2 || path == "/dev/kmsg");
        let count = format!("{runtime}: {rows} rows\n");
        assert!(outcome.stdout.contains(&count), "{count}{outcome}");
    }
}
