-- What version 3 of a store adds: one section per area, as in 1.sql.

-- ---- users of containers ------------------------------------------------------------------------------------

-- Ids of the host that are those of one container (`--userns auto`), from the first one: no two containers have one in common.
CREATE TABLE user_range (
  container  TEXT PRIMARY KEY REFERENCES container (id) ON DELETE CASCADE,
  uid        INTEGER NOT NULL,
  gid        INTEGER NOT NULL,
  size       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
