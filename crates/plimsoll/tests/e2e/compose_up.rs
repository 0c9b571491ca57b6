//! Whole projects with real containers. What is planned when is tested beside the plan.

use std::process::Stdio;
use std::time::{Duration, Instant};

use plimsoll_testkit::{Outcome, Sandbox, needs};
use serde_json::Value;

use crate::compose_watch::Session;
use crate::{free_ports, inspect, wait_for, with_busybox};

/// A program that ends when it is asked to.
const SERVE: &str = r#"trap "echo bye; exit 0" TERM; echo hello; sleep 1000 & wait"#;

/// A project `p`; `SERVE` in its text is a program that ends when it is asked to.
pub(crate) fn project(text: &str) -> Sandbox {
    let sandbox = with_busybox();
    write(&sandbox, text);
    sandbox
}

pub(crate) fn write(sandbox: &Sandbox, text: &str) {
    let text = text.replace("SERVE", &format!("['sh', '-c', '{SERVE}']"));
    sandbox.write("compose.yaml", format!("name: p\n{text}"));
}

/// Brings the project up; returns what was said.
#[track_caller]
pub(crate) fn up(sandbox: &Sandbox, options: &[&str]) -> String {
    let args = ["compose", "up", "-d"].iter().chain(options);
    let outcome = sandbox.run(args);
    assert_eq!(outcome.code, 0, "{outcome}");
    outcome.stderr
}

fn id_and_start(sandbox: &Sandbox, name: &str) -> (Value, Value) {
    let seen = inspect(sandbox, name);
    (seen["Id"].clone(), seen["State"]["StartedAt"].clone())
}

#[test]
fn a_project_comes_stays_changes_and_goes() {
    needs!(root, overlay);
    let text = "services:
  app:
    image: busybox
    command: SERVE
    environment: {DEBUG: '0', PASSWORD: hunter2}
    depends_on: {db: {condition: service_healthy}}
    volumes: ['/cache']
  db:
    image: busybox
    command: SERVE
    volumes: ['data:/data']
    healthcheck: {test: 'true', interval: 100ms}
volumes: {data: {}}
";
    let sandbox = project(text);
    up(&sandbox, &[]);
    let app = inspect(&sandbox, "p-app-1");
    let labels = &app["Config"]["Labels"];
    for (label, value) in [
        ("project", "p"),
        ("service", "app"),
        ("container-number", "1"),
        ("oneoff", "False"),
        ("depends_on", "db:service_healthy:false"),
    ] {
        assert_eq!(labels[format!("com.docker.compose.{label}")], value);
    }
    let networks = &app["NetworkSettings"]["Networks"]["p_default"];
    assert!(
        networks["IPAddress"]
            .as_str()
            .is_some_and(|address| !address.is_empty())
    );
    sandbox.ok([
        "exec",
        "p-app-1",
        "sh",
        "-c",
        "echo kept >/cache/file; nslookup db",
    ]);
    sandbox.ok(["exec", "p-db-1", "sh", "-c", "echo kept >/data/file"]);

    let before = [
        id_and_start(&sandbox, "p-app-1"),
        id_and_start(&sandbox, "p-db-1"),
    ];
    let said = up(&sandbox, &[]);
    assert!(said.contains("Container p-app-1  Running"), "{said}");
    let after = [
        id_and_start(&sandbox, "p-app-1"),
        id_and_start(&sandbox, "p-db-1"),
    ];
    assert_eq!(before, after);

    write(
        &sandbox,
        &text.replace("'0'", "'1'").replace("hunter2", "hunter3"),
    );
    let said = up(&sandbox, &[]);
    assert!(
        said.contains("environment.DEBUG, environment.PASSWORD changed"),
        "{said}"
    );
    assert!(!said.contains("hunter"), "{said}");
    assert_ne!(id_and_start(&sandbox, "p-app-1").0, before[0].0);
    assert_eq!(id_and_start(&sandbox, "p-db-1"), before[1]);
    assert_eq!(sandbox.ok(["exec", "p-app-1", "cat", "/cache/file"]), "kept\n");
    up(&sandbox, &["-V", "app"]);
    sandbox.fails(1, ["exec", "p-app-1", "cat", "/cache/file"]);

    sandbox.ok(["compose", "down"]);
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
    assert!(!sandbox.ok(["network", "ls"]).contains("p_default"));
    up(&sandbox, &[]);
    assert_eq!(sandbox.ok(["exec", "p-db-1", "cat", "/data/file"]), "kept\n");
    // By its name alone, with its volumes.
    std::fs::remove_file(sandbox.path("work/compose.yaml")).expect("it was written");
    sandbox.ok(["compose", "-p", "p", "down", "-v"]);
    assert!(!sandbox.ok(["volume", "ls", "-q"]).contains("p_data"));
    let said = sandbox.run(["compose", "-p", "p", "down"]);
    assert!(
        said.code == 0
            && said
                .stderr
                .contains("No resource found to remove for project \"p\"")
    );
}

