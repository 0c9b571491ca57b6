//! A compose project as rules see it.

use camino::Utf8PathBuf;
use plimsoll_compose_file::{Entry, Project};
use plimsoll_diagnostics::{Diagnostic, Source};

/// A compose project.
#[derive(Debug)]
pub struct ComposeView {
    /// The file that it is known by.
    pub path: Utf8PathBuf,
    /// The texts that it was made of.
    pub sources: Vec<Source>,
    /// Whether the file says by its name that it is for development (`compose.override.yaml`, `compose.dev.yml`).
    pub for_development: bool,
    /// The merged project; every node has the [`Place`](plimsoll_compose_file::Place) it was written at. None where the
    /// files cannot be loaded.
    pub project: Option<Project>,
    /// Why it could not be loaded, or what its loading warned of.
    pub diagnostics: Vec<Diagnostic>,
}

impl ComposeView {
    /// The services, those of every profile, with their names and the place of their key.
    pub fn services(&self) -> Vec<&Entry> {
        let project = self.project.iter();
        project.flat_map(|project| project.section("services")).collect()
    }
}
