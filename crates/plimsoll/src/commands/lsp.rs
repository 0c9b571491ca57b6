//! `lsp`

mod actions;
mod complete;
mod hover;
mod places;
mod server;

use std::process::ExitCode;

use lsp_server::Connection;

use super::check::config;
use crate::command_error::CommandError;
use crate::context::Context;

/// Serve editors by the Language Server Protocol
///
/// Over standard input and output. Findings while typing, their fixes, the pages of rules and instructions under the pointer, and completion of
/// instructions, flags and stages; for Dockerfiles, .dockerignore and compose files. `docs/lsp.md` says how editors
/// are told of it.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Talk over standard input and output, as always; some editors want to say so
    #[arg(long)]
    stdio: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let Args { stdio: _ } = args;
    let (connection, threads) = Connection::stdio();
    let failed =
        |error: lsp_server::ProtocolError| CommandError::internal("the editor does not speak LSP", error);
    let (id, hello) = connection.initialize_start().map_err(failed)?;
    let hello: lsp_types::InitializeParams = serde_json::from_value(hello)
        .map_err(|error| CommandError::internal("the editor does not speak LSP", error))?;
    let encoding = places::Encoding::agreed(&hello);
    connection
        .initialize_finish(id, server::capabilities(encoding))
        .map_err(failed)?;
    if let Some(root) = server::root(&hello) {
        // Settings and names of files are those of the project, wherever the editor was started.
        let _ = std::env::set_current_dir(root);
    }
    let config = match config(context, None) {
        Ok(config) => config,
        Err(error) => {
            context.report(&error);
            plimsoll_check::Config::default()
        }
    };
    server::Server::new(&connection, context, encoding, config)?.serve()?;
    drop(connection);
    threads
        .join()
        .map_err(|error| CommandError::internal("the editor went away", error))?;
    Ok(ExitCode::SUCCESS)
}