#[test]
fn what_is_done_may_be_said_on_standard_output() {
    needs!(root, overlay);
    let sandbox = project("services:\n  app: {image: busybox, command: SERVE}\n");
    let said = |args: &[&str], switch: &str| {
        let mut command = sandbox.command(args);
        Outcome::of(command.env("COMPOSE_STATUS_STDOUT", switch))
    };
    let planned = said(&["compose", "--dry-run", "up"], "1");
    assert!(
        planned
            .stdout
            .contains("DRY-RUN MODE -  Container p-app-1  Create")
            && planned.stderr.is_empty(),
        "{planned}"
    );
    let made = said(&["compose", "up", "-d"], "true");
    assert!(
        made.stdout.contains(" Container p-app-1  Started\n") && made.stderr.is_empty(),
        "{made}"
    );
    let gone = said(&["compose", "down"], "0");
    assert!(
        gone.stdout.is_empty() && gone.stderr.contains(" Container p-app-1  Removed\n"),
        "{gone}"
    );
}

#[test]
fn a_dependency_that_fails_fails_the_start_at_once() {
    needs!(root, overlay);
    let app = "  app:
    image: busybox
    command: SERVE
    depends_on: {db: {condition: CONDITION}}
";
    let db = |command: &str, condition: &str, more: &str| {
        let app = app.replace("CONDITION", condition);
        format!("services:\n{app}  db:\n    image: busybox\n    command: {command}\n{more}")
    };
    let check = "    healthcheck: {test: 'true', interval: 60s}\n";
    let sandbox = project(&db(
        "['sh', '-c', 'echo no disk; sleep 0.3; exit 3']",
        "service_healthy",
        check,
    ));
    let began = Instant::now();
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(began.elapsed() < Duration::from_secs(50), "{said}");
    assert!(
        said.contains("dependency failed to start: container p-db-1 exited (3)"),
        "{said}"
    );
    assert!(said.contains("no disk"), "{said}");
    assert_eq!(inspect(&sandbox, "p-app-1")["State"]["Status"], "created");

    write(
        &sandbox,
        &db("['sh', '-c', 'exit 4']", "service_completed_successfully", ""),
    );
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(
        said.contains("service \"db\" didn't complete successfully: exit 4"),
        "{said}"
    );

    let sick = "    healthcheck: {test: 'echo sick; exit 1', interval: 100ms, retries: 2}\n";
    write(&sandbox, &db("SERVE", "service_healthy", sick));
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(
        said.contains("container p-db-1 is unhealthy") && said.contains("sick"),
        "{said}"
    );
    // Nobody needs it.
    let text = db("SERVE", "service_healthy, required: false", sick);
    write(&sandbox, &text);
    up(&sandbox, &[]);
    assert_eq!(inspect(&sandbox, "p-app-1")["State"]["Status"], "running");
}

