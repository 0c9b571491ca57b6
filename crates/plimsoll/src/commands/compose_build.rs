//! `compose build`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_compose_file::model::Model;

use super::compose::building::{Building, Site};
use super::compose::{display_as, model, no_such_service, project};
use super::interruptible;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Build the images of services
///
/// Of all that have `build`, or of those named. Several are built at the same time, and what they have in common only
/// once. Exit code 1 when one fails; then the others are stopped.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Set an ARG of all builds; without a value it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// There is one, `default`
    #[arg(long, value_name = "NAME", hide = true)]
    builder: Option<String>,
    /// Check the Dockerfiles and build nothing; exit code 1 when one has something in it
    #[arg(long)]
    check: bool,
    /// Limit the memory of each RUN
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Run every step again
    #[arg(long)]
    no_cache: bool,
    /// Print what `buildx bake` would read
    #[arg(long)]
    print: bool,
    /// Statements about how the images came about, as with `build`
    #[arg(long, value_name = "SPEC")]
    provenance: Option<String>,
    /// Ask the registry for base images even if they are stored
    #[arg(long)]
    pull: bool,
    /// Push the images
    #[arg(long)]
    push: bool,
    /// Say only what fails
    #[arg(short, long)]
    quiet: bool,
    /// Bills of materials, as with `build`
    #[arg(long, value_name = "SPEC")]
    sbom: Option<String>,
    /// Give RUN --mount=type=ssh an agent, as with `build`
    #[arg(long, value_name = "default|ID=SOCKET|ID=KEY")]
    ssh: Vec<String>,
    /// Build what the services depend on, too
    #[arg(long)]
    with_dependencies: bool,
    /// As `--progress` before the command
    #[arg(long, value_name = "FORM", value_enum, hide = true)]
    progress: Option<Mode>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    parallel: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    compress: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    no_rm: bool,
    /// Services [default: all that have `build`]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    interruptible(build(args, context)).await
}

async fn build(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    super::buildx::check(args.builder.as_deref())?;
    let project = project(context, |options| options.named.clone_from(&args.services))?;
    let model = model(&project)?;
    let services = chosen(&model, &args.services, args.with_dependencies)?;
    let how = Building {
        no_cache: args.no_cache,
        pull: args.pull,
        push: args.push,
        args: args.build_args,
        ssh: args.ssh,
        memory: args.memory,
        provenance: args.provenance,
        sbom: args.sbom,
        to_run: false,
        quiet: args.quiet,
        check: args.check,
    };
    let site = Site {
        context,
        project: &project,
        model: &model,
        how: &how,
    };
    if args.print {
        if let Some(bake) = site.bake(&services)? {
            let text = serde_json::to_string_pretty(&bake).expect("a value is JSON");
            writeln!(context.stdout(), "{text}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.check {
        return site.check(&services).await;
    }
    let mode = args.progress.or(args.quiet.then_some(Mode::Quiet));
    let display = display_as(context, "Building", mode)?;
    let built = site.build(&services, display.progress()).await;
    display.finish();
    built.map(|_| ExitCode::SUCCESS)
}

/// The services that are named, or all; and those that they depend on, if asked to.
pub(super) fn chosen(
    model: &Model,
    names: &[String],
    dependencies: bool,
) -> Result<Vec<String>, CommandError> {
    let known = || model.services.keys().map(String::as_str);
    let mut open: Vec<String> = match names.is_empty() {
        true => known().map(str::to_owned).collect(),
        false => names.to_vec(),
    };
    let mut chosen = BTreeSet::new();
    while let Some(name) = open.pop() {
        let service = model
            .services
            .get(&name)
            .ok_or_else(|| no_such_service(&name, known()))?;
        if chosen.insert(name) && dependencies {
            open.extend(
                service
                    .depends_on
                    .keys()
                    .filter(|name| model.services.contains_key(*name))
                    .cloned(),
            );
        }
    }
    Ok(chosen.into_iter().collect())
}
