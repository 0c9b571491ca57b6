//! `push`, `image push`

use std::io::{self, Write};
use std::process::ExitCode;

use plimsoll_image::{Images, LayerPush, Packing, Pushed};
use plimsoll_oci::{ImageRef, Platform};

use crate::command_error::CommandError;
use crate::context::Context;
use crate::gate::GateArgs;
use crate::progress::Mode;

/// Upload an image to a registry
///
/// What was pulled goes as it came, so its digest stays the same; layers that were built here are compressed with gzip.
/// What the registry has is not sent again: a push that was interrupted is finished by the next one.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Image to push, and where to
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// Push all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Push of an image for several platforms only the one for this
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// How to show progress [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    progress: Option<Mode>,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    gate: GateArgs,
    /// Accepted for Docker's sake: content is named by its digest in any case
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    disable_content_trust: Option<Option<bool>>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    super::interruptible(push(&args, context)).await
}

async fn push(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let reference: ImageRef = args.name.parse()?;
    if reference.digest().is_some() {
        return Err(CommandError::user("cannot push a digest reference"));
    }
    let images = context.images()?;
    let names = match args.all_tags {
        true => all_tags(&images, &args.name, &reference)?,
        false => vec![reference.clone()],
    };
    if let Some(gate) = args.gate.open(context)? {
        // One that may not go keeps all of them here.
        names.iter().try_for_each(|name| gate.judge_name(name))?;
    }
    if !args.quiet {
        announce(args, &reference, &mut context.stdout())?;
    }
    for name in &names {
        let display = context.progress("Pushing", args.progress.or(args.quiet.then_some(Mode::Quiet)))?;
        let packing = Packing::default();
        let result = images
            .push(name, args.platform.as_ref(), &packing, display.progress())
            .await;
        display.finish();
        let pushed = result?;
        if args.quiet {
            continue;
        }
        conclude(&pushed, name, &mut context.stdout())?;
        if let Some(index) = pushed.part_of {
            writeln!(
                context.stderr(),
                "note: `{}` names images for several platforms, not all of which are here: only one was pushed\n  \
                 {index} -> {}",
                name.familiar(),
                pushed.digest
            )?;
        }
    }
    if args.quiet {
        writeln!(context.stdout(), "{reference}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn all_tags(images: &Images, text: &str, repository: &ImageRef) -> Result<Vec<ImageRef>, CommandError> {
    if text.rsplit('/').next().unwrap_or(text).contains(':') {
        return Err(CommandError::user("tag can't be used with --all-tags/-a"));
    }
    let same = |name: &ImageRef| {
        name.tag().is_some()
            && (name.registry(), name.repository()) == (repository.registry(), repository.repository())
    };
    let names: Vec<_> = images
        .list()?
        .into_iter()
        .filter_map(|line| line.name)
        .filter(same)
        .collect();
    match names.is_empty() {
        false => Ok(names),
        true => Err(CommandError::not_found(format!(
            "an image does not exist locally with the tag: {}",
            repository.familiar_name()
        ))),
    }
}

fn announce(args: &Args, reference: &ImageRef, out: &mut dyn Write) -> io::Result<()> {
    if !args.all_tags && reference.tag() == Some("latest") && !args.name.ends_with(":latest") {
        writeln!(out, "Using default tag: latest")?;
    }
    let (registry, repository) = (reference.registry(), reference.repository());
    writeln!(out, "The push refers to repository [{registry}/{repository}]")
}

/// As Docker without a terminal, top layer first.
fn conclude(pushed: &Pushed, name: &ImageRef, out: &mut dyn Write) -> io::Result<()> {
    for (diff_id, layer) in pushed.layers.iter().rev() {
        let id = diff_id.short();
        match layer {
            LayerPush::Existed => writeln!(out, "{id}: Layer already exists")?,
            LayerPush::MountedFrom(repository) => writeln!(out, "{id}: Mounted from {repository}")?,
            LayerPush::Sent => writeln!(out, "{id}: Pushed")?,
        }
    }
    let tag = name.tag_or_digest();
    writeln!(out, "{tag}: digest: {} size: {}", pushed.digest, pushed.size)
}
