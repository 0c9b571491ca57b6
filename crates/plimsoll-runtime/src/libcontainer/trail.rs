//! The library's errors are short ("failed to prepare rootfs"); its log names the cause. The trail reads along.

use crate::RuntimeError;
use rustix::pipe::PipeFlags;
use std::fmt::{Debug, Write as _};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Events of level error, also those of child processes: they inherit the subscriber and the pipe it writes to.
pub(super) struct Trail {
    read: OwnedFd,
    write: Arc<OwnedFd>,
}

impl Trail {
    pub(super) fn new() -> Result<Self, RuntimeError> {
        // Without blocking: a trail that is full loses what is later, and the first line is the deepest cause.
        let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
        let (read, write) = pipe.map_err(io::Error::from)?;
        Ok(Self {
            read,
            write: Arc::new(write),
        })
    }

    pub(super) fn follow<T>(&self, call: impl FnOnce() -> T) -> T {
        tracing::subscriber::with_default(Writer(self.write.clone()), call)
    }

    /// The first thing that went wrong.
    pub(super) fn first(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = rustix::io::read(&self.read, &mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        text.lines().next().map(str::to_owned)
    }
}

struct Writer(Arc<OwnedFd>);

impl Subscriber for Writer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}\n", line.message, line.fields).replace("\n", " ");
        let _ = rustix::io::write(&*self.0, format!("{}\n", text.trim_end()).as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, ", {name}: {value:?}"),
        };
        written.expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_kept() {
        let trail = Trail::new().unwrap();
        assert_eq!(trail.first(), None);
        trail.follow(|| {
            tracing::info!("nothing");
            tracing::error!(err = ?Some(2), "cannot mount {}", "x");
            tracing::error!("cannot go on");
        });
        assert_eq!(trail.first().unwrap(), "cannot mount x, err: Some(2)");
    }
}