#[test]
fn waiting_counts_a_job_that_ended_well_and_names_what_fails() {
    needs!(root, overlay);
    let job = |code: &str| {
        format!(
            "services:
  job: {{image: busybox, command: ['sh', '-c', 'sleep 0.2; echo over; exit {code}']}}
  web:
    image: busybox
    command: SERVE
    healthcheck: {{test: 'test -e /ok', interval: 60s, start_period: 60s, start_interval: 50ms}}
    post_start: [{{command: ['touch', '/ok']}}]
    pre_stop: [{{command: ['sh', '-c', 'echo stopped >/data/hook']}}]
    volumes: ['data:/data']
volumes: {{data: {{}}}}
"
        )
    };
    let sandbox = project(&job("0"));
    let said = up(&sandbox, &["--wait"]);
    assert!(said.contains("Container p-web-1  Healthy"), "{said}");
    sandbox.ok(["compose", "stop"]);
    let kept = sandbox.ok([
        "run",
        "--rm",
        "-v",
        "p_data:/data",
        "busybox",
        "cat",
        "/data/hook",
    ]);
    assert_eq!(kept, "stopped\n");
    write(
        &sandbox,
        &job("5")
            .replace("SERVE", "['sh', '-c', 'exec sleep 1000']")
            .replace("60ms", "60s"),
    );
    let healthless = "services:\n  web: {image: busybox, command: SERVE, healthcheck: {test: 'exit 1', interval: 60s, start_period: 60s}}\n";
    write(&sandbox, healthless);
    let said = sandbox.fails(
        1,
        [
            "compose",
            "up",
            "-d",
            "--wait",
            "--wait-timeout",
            "1",
            "--remove-orphans",
        ],
    );
    assert!(said.contains("timeout waiting for p-web-1"), "{said}");
}

#[test]
fn a_service_starts_when_what_goes_before_it_has_ended_well() {
    needs!(root, overlay);
    let text = |code: &str| {
        format!(
            "services:
  db: {{image: busybox, command: SERVE}}
  web:
    image: busybox
    command: ['sleep', '1000']
    scale: 2
    depends_on: [db]
    environment: {{WHO: service, KEPT: kept}}
    ports: ['PORTS:80']
    volumes: ['data:/data', '/cache']
    pre_start:
    - command: ['sh', '-c', 'ping -c1 db >/dev/null && chmod 777 /data']
    - command: ['sh', '-c', 'echo once $$WHO $$KEPT $$(id -u) $$(pwd) >>/data/log']
      environment: {{WHO: hook}}
      user: '7'
      working_dir: /tmp
    - command: ['sh', '-c', 'echo each >>/data/log; echo mine >/cache/own; echo said; exit {code}']
      per_replica: true
volumes: {{data: {{}}}}
"
        )
    };
    let port = free_ports(11);
    let text = |code: &str| text(code).replace("PORTS", &format!("{port}-{}", port + 10));
    let sandbox = project(&text("3"));
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(
        said.contains("pre_start hook of p-web-")
            && said.contains("exited with status 3")
            && said.contains("\n  said\n"),
        "{said}"
    );
    assert_eq!(sandbox.ok(["ps", "--format", "{{.Names}}"]), "p-db-1\n");
    sandbox.ok(["compose", "down", "-v"]);

    write(&sandbox, &text("0"));
    up(&sandbox, &[]);
    for name in ["p-web-1", "p-web-2"] {
        assert_eq!(sandbox.ok(["exec", name, "cat", "/cache/own"]), "mine\n");
    }
    let log = || sandbox.ok(["exec", "p-web-1", "cat", "/data/log"]);
    assert_eq!(log(), "once hook kept 7 /tmp\neach\neach\n");
    // They are gone, and so are their volumes.
    assert_eq!(sandbox.ok(["ps", "-aq"]).lines().count(), 3);
    assert_eq!(sandbox.ok(["volume", "ls", "-q"]).lines().count(), 3);
    // It runs, so nothing goes before it any more; one more container has its own.
    assert!(!up(&sandbox, &[]).contains("pre_start"));
    let said = up(&sandbox, &["--scale", "web=3"]);
    assert!(said.contains("p-web-3-pre_start-3  Exited"), "{said}");
    assert_eq!(log(), "once hook kept 7 /tmp\neach\neach\neach\n");
}

