//! An image as it goes out: `type=image`, `registry`, `oci` and `docker`.

use std::collections::BTreeMap;

use plimsoll_image::{Image, Images, IndexForm, NewIndex, Packing};
use plimsoll_oci::{Digest, ImageRef};
use serde_json::{Map, Value, json};

use super::{AnnotationLevel, Annotations};
use crate::BuiltImage;
use crate::error::BuildError;

/// When it was made, for whoever only reads the index.
const CREATED: &str = "org.opencontainers.image.created";

/// How an image goes out.
#[derive(Clone, Debug, Default)]
pub struct ReleaseSettings {
    /// What it is called.
    pub names: Vec<ImageRef>,
    /// How its layers are packed; as they are if none, which only the own store takes.
    pub packing: Option<Packing>,
    /// What is said about it.
    pub annotations: Annotations,
    /// Leaves the times of files as they are, even with SOURCE_DATE_EPOCH.
    pub keep_times: bool,
    /// It leaves this machine, so that what is attested by default goes with it.
    pub leaves: bool,
    /// Attestations as artifacts that refer to their image.
    pub oci_artifact: bool,
}

/// Images, and what lists them. All parts of images are in the store; the index is not yet.
#[derive(Clone, Debug)]
pub struct Release {
    /// One for each platform.
    pub images: Vec<Image>,
    /// For several platforms, or when something is attested.
    pub index: Option<NewIndex>,
    /// Of the image or the index: media type, digest, size, annotations, platform.
    pub descriptor: Map<String, Value>,
    /// What it is called.
    pub names: Vec<ImageRef>,
}

impl Release {
    /// Makes images ready to go out. This compresses, so it takes time.
    pub fn new(
        images: &Images,
        built: &[BuiltImage],
        settings: &ReleaseSettings,
    ) -> Result<Self, BuildError> {
        let mut ready = Vec::with_capacity(built.len());
        let mut entries = Vec::with_capacity(built.len());
        for built in built {
            let image = prepare(images, built, settings)?;
            let level = AnnotationLevel::ManifestDescriptor;
            let annotations = settings.annotations.of(level, Some(&built.platform));
            let mut attestations = built.attestations.clone();
            if settings.leaves {
                attestations.extend(built.default_attestations.iter().cloned());
            }
            entries.push(images.index_entry(&image, &built.platform, annotations, attestations)?);
            ready.push(image);
        }
        let of_index = settings.annotations.of(AnnotationLevel::Index, None);
        let of_descriptor = settings.annotations.of(AnnotationLevel::IndexDescriptor, None);
        let (index, descriptor) = match entries.as_slice() {
            [one] if one.attestations.is_empty() => match of_index.is_empty() && of_descriptor.is_empty() {
                true => (None, one.descriptor()),
                false => return Err(BuildError::IndexAnnotations),
            },
            entries => {
                let form = IndexForm {
                    names: settings.names.clone(),
                    annotations: of_index,
                    docker_media_type: settings.packing.is_some_and(|packing| !packing.oci_media_types),
                    oci_artifact: settings.oci_artifact,
                };
                let index = NewIndex::new(entries, &form);
                let mut descriptor = index.index.descriptor();
                if !of_descriptor.is_empty() {
                    descriptor.insert("annotations".to_owned(), json!(of_descriptor));
                }
                (Some(index), descriptor)
            }
        };
        Ok(Self {
            images: ready,
            index,
            descriptor,
            names: settings.names.clone(),
        })
    }

    /// Keeps it in the store, under its names.
    pub fn keep(&self, images: &Images) -> Result<(), BuildError> {
        match &self.index {
            Some(index) => images.keep_index(&self.images, index, &self.names).map(drop)?,
            None => {
                let image = &self.images[0];
                match self.names.is_empty() {
                    true => images.keep(image)?,
                    false => self.names.iter().try_for_each(|name| images.tag(image, name))?,
                }
            }
        }
        Ok(())
    }

    /// Returns the digest of the image or index.
    pub fn digest(&self) -> Digest {
        match &self.index {
            Some(index) => index.index.digest,
            None => self.images[0].manifest_digest,
        }
    }

    /// Returns the image id, which an index has not.
    pub fn image_id(&self) -> Option<Digest> {
        self.index.is_none().then(|| self.images[0].id)
    }

    /// Returns the descriptor as a layout lists it: with the time of the image.
    pub fn dated_descriptor(&self) -> Map<String, Value> {
        let mut descriptor = self.descriptor.clone();
        let created = self
            .images
            .iter()
            .filter_map(|image| image.config.created.as_deref())
            .max();
        let created = created.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        if let Some(created) = created.and_then(|time| jiff::Timestamp::from_second(time.as_second()).ok()) {
            let mut annotations: BTreeMap<String, Value> = BTreeMap::new();
            annotations.insert(CREATED.to_owned(), created.to_string().into());
            if let Some(Value::Object(given)) = descriptor.shift_remove("annotations") {
                annotations.extend(given);
            }
            let platform = descriptor.shift_remove("platform");
            descriptor.insert("annotations".to_owned(), json!(annotations));
            descriptor.extend(platform.map(|platform| ("platform".to_owned(), platform)));
        }
        descriptor
    }

    /// Returns what `--metadata-file` says about it, under buildx's names.
    pub fn metadata(&self, dated: bool) -> Map<String, Value> {
        let descriptor = match dated {
            true => self.dated_descriptor(),
            false => self.descriptor.clone(),
        };
        let mut metadata = Map::new();
        if let Some(id) = self.image_id() {
            metadata.insert("containerimage.config.digest".to_owned(), id.to_string().into());
        }
        metadata.insert("containerimage.descriptor".to_owned(), descriptor.into());
        metadata.insert(
            "containerimage.digest".to_owned(),
            self.digest().to_string().into(),
        );
        if !self.names.is_empty() {
            let names: Vec<_> = self.names.iter().map(ToString::to_string).collect();
            metadata.insert("image.name".to_owned(), names.join(",").into());
        }
        metadata
    }
}

/// One image with the times, the layers and the annotations it goes out with.
fn prepare(images: &Images, built: &BuiltImage, settings: &ReleaseSettings) -> Result<Image, BuildError> {
    let mut image = match built.epoch.filter(|_| !settings.keep_times) {
        Some(epoch) => images.until(&built.image, built.base_layers, epoch)?,
        None => built.image.clone(),
    };
    if let Some(packing) = &settings.packing {
        image = images.pack(&image, packing)?;
    }
    let annotations = settings
        .annotations
        .of(AnnotationLevel::Manifest, Some(&built.platform));
    Ok(images.annotate(&image, &annotations)?)
}
