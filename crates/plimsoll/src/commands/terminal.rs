//! The user's terminal while a container has it: raw mode, size, detach keys.

use std::io::{self, IsTerminal as _, Read as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::command_error::CommandError;

/// Raw mode of standard input; what was before is back when this is dropped.
pub(crate) struct RawMode(Termios);

impl RawMode {
    /// None when standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Rows and columns of the user's terminal, if there is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stdin()))
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// A container's terminal needs one to be typed on.
pub(crate) fn check_input(interactive: bool, tty: bool) -> Result<(), CommandError> {
    if interactive && tty && !io::stdin().is_terminal() {
        return Err(CommandError::user("the input device is not a TTY")
            .hint("without `-t` input can come from a pipe or file"));
    }
    Ok(())
}

/// Standard input in pieces, read by a thread; the end is an empty piece.
///
/// A thread because reading cannot be cancelled: it ends with the process.
pub(crate) fn input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        loop {
            let count = match io::stdin().lock().read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if sender.blocking_send(buffer[..count].to_vec()).is_err() || count == 0 {
                return;
            }
        }
    });
    receiver
}

/// The keys that leave a container running where no others are named; Docker's.
pub(super) const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

/// Looks for the keys that end an attachment, such as ctrl-p,ctrl-q.
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Parses Docker's notation: keys or `ctrl-<key>`, separated by commas.
    pub(crate) fn parse(text: &str) -> Result<Self, CommandError> {
        let keys = text.split(',').map(|word| match word.as_bytes() {
            [key] => Some(*key),
            [b'c', b't', b'r', b'l', b'-', key] => match key.to_ascii_lowercase() {
                key @ b'a'..=b'z' => Some(key - b'a' + 1),
                b'@' => Some(0),
                key @ (b'[' | b'\\' | b']' | b'^' | b'_') => Some(key - b'@'),
                _ => None,
            },
            _ => None,
        });
        let keys: Option<Vec<u8>> = keys.collect();
        let keys = keys.ok_or_else(|| CommandError::usage(format!("invalid detach keys `{text}`")))?;
        Ok(Self { keys, matched: 0 })
    }

    /// Returns what is to be passed on, and whether the keys are complete. A key that may be the first of them waits.
    pub(crate) fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(input.len());
        for byte in input {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(*byte == self.keys[0]);
            if self.matched == 0 {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_docker_writes_them() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q").unwrap().keys, [16, 17]);
        assert_eq!(DetachKeys::parse("a,ctrl-[,ctrl-@").unwrap().keys, [b'a', 27, 0]);
        assert!(DetachKeys::parse("ctrl-1").is_err() && DetachKeys::parse("").is_err());
    }

    #[test]
    fn a_half_typed_sequence_is_passed_on() {
        let mut keys = DetachKeys::parse("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(keys.filter(b"\x10\x10\x11rest"), (b"\x10".to_vec(), true));
    }
}
