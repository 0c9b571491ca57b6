//! Where a container's output goes: its log, and every attached client.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::spool::Spool;
use crate::Result;
use crate::log::{LogStream, LogWriter, Snapshot};
use crate::model::{Definition, Paths};
use crate::protocol::{Ended, Reply};
use crate::wire::{self, Kind, Sender};

/// First and longest pause before a log that could not be written is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Takes output and hands it on.
pub(super) struct Output {
    log: RefCell<LogWriter>,
    /// Held by whoever adds to the log: while it cannot be written, all streams wait in their order.
    turn: Mutex<()>,
    /// Whether a task tries to write what waits.
    retrying: Cell<bool>,
    /// Attached: they get bytes as they come.
    clients: RefCell<Vec<Rc<Client>>>,
    /// Following the log: they get its lines.
    followers: RefCell<Vec<Rc<Client>>>,
    folder: PathBuf,
}

/// One client's queue.
pub(super) struct Client {
    spool: RefCell<Spool>,
    changed: Notify,
    ended: Cell<bool>,
}

impl Output {
    /// Opens the log. The container's folder takes what clients have not read yet, should it grow large.
    pub(super) fn new(definition: &Definition, name: &str, paths: &Paths) -> Result<Self> {
        Ok(Self {
            log: RefCell::new(LogWriter::open(definition, name, paths)?),
            turn: Mutex::new(()),
            retrying: Cell::new(false),
            clients: RefCell::default(),
            followers: RefCell::default(),
            folder: paths.home.clone().into(),
        })
    }

    /// Hands on a piece of output. Returns when the log has it, or will have it without anybody waiting.
    pub(super) async fn write(self: &Rc<Self>, stream: LogStream, bytes: &[u8]) {
        let kind = if stream == LogStream::Stdout {
            Kind::Stdout
        } else {
            Kind::Stderr
        };
        if !self.clients.borrow().is_empty() {
            send(&self.clients, &wire::encode(kind, bytes));
        }
        let _turn = self.turn.lock().await;
        self.log_with(|log, lines| log.take(stream, bytes, lines));
        if self.flush() {
            return;
        }
        if self.log.borrow().blocks() {
            self.retry().await;
        } else if !self.retrying.replace(true) {
            let output = self.clone();
            tokio::task::spawn_local(async move {
                output.retry().await;
                output.retrying.set(false);
            });
        }
    }

    /// Changes the log, and sends followers the lines that come of it.
    fn log_with(&self, change: impl FnOnce(&mut LogWriter, Option<&mut Vec<u8>>)) {
        let mut log = self.log.borrow_mut();
        if self.followers.borrow().is_empty() {
            return change(&mut log, None);
        }
        let mut lines = Vec::new();
        change(&mut log, Some(&mut lines));
        if !lines.is_empty() {
            send(&self.followers, &wire::encode(Kind::Log, &lines));
        }
    }

    /// Writes what waits; false when that is not possible now.
    fn flush(&self) -> bool {
        self.log.borrow_mut().flush().is_ok()
    }

    /// Tries until everything is written.
    async fn retry(&self) {
        let (mut pause, longest) = PAUSES;
        loop {
            tokio::time::sleep(pause).await;
            match self.log.borrow_mut().flush() {
                Ok(()) => return,
                Err(error) if pause == longest => eprintln!("cannot write the log: {error}"),
                Err(_) => {}
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// The log's files and what is not in them yet, and with `follow` a queue of what comes after it.
    pub(super) fn read_log(&self, follow: bool) -> io::Result<Option<(Snapshot, Option<Rc<Client>>)>> {
        let Some(snapshot) = self.log.borrow().snapshot()? else {
            return Ok(None);
        };
        let follower = follow.then(|| self.client(&self.followers));
        Ok(Some((snapshot, follower)))
    }

    /// How many lines the log had no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.log.borrow().dropped()
    }

    /// Tells the log and all clients that this run of the program has no more output.
    pub(super) fn finish(&self, ended: &Ended) {
        self.log_with(LogWriter::finish);
        if let Err(error) = self.log.borrow_mut().flush() {
            eprintln!("cannot write the end of the log: {error}");
        }
        let message = serde_json::to_vec(&Reply::Exited(ended.clone())).expect("a plain struct becomes JSON");
        let message = wire::encode(Kind::Message, &message);
        for clients in [&self.clients, &self.followers] {
            send(clients, &message);
            for client in clients.take() {
                client.ended.set(true);
                client.changed.notify_one();
            }
        }
    }

    /// A new client that sees all output from here on.
    pub(super) fn subscribe(&self) -> Rc<Client> {
        self.client(&self.clients)
    }

    fn client(&self, clients: &RefCell<Vec<Rc<Client>>>) -> Rc<Client> {
        let client = Rc::new(Client {
            spool: RefCell::new(Spool::new(&self.folder)),
            changed: Notify::new(),
            ended: Cell::new(false),
        });
        clients.borrow_mut().push(client.clone());
        client
    }

    pub(super) fn unsubscribe(&self, client: &Rc<Client>) {
        for clients in [&self.clients, &self.followers] {
            clients.borrow_mut().retain(|known| !Rc::ptr_eq(known, client));
        }
    }
}

fn send(clients: &RefCell<Vec<Rc<Client>>>, frame: &[u8]) {
    clients
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
