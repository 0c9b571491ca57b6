//! `system check`

mod pieces;

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::Containers;
use plimsoll_store::Leak;

use self::pieces::{Piece, Status};
use crate::command_error::CommandError;
use crate::context::Context;

/// Exit code where it could not be looked.
const BLIND: u8 = 2;

/// Look whether something is wrong with this machine or this root
///
/// Lists what this machine has to have for you, and says of each missing piece which line installs or enables it on Debian and
/// Ubuntu. With `--leaks`: whether processes that were killed left something behind, such as a mount, a network device, an address or a
/// lock. Ends with 1 when something is found, and with 2 when it could not look.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// List what processes that were killed left behind
    #[arg(long)]
    leaks: bool,
    /// Form of the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `--format`
#[derive(clap::ValueEnum, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line for each.
    #[default]
    Text,
    /// One object.
    Json,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    match args.leaks {
        true => leaks(args.format, context),
        false => machine(args.format, context),
    }
}

fn machine(format: Format, context: &Context) -> Result<ExitCode, CommandError> {
    let pieces = pieces::all();
    let mut out = context.stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::json!({ "pieces": pieces }))?,
        Format::Text => print_pieces(&mut out, &pieces)?,
    }
    let whole = pieces.iter().all(|piece| piece.status != Status::Missing);
    Ok(ExitCode::from(u8::from(!whole)))
}

fn print_pieces(out: &mut impl std::io::Write, pieces: &[Piece]) -> std::io::Result<()> {
    let width = pieces.iter().map(|piece| piece.name.len()).max().unwrap_or(0);
    for piece in pieces {
        let status = match piece.status {
            Status::Ok => "ok",
            Status::Missing => "missing",
            Status::Note => "note",
        };
        writeln!(out, "{status:<8} {:<width$}  {}", piece.name, piece.detail)?;
        if let Some(fix) = &piece.fix {
            writeln!(out, "{:9}{:<width$}  $ {fix}", "", "")?;
        }
    }
    Ok(())
}

/// A root that nobody has used yet has lost nothing, and looking makes none.
fn leaks(format: Format, context: &Context) -> Result<ExitCode, CommandError> {
    let found = match context.root().join("layout-version").exists() {
        true => look(context).map_err(|error| error.with_exit_code(BLIND))?,
        false => Vec::new(),
    };
    let mut out = context.stdout();
    match format {
        Format::Json => {
            let report = serde_json::json!({ "leaks": found });
            writeln!(out, "{report}")?;
        }
        Format::Text if found.is_empty() => writeln!(out, "No leaks")?,
        Format::Text => print(&mut out, &found)?,
    }
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if format == Format::Text {
        let hint = "`plimsoll system restore` clears them away, and starts the containers that should run";
        write!(
            context.stderr(),
            "{}",
            plimsoll_diagnostics::emit::text::hint(hint, context.color())
        )?;
    }
    Ok(ExitCode::FAILURE)
}

fn look(context: &Context) -> Result<Vec<Leak>, CommandError> {
    Ok(Containers::new(context.store()?, context.program()).leaks()?)
}

fn print(out: &mut impl std::io::Write, leaks: &[Leak]) -> std::io::Result<()> {
    let width = leaks
        .iter()
        .map(|leak| leak.name.chars().count())
        .max()
        .unwrap_or(0);
    writeln!(out, "{:<10} {:<width$} REASON", "KIND", "NAME")?;
    for Leak { kind, name, reason } in leaks {
        writeln!(out, "{kind:<10} {name:<width$} {reason}")?;
    }
    Ok(())
}
