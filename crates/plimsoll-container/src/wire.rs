//! What goes over a shim's sockets: frames of bytes or JSON, with file descriptors beside them.
//!
//! A frame is a kind (1 byte), a number of descriptors (1 byte), a length (4 bytes, big endian) and that many bytes. The
//! descriptors travel with the frame's first byte (SCM_RIGHTS). The kernel may hand over bytes of several frames at
//! once, but keeps descriptors in order, so counting them in the header is enough to give each frame its own.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// Most descriptors in one frame; the kernel's limit is 253.
const MAX_FDS: usize = 128;
/// Longest frame that is taken; arguments and environment of an exec can be long.
const MAX_FRAME: usize = 8 << 20;
const HEADER: usize = 6;

/// What the bytes of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message of the protocol.
    Message = 0,
    /// Output of the program.
    Stdout = 1,
    /// Error output of the program.
    Stderr = 2,
    /// Input for the program; empty means its end.
    Stdin = 3,
    /// Nothing but more descriptors for the message before.
    Descriptors = 4,
    /// Lines of the log, as JSON.
    Log = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> io::Result<Self> {
        Ok(match byte {
            0 => Self::Message,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Stdin,
            4 => Self::Descriptors,
            5 => Self::Log,
            _ => return Err(invalid("unknown kind of frame")),
        })
    }
}

/// One frame, as received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) body: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Frame {
    /// Reads the body as a message.
    pub(crate) fn message<T: DeserializeOwned>(&self) -> io::Result<T> {
        if self.kind != Kind::Message {
            return Err(invalid("expected a message"));
        }
        serde_json::from_slice(&self.body).map_err(io::Error::from)
    }
}

/// Returns a frame's header and body as bytes, for frames without descriptors.
pub(crate) fn encode(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, body.len(), 0).to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn header(kind: Kind, length: usize, fds: usize) -> [u8; HEADER] {
    let [a, b, c, d] = u32::try_from(length)
        .expect("frames are shorter than 4 GiB")
        .to_be_bytes();
    [
        kind as u8,
        u8::try_from(fds).expect("at most 128 descriptors"),
        a,
        b,
        c,
        d,
    ]
}

/// The sending half of a connection. Frames must not be sent from two tasks at once.
#[derive(Clone)]
pub(crate) struct Sender(Arc<UnixStream>);

/// The receiving half of a connection. [`Receiver::next`] may be dropped half-way and loses nothing.
pub(crate) struct Receiver {
    stream: Arc<UnixStream>,
    buffer: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

/// Makes the two halves of a connected stream.
pub(crate) fn split(stream: UnixStream) -> (Sender, Receiver) {
    let stream = Arc::new(stream);
    (
        Sender(stream.clone()),
        Receiver {
            stream,
            buffer: Vec::new(),
            fds: VecDeque::new(),
        },
    )
}

impl Sender {
    /// Sends a message with descriptors, in several frames when there are many.
    pub(crate) async fn message<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let (first, rest) = fds.split_at(fds.len().min(MAX_FDS));
        self.frame(Kind::Message, &body, first).await?;
        for more in rest.chunks(MAX_FDS) {
            self.frame(Kind::Descriptors, &[], more).await?;
        }
        Ok(())
    }

    /// Sends one frame without descriptors.
    pub(crate) async fn bytes(&self, kind: Kind, body: &[u8]) -> io::Result<()> {
        self.frame(kind, body, &[]).await
    }

    async fn frame(&self, kind: Kind, body: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut bytes = header(kind, body.len(), fds.len()).to_vec();
        bytes.extend_from_slice(body);
        self.raw(&bytes, fds).await
    }

    /// Sends bytes that are frames already.
    pub(crate) async fn raw(&self, mut bytes: &[u8], mut fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self
                .0
                .async_io(Interest::WRITABLE, || send_once(self.0.as_fd(), bytes, fds))
                .await?;
            bytes = &bytes[sent..];
            fds = &[];
        }
        Ok(())
    }
}

fn send_once(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    Ok(rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?)
}

