//! Named contexts: `--build-context NAME=VALUE`.
//!
//! A name takes the place of the stage of that name, of an image in FROM, and of what `--from` and `from=` name. Names
//! are compared as images are: `docker.io/library/alpine`, `alpine` and `alpine:latest` are one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll_image::layout_digest;
use plimsoll_oci::{ImageRef, Platform};

use super::{Remote, SourceError};
use crate::BuildContext;
use crate::plan::Origin;

/// What a name of `--build-context` stands for.
#[derive(Clone)]
pub enum NamedContext {
    /// A folder, with its own ignore file.
    Folder(Arc<BuildContext>),
    /// `docker-image://`: the image to use instead; none for `scratch`.
    Image(Option<ImageRef>),
    /// `oci-layout://`: an image in a folder on this machine.
    Layout {
        /// The folder.
        path: PathBuf,
        /// The image: the context's name with the digest that the layout says.
        image: ImageRef,
    },
    /// Fetched when an instruction needs it: a repository, or a file that is then called `context`.
    Remote(Remote),
}

impl NamedContext {
    /// Opens the context that `value` means. Nothing is fetched yet.
    pub fn open(name: &str, value: &str) -> Result<Self, SourceError> {
        let wrong = |reason: &str| SourceError::NamedContext {
            name: name.to_owned(),
            value: super::without_credentials(value),
            reason: reason.to_owned(),
        };
        if normalised(name).is_none() {
            return Err(wrong("a context is called like an image or a stage"));
        }
        if let Some(reference) = value.strip_prefix("docker-image://") {
            return match reference {
                "scratch" => Ok(Self::Image(None)),
                _ => reference
                    .parse()
                    .map(|image| Self::Image(Some(image)))
                    .map_err(|error: plimsoll_oci::ReferenceError| wrong(&error.to_string())),
            };
        }
        if let Some(layout) = value.strip_prefix("oci-layout://") {
            return Self::layout(name, layout);
        }
        if value.starts_with("target:") {
            return Err(wrong(
                "`target:` means a target of a bake file: there is none here",
            ));
        }
        match super::folder::remote_or_path(value)? {
            Some(remote) => Ok(Self::Remote(remote)),
            None => Ok(Self::Folder(Arc::new(
                BuildContext::open(Path::new(value), None)?.named(name),
            ))),
        }
    }

    /// `PATH[:TAG][@DIGEST]`
    fn layout(name: &str, text: &str) -> Result<Self, SourceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let digest = match digest {
            Some(digest) => digest.parse().map_err(|error| SourceError::NamedContext {
                name: name.to_owned(),
                value: format!("oci-layout://{text}"),
                reason: format!("{error}"),
            })?,
            None => layout_digest(Path::new(path), tag)?,
        };
        let image: ImageRef = name
            .to_ascii_lowercase()
            .parse()
            .expect("a name that can be normalised is a reference");
        Ok(Self::Layout {
            path: path.into(),
            image: image.with_digest(digest),
        })
    }
}

/// The named contexts of one build.
#[derive(Default)]
pub(crate) struct Contexts {
    contexts: Vec<Named>,
}

struct Named {
    given: String,
    normalised: String,
    context: NamedContext,
}

impl Contexts {
    pub(crate) fn new(given: Vec<(String, NamedContext)>) -> Self {
        let named = |(given, context): (String, NamedContext)| Named {
            normalised: normalised(&given).unwrap_or_else(|| given.clone()),
            given,
            context,
        };
        Self {
            contexts: given.into_iter().map(named).collect(),
        }
    }

    /// What `name` means, if it is a context. The last one given wins.
    pub(crate) fn origin(&self, name: &str, platform: &Platform) -> Option<Origin> {
        let name = normalised(name)?;
        let at = self.contexts.iter().rposition(|named| named.normalised == name)?;
        Some(match &self.contexts[at].context {
            NamedContext::Image(None) => Origin::Scratch,
            NamedContext::Image(Some(image)) | NamedContext::Layout { image, .. } => {
                Origin::Image(image.clone(), platform.clone())
            }
            NamedContext::Folder(_) | NamedContext::Remote(_) => Origin::Context(at),
        })
    }

    /// The folder of an image that is not to be looked for elsewhere.
    pub(crate) fn layout(&self, wanted: &ImageRef) -> Option<&Path> {
        self.contexts.iter().find_map(|named| match &named.context {
            NamedContext::Layout { path, image } if image == wanted => Some(path.as_path()),
            _ => None,
        })
    }

    pub(crate) fn get(&self, at: usize) -> (&str, &NamedContext) {
        let named = &self.contexts[at];
        (&named.given, &named.context)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().map(|named| named.given.as_str())
    }
}

/// As BuildKit compares names of contexts: Docker's short form, without `:latest`, in lower case as stages are.
fn normalised(name: &str) -> Option<String> {
    let reference: ImageRef = name.to_ascii_lowercase().parse().ok()?;
    let familiar = reference.familiar();
    Some(
        familiar
            .strip_suffix(":latest")
            .map_or(familiar.clone(), str::to_owned),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_images() {
        for (one, other) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("Builder", "builder"),
            ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ] {
            assert_eq!(normalised(one), normalised(other));
        }
        assert_ne!(normalised("alpine"), normalised("alpine:3"));
        assert_eq!(normalised("a b"), None);
    }

    #[test]
    fn values_say_what_they_are() {
        let shown = |value: &str| match NamedContext::open("x", value) {
            Ok(NamedContext::Folder(_)) => "folder".to_owned(),
            Ok(NamedContext::Image(None)) => "scratch".to_owned(),
            Ok(NamedContext::Image(Some(image))) => image.to_string(),
            Ok(NamedContext::Layout { path, image }) => format!("{} in {}", image.familiar(), path.display()),
            Ok(NamedContext::Remote(remote)) => remote.shown(),
            Err(error) => error.to_string(),
        };
        let digest = plimsoll_oci::Digest::of("x");
        for (value, expected) in [
            ("/", "folder"),
            ("docker-image://alpine:3", "docker.io/library/alpine:3"),
            ("docker-image://scratch", "scratch"),
            ("https://me:pw@host/x", "https://host/x"),
            (
                "target:base",
                "`target:base` cannot be build context `x`: `target:` means a target of a bake file: there is none here",
            ),
            ("/no/such/folder", "cannot read build context `/no/such/folder`"),
            (
                &format!("oci-layout:///some/where:1@{digest}"),
                &format!("x@{digest} in /some/where"),
            ),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