#[test]
fn a_label_tells_the_files_of_variables() {
    needs!(root, overlay);
    let sandbox = project("services: {web: {image: busybox, command: ['true', '${WORD}']}}\n");
    sandbox.write("words", "WORD=x\n");
    sandbox.ok(["compose", "--env-file", "words", "create"]);
    let labels = &inspect(&sandbox, "p-web-1")["Config"]["Labels"];
    let file = labels["com.docker.compose.project.environment_file"].as_str();
    assert!(file.is_some_and(|file| file.starts_with('/') && file.ends_with("/words")));
}

#[test]
fn attached_it_ends_with_the_code_of_who_ended() {
    needs!(root, overlay);
    // What ends all waits until the other can be asked to end.
    let sandbox = project(
        "services:
  one: {image: busybox, command: ['sh', '-c', 'echo first; until rm /s/up; do sleep 0.1; done 2>/dev/null; exit 4'], volumes: ['s:/s']}
  two: {image: busybox, command: ['sh', '-c', 'trap \"echo bye; exit 0\" TERM; echo hello; touch /s/up; sleep 1000 & wait'], volumes: ['s:/s']}
volumes: {s: {}}
",
    );
    let outcome = sandbox.run(["compose", "up", "--abort-on-container-exit"]);
    assert_eq!(outcome.code, 4, "{outcome}");
    for line in [
        "one-1  | first\n",
        "one-1 exited with code 4\n",
        "two-1  | hello\n",
        "two-1  | bye\n",
    ] {
        assert!(outcome.stdout.contains(line), "{outcome}");
    }
    let outcome = sandbox.run(["compose", "up", "--exit-code-from", "two", "--no-log-prefix"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(
        outcome.stdout.starts_with("first\n") || outcome.stdout.contains("\nfirst\n"),
        "{outcome}"
    );
    let outcome = sandbox.run(["compose", "wait", "one"]);
    assert_eq!(outcome.code, 4, "{outcome}");
    // A helper that ends well tears nothing down.
    write(
        &sandbox,
        "services:
  helper: {image: busybox, command: 'true'}
  test:
    image: busybox
    command: ['sh', '-c', 'sleep 0.5; exit 7']
    depends_on: {helper: {condition: service_completed_successfully}}
",
    );
    let outcome = sandbox.run(["compose", "up", "--abort-on-container-exit", "--remove-orphans"]);
    assert_eq!(outcome.code, 7, "{outcome}");
}

#[test]
fn ctrl_c_stops_and_a_second_one_kills() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  calm: {image: busybox, command: SERVE}
  deaf: {image: busybox, command: ['sh', '-c', 'trap true TERM; echo hello; while true; do sleep 0.1; done'], stop_grace_period: 10m}
",
    );
    let mut up = Session::of(&sandbox, &["compose", "up", "calm"]);
    up.until(1, "calm-1  | hello");
    up.interrupt();
    up.ends(130);
    let state = &inspect(&sandbox, "p-calm-1")["State"];
    assert_eq!(
        (&state["Status"], &state["ExitCode"]),
        (&"exited".into(), &0.into())
    );
    let mut up = Session::of(&sandbox, &["compose", "up", "deaf"]);
    up.until(1, "deaf-1  | hello");
    up.interrupt();
    up.until_complained("Gracefully stopping");
    up.interrupt();
    up.ends(130);
    assert_eq!(inspect(&sandbox, "p-deaf-1")["State"]["ExitCode"], 137);
}

#[test]
fn secrets_and_configs_are_in_memory_and_belong_to_whom_they_should() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  app:
    image: busybox
    user: '1234:55'
    command: SERVE
    read_only: true
    secrets: [token, {source: file, target: other, uid: '7', gid: '8', mode: 0400}]
    configs: [{source: text, target: /etc/app.conf, mode: 0555}, plain]
secrets:
  token: {environment: TOKEN}
  file: {file: ./secret.txt}
configs:
  text: {content: 'x=${TOKEN}'}
  plain: {file: ./secret.txt}
