//! What is in an image, and in stages or contexts that the Dockerfile wants looked at too.

use plimsoll_image::Attestation;
use plimsoll_scan::{Inventory, SPDX_PREDICATE, ScanError, SpdxDocument};
use plimsoll_store::MergedTree;

const TOOL: &str = concat!("plimsoll-", env!("CARGO_PKG_VERSION"));
/// What BuildKit's scanner calls the image.
const NAME: &str = "sbom";

/// Something to be looked at.
pub(crate) struct Scanned {
    /// None for the image itself.
    pub(crate) name: Option<String>,
    pub(crate) tree: MergedTree,
    /// A folder of sources rather than a root file system.
    pub(crate) is_source: bool,
}

/// Lists what is installed. `created` is a time of the image: the same image gives the same list.
pub(crate) fn sbom(scanned: &Scanned, created: &str) -> Result<Attestation, ScanError> {
    let inventory = Inventory::of(&scanned.tree)?;
    let name = match &scanned.name {
        None => NAME.to_owned(),
        Some(name) => format!("{NAME}-{name}"),
    };
    let document = SpdxDocument {
        name: &name,
        created,
        tool: TOOL,
        purpose: if scanned.is_source { "SOURCE" } else { "CONTAINER" },
    };
    Ok(Attestation {
        predicate_type: SPDX_PREDICATE.to_owned(),
        predicate: document.json(&inventory),
    })
}

/// Tells whether the value of `BUILDKIT_SBOM_SCAN_STAGE` or `_CONTEXT` means a stage: a truth value, or names.
pub(crate) fn scans(value: &str, stage: &str) -> bool {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        names => names
            .split(',')
            .any(|name| name.trim().eq_ignore_ascii_case(stage)),
    }
}
