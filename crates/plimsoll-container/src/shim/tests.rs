//! The supervisor with a runtime that runs programs on the host, without root.

use std::fs;
use std::process::Command;

use plimsoll_runtime::{Bundle, ContainerSpec, ProcessSpec, Rootfs, RuntimeError, Stdio};
use plimsoll_store::{SnapshotId, Store};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use jiff::Timestamp;

use super::*;
use crate::model::{HealthCheck, HealthStatus, NetworkMode, OnFailure, Status, StopSignal, write_json};
use crate::protocol::Ended;
use crate::{Attachment, Container, Containers, Event, LogConfig, LogQuery, RestartPolicy};

/// Runs `sh -c` with the script, stopped until `start`.
#[derive(Clone)]
struct Fake {
    script: String,
    pid: Option<Pid>,
    fail: Option<&'static str>,
}

impl Fake {
    #[expect(clippy::zombie_processes, reason = "the shim waits for it, through a pidfd")]
    fn spawn(command: &mut Command, stdio: Stdio) -> Result<i32, RuntimeError> {
        let Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        } = stdio
        else {
            panic!("no terminals here")
        };
        let child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        Ok(i32::try_from(child.id()).unwrap())
    }
}

impl OciRuntime for Fake {
    fn create(&mut self, bundle: Bundle<'_>) -> Result<i32, RuntimeError> {
        let script = format!("kill -STOP $$\n{}", self.script);
        let pid = Self::spawn(Command::new("sh").arg("-c").arg(script), bundle.stdio)?;
        self.pid = Pid::from_raw(pid);
        Ok(pid)
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        if self.fail.is_some() {
            return Err(failure());
        }
        let pid = self.pid.unwrap();
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
        kill_process(pid, Signal::CONT).unwrap();
        Ok(())
    }

    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError> {
        Self::spawn(Command::new(&process.args[0]).args(&process.args[1..]), stdio)
    }

    fn kill(&mut self, signal: i32, _all: bool) -> Result<(), RuntimeError> {
        let signal = Signal::from_named_raw(signal).unwrap();
        let _ = kill_process(self.pid.unwrap(), signal);
        Ok(())
    }

    fn update(&mut self, _resources: &plimsoll_runtime::Resources) -> Result<Vec<String>, RuntimeError> {
        Ok(Vec::new())
    }

    fn freeze(&mut self, frozen: bool) -> Result<(), RuntimeError> {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        let _ = kill_process(self.pid.unwrap(), signal);
        Ok(())
    }

    fn warnings(&self) -> &[String] {
        &[]
    }

    fn oom_killed(&self) -> bool {
        false
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        if let Some(pid) = self.pid.take() {
            let _ = kill_process(pid, Signal::KILL);
        }
        Ok(())
    }
}

fn definition() -> Definition {
    let id = "0123456789abcdef".repeat(4);
    Definition {
        created: Timestamp::now(),
        image: "busybox".to_owned(),
        image_id: format!("sha256:{id}"),
        platform: "linux/amd64".to_owned(),
        spec: ContainerSpec {
            id: id.clone(),
            args: vec!["sh".to_owned()],
            ..ContainerSpec::default()
        },
        rootfs: Rootfs {
            lowers: Vec::new(),
            upper: "/nonexistent".into(),
            work: "/nonexistent".into(),
        },
        isolation: Default::default(),
        snapshot: SnapshotId(1),
        instance: 1,
        entrypoint: None,
        command: Vec::new(),
        labels: Default::default(),
        exposed_ports: Vec::new(),
        network: NetworkMode::None,
        publish_all: false,
        resolver: plimsoll_network::Resolver::default(),
        links: Vec::new(),
        ports: Vec::new(),
        extra_hosts: Vec::new(),
        mounts: Vec::new(),
        stop_signal: StopSignal {
            name: "SIGTERM".to_owned(),
            number: 15,
        },
        stop_timeout: None,
        health: None,
        auto_remove: false,
        open_stdin: false,
        attached: crate::Attached::default(),
        restart: RestartPolicy::No,
        log: LogConfig::default(),
        domainname: String::new(),
        files: Vec::new(),
        origin: None,
        id,
    }
}

/// A store, one container in it, and the client's view of it.
struct Scene {
    _folder: tempfile::TempDir,
    containers: Containers,
    container: Container,
    paths: Paths,
}

impl Scene {
    fn new(definition: Definition) -> Self {
        Self::below("x", definition)
    }

