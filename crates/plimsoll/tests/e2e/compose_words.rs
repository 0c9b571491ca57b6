//! What compose commands say, and with which code they end: as Docker Compose 2.40.

use plimsoll_testkit::{Sandbox, needs};

use crate::with_busybox;

const SHOP: &str = "\
name: shop
services:
  db:
    image: busybox
    command: [sh, -c, 'echo hi; exec sleep 1000']
    healthcheck: {test: [CMD, 'true'], interval: 1s}
    labels: {owners: 'ann,bob', tier: back}
    stop_signal: SIGKILL
  web:
    image: busybox
    command: [sleep, '1000']
    depends_on: {db: {condition: service_healthy}}
    stop_signal: SIGKILL
  job:
    image: busybox
    command: [sh, -c, 'echo job; exit 3']
";

fn shop() -> Sandbox {
    let sandbox = with_busybox();
    sandbox.write("compose.yaml", SHOP);
    sandbox
}

#[test]
fn what_is_not_there_is_said() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let start = sandbox.fails(1, ["compose", "start"]);
    assert!(start.contains("has no container to start"), "{start}");
    let start = sandbox.fails(1, ["compose", "-p", "nobody", "start"]);
    assert!(
        start.contains("no container found for project \"nobody\": not found"),
        "{start}"
    );
    let kill = sandbox.run(["compose", "kill"]);
    assert_eq!((kill.code, kill.stderr.as_str()), (0, "no container to kill\n"));
    let up = sandbox.fails(1, ["compose", "up", "-d", "wbe"]);
    assert!(
        up.contains("no such service: wbe") && up.contains("did you mean `web`?"),
        "{up}"
    );
}

#[test]
fn a_service_is_started_after_what_it_depends_on() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    sandbox.ok(["compose", "create"]);
    // `db` was never started: nobody may wait for ever until it is healthy.
    sandbox.ok(["compose", "start", "web"]);
    let all = ["compose", "ps", "-a", "--format", "{{.Service}} {{.State}}"];
    assert_eq!(sandbox.ok(all), "db running\njob created\nweb running\n");
    sandbox.ok(["compose", "rm", "-f", "job"]);
    // What is there runs, and what is not is an error.
    sandbox.ok(["compose", "stop", "db"]);
    let start = sandbox.fails(1, ["compose", "start"]);
    assert!(
        start.contains("service \"job\" has no container to start"),
        "{start}"
    );
    assert_eq!(sandbox.ok(all), "db running\nweb running\n");
}

#[test]
fn removing_says_what_it_removes() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    sandbox.ok(["compose", "create", "job"]);
    let run = ["compose", "run", "--name", "by-hand", "job", "true"];
    sandbox.ok(run);
    let asked = sandbox.run_with_input(["compose", "rm", "job"], b"n\n");
    assert_eq!(asked.stdout, "Going to remove shop-job-1\n");
    assert_eq!(asked.stderr, "Are you sure? [yN] ");
    assert_eq!(
        sandbox.ok(["compose", "rm", "-f"]),
        "Going to remove shop-job-1\n"
    );
    // Those of `run` are not for `rm`, but for `down`.
    assert_eq!(
        sandbox.run(["compose", "rm", "-f"]).stderr,
        "No stopped containers\n"
    );
    assert_eq!(
        sandbox.ok(["compose", "ps", "-a", "--format", "{{.Name}}"]),
        "by-hand\n"
    );
    sandbox.ok(["compose", "down"]);
    assert_eq!(sandbox.ok(["compose", "ps", "-aq"]), "");
}

#[test]
fn labels_and_images_are_told_whole() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    sandbox.ok(["compose", "up", "-d", "db"]);
    let label = "{{.Label \"owners\"}} {{.Label \"tier\"}} {{.Label \"none\"}}";
    assert_eq!(
        sandbox.ok(["compose", "ps", "--format", label]),
        "ann,bob back \n"
    );
    let commit = sandbox.run(["compose", "commit", "db", "kept:1"]);
    assert_eq!((commit.code, commit.stdout.as_str()), (0, ""));
    let said = " shop-db-1 Commit shop-db-1 Committed as sha256:";
    assert!(commit.stderr.contains(said), "{}", commit.stderr);
    assert!(sandbox.ok(["images", "-q", "kept:1"]).len() > 1);
    let exec = sandbox.run(["compose", "exec", "-T", "-w", "/nowhere", "db", "true"]);
    assert_eq!(exec.code, 127, "{}", exec.stderr);
    assert!(
        exec.stderr.contains("cannot change directory to `/nowhere`"),
        "{}",
        exec.stderr
    );
}

