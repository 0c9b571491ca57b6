//! The document of a cache: BuildKit's `application/vnd.buildkit.cacheconfig.v0`.
//!
//! ```text
//! layers:   blob, parent (another layer; -1: none), annotations (media type, digest and size of the tar, time)
//! records:  digest (the key), layers ([the top one]), and of ours: content, description
//! ```
//! Ours are `producer`, `content`, `description` and `cacheMounts`, which BuildKit passes over. In an image's own
//! configuration the document stands as base64 under [`INLINE`], and its layers are the image's.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use plimsoll_oci::{Descriptor, Digest, MediaType};
use serde::{Deserialize, Serialize};

/// Media type of the document.
pub(super) const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// Where an image's configuration has it.
pub(crate) const INLINE: &str = "moby.buildkit.cache.v0";
/// Says that the keys are those of this program's solver.
const PRODUCER: &str = "plimsoll";
/// Longer chains are not made by anybody; a cycle would be one.
const DEEPEST: usize = 1000;

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Document {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<DocumentLayer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<DocumentRecord>,
    #[serde(rename = "cacheMounts", skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<CacheMount>,
    producer: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct DocumentLayer {
    blob: Digest,
    /// BuildKit leaves out the zero, which means the first layer.
    #[serde(default)]
    parent: i64,
    annotations: LayerAnnotations,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerAnnotations {
    media_type: String,
    #[serde(rename = "diffID")]
    diff_id: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct DocumentRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    layers: Vec<DocumentResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Digest>,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentResult {
    layer: usize,
    /// In an image's own cache the layers have no place for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

/// The files of a cache mount.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CacheMount {
    /// Name of its folder.
    pub(crate) folder: String,
    /// What people call it.
    pub(crate) id: String,
    /// Its archive.
    pub(crate) blob: Digest,
    /// Size of that.
    pub(crate) size: u64,
}

/// A layer as it lies on others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheLayer {
    /// Its blob.
    pub(crate) descriptor: Descriptor,
    /// Digest of its tar.
    pub(crate) diff_id: Digest,
    /// When it was made.
    pub(crate) created: Option<Timestamp>,
    /// The one below, which comes before it.
    pub(crate) parent: Option<usize>,
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheResult {
    /// Number of its top layer.
    pub(crate) top: usize,
    /// What later steps key on.
    pub(crate) content: Digest,
    /// What the step is called.
    pub(crate) description: String,
}

/// A cache without its blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheConfig {
    pub(crate) layers: Vec<CacheLayer>,
    pub(crate) results: BTreeMap<Digest, CacheResult>,
    pub(crate) mounts: Vec<CacheMount>,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not JSON of this form.
    #[error("it cannot be understood: {0}")]
    Parse(#[from] serde_json::Error),
    /// Another builder's keys mean nothing here.
    #[error("it was made by another builder, whose keys mean nothing here")]
    Foreign,
    /// It contradicts itself.
    #[error("it names layer {0}, which is not there or lies on itself")]
    Layer(i64),
}

impl CacheConfig {
    /// Reads a document that has its layers.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let document = read(bytes)?;
        let mut layers = Vec::with_capacity(document.layers.len());
        for (at, layer) in document.layers.iter().enumerate() {
            let parent = usize::try_from(layer.parent).ok();
            // Ours come after those they lie on, so there is no cycle.
            if layer.parent != -1 && parent.is_none_or(|parent| parent >= at) {
                return Err(ConfigError::Layer(layer.parent));
            }
            let annotations = &layer.annotations;
            let media_type = MediaType::from(annotations.media_type.as_str());
            layers.push(CacheLayer {
                descriptor: Descriptor::new(media_type, annotations.size, layer.blob),
                diff_id: annotations.diff_id,
                created: annotations.created_at,
                parent,
            });
        }
        let results = results(document.records, layers.len())?;
        let results = results.into_iter().map(|(key, (result, _))| (key, result));
        let config = Self {
            results: results.collect(),
            layers,
            mounts: document.mounts,
        };
        match config
            .results
            .values()
            .find(|result| config.chain(result.top).len() > DEEPEST)
        {
            Some(result) => Err(ConfigError::Layer(result.top as i64)),
            None => Ok(config),
        }
    }

    /// Reads the document of an image, whose layers are given, base first.
    pub(super) fn parse_inline(bytes: &[u8], mut layers: Vec<CacheLayer>) -> Result<Self, ConfigError> {
        let found = results(read(bytes)?.records, layers.len())?;
        for (result, created) in found.values() {
            layers[result.top].created = created.or(layers[result.top].created);
        }
        Ok(Self {
            results: found
                .into_iter()
                .map(|(key, (result, _))| (key, result))
                .collect(),
            layers,
            mounts: Vec::new(),
        })
    }

    /// Returns the layers of a result, base first.
    pub(crate) fn chain(&self, top: usize) -> Vec<&CacheLayer> {
        let mut chain = Vec::new();
        let mut next = Some(top);
        while let Some(at) = next {
            let layer = &self.layers[at];
            chain.push(layer);
            next = layer.parent;
        }
        chain.reverse();
        chain
    }

    /// Writes the document.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let layers = self.layers.iter().map(|layer| DocumentLayer {
            blob: Digest::try_from(layer.descriptor.digest()).expect("made from such a digest"),
            parent: layer.parent.map_or(-1, |parent| parent as i64),
            annotations: LayerAnnotations {
                media_type: layer.descriptor.media_type().to_string(),
                diff_id: layer.diff_id,
                size: layer.descriptor.size(),
                created_at: layer.created,
            },
        });
        self.write(layers.collect(), false)
    }

    /// Writes the document of an image that has the layers.
    pub(super) fn to_inline(&self) -> Vec<u8> {
        self.write(Vec::new(), true)
    }

    fn write(&self, layers: Vec<DocumentLayer>, with_times: bool) -> Vec<u8> {
        let records = self.results.iter().map(|(key, result)| DocumentRecord {
            digest: Some(*key),
            layers: vec![DocumentResult {
                layer: result.top,
                created_at: self.layers[result.top].created.filter(|_| with_times),
            }],
            content: Some(result.content),
            description: result.description.clone(),
        });
        let document = Document {
            layers,
            records: records.collect(),
            mounts: self.mounts.clone(),
            producer: PRODUCER.to_owned(),
        };
        serde_json::to_vec(&document).expect("a document is JSON")
    }
}

