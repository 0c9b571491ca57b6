//! What one can do with the containers of a project besides starting and stopping them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

use jiff::Timestamp;
use plimsoll_testkit::{Outcome, Sandbox, Terminal, needs};
use serde_json::Value;

use crate::with_busybox;

const SHOP: &str = "\
name: shop
services:
  db:
    image: busybox
    command: [sh, -c, 'echo hi; echo oops >&2; exec sleep 1000']
    expose: ['99']
    healthcheck: {test: [CMD, 'true'], interval: 1s}
    stop_signal: SIGKILL
    volumes: ['data:/data', /anon]
  web:
    image: busybox
    command: [sh, -c, 'echo page > /tmp/index.html; exec httpd -f -p 80 -h /tmp']
    scale: 2
    depends_on: {db: {condition: service_healthy}}
    ports: ['127.0.0.1::80']
    environment: {WHO: web}
    stop_signal: SIGKILL
volumes: {data: }
";

fn shop() -> Sandbox {
    let sandbox = with_busybox();
    sandbox.write("compose.yaml", SHOP);
    sandbox.ok(["compose", "up", "-d", "--wait"]);
    sandbox
}

/// A command that goes on, and is ended when this is dropped.
struct Running(Child);

impl Running {
    fn of(sandbox: &Sandbox, args: &[&str]) -> Self {
        let mut command = sandbox.command(args);
        Self(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts"),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn containers_are_listed_as_by_docker_compose() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let table = sandbox.ok(["compose", "ps"]);
    let header = table.lines().next().expect("a header");
    let columns: Vec<_> = header.split_whitespace().collect();
    assert_eq!(
        columns,
        [
            "NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"
        ]
    );
    let text = sandbox.ok(["compose", "ps", "--format", "json", "db"]);
    let row: Value = serde_json::from_str(text.trim()).expect("one object");
    let keys: Vec<&str> = row
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "Command",
            "CreatedAt",
            "ExitCode",
            "Health",
            "ID",
            "Image",
            "Labels",
            "LocalVolumes",
            "Mounts",
            "Name",
            "Names",
            "Networks",
            "Ports",
            "Project",
            "Publishers",
            "RunningFor",
            "Service",
            "Size",
            "State",
            "Status"
        ]
    );
    assert_eq!(
        (
            &row["Name"],
            &row["Service"],
            &row["State"],
            &row["Health"],
            &row["ExitCode"]
        ),
        (
            &"shop-db-1".into(),
            &"db".into(),
            &"running".into(),
            &"healthy".into(),
            &0.into()
        )
    );
    assert_eq!(row["Publishers"][0]["TargetPort"], 99);
    assert_eq!(row["Networks"], "shop_default");
    assert_eq!(sandbox.ok(["compose", "ps", "--services"]), "db\nweb\n");
    assert_eq!(sandbox.ok(["compose", "ps", "-q"]).lines().count(), 3);
    sandbox.ok(["compose", "stop", "db"]);
    assert_eq!(sandbox.ok(["compose", "ps", "--services"]), "web\n");
    let exited = [
        "compose",
        "ps",
        "--status",
        "exited",
        "--format",
        "{{.Name}} {{.ExitCode}}",
    ];
    assert_eq!(sandbox.ok(exited), "shop-db-1 137\n");
    assert!(
        sandbox
            .fails(1, ["compose", "ps", "weeb"])
            .contains("did you mean `web`?")
    );
    let projects = sandbox.ok(["compose", "ls", "--format", "json"]);
    let expected = format!(
        "[{{\"Name\":\"shop\",\"Status\":\"running(2)\",\"ConfigFiles\":\"{}\"}}]\n",
        sandbox.path("work/compose.yaml")
    );
    assert_eq!(projects, expected);
    let all = sandbox.ok(["compose", "ls", "-a"]);
    assert!(
        all.starts_with("NAME                STATUS") && all.contains("exited(1), running(2)"),
        "{all}"
    );
}

