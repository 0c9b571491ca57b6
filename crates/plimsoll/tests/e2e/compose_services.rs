//! What services really get, seen from inside their containers, and what becomes of them when their files change.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use plimsoll_testkit::{Sandbox, needs};
use rustix::process::{Pid, Signal, kill_process};

use crate::compose_up::{project, up, write};
use crate::{free_ports, inspect, wait_for};

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

#[test]
fn places_on_networks_are_as_asked_for() {
    needs!(root, overlay, tool = "nft");
    let sandbox = project(
        "services:
  app:
    image: busybox
    command: ['sleep', '1000']
    stop_signal: SIGKILL
    networks:
      one:
        interface_name: lan7
        link_local_ips: [169.254.8.8]
        driver_opts: {com.docker.network.endpoint.sysctls: 'net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0'}
      both: {}
      behind: {}
networks:
  one: {}
  both: {enable_ipv6: true}
  behind: {internal: true}
",
    );
    up(&sandbox, &[]);
    let sh = |script: &str| sandbox.ok(["exec", "p-app-1", "sh", "-c", script]);
    let addresses = sh("ip -4 -o addr show dev lan7");
    assert!(
        addresses.contains("inet 169.254.8.8/16") && addresses.lines().count() == 2,
        "{addresses}"
    );
    assert_eq!(
        sh("cd /proc/sys/net/ipv4/conf/lan7; cat log_martians forwarding"),
        "1\n0\n"
    );
    // The names that nobody asked for have no gap.
    assert_eq!(sh("ls /sys/class/net"), "eth0\neth1\nlan7\nlo\n");
    let places = inspect(&sandbox, "p-app-1")["NetworkSettings"]["Networks"].clone();
    assert_eq!(places["p_one"]["IPAMConfig"]["LinkLocalIPs"][0], "169.254.8.8");
    // The way out has both families where there is such a network.
    let gateway = places["p_both"]["Gateway"].as_str().expect("it has one");
    assert!(sh("ip route").starts_with(&format!("default via {gateway} ")));

    write(
        &sandbox,
        "services: {app: {image: busybox, networks: {default: {interface_name: much-too-long-a-name}}}}\n",
    );
    let said = sandbox.fails(1, ["compose", "create"]);
    assert!(
        said.contains("invalid interface name much-too-long-a-name"),
        "{said}"
    );
}

#[test]
fn inspect_tells_what_was_asked_for() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  app:
    image: busybox
    annotations: {org.example: told}
    ulimits: {core: -1, nofile: {soft: 100, hard: 200}}
    devices: ['/dev/null:/dev/nothing:r']
",
    );
    sandbox.ok(["compose", "create"]);
    let host = inspect(&sandbox, "p-app-1")["HostConfig"].clone();
    assert_eq!(host["Annotations"]["org.example"], "told");
    assert_eq!(host["Ulimits"][0]["Hard"], -1);
    assert_eq!(host["Ulimits"][1]["Soft"], 100);
    assert_eq!(host["Devices"][0]["PathOnHost"], "/dev/null");
    assert_eq!(host["Devices"][0]["PathInContainer"], "/dev/nothing");
}

#[test]
fn a_volume_that_changes_is_kept_until_it_may_go() {
    needs!(root, overlay);
    let text = |label: &str| {
        format!(
            "services: {{db: {{image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, volumes: ['data:/data']}}}}
volumes: {{data: {{labels: {{version: '{label}'}}}}}}
"
        )
    };
    let sandbox = project(&text("1"));
    up(&sandbox, &[]);
    sandbox.ok(["exec", "p-db-1", "touch", "/data/precious"]);
    write(&sandbox, &text("2"));
    let said = up(&sandbox, &[]);
    assert!(said.contains("`up -y` makes it anew"), "{said}");
    assert_eq!(sandbox.ok(["exec", "p-db-1", "ls", "/data"]), "precious\n");
    up(&sandbox, &["-y"]);
    assert_eq!(sandbox.ok(["exec", "p-db-1", "ls", "/data"]), "");
    assert!(!up(&sandbox, &["-y"]).contains("p_data"));
}

#[test]
fn what_the_host_does_not_give_is_said() {
    needs!(root, overlay);
    // More than any kernel allows: held at what there is, or refused, but never passed over.
    let sandbox = project(
        "services: {app: {image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, \
         ulimits: {memlock: -1}}}\n",
    );
    let said = up(&sandbox, &[]);
    let limits = sandbox.ok(["exec", "p-app-1", "cat", "/proc/1/limits"]);
    let is_endless = limits
        .lines()
        .any(|line| line.starts_with("Max locked memory") && line.contains("unlimited"));
    assert!(
        is_endless || said.contains("p-app-1 ulimit `memlock` is held at"),
        "{said}{limits}"
    );
}

