//! The tables of images and their names.

use std::collections::HashSet;

use plimsoll_oci::{Descriptor, Digest, ImageRef};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{Image, Index};

type Result<T> = rusqlite::Result<T>;

/// An image that becomes known to the store with all its names, in one transaction.
pub(crate) struct Registration<'a> {
    pub(crate) image: &'a Image,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) names: &'a [ImageRef],
    /// The reference a registry was asked for, and the digest it answered with.
    pub(crate) pulled: Option<(&'a ImageRef, Digest)>,
    /// The index that lists it, and that the names mean.
    pub(crate) index: Option<&'a Index>,
}

impl Registration<'_> {
    pub(crate) fn write(&self, db: &Connection, now: i64) -> Result<()> {
        let image = self.image;
        let manifest = image.manifest_digest.to_string();
        let index = self.index.map(|index| index.digest);
        db.prepare_cached(
            "INSERT INTO image (manifest_digest, media_type, config_digest, index_digest, platform, size, created)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (manifest_digest) DO UPDATE SET index_digest = coalesce(excluded.index_digest, index_digest)",
        )?
        .execute(params![
            manifest,
            self.media_type,
            image.id.to_string(),
            index.map(|digest| digest.to_string()),
            image.config.platform().to_string(),
            self.size,
            now
        ])?;
        for (layer, diff_id) in image.manifest.layers().iter().zip(&image.config.rootfs.diff_ids) {
            note_layer_blob(db, diff_id, layer)?;
        }
        if let Some((reference, digest)) = &self.pulled {
            db.prepare_cached("INSERT OR IGNORE INTO image_digest (repository, digest, manifest_digest) VALUES (?1, ?2, ?3)")?
                .execute(params![repository(reference), digest.to_string(), manifest])?;
        }
        if let Some(index) = self.index {
            note_index(db, index)?;
        }
        self.names
            .iter()
            .try_for_each(|name| set_name(db, name, &image.manifest_digest, index, now))
    }
}

/// Remembers a compressed form of a layer; the uncompressed one needs no row.
pub(crate) fn note_layer_blob(db: &Connection, diff_id: &Digest, layer: &Descriptor) -> Result<()> {
    let digest = layer.digest().to_string();
    if digest == diff_id.to_string() {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT OR IGNORE INTO layer_blob (diff_id, digest, media_type, size) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        diff_id.to_string(),
        digest,
        layer.media_type().to_string(),
        layer.size()
    ])?;
    Ok(())
}

/// Returns the form in which a layer came from elsewhere, if that blob is stored.
pub(crate) fn layer_as_it_came(db: &Connection, diff_id: &Digest) -> Result<Option<Descriptor>> {
    db.prepare_cached(
        "SELECT layer_blob.digest, media_type, layer_blob.size FROM layer_blob JOIN blob USING (digest)
         WHERE diff_id = ?1 AND encoder IS NULL ORDER BY layer_blob.digest LIMIT 1",
    )?
    .query_row([diff_id.to_string()], layer_descriptor)
    .optional()
}

/// Returns the form that this encoder gave a layer, if that blob is stored.
pub(crate) fn layer_packed(db: &Connection, diff_id: &Digest, encoder: &str) -> Result<Option<Descriptor>> {
    db.prepare_cached(
        "SELECT layer_blob.digest, media_type, layer_blob.size FROM layer_blob JOIN blob USING (digest)
         WHERE diff_id = ?1 AND encoder = ?2 LIMIT 1",
    )?
    .query_row(params![diff_id.to_string(), encoder], layer_descriptor)
    .optional()
}

fn layer_descriptor(row: &Row<'_>) -> Result<Descriptor> {
    let digest: Digest = parsed(row, 0)?;
    let media_type: String = row.get(1)?;
    Ok(Descriptor::new(media_type.as_str().into(), row.get(2)?, digest))
}

