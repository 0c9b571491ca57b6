//! Images that are mounted into containers: `--mount type=image`, and the same of compose.

use plimsoll_testkit::{Sandbox, needs};
use serde_json::json;

use crate::{build_ok, inspect, with_busybox};

/// `app` has `/tools/sub/file`, and two links.
fn with_tools() -> Sandbox {
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox
RUN mkdir -p /tools/sub && echo hi >/tools/sub/file && ln -s /etc /tools/out && ln -s sub /tools/near
RUN rm /bin/wget
";
    build_ok(&sandbox, dockerfile, &[]);
    sandbox
}

const WHOLE: &str = "type=image,source=app,target=/x";
const PART: &str = "type=image,source=app,target=/y,image-subpath=tools/sub";

#[test]
fn an_image_stays_for_as_long_as_it_is_mounted() {
    needs!(root, overlay);
    let sandbox = with_tools();
    let sh = |script: &str| sandbox.ok(["exec", "user", "sh", "-c", script]);
    sandbox.ok([
        "run", "-d", "--name", "user", "--mount", WHOLE, "--mount", PART, "busybox", "sleep", "1000",
    ]);
    assert_eq!(sh("cat /x/tools/sub/file /y/file; ls /y"), "hi\nhi\nfile\n");
    // What an upper layer takes away is away.
    assert_eq!(sh("test -e /x/bin/wget || echo gone"), "gone\n");
    for path in ["/x/new", "/y/new"] {
        sandbox.fails(1, ["exec", "user", "touch", path]);
    }
    let mounts = &inspect(&sandbox, "user")["Mounts"];
    for (number, target) in ["/x", "/y"].into_iter().enumerate() {
        let seen = &mounts[number];
        assert_eq!(
            (&seen["Type"], &seen["Name"], &seen["Destination"], &seen["RW"]),
            (&json!("image"), &json!("app"), &json!(target), &json!(false))
        );
    }

    let inherited = [
        "run",
        "--rm",
        "--volumes-from",
        "user",
        "busybox",
        "cat",
        "/y/file",
    ];
    assert_eq!(sandbox.ok(inherited), "hi\n");

    sandbox.ok(["rmi", "-f", "app"]);
    sandbox.ok(["system", "prune", "-af"]);
    sandbox.ok(["restart", "-t", "0", "user"]);
    assert_eq!(sh("cat /x/tools/sub/file /y/file"), "hi\nhi\n");
    sandbox.ok(["stop", "-t", "0", "user"]);
    // Of one that does not run, too.
    sandbox.ok(["cp", "user:/y/file", "copied"]);
    assert_eq!(
        std::fs::read_to_string(sandbox.path("work/copied")).unwrap(),
        "hi\n"
    );

    sandbox.ok(["rm", "-f", "user"]);
    sandbox.ok(["system", "prune", "-af"]);
    let layers = std::fs::read_dir(sandbox.path("root/snapshots")).unwrap();
    assert_eq!(layers.count(), 0, "nothing holds them any more");
}

#[test]
fn a_part_of_an_image_is_no_way_out() {
    needs!(root, overlay);
    let sandbox = with_tools();
    let run = |subpath: &str| {
        let mount = format!("type=image,source=app,target=/x,image-subpath={subpath}");
        let said = sandbox.fails(125, ["run", "--rm", "--mount", &mount, "busybox", "true"]);
        assert!(said.contains("path"), "{said}");
    };
    for subpath in [
        "none",
        "tools/out",
        "tools/near",
        "tools/near/file",
        "../etc",
        "/tools",
    ] {
        run(subpath);
    }
    let never = [
        "run",
        "--rm",
        "--pull=never",
        "--mount",
        "type=image,source=none-such,target=/x",
        "busybox",
        "true",
    ];
    assert!(sandbox.fails(125, never).contains("No such image: none-such"));
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

#[test]
fn a_service_mounts_an_image() {
    needs!(root, overlay);
    let sandbox = with_tools();
    sandbox.write(
        "compose.yaml",
        "name: p
services:
  user:
    image: busybox
    command: [sleep, '1000']
    init: true
    volumes:
      - {type: image, source: app, target: /x}
      - {type: image, source: app, target: /y, image: {subpath: tools/sub}}
",
    );
    sandbox.ok(["compose", "up", "-d"]);
    let read = ["exec", "p-user-1", "cat", "/x/tools/sub/file", "/y/file"];
    assert_eq!(sandbox.ok(read), "hi\nhi\n");
    let again = sandbox.run(["compose", "up", "-d"]);
    assert!(again.stderr.contains("Running"), "{again}");
    let one_off = ["compose", "run", "--rm", "user", "cat", "/y/file"];
    assert_eq!(sandbox.ok(one_off), "hi\n");
    sandbox.ok(["compose", "down", "-t", "0"]);
}
