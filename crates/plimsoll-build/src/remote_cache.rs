//! Results of builds on other machines: caches that are exported to and imported from a registry, a folder, an image,
//! or the cache service of GitHub Actions.
//!
//! A cache is a document, in BuildKit's form of a cache configuration, and blobs: the layers of results. What decides is
//! our own, the keys of the solver: a cache of BuildKit's is read, and nothing in it is found.
//!
//! **Import** reads the document alone. A key that is not known here is looked up in it, and only then the layers of
//! that result are brought, so that of a build that has not changed nothing but the layers of its last stage is. After
//! that the result is a record like any other.
//!
//! **Export** gives blobs first and the document last, each blob only if it is not there. Killed anywhere, it leaves the
//! cache that was there before, and blobs that the next one does not send again.
//!
//! Whoever may write to a cache decides what builds that import it come to, as with any cache: content is checked
//! against its digest, not against the key.

mod config;
mod export;
mod gather;
mod import;
mod layout;
mod load;
mod mounts;
mod place;

use plimsoll_diagnostics::{Diagnostic, Source, Span, chain};

pub use config::ConfigError;
pub use export::{CacheMode, CacheTo};
pub(crate) use export::{Exporting, export_all, inline};
pub(crate) use import::{Here, Imported};
pub(crate) use load::import;
pub(crate) use mounts::TravellingMounts;
pub use place::{CacheError, CacheFrom, CachePlace};

pub(crate) use config::INLINE;

/// The caches of one build.
#[derive(Clone, Default)]
pub struct Caches {
    /// Asked in this order.
    pub from: Vec<CacheFrom>,
    /// Written when the build has gone well.
    pub to: Vec<CacheTo>,
}

impl Caches {
    /// Tells whether the image carries its own cache.
    pub(crate) fn is_inline(&self) -> bool {
        self.to.iter().any(|to| matches!(to.place, CachePlace::Inline))
    }
}

/// A warning that is about no file.
fn warning(code: &'static str, message: String) -> Diagnostic {
    let mut warning = Diagnostic::warning(code, &Source::new("cache", ""), Span::default(), message);
    warning.labels.clear();
    warning
}