/// Remembers what an encoder made of a layer.
pub(crate) fn note_packed(
    db: &Connection,
    diff_id: &Digest,
    layer: &Descriptor,
    encoder: &str,
) -> Result<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO layer_blob (diff_id, digest, media_type, size, encoder) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        diff_id.to_string(),
        layer.digest().to_string(),
        layer.media_type().to_string(),
        layer.size(),
        encoder
    ])?;
    Ok(())
}

/// Gives a name, taking it from whoever has it.
pub(crate) fn set_name(
    db: &Connection,
    name: &ImageRef,
    manifest: &Digest,
    index: Option<Digest>,
    now: i64,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO image_name (name, manifest_digest, index_digest, created) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET manifest_digest = excluded.manifest_digest,
           index_digest = excluded.index_digest, created = excluded.created
         WHERE manifest_digest <> excluded.manifest_digest OR index_digest IS NOT excluded.index_digest",
    )?
    .execute(params![
        name.to_string(),
        manifest.to_string(),
        index.map(|digest| digest.to_string()),
        now
    ])?;
    Ok(())
}

/// Remembers which images an index lists.
fn note_index(db: &Connection, index: &Index) -> Result<()> {
    let mut insert = db.prepare_cached("INSERT OR IGNORE INTO index_image VALUES (?1, ?2)")?;
    let digest = index.digest.to_string();
    index
        .images()
        .try_for_each(|manifest| insert.execute([&digest, &manifest.to_string()]).map(drop))
}

/// Returns the index that a name means.
pub(crate) fn index_of_name(db: &Connection, name: &ImageRef) -> Result<Option<Digest>> {
    db.prepare_cached("SELECT index_digest FROM image_name WHERE name = ?1 AND index_digest IS NOT NULL")?
        .query_row([name.to_string()], |row| parsed(row, 0))
        .optional()
}

/// Returns the indexes that begin with `prefix`, hexadecimal digits.
pub(crate) fn indexes_with_prefix(db: &Connection, prefix: &str) -> Result<Vec<Digest>> {
    let (from, to) = (format!("sha256:{prefix}"), format!("sha256:{prefix}g"));
    db.prepare_cached(
        "SELECT DISTINCT index_digest FROM index_image WHERE index_digest >= ?1 AND index_digest < ?2",
    )?
    .query_map([from, to], |row| parsed(row, 0))?
    .collect()
}

/// Returns the images of an index that are here.
pub(crate) fn listed(db: &Connection, index: &Digest) -> Result<Vec<Digest>> {
    db.prepare_cached(
        "SELECT manifest_digest FROM index_image JOIN image USING (manifest_digest) WHERE index_image.index_digest = ?1",
    )?
    .query_map([index.to_string()], |row| parsed(row, 0))?
    .collect()
}

/// Returns the indexes that list an image and that a name or the image itself goes back to.
pub(crate) fn indexes_of(db: &Connection, manifest: &Digest) -> Result<Vec<Digest>> {
    db.prepare_cached(
        "SELECT index_digest FROM index_image WHERE manifest_digest = ?1
         AND index_digest IN (SELECT index_digest FROM image_name WHERE index_digest IS NOT NULL)
         UNION SELECT index_digest FROM image WHERE manifest_digest = ?1 AND index_digest IS NOT NULL",
    )?
    .query_map([manifest.to_string()], |row| parsed(row, 0))?
    .collect()
}

/// Returns the bytes of all images of an index that are here.
pub(crate) fn listed_size(db: &Connection, index: &Digest) -> Result<u64> {
    db.prepare_cached(
        "SELECT coalesce(sum(size), 0) FROM image WHERE manifest_digest IN
           (SELECT manifest_digest FROM index_image WHERE index_digest = ?1)",
    )?
    .query_row([index.to_string()], |row| row.get(0))
}