    fn below(name: &str, definition: Definition) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = camino::Utf8PathBuf::try_from(folder.path().join(name)).unwrap();
        fs::create_dir_all(&root).unwrap();
        let store = Store::open(&root, &root.join("run")).unwrap();
        let paths = Paths::new(store.root(), store.run(), &definition.id);
        fs::create_dir_all(&paths.home).unwrap();
        fs::create_dir_all(&paths.run).unwrap();
        write_json(paths.definition().as_std_path(), &definition).unwrap();
        let containers = Containers::new(&store, "/nonexistent");
        let container = Container {
            name: "test".to_owned(),
            definition,
            state: State::default(),
        };
        Self {
            _folder: folder,
            containers,
            container,
            paths,
        }
    }

    fn state(&self) -> State {
        self.paths.read_state().unwrap()
    }

    /// The log of a container that has ended.
    fn log(&self) -> String {
        event_loop().unwrap().block_on(self.read_log(LogQuery::default()))
    }

    async fn read_log(&self, query: LogQuery) -> String {
        let (mut reader, _) = self
            .containers
            .logs(&self.container, query)
            .await
            .unwrap()
            .unwrap();
        let mut text = String::new();
        while let Some(line) = reader.next().await.unwrap() {
            text.push_str(&line.log);
        }
        text
    }

    /// Runs `script` under a supervisor while `test` is the client.
    fn run(&self, script: &str, test: impl AsyncFnOnce(Attachment)) -> StartReply {
        self.run_fake(
            Fake {
                script: script.to_owned(),
                pid: None,
                fail: None,
            },
            test,
        )
    }

    fn run_fake(&self, fake: Fake, test: impl AsyncFnOnce(Attachment)) -> StartReply {
        let event_loop = event_loop().unwrap();
        tokio::task::LocalSet::new().block_on(&event_loop, async {
            let (control, theirs) = tokio::net::UnixStream::pair().unwrap();
            let (client, client_end) = UnixStream::pair().unwrap();
            let start = Start {
                held: None,
                definition: self.container.definition.clone(),
                paths: self.paths.clone(),
                run: self.containers.store.run().to_owned(),
                network: NetworkView::default(),
                ports: Vec::new(),
                sockets: Vec::new(),
                names: None,
                joined: Namespaces::default(),
                filters: "/nonexistent".into(),
                name: "test".to_owned(),
                events: EventLog::of(self.containers.store.root()),
                client: Some(client_end),
            };
            let lock = lock(&self.paths).unwrap();
            let supervisor = async move {
                let (sender, _receiver) = wire::split(theirs);
                let finished = supervise(start, &|| Box::new(fake.clone()), &sender).await;
                drop(lock);
                if let Some(mut finished) = finished {
                    while finished.clients.join_next().await.is_some() {}
                }
            };
            let client = async {
                let (_sender, mut receiver) = wire::split(control);
                let (reply, _) = receiver.message::<StartReply>().await.unwrap().unwrap();
                if matches!(reply, StartReply::Started { .. }) {
                    test(Attachment::new(
                        tokio_stream(client).unwrap(),
                        self.container.id(),
                    ))
                    .await;
                }
                reply
            };
            let limit = tokio::time::timeout(Duration::from_secs(120), async {
                tokio::join!(supervisor, client).1
            });
            limit.await.expect("the supervisor ends")
        })
    }

    /// Waits until the state is as wanted.
    async fn until(&self, wanted: impl Fn(&State) -> bool) -> State {
        loop {
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn output(mut attachment: Attachment) -> (String, String, Option<Ended>) {
    let (mut out, mut err, mut ended) = (Vec::new(), Vec::new(), None);
    while let Some(event) = attachment.next().await.unwrap() {
        match event {
            Event::Stdout(bytes) => out.extend(bytes),
            Event::Stderr(bytes) => err.extend(bytes),
            Event::Exited(end) => ended = Some(end),
        }
    }
    (
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
        ended,
    )
}

/// Any error of the runtime will do.
fn failure() -> RuntimeError {
    Rootfs {
        lowers: Vec::new(),
        upper: "/nonexistent/u".into(),
        work: "/nonexistent/w".into(),
    }
    .mount("/nonexistent".as_ref())
    .unwrap_err()
}

#[test]
fn output_reaches_log_and_client_and_the_code_comes_back() {
    let scene = Scene::new(definition());
    let reply = scene.run(
        "echo out; echo err >&2; printf rest; exit 3",
        async |attachment| {
            let (out, err, ended) = output(attachment).await;
            assert_eq!((out.as_str(), err.as_str()), ("out\nrest", "err\n"));
            assert_eq!(ended.unwrap().exit_code, 3);
            let ended = scene.containers.wait(&scene.container).await;
            assert!(ended.is_err() || ended.unwrap().exit_code == 3);
        },
    );
    assert!(matches!(reply, StartReply::Started { .. }));
    let state = scene.state();
    assert_eq!((state.status, state.exit_code, state.pid), (Status::Exited, 3, 0));
    assert!(state.started_at < state.finished_at);
    assert!(scene.log().contains("out\n") && scene.log().ends_with("rest"));
    assert!(!scene.paths.is_supervised());
}

#[test]
fn input_is_passed_on_and_ended() {
    let scene = Scene::new(Definition {
        open_stdin: true,
        ..definition()
    });
    scene.run("cat; echo end", async |attachment| {
        let input = attachment.input();
        input.write(b"one ").await.unwrap();
        input.write(&[]).await.unwrap();
        input.write(b"two\n").await.unwrap();
        input.close().await.unwrap();
        assert_eq!(output(attachment).await.0, "one two\nend\n");
    });
}

#[test]
fn a_client_that_does_not_read_stalls_neither_program_nor_log() {
    let scene = Scene::new(definition());
    let script = "i=0; while [ $i -lt 300 ]; do head -c 16384 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done";
    scene.run(script, async |attachment| {
        scene.until(|state| state.status == Status::Exited).await;
        let (out, _, ended) = output(attachment).await;
        assert_eq!((out.len(), ended.unwrap().exit_code), (300 * 16_385, 0));
    });
    assert_eq!(scene.log().len(), 300 * 16_385);
}

#[test]
fn stop_is_a_signal_then_a_kill() {
    let scene = Scene::new(definition());
    scene.run(
        "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done",
        async |mut attachment| {
            assert_eq!(
                attachment.next().await.unwrap(),
                Some(Event::Stdout(b"ready\n".to_vec()))
            );
            scene
                .containers
                .stop(&scene.container, None, Some(20))
                .await
                .unwrap();
            assert_eq!(scene.state().exit_code, 7);
        },
    );
    let scene = Scene::new(definition());
    scene.run(
        "trap '' TERM; echo ready; while :; do sleep 0.01; done",
        async |mut attachment| {
            attachment.next().await.unwrap();
            scene
                .containers
                .stop(&scene.container, None, Some(0))
                .await
                .unwrap();
            assert_eq!(scene.state().exit_code, 137);
        },
    );
    assert!(scene.log().starts_with("ready"));
}

#[test]
fn signals_are_sent() {
    let scene = Scene::new(definition());
    scene.run(
        "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done",
        async |mut attachment| {
            attachment.next().await.unwrap();
            scene.containers.kill(&scene.container, 10).await.unwrap();
            assert_eq!(
                scene.containers.wait(&scene.container).await.unwrap().exit_code,
                9
            );
        },
    );
}

#[test]
fn exec_has_the_clients_pipes() {
    let scene = Scene::new(Definition {
        open_stdin: true,
        ..definition()
    });
    scene.run("read line", async |attachment| {
        let process = ProcessSpec {
            args: ["sh", "-c", "cat; exit 5"].map(str::to_owned).to_vec(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            tty: false,
            privileged: false,
        };
        let (stdin, mut writer) = std::io::pipe().unwrap();
        let (mut reader, stdout) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"hello").unwrap();
        drop(writer);
        let error = stdout.try_clone().unwrap();
        let stdio = [stdin.into(), stdout.into(), error.into()];
        let mut exec = scene
            .containers
            .exec(&scene.container, process, &stdio)
            .await
            .unwrap();
        drop(stdio);
        assert_eq!(exec.wait().await.unwrap(), 5);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text, "hello");
        attachment.input().close().await.unwrap();
    });
}

#[test]
fn a_failed_start_says_why_and_stays_created() {
    let scene = Scene::new(definition());
    let fake = Fake {
        script: String::new(),
        pid: None,
        fail: Some("start"),
    };
    let reply = scene.run_fake(fake, async |_| unreachable!("it never starts"));
    let StartReply::Failed { code, message } = reply else {
        panic!("{reply:?}")
    };
    assert_eq!((code, message), (failure().exit_code(), chain(&failure())));
    let state = scene.state();
    assert_eq!(
        (state.status, state.exit_code, state.error),
        (Status::Created, code, chain(&failure()))
    );
}

#[test]
fn a_root_of_two_hundred_characters_will_do() {
    let name = "long".repeat(50);
    let scene = Scene::below(&name, definition());
    assert!(scene.paths.run.as_str().len() > 200);
    scene.run("while :; do sleep 0.01; done", async |_attachment| {
        scene
            .containers
            .stop(&scene.container, Some(9), None)
            .await
            .unwrap();
    });
    assert_eq!(scene.state().exit_code, 137);
}

fn with_health(script: &str, timeout: Duration) -> Definition {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    let health = HealthCheck {
        test: vec!["CMD-SHELL".to_owned(), script.to_owned()],
        args,
        interval: Duration::from_millis(20),
        timeout,
        start_period: Duration::ZERO,
        start_interval: Duration::from_secs(5),
        retries: 2,
        on_failure: OnFailure::None,
    };
    Definition {
        health: Some(health),
        ..definition()
    }
}

#[test]
fn health_goes_from_starting_to_healthy() {
    let scene = Scene::new(with_health("echo fine; echo really >&2", Duration::from_secs(10)));
    scene.run("while :; do sleep 0.01; done", async |_attachment| {
        let healthy = |state: &State| {
            state
                .health
                .as_ref()
                .is_some_and(|health| health.status == HealthStatus::Healthy)
        };
        let health = scene.until(healthy).await.health.unwrap();
        assert_eq!((health.failing_streak, health.log[0].exit_code), (0, 0));
        assert_eq!(health.log[0].output, "fine\nreally\n");
        scene
            .containers
            .stop(&scene.container, Some(9), None)
            .await
            .unwrap();
    });
    assert!(scene.state().health.is_some(), "the last answers are kept");
}

#[test]
fn a_probe_that_hangs_is_killed_and_counts() {
    let scene = Scene::new(with_health("echo slow; exec sleep 60", Duration::from_secs(1)));
    scene.run("while :; do sleep 0.01; done", async |_attachment| {
        let unhealthy = |state: &State| {
            state
                .health
                .as_ref()
                .is_some_and(|health| health.status == HealthStatus::Unhealthy)
        };
        let health = scene.until(unhealthy).await.health.unwrap();
        assert!(health.failing_streak >= 2);
        assert_eq!(health.log[0].exit_code, -1);
        assert_eq!(health.log[0].output, "Health check exceeded timeout (1s): slow\n");
        scene
            .containers
            .stop(&scene.container, Some(9), None)
            .await
            .unwrap();
    });
}

#[test]
fn probe_output_has_a_limit() {
    let scene = Scene::new(with_health(
        "head -c 100000 /dev/zero | tr '\\0' x; exit 1",
        Duration::from_secs(10),
    ));
    scene.run("while :; do sleep 0.01; done", async |_attachment| {
        let probed = |state: &State| state.health.as_ref().is_some_and(|health| !health.log.is_empty());
        let health = scene.until(probed).await.health.unwrap();
        assert_eq!((health.log[0].output.len(), health.log[0].exit_code), (4096, 1));
        scene
            .containers
            .stop(&scene.container, Some(9), None)
            .await
            .unwrap();
    });
}

fn events(scene: &Scene) -> Vec<String> {
    let mut reader = scene.containers.store.events().read().unwrap();
    std::iter::from_fn(|| reader.next_event().unwrap())
        .map(|event| event.action)
        .collect()
}

#[test]
fn a_failing_program_runs_again_until_its_policy_gives_up() {
    let scene = Scene::new(Definition {
        restart: RestartPolicy::OnFailure { retries: 3 },
        ..definition()
    });
    let began = std::time::Instant::now();
    scene.run("echo try; exit 4", async |attachment| {
        // The client sees the first run, and its end.
        let (out, _, ended) = output(attachment).await;
        assert_eq!((out.as_str(), ended.unwrap().exit_code), ("try\n", 4));
        let state = scene.until(|state| state.status == Status::Restarting).await;
        assert_eq!((state.pid, state.exit_code), (0, 4));
        assert!(state.restart_count >= 1 && state.finished_at.is_some());
        scene.until(|state| state.status == Status::Exited).await;
    });
    assert!(
        began.elapsed() >= Duration::from_millis(700),
        "pauses of 100, 200 and 400 ms"
    );
    let state = scene.state();
    assert_eq!(
        (state.restart_count, state.exit_code, state.stopped_by_user),
        (3, 4, false)
    );
    assert_eq!(scene.log(), "try\n".repeat(4));
    assert_eq!(events(&scene), ["start", "die"].repeat(4));
}

#[test]
fn a_program_that_succeeds_at_last_is_left_alone() {
    let scene = Scene::new(Definition {
        restart: RestartPolicy::OnFailure { retries: 0 },
        ..definition()
    });
    let mark = scene.paths.home.join("mark");
    scene.run(
        &format!("test -e {mark} && exit 0; touch {mark}; exit 1"),
        async |_attachment| {
            scene.until(|state| state.status == Status::Exited).await;
        },
    );
    assert_eq!((scene.state().restart_count, scene.state().exit_code), (1, 0));
}

#[test]
fn stop_ends_the_pause_before_the_next_start() {
    let scene = Scene::new(Definition {
        restart: RestartPolicy::Always,
        ..definition()
    });
    scene.run("exit 5", async |_attachment| {
        // By then the pause is 3.2 s.
        scene
            .until(|state| state.status == Status::Restarting && state.restart_count == 6)
            .await;
        let began = std::time::Instant::now();
        let refused = scene
            .containers
            .kill(&scene.container, 15)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("is not running"), "{refused}");
        scene
            .containers
            .stop(&scene.container, None, Some(5))
            .await
            .unwrap();
        assert!(began.elapsed() < Duration::from_secs(3));
    });
    let state = scene.state();
    assert_eq!(
        (state.status, state.restart_count, state.exit_code),
        (Status::Exited, 6, 5)
    );
    assert!(state.stopped_by_user);
}

