//! Devices that their makers describe: `--device vendor/class=name`, `--gpus`, and what compose files say of them.

use plimsoll_testkit::{Sandbox, needs};

use crate::compose_up::project;
use crate::{inspect, with_busybox};

/// Says in `cdi/` what a widget and a GPU are, and in `settings.toml` that they are looked for there.
fn describe(sandbox: &Sandbox) {
    let folder = sandbox.path("work/cdi");
    let file = sandbox.write("lib/widget.txt", "from the maker\n");
    let script = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = sandbox.write(name, format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        path
    };
    // As hooks of makers do: the bundle is in the state, and in its configuration the root.
    let link = script(
        "link",
        "PATH=/usr/bin:/bin
bundle=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/')
root=$(sed 's/.*\"root\":{\"path\":\"\\([^\"]*\\)\".*/\\1/' $bundle/config.json)
ln -s $1 $root/linked",
    );
    let told = sandbox.path("work/told");
    let tell = script("tell", &format!("echo $1 >> {told}"));
    let fail = script("fail", "echo no such luck >&2; exit 3");
    sandbox.write(
        "cdi/acme.yaml",
        format!(
            "cdiVersion: '0.6.0'
kind: acme.com/widget
containerEdits: {{env: [ACME=yes], additionalGids: [4711]}}
devices:
  - name: one
    containerEdits:
      env: [WIDGET=one]
      deviceNodes: [{{path: /dev/widget, hostPath: /dev/zero, permissions: r, fileMode: 0640}}]
      mounts: [{{hostPath: {file}, containerPath: /opt/widget.txt, options: [ro, nosuid, bind]}}]
  - name: hooked
    containerEdits:
      hooks:
        - {{hookName: prestart, path: {tell}, args: [tell, prestart]}}
        - {{hookName: createRuntime, path: {tell}, args: [tell, createRuntime]}}
        - {{hookName: createContainer, path: {link}, args: [link, target], timeout: 60}}
        - {{hookName: startContainer, path: /bin/touch, args: [touch, /started]}}
        - {{hookName: poststart, path: {tell}, args: [tell, poststart]}}
        - {{hookName: poststop, path: {tell}, args: [tell, poststop]}}
  - name: failing
    containerEdits: {{hooks: [{{hookName: createRuntime, path: {fail}}}]}}
"
        ),
    );
    sandbox.write(
        "cdi/nvidia.json",
        r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
            {"name": "0", "containerEdits": {"env": ["GPU=0"]}},
            {"name": "all", "containerEdits": {"env": ["GPU=all"]}}]}"#,
    );
    sandbox.write("settings.toml", format!("[run]\ncdi-spec-dirs = ['{folder}']\n"));
}

const SETTINGS: &str = "--settings=settings.toml";

#[test]
fn a_container_gets_what_the_maker_of_its_device_says() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    describe(&sandbox);
    let script = "echo $ACME $WIDGET; id -G; cat /opt/widget.txt; stat -c '%a %t %T' /dev/widget; head -c 3 /dev/widget | wc -c;
        echo > /opt/widget.txt || echo refused";
    for runtime in ["direct", "libcontainer"] {
        let seen = sandbox.ok([
            SETTINGS,
            "run",
            "--rm",
            "--runtime",
            runtime,
            "--device",
            "acme.com/widget=one",
            "busybox",
            "sh",
            "-c",
            script,
        ]);
        let expected = "yes one\n0 4711\nfrom the maker\n640 1 5\n3\nrefused\n";
        // Root's other groups come from the image.
        let seen = seen.replace("0 10 4711", "0 4711");
        assert_eq!(seen, expected, "{runtime}");
    }
}