/// Returns the manifest of `name:tag`, and those of its other platforms that are here.
pub(crate) fn by_name(db: &Connection, name: &ImageRef) -> Result<Vec<Digest>> {
    db.prepare_cached(
        "SELECT manifest_digest, 0 AS place FROM image_name WHERE name = ?1
         UNION SELECT listed.manifest_digest, 1 FROM image_name JOIN index_image AS listed USING (index_digest)
           JOIN image ON image.manifest_digest = listed.manifest_digest
           WHERE name = ?1 AND listed.manifest_digest <> image_name.manifest_digest
         ORDER BY place",
    )?
    .query_map([name.to_string()], |row| parsed(row, 0))?
    .collect()
}

/// Returns the images here that an index lists, or that have a manifest, which begins with `prefix`.
pub(crate) fn of_index_with_prefix(db: &Connection, prefix: &str) -> Result<Vec<Digest>> {
    let (from, to) = (format!("sha256:{prefix}"), format!("sha256:{prefix}g"));
    db.prepare_cached(
        "SELECT image.manifest_digest FROM image JOIN index_image USING (manifest_digest)
         WHERE index_image.index_digest >= ?1 AND index_image.index_digest < ?2
         UNION SELECT manifest_digest FROM image WHERE manifest_digest >= ?1 AND manifest_digest < ?2",
    )?
    .query_map([from, to], |row| parsed(row, 0))?
    .collect()
}

/// Returns the manifests that `repository@digest` means: as pulled, or an image that goes by a name of that repository.
pub(crate) fn by_digest(db: &Connection, name: &ImageRef, digest: Digest) -> Result<Vec<Digest>> {
    db.prepare_cached(
        "SELECT manifest_digest FROM image_digest WHERE repository = ?1 AND digest = ?2
         UNION SELECT image.manifest_digest FROM image JOIN image_name USING (manifest_digest)
         WHERE substr(name, 1, length(?1) + 1) = ?1 || ':'
           AND ?2 IN (image.manifest_digest, image.index_digest, image_name.index_digest)
         UNION SELECT image.manifest_digest FROM image JOIN index_image USING (manifest_digest)
           JOIN image_name ON image_name.index_digest = index_image.index_digest
         WHERE substr(name, 1, length(?1) + 1) = ?1 || ':'
           AND ?2 IN (index_image.index_digest, image.manifest_digest)",
    )?
    .query_map(params![repository(name), digest.to_string()], |row| {
        parsed(row, 0)
    })?
    .collect()
}

/// Returns the ids that begin with `prefix`, hexadecimal digits.
pub(crate) fn ids_with_prefix(db: &Connection, prefix: &str) -> Result<Vec<Digest>> {
    let from = format!("sha256:{prefix}");
    let to = format!("sha256:{prefix}g");
    db.prepare_cached(
        "SELECT DISTINCT config_digest FROM image WHERE config_digest >= ?1 AND config_digest < ?2",
    )?
    .query_map([from, to], |row| parsed(row, 0))?
    .collect()
}

/// Returns the manifests of an image, those with names first, then the latest.
pub(crate) fn manifests_of(db: &Connection, id: &Digest) -> Result<Vec<Digest>> {
    db.prepare_cached(
        "SELECT manifest_digest FROM image WHERE config_digest = ?1
         ORDER BY manifest_digest IN (SELECT manifest_digest FROM image_name) DESC, created DESC, manifest_digest",
    )?
    .query_map([id.to_string()], |row| parsed(row, 0))?
    .collect()
}

/// Returns every name of an image, sorted: its own, and those of indexes that list it.
pub(crate) fn names_of(db: &Connection, id: &Digest) -> Result<Vec<ImageRef>> {
    db.prepare_cached(
        "SELECT name FROM image_name JOIN image USING (manifest_digest) WHERE config_digest = ?1
         UNION SELECT name FROM image_name JOIN index_image USING (index_digest)
           JOIN image ON image.manifest_digest = index_image.manifest_digest WHERE config_digest = ?1
         ORDER BY name",
    )?
    .query_map([id.to_string()], |row| parsed(row, 0))?
    .collect()
}

