//! What services really get, seen from inside their containers, and what becomes of them when their files change.

use plimsoll_testkit::{Sandbox, needs};

use crate::{inspect, with_busybox};

fn project(text: &str) -> Sandbox {
    let sandbox = with_busybox();
    write(&sandbox, text);
    sandbox
}

fn write(sandbox: &Sandbox, text: &str) {
    sandbox.write("compose.yaml", format!("name: p\n{text}"));
}

/// Brings the project up; returns what was said.
#[track_caller]
fn up(sandbox: &Sandbox, options: &[&str]) -> String {
    let args = ["compose", "up", "-d"].iter().chain(options);
    let outcome = sandbox.run(args);
    assert_eq!(outcome.code, 0, "{outcome}");
    outcome.stderr
}

#[test]
fn containers_that_end_while_their_time_runs_out_are_stopped() {
    needs!(root, overlay);
    let sandbox = project(
        "services: {s: {image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, scale: 12}}\n",
    );
    up(&sandbox, &[]);
    // One after the other: each has the time for itself that it takes to be cleared away.
    for number in 1..=12 {
        sandbox.ok(["stop", "-t", "0", &format!("p-s-{number}")]);
    }
    assert_eq!(inspect(&sandbox, "p-s-1")["State"]["ExitCode"], 137);
}
