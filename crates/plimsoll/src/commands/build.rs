//! `build`, `buildx build`, `image build`, `builder build`

mod attest;
mod given;
mod run;
mod ssh;

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use plimsoll_build::record::Recording;
use plimsoll_build::{
    Build, BuildContext, BuildError, BuildNetwork, BuildRequest, BuiltImage, ContextError, RunOptions,
    Sources, export_local, keep_built,
};
use plimsoll_diagnostics::Source;
use plimsoll_image::{ArchiveFormat, ImageError, Images, Saved};
use plimsoll_oci::{ImageRef, Platform};
use plimsoll_progress::Progress;
use plimsoll_runtime::Runtime;

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::file::write_atomically;
use crate::progress::Mode;
use given::given;

/// Build argument that keeps `.git` in a context from git.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";
/// Exit code of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Build an image from a Dockerfile
///
/// Reads the Dockerfile of the folder PATH and its files in place, runs what is not in the cache, stages that do
/// not depend on each other at the same time, and names the result. Nothing is named when the build fails.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder with the files for COPY and ADD, URL of a git repository or of an archive with them, or `-` to read an
    /// archive, or a Dockerfile without such files, from standard input
    #[arg(value_name = "PATH | URL | -")]
    path: String,
    /// Name the image; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    tags: Vec<ImageRef>,
    /// Dockerfile: a file, a URL, or `-` for standard input; in a fetched context its path there [default:
    /// PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Stage to build, by name or number [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Set an ARG; without a value it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// Let a name stand for a folder, `docker-image://IMAGE`, `oci-layout://FOLDER[:TAG]` or a URL: in FROM, --from and
    /// from=, and instead of the stage of that name
    #[arg(long = "build-context", value_name = "NAME=VALUE", value_parser = given::named_context)]
    contexts: Vec<(String, String)>,
    /// Set a label on the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Platforms of the result, each an image; several are one index [default: this machine's]
    #[arg(long = "platform", value_name = "OS/ARCH", value_delimiter = ',', env = crate::env::DOCKER_DEFAULT_PLATFORM, hide_env_values = true)]
    platforms: Vec<Platform>,
    /// Run every step again
    #[arg(long)]
    no_cache: bool,
    /// Run every step of a stage again
    #[arg(long = "no-cache-filter", value_name = "STAGE", value_delimiter = ',')]
    no_cache_stages: Vec<String>,
    /// Ask the registry for base images even if they are stored
    #[arg(long)]
    pull: bool,
    /// Network of RUN: `default`, `none` or `host`
    #[arg(long, value_name = "MODE", default_value = "default", value_parser = network)]
    network: BuildNetwork,
    /// Add a line to /etc/hosts of RUN
    #[arg(long = "add-host", value_name = "NAME:ADDRESS", value_parser = host)]
    add_hosts: Vec<(String, String)>,
    #[command(flatten)]
    run: run::RunArgs,
    #[command(flatten)]
    attest: attest::AttestArgs,
    /// Where the result goes instead of the store: `type=oci,dest=FILE`, `type=docker,dest=FILE`,
    /// `type=local,dest=FOLDER`, a bare FOLDER, or `type=image`
    #[arg(short, long = "output", value_name = "SPEC", value_parser = output)]
    outputs: Vec<Output>,
    /// Write the image's ID to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// How to show progress [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    progress: Option<Mode>,
    /// Print only the image's ID
    #[arg(short, long)]
    quiet: bool,
    /// Steps that may run at the same time [default: four per processor]
    #[arg(long, value_name = "N")]
    max_parallelism: Option<usize>,
    /// Accepted for Docker's sake: the result is in the store anyway
    #[arg(long, hide = true)]
    load: bool,
    /// Accepted for Docker's sake: an intermediate result is a cache record, not a container
    #[arg(long, hide = true)]
    rm: bool,
}

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    Store,
    Local(PathBuf),
    Archive(ArchiveFormat, PathBuf),
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    tokio::select! {
        result = build(&args, context) => result,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn build(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let agents = args.run.agents()?;
    let run = args.run.options(&agents)?;
    let wreck = run.wreck.clone();
    let (store, images) = (context.store()?, context.images()?);
    let sources = Arc::new(Sources::new(store, &run.secrets, given::git_environment()));
    let runtime = Runtime::new(context.program(), store.run().to_owned());
    let display = context.progress("Building", args.progress.or(args.quiet.then_some(Mode::Quiet)))?;
    let progress = display.progress();
    let mut recording = None;
    let built = async {
        let keep_git_dir = build_args(&args.build_args)
            .get(KEEP_GIT_DIR)
            .is_some_and(|value| is_true(value));
        let given = given(&args.path, args.file.as_deref(), &sources, progress, keep_git_dir).await?;
        // What was unpacked for this build stays until it is over.
        let _folder = given.folder;
        let request = request(args, given.dockerfile, given.context, sources.clone(), run)?;
        let recording = recording.insert(Recording::start(store, &request, progress)?);
        let result = Build::new(store, &images, runtime)
            .build(request, recording)
            .await?;
        deliver(args, context, &images, &result.images, recording.progress())?;
        Ok::<_, CommandError>(result.images)
    };
    let finished = built.await;
    display.finish();
    let _record = recording.map(|recording| match &finished {
        Ok(_) => recording.complete(),
        Err(error) => recording.fail(error),
    });
    if let (Err(error), Some(wreck)) = (&finished, wreck.as_ref().and_then(|place| place.get())) {
        let code = context.report(error);
        run::shell(wreck, context).await?;
        return Ok(code);
    }
    let built = finished?;
    let image = &built[0].image;
    if let Some(path) = &args.iidfile {
        write_atomically(path, |file| Ok(file.write_all(image.id.to_string().as_bytes())?))?;
    }
    if args.quiet {
        writeln!(context.stdout(), "{}", image.id)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn request(
    args: &Args,
    dockerfile: Source,
    context: BuildContext,
    sources: Arc<Sources>,
    run: RunOptions,
) -> Result<BuildRequest, CommandError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(BuildRequest {
        dockerfile,
        context,
        contexts: given::contexts(&args.contexts)?,
        sources,
        target: args.target.clone(),
        build_args: build_args(&args.build_args),
        labels: args.labels.iter().map(|label| pair(label)).collect(),
        platforms: platforms(&args.platforms),
        no_cache: args.no_cache,
        no_cache_stages: args.no_cache_stages.clone(),
        pull: args.pull,
        network: args.network,
        add_hosts: args.add_hosts.clone(),
        run,
        attest: args.attest.settings()?,
        max_parallelism: args.max_parallelism.unwrap_or(4 * processors),
    })
}

/// Each platform once, in the order given.
fn platforms(given: &[Platform]) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    for platform in given {
        if !platforms.contains(platform) {
            platforms.push(platform.clone());
        }
    }
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    platforms
}

/// Go's strconv.ParseBool.
fn is_true(text: &str) -> bool {
    ["1", "t", "T", "true", "TRUE", "True"].contains(&text)
}

/// `NAME=VALUE`, or `NAME` for what the environment says, left out if it says nothing.
fn build_args(given: &[String]) -> BTreeMap<String, String> {
    let value = |arg: &String| match arg.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => std::env::var(arg).ok().map(|value| (arg.clone(), value)),
    };
    given.iter().filter_map(value).collect()
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

fn network(text: &str) -> Result<BuildNetwork, String> {
    match text {
        "default" | "bridge" => Ok(BuildNetwork::Default),
        "none" => Ok(BuildNetwork::None),
        "host" => Ok(BuildNetwork::Host),
        _ => Err("expected `default`, `none` or `host`".to_owned()),
    }
}

/// `name:address` or `name=address`; an IPv6 address may stand in brackets.
fn host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once(['=', ':']).ok_or("expected NAME:ADDRESS")?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let valid = address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok();
    match valid && !name.is_empty() {
        true => Ok((name.to_owned(), address.to_owned())),
        false => Err(format!("`{address}` is not an IP address or `host-gateway`")),
    }
}

