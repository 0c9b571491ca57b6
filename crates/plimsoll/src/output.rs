//! What is printed on stdout: tables, templates, human sizes and ages.

pub(crate) mod file;
pub(crate) mod json;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod units;
