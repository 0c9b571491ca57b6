//! Everything that is checked together.

use camino::Utf8Path;

use super::{ComposeView, ContextView, DockerfileView};
use crate::facts::ImageFacts;

/// Everything that is checked together, for rules that need the other side.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Dockerfiles.
    pub dockerfiles: Vec<DockerfileView>,
    /// Dockerfiles that are only known: compose files that are checked build them.
    pub others: Vec<DockerfileView>,
    /// Build contexts.
    pub contexts: Vec<ContextView>,
    /// Compose projects.
    pub projects: Vec<ComposeView>,
    /// Images to check.
    pub images: Vec<ImageFacts>,
    /// Images that are only known: bases of stages and images of services that lie in the store.
    pub known: Vec<ImageFacts>,
}

impl Workspace {
    /// The Dockerfile at a path.
    pub fn dockerfile(&self, path: &Utf8Path) -> Option<&DockerfileView> {
        let mut all = self.dockerfiles.iter().chain(&self.others);
        all.find(|view| view.path == path)
    }

    /// The context in a folder.
    pub fn context(&self, folder: &Utf8Path) -> Option<&ContextView> {
        self.contexts.iter().find(|view| view.folder == folder)
    }

    /// What is known about the image of a name as it is written in a `FROM` or an `image:`.
    pub fn image(&self, name: &str) -> Option<&ImageFacts> {
        let mut all = self.images.iter().chain(&self.known);
        all.find(|image| image.is_called(name))
    }
}
