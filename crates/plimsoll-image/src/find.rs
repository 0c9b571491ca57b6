//! Looking images up.

use plimsoll_oci::{Digest, ImageRef, Platform};

use crate::pull::{is_for, no_platform};
use crate::{Image, ImageError, ImageSummary, Images, Result, document, rows};

impl Images {
    /// Finds an image by name, `name@digest`, id or unambiguous beginning of an id, in this order. Of several platforms
    /// it is this machine's if that is here.
    pub fn find(&self, name: &str) -> Result<Option<Image>> {
        let found = self.candidates(name)?;
        if let [manifest] = found.as_slice() {
            return self.read(*manifest).map(Some);
        }
        match self.choose_stored(&found, &Platform::host())? {
            Some(image) => Ok(Some(image)),
            None => found.first().map(|manifest| self.read(*manifest)).transpose(),
        }
    }

    /// As [`Images::find`], for a platform.
    pub fn find_for(&self, name: &str, platform: &Platform) -> Result<Option<Image>> {
        self.choose_stored(&self.candidates(name)?, platform)
    }

    /// As [`Images::get`], for a platform if one is asked for.
    pub fn get_for(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let Some(platform) = platform else {
            return self.get(name);
        };
        if let Some(image) = self.find_for(name, platform)? {
            return Ok(image);
        }
        self.get(name)?;
        let images = self.candidates(name)?;
        let images = images.into_iter().map(|manifest| self.read(manifest));
        let platforms = images
            .map(|image| Ok(image?.config.platform()))
            .collect::<Result<Vec<_>>>()?;
        Err(no_platform(name, platform, &platforms))
    }

    /// Chooses the image for a platform: the very one, or else one that runs there too.
    fn choose_stored(&self, manifests: &[Digest], platform: &Platform) -> Result<Option<Image>> {
        let mut runs_too = None;
        for manifest in manifests {
            let image = self.read(*manifest)?;
            if image.config.platform() == *platform {
                return Ok(Some(image));
            }
            if runs_too.is_none() && is_for(&image, platform) {
                runs_too = Some(image);
            }
        }
        Ok(runs_too)
    }

    /// Returns the manifests of all images here that a text means, the one that stands for them first.
    pub(crate) fn candidates(&self, name: &str) -> Result<Vec<Digest>> {
        let named = self.manifests_of_name(name)?;
        if !named.is_empty() {
            return Ok(named);
        }
        if let Some(id) = self.id_of_prefix(name)? {
            return Ok(vec![self.manifest_of_id(&id)?]);
        }
        match digest_prefix(name) {
            Some(prefix) => Ok(self
                .store
                .db()
                .read(|db| rows::of_index_with_prefix(db, prefix))?),
            None => Ok(Vec::new()),
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
            let summary = |name: Option<&ImageRef>, index: Option<Digest>| ImageSummary {
                name: name.cloned(),
                image: image.clone(),
                size: stored.size,
                digest: name.and_then(digest_for).or(index),
                index,
            };
            let names = self.store.db().read(|db| rows::main_names_of(db, &image.id))?;
            for (name, index) in &names {
                let mut line = summary(Some(name), *index);
                if let Some(index) = index {
                    line.size = self.store.db().read(|db| rows::listed_size(db, index))?;
                }
                list.push(line);
            }
            // What only an index with a name lists is shown with that.
            if !names.is_empty() || !self.names(&image)?.is_empty() {
                continue;
            }
            match digests.as_slice() {
                [] => list.push(summary(None, None)),
                digests => list.extend(digests.iter().map(|name| summary(Some(name), None))),
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
        Ok(self.manifests_of_name(name)?.first().copied())
    }

    fn manifests_of_name(&self, name: &str) -> Result<Vec<Digest>> {
        let Ok(reference) = name.parse::<ImageRef>() else {
            return Ok(Vec::new());
        };
        Ok(self.store.db().read(|db| match reference.digest() {
            None => rows::by_name(db, &reference),
            Some(digest) => rows::by_digest(db, &reference, digest),
        })?)
    }

    /// Returns the id that begins with `text`, if it looks like the beginning of one.
    pub(crate) fn id_of_prefix(&self, text: &str) -> Result<Option<Digest>> {
        let Some(prefix) = digest_prefix(text) else {
            return Ok(None);
        };
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

/// Returns the hexadecimal digits of what looks like the beginning of a digest.
pub(crate) fn digest_prefix(text: &str) -> Option<&str> {
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (!prefix.is_empty() && prefix.len() <= 64 && prefix.bytes().all(hex)).then_some(prefix)
}