fn read(bytes: &[u8]) -> Result<Document, ConfigError> {
    let document: serde_json::Value = serde_json::from_slice(bytes)?;
    if document
        .get("producer")
        .is_none_or(|producer| producer != PRODUCER)
    {
        return Err(ConfigError::Foreign);
    }
    Ok(serde_json::from_slice(bytes)?)
}

type Results = HashMap<Digest, (CacheResult, Option<Timestamp>)>;

/// The records that are whole, by key.
fn results(records: Vec<DocumentRecord>, layers: usize) -> Result<Results, ConfigError> {
    let mut results = Results::new();
    for record in records {
        let (Some(key), Some(content), [result]) = (record.digest, record.content, record.layers.as_slice())
        else {
            continue;
        };
        if result.layer >= layers {
            return Err(ConfigError::Layer(result.layer as i64));
        }
        let found = CacheResult {
            top: result.layer,
            content,
            description: record.description,
        };
        results.insert(key, (found, result.created_at));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text)
    }

    fn layer(name: &str, parent: Option<usize>) -> CacheLayer {
        CacheLayer {
            descriptor: Descriptor::new(MediaType::ImageLayerGzip, 7, digest(name)),
            diff_id: digest(&format!("{name} tar")),
            created: Some("2026-01-02T03:04:05.123456789Z".parse().unwrap()),
            parent,
        }
    }

    fn config() -> CacheConfig {
        let result = |top, content: &str| CacheResult {
            top,
            content: digest(content),
            description: "RUN true".to_owned(),
        };
        CacheConfig {
            layers: vec![layer("base", None), layer("one", Some(0)), layer("two", Some(0))],
            results: [(digest("key"), result(1, "a")), (digest("other"), result(2, "b"))].into(),
            mounts: vec![CacheMount {
                folder: "f".to_owned(),
                id: "npm".to_owned(),
                blob: digest("m"),
                size: 3,
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(CacheConfig::parse(&config().to_bytes()).unwrap(), config());
    }

    #[test]
    fn an_image_has_the_layers_itself() {
        let mut config = config();
        config.mounts.clear();
        let text = String::from_utf8(config.to_inline()).unwrap();
        assert!(!text.contains("blob"), "{text}");
        let read = CacheConfig::parse_inline(text.as_bytes(), config.layers.clone()).unwrap();
        assert_eq!(read, config);
        let two = config.layers[..2].to_vec();
        assert!(matches!(
            CacheConfig::parse_inline(text.as_bytes(), two),
            Err(ConfigError::Layer(2))
        ));
    }

    #[test]
    fn chains_begin_at_the_base() {
        let config = config();
        let names: Vec<_> = config.chain(2).iter().map(|layer| layer.diff_id).collect();
        assert_eq!(names, [digest("base tar"), digest("two tar")]);
    }

    #[test]
    fn other_builders_and_nonsense_are_told_apart() {
        let foreign = br#"{"layers":[],"records":[{"digest":"sha256:00"}]}"#;
        assert!(matches!(CacheConfig::parse(foreign), Err(ConfigError::Foreign)));
        assert!(matches!(CacheConfig::parse(b"[]"), Err(ConfigError::Foreign)));
        assert!(matches!(CacheConfig::parse(b"<"), Err(ConfigError::Parse(_))));
        let text = String::from_utf8(config().to_bytes()).unwrap();
        for (good, bad) in [
            ("\"parent\":-1", "\"parent\":0"),
            ("\"parent\":0", "\"parent\":9"),
            ("\"layer\":2", "\"layer\":3"),
        ] {
            let text = text.replacen(good, bad, 1);
            assert!(
                matches!(CacheConfig::parse(text.as_bytes()), Err(ConfigError::Layer(_))),
                "{text}"
            );
        }
    }
}
