//! Transformations that are images: the project goes in under `/in/compose.yaml`, `/templates` may be given, and what
//! they write to `/out` is the result. They run as the caller.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;

use camino::Utf8Path;
use clap::{Args as _, FromArgMatches as _};

use crate::command_error::CommandError;
use crate::commands::container_options::current_directory;
use crate::commands::run;
use crate::context::Context;

/// Runs a transformation; gives its exit code.
pub(super) async fn transform(
    image: &str,
    model: &str,
    templates: Option<&Utf8Path>,
    out: &Utf8Path,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    // A folder that nobody else looks into: the model holds the secrets.
    let input = tempfile::tempdir()?;
    let file = input.path().join("compose.yaml");
    let mut options = std::fs::File::options();
    options.write(true).create_new(true).mode(0o600);
    options.open(&file)?.write_all(model.as_bytes())?;
    let user = rustix::process::getuid().as_raw().to_string();
    let mut words = vec!["run", "--rm", "--env", "LICENSE_AGREEMENT=true", "--user", &user];
    let mut mounts = vec![
        mount(&input.path().to_string_lossy(), "/in")?,
        mount(out.as_str(), "/out")?,
    ];
    if let Some(templates) = templates {
        let folder = current_directory()?.join(templates);
        if !folder.is_dir() {
            return Err(CommandError::user(format!(
                "`{folder}` is no folder of templates"
            )));
        }
        mounts.push(mount(folder.as_str(), "/templates")?);
    }
    words.extend(mounts.iter().flat_map(|mount| ["--mount", mount]));
    words.push(image);
    let command = run::Args::augment_args(clap::Command::new("run").disable_help_flag(true));
    let matches = command.try_get_matches_from(words)?;
    let args = run::Args::from_arg_matches(&matches)?;
    // A failure of ours is 125 with `run`, and 1 with Compose.
    run::run(args, context)
        .await
        .map_err(|error| error.with_exit_code(1))
}

/// `--mount` is written with commas.
fn mount(source: &str, target: &str) -> Result<String, CommandError> {
    match source.contains(',') {
        false => Ok(format!("type=bind,source={source},target={target}")),
        true => Err(CommandError::user(format!(
            "`{source}` has a comma, and cannot be mounted"
        ))),
    }
}
