//! A small root file system and a way to run a shell line in it.

use camino::Utf8PathBuf;
use plimsoll_runtime::{ContainerSpec, Finished, Rootfs, RunOnce, Runtime, RuntimeError, Stream};
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Who makes the containers of a test: each test is run with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Direct,
    Library,
}

pub(crate) const ENGINES: [(&str, Engine); 2] = [("direct", Engine::Direct), ("library", Engine::Library)];

thread_local! {
    static ENGINE: Cell<Engine> = const { Cell::new(Engine::Direct) };
}

pub(crate) fn engine() -> Engine {
    ENGINE.get()
}

/// For this thread, which is the test's.
pub(crate) fn use_engine(engine: Engine) {
    ENGINE.set(engine);
}

pub(crate) struct Kit {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) spec: ContainerSpec,
    pub(crate) netns: Option<OwnedFd>,
}

pub(crate) struct Run {
    pub(crate) end: Result<Finished, RuntimeError>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn code(&self) -> i32 {
        match &self.end {
            Ok(finished) => finished.exit.code(),
            Err(error) => panic!("{error} ({})\n{}", error.exit_code(), self.stderr),
        }
    }

    pub(crate) fn error(&self) -> (i32, String) {
        let error = self.end.as_ref().expect_err("it should have failed");
        (error.exit_code(), error.to_string())
    }
}

/// Written once, before there are threads: a program cannot be executed while anybody, even a half-made child of
/// another thread, holds it open for writing.
pub(crate) fn busybox() -> &'static (tempfile::TempDir, Vec<String>) {
    static BUSYBOX: OnceLock<(tempfile::TempDir, Vec<String>)> = OnceLock::new();
    BUSYBOX.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let busybox = busybox.expect("busybox-static is installed");
        std::fs::copy(busybox, folder.path().join("busybox")).unwrap();
        let applets = Command::new(busybox).arg("--list").output().unwrap().stdout;
        let applets = String::from_utf8(applets).unwrap();
        (
            folder,
            applets
                .lines()
                .filter(|name| *name != "busybox")
                .map(str::to_owned)
                .collect(),
        )
    })
}

impl Kit {
    /// busybox with a user `app` (1000, also in group `extra`); no /proc, /sys, /dev and no hosts.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new()
            .prefix("plimsoll-inside-")
            .tempdir()
            .unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:0>64}", format!("{:x}{count:04x}", std::process::id()));
        for path in ["lower/bin", "lower/etc", "lower/tmp", "upper", "work", "run"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let lower = folder.path().join("lower");
        let (busybox, applets) = busybox();
        std::fs::hard_link(busybox.path().join("busybox"), lower.join("bin/busybox")).unwrap();
        for applet in applets {
            symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            lower.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(
            lower.join("etc/group"),
            "root:x:0:root\nwheel:x:10:root\nextra:x:77:app\napp:x:1000:\n",
        )
        .unwrap();
        let spec = ContainerSpec {
            cgroup: format!("/plimsoll-inside-{}/{id}", std::process::id()),
            hostname: "boat".into(),
            cwd: "/".into(),
            id,
            ..ContainerSpec::default()
        };
        Self {
            folder,
            spec,
            netns: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn rootfs(&self) -> Rootfs {
        Rootfs {
            lowers: vec![self.path("lower")],
            upper: self.path("upper"),
            work: self.path("work"),
        }
    }

    pub(crate) fn runtime(&self) -> Runtime {
        let run = Utf8PathBuf::from_path_buf(self.path("run")).unwrap();
        let runtime = Runtime::new(std::env::current_exe().unwrap(), run);
        match engine() {
            Engine::Direct => runtime,
            Engine::Library => runtime.with_library(),
        }
    }

    pub(crate) fn request(&mut self) -> RunOnce {
        RunOnce {
            spec: self.spec.clone(),
            rootfs: self.rootfs(),
            netns: self.netns.take(),
            emulator: None,
            backing: plimsoll_runtime::Backing::default(),
        }
    }

    pub(crate) fn sh(&mut self, line: &str) -> Run {
        self.run(&["/bin/sh", "-c", line])
    }

    pub(crate) fn run(&mut self, args: &[&str]) -> Run {
        self.spec.args = args.iter().map(|&arg| arg.to_owned()).collect();
        let (runtime, request) = (self.runtime(), self.request());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let end = block_on(async {
            let mut output = |stream, bytes: &[u8]| match stream {
                Stream::Stdout => stdout.extend_from_slice(bytes),
                Stream::Stderr => stderr.extend_from_slice(bytes),
            };
            let limit = Duration::from_secs(60);
            tokio::time::timeout(limit, runtime.run(request, &mut output))
                .await
                .expect("the run hangs")
        });
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run {
            end,
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }

    /// Paths in the upper directory, sorted.
    pub(crate) fn layer(&self) -> Vec<String> {
        fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if entry.file_type().unwrap().is_dir() {
                    walk(root, &path, found);
                }
            }
        }
        let (upper, mut found) = (self.path("upper"), Vec::new());
        walk(&upper, &upper, &mut found);
        found.sort();
        found
    }

    /// What steps have left of their state; compiled filters are meant to stay.
    pub(crate) fn state(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("run")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name != "filters").collect()
    }

    /// Folders of the container's control group, in every hierarchy.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let below = self.spec.cgroup.trim_start_matches('/');
        let mounts = std::fs::read_dir("/sys/fs/cgroup")
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        let roots = mounts.chain([PathBuf::from("/sys/fs/cgroup")]);
        roots
            .map(|root| root.join(below))
            .filter(|path| path.exists())
            .collect()
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        assert!(
            std::thread::panicking() || self.cgroups().is_empty(),
            "left: {:?}",
            self.cgroups()
        );
        // The group of this test process, which others may still use.
        let parent = Path::new(&self.spec.cgroup)
            .parent()
            .unwrap()
            .strip_prefix("/")
            .unwrap()
            .to_owned();
        for entry in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let _ = std::fs::remove_dir(entry.path().join(&parent));
        }
        let _ = std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(&parent));
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
