//! The supervisor with a runtime that runs programs on the host, without root.

use std::fs;
use std::process::Command;

use plimsoll_runtime::{ContainerSpec, ProcessSpec, Rootfs, RuntimeError, Stdio};
use plimsoll_store::{SnapshotId, Store};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::*;
use crate::model::{HealthCheck, HealthStatus, NetworkMode, StopSignal, write_json};
use crate::{Attachment, Container, Containers, Event};

/// Runs `sh -c` with the script, stopped until `start`.
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
        snapshot: SnapshotId(1),
        instance: 1,
        entrypoint: None,
        command: Vec::new(),
        labels: Default::default(),
        exposed_ports: Vec::new(),
        network: NetworkMode::None,
        ports: Vec::new(),
        extra_hosts: Vec::new(),
        mounts: Vec::new(),
        stop_signal: StopSignal {
            name: "SIGTERM".to_owned(),
            number: 15,
        },
        stop_timeout: 10,
        health: None,
        auto_remove: false,
        open_stdin: false,
        restart: "no".to_owned(),
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

    fn log(&self) -> String {
        let mut reader = self.containers.log(&self.container, None).unwrap();
        std::iter::from_fn(|| reader.next_line().unwrap())
            .map(|line| line.log)
            .collect()
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
                definition: self.container.definition.clone(),
                paths: self.paths.clone(),
                endpoint: None,
                ports: Vec::new(),
                sockets: Vec::new(),
                namespace: None,
                client: Some(client_end),
            };
            let lock = lock(&self.paths).unwrap();
            let supervisor = async move {
                let (sender, _receiver) = wire::split(theirs);
                let connections = supervise(start, Box::new(fake), "/nonexistent".into(), &sender).await;
                drop(lock);
                if let Some(mut connections) = connections {
                    while connections.join_next().await.is_some() {}
                }
            };
            let client = async {
                let (_sender, mut receiver) = wire::split(control);
                let (reply, _) = receiver.message::<StartReply>().await.unwrap().unwrap();
                if reply == StartReply::Started {
                    test(Attachment::new(
                        tokio_stream(client).unwrap(),
                        self.container.id(),
                    ))
                    .await;
                }
                reply
            };
            let limit = tokio::time::timeout(Duration::from_secs(30), async {
                tokio::join!(supervisor, client).1
            });
            limit.await.expect("the supervisor ends")
        })
    }

    /// Waits until the state is as wanted.
    async fn until(&self, wanted: impl Fn(&State) -> bool) -> State {
        let watch = self.containers.watch(&self.container).unwrap();
        loop {
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            watch.changed().await.unwrap();
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
    assert_eq!(reply, StartReply::Started);
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
    let scene = Scene::new(with_health(
        "echo slow; exec sleep 60",
        Duration::from_millis(100),
    ));
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
        assert_eq!(
            health.log[0].output,
            "Health check exceeded timeout (100ms): slow\n"
        );
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
