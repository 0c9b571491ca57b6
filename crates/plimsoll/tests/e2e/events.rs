//! `events`: what has happened, and what happens.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use plimsoll_testkit::{Sandbox, needs};
use serde_json::Value;

use crate::with_busybox;

fn past<const N: usize>(sandbox: &Sandbox, filters: [&str; N]) -> Vec<String> {
    let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
    let args = [
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "--format",
        "{{.Action}}",
    ];
    let outcome = sandbox.run(args.into_iter().chain(filters));
    outcome.success("events").lines().map(str::to_owned).collect()
}

#[test]
fn the_life_of_a_container() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "-l",
        "tier=front",
        "busybox",
        "sleep",
        "100",
    ]);
    sandbox.ok(["exec", "box", "true"]);
    sandbox.ok(["pause", "box"]);
    sandbox.ok(["unpause", "box"]);
    sandbox.ok(["rename", "box", "web"]);
    sandbox.ok(["stop", "-t", "0", "web"]);
    sandbox.ok(["rm", "web"]);
    sandbox.run(["run", "--rm", "--name", "other", "busybox", "false"]);
    assert_eq!(
        past(&sandbox, ["container=web", "type=container"]),
        ["rename", "kill", "kill", "die", "stop", "destroy"]
    );
    assert_eq!(
        past(&sandbox, ["container=box"]),
        [
            "create",
            "start",
            "exec_create: true",
            "exec_start: true",
            "exec_die",
            "pause",
            "unpause"
        ]
    );
    assert_eq!(
        past(&sandbox, ["container=other"]),
        ["create", "start", "die", "destroy"]
    );
    assert_eq!(
        past(&sandbox, ["label=tier=front", "event=die", "event=start"]),
        ["start", "die"]
    );
    let line = sandbox.ok([
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "-f",
        "event=die",
        "-f",
        "container=other",
    ]);
    assert!(
        line.contains(" container die ")
            && line.contains("(execDuration=")
            && line.ends_with(", exitCode=1, image=busybox, name=other)\n"),
        "{line}"
    );
    let line = sandbox.ok([
        "events",
        "--since",
        "10m",
        "--until",
        "0s",
        "-f",
        "event=create",
        "-f",
        "container=box",
        "--format",
        "json",
    ]);
    let event: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&event["status"], &event["from"], &event["scope"]),
        (&"create".into(), &"busybox".into(), &"local".into())
    );
    assert_eq!(event["Actor"]["Attributes"]["tier"], "front");
    assert_eq!(
        event["time"].as_i64(),
        event["timeNano"].as_i64().map(|time| time / 1_000_000_000)
    );
    sandbox.fails(1, ["events", "--filter", "contaner=x"]);
}

#[test]
fn a_follower_is_told_at_once() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let mut follower = sandbox
        .command(["events", "--format", "{{.Action}} {{.Actor.Attributes.name}}"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe was asked for")).lines();
    // What happened before it looked is not shown: something has to happen until it looks.
    let mut tries = 0;
    let looks = std::thread::scope(|scope| {
        let reader = scope.spawn(|| lines.next());
        while !reader.is_finished() {
            sandbox.ok(["create", "--name", &format!("try{tries}"), "busybox"]);
            tries += 1;
        }
        reader.join().expect("a line")
    });
    assert!(looks.expect("a line").expect("text").starts_with("create try"));
    sandbox.ok(["run", "--name", "box", "busybox", "true"]);
    let seen: Vec<String> = lines
        .map(|line| line.expect("text"))
        .filter(|line| line.ends_with(" box"))
        .take(3)
        .collect();
    assert_eq!(seen, ["create box", "start box", "die box"]);
    follower.kill().expect("it is there");
    follower.wait().expect("it ends");
}

#[test]
fn images_come_and_go() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["tag", "busybox", "mine:1"]);
    sandbox.ok(["rmi", "mine:1"]);
    sandbox.ok(["rmi", "busybox"]);
    let args = ["events", "--since", "10m", "--until", "0s", "-f", "type=image"];
    let shown = sandbox.run(
        args.into_iter()
            .chain(["--format", "{{.Action}} {{.Actor.Attributes.name}}"]),
    );
    let shown = shown.success("events");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "load busybox:latest",
            "tag mine:1",
            "untag mine:1",
            "untag busybox:latest"
        ],
        "{shown}"
    );
    assert!(lines[4].starts_with("delete sha256:"), "{shown}");
}

#[test]
fn volumes_and_networks_are_used_and_left() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.ok(["network", "create", "net"]);
    sandbox.ok(["network", "create", "more"]);
    sandbox.ok(["volume", "create", "vol"]);
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "net",
        "-v",
        "vol:/v:ro",
        "busybox",
        "sleep",
        "100",
    ]);
    // One that is there is not made again.
    sandbox.ok(["volume", "create", "vol"]);
    sandbox.ok(["network", "connect", "more", "box"]);
    sandbox.ok(["network", "disconnect", "more", "box"]);
    sandbox.ok(["stop", "-t", "0", "box"]);
    sandbox.ok(["rm", "box"]);
    sandbox.ok(["network", "rm", "net"]);
    sandbox.ok(["volume", "rm", "vol"]);
    assert_eq!(
        past(&sandbox, ["type=network", "network=net"]),
        ["create", "connect", "disconnect", "destroy"]
    );
    assert_eq!(
        past(&sandbox, ["type=network", "network=more"]),
        ["create", "connect", "disconnect"]
    );
    assert_eq!(
        past(&sandbox, ["volume=vol"]),
        ["create", "mount", "unmount", "destroy"]
    );
    assert_eq!(
        past(
            &sandbox,
            [
                "event=mount",
                "event=connect",
                "event=start",
                "event=disconnect",
                "event=unmount",
                "event=die"
            ]
        ),
        [
            "mount",
            "connect",
            "start",
            "connect",
            "disconnect",
            "disconnect",
            "unmount",
            "die"
        ]
    );
    let args = ["events", "--since", "10m", "--until", "0s", "-f", "event=mount"];
    let line = sandbox.ok(args);
    assert!(
        line.contains(" volume mount vol (container=")
            && line.ends_with(", destination=/v, driver=local, propagation=, read/write=false)\n"),
        "{line}"
    );
}

#[test]
fn what_is_unused_is_removed() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.ok(["volume", "create"]);
    sandbox.ok(["system", "prune", "--force", "--volumes"]);
    let args = ["events", "--since", "10m", "--until", "0s", "-f", "event=prune"];
    let shown = sandbox.ok(args);
    let shown: Vec<_> = shown
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, rest)| rest)
        .collect();
    assert_eq!(
        shown,
        [
            "container prune  (reclaimed=0)",
            "network prune  (reclaimed=0)",
            "volume prune  (reclaimed=4096)",
            "image prune  (reclaimed=0)",
            "builder prune  (reclaimed=0)"
        ]
    );
}
