//! Indexes: images of several platforms under one digest, and what is attested about them.
//!
//! The form is BuildKit's (`docs/attestations/attestation-storage.md`): the images first, then for each image that has
//! any a manifest of the platform `unknown/unknown`, annotated with the image's digest, whose layers are [in-toto]
//! statements.
//!
//! [in-toto]: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md

use std::collections::BTreeMap;

use plimsoll_oci::{Descriptor, Digest, ImageIndex, ImageRef, Platform};
use serde_json::{Map, Value, json};

use crate::{Image, ImageError, Images, Result, document, rows};

/// What of an index an entry is.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// The image that an attestation is about.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
/// [`REFERENCE_TYPE`] of attestations.
pub const ATTESTATION_MANIFEST: &str = "attestation-manifest";
/// Annotation of a statement's layer.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const STATEMENT_LAYER: &str = "application/vnd.in-toto+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";

/// An index in the store.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its digest.
    pub digest: Digest,
    /// What it says.
    pub document: ImageIndex,
}

/// A statement about an image, before it is known under which digest the image goes out.
#[derive(Clone, Debug, PartialEq)]
pub struct Attestation {
    /// What kind of statement: `https://slsa.dev/provenance/v1`.
    pub predicate_type: String,
    /// What it says.
    pub predicate: Value,
}

/// An image that an index is to list.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    /// Media type of its manifest.
    pub media_type: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Bytes of its manifest.
    pub size: u64,
    /// What it is for.
    pub platform: Platform,
    /// Annotations of the entry.
    pub annotations: BTreeMap<String, String>,
    /// Statements about it.
    pub attestations: Vec<Attestation>,
}

/// What else decides an index.
#[derive(Clone, Debug, Default)]
pub struct IndexForm {
    /// What the images are called in statements about them.
    pub names: Vec<ImageRef>,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// Docker's media type instead of OCI's.
    pub docker_media_type: bool,
    /// Attestations as [artifacts] that refer to their image, which a registry's list of referrers then shows.
    ///
    /// [artifacts]: https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
    pub oci_artifact: bool,
}

/// A document that is to be stored or sent.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// An index in the making, with the documents that come into being with it.
#[derive(Clone, Debug)]
pub struct NewIndex {
    /// The index.
    pub index: Document,
    /// Attestations: manifests, each after its configuration and its statements.
    pub others: Vec<Document>,
}

impl Document {
    /// Makes a document of JSON, its fields as they come.
    pub fn new(media_type: &str, value: &Value) -> Self {
        let bytes = serde_json::to_vec(value).expect("a value is JSON");
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(&bytes),
            bytes,
        }
    }

    /// Returns the descriptor as JSON, in the order that the specification has.
    pub fn descriptor(&self) -> Map<String, Value> {
        descriptor(&self.media_type, &self.digest, self.bytes.len() as u64)
    }

    /// Tells whether it is a manifest, which registries take by another way than blobs.
    pub fn is_manifest(&self) -> bool {
        [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST].contains(&self.media_type.as_str())
    }
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("mediaType".to_owned(), media_type.into());
    map.insert("digest".to_owned(), digest.to_string().into());
    map.insert("size".to_owned(), size.into());
    map
}

impl NewIndex {
    /// Makes an index of images, with manifests for what is attested about them.
    pub fn new(entries: &[IndexEntry], form: &IndexForm) -> Self {
        let mut others = Vec::new();
        let mut manifests: Vec<Value> = entries.iter().map(|entry| entry.descriptor().into()).collect();
        for entry in entries.iter().filter(|entry| !entry.attestations.is_empty()) {
            manifests.push(attestation(entry, form, &mut others));
        }
        let media_type = if form.docker_media_type {
            DOCKER_LIST
        } else {
            OCI_INDEX
        };
        let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        if !form.annotations.is_empty() {
            index["annotations"] = json!(form.annotations);
        }
        Self {
            index: Document::new(media_type, &index),
            others,
        }
    }
}

impl IndexEntry {
    /// Returns the entry as JSON, in the order that the specification has.
    pub fn descriptor(&self) -> Map<String, Value> {
        let mut value = descriptor(&self.media_type, &self.digest, self.size);
        if !self.annotations.is_empty() {
            value.insert("annotations".to_owned(), json!(self.annotations));
        }
        let mut platform = json!({"architecture": self.platform.architecture, "os": self.platform.os});
        if let Some(variant) = &self.platform.variant {
            platform["variant"] = variant.as_str().into();
        }
        value.insert("platform".to_owned(), platform);
        value
    }