fn output(text: &str) -> Result<Output, String> {
    if !text.contains('=') {
        return match text {
            "-" => Err("a tar on standard output is not supported yet".to_owned()),
            folder => Ok(Output::Local(folder.into())),
        };
    }
    let mut fields = BTreeMap::new();
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("`{field}` is not KEY=VALUE"))?;
        fields.insert(key.trim(), value);
    }
    let kind = fields.remove("type").ok_or("it names no `type`")?;
    let dest = fields.remove("dest").map(PathBuf::from);
    if let Some(key) = fields.keys().next() {
        return Err(format!("`{key}` is not supported for type={kind}"));
    }
    match (kind, dest) {
        ("image", None) | ("docker", None) => Ok(Output::Store),
        ("local", Some(dest)) => Ok(Output::Local(dest)),
        ("oci", Some(dest)) => Ok(Output::Archive(ArchiveFormat::Oci, dest)),
        ("docker", Some(dest)) => Ok(Output::Archive(ArchiveFormat::Docker, dest)),
        ("local" | "oci", None) => Err(format!("type={kind} needs `dest=PATH`")),
        (kind, _) => Err(format!(
            "`{kind}` is not a supported type: use oci, docker, local or image"
        )),
    }
}

/// Names the image and writes the outputs.
fn deliver(
    args: &Args,
    context: &Context,
    images: &Images,
    built: &[BuiltImage],
    progress: &Progress,
) -> Result<(), CommandError> {
    let image = &built[0].image;
    let single = |output: &Output| built.len() == 1 || *output == Output::Store;
    if !args.outputs.iter().all(single) {
        return Err(CommandError::user(
            "several platforms at once can only go to the store yet",
        ));
    }
    let store_only = [Output::Store];
    let outputs = if args.outputs.is_empty() {
        &store_only[..]
    } else {
        &args.outputs
    };
    for output in outputs {
        match output {
            Output::Store => {
                keep_built(images, built, &args.tags)?;
                for tag in &args.tags {
                    progress.start(format!("naming to {tag}")).done();
                }
            }
            Output::Local(folder) => {
                let task = progress.start(format!("exporting files to {}", folder.display()));
                export_local(context.store()?, images, image, folder)?;
                task.done();
            }
            Output::Archive(format, path) => {
                let task = progress.start(format!("exporting archive to {}", path.display()));
                let named = [Saved {
                    image: image.clone(),
                    index: None,
                    names: args.tags.clone(),
                }];
                write_atomically(path, |file| {
                    let mut out = BufWriter::with_capacity(1 << 20, file);
                    images.save(&named, *format, &mut out)?;
                    out.flush()
                        .map_err(|error| ImageError::WriteArchive(error).into())
                })?;
                task.done();
            }
        }
    }
    Ok(())
}

