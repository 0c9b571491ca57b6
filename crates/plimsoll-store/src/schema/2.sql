-- What version 2 of a store adds: one section per area, as in 1.sql.

-- ---- snapshots ----------------------------------------------------------------------------------------------

-- Bytes of the files of a committed snapshot's own layer, each inode once: Docker's size of a layer. Null: not asked yet.
ALTER TABLE snapshot ADD COLUMN size INTEGER;

-- ---- images of several platforms ----------------------------------------------------------------------------

-- The index that a name means as a whole, a blob; `manifest_digest` is what the name means where one image is wanted.
ALTER TABLE image_name ADD COLUMN index_digest TEXT;
CREATE INDEX image_name_index ON image_name (index_digest) WHERE index_digest IS NOT NULL;

-- The images that an index lists, for every index of a name or an image. One may be listed before it is here.
CREATE TABLE index_image (
  index_digest     TEXT NOT NULL,
  manifest_digest  TEXT NOT NULL,
  PRIMARY KEY (index_digest, manifest_digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_image_manifest ON index_image (manifest_digest);
