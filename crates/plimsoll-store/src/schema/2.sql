-- What version 2 of a store adds: one section per area, as in 1.sql.

-- ---- snapshots ----------------------------------------------------------------------------------------------

-- Bytes of the files of a committed snapshot's own layer, each inode once: Docker's size of a layer. Null: not asked yet.
ALTER TABLE snapshot ADD COLUMN size INTEGER;
