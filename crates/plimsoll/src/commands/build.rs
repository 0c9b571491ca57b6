//! `build`, `buildx build`, `image build`, `builder build`

mod attest;
mod cache;
mod call;
pub(crate) mod csv;
mod deliver;
mod given;
mod output;
mod run;
mod ssh;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use plimsoll_build::record::{BuildRecord, History, Recording, StepKind, StepRecord};
use plimsoll_build::{
    Annotation, Build, BuildContext, BuildError, BuildNetwork, BuildRequest, Caches, ContextError,
    RunOptions, SOURCE_DATE_EPOCH, Secret, Sources,
};
use plimsoll_check::view::BuildSettings;
use plimsoll_diagnostics::Source;
use plimsoll_oci::{Digest, ImageRef, Platform};
use plimsoll_progress::Progress;
use plimsoll_runtime::Runtime;
use plimsoll_store::{SnapshotId, Store};
use serde_json::{Map, Value};

use super::builder_history::explain::json;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::gate::GateArgs;
use crate::output::file::write_atomically;
use crate::progress::Mode;
use crate::report::Report;
use deliver::{Delivered, Delivery};
pub(crate) use given::git_environment;
use given::{File, given};
use ssh::Agents;

/// Build argument that keeps `.git` in a context from git.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";
/// Build argument that has the image carry its own cache.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";

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
    #[command(flatten)]
    cache: cache::CacheArgs,
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
    /// Where the result goes instead of the store: `type=oci|docker|tar,dest=FILE`, `type=local,dest=FOLDER`,
    /// `type=image`, `type=registry`, with more options; a bare FOLDER; or `-` for a tar on standard output
    #[arg(short, long = "output", value_name = "SPEC", value_parser = output::parse)]
    outputs: Vec<output::Output>,
    /// Push the image: `--output type=registry`
    #[arg(long)]
    push: bool,
    /// Put the image into the store, beside other outputs: `--output type=docker`
    #[arg(long)]
    load: bool,
    /// Annotate the image: for its manifest, or for `TYPE[PLATFORM]:` with the types `manifest`, `index`,
    /// `manifest-descriptor` and `index-descriptor`
    #[arg(long = "annotation", value_name = "[TYPE:]KEY=VALUE", value_parser = output::annotations)]
    annotations: Vec<Vec<Annotation>>,
    /// Give everything the time of SOURCE_DATE_EPOCH, or without it that of the context's last commit, so that who builds
    /// the same gets the same bytes
    #[arg(long)]
    reproducible: bool,
    /// Build twice, the second time without the cache, and fail saying which files differ if it is not the same
    #[arg(long)]
    verify: bool,
    /// Write what the build came to, as JSON, to a file
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Write the image's ID to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Say afterwards why steps ran: which file, argument, base image or mount changed. JSON on request, and with
    /// `--progress=json`
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text",
          value_parser = ["text", "json"])]
    explain: Option<String>,
    /// Write a page about the build: what took how long and why it ran, what the image is made of, and why it failed
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// How to show progress [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    progress: Option<Mode>,
    /// Print only the image's ID
    #[arg(short, long)]
    quiet: bool,
    /// Steps that may run at the same time [default: four per processor]
    #[arg(long, value_name = "N")]
    max_parallelism: Option<usize>,
    #[command(flatten)]
    gate: GateArgs,
    /// Check the Dockerfile and build nothing: `--call check`
    #[arg(long)]
    check: bool,
    /// Say something about the build instead: `check` (what its Dockerfile has in it), `outline` (what it takes) or `targets`
    /// (what can be built), with `,format=json` for programs
    #[arg(long, value_name = "METHOD")]
    call: Option<String>,
    /// Accepted for Docker's sake: an intermediate result is a cache record, not a container
    #[arg(long, hide = true)]
    rm: bool,
    /// What no flag can say.
    #[arg(skip)]
    pub(super) inline: Inline,
}

/// What a compose file gives to a build besides flags.
#[derive(Clone, Default)]
pub(super) struct Inline {
    /// The Dockerfile itself.
    pub(super) dockerfile: Option<Source>,
    /// Secrets by their ids.
    pub(super) secrets: BTreeMap<String, Secret>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    super::interruptible(build(&args, context)).await
}

/// Builds an image and says nothing but to `progress`; returns its id, or the digest of the index.
pub(super) async fn image(
    args: &Args,
    context: &Context,
    progress: &Progress,
) -> Result<Option<Digest>, CommandError> {
    let delivery = delivery(args)?;
    let agents = args.run.agents()?;
    let run = run_options(args, &agents)?;
    let mut account = Account::default();
    let built = work(args, context, run, &delivery, progress, &mut account).await;
    account.record(&built);
    Ok(built?.id)
}

/// Checks a Dockerfile of several and builds nothing.
pub(super) async fn check(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    call::answer(&call::Call::CHECK_OF_SEVERAL, args, context).await
}

