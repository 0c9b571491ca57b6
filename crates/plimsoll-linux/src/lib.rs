//! The few kernel calls rustix has no safe form for; the only crate with unsafe.
