//! Platforms: `linux/arm64/v8` and its spellings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and processor, as in `--platform` and in an index.
///
/// Normalised as containerd does: `x86_64` is `amd64`, `aarch64` and `arm64/v8` are `arm64`,
/// `armhf` is `arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, `linux`.
    pub os: String,
    /// Processor architecture in Go's words, `amd64`.
    pub architecture: String,
    /// Processor variant, `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a [`Platform`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a platform: expected OS/ARCH or OS/ARCH/VARIANT, such as `linux/amd64`")]
pub struct PlatformError(String);

impl Platform {
    /// Returns the platform of this machine.
    pub fn host() -> Self {
        Self::normalised("linux", std::env::consts::ARCH, None)
    }

    /// Returns a platform from its parts, normalised.
    pub fn normalised(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = architecture.to_lowercase();
        let variant = variant
            .filter(|variant| !variant.is_empty())
            .map(str::to_lowercase);
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", Some(_)) => ("amd64", variant),
            ("i386" | "i686" | "x86", _) => ("386", None),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
            ("aarch64" | "arm64", Some(_)) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7".to_owned())),
            ("armel", _) => ("arm", Some("v6".to_owned())),
            ("arm", None | Some("7")) => ("arm", Some("v7".to_owned())),
            ("powerpc64le", _) => ("ppc64le", None),
            (other, _) => {
                return Self {
                    os: os.to_lowercase(),
                    architecture: other.to_owned(),
                    variant,
                };
            }
        };
        Self {
            os: os.to_lowercase(),
            architecture: architecture.to_owned(),
            variant,
        }
    }

    /// Tells whether an image for `self` runs where `wanted` is asked for.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self == wanted
            || (self.os == wanted.os && self.architecture == wanted.architecture && self.variant.is_none())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError(text.to_owned());
        let mut parts = text.split('/');
        let (first, second, third) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        if parts.next().is_some()
            || [Some(first), second, third]
                .into_iter()
                .flatten()
                .any(str::is_empty)
        {
            return Err(wrong());
        }
        match (first, second) {
            ("linux", None) => Ok(Self::host()),
            (_, None) => Err(wrong()),
            (os, Some(architecture)) => Ok(Self::normalised(os, architecture, third)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/s390x", "linux/s390x"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["", "amd64", "linux/", "/amd64", "linux/amd64/v1/x"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
