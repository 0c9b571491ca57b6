//! Python's packages: the [core metadata] that installers leave in `*.dist-info` and `*.egg-info`.
//!
//! [core metadata]: https://packaging.python.org/en/latest/specifications/core-metadata/

use std::path::Path;

use super::fields;
use crate::package::purl;
use crate::{Kind, Package};

pub(super) fn metadata(path: &Path, text: &str) -> Vec<Package> {
    package(path, text).into_iter().collect()
}

fn package(path: &Path, text: &str) -> Option<Package> {
    // The description follows an empty line.
    let head = text.split("\n\n").next()?;
    let (mut name, mut version, mut licence, mut expression) = ("", "", "", "");
    for (key, value) in fields(head) {
        match key {
            "Name" => name = value,
            "Version" => version = value,
            "License" => licence = value,
            "License-Expression" => expression = value,
            _ => {}
        }
    }
    if name.is_empty() || version.is_empty() {
        return None;
    }
    let licence = if expression.is_empty() {
        licence
    } else {
        expression
    };
    let known = !matches!(licence, "" | "UNKNOWN");
    Some(Package {
        kind: Kind::Pypi,
        name: name.to_owned(),
        version: version.to_owned(),
        purl: purl(Kind::Pypi, None, &normalised(name), version, &[])?,
        source: None,
        licences: known.then(|| licence.to_owned()).into_iter().collect(),
        locations: vec![path.display().to_string()],
    })
}

/// As the index compares names: <https://packaging.python.org/en/latest/specifications/name-normalization/>.
fn normalised(name: &str) -> String {
    let mut normalised = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normalised.ends_with('-') => {}
            '-' | '_' | '.' => normalised.push('-'),
            character => normalised.push(character.to_ascii_lowercase()),
        }
    }
    normalised
}
