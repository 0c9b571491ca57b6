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

#[test]
fn a_network_that_changes_is_made_anew_under_its_containers() {
    needs!(root, overlay);
    let text = |label: u32| {
        format!(
            "services:
  both: {{image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, scale: 3, networks: [one, two]}}
  other: {{image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, networks: [two]}}
networks: {{one: {{labels: {{version: '{label}'}}}}, two: {{}}}}
"
        )
    };
    let sandbox = project(&text(0));
    up(&sandbox, &[]);
    let other = inspect(&sandbox, "p-other-1")["Id"].clone();
    for label in 1..=3 {
        write(&sandbox, &text(label));
        let said = up(&sandbox, &[]);
        assert!(
            said.contains("Container p-both-1  Recreated  network p_one changed"),
            "{said}"
        );
        let seen = sandbox.ok(["network", "inspect", "-f", "{{.Labels.version}}", "p_one"]);
        assert_eq!(seen, format!("{label}\n"));
        sandbox.ok(["exec", "p-both-2", "ping", "-c1", "other"]);
    }
    assert_eq!(inspect(&sandbox, "p-other-1")["Id"], other);
}
