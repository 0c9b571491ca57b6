//! Small images, made in memory.

use std::io::Write as _;

use camino::Utf8Path;
use plimsoll_oci::Digest;
use serde_json::{Value, json};

/// A one-layer image to be written as an archive.
#[derive(Clone, Debug)]
pub struct Archive {
    files: Vec<(String, Vec<u8>, u32)>,
    config: Value,
    tags: Vec<String>,
}

impl Archive {
    /// An image with no files, named `tag`.
    pub fn new(tag: &str) -> Self {
        Self {
            files: Vec::new(),
            config: json!({}),
            tags: vec![tag.to_owned()],
        }
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.push((path.to_owned(), content.into(), mode));
        self
    }

    /// Sets Docker's `Config` object.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    fn layer(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content, mode) in &self.files {
            append(&mut builder, path, content, *mode);
        }
        builder.into_inner().expect("writing to memory works")
    }

    fn image_config(&self, layer: &[u8]) -> Vec<u8> {
        let config = json!({
            "architecture": plimsoll_oci::Platform::host().architecture,
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).to_string()]},
            "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "made by a test"}],
        });
        config.to_string().into_bytes()
    }

    /// Returns the image as `docker save` would write it.
    pub fn docker(&self) -> Vec<u8> {
        let layer = self.layer();
        let config = self.image_config(&layer);
        let config_name = format!("{}.json", Digest::of(&config).hex());
        let manifest = json!([{"Config": config_name, "RepoTags": self.tags, "Layers": ["layer/layer.tar"]}]);
        archive(&[
            (config_name.as_str(), config.clone()),
            ("layer/layer.tar", layer),
            ("manifest.json", manifest.to_string().into_bytes()),
        ])
    }

    /// Returns the image as an archive of an OCI layout.
    pub fn oci(&self) -> Vec<u8> {
        let layer = self.layer();
        let config = self.image_config(&layer);
        let descriptor = |media: &str, bytes: &[u8]| json!({"mediaType": media, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let named = self.tags.iter().map(|tag| {
            let mut descriptor = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
            descriptor["annotations"] =
                json!({"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag});
            descriptor
        });
        let index = json!({"schemaVersion": 2, "manifests": named.collect::<Vec<_>>()});
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
        archive(&[
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ("index.json", index.to_string().into_bytes()),
            (&blob(&manifest), manifest.clone()),
            (&blob(&config), config.clone()),
            (&blob(&layer), layer.clone()),
        ])
    }

    /// Writes the docker form to `path`.
    pub fn write_docker(&self, path: &Utf8Path) {
        write(path, &self.docker());
    }

    /// Writes the OCI form to `path`.
    pub fn write_oci(&self, path: &Utf8Path) {
        write(path, &self.oci());
    }
}

fn write(path: &Utf8Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    file.write_all(bytes)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        append(&mut builder, path, content, 0o644);
    }
    builder.into_inner().expect("writing to memory works")
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    builder
        .append_data(&mut header, path, content)
        .expect("writing to memory works");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_the_same_image() {
        let image = Archive::new("t:1").file("hello", "world", 0o644);
        let names = |bytes: Vec<u8>| {
            let mut archive = tar::Archive::new(&bytes[..]);
            archive
                .entries()
                .unwrap()
                .map(|e| e.unwrap().path().unwrap().display().to_string())
                .collect::<Vec<_>>()
        };
        assert!(names(image.docker()).contains(&"manifest.json".to_owned()));
        let config = Digest::of(image.image_config(&image.layer()));
        assert!(names(image.oci()).contains(&format!("blobs/sha256/{}", config.hex())));
    }
}
