//! Containers in a terminal: keys that leave them, and signals that do not reach them.

use plimsoll_testkit::{Sandbox, Terminal, needs};
use rustix::process::Signal;

use crate::with_busybox;

fn start<const N: usize>(sandbox: &Sandbox, args: [&str; N]) -> Terminal {
    Terminal::start(sandbox.command(args), 24, 80)
}

fn is_running(sandbox: &Sandbox, name: &str) -> bool {
    sandbox.ok(["inspect", "-f", "{{.State.Running}}", name]) == "true\n"
}

#[track_caller]
fn escaped(terminal: Terminal) {
    let (code, rest) = terminal.finish();
    let rest = String::from_utf8_lossy(&rest);
    assert!(
        code == 1 && rest.ends_with("read escape sequence\r\n"),
        "{code} {rest}"
    );
}

/// Says so when it was asked to end.
const STUBBORN: &str = "trap 'echo asked' INT TERM; echo ready; while :; do sleep 0.05; done";

#[test]
fn detach_keys_leave_the_container_running() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let args = [
        "run",
        "-it",
        "--name",
        "box",
        "--detach-keys",
        "ctrl-a,d",
        "busybox",
        "sh",
        "-c",
        "echo ready; exec cat",
    ];
    let mut terminal = start(&sandbox, args);
    terminal.read_until("ready");
    // Those of before mean nothing, and one key alone is for the program.
    terminal.write(b"\x10\x11half\x01 way\n");
    terminal.read_until("way");
    terminal.write(b"\x01d");
    let (code, rest) = terminal.finish();
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&rest));
    assert!(is_running(&sandbox, "box"));

    let mut terminal = start(&sandbox, ["attach", "--detach-keys", "x,y", "box"]);
    terminal.write(b"again\n");
    terminal.read_until("again");
    terminal.write(b"xy");
    escaped(terminal);
    assert!(is_running(&sandbox, "box"));

    // What it writes when nobody sees it must not stop it.
    let script = "echo ready; read x; seq 20000; echo done >/left; exec sleep 99";
    let mut terminal = start(
        &sandbox,
        ["exec", "-it", "--detach-keys", "q", "box", "sh", "-c", script],
    );
    terminal.read_until("ready");
    terminal.write(b"q");
    escaped(terminal);
    sandbox.ok(["exec", "box", "sh", "-c", "ps | grep -q '[s]h -c echo ready'"]);
    let mut terminal = start(
        &sandbox,
        [
            "exec",
            "-it",
            "--detach-keys",
            "q",
            "box",
            "sh",
            "-c",
            &script.replace("read x;", ""),
        ],
    );
    terminal.read_until("ready");
    terminal.write(b"q");
    terminal.finish();
    sandbox.ok([
        "exec",
        "box",
        "sh",
        "-c",
        "until test -e /left; do sleep 0.05; done; ps | grep -q '[s]leep 99'",
    ]);
}

#[test]
fn wrong_keys_are_refused() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    for keys in ["ctrl-1", "abc", ""] {
        let outcome = sandbox.run(["run", "--rm", "--detach-keys", keys, "busybox", "true"]);
        assert_eq!(outcome.code, 125, "{outcome}");
        assert!(
            outcome.stderr.contains(&format!("invalid detach keys `{keys}`")),
            "{outcome}"
        );
    }
    assert_eq!(sandbox.ok(["ps", "-aq"]), "", "nothing was left behind");
}

#[test]
fn signals_stay_here_when_they_are_not_passed_on() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let args = [
        "run",
        "--sig-proxy=false",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        STUBBORN,
    ];
    let mut terminal = start(&sandbox, args);
    terminal.read_until("ready");
    terminal.signal(Signal::INT);
    terminal.finish();
    assert!(is_running(&sandbox, "box"));

    // Who sees it is attached, and has said before what becomes of signals.
    let script = "while :; do echo here >/proc/1/fd/1; sleep 0.1; done";
    sandbox.ok(["exec", "-d", "box", "sh", "-c", script]);
    let mut terminal = start(&sandbox, ["attach", "--sig-proxy=false", "box"]);
    terminal.read_until("here");
    terminal.signal(Signal::TERM);
    terminal.finish();
    assert!(is_running(&sandbox, "box"));
    let logs = sandbox.ok(["logs", "box"]);
    assert!(!logs.contains("asked"), "nobody asked it to end: {logs}");

    let mut terminal = start(&sandbox, ["attach", "box"]);
    terminal.read_until("here");
    terminal.signal(Signal::TERM);
    terminal.read_until("asked");
    sandbox.ok(["kill", "box"]);
    assert_eq!(terminal.finish().0, 137);
}

#[test]
fn a_terminal_of_its_own_gets_signals_too() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut terminal = start(&sandbox, ["run", "-t", "--rm", "busybox", "sh", "-c", script]);
    terminal.read_until("ready");
    terminal.signal(Signal::TERM);
    terminal.read_until("asked");
    assert_eq!(terminal.finish().0, 3);
}
