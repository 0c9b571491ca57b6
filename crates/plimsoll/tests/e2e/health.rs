//! HEALTHCHECK: starting, healthy, unhealthy.

use plimsoll_testkit::{Sandbox, needs};

use crate::{build_ok, wait_for, with_busybox};

fn status(sandbox: &Sandbox) -> String {
    sandbox
        .ok(["inspect", "-f", "{{.State.Health.Status}}", "box"])
        .trim()
        .to_owned()
}

#[test]
fn health_goes_from_starting_to_healthy_to_unhealthy() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        "FROM busybox\nHEALTHCHECK --interval=300ms --timeout=5s --retries=2 CMD test -e /ok && echo fine || { echo sick; exit 1; }\nCMD sleep 1000\n",
        &[],
    );
    sandbox.ok(["run", "-d", "--name", "box", "app"]);
    assert!(matches!(status(&sandbox).as_str(), "starting" | "unhealthy"));
    sandbox.ok(["exec", "box", "touch", "/ok"]);
    wait_for("healthy", 20, || (status(&sandbox) == "healthy").then_some(()));
    assert!(sandbox.ok(["ps"]).contains("(healthy)"));
    sandbox.ok(["exec", "box", "rm", "/ok"]);
    wait_for("unhealthy", 20, || {
        (status(&sandbox) == "unhealthy").then_some(())
    });
    let log = sandbox.ok(["inspect", "-f", "{{json .State.Health}}", "box"]);
    assert!(log.contains("sick") && log.contains("\"FailingStreak\""), "{log}");
    assert!(sandbox.ok(["ps"]).contains("(unhealthy)"));
}

#[test]
fn without_a_health_check_there_is_no_health() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["run", "-d", "--name", "box", "busybox", "sleep", "100"]);
    assert_eq!(
        sandbox.ok([
            "inspect",
            "-f",
            "{{if .State.Health}}some{{else}}none{{end}}",
            "box"
        ]),
        "none\n"
    );
}
