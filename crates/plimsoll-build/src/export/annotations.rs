//! Annotations, and what of an image each is for.

use std::collections::BTreeMap;
use std::str::FromStr;

use plimsoll_oci::Platform;

/// What an annotation stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnnotationLevel {
    /// The image's manifest.
    Manifest,
    /// The entry that an index has for the manifest.
    ManifestDescriptor,
    /// The index of several images.
    Index,
    /// The entry that an image layout has for the index.
    IndexDescriptor,
}

/// One annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// On what.
    pub level: AnnotationLevel,
    /// Only for the image of this platform.
    pub platform: Option<Platform>,
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// All annotations of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(pub Vec<Annotation>);

impl FromStr for AnnotationLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "manifest" => Ok(Self::Manifest),
            "manifest-descriptor" => Ok(Self::ManifestDescriptor),
            "index" => Ok(Self::Index),
            "index-descriptor" => Ok(Self::IndexDescriptor),
            _ => Err(format!(
                "unknown annotation type `{text}`: use manifest, manifest-descriptor, index or index-descriptor"
            )),
        }
    }
}

impl Annotations {
    /// Returns what stands on this level for a platform; what is only for that platform wins.
    pub(super) fn of(&self, level: AnnotationLevel, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let of = |only: bool| {
            let all = self.0.iter().filter(move |annotation| annotation.level == level);
            all.filter(move |annotation| match (&annotation.platform, only) {
                (None, false) => true,
                (Some(wanted), true) => platform == Some(wanted),
                _ => false,
            })
        };
        let pair = |annotation: &Annotation| (annotation.key.clone(), annotation.value.clone());
        of(false).chain(of(true)).map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_wins_over_all() {
        let annotation = |platform: Option<&str>, value: &str| Annotation {
            level: AnnotationLevel::Manifest,
            platform: platform.map(|platform| platform.parse().unwrap()),
            key: "k".to_owned(),
            value: value.to_owned(),
        };
        let all = Annotations(vec![
            annotation(Some("linux/arm64"), "arm"),
            annotation(None, "any"),
        ]);
        let of = |platform: &str| {
            let platform = platform.parse().unwrap();
            all.of(AnnotationLevel::Manifest, Some(&platform))["k"].clone()
        };
        assert_eq!(of("linux/arm64"), "arm");
        assert_eq!(of("linux/amd64"), "any");
        assert!(all.of(AnnotationLevel::Index, None).is_empty());
    }
}
