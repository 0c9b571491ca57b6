//! Images and archives for tests, made in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use plimsoll_oci::{Digest, ImageRef, Platform};
use plimsoll_progress::Progress;
use plimsoll_registry::{Registry, RegistrySettings};
use plimsoll_store::Store;
use serde_json::{Value, json};

use crate::{Image, Images, Result};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A store of its own.
pub(crate) struct Sandbox {
    pub(crate) images: Images,
    pub(crate) folder: tempfile::TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::with_mirror(None)
    }

    /// With a mirror of docker.io.
    pub(crate) fn with_mirror(mirror: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap().join("root");
        let store = Store::open(&root, &root.join("run")).unwrap();
        let mirrors = mirror.into_iter().map(str::to_owned).collect();
        let settings = RegistrySettings {
            mirrors,
            ..RegistrySettings::default()
        };
        let registry = Registry::new(BTreeMap::from([("docker.io".to_owned(), settings)]), None);
        Self {
            images: Images::new(&store, Arc::new(registry)),
            folder,
        }
    }

    pub(crate) fn load(&self, archive: &[u8]) -> Result<Vec<(Image, Vec<ImageRef>)>> {
        self.images.load(&mut &archive[..], &Progress::none())
    }

    /// Loads an archive of one image.
    pub(crate) fn load_one(&self, archive: &[u8]) -> Image {
        self.load(archive).unwrap().remove(0).0
    }

    /// All names, as Docker shows them.
    pub(crate) fn names(&self) -> Vec<String> {
        let list = self.images.list().unwrap();
        list.iter()
            .map(|line| line.name.as_ref().map_or("<none>".to_owned(), ImageRef::familiar))
            .collect()
    }

    /// A file in the image's root, as the topmost layer that has it says.
    pub(crate) fn file(&self, image: &Image, path: &str) -> Option<String> {
        let top = self.images.snapshot(image).unwrap()?;
        let layers = self.images.store.snapshots().layers(top).unwrap();
        layers
            .iter()
            .find_map(|layer| std::fs::read_to_string(layer.join(path)).ok())
    }
}

/// Files of an archive in order.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// An image of layers with text files.
pub(crate) struct Sample {
    pub(crate) layers: Vec<Vec<u8>>,
    /// What a registry or archive has: the same, or compressed.
    pub(crate) blobs: Vec<Vec<u8>>,
    architecture: String,
}

impl Sample {
    pub(crate) fn new(layers: &[&[(&str, &str)]]) -> Self {
        let layer = |files: &&[(&str, &str)]| {
            let files: Files = files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect();
            pack(&files)
        };
        let layers: Vec<_> = layers.iter().map(layer).collect();
        Self {
            blobs: layers.clone(),
            layers,
            architecture: Platform::host().architecture,
        }
    }

    pub(crate) fn hello() -> Self {
        Self::new(&[&[("etc/greeting", "hello")], &[("etc/place", "world")]])
    }

    pub(crate) fn compressed(mut self) -> Self {
        self.blobs = self.layers.iter().map(|layer| gzip(layer)).collect();
        self
    }

    pub(crate) fn of_architecture(mut self, architecture: &str) -> Self {
        architecture.clone_into(&mut self.architecture);
        self
    }

    pub(crate) fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(Digest::of).collect();
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        config.to_string().into_bytes()
    }

    pub(crate) fn manifest(&self) -> Vec<u8> {
        let config = self.config();
        let layers = self.layers.iter().zip(&self.blobs).map(|(layer, blob)| {
            let suffix = if layer == blob { "" } else { "+gzip" };
            descriptor(&format!("application/vnd.oci.image.layer.v1.tar{suffix}"), blob)
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.collect::<Vec<_>>(),
        });
        manifest.to_string().into_bytes()
    }

    /// `docker save`'s form.
    pub(crate) fn docker(&self, tags: &[&str]) -> Files {
        let config = format!("{}.json", Digest::of(self.config()).hex());
        let names: Vec<_> = (0..self.blobs.len())
            .map(|at| format!("{at}/layer.tar"))
            .collect();
        let manifest = json!([{"Config": config, "RepoTags": tags, "Layers": names}]);
        let mut files: Files = names.into_iter().zip(self.blobs.clone()).collect();
        files.push((config, self.config()));
        files.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
        files
    }

    /// The blobs of an OCI layout.
    pub(crate) fn blob_files(&self) -> Files {
        let all = self.blobs.iter().cloned().chain([self.config(), self.manifest()]);
        all.map(|bytes| (blob_path(&bytes), bytes)).collect()
    }

    /// An OCI layout whose index has one entry with these annotations.
    pub(crate) fn oci(&self, annotations: Value) -> Files {
        let mut entry = descriptor(MANIFEST, &self.manifest());
        entry["annotations"] = annotations;
        let mut files = vec![("index.json".to_owned(), index(&[entry]))];
        files.extend(self.blob_files());
        files
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// A descriptor of a manifest for a platform.
pub(crate) fn platform(sample: &Sample) -> Value {
    let mut entry = descriptor(MANIFEST, &sample.manifest());
    entry["platform"] = json!({"os": "linux", "architecture": sample.architecture});
    entry
}

pub(crate) fn index(entries: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        .to_string()
        .into_bytes()
}

pub(crate) fn blob_path(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

pub(crate) fn pack(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // `set_path` refuses the paths that hostile archives have.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An archive with one more entry of another kind in front.
pub(crate) fn pack_with_link(path: &str, target: &str, kind: tar::EntryType, files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o777);
    builder.append_link(&mut header, path, target).unwrap();
    let mut archive = builder.into_inner().unwrap();
    archive.truncate(archive.len() - 1024);
    archive.extend(pack(files));
    archive
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
