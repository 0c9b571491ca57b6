//! After a reboot what should run runs again, where it was.
//!
//! A machine is really booted three times over one disk where qemu and the laboratory are at hand. Elsewhere a boot is played: every
//! process is killed, what the kernel would have forgotten is taken away, and the boot has another id.

use std::process::Command;

use plimsoll_testkit::{Outcome, Sandbox, basekit_archive, needs};
use rustix::process::{Pid, Signal, kill_process};

use crate::crash_containers::victims;
use crate::leaks::leaks;
use crate::{sandbox, wait_for, with_busybox};

/// A sandbox whose program takes the boot's id from a file, after the one that holds that program.
fn with_boot_id() -> (Sandbox, Sandbox) {
    let place = sandbox();
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c 'mount --bind \"${{PLIMSOLL_ROOT%/root}}/boot-id\" /proc/sys/kernel/random/boot_id && exec \"$0\" \"$@\"' {} \"$@\"\n",
        place.program().display()
    );
    let wrapper = place.write("wrapper", script);
    Outcome::of(Command::new("chmod").args(["+x", wrapper.as_str()])).success("chmod");
    let sandbox = Sandbox::of(wrapper.into());
    std::fs::write(sandbox.path("boot-id"), "00000000-0000-0000-0000-000000000001\n").expect("a file");
    sandbox.load("busybox");
    (place, sandbox)
}

/// Ends every process of the root, and takes away what lives in the kernel only.
fn boot(sandbox: &Sandbox, number: u32) {
    wait_for("everybody is dead", 20, || {
        let left = victims(sandbox);
        left.iter()
            .for_each(|(pid, _)| kill_process(*pid, Signal::KILL).unwrap_or_default());
        left.is_empty().then_some(())
    });
    let instance = sandbox.instance().expect("a store");
    let links = std::fs::read_dir("/sys/class/net").expect("a folder").flatten();
    for link in links.filter_map(|link| link.file_name().into_string().ok()) {
        if link.starts_with(&format!("pl{instance}")) {
            Outcome::of(Command::new("ip").args(["link", "del", &link])).success("ip");
        }
    }
    let table = format!("plimsoll_{instance}");
    Outcome::of(Command::new("nft").args(["delete", "table", "ip", &table])).success("nft");
    let id = format!("00000000-0000-0000-0000-{number:012}\n");
    std::fs::write(sandbox.path("boot-id"), id).expect("a file");
}

/// Where containers are: addresses and published ports.
fn places(sandbox: &Sandbox, names: &[&str]) -> String {
    let template = "{{.Name}} {{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}{{json .NetworkSettings.Ports}}";
    let args = ["inspect", "-f", template]
        .into_iter()
        .chain(names.iter().copied());
    sandbox.run(args).success(names)
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_should_run_runs_after_a_boot_that_is_played() {
    needs!(root, overlay, tool = "nft", tool = "ip", tool = "unshare");
    let (_place, sandbox) = with_boot_id();
    sandbox.ok(["network", "create", "back"]);
    let run = |name: &str, options: &[&str]| {
        let before = ["run", "-d", "--name", name];
        let args = before.iter().chain(options).chain(&["busybox", "sleep", "1000"]);
        sandbox.run(args).success(options);
    };
    run("early", &["--network", "back"]);
    run("web", &["--restart", "always", "-p", "80"]);
    run(
        "db",
        &[
            "--restart",
            "unless-stopped",
            "--network",
            "back",
            "-p",
            "127.0.0.1::81",
        ],
    );
    run("joined", &["--restart", "always", "--network", "container:db"]);
    run("linked", &["--restart", "always", "--link", "web:www"]);
    run("failing", &["--restart", "on-failure"]);
    run("stopped", &["--restart", "unless-stopped"]);
    run("halted", &["--restart", "always"]);
    run("once", &[]);
    run("gone", &["--rm"]);
    run("frozen", &["--restart", "always", "--network", "none"]);
    sandbox.ok(["create", "--name", "never", "--restart", "always", "busybox"]);
    sandbox.ok(["stop", "-t", "0", "stopped", "halted"]);
    sandbox.ok(["pause", "frozen"]);
    // So that addresses are not simply given out in their order again.
    sandbox.ok(["rm", "-f", "early"]);
    let before = places(&sandbox, &["web", "db", "linked"]);

    boot(&sandbox, 2);
    let started = sandbox.ok(["system", "restore"]);
    let expected = ["db", "failing", "frozen", "halted", "joined", "linked", "web"];
    assert_eq!(sorted(&started), expected);
    assert_eq!(places(&sandbox, &["web", "db", "linked"]), before);
    let states = sandbox.ok(["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(
        sorted(&states),
        [
            "db running",
            "failing running",
            "frozen running",
            "halted running",
            "joined running",
            "linked running",
            "never created",
            "once exited",
            "stopped exited",
            "web running",
        ]
    );
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
    assert_eq!(sandbox.ok(["system", "restore"]), "", "nothing is left to do");

    // One that cannot be started does not hold up the others. Its port was left to chance, and somebody has it now.
    sandbox.ok(["rm", "-f", "linked", "joined", "failing", "halted", "frozen"]);
    let port = sandbox
        .ok(["port", "db", "81"])
        .trim()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let address: std::net::SocketAddr = format!("127.0.0.1:{port}").parse().expect("an address");
    boot(&sandbox, 3);
    let taken = std::net::TcpListener::bind(address).expect("nobody has it");
    assert_eq!(sorted(&sandbox.ok(["system", "restore"])), ["db", "web"]);
    drop(taken);
    let fixed = format!("127.0.0.1:{port}:80");
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "fixed",
        "--restart",
        "always",
        "-p",
        &fixed,
        "busybox",
        "sleep",
        "1000",
    ]);
    boot(&sandbox, 4);
    let _taken = std::net::TcpListener::bind(address).expect("nobody has it");
    let outcome = sandbox.run(["system", "restore"]);
    assert_eq!(
        (outcome.code, sorted(&outcome.stdout)),
        (1, vec!["db", "web"]),
        "{outcome}"
    );
    assert!(
        outcome.stderr.contains("error: cannot start `fixed`: "),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("port is already allocated"), "{outcome}");
}

