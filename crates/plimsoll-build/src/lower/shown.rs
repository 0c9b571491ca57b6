//! Values as BuildKit writes them into the history of an image: in the words of Go's `fmt`, `%q` and `%v`.
//!
//! Tools read these lines, so they are the same to the letter, odd as some look.

use std::fmt::Write as _;

use plimsoll_oci::Healthcheck;

/// `["node" "server.js"]`
pub(super) fn quoted<T: AsRef<str>>(words: &[T]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word.as_ref())).collect();
    format!("[{}]", words.join(" "))
}

/// `[/bin/bash -c]`
pub(super) fn plain(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

/// `&{["CMD-SHELL" "true"] "30s" "0s" "0s" "0s" '\x03'}`: the pointer to its structure, in fields.
pub(super) fn healthcheck(check: &Healthcheck) -> String {
    let times = [
        check.interval,
        check.timeout,
        check.start_period,
        check.start_interval,
    ];
    let times: Vec<String> = times.map(|time| quote(&duration(time))).into();
    // A number is quoted as the letter it stands for.
    let retries = u32::try_from(check.retries).ok().and_then(char::from_u32);
    format!(
        "&{{{} {} {}}}",
        quoted(&check.test),
        times.join(" "),
        delimited(&retries.unwrap_or('\u{fffd}').to_string(), '\'')
    )
}

fn quote(text: &str) -> String {
    delimited(text, '"')
}

/// Go's `strconv.Quote` and `strconv.QuoteRune`.
fn delimited(text: &str, delimiter: char) -> String {
    let mut quoted = String::from(delimiter);
    for letter in text.chars() {
        match letter {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' => quoted.push_str("\\\\"),
            letter if letter == delimiter => quoted.extend(['\\', letter]),
            letter if letter.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(letter));
            }
            letter if letter != ' ' && (letter.is_control() || letter.is_whitespace()) => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push(delimiter);
    quoted
}

/// Go's `time.Duration.String`: `1h0m0s`, `1.5s`, `500ms`.
fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let text = match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(total, 1_000_000)),
        _ => {
            let (minutes, rest) = (total / 60_000_000_000, total % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// `value / unit`, without zeros at the end.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, part) = (value / unit, value % unit);
    if part == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let part = format!("{part:0digits$}");
    format!("{whole}.{}", part.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_go_does() {
        assert_eq!(
            quoted(&["/bin/x", "y<z", "a \"b\" \\ 'c'"]),
            r#"["/bin/x" "y<z" "a \"b\" \\ 'c'"]"#
        );
        assert_eq!(
            quoted(&["a\nb\t\u{1b}\u{7f}\u{a0}ü"]),
            r#"["a\nb\t\x1b\x7f\u00a0ü"]"#
        );
        assert_eq!(quoted::<&str>(&[]), "[]");
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_000_000_001, "-1.000000001s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    /// The lines are Docker 28's.
    #[test]
    fn health_checks_are_structures() {
        let check = Healthcheck {
            test: ["CMD", "wget", "a b"].map(str::to_owned).into(),
            interval: 90_000_000_000,
            timeout: 0,
            start_period: 1_000_000_000,
            start_interval: 500_000_000,
            retries: 2,
        };
        assert_eq!(
            healthcheck(&check),
            r#"&{["CMD" "wget" "a b"] "1m30s" "0s" "1s" "500ms" '\x02'}"#
        );
        let retries = |retries| {
            let text = healthcheck(&Healthcheck {
                retries,
                ..Healthcheck::default()
            });
            text.trim_end_matches('}').rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(
            [retries(0), retries(10), retries(39)],
            [r"'\x00'", r"'\n'", r"'\''"]
        );
    }
}
