//! Why steps ran.

pub(crate) mod lists;
