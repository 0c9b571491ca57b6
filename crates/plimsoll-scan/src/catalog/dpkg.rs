//! Debian's packages: `/var/lib/dpkg/status`, and `status.d` of images that are put together without dpkg.

use std::path::Path;

use plimsoll_store::MergedTree;

use super::fields;
use crate::package::purl;
use crate::{Distribution, Kind, Package, Result, text, text_at};

const STATUS: &str = "/var/lib/dpkg/status";
const PARTS: &str = "/var/lib/dpkg/status.d";

pub(super) fn packages(tree: &MergedTree, distribution: Option<&Distribution>) -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    if let Some(text) = text_at(tree, STATUS)? {
        packages.extend(parse(&text, STATUS, distribution));
    }
    let Some(parts) = tree
        .resolve(Path::new(PARTS))?
        .filter(|parts| parts.metadata.is_dir())
    else {
        return Ok(packages);
    };
    for name in tree.read_dir(&parts)? {
        // Checksums of the files lie beside.
        if name.to_string_lossy().ends_with(".md5sums") {
            continue;
        }
        if let Some(entry) = tree.child(&parts, &name)?
            && let Some(text) = text(&entry)?
        {
            packages.extend(parse(&text, &entry.path.to_string_lossy(), distribution));
        }
    }
    Ok(packages)
}

fn parse(text: &str, location: &str, distribution: Option<&Distribution>) -> Vec<Package> {
    let stanzas = text.split("\n\n");
    let packages = stanzas.filter_map(|stanza| package(stanza, location, distribution));
    packages.collect()
}

fn package(stanza: &str, location: &str, distribution: Option<&Distribution>) -> Option<Package> {
    let (mut name, mut version, mut architecture, mut source, mut installed) = ("", "", "", "", true);
    for (key, value) in fields(stanza) {
        match key {
            "Package" => name = value,
            "Version" => version = value,
            "Architecture" => architecture = value,
            "Source" => source = value,
            // `deinstall ok config-files`: only its configuration is left.
            "Status" => installed = value.ends_with(" installed"),
            _ => {}
        }
    }
    if !installed || name.is_empty() || version.is_empty() {
        return None;
    }
    let source = source_of(source).filter(|(source, _)| *source != name);
    let upstream = source
        .as_ref()
        .map_or_else(String::new, |(name, version)| match version {
            Some(version) => format!("{name}@{version}"),
            None => name.clone(),
        });
    let qualifiers = [
        ("arch", architecture.to_owned()),
        (
            "distro",
            distribution.map_or_else(String::new, Distribution::qualifier),
        ),
        ("upstream", upstream),
    ];
    let namespace = distribution.map_or("debian", |distribution| &distribution.id);
    Some(Package {
        kind: Kind::Deb,
        name: name.to_owned(),
        version: version.to_owned(),
        purl: purl(Kind::Deb, Some(namespace), name, version, &qualifiers)?,
        source,
        licences: Vec::new(),
        locations: vec![location.to_owned()],
    })
}

/// `glibc (2.36-9)`: the version is there when it is not the package's own.
fn source_of(text: &str) -> Option<(String, Option<String>)> {
    let (name, version) = match text.split_once(" (") {
        Some((name, version)) => (name, Some(version.trim_end_matches(')').to_owned())),
        None => (text, None),
    };
    (!name.is_empty()).then(|| (name.to_owned(), version))
}
