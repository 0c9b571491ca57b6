//! The instructions whose arguments are a command, a list or simply the rest of the line.

use super::Statement;
use crate::fault::{Fault, Result};
use crate::line::Slice;
use crate::pasted;
use crate::tree::{Command, Word};
use crate::words::json_strings;

/// The rest of the line, blanks included (USER, WORKDIR, MAINTAINER).
pub(super) fn rest(statement: &Statement<'_>) -> Result<Word> {
    match statement.arguments.is_empty() {
        true => Err(statement.needs_arguments()),
        false => Ok(statement.arguments.word()),
    }
}

/// A command in exec or shell form (RUN, CMD, ENTRYPOINT).
pub(super) fn command(statement: &Statement<'_>, warnings: &mut Vec<Fault>) -> Result<Command> {
    match statement.arguments.is_empty() {
        true => Err(statement.needs_arguments()),
        false => command_in(statement.arguments, warnings),
    }
}

pub(super) fn command_in(text: Slice<'_>, warnings: &mut Vec<Fault>) -> Result<Command> {
    if let Some(arguments) = json_strings(text)? {
        return Ok(Command::Exec(arguments));
    }
    warnings.extend(pasted::list_warning(text));
    Ok(Command::Shell(text.word()))
}

/// Words between blanks (EXPOSE).
pub(super) fn words(statement: &Statement<'_>) -> Result<Vec<Word>> {
    let words: Vec<Word> = statement.arguments.words().into_iter().map(Slice::word).collect();
    if words.is_empty() {
        Err(statement.needs_arguments())
    } else {
        Ok(words)
    }
}

pub(super) fn volumes(statement: &Statement<'_>, warnings: &mut Vec<Fault>) -> Result<Vec<Word>> {
    let volumes = statement.list()?;
    if volumes.is_empty() {
        return Err(statement.needs_arguments());
    }
    if let Some(empty) = volumes.iter().find(|volume| volume.value.trim().is_empty()) {
        return Err(Fault::error(
            "empty-volume",
            empty.span,
            "VOLUME needs a path, not an empty string",
        ));
    }
    warnings.extend(pasted::list_warning(statement.arguments));
    Ok(volumes)
}

pub(super) fn shell(statement: &Statement<'_>) -> Result<Vec<Word>> {
    if statement.arguments.is_empty() {
        return Err(statement.needs_arguments());
    }
    match json_strings(statement.arguments)? {
        Some(words) if words.is_empty() => Err(statement.needs_arguments()),
        Some(words) => Ok(words),
        None => Err(Fault::error(
            "shell-form",
            statement.arguments.span(),
            "SHELL takes a JSON array only",
        )
        .or_help(|| Some("write it as `SHELL [\"/bin/bash\", \"-c\"]`".into()))),
    }
}

/// A signal's name or number; checked here unless a variable stands in it.
pub(super) fn signal(statement: &Statement<'_>) -> Result<Word> {
    let word = rest(statement)?;
    let known = word.value.contains(['$', '"', '\'']) || is_signal(&word.value);
    match known {
        true => Ok(word),
        false => {
            let message = format!("`{}` is not a signal", word.value);
            let nearest = plimsoll_diagnostics::nearest(bare(&word.value).as_str(), SIGNALS);
            let fault = Fault::error("unknown-signal", word.span, message);
            Err(match nearest {
                Some(name) => fault.help(format!("did you mean `SIG{name}`?")),
                None => fault,
            })
        }
    }
}

/// Linux's signals without their prefix; the real-time ones are counted from RTMIN and RTMAX.
const SIGNALS: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

fn bare(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("SIG").map(str::to_owned).unwrap_or(name)
}

fn is_signal(name: &str) -> bool {
    if let Ok(number) = name.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = bare(name);
    let offset = name
        .strip_prefix("RTMIN+")
        .or_else(|| name.strip_prefix("RTMAX-"));
    SIGNALS.contains(&name.as_str())
        || offset.is_some_and(|offset| offset.parse::<u8>().is_ok_and(|offset| offset <= 30))
}