/// What a build leaves to tell, whatever became of it.
#[derive(Default)]
struct Account {
    recording: Option<Recording>,
    differences: Vec<plimsoll_build::Difference>,
    checks: plimsoll_check::buildkit::BuildChecks,
}

impl Account {
    /// Closes the record.
    fn record(&mut self, built: &Result<Delivered, CommandError>) -> Option<BuildRecord> {
        let recording = self.recording.take()?;
        Some(match built {
            Ok(_) => recording.complete(),
            Err(error) => recording.fail(error),
        })
    }
}

fn delivery(args: &Args) -> Result<Delivery, CommandError> {
    Delivery::new(
        args.outputs.clone(),
        args.push,
        args.load,
        &args.tags,
        args.annotations.concat(),
    )
}

fn run_options(args: &Args, agents: &Agents) -> Result<RunOptions, CommandError> {
    let mut options = args.run.options(agents)?;
    options.secrets.extend(args.inline.secrets.clone());
    Ok(options)
}

/// From what is given to what is asked for.
async fn work(
    args: &Args,
    context: &Context,
    run: RunOptions,
    delivery: &Delivery,
    progress: &Progress,
    account: &mut Account,
) -> Result<Delivered, CommandError> {
    let (store, images) = (context.store()?, context.images()?);
    let gate = args.gate.open(context)?;
    let sources = Arc::new(Sources::new(store, &run.secrets, given::git_environment()));
    let runtime = Runtime::new(context.program(), store.run().to_owned());
    let keep_git_dir = build_args(&args.build_args)
        .get(KEEP_GIT_DIR)
        .is_some_and(|value| is_true(value));
    let file = File::of(args.file.as_deref(), args.inline.dockerfile.as_ref());
    let given = given(&args.path, &file, &sources, progress, keep_git_dir).await?;
    // What was unpacked for this build stays until it is over.
    let _folder = given.folder;
    let inline = build_args(&args.build_args)
        .get(INLINE_CACHE)
        .is_some_and(|value| is_true(value));
    let caches = args.cache.caches(context, inline)?;
    let mut request = request(
        args,
        given.dockerfile,
        given.context,
        sources.clone(),
        run,
        caches,
        delivery,
    )?;
    account.checks = call::before_build(args, &request.dockerfile, &request.context, context)?;
    if let Some(gate) = gate {
        let name = args.tags.first().map(ImageRef::familiar).unwrap_or_default();
        request.gate = Some(gate.of_build(&request.dockerfile, settings(&request), name)?);
    }
    let recording = account
        .recording
        .insert(Recording::start(store, &request, progress)?);
    let again = args.verify.then(|| verify::again(&request));
    let build = Build::new(store, &images, runtime);
    let result = build.build(request, recording).await?;
    if let Some(again) = again {
        account.differences = verify::differences(&build, again, &result, (store, &images), progress).await?;
        verify::judge(&account.differences)?;
    }
    delivery.deliver(store, &images, &result.images, recording).await
}