impl Receiver {
    /// Returns the next frame, or None when the other side has closed.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            let stream = self.stream.clone();
            let (buffer, fds) = (&mut self.buffer, &mut self.fds);
            let read = stream
                .async_io(Interest::READABLE, || receive_once(stream.as_fd(), buffer, fds))
                .await?;
            if read == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Returns the next message and `extra` further frames' descriptors folded into it.
    pub(crate) async fn message<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some(frame) = self.next().await? else {
            return Ok(None);
        };
        Ok(Some((frame.message()?, frame.fds)))
    }

    /// Returns descriptors until there are `count`, taking further frames where one could not carry them all.
    pub(crate) async fn descriptors(
        &mut self,
        mut fds: Vec<OwnedFd>,
        count: usize,
    ) -> io::Result<Vec<OwnedFd>> {
        while fds.len() < count {
            match self.next().await? {
                Some(frame) if frame.kind == Kind::Descriptors => fds.extend(frame.fds),
                Some(_) => return Err(invalid("descriptors are missing")),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(fds)
    }

    /// Returns who is at the other end.
    pub(crate) fn peer_uid(&self) -> io::Result<u32> {
        Ok(rustix::net::sockopt::socket_peercred(&*self.stream)?.uid.as_raw())
    }

    fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some((head, rest)) = self.buffer.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        if length > MAX_FRAME {
            return Err(invalid("frame is too long"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let (kind, count) = (Kind::from_byte(head[0])?, usize::from(head[1]));
        if count > self.fds.len() {
            return Err(invalid("frame lacks its descriptors"));
        }
        let body = rest[..length].to_vec();
        self.buffer.drain(..HEADER + length);
        Ok(Some(Frame {
            kind,
            body,
            fds: self.fds.drain(..count).collect(),
        }))
    }
}

fn receive_once(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    fds: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut chunk = [0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut chunk)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    buffer.extend_from_slice(&chunk[..received.bytes]);
    Ok(received.bytes)
}

/// Puts a descriptor into the event loop.
pub(crate) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that may close early; OwnedFd does not"
    )]
    AsyncFd::with_interest(fd, interest)
}

/// Receives one descriptor from a plain blocking socket: a console as OCI runtimes send it.
pub(crate) fn receive_descriptor(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let (mut bytes, mut fds) = (Vec::new(), VecDeque::new());
    receive_once(socket, &mut bytes, &mut fds)?;
    fds.pop_front()
        .ok_or_else(|| invalid("the runtime sent no terminal"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn descriptors_reach_their_own_frame() {
        runtime().block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (sender, _keep) = split(ours);
            let (_other, mut receiver) = split(theirs);
            let (reader, writer) = std::io::pipe().unwrap();
            sender.bytes(Kind::Stdout, b"plain").await.unwrap();
            sender.message(&"with", &[writer.as_fd()]).await.unwrap();
            sender.bytes(Kind::Stdin, b"").await.unwrap();
            drop(writer);
            let frame = receiver.next().await.unwrap().unwrap();
            assert_eq!(
                (frame.kind, frame.body.as_slice(), frame.fds.len()),
                (Kind::Stdout, b"plain".as_slice(), 0)
            );
            let (text, fds) = receiver.message::<String>().await.unwrap().unwrap();
            assert_eq!((text.as_str(), fds.len()), ("with", 1));
            assert_eq!(receiver.next().await.unwrap().unwrap().kind, Kind::Stdin);
            drop(fds);
            let mut rest = Vec::new();
            { reader }.read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty());
        });
    }

    #[test]
    fn many_descriptors_take_several_frames() {
        runtime().block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (sender, _keep) = split(ours);
            let (_other, mut receiver) = split(theirs);
            let null = std::fs::File::open("/dev/null").unwrap();
            let fds = vec![null.as_fd(); 300];
            let send = async { sender.message(&300, &fds).await.unwrap() };
            let receive = async {
                let (count, fds) = receiver.message::<usize>().await.unwrap().unwrap();
                receiver.descriptors(fds, count).await.unwrap().len()
            };
            assert_eq!(tokio::join!(send, receive).1, 300);
        });
    }

    #[test]
    fn nonsense_is_refused() {
        runtime().block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (sender, _keep) = split(ours);
            let (_other, mut receiver) = split(theirs);
            sender.raw(&[9, 0, 0, 0, 0, 0], &[]).await.unwrap();
            assert!(receiver.next().await.is_err());
            sender.raw(&[0, 0, 255, 255, 255, 255], &[]).await.unwrap();
            assert!(receiver.next().await.is_err());
        });
    }
}
