//! The network namespace in which an ordinary user's bridges are.
//!
//! A user may not change the host's network, but may have one of their own to change as they like: the room. Bridges, veth
//! pairs and rules are made in it as root makes them on the host. It is led outside by `pasta`, or by `slirp4netns`, which
//! copies what leaves it into sockets of the user's. Ports are held on the host all the same (see [`crate::bind`]): the shim
//! lives in the room and hands on what it accepts.
//!
//! Whoever has joined the user's namespaces finds the room mounted as `run/userns/outside`. Nobody who has entered it can
//! go back to the host's network, so [`Networks`](crate::Networks) works on threads that end there.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_linux::{CommandExt as _, UnshareFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::NetworkError;
use crate::host::set;
use crate::namespace::inside;
use crate::netlink::Netlink;

/// What namespaces are files of (linux/magic.h).
const NSFS: u64 = 0x6e73_6673;
/// The device that leads out of the room.
const DEVICE: &str = "outside0";
/// Where a name server of the host's loopback is found from the room.
pub(crate) const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// `pasta` has been seen to hang.
const PATIENCE: Duration = Duration::from_secs(10);
/// What has just failed is not tried again at once.
const PAUSE: Duration = Duration::from_secs(20);

/// The place of a user's bridges.
#[derive(Debug)]
pub struct Room {
    folder: Utf8PathBuf,
    namespace: OwnedFd,
}

impl Room {
    /// The room of the store with this run-time folder; None for root, whose bridges are on the host.
    pub fn of(run: &Utf8Path) -> Option<Self> {
        let folder = run.join("userns");
        let path = folder.join("outside");
        let namespace = rustix::fs::open(
            path.as_std_path(),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok()?;
        let kind = rustix::fs::fstatfs(&namespace).ok()?.f_type as u64;
        (kind == NSFS).then_some(Self { folder, namespace })
    }

    /// Makes one and mounts it in `folder`.
    pub fn make(folder: &Utf8Path) -> Result<Self, NetworkError> {
        let path = folder.join("outside");
        let make = || -> io::Result<OwnedFd> {
            File::create(&path)?;
            plimsoll_linux::unshare(UnshareFlags::NEWNET)?;
            set("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
            let mut netlink = Netlink::open()?;
            if let Some(loopback) = netlink.index("lo")? {
                netlink.set_up(loopback)?;
            }
            let own = "/proc/thread-self/ns/net";
            let tree = open_tree(
                CWD,
                own,
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
            )?;
            move_mount(
                &tree,
                "",
                CWD,
                path.as_std_path(),
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
            )?;
            Ok(File::open(own)?.into())
        };
        // On a thread of its own: the keeper itself stays in the host's network, and so does what leads outside.
        let made = std::thread::scope(|scope| {
            let made = scope.spawn(make).join();
            made.unwrap_or_else(|_| Err(io::Error::other("thread died")))
        });
        Ok(Self {
            folder: folder.to_owned(),
            namespace: made.map_err(NetworkError::namespace)?,
        })
    }

    /// Moves the calling thread into the room, for good.
    pub fn enter(&self) -> Result<(), NetworkError> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| NetworkError::namespace(error.into()))
    }

    /// Runs `work` on a thread in the room.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetworkError> {
        inside(self.namespace.as_fd(), || Ok(work())).map_err(NetworkError::namespace)
    }

    /// What [`crate::host`]'s lock is for the host.
    pub(crate) fn lock_path(&self) -> Utf8PathBuf {
        self.folder.join("network.lock")
    }

    /// Sees to it that there is a way out. Without one, containers still reach each other and are reached by their ports.
    pub(crate) fn lead_outside(&self) {
        if let Err(error) = self.ask_keeper() {
            tracing::warn!("containers have no way out of this machine: {error}");
        }
    }

    fn ask_keeper(&self) -> io::Result<()> {
        let (_folder, path) = self.socket()?;
        let mut keeper = UnixStream::connect(path)?;
        keeper.set_read_timeout(Some(PATIENCE + PATIENCE))?;
        let mut answer = String::new();
        keeper.read_to_string(&mut answer)?;
        match answer.trim() {
            "" => Ok(()),
            said => Err(io::Error::other(said.to_owned())),
        }
    }

    /// By a short name: a socket's path has 107 bytes at most.
    fn socket(&self) -> io::Result<(OwnedFd, String)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(self.folder.as_std_path(), flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/sock", folder.as_raw_fd());
        Ok((folder, path))
    }

    /// Becomes the one who is asked for the way out.
    pub fn keeper(self) -> Result<Keeper, NetworkError> {
        let listen = || -> io::Result<UnixListener> {
            let (_folder, path) = self.socket()?;
            let _ = fs::remove_file(&path);
            UnixListener::bind(path)
        };
        let listener = listen().map_err(NetworkError::namespace)?;
        Ok(Keeper {
            room: self,
            listener,
            guide: None,
            failure: None,
        })
    }

    fn leads_outside(&self) -> bool {
        let look = || -> io::Result<bool> {
            let mut netlink = Netlink::open()?;
            let device = netlink.index(DEVICE)?;
            let routes = netlink.routes()?;
            Ok(routes
                .iter()
                .any(|route| route.device == device && device.is_some() && route.destination.prefix() == 0))
        };
        matches!(self.inside(look), Ok(Ok(true)))
    }
}