/// Returns the names that mean this image where one image is wanted, sorted, each with its index.
pub(crate) fn main_names_of(db: &Connection, id: &Digest) -> Result<Vec<(ImageRef, Option<Digest>)>> {
    db.prepare_cached(
        "SELECT name, image_name.index_digest FROM image_name JOIN image USING (manifest_digest)
         WHERE config_digest = ?1 ORDER BY name",
    )?
    .query_map([id.to_string()], |row| {
        let index = match row.get_ref(1)? {
            rusqlite::types::ValueRef::Null => None,
            _ => Some(parsed(row, 1)?),
        };
        Ok((parsed(row, 0)?, index))
    })?
    .collect()
}

/// Returns `repository@digest` for every way a registry gave this image, sorted.
pub(crate) fn digests_of(db: &Connection, id: &Digest) -> Result<Vec<ImageRef>> {
    db.prepare_cached(
        "SELECT DISTINCT repository || '@' || digest FROM image_digest JOIN image USING (manifest_digest)
         WHERE config_digest = ?1 ORDER BY 1",
    )?
    .query_map([id.to_string()], |row| parsed(row, 0))?
    .collect()
}

/// Returns when the image last got a name.
pub(crate) fn tagged(db: &Connection, id: &Digest) -> Result<Option<i64>> {
    db.prepare_cached(
        "SELECT max(image_name.created) FROM image_name JOIN image USING (manifest_digest) WHERE config_digest = ?1",
    )?
    .query_row([id.to_string()], |row| row.get(0))
}

/// Returns all names.
pub(crate) fn all_names(db: &Connection) -> Result<Vec<ImageRef>> {
    db.prepare_cached("SELECT name FROM image_name ORDER BY name")?
        .query_map([], |row| parsed(row, 0))?
        .collect()
}

/// One stored image of the list.
pub(crate) struct Stored {
    pub(crate) manifest: Digest,
    pub(crate) id: Digest,
    pub(crate) size: u64,
}

/// Returns all images, one row per id, the named manifest before others.
pub(crate) fn all_images(db: &Connection) -> Result<Vec<Stored>> {
    let mut all: Vec<Stored> = db
        .prepare_cached(
            "SELECT manifest_digest, config_digest, size FROM image ORDER BY config_digest,
             manifest_digest IN (SELECT manifest_digest FROM image_name) DESC, created DESC, manifest_digest",
        )?
        .query_map([], |row| {
            Ok(Stored {
                manifest: parsed(row, 0)?,
                id: parsed(row, 1)?,
                size: row.get(2)?,
            })
        })?
        .collect::<Result<_>>()?;
    all.dedup_by(|later, earlier| later.id == earlier.id);
    Ok(all)
}