#[test]
fn an_attached_up_says_why_it_ends() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let up = sandbox.run(["compose", "up", "job"]);
    assert_eq!(
        (up.code, up.stdout.as_str()),
        (0, "Attaching to job-1\njob-1  | job\njob-1 exited with code 3\n"),
        "{up}"
    );
    let up = sandbox.run(["compose", "up", "--abort-on-container-failure", "job"]);
    assert_eq!(up.code, 3, "{up}");
    assert!(
        up.stderr.contains("Aborting on container exit...\n"),
        "{}",
        up.stderr
    );
    let up = sandbox.run(["compose", "up", "--no-attach", "job", "job"]);
    assert_eq!((up.code, up.stdout.as_str()), (0, ""));
}

#[test]
fn waiting_for_a_service_that_fails_at_once_fails() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    let up = sandbox.fails(1, ["compose", "up", "--wait", "job"]);
    assert!(up.contains("container shop-job-1 exited (3)"), "{up}");
}

#[test]
fn waiting_sees_what_ends_while_others_are_waited_for() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: shop
services:
  slow:
    image: busybox
    command: [sleep, '1000']
    healthcheck: {test: [CMD, test, -e, /tmp/ok], interval: 100ms, start_period: 1m}
    post_start: [{command: [sh, -c, '(until test -e /s/over; do sleep 0.1; done; sleep 1; touch /tmp/ok) &']}]
    stop_signal: SIGKILL
    volumes: ['s:/s']
  brief:
    image: busybox
    command: [sh, -c, 'sleep 0.7; touch /s/over; exit 4']
    volumes: ['s:/s']
volumes: {s: {}}
",
    );
    let up = sandbox.fails(1, ["compose", "up", "--wait"]);
    assert!(up.contains("container shop-brief-1 exited (4)"), "{up}");
}

#[test]
fn an_attached_up_is_about_the_services_it_names() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: shop
x-still: &still {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL}
services:
  db: {<<: *still, command: [sh, -c, 'echo ready; exec sleep 1000']}
  other: *still
  migrate: {image: busybox, command: [sh, -c, 'echo done; exit 5'], depends_on: [db]}
  quiet: {image: busybox, command: [echo, psst], attach: false}
",
    );
    sandbox.ok(["compose", "up", "-d", "other"]);
    let running = ["compose", "ps", "--services"];
    // It is over with what it is about, and what that depends on goes on.
    let up = sandbox.run(["compose", "up", "migrate"]);
    let said = "Attaching to migrate-1\nmigrate-1  | done\nmigrate-1 exited with code 5\n";
    assert_eq!((up.code, up.stdout.as_str()), (0, said));
    assert_eq!(sandbox.ok(running), "db\nother\n");
    let up = sandbox.run([
        "compose",
        "up",
        "--abort-on-container-exit",
        "--attach-dependencies",
        "migrate",
    ]);
    assert_eq!(up.code, 5, "{up}");
    assert!(up.stdout.contains("migrate-1  | done\n"), "{up}");
    assert_eq!(sandbox.ok(running), "db\nother\n");
    let up = sandbox.run(["compose", "up", "quiet"]);
    assert_eq!((up.code, up.stdout.as_str()), (0, ""));
    let up = sandbox.fails(1, ["compose", "up", "--attach", "othr"]);
    assert!(
        up.contains("no such service: othr") && up.contains("did you mean `other`?"),
        "{up}"
    );
}