#[test]
fn ports_of_a_range_are_told_when_they_are_found() {
    needs!(root, overlay, tool = "nft");
    let first = free_ports(2);
    let sandbox = project(&format!(
        "services: {{web: {{image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, scale: 2, ports: ['127.0.0.1:{first}-{}:80']}}}}\n",
        first + 1
    ));
    let said = up(&sandbox, &[]);
    for port in [first, first + 1] {
        assert!(
            said.contains(&format!("Started  127.0.0.1:{port}->80/tcp")),
            "{said}"
        );
    }
}

#[test]
fn a_missing_file_that_becomes_a_folder_is_told() {
    needs!(root, overlay);
    let sandbox =
        project("services: {web: {image: busybox, volumes: ['./app.conf:/etc/app.conf', './data:/data']}}\n");
    let outcome = sandbox.run(["compose", "create"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("app.conf is not there: a folder is made in its place and mounted on /etc/app.conf"),
        "{outcome}"
    );
    assert!(!outcome.stderr.contains("/data is not there"), "{outcome}");
    assert!(sandbox.path("work/app.conf").is_dir());
    write(
        &sandbox,
        "services: {web: {image: busybox, volumes: [{type: bind, source: ./no.conf, target: /c, bind: {create_host_path: false}}]}}\n",
    );
    let said = sandbox.fails(1, ["compose", "create"]);
    assert!(
        said.contains("no.conf") && !sandbox.path("work/no.conf").exists(),
        "{said}"
    );
}

#[test]
fn a_project_goes_whatever_profiles_are_active() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  app: {image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, depends_on: [db]}
  db: {image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, profiles: [back]}
",
    );
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(said.contains("--profile back"), "{said}");
    sandbox.ok(["compose", "--profile", "back", "up", "-d"]);
    assert_eq!(sandbox.ok(["compose", "ps", "-q"]).lines().count(), 2);
    sandbox.ok(["compose", "stop"]);
    sandbox.ok(["compose", "down"]);
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

#[test]
fn a_key_of_a_service_heals_it_and_comes_and_goes_with_a_new_container() {
    needs!(root, overlay);
    let text = |key: &str| {
        format!(
            "services:
  app:
    image: busybox
    command: ['sleep', '1000']
    stop_signal: SIGKILL
    {key}
    healthcheck: {{test: 'test ! -e /sick', interval: 50ms, retries: 1}}
"
        )
    };
    let sandbox = project(&text("x-autoheal: true"));
    up(&sandbox, &[]);
    sandbox.ok(["exec", "p-app-1", "touch", "/sick"]);
    wait_for("a restart", 20, || {
        let count = inspect(&sandbox, "p-app-1")["RestartCount"].as_i64();
        count.filter(|count| *count > 0)
    });
    assert!(sandbox.ok(["ps", "-a"]).contains(", restarted "));
    assert!(sandbox.ok(["compose", "ps", "-a"]).contains(", restarted "));
    write(&sandbox, &text("x-other: true"));
    let said = up(&sandbox, &[]);
    assert!(said.contains("Recreated  x-autoheal changed"), "{said}");
    assert!(up(&sandbox, &[]).contains("Container p-app-1  Running"));
}

#[test]
fn a_volume_in_memory_is_one_for_all_who_have_it() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  one: {image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, volumes: ['run:/run/app']}
  two: {image: busybox, command: ['sleep', '1000'], stop_signal: SIGKILL, volumes: ['run:/seen:ro']}
volumes: {run: {driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m,uid=7,mode=0750,noexec'}}}
",
    );
    up(&sandbox, &[]);
    let sh = |name: &str, script: &str| sandbox.ok(["exec", name, "sh", "-c", script]);
    sh("p-one-1", "echo shared >/run/app/file");
    assert_eq!(
        sh(
            "p-two-1",
            "cat /seen/file; stat -c '%u %a' /seen; df -k /seen | tail -1 | awk '{print $2}'"
        ),
        "shared\n7 750\n1024\n"
    );
    assert!(sh("p-one-1", "grep ' /run/app ' /proc/mounts").contains("noexec"));
    let mounts = inspect(&sandbox, "p-one-1")["Mounts"].clone();
    assert_eq!(
        (&mounts[0]["Type"], &mounts[0]["Name"]),
        (&"volume".into(), &"p_run".into())
    );
    // It outlives a restart of all of them, and goes with the volume.
    sandbox.ok(["compose", "restart"]);
    assert_eq!(sh("p-two-1", "cat /seen/file"), "shared\n");
    assert_eq!(sandbox.run(["system", "check", "--leaks"]).code, 0);
    sandbox.ok(["compose", "stop"]);
    // As after a boot.
    let memory = sandbox.root().join("run/volumes/p_run");
    rustix::mount::unmount(memory.as_std_path(), rustix::mount::UnmountFlags::DETACH).expect("it is mounted");
    sandbox.ok(["compose", "start"]);
    sh("p-one-1", "test ! -e /run/app/file && echo again >/run/app/file");
    assert_eq!(sh("p-two-1", "cat /seen/file"), "again\n");
    sandbox.ok(["compose", "down", "-v"]);
    assert!(!memory.exists());
}

