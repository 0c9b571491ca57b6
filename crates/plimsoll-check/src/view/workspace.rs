//! Everything that is checked together.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

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
    /// Digests that a registry gave for names of images, where it was asked.
    pub pins: BTreeMap<String, String>,
    /// Who is where; made when somebody first asks, so nothing may be added afterwards.
    pub index: Index,
}

/// Places of Dockerfiles and contexts in their lists, by path: a folder may hold thousands.
#[derive(Debug, Default)]
pub struct Index(OnceLock<Places>);

#[derive(Debug, Default)]
struct Places {
    dockerfiles: HashMap<String, usize>,
    /// By the path of a Dockerfile that is built with them.
    contexts: HashMap<String, Vec<usize>>,
}

impl Workspace {
    /// The Dockerfile at a path.
    pub fn dockerfile(&self, path: &Utf8Path) -> Option<&DockerfileView> {
        let at = *self.places().dockerfiles.get(path.as_str())?;
        let other = || self.others.get(at - self.dockerfiles.len());
        self.dockerfiles.get(at).or_else(other)
    }

    /// The contexts that a Dockerfile is built with.
    pub fn contexts_of(&self, view: &DockerfileView) -> impl Iterator<Item = &ContextView> {
        let places = self.places().contexts.get(view.path.as_str());
        places.into_iter().flatten().map(|at| &self.contexts[*at])
    }

    fn places(&self) -> &Places {
        self.index.0.get_or_init(|| {
            let mut places = Places::default();
            for (at, view) in self.dockerfiles.iter().chain(&self.others).enumerate() {
                places.dockerfiles.entry(view.path.to_string()).or_insert(at);
            }
            for (at, context) in self.contexts.iter().enumerate() {
                for path in &context.dockerfiles {
                    places.contexts.entry(path.to_string()).or_default().push(at);
                }
            }
            places
        })
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
