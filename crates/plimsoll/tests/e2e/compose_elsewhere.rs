//! An attached `up`, while others work on its project.

use plimsoll_testkit::needs;

use crate::compose_up::project;
use crate::compose_watch::Session;

#[test]
fn what_others_start_again_recreate_or_add_is_followed() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  app: {image: busybox, command: [sh, -c, 'echo begins; exec sleep 1000'], stop_signal: SIGKILL}
  job: {image: busybox, command: [sh, -c, 'echo done'], profiles: [more]}
",
    );
    let mut up = Session::of(&sandbox, &["compose", "up"]);
    up.until(1, "app-1  | begins");
    // Nothing of the project runs for a while: whoever has it is waited for.
    sandbox.ok(["compose", "restart"]);
    up.until(2, "app-1  | begins");
    up.until(1, "app-1 exited with code 137");
    sandbox.ok(["compose", "up", "-d", "--force-recreate"]);
    up.until(3, "app-1  | begins");
    sandbox.ok(["compose", "up", "-d", "--scale", "app=2"]);
    up.until(1, "app-2  | begins");
    sandbox.ok(["compose", "stop"]);
    up.until(1, "app-2 exited with code 137");
    up.ends(0);
}