#[test]
fn what_was_stopped_or_killed_stays_so() {
    for kill in [false, true] {
        let scene = Scene::new(Definition {
            restart: RestartPolicy::Always,
            ..definition()
        });
        scene.run("while :; do sleep 0.01; done", async |_attachment| {
            if kill {
                scene.containers.kill(&scene.container, 9).await.unwrap();
                // One that has ended by now is looked up in the database, where this one is not.
                let _ = scene.containers.wait(&scene.container).await;
            } else {
                scene
                    .containers
                    .stop(&scene.container, Some(9), None)
                    .await
                    .unwrap();
            }
            scene.until(|state| state.status == Status::Exited).await;
        });
        assert!(scene.state().stopped_by_user && scene.state().restart_count == 0);
    }
}

#[test]
fn another_signal_leaves_the_policy_in_force() {
    let scene = Scene::new(Definition {
        restart: RestartPolicy::Always,
        ..definition()
    });
    scene.run(
        "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done",
        async |mut attachment| {
            attachment.next().await.unwrap();
            scene.containers.kill(&scene.container, 10).await.unwrap();
            scene
                .until(|state| state.status == Status::Running && state.restart_count == 1)
                .await;
            scene
                .containers
                .stop(&scene.container, Some(9), None)
                .await
                .unwrap();
        },
    );
    assert_eq!(scene.state().exit_code, 137);
}

