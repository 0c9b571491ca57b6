//! Compose files from elsewhere: git repositories, and the artifacts of `docker compose publish` in registries.
//!
//! They stay in `compose/` of the state folder, under a name of what was fetched: containers mount what is in there.
//! The form of an artifact is Docker's: a layer for each file, joined by `---` in the order of the manifest.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use camino::Utf8PathBuf;
use plimsoll_build::{GitUrl, Remote, Sources};
use plimsoll_compose_file::file_in;
use plimsoll_oci::{Descriptor, Digest, ImageManifest, ImageRef};
use plimsoll_progress::Progress;

use crate::command_error::CommandError;
use crate::commands::build::git_environment;
use crate::context::{Context, apart};

/// What an artifact of `publish` says it is.
pub(crate) const PROJECT: &str = "application/vnd.docker.compose.project";
pub(crate) const FILE: &str = "application/vnd.docker.compose.file+yaml";
pub(crate) const ENV_FILE: &str = "application/vnd.docker.compose.envfile";
/// The configuration, which is empty.
pub(crate) const EMPTY: &str = "application/vnd.docker.compose.config.empty.v1+json";
/// Annotations of layers: the name of the file, and whether it stands beside the project's.
pub(crate) const FILE_NAME: &str = "com.docker.compose.file";
const EXTENDED: &str = "com.docker.compose.extends";
pub(crate) const ENV_FILE_NAME: &str = "com.docker.compose.envfile";
/// More than this is no compose file.
const LIMIT: u64 = 16 << 20;

/// Brings what `name` says, and returns its compose file.
pub(super) fn fetch(context: &Context, name: &str) -> Result<Utf8PathBuf, String> {
    apart(fetch_async(context, name)).map_err(|error| error.to_string())
}

async fn fetch_async(context: &Context, name: &str) -> Result<Utf8PathBuf, CommandError> {
    if let Some(reference) = name.strip_prefix("oci://") {
        return artifact(context, &reference.parse()?).await;
    }
    match Remote::parse_context(name)? {
        Some(Remote::Git(url)) => repository(context, &url).await,
        _ => Err(CommandError::user(
            "it is neither `oci://IMAGE` nor the URL of a git repository",
        )),
    }
}

async fn repository(context: &Context, url: &GitUrl) -> Result<Utf8PathBuf, CommandError> {
    let sources = Sources::new(context.store()?, &Default::default(), git_environment());
    let checkout = sources.checkout(url, &Progress::none()).await?;
    let folder = folder(context, checkout.identity().as_bytes());
    if !folder.exists() {
        fs::create_dir_all(folder.parent().unwrap_or(&folder))?;
        // Somebody else may have been as fast; what is there is the same.
        if let Err(error) = checkout.keep(folder.as_std_path())
            && !folder.exists()
        {
            return Err(error.into());
        }
    }
    file_in(&folder).ok_or_else(|| {
        CommandError::not_found("the repository has no compose file there")
            .hint("name a folder of it as in `https://HOST/REPOSITORY.git#BRANCH:FOLDER`")
    })
}

async fn artifact(context: &Context, reference: &ImageRef) -> Result<Utf8PathBuf, CommandError> {
    let registry = context.registry()?;
    let fetched = registry.manifest(reference).await?;
    let folder = folder(context, fetched.digest.to_string().as_bytes());
    let file = folder.join("compose.yaml");
    if file.exists() {
        return Ok(file);
    }
    let manifest = ImageManifest::from_reader(fetched.bytes.as_slice())
        .ok()
        .filter(|manifest| {
            manifest
                .artifact_type()
                .as_ref()
                .is_some_and(|kind| kind.to_string() == PROJECT)
        })
        .ok_or_else(|| {
            CommandError::user(format!("`{reference}` is no compose project but something else"))
        })?;
    fs::create_dir_all(folder.parent().unwrap_or(&folder))?;
    let parent = folder.parent().unwrap_or(&folder);
    // Gone again, unless all of it comes.
    let fetch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(parent)?;
    let unfinished = fetch.path();
    for layer in manifest.layers() {
        let kind = layer.media_type().to_string();
        if kind != FILE && kind != ENV_FILE {
            continue;
        }
        let bytes = blob(&registry, reference, layer).await?;
        write_layer(unfinished, layer, &kind, &bytes)?;
    }
    if !unfinished.join("compose.yaml").exists() {
        return Err(CommandError::user(format!("`{reference}` has no compose file")));
    }
    match fs::rename(unfinished, &folder) {
        Ok(()) => drop(fetch.keep()),
        // Somebody else was as fast.
        Err(_) if folder.exists() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(file)
}

async fn blob(
    registry: &plimsoll_registry::Registry,
    reference: &ImageRef,
    layer: &Descriptor,
) -> Result<Vec<u8>, CommandError> {
    if layer.size() > LIMIT {
        return Err(CommandError::user(format!(
            "a file of {} bytes is no compose file",
            layer.size()
        )));
    }
    let mut bytes = Vec::new();
    let mut write = |part: &[u8]| {
        bytes.extend_from_slice(part);
        Ok(())
    };
    registry.blob(reference, layer, 0, &mut write).await?;
    let digest = Digest::of(&bytes);
    match layer.digest().to_string() == digest.to_string() {
        true => Ok(bytes),
        false => Err(CommandError::user(format!(
            "the registry sent {digest} for {}",
            layer.digest()
        ))),
    }
}

/// Files keep their names, which are no paths.
fn write_layer(place: &Path, layer: &Descriptor, kind: &str, bytes: &[u8]) -> Result<(), CommandError> {
    let annotation = |key: &str| layer.annotations().as_ref().and_then(|all| all.get(key)).cloned();
    let name = match (kind, annotation(EXTENDED)) {
        (ENV_FILE, _) => annotation(ENV_FILE_NAME),
        (_, Some(_)) => annotation(FILE_NAME),
        _ => Some("compose.yaml".to_owned()),
    };
    let name = name.filter(|name| !name.is_empty() && !name.contains('/') && name != "." && name != "..");
    let name =
        name.ok_or_else(|| CommandError::user("a file of the project has no name, or a path for one"))?;
    let path = place.join(name);
    let is_next = path.exists() && kind == FILE;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(&path)?;
    if is_next {
        file.write_all(b"\n---\n")?;
    }
    Ok(file.write_all(bytes)?)
}

/// Where something fetched is kept.
fn folder(context: &Context, identity: &[u8]) -> Utf8PathBuf {
    context
        .root()
        .join("compose")
        .join(&Digest::of(identity).hex()[..32])
}