/// Keeps a room and the program that leads out of it.
#[derive(Debug)]
pub struct Keeper {
    room: Room,
    listener: UnixListener,
    guide: Option<Child>,
    failure: Option<(Instant, String)>,
}

impl Keeper {
    /// Serves until it is killed; what leads outside ends with it.
    pub fn serve(mut self) -> Result<(), NetworkError> {
        loop {
            let guide = self.guide.as_ref().and_then(|guide| {
                let pid = Pid::from_raw(i32::try_from(guide.id()).ok()?)?;
                pidfd_open(pid, PidfdFlags::empty()).ok()
            });
            let mut sources = vec![PollFd::new(&self.listener, PollFlags::IN)];
            sources.extend(guide.as_ref().map(|guide| PollFd::new(guide, PollFlags::IN)));
            let polled = poll(&mut sources, None);
            let (asked, ended) = (
                !sources[0].revents().is_empty(),
                sources.get(1).is_some_and(|guide| !guide.revents().is_empty()),
            );
            match polled {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(NetworkError::namespace(error.into())),
            }
            if ended && let Some(mut guide) = self.guide.take() {
                let _ = guide.wait();
            }
            if asked && let Ok((mut client, _)) = self.listener.accept() {
                let answer = self.lead().err().unwrap_or_default();
                let _ = client.write_all(answer.as_bytes());
            }
        }
    }

    fn lead(&mut self) -> Result<(), String> {
        // Also by one that an earlier keeper has started, which was killed.
        if self.guide.is_some() || self.room.leads_outside() {
            return Ok(());
        }
        if let Some((when, said)) = &self.failure
            && when.elapsed() < PAUSE
        {
            return Err(said.clone());
        }
        match self.start() {
            Ok(guide) => {
                self.guide = Some(guide);
                self.failure = None;
                Ok(())
            }
            Err(said) => {
                self.failure = Some((Instant::now(), said.clone()));
                Err(said)
            }
        }
    }

    /// The first of the programs that works.
    fn start(&self) -> Result<Child, String> {
        let path = self.room.folder.join("outside");
        let mut said = Vec::new();
        for (program, args) in guides(&path) {
            match self.try_one(program, &args) {
                Ok(guide) => return Ok(guide),
                Err(error) => said.push(format!("{program}: {error}")),
            }
        }
        Err(said.join("; "))
    }

    fn try_one(&self, program: &str, args: &[String]) -> Result<Child, String> {
        let log = self.room.folder.join("outside.log");
        let output = File::create(&log).map_err(|error| error.to_string())?;
        let spawned = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            // std gives SIGPIPE its default back, without which pasta does not start.
            .die_with_parent(Signal::TERM)
            .new_session()
            .spawn();
        let mut guide = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "not installed".to_owned(),
            _ => error.to_string(),
        })?;
        let until = Instant::now() + PATIENCE;
        let reason = loop {
            match guide.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => break last_words(&log).unwrap_or_else(|| status.to_string()),
                Err(error) => break error.to_string(),
            }
            if self.room.leads_outside() {
                return Ok(guide);
            }
            if Instant::now() > until {
                break last_words(&log)
                    .unwrap_or_else(|| format!("not ready after {} s", PATIENCE.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let _ = guide.kill();
        let _ = guide.wait();
        Err(reason)
    }
}

/// What leads outside, the better one first. The host's own loopback is out of reach, but for its name server.
fn guides(room: &Utf8Path) -> [(&'static str, Vec<String>); 2] {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    // With an address of its own, as slirp4netns has it: the host's is to lead to the host.
    let mut pasta = words("--foreground --quiet --config-net --no-map-gw -t none -u none -T none -U none");
    pasta.extend(words(
        "--address 10.0.2.100 --netmask 24 --gateway 10.0.2.2 --netns-only",
    ));
    for (flag, value) in [
        ("--ns-ifname", DEVICE),
        ("--dns-forward", &NAME_SERVER.to_string()),
        ("--netns", room.as_str()),
    ] {
        pasta.extend([flag.to_owned(), value.to_owned()]);
    }
    let mut slirp = words("--configure --mtu=65520 --disable-host-loopback --netns-type=path");
    slirp.extend([room.to_string(), DEVICE.to_owned()]);
    [("pasta", pasta), ("slirp4netns", slirp)]
}

/// The last line that tells something.
fn last_words(log: &Utf8Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let lines = text.lines().map(str::trim);
    let mut told = lines.filter(|line| !line.is_empty() && !line.contains("to syslog"));
    told.next_back().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_file_is_no_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = Utf8Path::from_path(folder.path()).expect("text");
        assert!(Room::of(run).is_none());
        fs::create_dir(run.join("userns")).expect("a folder");
        fs::write(run.join("userns/outside"), "").expect("a file");
        assert!(Room::of(run).is_none());
    }

    #[test]
    fn the_reason_is_the_last_line_that_tells_something() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Utf8Path::from_path(folder.path()).expect("text").join("log");
        fs::write(
            &log,
            "No routable interface\nFailed to send 51 bytes to syslog\n\n",
        )
        .expect("a file");
        assert_eq!(last_words(&log).as_deref(), Some("No routable interface"));
        fs::write(&log, "\n").expect("a file");
        assert_eq!(last_words(&log), None);
    }
}