#[test]
fn an_unhealthy_container_is_started_again_when_asked_for() {
    let mut definition = with_health("exit 1", Duration::from_secs(10));
    definition.health.as_mut().unwrap().on_failure = OnFailure::Restart;
    let scene = Scene::new(definition);
    scene.run(
        "trap 'exit 0' TERM; while :; do sleep 0.01; done",
        async |_attachment| {
            let again = |state: &State| state.status == Status::Running && state.restart_count == 2;
            let state = scene.until(again).await;
            assert_ne!(
                state.health.unwrap().status,
                HealthStatus::Unhealthy,
                "health begins anew"
            );
            scene
                .containers
                .stop(&scene.container, Some(9), None)
                .await
                .unwrap();
        },
    );
    assert!(events(&scene).contains(&"health_status: unhealthy".to_owned()));
}

#[test]
fn an_unhealthy_container_is_stopped_when_asked_for() {
    let mut definition = with_health("exit 1", Duration::from_secs(10));
    definition.health.as_mut().unwrap().on_failure = OnFailure::Stop;
    definition.restart = RestartPolicy::Always;
    let scene = Scene::new(definition);
    scene.run(
        "trap 'exit 3' TERM; while :; do sleep 0.01; done",
        async |_attachment| {
            scene.until(|state| state.status == Status::Exited).await;
        },
    );
    assert_eq!((scene.state().restart_count, scene.state().exit_code), (0, 3));
}

