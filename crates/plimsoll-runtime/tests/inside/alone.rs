//! Containers that live longer than one step, as the shim has them: by a process with one thread.

use crate::kit::{self, Engine, Kit};
use plimsoll_runtime::{
    Bundle, Exit, Libcontainer, Namespaces, OciRuntime, ProcessSpec, RuntimeError, Stdio,
};
use rustix::process::{Pid, WaitOptions};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("alone_create_start_wait_delete", create_start_wait_delete),
    ("alone_exec_joins_and_is_confined", exec_joins_and_is_confined),
    ("alone_signals_reach_init_and_all", signals_reach_init_and_all),
    ("alone_a_terminal_is_handed_over", a_terminal_is_handed_over),
    (
        "alone_a_failed_start_leaves_nothing",
        a_failed_start_leaves_nothing,
    ),
    (
        "alone_the_container_dies_with_its_maker",
        the_container_dies_with_its_maker,
    ),
];

/// The role.
pub(crate) fn main(by: &str, name: &str) -> i32 {
    let engine = kit::ENGINES.iter().find(|(known, _)| *known == by);
    let test = TESTS.iter().find(|(known, _)| *known == name);
    let (Some((_, engine)), Some((_, test))) = (engine, test) else {
        return 2;
    };
    kit::use_engine(*engine);
    test();
    0
}

/// Runs a test in a process of its own.
pub(crate) fn spawn(by: &str, name: &str) {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["alone", by, name]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", output.status);
}

struct Box {
    kit: Kit,
    runtime: std::boxed::Box<dyn OciRuntime>,
    state: PathBuf,
}

impl Box {
    fn new(args: &[&str]) -> Self {
        let mut kit = Kit::new();
        kit.spec.args = args.iter().map(|&arg| arg.to_owned()).collect();
        let state = kit.path("state");
        std::fs::create_dir(&state).unwrap();
        Self {
            kit,
            runtime: match kit::engine() {
                Engine::Direct => std::boxed::Box::new(plimsoll_runtime::Engine::new()),
                Engine::Library => std::boxed::Box::new(Libcontainer::new()),
            },
            state,
        }
    }

    fn create(&mut self, stdio: Stdio) -> i32 {
        let (rootfs, filters) = (self.kit.rootfs(), self.kit.path("filters"));
        let bundle = Bundle {
            spec: &self.kit.spec,
            rootfs: &rootfs,
            volatile: false,
            state: &self.state,
            filters: &filters,
            joined: &Namespaces::default(),
            stdio,
        };
        self.runtime.create(bundle).unwrap()
    }

    fn exec(
        &mut self,
        line: &str,
        change: impl FnOnce(&mut ProcessSpec),
    ) -> Result<(Exit, String), RuntimeError> {
        let mut process = ProcessSpec {
            args: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
            env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            tty: false,
            privileged: false,
        };
        change(&mut process);
        let (stdio, mut output) = pipes();
        let pid = self.runtime.exec(&process, stdio)?;
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        Ok((wait(pid), text))
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        self.runtime.delete().unwrap();
        assert_eq!(std::fs::read_dir(&self.state).unwrap().count(), 0);
    }
}

/// Both outputs in one pipe.
fn pipes() -> (Stdio, File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let stdin = OwnedFd::from(File::open("/dev/null").unwrap());
    (
        Stdio::Pipes {
            stdin,
            stdout: write.try_clone().unwrap(),
            stderr: write,
        },
        File::from(read),
    )
}

fn wait(pid: i32) -> Exit {
    let (_, status) = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty())
        .unwrap()
        .unwrap();
    match status.exit_status() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.terminating_signal().unwrap()),
    }
}

fn create_start_wait_delete() {
    let mut container = Box::new(&["sh", "-c", "echo hello; exit 5"]);
    let (stdio, mut output) = pipes();
    let pid = container.create(stdio);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent: u32 = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split(' ')
        .nth(2)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(parent, std::process::id());
    container.runtime.start().unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!((wait(pid), text.as_str()), (Exit::Code(5), "hello\n"));
    // What the library did to us is undone.
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert!(matches!(dumpable, rustix::process::DumpableBehavior::Dumpable));
}

fn exec_joins_and_is_confined() {
    let mut container = Box::new(&["sleep", "1000"]);
    container.kit.spec.user = "app".into();
    container.kit.spec.env = vec!["WHERE=container".into()];
    let pid = container.create(pipes().0);
    container.runtime.start().unwrap();
    let look = "echo $$ $(id -u) $(id -g) $WHERE $HOME $(hostname); pwd;
        grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/self/status | cut -f2; cat /proc/1/comm; exit 7";
    let (exit, text) = container
        .exec(look, |process| {
            process.env = vec!["WHERE=here".into()];
            process.cwd = "/tmp".into();
        })
        .unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(exit, Exit::Code(7), "{text}");
    // Root in it although the container is not.
    assert_eq!(lines[0].split_once(' ').unwrap().1, "0 0 here /root boat");
    assert_eq!(
        &lines[1..],
        ["/tmp", "00000000a80425fb", "00000000a80425fb", "0", "2", "sleep"]
    );
    let (_, text) = container
        .exec(look, |process| process.user = "app:extra".into())
        .unwrap();
    assert!(
        text.contains(" 1000 77 ") && text.contains("0000000000000000\n00000000a80425fb\n0\n2"),
        "{text}"
    );
    let (_, text) = container
        .exec("grep CapEff /proc/self/status", |process| {
            process.privileged = true
        })
        .unwrap();
    assert!(!text.contains("00000000a80425fb"), "{text}");
    let (_, text) = container
        .exec("ls /proc/self/fd; grep -c . /proc/self/cgroup", |_| {})
        .unwrap();
    assert!(text.starts_with("0\n1\n2\n3\n"), "{text}");

    let error = container
        .exec("", |process| process.args = vec!["foo".into()])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "exec: \"foo\": executable file not found in $PATH"
    );
    assert_eq!(error.exit_code(), 127);
    let error = container
        .exec("", |process| process.args = vec!["/etc/passwd".into()])
        .unwrap_err();
    assert_eq!(
        (error.exit_code(), error.to_string().as_str()),
        (126, "exec: \"/etc/passwd\": permission denied")
    );
    let error = container
        .exec("", |process| process.user = "nix".into())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "unable to find user nix: no matching entries in passwd file"
    );
    // Only init is left as a child: what failed has been waited for.
    container.runtime.kill(9, false).unwrap();
    assert_eq!(wait(pid), Exit::Signal(9));
    let left = rustix::process::waitpid(None, WaitOptions::NOHANG);
    assert!(left.is_err() || left.unwrap().is_none());
}