impl From<BuildError> for CommandError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Diagnostics(diagnostics) => Self::diagnostics(diagnostics),
            BuildError::Step {
                step,
                tail,
                log,
                diagnostic,
            } => {
                let output = tail.iter().map(|line| format!("  {line}\n")).collect::<String>();
                let error =
                    Self::diagnostic(*diagnostic).preface(format!("last output of `{step}`:\n{output}\n"));
                match log {
                    Some(log) => error.hint(format!("all of its output is in {log}")),
                    None => error,
                }
            }
            BuildError::Image(error) => error.into(),
            BuildError::Store(error) => error.into(),
            error => Self::new(crate::command_error::Kind::Internal, error),
        }
    }
}

impl From<ContextError> for CommandError {
    fn from(error: ContextError) -> Self {
        match error {
            ContextError::Ignore(diagnostic) => Self::diagnostic(*diagnostic),
            error => Self::new(crate::command_error::Kind::User, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs() {
        assert_eq!(output("out"), Ok(Output::Local("out".into())));
        assert_eq!(output("type=local,dest=out"), Ok(Output::Local("out".into())));
        assert_eq!(
            output("type=oci,dest=a.tar"),
            Ok(Output::Archive(ArchiveFormat::Oci, "a.tar".into()))
        );
        assert_eq!(output("type=docker"), Ok(Output::Store));
        for wrong in [
            "-",
            "type=oci",
            "dest=x",
            "type=tape,dest=x",
            "type=local,dest=x,mode=y",
            "a=b=c,d",
        ] {
            assert!(output(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host("db:10.0.0.1"), Ok(("db".to_owned(), "10.0.0.1".to_owned())));
        assert_eq!(host("db=[::1]"), Ok(("db".to_owned(), "::1".to_owned())));
        assert!(host("db").is_err() && host("db:x").is_err());
    }
}
