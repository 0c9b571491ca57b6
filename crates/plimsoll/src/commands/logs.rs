//! `logs`, `container logs`

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_container::{LogLine, LogQuery, LogReader, LogStream};

use super::containers::containers;
use super::session::print;
use crate::command_error::CommandError;
use crate::context::Context;

/// Print what a container has written
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on with what it writes from now on, until it ends
    #[arg(short, long)]
    follow: bool,
    /// Print the last so many lines only
    #[arg(
        short = 'n',
        long,
        visible_alias = "lines",
        value_name = "NUMBER",
        default_value = "all"
    )]
    tail: String,
    /// Print what is newer than a time, or than a duration ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print what is older than a time, or than a duration ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    /// Print what `--log-opt labels=..,env=..,tag=..` keep beside each line
    #[arg(long)]
    details: bool,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let now = Timestamp::now();
    let window = Window {
        since: args.since.as_deref().map(|text| moment(text, now)).transpose()?,
        until: args.until.as_deref().map(|text| moment(text, now)).transpose()?,
        timestamps: args.timestamps,
        details: args.details,
    };
    let query = LogQuery {
        // Docker reads what is no number as all.
        tail: args.tail.parse().ok(),
        // Nothing that comes is wanted when its time has passed already.
        follow: args.follow && window.until.is_none_or(|until| until > now),
    };
    let containers = containers(context)?;
    let container = containers.get(&args.container)?;
    containers.revive(&container)?;
    let Some((mut reader, dropped)) = containers.logs(&container, query).await? else {
        return Err(CommandError::user(
            "configured logging driver does not support reading",
        ));
    };
    if dropped > 0 {
        context.warn(format_args!(
            "{dropped} lines were dropped: the log could not be written in time, and `mode=non-blocking` does not wait"
        ));
    }
    window.print(&mut reader).await?;
    Ok(ExitCode::SUCCESS)
}

/// What of a log is wanted, and how.
struct Window {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    timestamps: bool,
    details: bool,
}

impl Window {
    /// Prints to the end, or until nobody reads any more, or nothing that is wanted can follow.
    async fn print(&self, reader: &mut LogReader) -> Result<(), CommandError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            // What there is goes out before we wait for more.
            if !reader.is_ready() && !flush(std::mem::take(&mut stdout), std::mem::take(&mut stderr)).await? {
                return Ok(());
            }
            let Some(line) = self.next(reader).await? else {
                break;
            };
            if self.since.is_some_and(|since| line.time < since) {
                continue;
            }
            if self.until.is_some_and(|until| line.time > until) {
                break;
            }
            let (own, other) = match line.stream {
                LogStream::Stdout => (&mut stdout, &mut stderr),
                LogStream::Stderr => (&mut stderr, &mut stdout),
            };
            // Lines of both streams on one terminal stay in order.
            let full = !other.is_empty() || own.len() > 256 << 10;
            if full && !flush(std::mem::take(&mut stdout), std::mem::take(&mut stderr)).await? {
                return Ok(());
            }
            let own = match line.stream {
                LogStream::Stdout => &mut stdout,
                LogStream::Stderr => &mut stderr,
            };
            self.write(own, &line)?;
        }
        flush(stdout, stderr).await?;
        Ok(())
    }

    /// The next line. What follows is over at the end of the window, even if nothing is written; what is there by then
    /// is read, however long that takes.
    async fn next(&self, reader: &mut LogReader) -> Result<Option<LogLine>, CommandError> {
        let Some(until) = self.until.filter(|_| !reader.is_ready()) else {
            return Ok(reader.next().await?);
        };
        let left = std::time::Duration::try_from(until.duration_since(Timestamp::now()));
        match tokio::time::timeout(left.unwrap_or_default(), reader.next()).await {
            Ok(line) => Ok(line?),
            Err(_) => Ok(None),
        }
    }

    fn write(&self, out: &mut Vec<u8>, line: &LogLine) -> io::Result<()> {
        if self.timestamps {
            write!(out, "{} ", line.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"))?;
        }
        if self.details {
            // Docker writes them even when there are none.
            let attributes = line
                .attrs
                .iter()
                .map(|(name, value)| format!("{}={}", query_escape(name), query_escape(value)));
            write!(out, "{} ", attributes.collect::<Vec<_>>().join(","))?;
        }
        out.write_all(line.log.as_bytes())
    }
}

/// As in the query of a URL.
fn query_escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

async fn flush(stdout: Vec<u8>, stderr: Vec<u8>) -> Result<bool, CommandError> {
    let mut open = true;
    if !stdout.is_empty() {
        open &= print(io::stdout, stdout).await?;
    }
    if !stderr.is_empty() {
        open &= print(io::stderr, stderr).await?;
    }
    Ok(open)
}

/// A time as Docker takes it: RFC 3339 (without a zone: local), seconds since 1970, or a duration ago.
pub(super) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, CommandError> {
    let wrong = || {
        CommandError::user(format!(
            "invalid time `{text}`: expected a date and time, or a duration such as 10m"
        ))
    };
    if let Some(seconds) = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()) {
        let since_epoch = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        return Timestamp::UNIX_EPOCH
            .checked_add(since_epoch)
            .map_err(|_| wrong());
    }
    if let Ok(ago) = super::container_options::duration(text) {
        return now.checked_sub(ago).map_err(|_| wrong());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local = text.parse::<jiff::civil::DateTime>().map_err(|_| wrong())?;
    Ok(local
        .to_zoned(jiff::tz::TimeZone::system())
        .map_err(|_| wrong())?
        .timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_docker_takes_them() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = |text| moment(text, now).unwrap().to_string();
        assert_eq!(at("10m"), "2026-11-21T11:50:00Z");
        assert_eq!(at("2026-11-20T01:02:03Z"), "2026-11-20T01:02:03Z");
        assert_eq!(at("1700000000.5"), "2023-11-14T22:13:20.5Z");
        assert!(moment("2026-11-20T01:02:03", now).is_ok() && moment("2026-11-20", now).is_ok());
        assert!(moment("yesterday", now).is_err());
    }

    #[test]
    fn timestamps_have_nine_digits() {
        let window = Window {
            since: None,
            until: None,
            timestamps: true,
            details: false,
        };
        let line = LogLine {
            log: "x\n".into(),
            stream: LogStream::Stdout,
            attrs: Default::default(),
            time: "2026-01-01T00:00:00.5Z".parse().unwrap(),
        };
        let mut out = Vec::new();
        window.write(&mut out, &line).unwrap();
        assert_eq!(out, b"2026-01-01T00:00:00.500000000Z x\n");
    }
}