#[test]
fn a_dry_run_says_so_on_every_line() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    sandbox.ok(["compose", "up", "-d", "db"]);
    for command in [
        &["kill", "db"][..],
        &["pause", "db"],
        &["stop", "db"],
        &["restart", "db"],
        &["rm", "-fs", "db"],
        &["pull", "db"],
        &["push", "db"],
        &["cp", "db:/etc/hosts", "hosts"],
        &["export", "-o", "db.tar", "db"],
        &["commit", "db", "kept"],
        &["up", "-d", "--force-recreate", "db"],
        &["down"],
    ] {
        let said = sandbox.run([&["compose", "--dry-run"], command].concat()).stderr;
        let mut lines = said.lines();
        assert!(
            !said.is_empty() && lines.all(|line| line.trim_start().starts_with("DRY-RUN MODE - ")),
            "{command:?}: {said}"
        );
    }
    assert_eq!(
        sandbox.ok(["compose", "ps", "--format", "{{.Name}} {{.State}}"]),
        "shop-db-1 running\n"
    );
    assert!(!sandbox.path("work/hosts").exists() && !sandbox.path("work/db.tar").exists());
}

#[test]
fn a_restart_is_an_event_of_its_own() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    sandbox.ok(["compose", "up", "-d", "db"]);
    sandbox.ok(["compose", "restart", "db"]);
    sandbox.ok(["restart", "shop-db-1"]);
    let events = sandbox.ok(["compose", "events", "--json", "--since", "1m", "--until", "0s"]);
    let restarts = events
        .lines()
        .filter(|line| line.contains("\"action\":\"restart\""));
    assert_eq!(restarts.count(), 2, "{events}");
}

#[test]
fn a_failure_is_told_with_what_was_written_this_time() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: shop
services:
  job: {image: busybox, command: [sh, -c, 'echo broken; exit 4']}
  app: {image: busybox, depends_on: {job: {condition: service_completed_successfully}}}
",
    );
    sandbox.fails(1, ["compose", "up", "-d"]);
    let again = sandbox.fails(1, ["compose", "up", "-d"]);
    assert_eq!(again.matches("  broken\n").count(), 1, "{again}");
}

#[test]
fn containers_of_run_are_seen_where_docker_shows_them() {
    needs!(root, overlay, tool = "nft");
    let sandbox = shop();
    sandbox.ok([
        "compose",
        "run",
        "-d",
        "--name",
        "by-hand",
        "job",
        "sh",
        "-c",
        "echo own; exec sleep 1000",
    ]);
    sandbox.ok(["compose", "up", "-d", "job"]);
    let said = sandbox.ok(["compose", "logs", "job"]);
    assert_eq!(said, "job-1  | job\n");
    let top = sandbox.ok(["compose", "top"]);
    assert!(
        top.lines()
            .nth(1)
            .is_some_and(|line| line.starts_with("job          root")),
        "{top}"
    );
    assert!(
        sandbox
            .ok(["compose", "stats", "--no-stream", "--format", "{{.Name}}"])
            .contains("by-hand")
    );
    assert!(sandbox.ok(["compose", "images"]).contains("by-hand"));
    sandbox.ok(["compose", "stop", "-t", "0"]);
    let running = [
        "compose",
        "ps",
        "-a",
        "--status",
        "running",
        "--format",
        "{{.Name}}",
    ];
    assert_eq!(sandbox.ok(running), "by-hand\n");
    sandbox.ok(["compose", "kill"]);
    assert_eq!(sandbox.ok(running), "");
}

#[test]
fn the_first_number_of_a_version_is_that_of_docker_compose() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_plimsoll"));
    for args in [&["compose", "version"][..], &["compose", "--version"]] {
        let said = sandbox.run(args).stdout;
        let number = said
            .split(' ')
            .find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
        assert_eq!(number, Some("2.40.3"), "{said}");
    }
}

#[test]
fn publishing_images_with_a_project_is_refused_with_the_reason() {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_plimsoll"));
    sandbox.write("compose.yaml", SHOP);
    let said = sandbox.fails(1, ["compose", "publish", "--app", "127.0.0.1:1/shop"]);
    assert!(
        said.contains("`--app` is refused") && said.contains("compose push"),
        "{said}"
    );
}
