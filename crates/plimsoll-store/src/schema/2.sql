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

-- ---- networks -----------------------------------------------------------------------------------------------

-- What a network is made of stands in `detail`, as JSON of the network crate; `bridge` and `subnet` are copies to search by.
-- A bridge network without a subnet has no device yet: the default one is made on first use.
DELETE FROM network;
INSERT INTO network (id, name, driver, created)
  SELECT lower(hex(randomblob(32))), column1, column2, CAST(unixepoch('subsec') * 1000000000 AS INTEGER)
  FROM (VALUES ('bridge', 'bridge'), ('host', 'host'), ('none', 'null'));

-- A container's place on a network. `container` is free text: a build's sandbox takes one too. The row, and with it the
-- address, stays while the container is stopped (`active` is 0), unless the network runs out of addresses.
DROP TABLE address;
CREATE TABLE endpoint (
  network    TEXT NOT NULL REFERENCES network (id) ON DELETE CASCADE,
  container  TEXT NOT NULL,
  id         TEXT NOT NULL,
  active     INTEGER NOT NULL DEFAULT 0,
  address    TEXT,
  address6   TEXT,
  detail     TEXT NOT NULL DEFAULT '{}', -- JSON: aliases, and addresses that were asked for
  created    INTEGER NOT NULL,
  PRIMARY KEY (network, container)
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_container ON endpoint (container);
CREATE UNIQUE INDEX endpoint_address ON endpoint (network, address) WHERE address IS NOT NULL;
CREATE UNIQUE INDEX endpoint_address6 ON endpoint (network, address6) WHERE address6 IS NOT NULL;
