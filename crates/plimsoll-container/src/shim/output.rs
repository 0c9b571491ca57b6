//! Where a container's output goes: its log, and every attached client.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::sync::Notify;

use super::spool::Spool;
use crate::log::{LogStream, LogWriter};
use crate::protocol::{Ended, Reply};
use crate::wire::{self, Kind, Sender};

/// Takes output and hands it on.
pub(super) struct Output {
    log: RefCell<LogWriter>,
    clients: RefCell<Vec<Rc<Client>>>,
    folder: PathBuf,
}

/// One attached client's queue.
pub(super) struct Client {
    spool: RefCell<Spool>,
    changed: Notify,
    ended: Cell<bool>,
}

impl Output {
    /// `folder` takes what clients have not read yet, should it grow large.
    pub(super) fn new(log: &Path, folder: &Path) -> io::Result<Self> {
        let log = RefCell::new(LogWriter::open(log)?);
        Ok(Self {
            log,
            clients: RefCell::default(),
            folder: folder.to_owned(),
        })
    }

    pub(super) fn write(&self, stream: LogStream, bytes: &[u8]) {
        if let Err(error) = self.log.borrow_mut().write(stream, bytes) {
            eprintln!("cannot write the log: {error}");
        }
        let kind = if stream == LogStream::Stdout {
            Kind::Stdout
        } else {
            Kind::Stderr
        };
        self.send(&wire::encode(kind, bytes));
    }

    /// Tells the log and all clients that there is no more.
    pub(super) fn finish(&self, ended: &Ended) {
        if let Err(error) = self.log.borrow_mut().finish() {
            eprintln!("cannot write the log: {error}");
        }
        let message = serde_json::to_vec(&Reply::Exited(ended.clone())).expect("a plain struct becomes JSON");
        self.send(&wire::encode(Kind::Message, &message));
        for client in self.clients.borrow().iter() {
            client.ended.set(true);
            client.changed.notify_one();
        }
    }

    fn send(&self, frame: &[u8]) {
        self.clients
            .borrow_mut()
            .retain(|client| match client.spool.borrow_mut().push(frame) {
                Ok(()) => {
                    client.changed.notify_one();
                    true
                }
                Err(error) => {
                    eprintln!("a client is cut off: its output cannot be kept: {error}");
                    client.ended.set(true);
                    client.changed.notify_one();
                    false
                }
            });
    }

    /// A new client that sees everything from here on.
    pub(super) fn subscribe(&self) -> Rc<Client> {
        let spool = RefCell::new(Spool::new(&self.folder));
        let client = Rc::new(Client {
            spool,
            changed: Notify::new(),
            ended: Cell::new(false),
        });
        self.clients.borrow_mut().push(client.clone());
        client
    }

    pub(super) fn unsubscribe(&self, client: &Rc<Client>) {
        self.clients
            .borrow_mut()
            .retain(|known| !Rc::ptr_eq(known, client));
    }
}

impl Client {
    /// Sends what is queued until the end, or until the client has gone.
    pub(super) async fn serve(&self, sender: &Sender) -> io::Result<()> {
        loop {
            let next = self.spool.borrow_mut().take()?;
            match next {
                Some(bytes) => sender.raw(&bytes, &[]).await?,
                None if self.ended.get() => return Ok(()),
                None => self.changed.notified().await,
            }
        }
    }
}
