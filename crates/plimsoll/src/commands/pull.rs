//! `pull`, `image pull`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_image::Pulled;
use plimsoll_oci::{ImageRef, Platform};

use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Download an image from a registry
///
/// Mirrors of the settings are asked first, in order. What an interrupted pull has brought is kept and continued.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Image to pull
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
    /// Platform of the image [default: this machine's]
    #[arg(long, value_name = "OS/ARCH", env = crate::env::DOCKER_DEFAULT_PLATFORM, hide_env_values = true)]
    platform: Option<Platform>,
    /// How to show progress [default: auto]
    #[arg(long, value_name = "MODE", value_enum)]
    progress: Option<Mode>,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for Docker's sake: content is verified by its digest in any case
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    disable_content_trust: Option<Option<bool>>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    super::interruptible(pull(&args, context)).await
}

async fn pull(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let reference: ImageRef = args.name.parse()?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let images = context.images()?;
    if !args.quiet {
        announce(&args.name, &reference, &mut context.stdout())?;
    }
    let display = context.progress("Pulling", args.progress.or(args.quiet.then_some(Mode::Quiet)))?;
    let result = images.pull(&reference, &platform, display.progress()).await;
    display.finish();
    let pulled = result?;
    let mut out = context.stdout();
    if !args.quiet {
        conclude(&pulled, &reference, &mut out)?;
    }
    writeln!(out, "{reference}")?;
    Ok(ExitCode::SUCCESS)
}

fn announce(text: &str, reference: &ImageRef, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    if reference.tag() == Some("latest") && !text.ends_with(":latest") && reference.digest().is_none() {
        writeln!(out, "Using default tag: latest")?;
    }
    let repository = match reference.registry() {
        "docker.io" => reference.repository().to_owned(),
        registry => format!("{registry}/{}", reference.repository()),
    };
    writeln!(out, "{}: Pulling from {repository}", reference.tag_or_digest())
}

fn conclude(pulled: &Pulled, reference: &ImageRef, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    writeln!(out, "Digest: {}", pulled.digest)?;
    let status = if pulled.changed {
        "Downloaded newer image for"
    } else {
        "Image is up to date for"
    };
    writeln!(out, "Status: {status} {}", reference.familiar())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(text: &str) -> String {
        let mut out = Vec::new();
        announce(text, &text.parse().unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn says_where_from() {
        assert_eq!(
            announced("node:20-alpine"),
            "20-alpine: Pulling from library/node\n"
        );
        assert_eq!(
            announced("user/app"),
            "Using default tag: latest\nlatest: Pulling from user/app\n"
        );
        assert_eq!(
            announced("127.0.0.1:5000/app:1"),
            "1: Pulling from 127.0.0.1:5000/app\n"
        );
    }
}