",
    );
    let secret = sandbox.write("secret.txt", "from the file");
    std::fs::set_permissions(secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("it was written");
    let with = |token: &str, args: &[&str]| {
        let mut command = sandbox.command(args);
        command.env("TOKEN", token);
        plimsoll_testkit::Outcome::of(&mut command)
    };
    let outcome = with("hunter2", &["compose", "up", "-d"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let script = "stat -c '%u:%g %a %n' /run/secrets/token /run/secrets/other /etc/app.conf /plain; cat /run/secrets/token /etc/app.conf";
    let seen = sandbox.ok(["exec", "-u", "0", "p-app-1", "sh", "-c", script]);
    assert_eq!(
        seen,
        "1234:55 444 /run/secrets/token\n7:8 400 /run/secrets/other\n1234:55 555 /etc/app.conf\n1234:55 444 /plain\nhunter2x=hunter2"
    );
    assert!(
        sandbox
            .ok(["exec", "p-app-1", "mount"])
            .contains("tmpfs on /run/secrets/token type tmpfs (ro")
    );
    sandbox.fails(1, ["exec", "p-app-1", "cat", "/run/secrets/other"]);
    // Nowhere on a disk.
    let id = inspect(&sandbox, "p-app-1")["Id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let home = sandbox.root().join("containers").join(&id);
    for file in ["spec.json", "state.json"] {
        let text = std::fs::read_to_string(home.join(file)).expect("a container has it");
        assert!(!text.contains("hunter2"), "{file}");
    }
    assert!(!inspect(&sandbox, "p-app-1").to_string().contains("hunter2"));
    // They outlive a stop, and another value is another container.
    sandbox.ok(["stop", "-t", "5", "p-app-1"]);
    sandbox.ok(["start", "p-app-1"]);
    assert_eq!(
        sandbox.ok(["exec", "p-app-1", "cat", "/run/secrets/token"]),
        "hunter2"
    );
    let outcome = with("hunter2", &["compose", "up", "-d"]);
    assert!(outcome.stderr.contains("p-app-1  Running"), "{outcome}");
    let outcome = with("hunter3", &["compose", "up", "-d"]);
    assert!(outcome.stderr.contains("/run/secrets/token changed"), "{outcome}");
}

/// Supervisors of these containers, by what they are called among the processes of the host.
fn supervisors(id: &str) -> usize {
    let own = format!("shim\0{}\0", &id[..12]);
    let folders = std::fs::read_dir("/proc").expect("a host").flatten();
    let lines = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).ends_with(&own))
        .count()
}

#[test]
fn what_stands_ready_is_in_nobodys_way_and_goes_with_who_waits() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  app: {image: busybox, command: SERVE, ports: ['127.0.0.1::80'], depends_on: {db: {condition: service_healthy}}}
  db: {image: busybox, command: SERVE, healthcheck: {test: 'false', interval: 100ms, retries: 1000}}
",
    );
    let mut command = sandbox.command(["compose", "--progress", "quiet", "up", "-d"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let id = wait_for("a container", 20, || {
        let found = sandbox.run(["ps", "-aq", "--no-trunc", "--filter", "name=p-app-1"]);
        (found.stdout.len() > 64).then(|| found.stdout.trim().to_owned())
    });
    wait_for("a supervisor", 20, || (supervisors(&id) == 1).then_some(()));
    // It has no address and no lock: another command starts the container, and this one's supervisor serves it.
    sandbox.ok(["start", "p-app-1"]);
    assert_eq!(inspect(&sandbox, "p-app-1")["State"]["Status"], "running");
    sandbox.ok(["stop", "p-app-1"]);
    let _ = child.kill();
    let _ = child.wait();
    wait_for("its end", 20, || (supervisors(&id) == 0).then_some(()));
    assert_eq!(inspect(&sandbox, "p-app-1")["State"]["Status"], "exited");
}

#[test]
fn killed_at_any_moment_it_is_mended_by_the_next_one() {
    needs!(root, overlay);
    let text = |version: usize| {
        format!(
            "services:
  db: {{image: busybox, command: SERVE, environment: {{V: '{version}'}}, volumes: ['data:/d', '/anonymous']}}
  app: {{image: busybox, command: SERVE, environment: {{V: '{version}'}}, depends_on: [db], deploy: {{replicas: 2}}}}
volumes: {{data: {{}}}}
"
        )
    };
    let sandbox = project(&text(0));
    for round in 0..12_u64 {
        write(&sandbox, &text(round as usize / 2));
        let mut command = sandbox.command(["compose", "--progress", "quiet", "up", "-d"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(20 + 37 * round));
        let _ = child.kill();
        let _ = child.wait();
        if round % 3 == 2 {
            sandbox.ok(["compose", "down"]);
            assert_eq!(sandbox.ok(["ps", "-aq"]), "");
        }
    }
    up(&sandbox, &["--wait"]);
    let names = sandbox.ok(["ps", "--format", "{{.Names}}"]);
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert!(names.len() == 3 && names[2] == "p-db-1", "{names:?}");
    sandbox.ok(["compose", "down", "-v"]);
    let volumes = sandbox.ok(["volume", "ls", "-q"]);
    assert!(!volumes.contains("p_data"), "{volumes}");
}

#[test]
fn several_at_once_stand_in_line() {
    needs!(root, overlay);
    let sandbox = project("services: {web: {image: busybox, command: SERVE, deploy: {replicas: 2}}}\n");
    let start = || {
        let mut command = sandbox.command(["compose", "up", "-d"]);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    };
    let all: Vec<_> = (0..4).map(|_| start()).collect();
    for child in all {
        let outcome = child.wait_with_output().expect("it ends");
        assert!(
            outcome.status.success(),
            "{}",
            String::from_utf8_lossy(&outcome.stderr)
        );
    }
    assert_eq!(sandbox.ok(["ps", "-q"]).lines().count(), 2);
}

#[test]
fn a_link_reaches_every_container_of_a_service() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  web: {image: busybox, command: SERVE, scale: 2}
  own: {image: busybox, command: SERVE, container_name: mine-7}
  user: {image: busybox, command: SERVE, links: [web, 'web:alias', own]}
",
    );
    up(&sandbox, &[]);
    let addresses = |name: &str| {
        let said = sandbox.ok(["exec", "p-user-1", "nslookup", name]);
        let answer = said.split("Name:").skip(1).collect::<String>();
        answer.matches("Address").count()
    };
    for (name, count) in [
        ("web", 2),
        ("alias", 2),
        ("web-1", 1),
        ("web-2", 1),
        ("own", 1),
        ("own-1", 1),
    ] {
        assert_eq!(addresses(name), count, "{name}");
    }
    let place = inspect(&sandbox, "p-web-2")["NetworkSettings"]["Networks"]["p_default"].clone();
    assert_eq!(place["Aliases"], serde_json::json!(["p-web-2", "web"]));
    assert_eq!(place["DNSNames"].as_array().map(Vec::len), Some(3));
}