async fn build(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(call) = call::asked(args)? {
        return call::answer(&call, args, context).await;
    }
    let delivery = delivery(args)?;
    let report = args.report.as_deref().map(Report::open).transpose()?;
    let agents = args.run.agents()?;
    let run = run_options(args, &agents)?;
    let wreck = run.wreck.clone();
    let (store, images) = (context.store()?, context.images()?);
    let display = context.progress("Building", args.progress.or(args.quiet.then_some(Mode::Quiet)))?;
    let mut account = Account::default();
    let finished = work(args, context, run, &delivery, display.progress(), &mut account).await;
    let record = account.record(&finished);
    if let Some(record) = &record {
        display.sizes(|| layer_sizes(store, record));
    }
    display.finish();
    let mode = context.progress_mode(args.progress)?;
    if !args.quiet && !matches!(mode, Mode::Quiet | Mode::Json | Mode::Rawjson) {
        write!(context.stderr(), "{}", call::summary(&account.checks))?;
    }
    for difference in &account.differences {
        writeln!(context.stdout(), "{difference}")?;
    }
    if let (Some(report), Some(record)) = (report, &record)
        && let Err(error) = report.write(store, &images, record)
    {
        if finished.is_ok() {
            return Err(error);
        }
        context.report(&error);
    }
    if let (Some(format), Some(record)) = (&args.explain, &record) {
        explain(context, record, format == "json" || wants_json(context, args)?)?;
    }
    if let (Err(error), Some(wreck)) = (&finished, wreck.as_ref().and_then(|place| place.get())) {
        let code = context.report(error);
        run::shell(wreck, context).await?;
        return Ok(code);
    }
    let delivered = finished?;
    let id = delivered.id.map_or_else(String::new, |id| id.to_string());
    if let Some(path) = &args.iidfile {
        write_atomically(path, |file| Ok(file.write_all(id.as_bytes())?))?;
    }
    if let Some(path) = &args.metadata_file {
        let id = record.as_ref().map_or("", |record| &record.id);
        let metadata = metadata(delivered.metadata, id);
        write_atomically(path, |file| Ok(file.write_all(metadata.as_bytes())?))?;
    }
    if args.quiet && !delivery.uses_stdout() {
        writeln!(context.stdout(), "{id}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes of the layers that steps made, by their tasks.
fn layer_sizes(store: &Store, record: &BuildRecord) -> HashMap<String, u64> {
    let steps = record.steps.iter().filter(|step| step.kind != StepKind::From);
    let size = |step: &StepRecord| {
        let task = record.tasks.get(step.task?)?;
        let size = store.snapshots().size(SnapshotId(step.snapshot?)).ok()?;
        Some((task.digest.clone(), size))
    };
    steps.filter_map(size).collect()
}

/// Says why steps ran.
fn explain(context: &Context, record: &BuildRecord, as_json: bool) -> Result<(), CommandError> {
    let explanation = plimsoll_build::explain::explain(&History::new(context.store()?), record)?;
    let mut err = context.stderr();
    match as_json {
        true => writeln!(err, "{}", json(&explanation))?,
        false => write!(err, "\n{explanation}")?,
    }
    Ok(())
}

/// Whether progress is for programs.
fn wants_json(context: &Context, args: &Args) -> Result<bool, CommandError> {
    let mode = context.progress_mode(args.progress)?;
    Ok(matches!(mode, Mode::Json | Mode::Rawjson))
}

/// As buildx writes it: sorted, indented, and with a name of the build under which `builder history` knows it.
fn metadata(mut metadata: Map<String, Value>, id: &str) -> String {
    metadata.insert(
        "buildx.build.ref".to_owned(),
        format!("default/default/{id}").into(),
    );
    metadata.sort_keys();
    serde_json::to_string_pretty(&metadata).expect("a map is JSON")
}

fn request(
    args: &Args,
    dockerfile: Source,
    context: BuildContext,
    sources: Arc<Sources>,
    run: RunOptions,
    caches: Caches,
    delivery: &Delivery,
) -> Result<BuildRequest, CommandError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let build_args = with_epoch(args, build_args(&args.build_args));
    let has_epoch = build_args
        .get(SOURCE_DATE_EPOCH)
        .is_some_and(|epoch| !epoch.is_empty());
    Ok(BuildRequest {
        dockerfile,
        context: Arc::new(context),
        contexts: given::contexts(&args.contexts)?,
        sources,
        target: args.target.clone(),
        build_args,
        labels: args.labels.iter().map(|label| pair(label)).collect(),
        platforms: platforms(&args.platforms),
        no_cache: args.no_cache,
        no_cache_stages: args.no_cache_stages.clone(),
        caches,
        pack_early: delivery.packing(has_epoch),
        pull: args.pull,
        network: args.network,
        add_hosts: args.add_hosts.clone(),
        run,
        attest: args.attest.settings()?,
        max_parallelism: args.max_parallelism.unwrap_or(4 * processors),
        gate: None,
    })
}

/// How the Dockerfile is built, for whoever judges it.
fn settings(request: &BuildRequest) -> BuildSettings {
    BuildSettings {
        targets: request.target.iter().cloned().collect(),
        args: request.build_args.clone(),
        platform: request.platforms.first().map(ToString::to_string),
    }
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

/// `--reproducible` without a time takes that of the last commit, which changes with the files alone; else 1970.
fn with_epoch(args: &Args, mut build_args: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if args.reproducible {
        let last_commit = || given::last_commit(&args.path).unwrap_or_else(|| "0".to_owned());
        build_args
            .entry(SOURCE_DATE_EPOCH.to_owned())
            .or_insert_with(last_commit);
    }
    build_args
}

/// `NAME=VALUE`, or `NAME` for what the environment says, left out if it says nothing. The time of
/// what is built comes from there unasked, as in buildx.
fn build_args(given: &[String]) -> BTreeMap<String, String> {
    let value = |arg: &String| match arg.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => std::env::var(arg).ok().map(|value| (arg.clone(), value)),
    };
    let epoch =
        crate::env::var(crate::env::SOURCE_DATE_EPOCH).map(|epoch| (SOURCE_DATE_EPOCH.to_owned(), epoch));
    epoch.into_iter().chain(given.iter().filter_map(value)).collect()
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
    fn hosts() {
        assert_eq!(host("db:10.0.0.1"), Ok(("db".to_owned(), "10.0.0.1".to_owned())));
        assert_eq!(host("db=[::1]"), Ok(("db".to_owned(), "::1".to_owned())));
        assert!(host("db").is_err() && host("db:x").is_err());
    }
}
