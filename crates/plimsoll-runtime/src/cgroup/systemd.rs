//! A scope of systemd's for the calling process, with the groups below it left to us.
//!
//! Asked over D-Bus on the manager's own socket, which is there without a message bus, as `systemctl` does. One method is
//! called, so the few bytes are put together here (D-Bus Specification, "Message Protocol").

use super::place::Scope;
use crate::RuntimeError;
use crate::privilege::outer_user;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a supervisor waits, because a group with groups that have limits has no processes itself.
const SUPERVISOR: &str = "supervisor";

/// The socket of systemd, or of a user's.
pub(crate) fn socket_of(uid: Option<u32>) -> PathBuf {
    match uid {
        None => "/run/systemd/private".into(),
        Some(uid) => format!("/run/user/{uid}/systemd/private").into(),
    }
}

/// Sees to it that this process is in the scope that the path of a group goes through, if it goes through one.
pub(crate) fn enter_scope(path: &str) -> Result<(), RuntimeError> {
    let Some(scope) = Scope::of(path) else {
        return Ok(());
    };
    if !is_in(&scope) {
        ask_for(&scope).map_err(|error| {
            RuntimeError::Invalid(format!(
                "cannot get the scope `{}` from systemd: {error}",
                scope.name
            ))
        })?;
    }
    let leaf = scope.folder.join(SUPERVISOR);
    let enter = || -> io::Result<()> {
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::write(leaf.join("cgroup.procs"), "0")
    };
    enter().map_err(RuntimeError::path("enter control group", &leaf))
}

fn is_in(scope: &Scope) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or_default();
    path.split('/').any(|part| part == scope.name)
}

