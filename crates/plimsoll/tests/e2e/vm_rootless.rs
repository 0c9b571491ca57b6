//! An ordinary user on the hosts they have: systemd, cgroup v2 with delegation, subordinate ids, pasta.

use std::process::Command;

use plimsoll_testkit::{Outcome, basekit_archive, needs};

use crate::{inside, sandbox};

const SCRIPT: &str = r#"set +e
p=/lab/plimsoll
[ "$(id -u)" = 1000 ] && $p system check > check && grep -q '^ok *control groups *version 2, with cpu, cpuset, io, memory, pids' check && echo CHECK || cat check
$p load -i /lab/busybox.tar
mkdir -p /lab/context && cd /lab/context
printf 'FROM busybox\nRUN chown 5:6 /etc && echo built > /built\nCMD ["cat", "/built"]\n' > Dockerfile
$p build -q -t app . > /dev/null
[ "$($p run --rm app)" = built ] && [ "$($p run --rm app stat -c %u:%g /etc)" = 5:6 ] && echo BUILD-AND-RUN
limits='cd /sys/fs/cgroup; cat memory.max memory.swap.max memory.low pids.max cpu.max cpuset.cpus'
seen=$($p run --rm -m 64m --memory-swap 96m --memory-reservation 32m --pids-limit 50 --cpus 0.5 --cpuset-cpus 0 app sh -c "$limits" | tr '\n' ' ')
[ "$seen" = "67108864 33554432 33554432 50 50000 100000 0 " ] && echo LIMITS || echo "seen: $seen"
code=0; $p run --name full -m 16m --memory-swap 16m app sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1' || code=$?
[ "$code $($p inspect -f '{{.State.OOMKilled}}' full)" = "137 true" ] && echo OOM || echo "code: $code"
$p network create net > /dev/null
$p run -d --name box --network net -p 8080:80 app sh -c 'mkdir /www; echo served > /www/index.html; httpd -p 80 -h /www; sleep 1000' > /dev/null
group() { cut -d: -f3 /proc/$($p inspect -f '{{.State.Pid}}' $1)/cgroup; }
case $(group box) in /user.slice/user-1000.slice/user@1000.service/app.slice/plimsoll-*.scope/*) echo SCOPE;; *) group box;; esac
systemctl --user is-active --quiet "$(group box | grep -o 'plimsoll-[^/]*\.scope')" && echo UNIT
[ "$($p exec box echo inside)" = inside ] && echo EXEC
$p update -m 48m --memory-swap 48m --pids-limit 20 box > /dev/null
[ "$($p exec box sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max' | tr '\n' ' ')" = "50331648 20 " ] && echo UPDATE
$p pause box > /dev/null && [ "$($p inspect -f '{{.State.Status}}' box)" = paused ] && $p unpause box > /dev/null && echo FREEZER
[ "$($p stats --no-stream --format '{{.Name}} {{.PIDs}}' box)" = "box 2" ] && [ "$($p top box | wc -l)" = 3 ] && echo STATS
$p run --rm --network net app ping -c 1 -W 5 box > /dev/null && echo NAMES
mkdir /lab/www && echo from the host > /lab/www/index.html && busybox httpd -p 9090 -h /lab/www
for n in $(seq 20); do [ "$($p run --rm --init app timeout 5 wget -q -O - http://192.0.2.10:9090/)" = 'from the host' ] && echo OUTSIDE && break; done
fetch() { exec 3<> /dev/tcp/$1/8080 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && timeout 10 tail -n 1 <&3; }
for address in 127.0.0.1 192.0.2.10; do for n in $(seq 50); do [ "$(fetch $address 2> /dev/null)" = served ] && echo "PORT-$address" && break; sleep 0.1; done; done
$p run -d --name inner --cgroup-parent work-a.slice app sleep 100 > /dev/null
case $(group inner) in */user@1000.service/work.slice/work-a.slice/plimsoll-*) echo SLICE;; *) group inner;; esac
$p stop -t 1 box > /dev/null && $p start box > /dev/null && [ "$($p exec box echo again)" = again ] && $p rm -f box inner full > /dev/null && echo STOP
$p run -d --name flaky --restart on-failure:2 app sh -c 'exit 3' > /dev/null
for n in $(seq 100); do [ "$($p inspect -f '{{.State.Status}} {{.RestartCount}}' flaky)" = "exited 2" ] && echo RESTART && break; sleep 0.1; done
"#;

/// What is left when all is over.
const END: &str = r#"$p system check --leaks && $p system reset -f && echo RESET
for n in $(seq 50); do [ -z "$(systemctl --user list-units --plain --no-legend 'plimsoll*')" ] && ! pgrep -f 'userns-holde[r]|past[a]' > /dev/null && echo GONE && break; sleep 0.2; done
"#;

/// Rows of the table that speak of what a user cannot have: nodes, the machine's settings, users of a container's own.
const NOT_FOR_USERS: [&str; 13] = [
    "a device is made and not opened",
    "a rule for devices without a node",
    "privileged",
    "options of a tmpfs",
    "users of its own",
    "a user among users of its own",
    "ids one by one",
    "root of a container is root of its files",
    "and of nothing that is the host's",
    "mounts and terminals know them",
    "streams, a folder that is not there, and an init",
    "a privileged one has the host's devices",
    "kernel parameters",
];
/// Mounts say on which ids of the machine they look.
const AS_SEEN: &str = "s/,inode64//g; s/,uid=1000,gid=1000//g; s/gid=100004/gid=5/g";

#[test]
fn a_user_with_systemd_and_cgroup_v2() {
    needs!(
        root,
        overlay,
        tool = "qemu-system-x86_64",
        path = "../shared/vmlab/run"
    );
    let sandbox = sandbox();
    let table = inside::script_but("$p", "direct", &NOT_FOR_USERS, AS_SEEN);
    let script = sandbox.write("script.sh", format!("{SCRIPT}{table}{END}"));
    let program = sandbox.path("plimsoll");
    let mut strip = Command::new("strip");
    Outcome::of(strip.arg("-o").arg(&program).arg(sandbox.program())).success("strip");
    let busybox = format!("{}:busybox.tar", basekit_archive("busybox"));
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vmlab/run"));
    command.args(["--user", "--cpus", "1", "--timeout", "900"]);
    for file in [program.as_str(), &busybox, script.as_str()] {
        command.args(["--put", file]);
    }
    let outcome = Outcome::of(command.args(["--", "bash", "script.sh"]));
    for step in [
        "CHECK",
        "BUILD-AND-RUN",
        "LIMITS",
        "OOM",
        "SCOPE",
        "UNIT",
        "EXEC",
        "UPDATE",
        "FREEZER",
        "STATS",
        "NAMES",
        "OUTSIDE",
        "PORT-127.0.0.1",
        "PORT-192.0.2.10",
        "SLICE",
        "STOP",
        "RESTART",
        "RESET",
        "GONE",
    ] {
        assert!(
            outcome.stdout.lines().any(|line| line == step),
            "{step}\n{outcome}"
        );
    }
    assert!(!outcome.stdout.contains("WRONG"), "{outcome}");
    assert!(outcome.stdout.contains("\ndirect: "), "{outcome}");
}
