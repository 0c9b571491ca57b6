//! A request body that is read while it is sent.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// Bytes that are read and sent at a time.
const PIECE: usize = 256 << 10;
/// Pieces that are read ahead.
const AHEAD: usize = 4;

/// Bytes of a blob, as often as they are needed.
pub trait BlobSource: Send + Sync {
    /// Reads from byte `offset` on.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

impl BlobSource for Vec<u8> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        Ok(Box::new(io::Cursor::new(rest.unwrap_or_default().to_vec())))
    }
}

/// A part of a blob on its way.
pub(crate) struct Upload<'a> {
    pub(crate) source: &'a Arc<dyn BlobSource>,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) state: &'a Arc<State>,
}

/// What the bodies of one blob leave behind.
pub(crate) struct State {
    /// Bytes of the current body that were taken.
    sent: AtomicU64,
    /// Why the source could not be read.
    failure: Mutex<Option<io::Error>>,
    /// Told how much of the blob has been sent.
    report: Arc<dyn Fn(u64) + Send + Sync>,
}

impl State {
    pub(crate) fn new(report: Arc<dyn Fn(u64) + Send + Sync>) -> Self {
        Self {
            sent: AtomicU64::new(0),
            failure: Mutex::default(),
            report,
        }
    }

    /// The source's failure, which is no matter of the registry.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: io::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl Upload<'_> {
    pub(crate) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Starts reading.
    pub(crate) fn body(&self) -> Body {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let (source, start, length) = (Arc::clone(self.source), self.start, self.end - self.start);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read(&*source, start, length, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        self.state.sent.store(0, Ordering::Relaxed);
        Body {
            pieces,
            start,
            length,
            taken: 0,
            state: Arc::clone(self.state),
        }
    }
}

fn read(
    source: &dyn BlobSource,
    start: u64,
    length: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut reader = source.open(start)?.take(length);
    let mut left = length;
    while left > 0 {
        let size = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; size];
        reader.read_exact(&mut piece)?;
        left -= size as u64;
        // Whoever sent them has given up.
        if sender.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The bytes of one request.
pub(crate) struct Body {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    start: u64,
    length: u64,
    taken: u64,
    state: Arc<State>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.pieces.poll_recv(context) {
            Poll::Ready(Some(Ok(piece))) => {
                self.taken += piece.len() as u64;
                self.state.sent.store(self.taken, Ordering::Relaxed);
                (self.state.report)(self.start + self.taken);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(Some(Err(error))) => {
                self.state.fail(error);
                Poll::Ready(Some(Err(io::Error::other("the blob cannot be read"))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.taken == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.taken)
    }
}