/// Returns which of an image's documents is not stored.
pub(crate) fn missing_document(db: &Connection, image: &Image) -> Result<Option<Digest>> {
    let mut find = db.prepare_cached("SELECT 1 FROM blob WHERE digest = ?1")?;
    for digest in [image.manifest_digest, image.id] {
        if !find.exists([digest.to_string()])? {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

/// Returns every image's manifest and configuration.
pub(crate) fn documents(db: &Connection) -> Result<Vec<(Digest, Digest)>> {
    db.prepare_cached("SELECT manifest_digest, config_digest FROM image")?
        .query_map([], |row| Ok((parsed(row, 0)?, parsed(row, 1)?)))?
        .collect()
}

/// Returns the manifests that containers are made of.
pub(crate) fn of_containers(db: &Connection) -> Result<HashSet<Digest>> {
    db.prepare_cached("SELECT manifest_digest FROM container WHERE manifest_digest IS NOT NULL")?
        .query_map([], |row| parsed(row, 0))?
        .collect()
}

/// Returns the size noted for an image.
pub(crate) fn size_of(db: &Connection, manifest: &Digest) -> Result<Option<u64>> {
    db.prepare_cached("SELECT size FROM image WHERE manifest_digest = ?1")?
        .query_row([manifest.to_string()], |row| row.get(0))
        .optional()
}

/// Returns name and id of every container made from the image.
pub(crate) fn containers_of(db: &Connection, id: &Digest) -> Result<Vec<(String, String)>> {
    db.prepare_cached(
        "SELECT container.name, container.id FROM container JOIN image USING (manifest_digest)
         WHERE config_digest = ?1 ORDER BY container.name",
    )?
    .query_map([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// Takes a name away.
fn delete_name(db: &Connection, name: &ImageRef) -> Result<()> {
    db.prepare_cached("DELETE FROM image_name WHERE name = ?1")?
        .execute([name.to_string()])?;
    forget_indexes(db)
}

/// Takes names away, and removes the images that only the names' indexes kept. Returns their ids.
pub(crate) fn drop_names(db: &Connection, names: &[ImageRef]) -> Result<Vec<Digest>> {
    let mut kept: Vec<Digest> = Vec::new();
    for name in names {
        if let Some(index) = index_of_name(db, name)? {
            kept.extend(ids_listed(db, &index)?);
        }
    }
    for name in names {
        delete_name(db, name)?;
    }
    let mut removed = Vec::new();
    for id in kept {
        let named = !names_of(db, &id)?.is_empty() || !containers_of(db, &id)?.is_empty();
        if named || removed.contains(&id) {
            continue;
        }
        for name in names {
            delete_digests(db, name, &id)?;
        }
        if digests_of(db, &id)?.is_empty() {
            delete_image(db, &id)?;
            removed.push(id);
        }
    }
    Ok(removed)
}

/// Removes an image with all its names and what only they kept. Returns the ids, its own first.
pub(crate) fn drop_image(
    db: &Connection,
    id: &Digest,
    names: &[ImageRef],
    digests: &[ImageRef],
) -> Result<Vec<Digest>> {
    let others = drop_names(db, names)?;
    for name in digests {
        delete_digests(db, name, id)?;
    }
    delete_image(db, id)?;
    let others = others.into_iter().filter(|other| other != id);
    Ok([*id].into_iter().chain(others).collect())
}

/// Returns the ids of the images of an index that are here.
fn ids_listed(db: &Connection, index: &Digest) -> Result<Vec<Digest>> {
    db.prepare_cached(
        "SELECT DISTINCT config_digest FROM image WHERE manifest_digest IN
           (SELECT manifest_digest FROM index_image WHERE index_digest = ?1)",
    )?
    .query_map([index.to_string()], |row| parsed(row, 0))?
    .collect()
}

/// Forgets what indexes list that nobody goes back to any more.
fn forget_indexes(db: &Connection) -> Result<()> {
    db.prepare_cached(
        "DELETE FROM index_image WHERE index_digest NOT IN
           (SELECT index_digest FROM image_name WHERE index_digest IS NOT NULL
            UNION SELECT index_digest FROM image WHERE index_digest IS NOT NULL)",
    )?
    .execute([])?;
    Ok(())
}

/// Forgets under which digests of `name`'s repository the image was pulled.
pub(crate) fn delete_digests(db: &Connection, name: &ImageRef, id: &Digest) -> Result<()> {
    db.prepare_cached(
        "DELETE FROM image_digest WHERE repository = ?1
         AND manifest_digest IN (SELECT manifest_digest FROM image WHERE config_digest = ?2)",
    )?
    .execute([repository(name), id.to_string()])?;
    Ok(())
}

/// Removes the image; its names must have gone.
fn delete_image(db: &Connection, id: &Digest) -> Result<()> {
    db.prepare_cached("DELETE FROM image WHERE config_digest = ?1")?
        .execute([id.to_string()])?;
    forget_indexes(db)
}

fn repository(name: &ImageRef) -> String {
    format!("{}/{}", name.registry(), name.repository())
}

/// Reads a column that holds a digest or name as text.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
