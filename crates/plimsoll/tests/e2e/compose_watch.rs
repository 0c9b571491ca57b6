//! `compose watch`, and `up --watch`.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use plimsoll_testkit::{Sandbox, needs};
use rustix::process::{Pid, Signal, kill_process};

use crate::{wait_for, with_busybox};

/// A command that goes on, and what it has written; ended when this is dropped.
pub(crate) struct Session {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    errors: Arc<Mutex<Vec<String>>>,
}

/// Collects lines as they come.
fn collect(out: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let read = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            read.lock().expect("nobody panics with it").push(line);
        }
    });
    lines
}

impl Session {
    pub(crate) fn of(sandbox: &Sandbox, args: &[&str]) -> Self {
        let mut command = sandbox.command(args);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        Self {
            lines: collect(child.stdout.take().expect("a pipe")),
            errors: collect(child.stderr.take().expect("a pipe")),
            child,
        }
    }

    /// What it has written to standard error.
    fn complained(&self) -> String {
        self.errors.lock().expect("nobody panics with it").join("\n")
    }

    fn said(&self) -> String {
        self.lines.lock().expect("nobody panics with it").join("\n")
    }

    /// How many lines end so.
    fn count(&self, end: &str) -> usize {
        self.said().lines().filter(|line| line.ends_with(end)).count()
    }

    /// Waits until so many lines end so.
    #[track_caller]
    pub(crate) fn until(&self, count: usize, end: &str) {
        let seen = wait_for(&format!("`{end}` in {}", self.said()), 30, || {
            let seen = self.count(end);
            (seen >= count).then_some(seen)
        });
        assert_eq!(seen, count, "{}", self.said());
    }

    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
    }

    /// Waits until it has written this to standard error.
    #[track_caller]
    pub(crate) fn until_complained(&self, what: &str) {
        wait_for(what, 30, || self.complained().contains(what).then_some(()));
    }

    #[track_caller]
    pub(crate) fn ends(&mut self, code: i32) {
        let ended = wait_for(&format!("its end; {}", self.said()), 30, || {
            self.child.try_wait().expect("it is ours")
        });
        assert_eq!(ended.code(), Some(code), "{}\n{}", self.said(), self.complained());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service that is built, with all kinds of rules.
fn project() -> Sandbox {
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: dev
services:
  app:
    build: .
    environment: {MODE: run}
    command: [sh, -c, 'echo version `cat /version`; exec sleep 1000']
    stop_signal: SIGKILL
    develop:
      watch:
        - {action: sync, path: ./src, target: /src, ignore: [skipped/], initial_sync: true}
        - {action: sync+restart, path: ./app.conf, target: /etc/app.conf}
        - {action: restart, path: ./touched}
        - {action: rebuild, path: ./Dockerfile}
        - {action: sync+exec, path: ./data, target: /data, exec: {command: [sh, -c, 'cat /data/* > /all; echo \"[$(env | sed -n s/^MODE=//p)]\"'], environment: {MODE: done}}}
",
    );
    for (file, text) in [
        ("src/one", "1"),
        ("app.conf", "a"),
        ("touched", ""),
        ("data/x", "x"),
    ] {
        sandbox.write(file, text);
    }
    std::os::unix::fs::symlink(".", sandbox.path("work/src/itself")).expect("it is new");
    version(&sandbox, "1");
    sandbox
}

fn version(sandbox: &Sandbox, version: &str) {
    let text = format!("FROM busybox\nRUN mkdir /src && echo {version} > /version\n");
    sandbox.write("Dockerfile", text);
}

fn inside(sandbox: &Sandbox, file: &str) -> Option<String> {
    let shown = sandbox.run(["compose", "exec", "-T", "app", "cat", file]);
    (shown.code == 0).then_some(shown.stdout)
}

