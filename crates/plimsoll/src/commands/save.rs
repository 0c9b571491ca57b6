//! `save`, `image save`

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use plimsoll_image::{ArchiveFormat, Image, ImageError, Images, Index, Saved};
use plimsoll_oci::{ImageRef, Platform};

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::file::write_atomically;

/// Save images to an archive
///
/// An image given by name has that name in the archive, one given by ID has none; a repository without a tag means
/// all its tags. A name that means several platforms, all of which are here, is saved with all of them, as an OCI image
/// layout.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names or IDs
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save only the image for this platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Kind of archive
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// As `docker save` writes and every version of Docker reads
    #[default]
    Docker,
    /// An OCI image layout; layers keep the form in which they came
    Oci,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let images = context.images()?;
    let mut list = Vec::new();
    for name in &args.images {
        select(&images, name, args.platform.as_ref(), &mut list)?;
    }
    let format = match args.format {
        Format::Docker => ArchiveFormat::Docker,
        Format::Oci => ArchiveFormat::Oci,
    };
    let save = |out: &mut dyn Write| -> Result<(), CommandError> {
        let mut out = BufWriter::with_capacity(1 << 20, out);
        images.save(&list, format, &mut out)?;
        out.flush()
            .map_err(|error| ImageError::WriteArchive(error).into())
    };
    match &args.output {
        Some(path) if path.as_os_str() != "-" => write_atomically(path, |file| save(file))?,
        _ if io::stdout().is_terminal() => {
            return Err(CommandError::user("cowardly refusing to save to a terminal")
                .hint("name a file with `-o FILE`, or redirect"));
        }
        _ => save(&mut context.stdout())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds what one argument means; the names of one image are brought together.
fn select(
    images: &Images,
    text: &str,
    platform: Option<&Platform>,
    list: &mut Vec<Saved>,
) -> Result<(), CommandError> {
    let names = match text.parse::<ImageRef>() {
        Ok(reference) if is_repository(text) => names_of(images, &reference)?,
        _ => Vec::new(),
    };
    if names.is_empty() {
        let image = images.get_for(text, platform)?;
        let named = text
            .parse::<ImageRef>()
            .ok()
            .filter(|name| name.digest().is_none());
        let named = named.filter(|name| images.names(&image).is_ok_and(|all| all.contains(name)));
        add(list, image, index(images, text, platform)?, named);
    }
    for name in names {
        let text = name.to_string();
        let image = images.get_for(&text, platform)?;
        add(list, image, index(images, &text, platform)?, Some(name));
    }
    Ok(())
}

/// The index to save as a whole: one that lists more than the image.
fn index(images: &Images, name: &str, platform: Option<&Platform>) -> Result<Option<Index>, CommandError> {
    match images.index(name)? {
        Some(index)
            if platform.is_none()
                && index.document.manifests().len() > 1
                && images.is_complete(&index)? =>
        {
            Ok(Some(index))
        }
        _ => Ok(None),
    }
}

fn add(list: &mut Vec<Saved>, image: Image, index: Option<Index>, name: Option<ImageRef>) {
    let digest = |index: &Option<Index>| index.as_ref().map(|index| index.digest);
    let at = list.iter().position(|known| {
        known.image.manifest_digest == image.manifest_digest && digest(&known.index) == digest(&index)
    });
    let at = at.unwrap_or_else(|| {
        list.push(Saved {
            image,
            index,
            names: Vec::new(),
        });
        list.len() - 1
    });
    let names = &mut list[at].names;
    names.extend(name.filter(|name| !names.contains(name)));
}

/// Tells whether a text has neither tag nor digest.
fn is_repository(text: &str) -> bool {
    !text.rsplit('/').next().unwrap_or(text).contains([':', '@'])
}

fn names_of(images: &Images, repository: &ImageRef) -> Result<Vec<ImageRef>, CommandError> {
    let same = |name: &ImageRef| {
        name.tag().is_some()
            && (name.registry(), name.repository()) == (repository.registry(), repository.repository())
    };
    Ok(images
        .list()?
        .into_iter()
        .filter_map(|line| line.name)
        .filter(same)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        for (text, repository) in [
            ("node", true),
            ("localhost:5000/node", true),
            ("node:20", false),
            ("localhost:5000/node:20", false),
            ("node@sha256:00", false),
        ] {
            assert_eq!(is_repository(text), repository, "{text}");
        }
    }
}
