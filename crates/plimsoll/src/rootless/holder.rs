//! The process that keeps a root's namespaces, and the way into them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_linux::{CommandExt as _, UnshareFlags, unshare};
use plimsoll_network::Room;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::ids;

/// How long somebody else may take to make a holder.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there are no namespaces to work in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HolderError {
    /// The kernel, or a rule of this machine, says no.
    #[error("cannot make a user namespace")]
    Namespace(#[source] io::Error),
    /// `newuidmap` is not there; never seen outside.
    #[error("a program is missing")]
    NoProgram,
    /// A helper does not start.
    #[error("cannot run `{program}`")]
    Start {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    /// A helper refused.
    #[error("`{program}` refused: {said}")]
    Map { program: &'static str, said: String },
    /// The holder said why.
    #[error("cannot keep a user namespace: {0}")]
    Held(String),
    /// A file of ours.
    #[error("cannot {operation} `{path}`")]
    File {
        operation: &'static str,
        path: Utf8PathBuf,
        #[source]
        source: io::Error,
    },
    /// The one that was found.
    #[error("cannot join the user namespace of process {pid}")]
    Join {
        pid: u32,
        #[source]
        source: io::Error,
    },
}

impl HolderError {
    fn file(operation: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}

/// Where the files of a root's holder are.
struct Places {
    folder: Utf8PathBuf,
}

impl Places {
    fn new(run: &Utf8Path) -> Self {
        Self {
            folder: run.join("userns"),
        }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.folder.join(name)
    }

    fn lock_file(&self, name: &str) -> Result<File, HolderError> {
        let path = self.path(name);
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        options.open(&path).map_err(HolderError::file("open", &path))
    }

    /// Whether somebody holds the lock for life.
    fn is_held(&self) -> Result<bool, HolderError> {
        let file = self.lock_file("lock")?;
        Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }
}

/// Two namespaces and who was seen in them.
struct Found {
    pid: u32,
    user: OwnedFd,
    mounts: OwnedFd,
}

impl Found {
    /// Those of a process, if they have these numbers.
    fn of(pid: u32, numbers: (u64, u64)) -> Option<Self> {
        let open = |kind: &str| {
            let path = format!("/proc/{pid}/ns/{kind}");
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
        };
        let (user, mounts) = (open("user")?, open("mnt")?);
        let number = |fd: &OwnedFd| rustix::fs::fstat(fd).ok().map(|facts| facts.st_ino);
        ((number(&user)?, number(&mounts)?) == numbers).then_some(Self { pid, user, mounts })
    }

    /// The working directory is the same, by its name.
    fn join(&self) -> Result<(), HolderError> {
        let failed = |source| HolderError::Join {
            pid: self.pid,
            source,
        };
        let here = std::env::current_dir();
        for (namespace, kind) in [
            (&self.user, LinkNameSpaceType::User),
            (&self.mounts, LinkNameSpaceType::Mount),
        ] {
            move_into_link_name_space(namespace.as_fd(), Some(kind)).map_err(|error| failed(error.into()))?;
        }
        here.and_then(std::env::set_current_dir).map_err(failed)
    }
}

/// What the holder wrote down: its pid and the numbers of its namespaces.
fn read_holder(places: &Places) -> Option<(u32, (u64, u64))> {
    let text = fs::read_to_string(places.path("holder")).ok()?;
    let mut numbers = text.split_whitespace();
    let pid = numbers.next()?.parse().ok()?;
    Some((
        pid,
        (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?),
    ))
}

/// Joins, and makes what there is to join where there is nothing. Returns what the user should know of a new one.
pub(super) fn join(run: &Utf8Path, root: &Utf8Path) -> Result<Option<String>, HolderError> {
    let places = Places::new(run);
    for folder in [root, &places.folder] {
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.map_err(HolderError::file("make", folder))?;
    }
    if let Some(found) = present(&places)? {
        return found.join().map(|()| None);
    }
    let _making = wait_for_turn(&places)?;
    // Somebody may have been quicker.
    if let Some(found) = present(&places)? {
        return found.join().map(|()| None);
    }
    if let Some(found) = orphaned(&places) {
        found.join()?;
        start(&places, Some(()))?;
        return Ok(None);
    }
    let warning = start(&places, None)?;
    let found = present(&places)?.ok_or_else(|| HolderError::Held("it has gone".to_owned()))?;
    found.join().map(|()| warning)
}

fn present(places: &Places) -> Result<Option<Found>, HolderError> {
    if !places.is_held()? {
        return Ok(None);
    }
    Ok(read_holder(places).and_then(|(pid, numbers)| Found::of(pid, numbers)))
}

/// The namespaces of a holder that was killed, while a container still lives in them: they are kept by another one, so
/// that old containers and new ones see each other.
fn orphaned(places: &Places) -> Option<Found> {
    let (_, numbers) = read_holder(places)?;
    let processes = fs::read_dir("/proc").ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.into_iter().find_map(|pid| Found::of(pid, numbers))
}

fn wait_for_turn(places: &Places) -> Result<File, HolderError> {
    let file = places.lock_file("making")?;
    let until = Instant::now() + PATIENCE;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > until {
            return Err(HolderError::Held(
                "another process does not finish making one".to_owned(),
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(file)
}

/// Starts the role; `within` means that its namespaces are those of this process.
fn start(places: &Places, within: Option<()>) -> Result<Option<String>, HolderError> {
    let failed = |source| HolderError::Start {
        program: "plimsoll userns-holder",
        source,
    };
    let log = places.path("log");
    let log = File::create(&log).map_err(HolderError::file("make", &log))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(ROLE)
        .arg(&places.folder)
        .args(within.map(|()| WITHIN));
    let mut holder = command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .new_session()
        .spawn()
        .map_err(failed)?;
    let (mut go, mut told) = (
        holder.stdin.take().expect("piped"),
        holder.stdout.take().expect("piped"),
    );
    let mut warning = None;
    let made = (|| {
        if within.is_none() {
            expect(&mut told, UNSHARED)?;
            warning = ids::give(holder.id())?;
            go.write_all(GO).map_err(failed)?;
        }
        expect(&mut told, READY)
    })();
    if let Err(error) = made {
        let _ = holder.kill();
        let _ = holder.wait();
        return Err(error);
    }
    // It lives on, and belongs to whoever collects orphans.
    Ok(warning)
}

/// The hidden role's name.
pub(crate) const ROLE: &str = "userns-holder";
/// Instead of a folder: only to try what can be had.
pub(crate) const PROBE: &str = "probe";
const WITHIN: &str = "within";
const UNSHARED: u8 = b'u';
const READY: u8 = b'r';
const GO: &[u8] = b"g";

/// Waits for one byte; anything else is an error in words.
fn expect(told: &mut impl io::Read, wanted: u8) -> Result<(), HolderError> {
    let mut first = [0];
    match told.read(&mut first) {
        Ok(1) if first[0] == wanted => Ok(()),
        _ => {
            let mut text = String::new();
            let _ = told.read_to_string(&mut text);
            match (
                first[0],
                text.trim()
                    .strip_prefix("errno ")
                    .and_then(|text| text.parse().ok()),
            ) {
                (b'!', Some(number)) => Err(HolderError::Namespace(io::Error::from_raw_os_error(number))),
                (b'!', None) if !text.trim().is_empty() => Err(HolderError::Held(text.trim().to_owned())),
                _ => Err(HolderError::Held("its process has ended".to_owned())),
            }
        }
    }
}

/// The role: makes namespaces, or stays in those it has, and keeps them.
pub(crate) fn holder_main(args: &[OsString]) -> i32 {
    let Some(folder) = args.get(2).and_then(|folder| folder.to_str()) else {
        return 2;
    };
    if folder == PROBE {
        return probe();
    }
    let places = Places {
        folder: folder.into(),
    };
    let within = args.get(3).is_some_and(|word| word == WITHIN);
    match hold(&places, within) {
        Ok(()) => 0,
        Err(error) => {
            let mut stdout = io::stdout();
            let _ = write!(stdout, "!{}", plimsoll_diagnostics::chain(&error));
            let _ = stdout.flush();
            1
        }
    }
}

/// Tries what a root needs, and says what came of it; nothing is left.
fn probe() -> i32 {
    let said = |result: &io::Result<()>| {
        result
            .as_ref()
            .map_or_else(ToString::to_string, |()| "ok".to_owned())
    };
    let ordinary = !rustix::process::geteuid().is_root();
    if ordinary {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        let made = unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
            .map_err(io::Error::from)
            .and_then(|()| ids::take_alone(uid, gid));
        println!("namespaces {}", said(&made));
        if made.is_err() {
            return 1;
        }
    }
    let overlay = plimsoll_runtime::try_overlay();
    println!("overlay {}", said(&overlay));
    i32::from(overlay.is_err())
}

fn hold(places: &Places, within: bool) -> Result<(), HolderError> {
    let failed = HolderError::Namespace;
    if !within {
        if let Err(error) = unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) {
            let _ = write!(io::stdout(), "!errno {}", error.raw_os_error());
            let _ = io::stdout().flush();
            return Err(failed(error.into()));
        }
        tell(UNSHARED).map_err(failed)?;
        io::stdin().read_exact(&mut [0; 1]).map_err(failed)?;
    }
    let lock = places.lock_file("lock")?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| HolderError::file("lock", &places.path("lock"))(error.into()))?;
    let held = |error: plimsoll_network::NetworkError| HolderError::Held(plimsoll_diagnostics::chain(&error));
    let room = if within {
        Room::of(places.folder.parent().expect("it has a name"))
            .ok_or_else(|| HolderError::Held("its network namespace has gone".to_owned()))?
    } else {
        Room::make(&places.folder).map_err(held)?
    };
    let keeper = room.keeper().map_err(held)?;
    write_holder(places)?;
    tell(READY).map_err(failed)?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(failed)?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .map_err(|error| failed(error.into()))?;
    // What leads outside must not end with the first command's session either.
    if let Err(error) = plimsoll_runtime::enter_own_scope(&format!("plimsoll-users-{}", std::process::id())) {
        eprintln!("{}", plimsoll_diagnostics::chain(&error));
    }
    keeper.serve().map_err(held)
}

fn tell(byte: u8) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(&[byte])?;
    stdout.flush()
}

fn write_holder(places: &Places) -> Result<(), HolderError> {
    let (path, new) = (places.path("holder"), places.path("holder.new"));
    let number = |kind: &str| rustix::fs::stat(format!("/proc/self/ns/{kind}")).map(|facts| facts.st_ino);
    let write = || -> io::Result<()> {
        let text = format!("{} {} {}\n", std::process::id(), number("user")?, number("mnt")?);
        fs::write(&new, text)?;
        fs::rename(&new, &path)
    };
    write().map_err(HolderError::file("write", &path))
}

/// Ends the holder of a root that is taken away. Its namespaces last until the last process has left them.
pub(crate) fn stop_holder(run: &Utf8Path) {
    let places = Places::new(run);
    let Some((pid, numbers)) = read_holder(&places).filter(|_| places.is_held().unwrap_or(false)) else {
        return;
    };
    let pidfd = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // Looked at after it was opened: it is this process that has these namespaces.
    if let (Some(pidfd), Some(_)) = (pidfd, Found::of(pid, numbers)) {
        let _ = pidfd_send_signal(&pidfd, Signal::TERM);
    }
    let _ = rustix::mount::unmount(
        places.path("outside").as_std_path(),
        rustix::mount::UnmountFlags::DETACH,
    );
    let _ = fs::remove_dir_all(&places.folder);
}