#[test]
fn logs_carry_the_names_of_containers() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let shown = sandbox.run(["compose", "logs", "db"]);
    assert_eq!(
        (shown.stdout.as_str(), shown.stderr.as_str()),
        ("db-1  | hi\ndb-1  | oops\n", "")
    );
    assert_eq!(
        sandbox.ok(["compose", "logs", "--no-log-prefix", "-n", "1"]),
        "oops\n"
    );
    let coloured = sandbox.ok(["compose", "--ansi", "always", "logs", "--tail", "1", "db"]);
    assert_eq!(coloured, "\u{1b}[36mdb-1  | \u{1b}[0moops\n");
    let timed = sandbox.ok(["compose", "logs", "-t", "--no-log-prefix", "db"]);
    assert!(
        timed
            .lines()
            .all(|line| line.as_bytes()[10] == b'T' && line.contains("Z ")),
        "{timed}"
    );
    assert_eq!(sandbox.ok(["compose", "logs", "--until", "1h"]), "");
    assert!(
        sandbox
            .fails(1, ["compose", "logs", "nothing"])
            .contains("no such service: nothing")
    );

    // Containers that come later are followed, too, until none is left.
    let mut following = Running::of(&sandbox, &["compose", "logs", "-f", "--tail", "1", "db"]);
    let mut lines = BufReader::new(following.0.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("another line").expect("text");
    assert_eq!(next(), "db-1  | oops");
    sandbox.ok(["compose", "up", "-d", "--scale", "db=2"]);
    assert_eq!(
        (next(), next()),
        ("db-2  | hi".to_owned(), "db-2  | oops".to_owned())
    );
    sandbox.ok(["compose", "kill", "db"]);
    let mut ends = [next(), next()];
    ends.sort();
    assert_eq!(ends, ["db-1 exited with code 137", "db-2 exited with code 137"]);
    assert_eq!(following.0.wait().expect("it ends").code(), Some(0));
}

#[test]
fn each_run_of_a_container_is_followed() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "services:\n  app: {image: busybox, command: [sh, -c, 'echo run; sleep 0.7; exit 3'], restart: 'on-failure:3'}\n",
    );
    let up = sandbox.run(["compose", "up"]);
    let runs = |shown: &str| shown.matches("app-1  | run\n").count();
    assert!(
        up.code == 0
            && runs(&up.stdout) == 4
            && up.stdout.contains("app-1 exited with code 3 (restarting)\n")
            && up.stdout.ends_with("app-1 exited with code 3\n"),
        "{up}"
    );
    sandbox.ok(["compose", "up", "-d", "--force-recreate"]);
    assert_eq!(runs(&sandbox.ok(["compose", "logs", "-f"])), 4);
    // What was over before it is asked for is there all the same.
    let past = ["compose", "logs", "-f", "--no-log-prefix", "--until", "0s"];
    assert_eq!(sandbox.ok(past), "run\n".repeat(4));
}

#[test]
fn commands_run_in_containers_and_beside_them() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let said = sandbox.run([
        "compose",
        "exec",
        "-T",
        "-e",
        "X=1",
        "--index",
        "2",
        "web",
        "sh",
        "-c",
        "echo $X $WHO; exit 7",
    ]);
    assert_eq!((said.code, said.stdout.as_str()), (7, "1 web\n"), "{said}");
    assert!(
        sandbox
            .fails(1, ["compose", "exec", "wbe", "true"])
            .contains("service \"wbe\" is not running")
    );
    assert!(
        sandbox
            .fails(1, ["compose", "exec", "--index", "5", "web", "true"])
            .contains("container #5")
    );

    let before = sandbox.ok(["compose", "ps", "-q", "web"]);
    let said = sandbox.run_with_input(
        [
            "compose",
            "run",
            "--rm",
            "-T",
            "web",
            "sh",
            "-c",
            "cat; echo $WHO; exit 3",
        ],
        b"typed\n",
    );
    assert_eq!((said.code, said.stdout.as_str()), (3, "typed\nweb\n"), "{said}");
    assert_eq!(
        sandbox.ok(["compose", "ps", "-a", "-q"]).lines().count(),
        3,
        "it is gone"
    );
    let id = sandbox.ok([
        "compose",
        "run",
        "-d",
        "--name",
        "once",
        "-v",
        "data:/d",
        "-p",
        "127.0.0.1::81",
        "-u",
        "1",
        "web",
        "sleep",
        "100",
    ]);
    let once = &serde_json::from_str::<Value>(&sandbox.ok(["inspect", id.trim()])).expect("JSON")[0];
    assert_eq!(once["Config"]["Labels"]["com.docker.compose.oneoff"], "True");
    assert_eq!(once["Config"]["User"], "1");
    assert_eq!(once["Mounts"][0]["Name"], "shop_data");
    assert!(once["NetworkSettings"]["Ports"]["81/tcp"].is_array());
    assert!(
        !once["HostConfig"]["PortBindings"]["80/tcp"].is_array(),
        "not the service's: {once}"
    );
    assert_eq!(once["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert_eq!(
        sandbox.ok(["compose", "ps", "-q", "web"]),
        before,
        "those of the service stay as they are"
    );
    // A name of its own, and what it depends on is started.
    sandbox.ok(["compose", "down"]);
    let said = sandbox.run([
        "compose",
        "run",
        "web",
        "sh",
        "-c",
        "nslookup db >/dev/null && echo found",
    ]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "found\n"), "{said}");
    let names = sandbox.ok(["compose", "ps", "-a", "--format", "{{.Name}}"]);
    let names: Vec<&str> = names.lines().collect();
    assert!(
        names.len() == 2 && names[0] == "shop-db-1" && names[1].starts_with("shop-web-run-"),
        "{names:?}"
    );
    sandbox.ok(["compose", "down", "-v"]);
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