#[test]
fn a_paused_program_stands_still_and_can_be_stopped() {
    let scene = Scene::new(definition());
    let script = "while :; do echo x; sleep 0.01; done";
    scene.run(script, async |mut attachment| {
        attachment.next().await.unwrap();
        scene.containers.pause(&scene.container).await.unwrap();
        assert_eq!(scene.state().status, Status::Paused);
        let twice = scene
            .containers
            .pause(&scene.container)
            .await
            .unwrap_err()
            .to_string();
        assert!(twice.contains("is already paused"), "{twice}");
        let exec = ProcessSpec {
            args: vec!["true".to_owned()],
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            tty: false,
            privileged: false,
        };
        let Err(refused) = scene.containers.exec(&scene.container, exec, &[]).await else {
            panic!("no exec in a paused container")
        };
        assert!(refused.to_string().contains("unpause the container before exec"));
        scene.containers.unpause(&scene.container).await.unwrap();
        assert!(scene.containers.unpause(&scene.container).await.is_err());
        scene.containers.pause(&scene.container).await.unwrap();
        scene
            .containers
            .stop(&scene.container, None, Some(20))
            .await
            .unwrap();
    });
    assert_eq!(scene.state().exit_code, 143);
    assert!(events(&scene).ends_with(&["pause", "kill", "die", "stop"].map(str::to_owned)));
}

