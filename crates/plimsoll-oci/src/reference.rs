//! Image references: `node:20-alpine` and all its longer forms.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// A normalised image reference: short names get `docker.io` and `library/`.
///
/// Grammar and rules of the [distribution reference]; a reference without tag and digest means the tag
/// `latest`, which [`ImageRef::tag`] then returns.
///
/// [distribution reference]: https://github.com/distribution/reference/blob/main/reference.go
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an [`ImageRef`].
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl ImageRef {
    /// Returns the registry's host, with port if one was given: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository below the registry: `library/node`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; `None` only for a reference by digest alone.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the pinned digest.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Returns what a registry is asked for: the digest if there is one, else the tag.
    pub fn tag_or_digest(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// Returns the name without tag and digest as Docker shows it: `node`, `ghcr.io/a/b`.
    pub fn familiar_name(&self) -> String {
        if self.registry == DEFAULT_REGISTRY {
            self.repository
                .strip_prefix("library/")
                .unwrap_or(&self.repository)
                .to_owned()
        } else {
            format!("{}/{}", self.registry, self.repository)
        }
    }

    /// Returns the whole reference as Docker shows it: `node:20-alpine`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// Returns the same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Self {
        Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        }
    }

    /// Returns the same repository pinned to `digest`, without tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for ImageRef {
    /// The canonical form, used as key in the store: `docker.io/library/node:20-alpine`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl FromStr for ImageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |reason| ReferenceError {
            text: text.to_owned(),
            reason,
        };
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        if text.len() == 64 && Digest::from_hex(text).is_ok() {
            return Err(wrong("64 hexadecimal digits name an image ID, not a repository"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (
                name,
                Some(
                    digest
                        .parse()
                        .map_err(|_| wrong("what follows `@` is not a sha256 digest"))?,
                ),
            ),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("a tag is up to 128 letters, digits, `_`, `.` and `-`"));
        }
        let (registry, repository) = split_registry(name);
        if !is_host(registry) {
            return Err(wrong("the registry is not a host name"));
        }
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong("a repository name must be lower case"));
        }
        if repository.len() > 255 || !repository.split('/').all(is_component) {
            return Err(wrong(
                "a repository is lower-case letters and digits, separated by `.`, `_`, `-` or `/`",
            ));
        }
        let repository = match registry {
            DEFAULT_REGISTRY if !repository.contains('/') => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        let tag = match (tag, digest) {
            (None, None) => Some(DEFAULT_TAG),
            _ => tag,
        };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Splits off the registry: the first component is one if it has a dot or colon or is `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    }
}

/// `host`, `host:port`, or an IPv6 address in brackets in place of the host.
fn is_host(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (
            address,
            port.strip_prefix(':').or((port.is_empty()).then_some("0")),
        ),
        None => registry
            .split_once(':')
            .map_or((registry, Some("0")), |(host, port)| (host, Some(port))),
    };
    let bracketed = registry.starts_with('[');
    let character = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b) || (bracketed && b == b':');
    !host.is_empty()
        && host.bytes().all(character)
        && (bracketed
            || host
                .split('.')
                .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')))
        && port.is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && word(tag.as_bytes()[0])
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// One path component: alphanumeric runs joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.iter().all(|&b| alphanumeric(b) || b"._-".contains(&b))
        && !component.contains("..")
        && !component.contains("___")
        && !["._", "_.", ".-", "-.", "_-", "-_"]
            .iter()
            .any(|pair| component.contains(pair))
}

impl Serialize for ImageRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_short_names() {
        for (text, canonical, familiar) in [
            ("node", "docker.io/library/node:latest", "node:latest"),
            (
                "node:20-alpine",
                "docker.io/library/node:20-alpine",
                "node:20-alpine",
            ),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            (
                "docker.io/library/node:20",
                "docker.io/library/node:20",
                "node:20",
            ),
            (
                "index.docker.io/library/node",
                "docker.io/library/node:latest",
                "node:latest",
            ),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            (
                "127.0.0.1:5000/a/b:c",
                "127.0.0.1:5000/a/b:c",
                "127.0.0.1:5000/a/b:c",
            ),
            (
                "gcr.io/distroless/static-debian12:nonroot",
                "gcr.io/distroless/static-debian12:nonroot",
                "gcr.io/distroless/static-debian12:nonroot",
            ),
        ] {
            let reference: ImageRef = text.parse().unwrap();
            assert_eq!(
                (reference.to_string().as_str(), reference.familiar().as_str()),
                (canonical, familiar)
            );
        }
    }

    #[test]
    fn keeps_digests() {
        let digest = Digest::of("x");
        let reference: ImageRef = format!("node:20@{digest}").parse().unwrap();
        assert_eq!((reference.tag(), reference.digest()), (Some("20"), Some(digest)));
        assert_eq!(reference.tag_or_digest(), digest.to_string());
        let reference: ImageRef = format!("node@{digest}").parse().unwrap();
        assert_eq!(reference.tag(), None);
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for text in [
            "",
            ":",
            "Node",
            "a//b",
            "a:b:c/d",
            "-a",
            "a-",
            "a:-x",
            "a@sha256:12",
            "../etc",
            "a:x/b",
            "[::1/b",
            "[::1]x/b",
            "a b",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }
}