#[test]
fn a_terminal_is_given_where_there_is_one() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let command = [
        "compose",
        "exec",
        "db",
        "sh",
        "-c",
        "test -t 0 && echo yes-$((1+1))",
    ];
    let mut terminal = Terminal::start(sandbox.command(command), 24, 80);
    terminal.read_until("yes-2");
    assert_eq!(terminal.finish().0, 0);
}

#[test]
fn everything_else_that_can_be_asked() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let compose = |args: &[&str]| {
        let all = ["compose"].iter().chain(args);
        sandbox.run(all).success(args)
    };
    let port = compose(&["port", "--index", "2", "web", "80"]);
    assert!(port.starts_with("127.0.0.1:"), "{port}");
    assert!(
        sandbox
            .fails(1, ["compose", "port", "web", "81"])
            .contains("no port 81/tcp for container shop-web-1")
    );
    let top = compose(&["top", "db"]);
    let mut lines = top.lines();
    assert!(
        lines.next().expect("titles").starts_with("SERVICE  #   UID "),
        "{top}"
    );
    assert!(lines.next().expect("a process").ends_with("sleep 1000"), "{top}");
    let stats = compose(&["stats", "--no-stream", "--format", "json"]);
    assert_eq!(stats.lines().count(), 3, "{stats}");
    assert_eq!(compose(&["volumes", "-q"]), "shop_data\n");
    assert_eq!(compose(&["volumes", "-q", "web"]), "");
    let images: Value = serde_json::from_str(&compose(&["images", "--format", "json"])).expect("JSON");
    assert_eq!(images.as_array().expect("a list").len(), 3);
    assert_eq!(
        (&images[0]["Repository"], &images[0]["ContainerName"]),
        (&"busybox".into(), &"shop-db-1".into())
    );
    assert_eq!(compose(&["images", "-q"]).lines().count(), 1);
    let tagged: Timestamp = images[0]["LastTagTime"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    assert!(
        Timestamp::now().duration_since(tagged).as_hours() < 24,
        "{images}"
    );

    sandbox.write("note", "hello\n");
    compose(&["cp", "note", "web:/tmp/note"]);
    for index in ["1", "2"] {
        assert_eq!(
            compose(&["exec", "-T", "--index", index, "web", "cat", "/tmp/note"]),
            "hello\n"
        );
    }
    compose(&["cp", "web:/tmp/note", "back"]);
    assert_eq!(
        std::fs::read_to_string(sandbox.path("work/back")).expect("it was copied"),
        "hello\n"
    );
    assert!(
        sandbox
            .fails(1, ["compose", "cp", "a", "b"])
            .contains("unknown copy direction")
    );
    compose(&["export", "web", "-o", "web.tar"]);
    assert!(sandbox.path("work/web.tar").exists());
    assert_eq!(compose(&["commit", "web", "frozen:1"]), "");
    let frozen = sandbox.ok(["images", "--no-trunc", "-q", "frozen"]);
    assert!(frozen.starts_with("sha256:"), "{frozen}");

    let events = compose(&["events", "--json", "--since", "1h", "--until", "0s"]);
    let started = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|event| event["action"] == "start")
        .map(|event| event["service"].as_str().expect("a service").to_owned());
    let mut started: Vec<String> = started.collect();
    started.sort();
    assert_eq!(started, ["db", "web", "web"]);
    assert_eq!(compose(&["version", "--short"]), "2.40.3\n");
    // With a name alone no file is read.
    std::fs::remove_file(sandbox.path("work/compose.yaml")).expect("it is there");
    assert_eq!(compose(&["-p", "shop", "ps", "-q"]).lines().count(), 3);
    assert!(
        sandbox
            .fails(1, ["compose", "ps"])
            .contains("no configuration file provided: not found")
    );
    compose(&["-p", "shop", "down", "-v"]);
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

