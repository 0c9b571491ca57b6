//! The `plimsoll` command: one binary, several roles.
//!
//! Everything below this crate is a library that returns values and emits events; only this crate prints,
//! reads the environment and decides exit codes.

mod check_facts;
mod cli;
mod command_error;
mod commands;
mod context;
mod env;
mod gate;
mod output;
mod progress;
mod report;
mod rootless;
mod settings;
mod trouble;

use std::process::ExitCode;

/// What `--version` prints.
const VERSION: &str = concat!("Plimsoll version ", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    match args.get(1).and_then(|arg| arg.to_str()) {
        // Hidden roles: chosen before any thread exists, because they clone (ARCHITECTURE.md, section 5).
        Some("runner") => role(plimsoll_runtime::runner_main()),
        Some("shim") => role(plimsoll_container::shim_main()),
        Some(rootless::ROLE) => role(rootless::holder_main(&args)),
        // Without building the command tree: scripts ask for the version often.
        Some("--version" | "-v") if !cli::is_compose(&args) => cli::print_version(),
        _ => {
            // Before there are threads, which cannot change their users.
            rootless::enter(&args);
            cli::main(args)
        }
    }
}

fn role(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
