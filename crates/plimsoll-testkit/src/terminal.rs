//! A terminal that a program under test believes in.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// A program that runs with a pseudo terminal as its standard streams.
pub struct Terminal {
    child: Child,
    master: File,
    output: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts `command` in a terminal of this size.
    ///
    /// # Panics
    /// When there are no pseudo terminals, or the program does not start.
    pub fn start(mut command: Command, rows: u16, columns: u16) -> Self {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        rustix::pty::grantpt(&master).expect("it is ours");
        rustix::pty::unlockpt(&master).expect("it is ours");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, Mode::empty()).expect("its other end");
        let master = File::from(master);
        resize(&master, rows, columns);
        let end = || slave.try_clone().expect("a descriptor");
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("the program starts");
        // Only the child holds the other end now, so that reading ends with it.
        drop((command, slave));
        let mut reader = master.try_clone().expect("a descriptor");
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO says that the other end is closed.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            master,
            output,
            seen: Vec::new(),
        }
    }

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.master, rows, columns);
    }

    /// Returns what was written since the last call, as soon as all that was ever written contains `text`.
    ///
    /// # Panics
    /// When that does not happen in 60 seconds.
    pub fn read_until(&mut self, text: &str) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(60);
        let from = self.seen.len();
        while !contains(&self.seen, text.as_bytes()) {
            let left = end.saturating_duration_since(Instant::now());
            let piece = self.output.recv_timeout(left);
            let seen = String::from_utf8_lossy(&self.seen);
            self.seen
                .extend(piece.unwrap_or_else(|_| panic!("no {text:?} in {seen:?}")));
        }
        self.seen[from..].to_vec()
    }

    /// Types.
    ///
    /// # Panics
    /// When nobody can read it.
    pub fn write(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("the terminal takes it");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it cannot.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the program still runs");
    }

    /// Waits for the program; returns its exit code and what was written since the last call.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn finish(mut self) -> (i32, Vec<u8>) {
        let status = self.child.wait().expect("the program can be waited for");
        let rest: Vec<u8> = self.output.iter().flatten().collect();
        (status.code().unwrap_or(-1), rest)
    }
}

fn resize(master: &File, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(master, size).expect("a terminal has a size");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
