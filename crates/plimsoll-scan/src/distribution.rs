//! Which distribution a tree is: [os-release].
//!
//! [os-release]: https://www.freedesktop.org/software/systemd/man/latest/os-release.html

use plimsoll_store::MergedTree;

use crate::{Result, text_at};

/// A distribution and its version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// `debian`.
    pub id: String,
    /// `12`; empty where it has none, as Debian's testing.
    pub version: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
}

impl Distribution {
    pub(crate) fn of(tree: &MergedTree) -> Result<Option<Self>> {
        for path in ["/etc/os-release", "/usr/lib/os-release"] {
            if let Some(text) = text_at(tree, path)? {
                return Ok(Self::parse(&text));
            }
        }
        Ok(None)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut distribution = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once('=') else {
                continue;
            };
            let value = value.trim_matches(['"', '\'']).to_owned();
            match key {
                "ID" => distribution.id = value,
                "VERSION_ID" => distribution.version = value,
                "PRETTY_NAME" => distribution.name = value,
                _ => {}
            }
        }
        (!distribution.id.is_empty()).then_some(distribution)
    }

    /// The qualifier `distro` of package URLs: `debian-12`.
    pub(crate) fn qualifier(&self) -> String {
        match self.version.as_str() {
            "" => self.id.clone(),
            version => format!("{}-{version}", self.id),
        }
    }
}