#[test]
fn programs_of_the_maker_are_called_on_the_way() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    describe(&sandbox);
    for runtime in ["direct", "libcontainer"] {
        let seen = sandbox.ok([
            SETTINGS,
            "run",
            "--rm",
            "--runtime",
            runtime,
            "--device",
            "acme.com/widget=hooked",
            "busybox",
            "sh",
            "-c",
            "readlink /linked; ls /started",
        ]);
        assert_eq!(seen, "target\n/started\n", "{runtime}");
        let told = std::fs::read_to_string(sandbox.path("work/told")).expect("what hooks wrote");
        assert_eq!(
            told, "prestart\ncreateRuntime\npoststart\npoststop\n",
            "{runtime}"
        );
        std::fs::remove_file(sandbox.path("work/told")).expect("it is there");
    }
    let failed = sandbox.run([
        SETTINGS,
        "run",
        "--name",
        "failed",
        "--device",
        "acme.com/widget=failing",
        "busybox",
    ]);
    assert_eq!(failed.code, 125, "{failed}");
    assert!(
        failed.stderr.contains("createRuntime hook")
            && failed.stderr.contains("exit status: 3: no such luck"),
        "{failed}"
    );
    sandbox.ok(["rm", "failed"]);
}

#[test]
fn gpus_are_those_that_are_described_or_an_error() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    describe(&sandbox);
    let gpu = |flag: &str| {
        sandbox.ok([
            SETTINGS,
            "run",
            "--rm",
            "--gpus",
            flag,
            "busybox",
            "sh",
            "-c",
            "echo $GPU",
        ])
    };
    assert_eq!(
        (gpu("all"), gpu("device=0")),
        ("all\n".to_owned(), "0\n".to_owned())
    );
    // The folder of this machine may have anything.
    sandbox.write("none.toml", "[run]\ncdi-spec-dirs = ['/nowhere']\n");
    let none = sandbox.run([
        "--settings=none.toml",
        "run",
        "--name",
        "none",
        "--gpus",
        "driver=nvidia",
        "busybox",
    ]);
    assert_eq!(none.code, 125, "{none}");
    let said = "error: could not select device driver \"nvidia\" with capabilities: [[gpu]]\nhint: describe the device in /etc/cdi";
    assert!(none.stderr.contains(said), "{none}");
    let requests = &inspect(&sandbox, "none")["HostConfig"]["DeviceRequests"];
    let expected = serde_json::json!([{"Driver": "nvidia", "Count": 1, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": {}}]);
    assert_eq!(*requests, expected);
    let unknown = sandbox.run([
        SETTINGS,
        "run",
        "--rm",
        "--device",
        "acme.com/widget=two",
        "busybox",
    ]);
    assert_eq!(unknown.code, 125, "{unknown}");
    assert!(
        unknown
            .stderr
            .contains("unresolvable CDI devices acme.com/widget=two"),
        "{unknown}"
    );
}

#[test]
fn services_ask_for_devices_in_three_ways() {
    needs!(root, overlay);
    let sandbox = project(
        "x-one: &one {image: busybox, command: [sh, -c, 'echo $$GPU $$WIDGET; sleep 1000'], stop_signal: SIGKILL}
services:
  named: {<<: *one, devices: [acme.com/widget=one]}
  gpus: {<<: *one, gpus: all}
  reserved: {<<: *one, deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ['0'], capabilities: [gpu]}]}}}}
  missing: {<<: *one, gpus: [{driver: amd}], profiles: [more]}
",
    );
    describe(&sandbox);
    sandbox.ok([SETTINGS, "compose", "-p", "p", "up", "-d"]);
    for (service, says) in [("named", "one"), ("gpus", "all"), ("reserved", "0")] {
        let log = crate::wait_for("a line", 10, || {
            let log = sandbox.ok(["compose", "-p", "p", "logs", "--no-log-prefix", service]);
            (!log.is_empty()).then_some(log)
        });
        assert_eq!(log.trim(), says, "{service}");
    }
    let missing = sandbox.run([SETTINGS, "compose", "-p", "p", "up", "-d", "missing"]);
    assert_eq!(missing.code, 1, "{missing}");
    let said = "could not select device driver \"amd\" with capabilities: [[gpu]]";
    assert!(
        missing.stderr.contains(said) && missing.stderr.contains("hint: "),
        "{missing}"
    );
    assert!(!missing.stderr.contains("not supported"), "{missing}");
}
