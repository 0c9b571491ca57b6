//! What the database knows of images in registries.

use plimsoll_oci::{Digest, ImageRef};
use rusqlite::{Connection, Result, params};

/// Tells whether a registry gave this very manifest, by itself or in an index.
pub(super) fn was_given(db: &Connection, manifest: &Digest) -> Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM image_digest WHERE manifest_digest = ?1 AND (digest = ?1
           OR digest IN (SELECT index_digest FROM index_image WHERE manifest_digest = ?1)
           OR digest IN (SELECT index_digest FROM image WHERE manifest_digest = ?1))",
    )?
    .exists([manifest.to_string()])
}

/// Returns repositories that begin with `prefix`, each with the configuration of an image that is known to be there.
pub(super) fn repositories(db: &Connection, prefix: &str) -> Result<Vec<(String, Digest)>> {
    db.prepare_cached(
        "SELECT DISTINCT repository, config_digest FROM image_digest JOIN image USING (manifest_digest)
         WHERE substr(repository, 1, length(?1)) = ?1 ORDER BY repository",
    )?
    .query_map([prefix], |row| Ok((row.get(0)?, crate::rows::parsed(row, 1)?)))?
    .collect()
}

/// Notes that the repository of `name` has an image under `digest`.
pub(super) fn note_digest(
    db: &Connection,
    name: &ImageRef,
    digest: &Digest,
    manifest: &Digest,
) -> Result<()> {
    let repository = format!("{}/{}", name.registry(), name.repository());
    db.prepare_cached(
        "INSERT OR IGNORE INTO image_digest (repository, digest, manifest_digest) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![repository, digest.to_string(), manifest.to_string()])
    .map(drop)
}
