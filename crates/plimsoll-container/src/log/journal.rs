//! The journal of systemd, in its native protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::config::Subject;
use super::entry::{Entry, LogStream};

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// A connection to the journal and what every message says about the container.
#[derive(Debug)]
pub(crate) struct Journal {
    socket: UnixDatagram,
    fields: Vec<u8>,
}

impl Journal {
    /// Connects to the journal. `tag` and `attributes` are what `--log-opt` asks for.
    pub(crate) fn connect(
        path: &Path,
        subject: &Subject<'_>,
        tag: &str,
        attributes: impl IntoIterator<Item = (String, String)>,
    ) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        let mut fields = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", &subject.id[..12]),
            ("CONTAINER_ID_FULL", subject.id),
            ("CONTAINER_NAME", subject.name),
            ("CONTAINER_TAG", tag),
            ("IMAGE_NAME", subject.image),
            ("SYSLOG_IDENTIFIER", tag),
        ] {
            field(name, value.as_bytes(), &mut fields);
        }
        for (name, value) in attributes {
            if let Some(name) = field_name(&name) {
                field(&name, value.as_bytes(), &mut fields);
            }
        }
        Ok(Self { socket, fields })
    }

    /// Returns a line as one message.
    pub(crate) fn encode(&self, entry: &Entry<'_>) -> Vec<u8> {
        let mut message = self.fields.clone();
        field("MESSAGE", entry.text, &mut message);
        let priority = if entry.stream == LogStream::Stderr {
            "3"
        } else {
            "6"
        };
        field("PRIORITY", priority.as_bytes(), &mut message);
        field(
            "SYSLOG_TIMESTAMP",
            entry.time.to_string().as_bytes(),
            &mut message,
        );
        if !entry.whole {
            field("CONTAINER_PARTIAL_MESSAGE", b"true", &mut message);
        }
        message
    }

    /// Sends messages and takes them from the queue; `WouldBlock` when the journal is busy.
    pub(crate) fn write(&self, queue: &mut VecDeque<Vec<u8>>) -> io::Result<()> {
        while let Some(message) = queue.front() {
            self.socket.send(message)?;
            queue.pop_front();
        }
        Ok(())
    }
}

/// `NAME=value`, or with the length in between where the value has line ends.
fn field(name: &str, value: &[u8], message: &mut Vec<u8>) {
    message.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        message.push(b'\n');
        message.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend_from_slice(value);
    message.push(b'\n');
}

/// The journal's names are capital letters, digits and `_`, and do not begin with `_`; Docker maps the rest to it.
fn field_name(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let mapped: String = upper
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    let name = mapped.trim_start_matches('_');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_where_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        let id = "0123456789abcdef".repeat(4);
        let subject = Subject {
            id: &id,
            name: "web",
            image: "busybox",
            image_id: "sha256:ab",
        };
        let attributes = [("com.example-x".to_owned(), "two\nlines".to_owned())];
        let journal = Journal::connect(&path, &subject, "tag", attributes).unwrap();
        let entry = |stream, whole| Entry {
            stream,
            time: "2026-01-01T00:00:00Z".parse().unwrap(),
            text: b"hello",
            whole,
        };
        let mut queue: VecDeque<_> = [
            journal.encode(&entry(LogStream::Stderr, true)),
            journal.encode(&entry(LogStream::Stdout, false)),
        ]
        .into();
        journal.write(&mut queue).unwrap();
        assert!(queue.is_empty());
        let mut buffer = [0; 4096];
        let mut receive = || {
            let count = server.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..count].to_vec()).unwrap()
        };
        let first = receive();
        assert_eq!(
            first,
            format!(
                "CONTAINER_ID=0123456789ab\nCONTAINER_ID_FULL={id}\nCONTAINER_NAME=web\nCONTAINER_TAG=tag\nIMAGE_NAME=busybox\nSYSLOG_IDENTIFIER=tag\nCOM_EXAMPLE_X\n\u{9}\0\0\0\0\0\0\0two\nlines\nMESSAGE=hello\nPRIORITY=3\nSYSLOG_TIMESTAMP=2026-01-01T00:00:00Z\n"
            )
        );
        let second = receive();
        assert!(second.contains("PRIORITY=6\n") && second.ends_with("CONTAINER_PARTIAL_MESSAGE=true\n"));
    }

    #[test]
    fn a_busy_journal_takes_the_rest_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).unwrap();
        let id = "0".repeat(64);
        let subject = Subject {
            id: &id,
            name: "web",
            image: "i",
            image_id: "sha256:ab",
        };
        let journal = Journal::connect(&path, &subject, "", []).unwrap();
        let mut queue: VecDeque<Vec<u8>> = (0..5000_u32)
            .map(|number| number.to_be_bytes().to_vec())
            .collect();
        let error = journal.write(&mut queue).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let (mut seen, mut buffer) = (0_u32, [0; 8]);
        while seen < 5000 {
            server.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..4], seen.to_be_bytes());
            seen += 1;
            let _ = journal.write(&mut queue);
        }
    }
}