#[test]
fn changed_files_come_into_containers() {
    needs!(root, overlay, tool = "nft");
    let sandbox = project();
    let mut watching = Session::of(&sandbox, &["compose", "watch"]);
    watching.until(1, "Watch enabled");
    let becomes = |file: &str, content: Option<&str>| {
        wait_for(file, 30, || {
            (inside(&sandbox, file).as_deref() == content).then_some(())
        });
    };
    let first_sync = inside(&sandbox, "/src/one");
    assert_eq!(first_sync.as_deref(), Some("1"), "all is copied at the start");
    let link = sandbox.ok(["compose", "exec", "-T", "app", "readlink", "/src/itself"]);
    assert_eq!(link, ".\n", "a link stays one");
    let id = || sandbox.ok(["compose", "ps", "-q", "app"]);
    let (first, started) = (id(), || {
        sandbox.ok(["inspect", "-f", "{{.State.StartedAt}}", "dev-app-1"])
    });
    let before = started();
    sandbox.write("src/skipped/x", "x");
    sandbox.write("src/deep/er/two", "2");
    becomes("/src/deep/er/two", Some("2"));
    std::fs::remove_file(sandbox.path("work/src/one")).expect("it is there");
    becomes("/src/one", None);
    assert_eq!(inside(&sandbox, "/src/skipped/x"), None);
    assert_eq!(started(), before, "it went on");
    // At once: a file that is made and one that is written to may be two changes.
    let written = sandbox.write("y", "y");
    std::fs::rename(written, sandbox.path("work/data/y")).expect("it was written");
    becomes("/all", Some("y"));
    watching.until(1, "[done]");
    sandbox.write("app.conf", "b");
    becomes("/etc/app.conf", Some("b"));
    wait_for("a restart", 30, || (started() != before).then_some(()));
    assert_eq!(id(), first);
    version(&sandbox, "2");
    becomes("/version", Some("2\n"));
    assert_ne!(id(), first, "another container of another image");
    watching.until(1, "service(s) [\"app\"] successfully built");
    watching.interrupt();
    watching.ends(130);
    assert!(watching.said().contains("Syncing service \"app\" after"));
    sandbox.ok(["compose", "down"]);
}

#[test]
fn what_is_copied_belongs_to_the_program() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: dev
services:
  app:
    image: busybox
    user: '1000:50'
    command: sleep 1000
    stop_signal: SIGKILL
    volumes: ['./mounted:/mounted']
    develop:
      watch:
        - {action: sync, path: ./src, target: /src, include: ['*.key']}
        - {action: sync, path: ./mounted/part, target: /part}
  other: {build: other, command: sleep 1000, stop_signal: SIGKILL}
",
    );
    sandbox.write("src/a.key", "before");
    sandbox.write("mounted/part/x", "");
    sandbox.write("other/Dockerfile", "FROM busybox\n");
    sandbox.ok(["compose", "up", "-d", "--build"]);
    let built = || sandbox.ok(["images", "-q", "--no-trunc", "dev-other"]);
    let before = built();
    sandbox.write("other/Dockerfile", "FROM busybox\nRUN echo new > /new\n");
    let mut watching = Session::of(&sandbox, &["compose", "watch"]);
    watching.until(1, "Watch enabled");
    assert_eq!(built(), before, "only what is watched is built anew");
    let warned = watching.complained();
    assert!(
        warned.contains("mounted/part` is mounted into service `app`"),
        "{warned}"
    );
    let key = sandbox.path("work/src/.new");
    std::fs::write(&key, "secret").expect("it can be written");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    std::fs::rename(&key, sandbox.path("work/src/a.key")).expect("it is ours");
    sandbox.write("src/a.txt", "");
    sandbox.write("mounted/part/y", "");
    wait_for("the key", 30, || {
        (inside(&sandbox, "/src/a.key").as_deref() == Some("secret")).then_some(())
    });
    let listed = sandbox.ok([
        "compose",
        "exec",
        "-T",
        "app",
        "stat",
        "-c",
        "%a %u:%g",
        "/src/a.key",
    ]);
    assert_eq!(listed, "600 1000:50\n");
    assert_eq!(inside(&sandbox, "/src/a.txt"), None);
    assert_eq!(inside(&sandbox, "/part/y"), None);
    watching.interrupt();
    watching.ends(130);
    sandbox.ok(["compose", "down"]);
}

