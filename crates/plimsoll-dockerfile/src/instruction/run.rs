//! RUN.

use super::{Statement, plain};
use crate::fault::{Fault, Result};
use crate::flags::{Known, Takes};
use crate::tree::{Command, Run};

pub(super) const FLAGS: &Known = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];

pub(super) fn parse(statement: &Statement<'_>, warnings: &mut Vec<Fault>) -> Result<Run> {
    let flags = &statement.flags;
    let command = plain::command(statement, warnings)?;
    if matches!(&command, Command::Exec(arguments) if arguments.is_empty()) {
        return Err(statement.needs_arguments());
    }
    Ok(Run {
        mounts: flags.values("mount"),
        network: flags.value("network"),
        security: flags.value("security"),
        devices: flags.values("device"),
        command,
        heredocs: statement
            .heredocs
            .iter()
            .map(|found| found.heredoc.clone())
            .collect(),
    })
}
