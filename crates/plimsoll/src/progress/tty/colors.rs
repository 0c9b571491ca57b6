//! `BUILDKIT_COLORS`: `run=green:warning=yellow:error=255,80,80:cancel=cyan`.

use anstyle::{AnsiColor, Color, RgbColor, Style};

/// How the lines of a drawing are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Colors {
    /// A step that ended.
    pub(super) done: Style,
    /// One that the end of the build stopped.
    pub(super) canceled: Style,
    /// One that failed.
    pub(super) error: Style,
    /// Output of a step.
    pub(super) faint: Style,
}

impl Colors {
    /// No colour at all.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// BuildKit's colours, changed as `given` says. What is not understood changes nothing: colours are no reason to
    /// stop a build.
    pub(super) fn of(given: Option<&str>) -> Self {
        let mut colors = Self {
            done: AnsiColor::Blue.on_default(),
            canceled: AnsiColor::Yellow.on_default(),
            error: AnsiColor::Red.on_default(),
            faint: Style::new().dimmed(),
        };
        for (name, value) in given
            .unwrap_or_default()
            .split(':')
            .filter_map(|field| field.split_once('='))
        {
            let Some(color) = color(value) else { continue };
            let style = Style::new().fg_color(Some(color));
            match name {
                "run" => colors.done = style,
                "cancel" => colors.canceled = style,
                "error" => colors.error = style,
                _ => {}
            }
        }
        colors
    }
}

/// A name of BuildKit's, or red, green and blue.
fn color(text: &str) -> Option<Color> {
    let named = match text.to_ascii_lowercase().as_str() {
        "black" => AnsiColor::Black,
        "red" => AnsiColor::Red,
        "green" => AnsiColor::Green,
        "yellow" => AnsiColor::Yellow,
        "blue" => AnsiColor::Blue,
        "magenta" => AnsiColor::Magenta,
        "cyan" => AnsiColor::Cyan,
        "white" => AnsiColor::White,
        "light-black" | "light-gray" | "light-grey" => AnsiColor::BrightBlack,
        "light-red" => AnsiColor::BrightRed,
        "light-green" => AnsiColor::BrightGreen,
        "light-yellow" => AnsiColor::BrightYellow,
        "light-blue" => AnsiColor::BrightBlue,
        "light-magenta" => AnsiColor::BrightMagenta,
        "light-cyan" => AnsiColor::BrightCyan,
        "light-white" => AnsiColor::BrightWhite,
        _ => return rgb(text),
    };
    Some(named.into())
}

fn rgb(text: &str) -> Option<Color> {
    let mut parts = text.split(',').map(|part| part.trim().parse::<u8>().ok());
    let color = RgbColor(parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(color.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildkits_words() {
        let plain = Colors::of(None);
        let given = Colors::of(Some("run=light-green:error=1,2,3:cancel=mauve:what=red:x"));
        assert_eq!(given.done, AnsiColor::BrightGreen.on_default());
        assert_eq!(given.error, Style::new().fg_color(Some(RgbColor(1, 2, 3).into())));
        assert_eq!(given.canceled, plain.canceled);
        assert_eq!(Colors::of(Some("run=1,2,3,4:error=256,0,0")), plain);
    }
}