/// The program writes faster than the files are kept, and no follower misses a line.
#[test]
fn followers_lose_nothing_however_fast_the_log_is_rotated() {
    const LINES: usize = 20_000;
    for driver in ["json-file", "local"] {
        // Not compressed: that would need the real program.
        let options = [("max-size", "20k"), ("max-file", "2"), ("compress", "false")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let scene = Scene::new(Definition {
            log: LogConfig::new(Some(driver), options.into_iter().collect()).unwrap(),
            open_stdin: true,
            ..definition()
        });
        let script = format!("echo begin; read go; seq 1 {LINES}; echo end");
        scene.run(&script, async |mut attachment| {
            attachment.next().await.unwrap();
            let follow = |tail| LogQuery { tail, follow: true };
            let query = |tail| scene.containers.logs(&scene.container, follow(tail));
            let open = async |tail| query(tail).await.unwrap().unwrap().0;
            let mut readers = vec![open(None).await, open(Some(5)).await];
            attachment.input().write(b"go\n").await.unwrap();
            // One comes in the middle of it; how much it sees is chance, but from there on it is all.
            scene.until(|_| rotated(&scene, driver)).await;
            readers.push(open(None).await);
            for (at, reader) in readers.iter_mut().enumerate() {
                let mut lines = Vec::new();
                while let Some(line) = reader.next().await.unwrap() {
                    lines.push(line.log);
                }
                assert_eq!(lines.pop().unwrap(), "end\n");
                let last: Vec<_> = (1..=LINES).map(|number| format!("{number}\n")).collect();
                if at < 2 {
                    assert_eq!(lines.remove(0), "begin\n");
                    assert_eq!(lines.len(), LINES, "{driver}");
                }
                assert!(
                    lines == last[LINES - lines.len()..],
                    "{driver}: reader {at} has a gap"
                );
            }
        });
        let kept = scene.log().lines().count();
        assert!(
            kept < 2_000,
            "{driver}: old files are gone, but {kept} lines are there"
        );
    }
}

fn rotated(scene: &Scene, driver: &str) -> bool {
    let name = if driver == "local" {
        "local.log"
    } else {
        "json.log"
    };
    ["1", "1.gz"]
        .iter()
        .any(|suffix| scene.paths.home.join(format!("{name}.{suffix}")).exists())
}

#[test]
fn a_log_that_is_not_kept_cannot_be_read() {
    let scene = Scene::new(Definition {
        log: LogConfig::new(Some("none"), Default::default()).unwrap(),
        ..definition()
    });
    scene.run(
        "echo out; while :; do sleep 0.01; done",
        async |mut attachment| {
            assert_eq!(
                attachment.next().await.unwrap(),
                Some(Event::Stdout(b"out\n".to_vec()))
            );
            let read = scene.containers.logs(&scene.container, LogQuery::default()).await;
            assert!(read.unwrap().is_none());
            scene
                .containers
                .stop(&scene.container, Some(9), None)
                .await
                .unwrap();
        },
    );
    assert!(!scene.paths.home.join("json.log").exists());
}