/// The supervisor of the container `box`.
fn supervisor(sandbox: &Sandbox) -> Pid {
    let found = victims(sandbox)
        .into_iter()
        .find(|(_, kind)| *kind == "supervisor");
    found.expect("it runs").0
}

#[test]
fn a_supervisor_that_is_asked_to_end_asks_its_program() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let script = "trap 'echo bye; exit 3' USR2; echo up; while :; do sleep 0.05; done";
    let options = [
        "run",
        "-d",
        "--name",
        "box",
        "--restart",
        "unless-stopped",
        "--stop-signal",
        "USR2",
    ];
    sandbox
        .run(options.iter().chain(&["busybox", "sh", "-c", script]))
        .success(&options);
    wait_for("up", 10, || (sandbox.ok(["logs", "box"]) == "up\n").then_some(()));
    kill_process(supervisor(&sandbox), Signal::TERM).expect("it was there");
    let state = || sandbox.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box"]);
    wait_for("it ends by itself", 10, || {
        (state() == "exited 3\n").then_some(())
    });
    assert_eq!(sandbox.ok(["logs", "box"]), "up\nbye\n");
    assert_eq!(sandbox.ok(["ps", "-q"]), "", "and nobody but restore starts it");
    assert_eq!(sandbox.ok(["system", "restore"]), "box\n");
    wait_for("up", 10, || {
        sandbox.ok(["logs", "box"]).ends_with("bye\nup\n").then_some(())
    });
    // What somebody stops in between stays stopped.
    kill_process(supervisor(&sandbox), Signal::TERM).expect("it was there");
    wait_for("it ends by itself", 10, || {
        (state() == "exited 3\n").then_some(())
    });
    sandbox.ok(["stop", "box"]);
    assert_eq!(sandbox.ok(["system", "restore"]), "");
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
}

/// What the machine of the laboratory does at each of its boots.
const BOOTS: &str = include_str!("restore/boots.sh");

#[test]
fn what_should_run_runs_after_a_reboot() {
    needs!(
        root,
        overlay,
        tool = "qemu-system-x86_64",
        path = "../shared/vmlab/run"
    );
    let sandbox = sandbox();
    let script = sandbox.write("boots.sh", BOOTS);
    let program = sandbox.path("plimsoll");
    Outcome::of(
        Command::new("strip")
            .arg("-o")
            .arg(&program)
            .arg(sandbox.program()),
    )
    .success("strip");
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../contrib/systemd/system/plimsoll.service"
    );
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vmlab/run");
    let busybox = format!("{}:busybox.tar", basekit_archive("busybox"));
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
    ]);
    command.args(["--put", script.as_str(), "--put", unit, "--", "bash", "boots.sh"]);
    let outcome = Outcome::of(&mut command);
    let boots: Vec<&str> = outcome.stdout.split("--- boot ").collect();
    assert_eq!(boots.len(), 4, "{outcome}");
    let running = "running: db failing halted joined late web";
    for (number, wanted) in [
        (1, vec!["VERIFIED"]),
        (
            2,
            vec![
                "active",
                "ANOTHER-BOOT",
                running,
                "SAME-PLACES",
                "REACHED",
                "ASKED-TO-END",
                "No leaks",
                "NAMES",
            ],
        ),
        (
            3,
            vec!["ANOTHER-BOOT", running, "SAME-PLACES", "REACHED", "No leaks"],
        ),
        (
            3,
            vec![
                "running:\nended: exited 0 exited 137",
                "JUMPED +400 days",
                "JUMPED -900 days",
                "DONE",
            ],
        ),
    ] {
        for line in wanted {
            assert!(boots[number].contains(line), "boot {number}: {line}\n{outcome}");
        }
    }
    for boot in &boots[2..] {
        let others = "failing running,halted running,joined running,late running,never created,stopped exited,web running,";
        assert!(boot.contains(others), "{outcome}");
    }
}