    /// The image as statements call it, by each of its names.
    fn subjects(&self, names: &[ImageRef]) -> Vec<Value> {
        let subject = |name: String| json!({"name": name, "digest": {"sha256": self.digest.hex()}});
        match names {
            [] => vec![subject("_".to_owned())],
            names => names
                .iter()
                .map(|name| subject(purl(name, &self.platform)))
                .collect(),
        }
    }
}

/// Returns the [package URL] of an image, as BuildKit writes it.
///
/// [package URL]: https://github.com/package-url/purl-spec
pub fn purl(name: &ImageRef, platform: &Platform) -> String {
    let familiar = name.familiar_name();
    let escaped = |text: &str| text.replace(':', "%3A");
    let version = match (name.tag(), name.digest()) {
        (Some(tag), _) => format!("@{tag}"),
        (None, Some(_)) => String::new(),
        (None, None) => "@latest".to_owned(),
    };
    let digest = match name.digest() {
        Some(digest) => format!("digest={digest}&"),
        None => String::new(),
    };
    let platform = platform.to_string().replace('/', "%2F");
    format!(
        "pkg:docker/{}{version}?{digest}platform={platform}",
        escaped(&familiar)
    )
}

/// Makes the manifest of what is attested about an image, and returns its entry of the index.
fn attestation(entry: &IndexEntry, form: &IndexForm, others: &mut Vec<Document>) -> Value {
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for attestation in &entry.attestations {
        let statement = Document::new(
            STATEMENT_LAYER,
            &json!({
                "_type": STATEMENT,
                "predicateType": attestation.predicate_type,
                "subject": entry.subjects(&form.names),
                "predicate": attestation.predicate,
            }),
        );
        let mut layer = statement.descriptor();
        let annotations = json!({PREDICATE_TYPE: attestation.predicate_type});
        layer.insert("annotations".to_owned(), annotations);
        layers.push(layer);
        diff_ids.push(statement.digest);
        others.push(statement);
    }
    let manifest = match form.oci_artifact {
        true => {
            let empty = Document::new("application/vnd.oci.empty.v1+json", &json!({}));
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": ARTIFACT,
                "config": empty.descriptor(),
                "layers": layers,
                "subject": descriptor(&entry.media_type, &entry.digest, entry.size),
            });
            others.push(empty);
            manifest
        }
        false => {
            // A configuration of nothing: readers from before artifacts want an image.
            let config = json!({
                "architecture": "unknown",
                "os": "unknown",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            });
            let config = Document::new(OCI_CONFIG, &config);
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": config.descriptor(),
                "layers": layers,
            });
            others.push(config);
            manifest
        }
    };
    let manifest = Document::new(OCI_MANIFEST, &manifest);
    let mut value = manifest.descriptor();
    let annotations = json!({
        REFERENCE_DIGEST: entry.digest.to_string(),
        REFERENCE_TYPE: ATTESTATION_MANIFEST,
    });
    value.insert("annotations".to_owned(), annotations);
    let platform = json!({"architecture": "unknown", "os": "unknown"});
    value.insert("platform".to_owned(), platform);
    others.push(manifest);
    value.into()
}

/// Tells whether an entry of an index is about another entry rather than an image.
pub fn is_attestation(entry: &Descriptor) -> bool {
    let annotations = entry.annotations().as_ref();
    let annotated = annotations.is_some_and(|all| all.contains_key(REFERENCE_TYPE));
    annotated || entry.platform().is_some() && crate::pull::platform_of(entry).is_none()
}

impl Index {
    pub(crate) fn parse(digest: Digest, bytes: &[u8]) -> Result<Self> {
        let parsed = serde_json::from_slice(bytes);
        let document = parsed.map_err(ImageError::parse(format!("index `{digest}`")))?;
        Ok(Self { digest, document })
    }

    /// Returns the digests of the images' manifests.
    pub(crate) fn images(&self) -> impl Iterator<Item = Digest> {
        let entries = self.document.manifests().iter();
        let images = entries.filter(|entry| !is_attestation(entry));
        images.filter_map(|entry| Digest::try_from(entry.digest()).ok())
    }
}

