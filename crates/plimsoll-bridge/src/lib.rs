//! Compose projects as Kubernetes manifests and as Helm charts.
//!
//! [`convert`] is the door: a loaded project goes in, files and warnings come out. Nothing runs, nothing is fetched; only
//! the files that secrets, configs and bind mounts name are read.
//!
//! What a compose file says is kept, or said to be lost with its line: `keys` lists what has no counterpart, and what
//! would change its meaning without anybody noticing (a dependency that nothing could wait for, one network namespace
//! for two services) is refused. The parts:
//!
//! ```text
//! Project --workload--> Deployment, StatefulSet, DaemonSet, Job      pod, container, security, probes, limits, volumes
//!         --waits-----> init containers, and the role they need      depends_on
//!         --services--> Service                                      ports, expose, aliases
//!         --policies--> NetworkPolicy                                networks
//!         --things----> Namespace, ConfigMap, Secret, PersistentVolumeClaim
//!                                  | kustomize, helm
//!                                  v files
//! ```

mod app;
mod check;
mod container;
mod content;
mod helm;
mod keys;
mod kustomize;
mod limits;
mod manifest;
mod names;
mod notes;
mod pod;
mod policies;
mod ports;
mod resolved;
mod security;
mod services;
mod things;
mod volumes;
mod waits;
mod workload;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::Healthcheck;
use plimsoll_diagnostics::Diagnostic;

use app::App;
pub use resolved::resolved;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Manifests with a kustomization: `base`, and `overlays/desktop` for clusters with host path storage.
    Kubernetes,
    /// A Helm chart.
    Helm,
}

/// What an image says about itself.
#[derive(Clone, Debug, Default)]
pub struct ImageFacts {
    /// `EXPOSE`: `80/tcp`.
    pub exposed: Vec<String>,
    /// `ENTRYPOINT`
    pub entrypoint: Vec<String>,
    /// `HEALTHCHECK`
    pub healthcheck: Option<Healthcheck>,
}

/// A file of the result.
#[derive(Clone, Debug)]
pub struct File {
    /// Below the output folder.
    pub path: Utf8PathBuf,
    /// Its text.
    pub text: String,
    /// Whether it holds a secret, so that only its owner may read it.
    pub is_secret: bool,
}

/// A converted project.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// What is written, in the order of paths.
    pub files: Vec<File>,
    /// What is not the same as with Compose.
    pub warnings: Vec<Diagnostic>,
}

/// Converts a project. `images` has what is known of the images of services, by the name of the service.
///
/// # Errors
/// Everything whose meaning would be lost, beside the warnings.
pub fn convert(
    project: &Project,
    images: &BTreeMap<String, ImageFacts>,
    target: Target,
) -> Result<Conversion, Vec<Diagnostic>> {
    let app = App::new(project, images)?;
    let manifests = app.manifests();
    let mut files = match target {
        Target::Kubernetes => kustomize::files(&manifests),
        Target::Helm => helm::files(&app, &manifests),
    };
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let warnings = app.notes.finish()?;
    Ok(Conversion { files, warnings })
}