fn ask_for(scope: &Scope) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match start_scope(scope) {
            Ok(()) => break,
            // The one of the last start has not gone yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
    // It has only been queued.
    while !is_in(scope) {
        if Instant::now() > until {
            return Err(io::Error::other("it was not made in time"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn start_scope(scope: &Scope) -> io::Result<()> {
    let mut bus = Bus::connect(outer_user())?;
    let mut body = Writer::default();
    body.string(&scope.name);
    body.string("fail");
    body.array(8, |all| {
        all.property("Description", "s", |value| {
            value.string("A container of Plimsoll")
        });
        all.property("Slice", "s", |value| value.string(&scope.slice));
        all.property("CollectMode", "s", |value| value.string("inactive-or-failed"));
        all.property("Delegate", "b", |value| value.number(1));
        all.property("PIDs", "au", |value| {
            value.array(4, |pids| pids.number(std::process::id()))
        });
    });
    // No other units.
    body.array(8, |_| {});
    bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", &body.0)
}

/// A connection with systemd.
struct Bus(UnixStream);

impl Bus {
    fn connect(uid: Option<u32>) -> io::Result<Self> {
        let mut stream = UnixStream::connect(socket_of(uid))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let identity: String = uid
            .unwrap_or(0)
            .to_string()
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        stream.write_all(format!("\0AUTH EXTERNAL {identity}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n") && answer.len() < 512 {
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.write_all(b"BEGIN\r\n")?;
        Ok(Self(stream))
    }

    /// Calls a method of the manager, and waits until it is answered.
    fn call(&mut self, member: &str, signature: &str, body: &[u8]) -> io::Result<()> {
        self.0.write_all(&message(member, signature, body))?;
        loop {
            let (kind, reply_to, error, body) = self.read()?;
            match kind {
                RETURN if reply_to == SERIAL => return Ok(()),
                ERROR if reply_to == SERIAL => return Err(refusal(&error, &body)),
                _ => {}
            }
        }
    }

    fn read(&mut self) -> io::Result<(u8, u32, String, Vec<u8>)> {
        let mut head = [0; 16];
        self.0.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, fields) = (number(4) as usize, number(12) as usize);
        if head[0] != b'l' || length > LONGEST || fields > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut rest = vec![0; fields.next_multiple_of(8)];
        self.0.read_exact(&mut rest)?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let (reply_to, error) = read_fields(&rest[..fields]);
        Ok((head[1], reply_to, error, body))
    }
}

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
/// Of the one call.
const SERIAL: u32 = 1;
const LONGEST: usize = 1 << 20;

fn message(member: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut all = Writer(vec![b'l', CALL, 0, 1]);
    all.number(u32::try_from(body.len()).unwrap_or(u32::MAX));
    all.number(SERIAL);
    all.array(8, |fields| {
        let mut field = |code: u8, kind: &str, value: &str| {
            fields.pad(8);
            fields.0.push(code);
            fields.signature(kind);
            match kind {
                "g" => fields.signature(value),
                _ => fields.string(value),
            }
        };
        field(1, "o", "/org/freedesktop/systemd1");
        field(2, "s", "org.freedesktop.systemd1.Manager");
        field(3, "s", member);
        field(6, "s", "org.freedesktop.systemd1");
        field(8, "g", signature);
    });
    all.pad(8);
    all.0.extend_from_slice(body);
    all.0
}

/// What a reply is to, and the name of the error.
fn read_fields(mut bytes: &[u8]) -> (u32, String) {
    let (mut reply_to, mut error) = (0, String::new());
    let all = bytes.len();
    // A code, the signature of one basic type, and the value.
    while bytes.len() > 4 {
        let (code, kind) = (bytes[0], bytes[2]);
        bytes = &bytes[4..];
        let Some(number) = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)) else {
            break;
        };
        let used = match kind {
            b'u' => 4,
            b'g' => bytes[0] as usize + 2,
            _ => 5 + number as usize,
        };
        match (code, kind) {
            (5, b'u') => reply_to = number,
            (4, b's') => {
                let text = bytes.get(4..4 + number as usize).unwrap_or_default();
                error = String::from_utf8_lossy(text).into_owned();
            }
            _ => {}
        }
        let at = (all - bytes.len() + used).next_multiple_of(8);
        bytes = bytes.get(at - (all - bytes.len())..).unwrap_or_default();
    }
    (reply_to, error)
}

/// An error begins with a text for people.
fn refusal(name: &str, body: &[u8]) -> io::Error {
    let length = body
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    let text = String::from_utf8_lossy(body.get(4..4 + length).unwrap_or_default()).into_owned();
    let kind = match name {
        "org.freedesktop.systemd1.UnitExists" => io::ErrorKind::AlreadyExists,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, if text.is_empty() { name.to_owned() } else { text })
}

/// Values in D-Bus's form, little end first.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.pad(4);
        self.0.extend(number.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// Its length comes first, without what is between it and the first element.
    fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.number(0);
        let place = self.0.len() - 4;
        self.pad(alignment);
        let start = self.0.len();
        elements(self);
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn property(&mut self, name: &str, kind: &str, value: impl FnOnce(&mut Self)) {
        self.pad(8);
        self.string(name);
        self.signature(kind);
        value(self);
    }
}

/// Whether a group lies in one that systemd has delegated, and from where on it is ours.
pub(crate) fn is_delegated(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str().to_string_lossy().ends_with(".scope"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let mut body = Writer::default();
        body.string("x");
        body.array(8, |all| all.property("Delegate", "b", |value| value.number(1)));
        #[rustfmt::skip]
        let expected = [
            1, 0, 0, 0, b'x', 0, 0, 0,
            20, 0, 0, 0, 0, 0, 0, 0,
            8, 0, 0, 0, b'D', b'e', b'l', b'e', b'g', b'a', b't', b'e', 0, 1, b'b', 0,
            1, 0, 0, 0,
        ];
        assert_eq!(body.0, expected);
        let whole = message("M", "s", &body.0);
        assert_eq!(whole[..4], [b'l', 1, 0, 1]);
        assert_eq!(whole[4..8], 36_u32.to_le_bytes());
        assert_eq!((whole.len() - body.0.len()) % 8, 0);
    }

    #[test]
    fn the_fields_of_a_reply_are_found() {
        let mut fields = Writer::default();
        fields.0.push(4);
        fields.signature("s");
        fields.string("org.freedesktop.systemd1.UnitExists");
        fields.pad(8);
        fields.0.push(8);
        fields.signature("g");
        fields.signature("s");
        fields.pad(8);
        fields.0.push(5);
        fields.signature("u");
        fields.number(7);
        let (reply_to, error) = read_fields(&fields.0);
        assert_eq!(
            (reply_to, error.as_str()),
            (7, "org.freedesktop.systemd1.UnitExists")
        );
        let mut body = Writer::default();
        body.string("Unit x was there");
        let error = refusal(&error, &body.0);
        assert_eq!(
            (error.kind(), error.to_string()),
            (io::ErrorKind::AlreadyExists, "Unit x was there".to_owned())
        );
    }
}