impl Images {
    /// Stores an index of stored images and gives it names; without any it is kept by its digest. Of `images` the one
    /// for this machine stands for the whole where one image is wanted, or else the first.
    pub fn keep_index(&self, images: &[Image], new: &NewIndex, names: &[ImageRef]) -> Result<Index> {
        let _lease = self.store.lease()?;
        for document in new.others.iter().chain([&new.index]) {
            self.store.content().put(&document.bytes)?;
        }
        self.store.sync()?;
        let index = Index::parse(new.index.digest, &new.index.bytes)?;
        let host = Platform::host();
        let main = images
            .iter()
            .position(|image| crate::pull::is_for(image, &host))
            .unwrap_or(0);
        let mut registrations = Vec::with_capacity(images.len());
        for (at, image) in images.iter().enumerate() {
            registrations.push(rows::Registration {
                names: if at == main { names } else { &[] },
                index: Some(&index),
                ..self.registration(image)?
            });
        }
        self.register(&registrations)?;
        Ok(index)
    }

    /// Returns the entry of an index for a stored image.
    pub fn index_entry(
        &self,
        image: &Image,
        platform: &Platform,
        annotations: BTreeMap<String, String>,
        attestations: Vec<Attestation>,
    ) -> Result<IndexEntry> {
        let digest = image.manifest_digest;
        let missing = || ImageError::MissingBlob {
            what: "manifest",
            digest,
        };
        let media_type = image.manifest.media_type().as_ref();
        Ok(IndexEntry {
            media_type: media_type.map_or(OCI_MANIFEST.to_owned(), ToString::to_string),
            digest,
            size: self.store.content().size(&digest)?.ok_or_else(missing)?,
            platform: platform.clone(),
            annotations,
            attestations,
        })
    }

    /// Returns the stored index that a name, or a digest or its beginning, means.
    pub fn index(&self, name: &str) -> Result<Option<Index>> {
        let named = match name.parse::<ImageRef>() {
            Ok(reference) => match reference.digest() {
                None => self.store.db().read(|db| rows::index_of_name(db, &reference))?,
                Some(digest) => (!self.candidates(name)?.is_empty()).then_some(digest),
            },
            Err(_) => None,
        };
        let digest = match named {
            Some(digest) => Some(digest),
            None => self.index_of_prefix(name)?,
        };
        match digest {
            Some(digest) => self.read_index(digest),
            None => Ok(None),
        }
    }

    /// Returns the index of a digest, if that is one and it is stored.
    pub(crate) fn read_index(&self, digest: Digest) -> Result<Option<Index>> {
        if self.store.content().size(&digest)?.is_none() {
            return Ok(None);
        }
        let bytes = document::read(self.store.content(), &digest, "index")?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(ImageError::parse(format!("`{digest}`")))?;
        match value["manifests"].is_array() {
            true => Index::parse(digest, &bytes).map(Some),
            false => Ok(None),
        }
    }

    fn index_of_prefix(&self, text: &str) -> Result<Option<Digest>> {
        let Some(prefix) = crate::find::digest_prefix(text) else {
            return Ok(None);
        };
        let found = self.store.db().read(|db| rows::indexes_with_prefix(db, prefix))?;
        Ok(found.first().copied().filter(|_| found.len() == 1))
    }

    /// Returns the images of an index that are stored, in its order.
    pub fn images_of(&self, index: &Index) -> Result<Vec<Image>> {
        let stored = self.store.db().read(|db| rows::listed(db, &index.digest))?;
        let here = index.images().filter(|digest| stored.contains(digest));
        here.map(|digest| self.read(digest)).collect()
    }

