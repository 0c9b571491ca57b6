//! Output of several containers on one terminal: `web-1  | listening`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use plimsoll_container::{ContainerError, Containers, LogLine, LogQuery, LogReader, LogStream};
use tokio::sync::{mpsc, oneshot};

use super::members::Member;
use crate::command_error::CommandError;
use crate::output::table::width;

/// Colours of prefixes, in the order in which containers get them; Compose's.
const COLORS: [&str; 10] = [
    "36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1",
];

/// How lines are shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Form {
    /// Begin with the name of the container.
    pub(crate) prefix: bool,
    /// Colour it.
    pub(crate) color: bool,
    /// Then the time.
    pub(crate) timestamps: bool,
    /// What containers write to standard error goes there, too.
    pub(crate) splits: bool,
}

/// What of a log is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// The last so many lines of each container.
    pub(crate) tail: Option<usize>,
    /// What is written from now on, too.
    pub(crate) follow: bool,
}

/// How far a container's log was printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printed {
    /// Whether somebody still reads.
    pub(crate) is_read: bool,
    /// What comes later was not printed.
    pub(crate) until: Timestamp,
    /// How the last run ended that was followed. Somebody may have started another since.
    pub(crate) exit_code: Option<i32>,
}

/// Prints lines of many containers, each whole. Cheap to clone.
///
/// A thread writes, so that a terminal that is stopped stops no signals; [`Printer::finish`] waits for it.
#[derive(Clone)]
pub(crate) struct Printer {
    form: Form,
    names: Arc<Mutex<Names>>,
    lines: mpsc::Sender<Piece>,
}

/// Tells when the thread that writes has ended. Not joined: what it writes to may be full for as long as it likes.
pub(crate) struct Writing(oneshot::Receiver<()>);

struct Piece {
    stream: LogStream,
    text: Vec<u8>,
}

#[derive(Default)]
struct Names {
    width: usize,
    colors: HashMap<String, &'static str>,
}

impl Names {
    fn add(&mut self, name: &str) {
        let next = COLORS[self.colors.len() % COLORS.len()];
        self.colors.entry(name.to_owned()).or_insert(next);
        self.width = self.width.max(width(name) + 1);
    }

    fn prefix(&mut self, name: &str, color: bool) -> String {
        self.add(name);
        let gap = self.width - width(name);
        match color {
            true => format!("\x1b[{}m{name}{:gap$} | \x1b[0m", self.colors[name], ""),
            false => format!("{name}{:gap$} | ", ""),
        }
    }
}

impl Printer {
    /// Begins to write.
    pub(crate) fn start(form: Form) -> (Self, Writing) {
        let (lines, receiver) = mpsc::channel(16);
        let (ended, has_ended) = oneshot::channel();
        std::thread::spawn(move || {
            write_all(receiver);
            // Whoever was interrupted waits for nothing.
            let _ = ended.send(());
        });
        let names = Arc::default();
        (Self { form, names, lines }, Writing(has_ended))
    }

