//! The hosts users have: systemd, cgroup v2, kernel 6.1.

use std::process::Command;

use plimsoll_testkit::{Outcome, basekit_archive, needs};

use crate::sandbox;

const SCRIPT: &str = r#"set -e
export PLIMSOLL_ROOT=/lab/root
p=/lab/plimsoll
$p load -i /lab/busybox.tar
mkdir -p /lab/context && cd /lab/context
printf 'FROM busybox\nRUN echo built > /built\nCMD ["cat", "/built"]\n' > Dockerfile
$p build -q -t app . > /dev/null
[ "$($p run --rm app)" = built ] && echo BUILD-AND-RUN
[ "$($p run --rm -m 64m app cat /sys/fs/cgroup/memory.max)" = 67108864 ] && echo MEMORY-LIMIT
$p run -d --name box app sleep 1000 > /dev/null
[ "$($p exec box echo inside)" = inside ] && echo EXEC
$p stop -t 1 box && $p rm box > /dev/null && echo STOP
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
    let script = sandbox.write("script.sh", SCRIPT);
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
        "--timeout",
        "600",
        "--put",
        program.as_str(),
        "--put",
        &busybox,
        "--put",
        script.as_str(),
    ]);
    command.args(["--", "bash", "script.sh"]);
    let outcome = Outcome::of(&mut command);
    for step in ["BUILD-AND-RUN", "MEMORY-LIMIT", "EXEC", "STOP"] {
        assert!(outcome.stdout.contains(step), "{step}\n{outcome}");
    }
}
