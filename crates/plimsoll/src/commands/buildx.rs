//! `buildx create|use|inspect|ls|rm|stop|version`: there is one builder, it is called `default`, and it is always ready.

use std::process::ExitCode;

use crate::command_error::CommandError;
use crate::context::Context;

pub(crate) mod create;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod rm;
pub(crate) mod stop;
pub(crate) mod use_builder;
pub(crate) mod version;

/// The builder.
const NAME: &str = "default";
/// What scripts that ask for it expect of a builder that needs no container.
const DRIVER: &str = "docker";

/// Fails for any other builder.
pub(super) fn check(name: Option<&str>) -> Result<(), CommandError> {
    match name {
        None | Some(NAME) => Ok(()),
        Some(name) => Err(CommandError::user(format!("no builder \"{name}\" found")).hint(
            "there is one builder, `default`, and it builds for every platform and exports in every way",
        )),
    }
}

/// What the builder builds for.
fn platforms() -> Vec<String> {
    let all = plimsoll_build::platforms(&crate::env::path());
    all.iter().map(ToString::to_string).collect()
}

fn version() -> String {
    format!("v{}", env!("CARGO_PKG_VERSION"))
}

/// What succeeds and does nothing.
fn nothing_to_do(context: &Context, note: &str) -> ExitCode {
    context.warn(note);
    ExitCode::SUCCESS
}