    /// Makes room for names before their first line, so that all columns are the same.
    pub(crate) fn expect<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut known = self.names.lock().expect("nothing panics with it");
        names.into_iter().for_each(|name| known.add(name));
    }

    /// Prints a line of our own about a container: `web-1 exited with code 0`. False when nobody reads any more.
    pub(crate) async fn say(&self, name: &str, what: &str) -> bool {
        let text = match self.form.prefix && self.form.color {
            true => {
                let mut names = self.names.lock().expect("nothing panics with it");
                names.add(name);
                format!("\x1b[{}m{name}\x1b[0m {what}\n", names.colors[name])
            }
            false => format!("{name} {what}\n"),
        };
        self.send(LogStream::Stdout, text.into_bytes()).await
    }

    /// Prints lines about all of them, under a sign where the others have their prefix: `  ⦿ Watch enabled`.
    pub(crate) async fn announce(&self, text: &str) {
        let width = match self.form.prefix {
            true => self.names.lock().expect("nothing panics with it").width + 1,
            false => 0,
        };
        let (begin, end) = if self.form.color {
            ("\x1b[92m", "\x1b[0m")
        } else {
            ("", "")
        };
        let lines = text
            .lines()
            .map(|line| format!("{begin}{:width$}⦿ {end}{line}\n", ""));
        self.send(LogStream::Stdout, lines.collect::<String>().into_bytes())
            .await;
    }

    /// Prints what a container has written and, if asked to, writes until it ends and its restart policy does not start it
    /// again.
    pub(crate) async fn print(
        &self,
        containers: &Containers,
        member: &Member,
        project: &str,
        window: Window,
    ) -> Result<Printed, CommandError> {
        let name = member.short_name(project);
        let mut restarts = member.container.state.restart_count;
        // What the next run writes is younger than what was read last.
        let (mut window, mut last) = (window, Timestamp::now());
        let printed = |is_read, until, exit_code| {
            Ok(Printed {
                is_read,
                until,
                exit_code,
            })
        };
        loop {
            let query = LogQuery {
                tail: window.tail,
                follow: window.follow,
            };
            let Some((mut reader, _)) = containers.logs(&member.container, query).await? else {
                let is_read = self.say(name, "has a logging driver that cannot be read").await;
                return printed(is_read, last, None);
            };
            let is_read = self.copy(&mut reader, name, window, &mut last).await?;
            let Some(code) = reader.exit_code().filter(|_| is_read) else {
                return printed(is_read, last, None);
            };
            let count = match containers.get(member.container.id()) {
                Err(ContainerError::NotFound { .. }) => 0,
                found => found?.state.restart_count,
            };
            if count <= restarts {
                return printed(true, last, Some(code));
            }
            restarts = count;
            let what = format!("exited with code {code} (restarting)");
            if !self.say(name, &what).await {
                return printed(false, last, None);
            }
            window.since = Some(last + std::time::Duration::from_nanos(1));
            window.tail = None;
        }
    }

    async fn copy(
        &self,
        reader: &mut LogReader,
        name: &str,
        window: Window,
        last: &mut Timestamp,
    ) -> Result<bool, CommandError> {
        let mut text = Vec::new();
        let mut stream = LogStream::Stdout;
        loop {
            // What there is goes out before we wait for more.
            if (!reader.is_ready() || text.len() > 64 << 10)
                && !self.send(stream, std::mem::take(&mut text)).await
            {
                return Ok(false);
            }
            let Some(line) = reader.next().await? else { break };
            *last = line.time.max(*last);
            if window.since.is_some_and(|since| line.time < since) {
                continue;
            }
            if window.until.is_some_and(|until| line.time > until) {
                break;
            }
            let next = match self.form.splits {
                true => line.stream,
                false => LogStream::Stdout,
            };
            if next != stream && !self.send(stream, std::mem::take(&mut text)).await {
                return Ok(false);
            }
            stream = next;
            self.write(&mut text, name, &line);
        }
        Ok(self.send(stream, text).await)
    }

    fn write(&self, out: &mut Vec<u8>, name: &str, line: &LogLine) {
        if self.form.prefix {
            let mut names = self.names.lock().expect("nothing panics with it");
            out.extend(names.prefix(name, self.form.color).into_bytes());
        }
        if self.form.timestamps {
            let time = line.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ");
            out.extend(time.to_string().into_bytes());
        }
        out.extend(line.log.as_bytes());
        // The end of a line that was cut, or of a prompt: another container's must not follow on the same line.
        if !line.log.ends_with('\n') {
            out.push(b'\n');
        }
    }

    async fn send(&self, stream: LogStream, text: Vec<u8>) -> bool {
        text.is_empty() || self.lines.send(Piece { stream, text }).await.is_ok()
    }

    /// Waits until all is written.
    pub(crate) async fn finish(self, writing: Writing) {
        drop(self);
        let _ = writing.0.await;
    }
}

/// Writes until all printers are gone, or nobody reads any more.
fn write_all(mut pieces: mpsc::Receiver<Piece>) {
    let write = |out: &mut dyn Write, text: &[u8]| out.write_all(text).and_then(|()| out.flush());
    while let Some(piece) = pieces.blocking_recv() {
        let written = match piece.stream {
            LogStream::Stdout => write(&mut io::stdout().lock(), &piece.text),
            LogStream::Stderr => write(&mut io::stderr().lock(), &piece.text),
        };
        if written.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_as_wide_as_the_widest_name() {
        let mut names = Names::default();
        names.add("web-10");
        assert_eq!(names.prefix("db-1", false), "db-1    | ");
        assert_eq!(names.prefix("web-10", true), "\u{1b}[36mweb-10  | \u{1b}[0m");
        assert_eq!(names.prefix("db-1", true), "\u{1b}[33mdb-1    | \u{1b}[0m");
    }
}
