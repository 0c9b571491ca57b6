//! `builder history rm`, `buildx history rm`

use std::process::ExitCode;

use plimsoll_build::record::{BuildStatus, History};

use crate::command_error::CommandError;
use crate::context::Context;

/// Forget builds of the past
///
/// Their logs go with them. What they built, and the build cache, stays.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// IDs or their beginnings
    #[arg(value_name = "BUILD", required_unless_present = "all", conflicts_with = "all")]
    builds: Vec<String>,
    /// Forget all of them
    #[arg(short, long)]
    all: bool,
    /// Accepted for Docker's sake: there is one builder
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let history = History::new(context.store()?);
    let mut ids = Vec::new();
    for build in &args.builds {
        let build = history.find(build)?;
        if build.status == BuildStatus::Running {
            return Err(CommandError::user(format!(
                "build `{}` has not ended yet",
                build.id
            )));
        }
        ids.push(build.id);
    }
    if args.all {
        let ended = history
            .list()?
            .into_iter()
            .filter(|build| build.status != BuildStatus::Running);
        ids.extend(ended.map(|build| build.id));
    }
    history.remove(&ids)?;
    Ok(ExitCode::SUCCESS)
}
