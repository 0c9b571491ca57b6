//! Results as images of the store.

use std::collections::BTreeMap;

use plimsoll_image::{Images, IndexForm, NewIndex};
use plimsoll_oci::{Digest, ImageRef};

use crate::BuiltImage;
use crate::error::BuildError;

/// Keeps what was built, under these names: one image as it is, several, or one with attestations, as an index. Returns
/// the digest of the manifest or index.
///
/// What nobody asked for is not attested here: an image that only this machine sees stays the plain image it is.
pub fn keep_built(images: &Images, built: &[BuiltImage], names: &[ImageRef]) -> Result<Digest, BuildError> {
    if let [one] = built
        && one.attestations.is_empty()
    {
        images.keep(&one.image)?;
        for name in names {
            images.tag(&one.image, name)?;
        }
        return Ok(one.image.manifest_digest);
    }
    let entry = |one: &BuiltImage| {
        images.index_entry(
            &one.image,
            &one.platform,
            BTreeMap::new(),
            one.attestations.clone(),
        )
    };
    let entries = built.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let form = IndexForm {
        names: names.to_vec(),
        ..IndexForm::default()
    };
    let new = NewIndex::new(&entries, &form);
    let list: Vec<_> = built.iter().map(|one| one.image.clone()).collect();
    Ok(images.keep_index(&list, &new, names)?.digest)
}