#[test]
fn output_is_attached_to_and_left() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "services:\n  cat: {image: busybox, command: cat, stdin_open: true, stop_signal: KILL}\n",
    );
    sandbox.ok(["compose", "up", "-d"]);
    let said = sandbox.run_with_input(["compose", "attach", "cat"], b"typed\n");
    assert_eq!((said.code, said.stdout.as_str()), (0, "typed\n"), "{said}");
}

#[test]
fn images_are_built_together() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: made
services:
  base:
    build: {dockerfile_inline: \"FROM busybox\\nRUN echo base > /base\\n\", tags: ['base:2']}
  web:
    build:
      context: web
      additional_contexts: {foundation: 'service:base'}
      args: {GREETING: hello, OTHER: }
      labels: {team: shop}
      secrets: [token, {source: file, target: other}]
      target: final
    image: web:1
  third: {build: web/third}
  ready: {image: busybox}
secrets:
  token: {environment: TOKEN}
  file: {file: ./secret.txt}
",
    );
    sandbox.write("secret.txt", "from-file");
    sandbox.write(".env", "TOKEN=from-env\nOTHER=other\n");
    sandbox.write(
        "web/Dockerfile",
        "FROM foundation AS final\nARG GREETING OTHER\nRUN --mount=type=secret,id=token --mount=type=secret,id=other \
         echo $GREETING $OTHER $(wc -c < /run/secrets/token) $(cat /run/secrets/other | wc -c) > /made\nFROM busybox\nRUN false\n",
    );
    sandbox.write("web/third/Dockerfile", "FROM busybox\nRUN exit 4\n");
    let outcome = sandbox.run(["compose", "--progress", "plain", "build", "web"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(
        outcome.stderr.contains("[base 2/2] RUN echo base") && outcome.stderr.contains(" web:1  Built"),
        "{outcome}"
    );
    assert!(!outcome.stderr.contains("from-"), "no secret is shown: {outcome}");
    assert_eq!(
        sandbox.ok(["run", "--rm", "web:1", "cat", "/base", "/made"]),
        "base\nhello other 8 9\n"
    );
    let labels: Value =
        serde_json::from_str(&sandbox.ok(["inspect", "-f", "{{json .Config.Labels}}", "web:1"]))
            .expect("JSON");
    assert_eq!(
        (&labels["team"], &labels["com.docker.compose.service"]),
        (&"shop".into(), &"web".into())
    );
    let names = sandbox.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    for name in ["made-base:latest", "base:2", "web:1"] {
        assert!(names.lines().any(|line| line == name), "{names}");
    }
    let failed = sandbox.run(["compose", "build"]);
    assert!(
        failed.code == 1 && failed.stderr.contains("this was the build of service `third`"),
        "{failed}"
    );
    let bake: Value =
        serde_json::from_str(&sandbox.ok(["compose", "build", "--print", "web"])).expect("JSON");
    assert_eq!(bake["target"]["web"]["contexts"]["foundation"], "target:base");
    assert_eq!(
        sandbox.fails(1, ["compose", "build", "nothing"]),
        "error: no such service: nothing\n"
    );
    assert_eq!(
        sandbox.run(["compose", "build", "ready"]).code,
        0,
        "there is nothing to do"
    );
}

#[test]
fn images_are_pulled_and_pushed() {
    needs!(root, overlay, tool = "nft");
    let mut sandbox = crate::sandbox();
    let registry = sandbox.serve(&["busybox"]).host.clone();
    sandbox.write(
        "compose.yaml",
        format!(
            "\
services:
  one: {{image: busybox}}
  two: {{image: busybox}}
  built: {{build: {{dockerfile_inline: 'FROM busybox'}}, image: '{registry}/built:1'}}
  never: {{image: nothing, pull_policy: never}}
  missing: {{image: '{registry}/missing:1', profiles: [broken]}}
"
        ),
    );
    let pulled = sandbox.run(["compose", "--progress", "plain", "pull"]);
    assert_eq!(pulled.code, 0, "{pulled}");
    for line in [
        " two Skipped - Image is already being pulled by one",
        " one Pulled",
        " never Skipped",
        "compose build built",
    ] {
        assert!(pulled.stderr.contains(line), "{line}: {pulled}");
    }
    let broken = ["compose", "--profile", "broken", "pull"];
    assert!(sandbox.fails(1, broken).contains("missing:1"));
    let ignored = sandbox.run(broken.iter().chain(&["--ignore-pull-failures"]));
    assert_eq!(ignored.code, 0, "{ignored}");
    assert!(sandbox.fails(1, ["compose", "push"]).contains("built:1"));
    sandbox.ok(["compose", "build"]);
    let pushed = sandbox.run(["compose", "--progress", "plain", "push"]);
    assert!(
        pushed.code == 0 && pushed.stderr.contains(" one Skipped"),
        "{pushed}"
    );
    sandbox.ok(["rmi", &format!("{registry}/built:1")]);
    sandbox.ok(["compose", "pull", "built"]);
}

#[test]
fn the_dockerfiles_of_all_services_are_checked() {
    let sandbox = crate::sandbox();
    sandbox.write(
        "compose.yaml",
        "\
name: p
services:
  good: {build: good}
  bad: {build: bad, depends_on: [good]}
  broken: {build: {context: ., dockerfile_inline: 'RUM x'}, profiles: [broken]}
  image: {image: busybox}
",
    );
    sandbox.write("good/Dockerfile", "FROM scratch\n");
    sandbox.write("bad/Dockerfile", "FROM scratch\nMAINTAINER me\n");
    let check = |args: &[&str]| sandbox.run([&["compose", "build", "--check"], args].concat());
    let well = check(&["good", "image"]);
    assert!(
        well.code == 0 && well.stdout == "good\n\nCheck complete, no warnings found.\n",
        "{well}"
    );
    let all = check(&["-q"]);
    let path = sandbox.path("work/bad/Dockerfile");
    assert!(
        all.code == 1
            && all.stdout.starts_with(
                "bad\n\nCheck complete, 1 warning has been found!\n\nWARNING: MaintainerDeprecated"
            )
            && all.stdout.contains(&format!("\n{path}:2\n"))
            && all.stdout.ends_with(&format!("\n\n{}", well.stdout)),
        "{all}"
    );
    let broken = check(&["broken", "good"]);
    assert!(
        broken.code == 1 && broken.stdout == format!("broken\n\n\n{}", well.stdout),
        "{broken}"
    );
    assert!(broken.stderr.contains("did you mean `RUN`?"), "{broken}");
    let with_needs = check(&["--with-dependencies", "bad"]);
    assert!(with_needs.stdout.contains("good\n\nCheck"), "{with_needs}");
    let printed = check(&["--print", "good"]);
    let target: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    assert_eq!(target["target"]["good"]["call"], "lint");
    let stated = "compose build --print --sbom true --provenance mode=max --ssh default --push good";
    let printed = sandbox.run(stated.split(' '));
    let target: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    let target = &target["target"]["good"];
    assert_eq!(
        target["attest"],
        serde_json::json!(["type=provenance,mode=max", "type=sbom"])
    );
    assert_eq!(
        (&target["ssh"][0], &target["output"][0]),
        (&"default".into(), &"type=registry".into())
    );
    let elsewhere = sandbox.fails(1, ["compose", "build", "--builder", "nope", "good"]);
    assert!(elsewhere.contains("no builder \"nope\" found"), "{elsewhere}");
    assert_eq!(sandbox.ok(["images", "-q"]), "", "nothing is built");
    assert_eq!(sandbox.ok(["compose", "build", "--print", "image"]), "");
}

#[test]
fn called_as_docker_compose() {
    let sandbox = crate::sandbox();
    sandbox.write("compose.yaml", "services:\n  web: {image: busybox}\n");
    let called = |args: &[&str]| {
        let mut command = sandbox.command(args);
        Outcome::of(command.arg0("/usr/bin/docker-compose"))
    };
    assert_eq!(called(&["config", "--services"]).stdout, "web\n");
    assert!(called(&["--version"]).stdout.contains("Compose version 2.40.3"));
    for wrong in [
        &["cofnig"][..],
        &["config", "--formt"],
        &["-f", "nothing.yaml", "config"],
        &["--bad"],
    ] {
        let outcome = called(wrong);
        assert!(
            outcome.code == 1 && outcome.stderr.contains("error"),
            "{wrong:?}: {outcome}"
        );
    }
    assert!(called(&["cofnig"]).stderr.contains("did you mean `config`?"));
    assert!(called(&[]).stdout.contains("Usage: docker compose"));
    let mut out = String::new();
    let mut child = sandbox
        .command(["compose", "--help"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut out)
        .expect("text");
    let _ = child.wait();
    for name in [
        "ps", "logs", "exec", "run", "build", "pull", "push", "watch", "events",
    ] {
        assert!(
            out.lines()
                .any(|line| line.trim_start().starts_with(&format!("{name} "))),
            "{name}: {out}"
        );
    }
}
