//! Names and descriptors: what an image is called and what it is made of.
//!
//! The types of manifests, indexes and descriptors are `oci-spec`'s, re-exported here so that every
//! crate uses the same version. Only what it lacks a rule for is our own:
//! - [`Digest`]: sha256 only, `Copy`, always safe as a file name;
//! - [`ImageConfig`]: Docker's `Healthcheck`, `Shell`, `OnBuild` and unknown fields survive a round trip;
//! - [`ImageRef`]: Docker's short names;
//! - [`Platform`]: containerd's normalisation.

mod config;
mod digest;
mod platform;
mod reference;

pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use digest::{Digest, DigestError, Hasher};
pub use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, ImageManifestBuilder, MediaType};
pub use platform::{Platform, PlatformError};
pub use reference::{ImageRef, ReferenceError};
