//! OCI archives: an [image layout] in a tar file.
//!
//! [image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::collections::HashMap;

use plimsoll_oci::{Descriptor, ImageIndex, ImageRef, Platform};

use super::Found;
use super::archive::Archive;
use crate::pull::{for_platform, is_index, platform_of};
use crate::{ImageError, Result, document};

/// containerd's, and so Docker's: the whole name.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The specification's: the tag, or the whole name.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// An index in an index in an index is as deep as anybody goes.
const DEPTH_LIMIT: usize = 4;

pub(super) fn find(archive: &Archive<'_>) -> Result<Vec<Found>> {
    let index: ImageIndex = serde_json::from_slice(&archive.document("index.json")?)
        .map_err(ImageError::parse("`index.json` of the archive"))?;
    let mut found = Vec::new();
    for (names, entries) in by_names(index.manifests())? {
        // Entries with platforms and the same names are one image; without platforms, each is its own.
        let (with, without): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.platform().is_some());
        if !with.is_empty() {
            found.extend(choose(archive, &with, &names, DEPTH_LIMIT)?);
        }
        for entry in without {
            found.extend(follow(archive, &entry, &names, DEPTH_LIMIT)?);
        }
    }
    if found.is_empty() {
        return Err(ImageError::BadArchive(
            "its `index.json` names no image".to_owned(),
        ));
    }
    Ok(found)
}

type Group = (Vec<ImageRef>, Vec<Descriptor>);

/// Groups the entries of the top index by the names they carry.
fn by_names(entries: &[Descriptor]) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries.iter().filter(|entry| !is_attestation(entry)) {
        let names = names(entry.annotations().as_ref())?;
        match groups.iter_mut().find(|(known, _)| *known == names) {
            Some((_, entries)) => entries.push(entry.clone()),
            None => groups.push((names, vec![entry.clone()])),
        }
    }
    Ok(groups)
}

/// Takes the best of several platforms: this machine's if it is there, else the first that is.
fn choose(
    archive: &Archive<'_>,
    entries: &[Descriptor],
    names: &[ImageRef],
    depth: usize,
) -> Result<Option<Found>> {
    let first = for_platform(entries, &Platform::host()).filter(|entry| is_there(archive, entry));
    let first = first.or_else(|| entries.iter().find(|entry| is_there(archive, entry)));
    match first.or(entries.first()) {
        Some(entry) => follow(archive, entry, names, depth),
        None => Ok(None),
    }
}

fn follow(
    archive: &Archive<'_>,
    entry: &Descriptor,
    names: &[ImageRef],
    depth: usize,
) -> Result<Option<Found>> {
    let manifest = document::digest_of(entry, "`index.json` of the archive")?;
    let media_type = entry.media_type().to_string();
    let bytes = document::read(archive.content, &manifest, "manifest")?;
    if bytes.len() as u64 != entry.size() {
        let reason = format!("it has {} bytes, the index says {}", bytes.len(), entry.size());
        return Err(ImageError::invalid(format!("manifest `{manifest}`"), reason));
    }
    if !is_index(&media_type) {
        return Ok(Some(Found {
            manifest,
            media_type,
            names: names.to_vec(),
        }));
    }
    let what = format!("index `{manifest}`");
    if depth == 0 {
        return Err(ImageError::invalid(what, "it lies too deep in other indexes"));
    }
    let index: ImageIndex = serde_json::from_slice(&bytes).map_err(ImageError::parse(what))?;
    let entries: Vec<_> = index
        .manifests()
        .iter()
        .filter(|entry| !is_attestation(entry))
        .cloned()
        .collect();
    choose(archive, &entries, names, depth - 1)
}

fn is_there(archive: &Archive<'_>, entry: &Descriptor) -> bool {
    archive.has(&format!("blobs/{}", entry.digest().to_string().replace(':', "/")))
}

/// BuildKit keeps provenance and SBOMs as further manifests, of an unknown platform.
fn is_attestation(entry: &Descriptor) -> bool {
    let annotated = entry
        .annotations()
        .as_ref()
        .is_some_and(|all| all.contains_key("vnd.docker.reference.type"));
    annotated || entry.platform().is_some() && platform_of(entry).is_none()
}

/// Reads the names off an entry. A bare tag has no repository to belong to, and names nothing.
fn names(annotations: Option<&HashMap<String, String>>) -> Result<Vec<ImageRef>> {
    let annotation = |key| annotations.and_then(|all| all.get(key)).map(String::as_str);
    let whole = |name: &&str| name.contains(['/', ':']);
    let name = annotation(CONTAINERD_NAME).or_else(|| annotation(REF_NAME).filter(whole));
    Ok(name.map(str::parse).transpose()?.into_iter().collect())
}
