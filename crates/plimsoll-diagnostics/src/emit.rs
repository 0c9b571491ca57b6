//! The forms in which diagnostics leave: one file each.

pub mod text;
