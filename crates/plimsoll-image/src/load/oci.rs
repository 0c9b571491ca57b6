//! OCI archives: an [image layout] in a tar file.
//!
//! [image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::collections::HashMap;

use plimsoll_oci::{Descriptor, ImageIndex, ImageRef, Platform};

use super::Found;
use super::archive::Archive;
use crate::index::{Index, is_attestation};
use crate::pull::{for_platform, is_index};
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
        if let Some(entry) = best(archive, &with) {
            found.extend(follow(archive, entry, &names, DEPTH_LIMIT)?);
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

/// The best of several platforms: this machine's if it is there, else the first that is.
fn best<'a>(archive: &Archive<'_>, entries: &'a [Descriptor]) -> Option<&'a Descriptor> {
    let first = for_platform(entries, &Platform::host()).filter(|entry| is_there(archive, entry));
    let first = first.or_else(|| entries.iter().find(|entry| is_there(archive, entry)));
    first.or(entries.first())
}

/// Finds the image of an entry, or all images of an index that are in the archive.
fn follow(archive: &Archive<'_>, entry: &Descriptor, names: &[ImageRef], depth: usize) -> Result<Vec<Found>> {
    let manifest = document::digest_of(entry, "`index.json` of the archive")?;
    let media_type = entry.media_type().to_string();
    let bytes = document::read(archive.content, &manifest, "manifest")?;
    if bytes.len() as u64 != entry.size() {
        let reason = format!("it has {} bytes, the index says {}", bytes.len(), entry.size());
        return Err(ImageError::invalid(format!("manifest `{manifest}`"), reason));
    }
    if !is_index(&media_type) {
        return Ok(vec![Found {
            manifest,
            media_type,
            names: names.to_vec(),
            index: None,
            stands_for_others: true,
        }]);
    }
    if depth == 0 {
        let what = format!("index `{manifest}`");
        return Err(ImageError::invalid(what, "it lies too deep in other indexes"));
    }
    let index = Index::parse(manifest, &bytes)?;
    let entries = index.document.manifests().iter();
    let entries: Vec<_> = entries.filter(|entry| !is_attestation(entry)).cloned().collect();
    let Some(best) = best(archive, &entries).cloned() else {
        return Ok(Vec::new());
    };
    let mut found = follow(archive, &best, names, depth - 1)?;
    let others = entries.iter().filter(|entry| **entry != best);
    for entry in others.filter(|entry| is_there(archive, entry)) {
        let further = follow(archive, entry, &[], depth - 1)?;
        found.extend(further.into_iter().map(|found| Found {
            stands_for_others: false,
            ..found
        }));
    }
    for image in &mut found {
        image.index.get_or_insert(manifest);
    }
    Ok(found)
}

fn is_there(archive: &Archive<'_>, entry: &Descriptor) -> bool {
    archive.has(&format!("blobs/{}", entry.digest().to_string().replace(':', "/")))
}

/// Reads the names off an entry. A bare tag has no repository to belong to, and names nothing.
fn names(annotations: Option<&HashMap<String, String>>) -> Result<Vec<ImageRef>> {
    let annotation = |key| annotations.and_then(|all| all.get(key)).map(String::as_str);
    let whole = |name: &&str| name.contains(['/', ':']);
    let name = annotation(CONTAINERD_NAME).or_else(|| annotation(REF_NAME).filter(whole));
    Ok(name.map(str::parse).transpose()?.into_iter().collect())
}