fn signals_reach_init_and_all() {
    let line = "trap 'echo caught; exit 4' TERM; sleep 1000 & echo ready; while :; do wait; done";
    let mut container = Box::new(&["sh", "-c", line]);
    let (stdio, mut output) = pipes();
    let pid = container.create(stdio);
    container.runtime.start().unwrap();
    let mut ready = [0; 6];
    output.read_exact(&mut ready).unwrap();
    container.runtime.kill(15, false).unwrap();
    assert_eq!(wait(pid), Exit::Code(4));
    drop(container);
    let mut container = Box::new(&["sh", "-c", "sleep 1000; echo $?; sleep 1000"]);
    let (stdio, output) = pipes();
    container.create(stdio);
    container.runtime.start().unwrap();
    // Until the sleep is there, only the shell hears it, and ignores it as the first process does.
    let mut fds = [rustix::event::PollFd::new(&output, rustix::event::PollFlags::IN)];
    let pause = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    while rustix::event::poll(&mut fds, Some(&pause)).unwrap() == 0 {
        container.runtime.kill(15, true).unwrap();
    }
    let mut heard = vec![0; 64];
    let length = (&output).read(&mut heard).unwrap();
    let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
    assert!(heard.contains("143") || heard.contains("Terminated"), "{heard}");
    assert!(matches!(
        container.runtime.kill(4000, false),
        Err(RuntimeError::Invalid(_))
    ));
}

fn a_terminal_is_handed_over() {
    let mut container = Box::new(&[
        "sh",
        "-c",
        "tty; test -t 0 && test -t 1 && echo $TERM; ls -l /dev/console",
    ]);
    container.kit.spec.tty = true;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let pid = container.create(Stdio::Console(theirs.into()));
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 64];
    let mut buffer = [std::io::IoSliceMut::new(&mut bytes)];
    rustix::net::recvmsg(
        &ours,
        &mut buffer,
        &mut control,
        rustix::net::RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    let Some(rustix::net::RecvAncillaryMessage::ScmRights(mut fds)) = control.drain().next() else {
        panic!("no terminal came")
    };
    let mut master = File::from(fds.next().unwrap());
    container.runtime.start().unwrap();
    let mut text = Vec::new();
    // The end of a terminal is an error (EIO).
    let _ = master.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(wait(pid), Exit::Code(0));
    assert!(text.starts_with("/dev/pts/0\r\nxterm\r\ncrw"), "{text}");
}

fn a_failed_start_leaves_nothing() {
    let mut container = Box::new(&["foo"]);
    container.create(pipes().0);
    let error = container.runtime.start().unwrap_err();
    assert_eq!(
        (error.exit_code(), error.to_string().as_str()),
        (127, "exec: \"foo\": executable file not found in $PATH")
    );
    assert!(rustix::process::waitpid(None, WaitOptions::NOHANG).is_err());
    container.runtime.delete().unwrap();
    // A container that was never started ends as well.
    container.kit.spec.args = vec!["true".into()];
    container.create(pipes().0);
    container.runtime.delete().unwrap();
    assert!(matches!(container.runtime.start(), Err(RuntimeError::Misuse(_))));
}

fn the_container_dies_with_its_maker() {
    // This process is the grandparent; the maker is the same test in a second life.
    if std::env::var_os("MAKER").is_some() {
        let mut container = Box::new(&["sleep", "1000"]);
        let pid = container.create(pipes().0);
        container.runtime.start().unwrap();
        println!("{pid} {}", container.kit.spec.cgroup);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
    let program = std::env::current_exe().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    let by = kit::ENGINES.iter().find(|(_, engine)| *engine == kit::engine());
    command.args(["alone", by.unwrap().0, "alone_the_container_dies_with_its_maker"]);
    let output = command
        .env("MAKER", "1")
        .env("TMPDIR", scratch.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (pid, cgroup) = text.trim().split_once(' ').unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{pid}"));
    let comm = || std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while comm() == "sleep\n" {
        assert!(
            std::time::Instant::now() < until,
            "the container outlives its maker"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    for folder in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = folder.path().join(cgroup.trim_start_matches('/'));
        let _ = std::fs::remove_dir(&group);
        let _ = std::fs::remove_dir(group.parent().unwrap());
    }
}
