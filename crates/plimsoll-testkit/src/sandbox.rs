//! The real program in a place of its own.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use crate::registry::BaseRegistry;

/// Own root, own home, cleared environment. What was made in it is taken away when it is dropped.
pub struct Sandbox {
    program: PathBuf,
    folder: Option<TempDir>,
    registry: Option<BaseRegistry>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; 128 and the signal's number when one ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Sandbox {
    /// Makes a sandbox for `program`; `PLIMSOLL_BIN` names another one (a release build, an older version).
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self::of(std::env::var_os("PLIMSOLL_BIN").map_or_else(|| program.into(), PathBuf::from))
    }

    /// Makes a sandbox for exactly this program: one that puts something around the real one.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn of(program: PathBuf) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("plimsoll-test-")
            .tempdir_in("/tmp")
            .expect("a folder in /tmp");
        let sandbox = Self {
            program,
            folder: Some(folder),
            registry: None,
        };
        for name in ["home", "work"] {
            std::fs::create_dir(sandbox.path(name)).expect("a new folder");
        }
        std::fs::write(sandbox.path("plimsoll.toml"), "").expect("a new file");
        sandbox
    }

    /// Starts a registry with `images` and makes it the mirror of the public registries.
    pub fn serve(&mut self, images: &[&str]) -> &BaseRegistry {
        self.serve_with(images, &[])
    }

    /// As [`Sandbox::serve`] with further options of `basekit serve`.
    ///
    /// # Panics
    /// When the settings cannot be written.
    pub fn serve_with(&mut self, images: &[&str], options: &[&str]) -> &BaseRegistry {
        let registry = BaseRegistry::serve(images, options);
        let mirror = |name: &str| format!("[registry.\"{name}\"]\nmirrors = [\"{}\"]\n", registry.host);
        let settings: String = ["docker.io", "gcr.io", "ghcr.io"]
            .into_iter()
            .map(mirror)
            .collect();
        std::fs::write(self.path("plimsoll.toml"), settings).expect("the settings can be written");
        self.registry.insert(registry)
    }

    fn folder(&self) -> &Utf8Path {
        let path = self.folder.as_ref().expect("only drop takes the folder").path();
        Utf8Path::from_path(path).expect("/tmp is text")
    }

    /// A path in the sandbox.
    pub fn path(&self, name: impl AsRef<Utf8Path>) -> Utf8PathBuf {
        self.folder().join(name.as_ref())
    }

    /// The state folder.
    pub fn root(&self) -> Utf8PathBuf {
        self.path("root")
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Writes a file below the working folder, with the folders above it, and returns its path.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.path("work").join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("folders can be made");
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{path}: {error}"));
        path
    }

    /// The program with `args`, in the working folder, with nothing of this process's environment but `PATH`.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(self.path("work"))
            .stdin(Stdio::null())
            .env_clear()
            .envs(self.environment());
        command
    }

    /// The environment that commands get.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ),
            ("HOME", self.path("home").into_string()),
            ("PLIMSOLL_ROOT", self.root().into_string()),
            ("PLIMSOLL_CONFIG", self.path("plimsoll.toml").into_string()),
            ("TZ", "UTC".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
        ]
    }

    /// Runs a command to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Outcome {
        Outcome::of(&mut self.command(args))
    }

    /// Runs a command with `input` on its stdin.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run_with_input<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Outcome {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe was asked for");
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let outcome = Outcome::from(child.wait_with_output().expect("the program can be waited for"));
        let _ = writer.join();
        outcome
    }

    /// Runs a command that must succeed, and returns its stdout.
    ///
    /// # Panics
    /// When it fails, with what it said.
    #[track_caller]
    pub fn ok<const N: usize>(&self, args: [&str; N]) -> String {
        self.run(args).success(&args)
    }

    /// Runs a command that must fail with `code`, and returns its stderr.
    ///
    /// # Panics
    /// When it ends otherwise, with what it said.
    #[track_caller]
    pub fn fails<const N: usize>(&self, code: i32, args: [&str; N]) -> String {
        let outcome = self.run(args);
        assert_eq!(outcome.code, code, "{args:?}\n{outcome}");
        outcome.stderr
    }

    /// Loads a stand-in base image from its archive.
    #[track_caller]
    pub fn load(&self, image: &str) {
        let archive = crate::basekit_archive(image);
        self.ok(["load", "-i", archive.as_str()]);
    }

    /// Mount points, containers' cgroups, processes and links that this root still has on the host.
    pub fn leftovers(&self) -> Vec<String> {
        let mounts = self
            .mounts()
            .into_iter()
            .map(|mount| format!("mount {}", mount.display()));
        // The instance's own cgroup stays with its root; what lies in it is a container or a build step.
        let is_own = |cgroup: &PathBuf| {
            let name = cgroup.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b"plimsoll-")
        };
        let cgroups = self
            .cgroups()
            .into_iter()
            .filter(|cgroup| !is_own(cgroup))
            .map(|cgroup| format!("cgroup {}", cgroup.display()));
        let processes = self
            .processes()
            .into_iter()
            .map(|(pid, command)| format!("process {pid}: {command}"));
        // Bridges stay for the next container; the links of one go with it.
        let is_bridge = |name: &String| Path::new("/sys/class/net").join(name).join("bridge").exists();
        let links = self.links().into_iter().filter(|name| !is_bridge(name));
        let links = links.map(|name| format!("network link {name}"));
        mounts.chain(cgroups).chain(processes).chain(links).collect()
    }

    /// Network interfaces of this root on the host.
    fn links(&self) -> Vec<String> {
        let Some(instance) = self.instance() else {
            return Vec::new();
        };
        let links = std::fs::read_dir("/sys/class/net")
            .into_iter()
            .flatten()
            .flatten();
        links
            .filter_map(|link| link.file_name().into_string().ok())
            .filter(|name| name.starts_with(&format!("pl{instance}")))
            .collect()
    }

    /// Processes that were started for this root: their environment still says so.
    fn processes(&self) -> Vec<(String, String)> {
        let own = format!("PLIMSOLL_ROOT={}\0", self.root());
        let belongs = |folder: &Path| {
            std::fs::read(folder.join("environ"))
                .is_ok_and(|text| String::from_utf8_lossy(&text).contains(&own))
        };
        let describe = |folder: PathBuf| {
            let command = std::fs::read_to_string(folder.join("cmdline"))
                .unwrap_or_default()
                .replace('\0', " ");
            (
                folder
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                command,
            )
        };
        let folders = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        folders.filter(|folder| belongs(folder)).map(describe).collect()
    }

    fn mounts(&self) -> Vec<PathBuf> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let below = |line: &str| {
            line.split(' ')
                .nth(4)
                .map(PathBuf::from)
                .filter(|path| path.starts_with(self.folder()))
        };
        table.lines().filter_map(below).collect()
    }

    /// The root's instance, as its names on the host carry it: eight hexadecimal digits.
    pub fn instance(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.root().join("layout-version")).ok()?;
        let word = text
            .split_whitespace()
            .rfind(|word| word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit()));
        word.map(str::to_owned)
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let Some(instance) = self.instance() else {
            return Vec::new();
        };
        let name = format!("plimsoll-{instance}");
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = std::fs::read_dir(top)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let candidates = hierarchies
            .chain([top.to_owned()])
            .map(|hierarchy| hierarchy.join(&name));
        let mut found = Vec::new();
        candidates
            .filter(|path| path.is_dir())
            .for_each(|path| collect_folders(&path, &mut found));
        found
    }

    /// Ends what the program's own clean-up could have left, so that one failing test does not spoil others.
    fn clean(&self) {
        // While the root still says what it has.
        let (cgroups, links) = (self.cgroups(), self.links());
        // It alone finds our rules in the firewalls of others.
        let _ = Outcome::of(&mut self.command(["system", "reset", "--force"]));
        self.processes()
            .iter()
            .for_each(|(pid, _)| quiet("kill", &["-9", pid]));
        for cgroup in cgroups {
            let processes = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            processes.lines().for_each(|pid| quiet("kill", &["-9", pid]));
            for _ in 0..50 {
                if std::fs::remove_dir(&cgroup).is_ok() || !cgroup.exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        for mount in self.mounts().into_iter().rev() {
            let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
        }
        for link in links {
            quiet("ip", &["link", "delete", &link]);
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.root().exists() {
            self.clean();
        }
        if std::env::var_os("PLIMSOLL_TEST_KEEP").is_some() {
            let kept = self.folder.take().expect("only drop takes the folder").keep();
            eprintln!("kept {}", kept.display());
        }
    }
}

fn quiet(program: &str, args: &[&str]) {
    let _ = Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Deepest first, as they must be removed.
fn collect_folders(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_folders(&entry.path(), found);
        }
    }
    found.push(path.to_owned());
}

impl Outcome {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Self {
        command
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
            .into()
    }

    /// Returns stdout of a command that succeeded.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn success<S: std::fmt::Debug + ?Sized>(self, what: &S) -> String {
        assert_eq!(self.code, 0, "{what:?}\n{self}");
        self.stdout
    }
}

impl From<std::process::Output> for Outcome {
    fn from(output: std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let code = output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// The form that snapshots show.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code: {}\n----- stdout -----\n{}----- stderr -----\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}
