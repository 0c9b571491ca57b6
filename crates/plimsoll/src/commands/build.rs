//! `build`, `buildx build`, `image build`, `builder build`

mod run;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll_build::{
    Build, BuildContext, BuildError, BuildNetwork, BuildRequest, ContextError, export_local,
};
use plimsoll_diagnostics::Source;
use plimsoll_image::{ArchiveFormat, Image, ImageError, Images};
use plimsoll_oci::{ImageRef, Platform};
use plimsoll_progress::Progress;
use plimsoll_runtime::Runtime;

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::file::write_atomically;
use crate::progress::Mode;

/// Exit code of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
/// A Dockerfile of more bytes than this is a mistake.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// Build an image from a Dockerfile
///
/// Reads the Dockerfile of the folder PATH and its files in place, runs what is not in the cache, stages that do
/// not depend on each other at the same time, and names the result. Nothing is named when the build fails.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder with the files for COPY and ADD, or `-` to read a Dockerfile without such files from standard input
    #[arg(value_name = "PATH | -")]
    path: String,
    /// Name the image; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    tags: Vec<ImageRef>,
    /// Dockerfile, or `-` for standard input [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Stage to build, by name or number [default: the last one]
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Set an ARG; without a value it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// Set a label on the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Platform of the result [default: this machine's]
    #[arg(long, value_name = "OS/ARCH", env = crate::env::DOCKER_DEFAULT_PLATFORM, hide_env_values = true)]
    platform: Option<Platform>,
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
    let request = request(args)?;
    let wreck = request.run.wreck.clone();
    let (store, images) = (context.store()?, context.images()?);
    let runtime = Runtime::new(context.program(), store.run().to_owned());
    let display = context.progress(args.progress.or(args.quiet.then_some(Mode::Quiet)))?;
    let result = Build::new(store, &images, runtime)
        .build(request, display.progress())
        .await;
    let finished = match result {
        Ok(result) => {
            deliver(args, context, &images, &result.image, display.progress()).map(|()| result.image)
        }
        Err(error) => Err(error.into()),
    };
    display.finish();
    if let (Err(error), Some(wreck)) = (&finished, wreck.as_ref().and_then(|place| place.get())) {
        let code = context.report(error);
        run::shell(wreck, context).await?;
        return Ok(code);
    }
    let image = finished?;
    if let Some(path) = &args.iidfile {
        write_atomically(path, |file| Ok(file.write_all(image.id.to_string().as_bytes())?))?;
    }
    if args.quiet {
        writeln!(context.stdout(), "{}", image.id)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn request(args: &Args) -> Result<BuildRequest, CommandError> {
    let (dockerfile, path) = dockerfile(args)?;
    let build_context = match args.path.as_str() {
        "-" => BuildContext::empty(),
        folder => BuildContext::open(Path::new(folder), path.as_deref())?,
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(BuildRequest {
        dockerfile,
        context: build_context,
        target: args.target.clone(),
        build_args: build_args(&args.build_args),
        labels: args.labels.iter().map(|label| pair(label)).collect(),
        platform: args.platform.clone().unwrap_or_else(Platform::host),
        no_cache: args.no_cache,
        no_cache_stages: args.no_cache_stages.clone(),
        pull: args.pull,
        network: args.network,
        add_hosts: args.add_hosts.clone(),
        run: args.run.options()?,
        max_parallelism: args.max_parallelism.unwrap_or(4 * processors),
    })
}

/// Text and name of the Dockerfile, and its path when it is a file.
fn dockerfile(args: &Args) -> Result<(Source, Option<PathBuf>), CommandError> {
    let path = match (args.file.as_deref(), args.path.as_str()) {
        (Some("-"), "-") => {
            return Err(CommandError::usage(
                "Dockerfile and context cannot both come from standard input",
            ));
        }
        (Some("-"), _) | (None, "-") => {
            let mut text = String::new();
            let read = io::stdin().take(MAX_DOCKERFILE).read_to_string(&mut text);
            read.map_err(|error| {
                CommandError::internal("cannot read the Dockerfile from standard input", error)
            })?;
            return Ok((Source::new("<stdin>", text), None));
        }
        (Some(file), _) => PathBuf::from(file),
        (None, folder) => Path::new(folder).join("Dockerfile"),
    };
    match std::fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| {
                CommandError::user(format!(
                    "`{}` is not a Dockerfile: it is not UTF-8 text",
                    path.display()
                ))
            })?;
            Ok((Source::new(path.to_string_lossy(), text), Some(path)))
        }
        Err(error) => Err(unreadable(args, &path, error)),
    }
}

fn unreadable(args: &Args, path: &Path, error: io::Error) -> CommandError {
    let not_found = error.kind() == io::ErrorKind::NotFound;
    let message = format!("cannot read Dockerfile `{}`", path.display());
    let failure = CommandError::new(
        crate::command_error::Kind::User,
        Unreadable {
            message,
            source: error,
        },
    );
    if not_found && args.file.is_none() && !Path::new(&args.path).exists() {
        return failure.hint(format!("the folder `{}` does not exist", args.path));
    }
    match not_found {
        true => failure.hint("name the file with `-f FILE`; its path is relative to the current folder"),
        false => failure,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Unreadable {
    message: String,
    source: io::Error,
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
    image: &Image,
    progress: &Progress,
) -> Result<(), CommandError> {
    let store_only = [Output::Store];
    let outputs = if args.outputs.is_empty() {
        &store_only[..]
    } else {
        &args.outputs
    };
    for output in outputs {
        match output {
            Output::Store => {
                if args.tags.is_empty() {
                    images.keep(image)?;
                }
                for tag in &args.tags {
                    images.tag(image, tag)?;
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
                let named = [(image.clone(), args.tags.clone())];
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
                let error = Self::diagnostic(*diagnostic)
                    .preface(format!("last output of `{step}`:\n{output}\n"));
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
