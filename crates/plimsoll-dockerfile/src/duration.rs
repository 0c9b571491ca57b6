//! Go's `time.ParseDuration`: `300ms`, `1.5h`, `1h30m`.

/// Nanoseconds in each unit.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// Returns the nanoseconds, or `None` for what is no duration or too long a one.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(sign * total)
}

/// Reads a number and its unit.
fn part(text: &str) -> Option<(i64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<i64>().ok()?.checked_mul(*unit)?
    };
    whole
        .checked_add(fraction_of(fraction, *unit))
        .map(|total| (total, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Returns `0.DIGITS` times the unit, rounded down.
fn fraction_of(digits: &str, unit: i64) -> i64 {
    // No unit has more than 13 digits; further ones cannot count.
    let digits = &digits[..digits.len().min(15)];
    let numerator: i128 = digits.parse().unwrap_or(0);
    let value = numerator * i128::from(unit) / 10i128.pow(digits.len() as u32);
    i64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_as_go_does() {
        let second = 1_000_000_000;
        let table = [
            ("0", Some(0)),
            ("30s", Some(30 * second)),
            ("1h30m", Some(5400 * second)),
            ("1m0.5s", Some(60 * second + second / 2)),
            (".5s", Some(second / 2)),
            ("1.s", Some(second)),
            ("1.0000000000000000000000001s", Some(second)),
            ("-3ms", Some(-3_000_000)),
            ("+5us", Some(5_000)),
            ("5µs", Some(5_000)),
            ("7ns", Some(7)),
            ("30", None),
            ("s", None),
            (".s", None),
            ("", None),
            ("-", None),
            ("3 s", None),
            ("3d", None),
            ("1e3s", None),
            ("9999999999h", None),
            ("99999999999999999999s", None),
        ];
        for (text, nanoseconds) in table {
            assert_eq!(parse(text), nanoseconds, "{text}");
        }
    }
}