    /// Tells whether everything that an index lists is stored, attestations too.
    pub fn is_complete(&self, index: &Index) -> Result<bool> {
        let stored = self.store.db().read(|db| rows::listed(db, &index.digest))?;
        for entry in index.document.manifests() {
            let digest = document::digest_of(entry, "an index")?;
            let here = match is_attestation(entry) {
                true => self.store.content().size(&digest)?.is_some(),
                false => stored.contains(&digest),
            };
            if !here {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the stored documents that an index needs besides images: its own, and those of attestations.
    pub(crate) fn attestation_blobs(&self, index: &Index) -> Result<Vec<Digest>> {
        let content = self.store.content();
        let mut blobs = vec![index.digest];
        for entry in index
            .document
            .manifests()
            .iter()
            .filter(|entry| is_attestation(entry))
        {
            let digest = document::digest_of(entry, "an index")?;
            if content.size(&digest)?.is_none() {
                continue;
            }
            blobs.push(digest);
            let bytes = document::read(content, &digest, "attestation")?;
            let manifest: plimsoll_oci::ImageManifest =
                serde_json::from_slice(&bytes).map_err(ImageError::parse(format!("manifest `{digest}`")))?;
            let parts = [manifest.config()].into_iter().chain(manifest.layers());
            blobs.extend(parts.filter_map(|part| Digest::try_from(part.digest()).ok()));
        }
        Ok(blobs)
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_testkit::needs;

    use super::*;
    use crate::Removed;
    use crate::testing::{Sample, Sandbox, blob_path, descriptor, index, pack, platform};

    fn text(value: &str) -> Attestation {
        Attestation {
            predicate_type: "https://example.org/text".to_owned(),
            predicate: json!({"says": value}),
        }
    }

    /// Loads images for these architectures and binds them to one index of that name.
    fn several(sandbox: &Sandbox, name: &str, architectures: &[&str]) -> Index {
        let load = |architecture: &&str| {
            let sample = Sample::hello().of_architecture(architecture);
            sandbox.load_one(&pack(&sample.docker(&[])))
        };
        let images: Vec<Image> = architectures.iter().map(load).collect();
        let entry = |image: &Image| IndexEntry {
            media_type: OCI_MANIFEST.to_owned(),
            digest: image.manifest_digest,
            size: sandbox
                .images
                .store
                .content()
                .size(&image.manifest_digest)
                .unwrap()
                .unwrap(),
            platform: image.config.platform(),
            annotations: BTreeMap::new(),
            attestations: vec![text(&image.config.architecture)],
        };
        let form = IndexForm {
            names: vec![name.parse().unwrap()],
            ..IndexForm::default()
        };
        let new = NewIndex::new(&images.iter().map(entry).collect::<Vec<_>>(), &form);
        sandbox.images.keep_index(&images, &new, &form.names).unwrap()
    }

    fn architectures(images: &[Image]) -> Vec<&str> {
        let all = images.iter().map(|image| image.config.architecture.as_str());
        all.collect()
    }

    #[test]
    fn the_bytes_of_an_index_do_not_change() {
        let entry = |architecture: &str, attestations| IndexEntry {
            media_type: OCI_MANIFEST.to_owned(),
            digest: Digest::of(architecture),
            size: 5,
            platform: Platform::normalised("linux", architecture, None),
            annotations: BTreeMap::new(),
            attestations,
        };
        let entries = [
            entry("amd64", vec![text("a"), text("b")]),
            entry("arm64", Vec::new()),
        ];
        let mut form = IndexForm {
            names: vec!["app:1".parse().unwrap()],
            ..IndexForm::default()
        };
        let new = NewIndex::new(&entries, &form);
        let kinds: Vec<&str> = new.others.iter().map(|other| other.media_type.as_str()).collect();
        assert_eq!(
            kinds,
            [STATEMENT_LAYER, STATEMENT_LAYER, OCI_CONFIG, OCI_MANIFEST]
        );
        let show = |document: &Document| String::from_utf8(document.bytes.clone()).unwrap();
        insta::assert_snapshot!(show(&new.others[0]));
        insta::assert_snapshot!(show(&new.others[3]));
        insta::assert_snapshot!(show(&new.index));
        form.oci_artifact = true;
        let artifact = NewIndex::new(&entries, &form);
        insta::assert_snapshot!(show(&artifact.others[3]));
    }

    #[test]
    fn images_are_called_as_package_urls_say() {
        let platform: Platform = "linux/arm64/v8".parse().unwrap();
        let digest = Digest::of("x");
        for (name, url) in [
            (
                "alpine",
                "pkg:docker/alpine@latest?platform=linux%2Farm64".to_owned(),
            ),
            (
                "ghcr.io/org/app:2",
                "pkg:docker/ghcr.io/org/app@2?platform=linux%2Farm64".to_owned(),
            ),
            (
                "localhost:5000/app:2",
                "pkg:docker/localhost%3A5000/app@2?platform=linux%2Farm64".to_owned(),
            ),
            (
                &format!("alpine@{digest}"),
                format!("pkg:docker/alpine?digest={digest}&platform=linux%2Farm64"),
            ),
        ] {
            assert_eq!(purl(&name.parse().unwrap(), &platform), url);
        }
    }

    #[test]
    fn one_name_means_every_platform() {
        needs!(root);
        let sandbox = Sandbox::new();
        let host = Platform::host();
        let stored = several(&sandbox, "app", &["s390x", &host.architecture]);
        let images = &sandbox.images;
        assert_eq!(sandbox.names(), ["app:latest"]);
        let line = images.list().unwrap().remove(0);
        assert_eq!(line.digest, Some(stored.digest));
        assert_eq!(line.size, 2 * images.size(&line.image).unwrap());
        assert_eq!(images.get("app").unwrap().config.platform(), host);
        let other = "linux/s390x".parse().unwrap();
        for name in [
            "app",
            &stored.digest.to_string(),
            &stored.digest.short(),
            &format!("app@{}", stored.digest),
        ] {
            let found = images.get_for(name, Some(&other)).unwrap();
            assert_eq!(found.config.architecture, "s390x", "{name}");
            assert_eq!(images.index(name).unwrap().unwrap().digest, stored.digest);
        }
        let missing = images.get_for("app", Some(&"linux/riscv64".parse().unwrap()));
        let missing = missing.unwrap_err().to_string();
        assert!(
            missing.contains("no image for linux/riscv64") && missing.contains("linux/s390x"),
            "{missing}"
        );
        assert!(images.is_complete(&stored).unwrap());
        images.retag("app", &"copy:2".parse().unwrap()).unwrap();
        assert_eq!(images.index("copy:2").unwrap().unwrap().digest, stored.digest);
    }

    #[test]
    fn all_platforms_go_with_the_last_name() {
        needs!(root);
        let sandbox = Sandbox::new();
        several(&sandbox, "app", &["amd64", "arm64"]);
        let images = &sandbox.images;
        images.retag("app", &"copy".parse().unwrap()).unwrap();
        let remove = |name: &str| images.remove(name, false, &|_| false).unwrap();
        assert_eq!(remove("app").len(), 1);
        images.collect().unwrap();
        let stored = images.index("copy").unwrap().unwrap();
        assert!(
            images.is_complete(&stored).unwrap(),
            "the collection keeps attestations"
        );
        let deleted = remove("copy");
        let deleted = deleted.iter().filter(|step| matches!(step, Removed::Deleted(_)));
        assert_eq!(deleted.count(), 2);
        assert!(images.list().unwrap().is_empty());
        assert!(
            images.needs().unwrap().is_empty(),
            "nothing is kept from collection"
        );
    }

    #[test]
    fn an_index_is_saved_whole() {
        needs!(root);
        let sandbox = Sandbox::new();
        let stored = several(&sandbox, "app", &["amd64", "arm64"]);
        let saved = crate::Saved {
            image: sandbox.images.get("app").unwrap(),
            index: Some(stored.clone()),
            names: vec!["app".parse().unwrap()],
        };
        let mut archive = Vec::new();
        let format = crate::ArchiveFormat::Docker;
        sandbox.images.save(&[saved], format, &mut archive).unwrap();
        let other = Sandbox::new();
        other.load(&archive).unwrap();
        assert_eq!(other.names(), ["app:latest"]);
        let again = other.images.index("app").unwrap().unwrap();
        assert_eq!(again.digest, stored.digest);
        assert!(other.images.is_complete(&again).unwrap());
    }

    #[test]
    fn an_archive_may_hold_an_index() {
        needs!(root);
        let sandbox = Sandbox::new();
        let samples: Vec<_> = ["amd64", "arm64", "s390x"]
            .iter()
            .map(|architecture| Sample::hello().of_architecture(architecture))
            .collect();
        let list = index(&samples.iter().map(platform).collect::<Vec<_>>());
        let mut entry = descriptor(OCI_INDEX, &list);
        entry["annotations"] = json!({"io.containerd.image.name": "docker.io/library/app:1"});
        let mut files = vec![("index.json".to_owned(), index(&[entry]))];
        files.push((blob_path(&list), list.clone()));
        // One platform was left out.
        samples[..2]
            .iter()
            .for_each(|sample| files.extend(sample.blob_files()));
        let loaded = sandbox.load(&pack(&files)).unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(sandbox.names(), ["app:1"]);
        let stored = sandbox.images.index("app:1").unwrap().unwrap();
        assert_eq!(stored.digest, Digest::of(&list));
        assert_eq!(
            architectures(&sandbox.images.images_of(&stored).unwrap()),
            ["amd64", "arm64"]
        );
        assert!(!sandbox.images.is_complete(&stored).unwrap());
    }
}