/// Begins to bring a project up, and waits until its hook runs.
fn up_to_the_hook(sandbox: &Sandbox) -> Kept {
    let mut command = sandbox.command(["compose", "up", "-d"]);
    let up = Kept(command.spawn().expect("it starts"));
    wait_for("the hook", 30, || {
        let seen = sandbox.run(["exec", "p-app-1", "test", "-e", "/begun"]);
        (seen.code == 0).then_some(())
    });
    up
}

#[test]
fn ctrl_c_does_not_wait_for_a_hook() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  app:
    image: busybox
    command: ['sleep', '1000']
    stop_signal: SIGKILL
    post_start: [{command: ['sh', '-c', 'touch /begun; sleep 1000']}]
",
    );
    let mut up = up_to_the_hook(&sandbox);
    kill_process(Pid::from_child(&up.0), Signal::INT).expect("it runs");
    let ended = wait_for("its end", 20, || up.0.try_wait().expect("it is ours"));
    assert_eq!(ended.code(), Some(130));
}

#[test]
fn what_a_hook_leaves_in_the_background_is_not_waited_for() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  app:
    image: busybox
    command: ['sleep', '1000']
    stop_signal: SIGKILL
    environment: {MODE: run}
    post_start:
      - command: ['sh', '-c', 'touch /begun; sleep 1000 & env | sed -n s/^MODE=//p >/seen']
        environment: {MODE: hook}
",
    );
    let mut up = up_to_the_hook(&sandbox);
    let ended = wait_for("its end", 20, || up.0.try_wait().expect("it is ours"));
    assert_eq!(ended.code(), Some(0));
    assert_eq!(sandbox.ok(["exec", "p-app-1", "cat", "/seen"]), "hook\n");
    // Of what it writes the end is told.
    write(
        &sandbox,
        "services:
  app:
    image: busybox
    command: ['sleep', '1000']
    stop_signal: SIGKILL
    post_start: [{command: ['sh', '-c', 'yes first | head -n 100000; echo last; exit 3']}]
",
    );
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(
        said.contains("  first\n  last\n") && said.contains("exited with status 3"),
        "{said}"
    );
}

#[test]
fn ctrl_c_is_an_answer_too() {
    needs!(root, overlay);
    let sandbox = project("services: {app: {image: busybox, command: ['true']}}\n");
    up(&sandbox, &[]);
    sandbox.ok(["wait", "p-app-1"]);
    // Whether an interrupt was heard depended on which of two things was looked at first.
    for _ in 0..4 {
        let mut command = sandbox.command(["compose", "rm"]);
        let mut asking = command
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut question = [0; 13];
        let stderr = asking.stderr.as_mut().expect("a pipe");
        stderr.read_exact(&mut question).expect("a question");
        assert_eq!(&question, b"Are you sure?");
        kill_process(Pid::from_child(&asking), Signal::INT).expect("it runs");
        let ended = wait_for("its end", 20, || asking.try_wait().expect("it is ours"));
        assert!(!ended.success());
    }
    assert_eq!(inspect(&sandbox, "p-app-1")["State"]["Status"], "exited");
}

#[test]
fn a_second_ctrl_c_waits_for_nobody_who_has_the_project() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  deaf: {image: busybox, command: ['sh', '-c', 'trap true TERM; while true; do sleep 0.1; done'], stop_grace_period: 100s}
  ill:
    image: busybox
    command: ['sleep', '1000']
    stop_signal: SIGKILL
    healthcheck: {test: 'false', interval: 1s, start_period: 1000s}
  never: {image: busybox, depends_on: {ill: {condition: service_healthy}}}
",
    );
    let begin = |args: &[&str]| {
        let mut command = sandbox.command(args);
        Kept(command.stderr(Stdio::piped()).spawn().expect("it starts"))
    };
    let runs = |name: &str| {
        wait_for(name, 20, || {
            let seen = sandbox.run(["inspect", "-f", "{{.State.Running}}", name]);
            (seen.stdout == "true\n").then_some(())
        });
    };
    let mut attached = begin(&["compose", "up", "deaf"]);
    runs("p-deaf-1");
    let _holder = begin(&["compose", "up", "-d", "never"]);
    runs("p-ill-1");
    let interrupt = |child: &Child| kill_process(Pid::from_child(child), Signal::INT).expect("it runs");
    interrupt(&attached.0);
    let stderr = BufReader::new(attached.0.stderr.take().expect("a pipe"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("Waiting for another command")));
    interrupt(&attached.0);
    let ended = wait_for("its end", 20, || attached.0.try_wait().expect("it is ours"));
    assert_eq!(ended.code(), Some(130));
    assert_eq!(inspect(&sandbox, "p-deaf-1")["State"]["ExitCode"], 137);
}

/// A child that goes with its test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
