//! HEALTHCHECK.

use super::{Statement, plain};
use crate::duration;
use crate::fault::{Fault, Result};
use crate::flags::{Flags, Known, Takes};
use crate::tree::HealthcheckInstruction;

pub(super) const FLAGS: &Known = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

/// Docker's minimum, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

pub(super) fn parse(statement: &Statement<'_>, warnings: &mut Vec<Fault>) -> Result<HealthcheckInstruction> {
    let (kind, rest) = statement.arguments.split_first();
    match kind.as_str().to_ascii_uppercase().as_str() {
        "" => Err(statement.needs_arguments()),
        "NONE" if rest.is_empty() => Ok(HealthcheckInstruction::None),
        "NONE" => Err(Fault::error(
            "healthcheck-none",
            rest.span(),
            "HEALTHCHECK NONE takes no arguments",
        )),
        "CMD" if rest.is_empty() => Err(Fault::error(
            "missing-argument",
            kind.span(),
            "HEALTHCHECK CMD needs a command",
        )),
        "CMD" => {
            let flags = &statement.flags;
            Ok(HealthcheckInstruction::Command {
                command: plain::command_in(rest, warnings)?,
                interval: time(flags, "interval")?,
                timeout: time(flags, "timeout")?,
                start_period: time(flags, "start-period")?,
                start_interval: time(flags, "start-interval")?,
                retries: retries(flags)?,
            })
        }
        _ => {
            let message = format!("HEALTHCHECK is `CMD` or `NONE`, not `{}`", kind.as_str());
            let help = format!("write `HEALTHCHECK CMD {}`", statement.arguments.as_str());
            Err(Fault::error("healthcheck-type", kind.span(), message).help(help))
        }
    }
}

/// Reads a duration; zero stands for the default, as if the flag were not there.
fn time(flags: &Flags, name: &str) -> Result<Option<i64>> {
    let Some(word) = flags.value(name) else {
        return Ok(None);
    };
    let fault = |message: String| Fault::error("duration", word.span, message);
    match duration::parse(&word.value) {
        Some(0) => Ok(None),
        Some(nanoseconds) if nanoseconds >= SHORTEST => Ok(Some(nanoseconds)),
        Some(_) => Err(fault(format!("`--{name}={}` is shorter than 1ms", word.value))),
        None => {
            let help = match word.value.parse::<u64>() {
                Ok(number) => format!("a unit is missing: `{number}s`"),
                Err(_) => "durations look like `30s`, `1m30s` or `500ms`".into(),
            };
            Err(fault(format!("`{}` is no duration", word.value)).help(help))
        }
    }
}

fn retries(flags: &Flags) -> Result<Option<i64>> {
    let Some(word) = flags.value("retries") else {
        return Ok(None);
    };
    match word.value.parse::<i32>() {
        Ok(0) => Ok(None),
        Ok(number) if number > 0 => Ok(Some(number.into())),
        _ => {
            let message = format!("`--retries={}` is not a number of times", word.value);
            Err(Fault::error("retries", word.span, message))
        }
    }
}
