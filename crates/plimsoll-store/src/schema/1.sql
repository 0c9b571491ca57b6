-- The database of a store. Every table of every crate is made here, and here only.
--
-- Migrations are append-only: this file never changes once released; the next one is 2.sql, listed in db.rs.
--
-- Times are unix nanoseconds (plimsoll_store::now()). Digests are text, `sha256:<64 hex>`. Ids of containers,
-- networks and builds are 64 hexadecimal digits. JSON columns hold what nobody searches for.
-- A row appears only after the files it names are there; files go only after their row has gone.

-- ---- content ------------------------------------------------------------------------------------------------

-- A file content/blobs/sha256/<hex>. Written by ContentStore only.
CREATE TABLE blob (
  digest   TEXT PRIMARY KEY,
  size     INTEGER NOT NULL,
  created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The compressed forms of a layer that are known, whether or not the blob is there: pulled layers keep theirs (a push
-- must not change digests), built ones are compressed again, byte for byte, at save or push.
CREATE TABLE layer_blob (
  diff_id     TEXT NOT NULL,
  digest      TEXT NOT NULL,
  media_type  TEXT NOT NULL,
  size        INTEGER NOT NULL,
  encoder     TEXT,                 -- of our own making: compression, level and encoder version; null: came so
  PRIMARY KEY (diff_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX layer_blob_digest ON layer_blob (digest);

-- ---- images -------------------------------------------------------------------------------------------------

-- One platform's image that the store holds, named or not. Its manifest and config are blobs.
CREATE TABLE image (
  manifest_digest  TEXT PRIMARY KEY,
  media_type       TEXT NOT NULL,   -- of the manifest
  config_digest    TEXT NOT NULL,   -- Docker's image id
  index_digest     TEXT,            -- the index it came through, if any
  platform         TEXT NOT NULL,   -- os/arch[/variant]
  size             INTEGER NOT NULL,-- bytes of the uncompressed layers, the SIZE column of `images`
  created          INTEGER NOT NULL -- when the image came into this store
) STRICT, WITHOUT ROWID;
CREATE INDEX image_config ON image (config_digest);

-- What people call it. Several names may share a manifest.
CREATE TABLE image_name (
  name             TEXT PRIMARY KEY,-- normalised: docker.io/library/alpine:3
  manifest_digest  TEXT NOT NULL,
  created          INTEGER NOT NULL -- when it got this name
) STRICT, WITHOUT ROWID;
CREATE INDEX image_name_manifest ON image_name (manifest_digest);

-- By which digest a registry gave it: RepoDigests, and what `name@digest` means. An index gives one image per platform.
CREATE TABLE image_digest (
  repository       TEXT NOT NULL,   -- docker.io/library/alpine
  digest           TEXT NOT NULL,   -- of the index, or of the manifest where there is none
  manifest_digest  TEXT NOT NULL,
  PRIMARY KEY (repository, digest, manifest_digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_digest_manifest ON image_digest (manifest_digest);

-- ---- snapshots ----------------------------------------------------------------------------------------------

-- A directory snapshots/<id in base 36>/{fs,work}. Written by Snapshots only.
CREATE TABLE snapshot (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice
  parent     INTEGER REFERENCES snapshot (id),
  kind       TEXT NOT NULL CHECK (kind IN ('active', 'committed', 'removed')),
  chain_id   TEXT,          -- OCI chain id, once the layer's diff_id is known
  diff_id    TEXT,          -- digest of the layer's tar
  tar_size   INTEGER,       -- and its size
  lease      TEXT,          -- active: whose it is; when that lease is dead the snapshot is swept
  container  TEXT,          -- active: the container that keeps writing to it (then lease is null)
  boot       TEXT,          -- committed in this boot and not known to be on disk; null: it is
  created    INTEGER NOT NULL -- when it was prepared; once committed, when that was
) STRICT;
CREATE INDEX snapshot_parent ON snapshot (parent);
CREATE INDEX snapshot_chain ON snapshot (chain_id) WHERE chain_id IS NOT NULL;
CREATE INDEX snapshot_lease ON snapshot (lease) WHERE lease IS NOT NULL;
CREATE INDEX snapshot_container ON snapshot (container) WHERE container IS NOT NULL;
CREATE INDEX snapshot_removed ON snapshot (id) WHERE kind = 'removed';
CREATE INDEX snapshot_boot ON snapshot (boot) WHERE boot IS NOT NULL;

-- ---- build cache and history --------------------------------------------------------------------------------

-- The result of one build operation. Goes when its snapshot goes.
CREATE TABLE cache_record (
  key          TEXT PRIMARY KEY,
  snapshot     INTEGER REFERENCES snapshot (id) ON DELETE CASCADE, -- null: a result without files
  content_key  TEXT,                -- what later steps key on instead of `key`
  created      INTEGER NOT NULL,
  last_used    INTEGER NOT NULL,
  description  TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_record_snapshot ON cache_record (snapshot) WHERE snapshot IS NOT NULL;
CREATE INDEX cache_record_used ON cache_record (last_used);

-- History of builds; log and report are in builds/<id>/.
CREATE TABLE build (
  id        TEXT PRIMARY KEY,
  started   INTEGER NOT NULL,
  finished  INTEGER,
  status    TEXT NOT NULL,          -- running, completed, failed, canceled
  name      TEXT NOT NULL DEFAULT '',
  detail    TEXT NOT NULL DEFAULT '{}'  -- JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX build_started ON build (started);

-- ---- leases -------------------------------------------------------------------------------------------------

-- A lease is this row and the locked file run/locks/lease-<id>: when the file can be locked, its process has died.
-- It protects from garbage collection what is named in lease_ref, and all that was made since `created`.
CREATE TABLE lease (
  id       TEXT PRIMARY KEY,
  created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lease_ref (
  lease  TEXT NOT NULL REFERENCES lease (id) ON DELETE CASCADE,
  kind   TEXT NOT NULL CHECK (kind IN ('blob', 'snapshot')),
  name   TEXT NOT NULL,             -- digest, or the snapshot's id in decimal
  PRIMARY KEY (lease, kind, name)
) STRICT, WITHOUT ROWID;

-- ---- containers, volumes ------------------------------------------------------------------------------------

-- Everything else about a container is in containers/<id>/; run-time state is asked of its shim.
CREATE TABLE container (
  id               TEXT PRIMARY KEY,
  name             TEXT NOT NULL UNIQUE,
  created          INTEGER NOT NULL,
  image            TEXT NOT NULL DEFAULT '',  -- as the user wrote it
  manifest_digest  TEXT,                      -- keeps the image
  snapshot         INTEGER,                   -- its writable layer
  auto_remove      INTEGER NOT NULL DEFAULT 0,
  labels           TEXT NOT NULL DEFAULT '{}',-- JSON object
  detail           TEXT NOT NULL DEFAULT '{}' -- JSON, the container crate's own
) STRICT, WITHOUT ROWID;
CREATE INDEX container_manifest ON container (manifest_digest) WHERE manifest_digest IS NOT NULL;

CREATE TABLE volume (
  name       TEXT PRIMARY KEY,
  created    INTEGER NOT NULL,
  anonymous  INTEGER NOT NULL DEFAULT 0,
  detail     TEXT NOT NULL DEFAULT '{}'       -- JSON: labels, options
) STRICT, WITHOUT ROWID;

CREATE TABLE volume_use (
  volume     TEXT NOT NULL REFERENCES volume (name),
  container  TEXT NOT NULL REFERENCES container (id) ON DELETE CASCADE,
  PRIMARY KEY (volume, container)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_use_container ON volume_use (container);

-- ---- networks -----------------------------------------------------------------------------------------------

CREATE TABLE network (
  id       TEXT PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  driver   TEXT NOT NULL,
  bridge   TEXT,                    -- name of the interface on the host
  subnet   TEXT,                    -- 172.17.0.0/16
  gateway  TEXT,
  internal INTEGER NOT NULL DEFAULT 0,
  created  INTEGER NOT NULL,
  detail   TEXT NOT NULL DEFAULT '{}' -- JSON: labels, options, IPv6
) STRICT, WITHOUT ROWID;

-- An address taken on a network. `container` is free text: a build's sandbox takes one too.
CREATE TABLE address (
  network    TEXT NOT NULL REFERENCES network (id) ON DELETE CASCADE,
  address    TEXT NOT NULL,
  container  TEXT NOT NULL,
  mac        TEXT,
  PRIMARY KEY (network, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX address_container ON address (container);

-- A port a container publishes, as it was bound; the kernel, not this table, says whether a port is free.
CREATE TABLE published_port (
  container       TEXT NOT NULL,
  protocol        TEXT NOT NULL,    -- tcp, udp
  container_port  INTEGER NOT NULL,
  host_address    TEXT NOT NULL,
  host_port       INTEGER NOT NULL,
  PRIMARY KEY (container, protocol, container_port, host_address, host_port)
) STRICT, WITHOUT ROWID;
