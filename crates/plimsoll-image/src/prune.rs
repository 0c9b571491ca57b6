//! Removing images that nobody uses.

use std::collections::HashSet;

use crate::{Image, Images, Removed, Result, rows};

impl Images {
    /// Removes the images without a name, or with `all` those of which no container is made, where `wanted` holds.
    /// Their files stay until [`Images::collect`].
    pub fn prune(&self, all: bool, wanted: &dyn Fn(&Image) -> bool) -> Result<Vec<Removed>> {
        let mut removed = Vec::new();
        let mut seen = HashSet::new();
        for summary in self.list()? {
            let image = summary.image;
            if seen.insert(image.id) && wanted(&image) {
                removed.extend(self.remove_unused(&image, all)?);
            }
        }
        Ok(removed)
    }

    /// Removes an image in one transaction with asking whether anybody uses it.
    fn remove_unused(&self, image: &Image, all: bool) -> Result<Vec<Removed>> {
        let removed = self.store.db().write(|db| -> rusqlite::Result<_> {
            let names = rows::names_of(db, &image.id)?;
            if !rows::containers_of(db, &image.id)?.is_empty() || !(all || names.is_empty()) {
                return Ok(None);
            }
            let digests = rows::digests_of(db, &image.id)?;
            let deleted = rows::drop_image(db, &image.id, &names, &digests)?;
            let untagged = names.into_iter().chain(digests).map(Removed::Untagged);
            Ok(Some(untagged.chain(deleted.into_iter().map(Removed::Deleted))))
        })?;
        Ok(removed.into_iter().flatten().collect())
    }
}