#[test]
fn services_share_what_they_say() {
    needs!(root, overlay);
    let sandbox = project(
        "services:
  vpn:
    image: busybox
    command: SERVE
    hostname: gate
    ports: ['127.0.0.1::80']
    networks: {front: {aliases: [door]}, back: {}}
  app:
    image: busybox
    command: SERVE
    network_mode: service:vpn
    pid: service:vpn
    volumes_from: ['data:ro']
    depends_on: {vpn: {condition: service_started, restart: true}}
  data:
    image: busybox
    command: SERVE
    networks: [front]
    links: ['vpn:tunnel']
    volumes:
      - {type: volume, source: stuff, target: /sub, volume: {subpath: deep}}
      - {type: volume, source: stuff, target: /stuff}
      - {type: tmpfs, target: /fast, tmpfs: {size: 1048576, mode: 0o1770}}
    mem_limit: 64m
    deploy: {resources: {limits: {cpus: '0.5', pids: 77}}}
    ulimits: {nofile: {soft: 100, hard: 200}}
    sysctls: {net.ipv4.ip_unprivileged_port_start: 7}
    cap_drop: [ALL]
    labels: {autoheal: 'true'}
    healthcheck: {test: 'test ! -e /stuff/sick', interval: 100ms, retries: 1}
networks: {front: {}, back: {internal: true}}
volumes: {stuff: {}}
",
    );
    sandbox.ok(["volume", "create", "p_stuff"]);
    sandbox.ok([
        "run",
        "--rm",
        "-v",
        "p_stuff:/s",
        "busybox",
        "sh",
        "-c",
        "mkdir /s/deep; echo here >/s/deep/file",
    ]);
    up(&sandbox, &[]);
    let sh = |name: &str, script: &str| sandbox.ok(["exec", name, "sh", "-c", script]);
    assert_eq!(sh("p-app-1", "hostname; cat /sub/file"), "gate\nhere\n");
    sandbox.fails(1, ["exec", "p-app-1", "touch", "/stuff/x"]);
    let seen = sh(
        "p-data-1",
        "ulimit -n; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; stat -c %a /fast; nslookup door >/dev/null && nslookup tunnel >/dev/null && echo named",
    );
    assert_eq!(seen, "100\n7\n1770\nnamed\n");
    let host = inspect(&sandbox, "p-data-1")["HostConfig"].clone();
    assert_eq!(
        (&host["Memory"], &host["NanoCpus"], &host["PidsLimit"]),
        (&(64 << 20).into(), &500_000_000_i64.into(), &77.into())
    );
    // Unhealthy, it is started again by itself, and that is counted.
    sh("p-data-1", "touch /stuff/sick");
    wait_for("a restart", 20, || {
        let count = inspect(&sandbox, "p-data-1")["RestartCount"].as_i64();
        count.filter(|count| *count > 0)
    });
    sandbox.ok([
        "run",
        "--rm",
        "-v",
        "p_stuff:/s",
        "busybox",
        "rm",
        "-f",
        "/s/sick",
    ]);
    // It may wait for its next start, and cannot be killed then.
    let health = || {
        sandbox.ok([
            "inspect",
            "-f",
            "{{.State.Health.Status}} {{.State.Status}}",
            "p-data-1",
        ])
    };
    wait_for("its health", 20, || {
        (health() == "healthy running\n").then_some(())
    });
    // With the one it shares with, it is restarted.
    let before = id_and_start(&sandbox, "p-app-1");
    sandbox.ok(["compose", "restart", "vpn"]);
    assert_ne!(id_and_start(&sandbox, "p-app-1").1, before.1);
    sandbox.ok(["compose", "kill", "data"]);
    sandbox.ok(["compose", "pause", "vpn"]);
    assert_eq!(inspect(&sandbox, "p-vpn-1")["State"]["Status"], "paused");
    sandbox.ok(["compose", "unpause"]);
    sandbox.ok(["compose", "stop"]);
    sandbox.ok(["compose", "start"]);
    sandbox.ok(["compose", "rm", "-fsv"]);
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

#[test]
fn replicas_get_a_port_each_from_a_range() {
    needs!(root, overlay);
    let port = free_ports(20);
    let text = |ports: &str| {
        format!(
            "services: {{web: {{image: busybox, command: SERVE, ports: ['127.0.0.1:{ports}:80'], deploy: {{replicas: 2}}}}}}\n"
        )
    };
    let sandbox = project(&text(&format!("{port}-{}", port + 19)));
    up(&sandbox, &[]);
    sandbox.ok(["compose", "scale", "web=3"]);
    let ports = sandbox.ok(["ps", "--format", "{{.Ports}}"]);
    let mut distinct: Vec<&str> = ports.lines().collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "{ports}");
    up(&sandbox, &["--scale", "web=1"]);
    assert_eq!(sandbox.ok(["ps", "--format", "{{.Names}}"]), "p-web-1\n");
    write(&sandbox, &text(&port.to_string()));
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(
        said.contains("port is already allocated") && said.contains("range"),
        "{said}"
    );
}
