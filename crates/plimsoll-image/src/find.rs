//! Looking images up.

use plimsoll_oci::{Digest, ImageRef};

use crate::{Image, ImageError, ImageSummary, Images, Result, document, rows};

impl Images {
    /// Finds an image by name, `name@digest`, id or unambiguous beginning of an id, in this order.
    pub fn find(&self, name: &str) -> Result<Option<Image>> {
        if let Some(manifest) = self.manifest_of_name(name)? {
            return self.read(manifest).map(Some);
        }
        match self.id_of_prefix(name)? {
            Some(id) => self.read(self.manifest_of_id(&id)?).map(Some),
            None => Ok(None),
        }
    }

    /// Finds an image; the error of one that is not there knows the nearest name.
    pub fn get(&self, name: &str) -> Result<Image> {
        match self.find(name)? {
            Some(image) => Ok(image),
            None => Err(ImageError::NotFound {
                name: name.to_owned(),
                nearest: self.nearest(name)?,
            }),
        }
    }

    /// Lists all images, those made last first; an image appears once for each of its names.
    pub fn list(&self) -> Result<Vec<ImageSummary>> {
        let mut list = Vec::new();
        for stored in self.store.db().read(rows::all_images)? {
            let image = self.read(stored.manifest)?;
            let digests = self.digests(&image)?;
            let digest_for = |name: &ImageRef| {
                let same = |known: &&ImageRef| {
                    (known.registry(), known.repository()) == (name.registry(), name.repository())
                };
                digests.iter().find(same).and_then(ImageRef::digest)
            };
            let summary = |name: Option<&ImageRef>| ImageSummary {
                name: name.cloned(),
                image: image.clone(),
                size: stored.size,
                digest: name.and_then(digest_for),
            };
            let names = self.names(&image)?;
            match (names.as_slice(), digests.as_slice()) {
                ([], []) => list.push(summary(None)),
                ([], digests) => list.extend(digests.iter().map(|name| summary(Some(name)))),
                (names, _) => list.extend(names.iter().map(|name| summary(Some(name)))),
            }
        }
        list.sort_by(|a, b| {
            b.image
                .config
                .created
                .cmp(&a.image.config.created)
                .then_with(|| a.name.cmp(&b.name))
        });
        Ok(list)
    }

    /// Returns all names of an image, sorted.
    pub fn names(&self, image: &Image) -> Result<Vec<ImageRef>> {
        Ok(self.store.db().read(|db| rows::names_of(db, &image.id))?)
    }

    /// Returns `name@digest` for every way a registry gave this image, sorted.
    pub fn digests(&self, image: &Image) -> Result<Vec<ImageRef>> {
        Ok(self.store.db().read(|db| rows::digests_of(db, &image.id))?)
    }

    /// Returns when the image last got a name, in unix nanoseconds.
    pub fn tagged(&self, image: &Image) -> Result<Option<i64>> {
        Ok(self.store.db().read(|db| rows::tagged(db, &image.id))?)
    }

    pub(crate) fn read(&self, manifest: Digest) -> Result<Image> {
        document::read_image(self.store.content(), manifest)
    }

    /// Returns the manifest that a text means as a name.
    pub(crate) fn manifest_of_name(&self, name: &str) -> Result<Option<Digest>> {
        let Ok(reference) = name.parse::<ImageRef>() else {
            return Ok(None);
        };
        match reference.digest() {
            None => Ok(self.store.db().read(|db| rows::by_name(db, &reference))?),
            Some(digest) => {
                let found = self
                    .store
                    .db()
                    .read(|db| rows::by_digest(db, &reference, digest))?;
                Ok(found.first().copied())
            }
        }
    }

    /// Returns the id that begins with `text`, if it looks like the beginning of one.
    pub(crate) fn id_of_prefix(&self, text: &str) -> Result<Option<Digest>> {
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(hex) {
            return Ok(None);
        }
        let ids = self.store.db().read(|db| rows::ids_with_prefix(db, prefix))?;
        match ids.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(*id)),
            ids => Err(ImageError::Ambiguous {
                prefix: text.to_owned(),
                count: ids.len(),
            }),
        }
    }

    fn manifest_of_id(&self, id: &Digest) -> Result<Digest> {
        let manifests = self.store.db().read(|db| rows::manifests_of(db, id))?;
        let gone = || ImageError::NotFound {
            name: id.to_string(),
            nearest: None,
        };
        manifests.first().copied().ok_or_else(gone)
    }

    fn nearest(&self, name: &str) -> Result<Option<String>> {
        let names = self.store.db().read(rows::all_names)?;
        let mut candidates = Vec::new();
        for known in &names {
            candidates.push(known.familiar());
            if known.tag() == Some("latest") {
                candidates.push(known.familiar_name());
            }
        }
        let nearest = plimsoll_dockerfile::nearest(name, candidates.iter().map(String::as_str));
        Ok(nearest.map(str::to_owned))
    }
}