#[test]
fn an_up_that_watches_shows_each_run_once() {
    needs!(root, overlay, tool = "nft");
    let sandbox = project();
    let mut up = Session::of(&sandbox, &["compose", "up", "--watch", "--quiet-build"]);
    up.until(1, "⦿ Watch enabled");
    up.until(1, "app-1  | version 1");
    sandbox.write("src/two", "2");
    wait_for("a sync", 30, || inside(&sandbox, "/src/two"));
    sandbox.write("touched", "now");
    up.until(1, "app-1 exited with code 137 (restarting)");
    up.until(2, "app-1  | version 1");
    sandbox.write("app.conf", "b");
    up.until(3, "app-1  | version 1");
    assert_eq!(inside(&sandbox, "/etc/app.conf").as_deref(), Some("b"));
    sandbox.write("Dockerfile", "FROM busybox\nRUN exit 3\n");
    up.until(
        1,
        "⦿ Rebuilding service(s) [\"app\"] after changes were detected...",
    );
    // It is the only one: while it is replaced nothing runs.
    version(&sandbox, "2");
    up.until(1, "app-1  | version 2");
    up.until(1, "app-1 has been recreated");
    up.until(1, "⦿ service(s) [\"app\"] successfully built");
    up.interrupt();
    up.ends(130);
    assert_eq!(up.count("app-1  | version 1"), 3, "{}", up.said());
    assert_eq!(up.count("app-1  | version 2"), 1, "{}", up.said());
    assert_eq!(sandbox.ok(["compose", "ps", "-q"]), "", "all is stopped");
    sandbox.ok(["compose", "down"]);
}

#[test]
fn what_two_services_are_built_from_is_built_for_both() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: dev
x-built: &built
  build: .
  command: cat /version -
  stdin_open: true
  stop_signal: SIGKILL
services:
  one:
    <<: *built
    develop:
      watch:
        - {action: rebuild, path: ./Dockerfile}
        - {action: sync, path: ./src, target: /here}
        - {action: sync, path: ./src, target: /there}
  two:
    <<: *built
    develop: {watch: [{action: rebuild, path: ./Dockerfile}]}
",
    );
    version(&sandbox, "1");
    sandbox.write("src/x", "");
    let mut up = Session::of(&sandbox, &["compose", "up", "-w", "--quiet-build"]);
    up.until(1, "⦿ Watch enabled");
    version(&sandbox, "2");
    up.until(
        1,
        "⦿ Rebuilding service(s) [\"one\" \"two\"] after changes were detected...",
    );
    up.until(1, "one-1  | 2");
    up.until(1, "two-1  | 2");
    up.until(1, "⦿ service(s) [\"one\" \"two\"] successfully built");
    sandbox.write("src/y", "y");
    let copied = ["compose", "exec", "-T", "one", "cat", "/here/y", "/there/y"];
    wait_for("two copies", 30, || {
        (sandbox.run(copied).stdout == "yy").then_some(())
    });
    up.interrupt();
    up.ends(130);
    sandbox.ok(["compose", "down"]);
}

#[test]
fn watching_ends_with_the_containers() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    let watch = "develop: {watch: [{action: sync, path: ./src, target: /src}]}";
    let text = format!(
        "name: dev\nservices:\n  one: {{image: busybox, command: [sh, -c, 'while [ ! -e /src/end ]; do sleep 0.1; done; exit 3'], {watch}}}\n"
    );
    sandbox.write("compose.yaml", text);
    sandbox.write("src/x", "");
    for (more, code) in [(&[][..], 0), (&["--abort-on-container-exit"], 3)] {
        let args = [&["compose", "up", "-w"][..], more].concat();
        let mut up = Session::of(&sandbox, &args);
        up.until(1, "⦿ Watch enabled");
        sandbox.write("src/end", "");
        up.ends(code);
        up.until(1, "one-1 exited with code 3");
        up.until(1, "⦿ Watch disabled");
        sandbox.ok(["compose", "down"]);
        std::fs::remove_file(sandbox.path("work/src/end")).expect("it is there");
    }
}

