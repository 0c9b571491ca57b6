//! `compose bridge transformations create`

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{Args as _, FromArgMatches as _};
use plimsoll_container::{Container, Containers, CopyOptions};

use super::scratch::Scratch;
use super::{BUILT_IN, DEFAULT_IMAGE};
use crate::command_error::CommandError;
use crate::commands::container_options::{ContainerArgs, current_directory};
use crate::commands::{containers, run};
use crate::context::Context;

/// Begin a transformation of your own, with the templates of another one
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Image whose templates are copied [default: docker/compose-bridge-kubernetes]
    #[arg(short, long, value_name = "IMAGE", default_value = DEFAULT_IMAGE, hide_default_value = true)]
    from: String,
    /// Folder to make
    #[arg(value_name = "PATH")]
    path: Utf8PathBuf,
}

/// Where a transformation has its templates.
const TEMPLATES: &str = "/templates";
/// How it is built: on the image with Docker's program for them.
const DOCKERFILE: &str = "\
FROM docker/compose-bridge-transformer
LABEL com.docker.compose.bridge=transformation
COPY templates /templates
";

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let place = current_directory()?.join(&args.path);
    if place.symlink_metadata().is_ok() {
        return Err(CommandError::user(format!(
            "output folder {place} already exists"
        )));
    }
    if let Some((_, image, _)) = BUILT_IN.iter().find(|(own, _, _)| args.from == *own) {
        return Err(CommandError::user(format!(
            "`{}` is built in, and has no templates to begin with",
            args.from
        ))
        .hint(format!("`{image}` is the image with Docker's")));
    }
    if context.compose().dry_run {
        writeln!(
            context.stdout(),
            "Transformer would be created in {:?}",
            place.as_str()
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let containers = containers::new_containers(context)?;
    let container = container(&args.from, &containers, context).await?;
    let copied = copy(&container, &containers, &place, &args.from);
    containers.remove(&container, true)?;
    copied?;
    writeln!(context.stdout(), "Transformer created in {:?}", place.as_str())?;
    Ok(ExitCode::SUCCESS)
}

/// A container of the image that is never started: the command is only for images that have none.
async fn container(
    image: &str,
    containers: &Containers,
    context: &Context,
) -> Result<Container, CommandError> {
    let command = ContainerArgs::augment_args(clap::Command::new("create").disable_help_flag(true));
    let matches = command.try_get_matches_from(["create", "--network", "none", image, "transform"])?;
    let args = ContainerArgs::from_arg_matches(&matches)?;
    run::create(&args, None, false, containers, context).await
}

/// Beside its place first, so that it is there as a whole or not at all.
fn copy(
    container: &Container,
    containers: &Containers,
    place: &Utf8PathBuf,
    image: &str,
) -> Result<(), CommandError> {
    let cannot = |error: std::io::Error| CommandError::user(format!("cannot write `{place}`: {error}"));
    let parent = place.parent().unwrap_or(place);
    std::fs::create_dir_all(parent).map_err(cannot)?;
    let made = Scratch::new(parent).map_err(cannot)?;
    let folder = made.path().join("new");
    std::fs::create_dir(&folder).map_err(cannot)?;
    let options = CopyOptions {
        archive: false,
        follow_link: false,
    };
    containers
        .copy_out(
            container,
            Path::new(TEMPLATES),
            &folder.join("templates"),
            options,
        )
        .map_err(|error| {
            CommandError::from(error)
                .during(format!("`{image}` has no templates to begin with"))
                .hint("name an image with templates by `--from`")
        })?;
    std::fs::write(folder.join("Dockerfile"), DOCKERFILE).map_err(cannot)?;
    std::fs::rename(&folder, place).map_err(cannot)
}
