//! Sizes and ages as Docker words them.

use std::time::Duration;

use jiff::Timestamp;

/// A size with powers of 1000 and three significant digits: `2.02MB`.
pub(crate) fn human_size(bytes: u64) -> String {
    human_size_with(bytes, 3)
}

/// A size with powers of 1000 and `precision` significant digits.
pub(crate) fn human_size_with(bytes: u64, precision: usize) -> String {
    scaled(
        bytes,
        1000.0,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB"],
        precision,
    )
}

/// A size of memory, with powers of 1024 and four significant digits: `440KiB`, `23.54GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

fn scaled(bytes: u64, base: f64, units: &[&str], precision: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded to a few digits anyway")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, precision), units[unit])
}

/// C's `%.{precision}g`, without exponents: trailing zeros are dropped.
fn significant(value: f64, precision: usize) -> String {
    let before_point = value.abs().log10().floor().max(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 3"
    )]
    let decimals = precision.saturating_sub(before_point as usize + 1);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// How long ago: `2 minutes ago`; of a time to come: `Less than a second ago`.
pub(crate) fn ago(then: Timestamp) -> String {
    ago_at(then, Timestamp::now())
}

/// How long before `now`.
pub(crate) fn ago_at(then: Timestamp, now: Timestamp) -> String {
    let elapsed = Duration::try_from(now.duration_since(then)).unwrap_or_default();
    format!("{} ago", human_duration(elapsed))
}

/// A duration in Docker's words: `About an hour`, `3 weeks`.
pub(crate) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (2_023_456, "2.02MB"),
            (72_800_000, "72.8MB"),
            (179_000_000, "179MB"),
            (1_100_000_000, "1.1GB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
        assert_eq!(human_size_with(2_023_456, 4), "2.023MB");
        for (bytes, text) in [
            (0, "0B"),
            (450_560, "440KiB"),
            (25_276_000_000, "23.54GiB"),
            (10 << 20, "10MiB"),
        ] {
            assert_eq!(binary_size(bytes), text);
        }
    }

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (3 * 86400, "3 days"),
            (30 * 86400, "4 weeks"),
            (100 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), text);
        }
    }
}
