//! An image layout as builders export it: one image or one index, in the form that everyone reads.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use plimsoll_oci::{Digest, ImageRef};
use serde_json::{Map, Value, json};

use super::target::Folder;
use super::{Saved, Tar, Target, oci};
use crate::load::{CONTAINERD_NAME, REF_NAME};
use crate::{Image, ImageError, Images, NewIndex, Result, document};

const INDEX: &str = "index.json";

/// What is to be written.
pub struct Layout<'a> {
    /// The images, which are in the store, those without layers of ours as blobs or not.
    pub images: &'a [Image],
    /// What lists them; needed for more than one.
    pub index: Option<&'a NewIndex>,
    /// Descriptor of the image or index; as the layout's own index lists it.
    pub descriptor: &'a Map<String, Value>,
    /// What the image is called.
    pub names: &'a [ImageRef],
    /// Whether Docker's `manifest.json` goes with it, which `docker load` of any version reads.
    pub docker: bool,
}

impl Images {
    /// Writes a layout as a tar file. The same layout gives the same bytes.
    pub fn write_layout(&self, layout: &Layout<'_>, out: &mut dyn Write) -> Result<()> {
        let mut tar = Tar::new(out);
        self.write_parts(layout, &mut tar)?;
        tar.file(INDEX, &index(Vec::new(), layout))?;
        tar.finish()
    }

    /// Writes a layout into a folder. What else is there stays; of the same name only the new one does.
    pub fn write_layout_folder(&self, layout: &Layout<'_>, folder: &Path) -> Result<()> {
        let earlier = earlier(&folder.join(INDEX))?;
        let mut target = Folder::new(folder);
        self.write_parts(layout, &mut target)?;
        // Last: now the folder has the image.
        target.file(INDEX, &index(earlier, layout))
    }

    fn write_parts(&self, layout: &Layout<'_>, target: &mut dyn Target) -> Result<()> {
        let _lease = self.store.lease()?;
        target.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let content = self.store.content();
        for image in layout.images {
            oci::write_layers(self, image, target)?;
            for digest in [image.id, image.manifest_digest] {
                let bytes = document::read(content, &digest, "image document")?;
                target.file(&oci::path(&digest), &bytes)?;
            }
        }
        for document in layout
            .index
            .iter()
            .flat_map(|index| index.others.iter().chain([&index.index]))
        {
            target.file(&oci::path(&document.digest), &document.bytes)?;
        }
        match (layout.docker, layout.images) {
            (true, [image]) => target.file("manifest.json", &docker_manifest(image, layout.names)?),
            _ => Ok(()),
        }
    }
}

/// The entries of a layout that is there already.
fn earlier(path: &Path) -> Result<Vec<Value>> {
    let wrong = |source| ImageError::ReadLayout {
        path: path.to_owned(),
        source,
    };
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(wrong)?,
    };
    let mut index: Value =
        serde_json::from_slice(&bytes).map_err(ImageError::parse(format!("`{}`", path.display())))?;
    match index["manifests"].take() {
        Value::Array(entries) => Ok(entries),
        _ => Ok(Vec::new()),
    }
}

fn index(earlier: Vec<Value>, layout: &Layout<'_>) -> Vec<u8> {
    let mut entries: Vec<Value> = match layout.names {
        [] => vec![layout.descriptor.clone().into()],
        names => names.iter().map(|name| named(layout.descriptor, name)).collect(),
    };
    let name = |entry: &Value| match &entry["annotations"][CONTAINERD_NAME] {
        Value::String(name) => name.clone(),
        _ => entry["digest"].to_string(),
    };
    let taken: Vec<String> = entries.iter().map(name).collect();
    let mut all: Vec<Value> = earlier;
    all.retain(|entry| !taken.contains(&name(entry)));
    all.append(&mut entries);
    let media_type = "application/vnd.oci.image.index.v1+json";
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": all})
        .to_string()
        .into_bytes()
}

/// Docker and containerd read the whole name, others the tag.
fn named(descriptor: &Map<String, Value>, name: &ImageRef) -> Value {
    let mut annotations: BTreeMap<String, Value> = BTreeMap::new();
    annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string().into());
    annotations.extend(name.tag().map(|tag| (REF_NAME.to_owned(), tag.into())));
    if let Some(Value::Object(given)) = descriptor.get("annotations") {
        annotations.extend(given.clone());
    }
    let mut entry = descriptor.clone();
    // In the place that BuildKit gives them.
    let platform = entry.shift_remove("platform");
    entry.insert("annotations".to_owned(), json!(annotations));
    entry.extend(platform.map(|platform| ("platform".to_owned(), platform)));
    entry.into()
}

/// Docker's `manifest.json` for blobs of a layout.
pub(super) fn docker_manifests(list: &[Saved]) -> Result<Vec<u8>> {
    let mut all: Vec<Value> = Vec::new();
    for saved in list {
        let one = docker_manifest(&saved.image, &saved.names)?;
        let one: Vec<Value> = serde_json::from_slice(&one).expect("a list is JSON");
        all.extend(one);
    }
    Ok(serde_json::to_vec(&all).expect("a list is JSON"))
}

fn docker_manifest(image: &Image, names: &[ImageRef]) -> Result<Vec<u8>> {
    let digests = image.manifest.layers().iter();
    let layers = digests.map(|layer| document::digest_of(layer, "a layer"));
    let layers = layers.collect::<Result<Vec<Digest>>>()?;
    let entry = json!([{
        "Config": oci::path(&image.id),
        "RepoTags": names.iter().map(ImageRef::familiar).collect::<Vec<_>>(),
        "Layers": layers.iter().map(oci::path).collect::<Vec<_>>(),
    }]);
    Ok(entry.to_string().into_bytes())
}
