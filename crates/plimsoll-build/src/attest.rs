//! Statements about what was built: how, and what is in it.
//!
//! They are made when the build is done, from its record and its files, and know nothing of where the image goes: which
//! digest they are about is added by whoever writes the index ([`plimsoll_image::NewIndex`]).

mod provenance;
mod sbom;

use plimsoll_image::Attestation;
use plimsoll_oci::{Digest, ImageRef, Platform};

pub(crate) use provenance::provenance;
pub use provenance::{Mode, ProvenanceSettings, SlsaVersion};
pub(crate) use sbom::{Scanned, sbom, scans};

/// Which statements are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttestSettings {
    /// `--provenance`.
    pub provenance: Option<ProvenanceSettings>,
    /// A minimal provenance for registries and archives, because nobody said that there should be none.
    pub default_provenance: bool,
    /// `--sbom`.
    pub sbom: bool,
}

/// Where a build context was fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContextOrigin {
    /// The URL, without credentials.
    pub(crate) uri: String,
    /// Algorithm and digest: of the commit, or of the file.
    pub(crate) digest: (&'static str, String),
}

/// What the record of a build does not say.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// SOURCE_DATE_EPOCH: the statement is then to be the same whenever it is made.
    pub(crate) epoch: Option<i64>,
    /// Base images, and by which digest each was had.
    pub(crate) images: Vec<(ImageRef, Platform, Digest)>,
    /// Where the context came from, if it was fetched.
    pub(crate) origin: Option<&'a ContextOrigin>,
    /// Build arguments of which not even a hash may be told: statements are for everybody.
    pub(crate) hidden: Vec<String>,
}

/// Makes the statements that say how an image was built: what was asked for, and what goes along by default.
pub(crate) fn provenances(
    settings: &AttestSettings,
    record: &crate::record::BuildRecord,
    facts: &Facts<'_>,
) -> (Option<Attestation>, Option<Attestation>) {
    let asked = settings.provenance.as_ref();
    let asked = asked.map(|settings| provenance(record, facts, settings));
    let default = || provenance(record, facts, &ProvenanceSettings::default());
    (asked, settings.default_provenance.then(default))
}