#[test]
fn a_second_interrupt_kills_what_is_watched() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: dev
services:
  one:
    image: busybox
    command: [sh, -c, 'trap \"echo no\" TERM; echo here; while :; do sleep 0.1; done']
    stop_grace_period: 10m
    develop: {watch: [{action: restart, path: ./src}]}
",
    );
    sandbox.write("src/x", "");
    let mut up = Session::of(&sandbox, &["compose", "up", "-w"]);
    up.until(1, "one-1  | here");
    up.until(1, "⦿ Watch enabled");
    // In the middle of a restart that holds the project.
    sandbox.write("src/x", "1");
    up.until(1, "one-1  | no");
    up.interrupt();
    wait_for("another request to end", 30, || {
        (up.count("| no") > 1).then_some(())
    });
    up.interrupt();
    up.ends(130);
    assert_eq!(sandbox.ok(["compose", "ps", "-q"]), "");
    sandbox.ok(["compose", "down"]);
}

#[test]
fn nothing_to_watch_is_an_error() {
    let sandbox = crate::sandbox();
    sandbox.write("compose.yaml", "services:\n  web: {image: busybox}\n");
    for args in [["compose", "watch", "web"], ["compose", "up", "-w"]] {
        let said = sandbox.fails(1, args);
        assert!(said.contains("configured for watch"), "{said}");
    }
    assert_eq!(sandbox.ok(["network", "ls", "-q", "--filter", "type=custom"]), "");
    for other in ["--detach", "--wait", "--no-build"] {
        let said = sandbox.fails(1, ["compose", "up", "--watch", other]);
        assert!(said.contains("cannot be used with"), "{said}");
    }
}

#[test]
fn a_dry_run_changes_no_container() {
    needs!(root, overlay, tool = "nft");
    let sandbox = project();
    sandbox.ok(["compose", "up", "-d"]);
    let said = sandbox.fails(1, ["compose", "--dry-run", "exec", "-T", "app", "touch", "/x"]);
    assert!(
        said.contains("interactive exec is not supported in dry-run mode"),
        "{said}"
    );
    let said = sandbox.ok(["compose", "--dry-run", "exec", "-d", "app", "touch", "/x"]);
    assert!(
        said.contains("DRY-RUN MODE -  Executing command [\"touch\" \"/x\"] in "),
        "{said}"
    );
    assert_eq!(inside(&sandbox, "/x"), None);
    let mut watching = Session::of(&sandbox, &["compose", "--dry-run", "watch", "--no-up"]);
    watching.until(1, "Watch enabled");
    sandbox.write("data/y", "y");
    watching.until(1, "after 1 changes were detected");
    watching.interrupt();
    watching.ends(130);
    assert_eq!(inside(&sandbox, "/data/y"), None);
    assert_eq!(inside(&sandbox, "/src/one"), None, "nor at the start");
}

#[test]
fn a_folder_that_is_not_there_takes_nothing_away_at_the_start() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "\
name: dev
services:
  app:
    image: busybox
    command: [sh, -c, 'mkdir /kept; touch /kept/file; exec sleep 1000']
    stop_signal: SIGKILL
    develop: {watch: [{action: sync, path: ./missing, target: /kept, initial_sync: true}]}
",
    );
    sandbox.ok(["compose", "up", "-d"]);
    wait_for("its file", 20, || inside(&sandbox, "/kept/file"));
    let mut watching = Session::of(&sandbox, &["compose", "watch", "--no-up"]);
    watching.until(1, "Watch enabled");
    assert_eq!(inside(&sandbox, "/kept/file").as_deref(), Some(""));
    watching.interrupt();
    watching.ends(130);
}
