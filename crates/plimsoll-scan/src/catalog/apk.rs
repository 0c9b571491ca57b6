//! Alpine's packages: the [installed database], paragraphs of one-letter fields.
//!
//! [installed database]: https://wiki.alpinelinux.org/wiki/Apk_spec

use plimsoll_store::MergedTree;

use super::fields;
use crate::package::purl;
use crate::{Distribution, Kind, Package, Result, text_at};

/// The second since Alpine 3.23.
const DATABASES: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

pub(super) fn packages(tree: &MergedTree, distribution: Option<&Distribution>) -> Result<Vec<Package>> {
    for path in DATABASES {
        if let Some(text) = text_at(tree, path)? {
            let paragraphs = text.split("\n\n");
            let packages = paragraphs.filter_map(|paragraph| package(paragraph, path, distribution));
            return Ok(packages.collect());
        }
    }
    Ok(Vec::new())
}

fn package(paragraph: &str, location: &str, distribution: Option<&Distribution>) -> Option<Package> {
    let (mut name, mut version, mut architecture, mut origin, mut licence) = ("", "", "", "", "");
    for (key, value) in fields(paragraph) {
        match key {
            "P" => name = value,
            "V" => version = value,
            "A" => architecture = value,
            "o" => origin = value,
            "L" => licence = value,
            _ => {}
        }
    }
    if name.is_empty() || version.is_empty() {
        return None;
    }
    let source = (!origin.is_empty() && origin != name).then(|| (origin.to_owned(), None));
    let qualifiers = [
        ("arch", architecture.to_owned()),
        (
            "distro",
            distribution.map_or_else(String::new, Distribution::qualifier),
        ),
        (
            "upstream",
            source.as_ref().map_or_else(String::new, |(name, _)| name.clone()),
        ),
    ];
    let namespace = distribution.map_or("alpine", |distribution| &distribution.id);
    Some(Package {
        kind: Kind::Apk,
        name: name.to_owned(),
        version: version.to_owned(),
        purl: purl(Kind::Apk, Some(namespace), name, version, &qualifiers)?,
        source,
        licences: Some(licence.to_owned())
            .filter(|licence| !licence.is_empty())
            .into_iter()
            .collect(),
        locations: vec![location.to_owned()],
    })
}
