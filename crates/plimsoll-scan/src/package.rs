//! One package.

use packageurl::PackageUrl;

/// Which package manager speaks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Debian's dpkg.
    Deb,
    /// Alpine's apk.
    Apk,
    /// Node's npm.
    Npm,
    /// Python's pip.
    Pypi,
}

impl Kind {
    /// The type in package URLs.
    pub fn purl_type(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Npm => "npm",
            Self::Pypi => "pypi",
        }
    }
}

/// A package of one version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Who speaks of it.
    pub kind: Kind,
    /// Its name there.
    pub name: String,
    /// Its version there.
    pub version: String,
    /// Its [package URL].
    ///
    /// [package URL]: https://github.com/package-url/purl-spec
    pub purl: String,
    /// The source package that it was built from, when that is called otherwise, with its version if that differs.
    pub source: Option<(String, Option<String>)>,
    /// Licences, in the words of whoever made the package.
    pub licences: Vec<String>,
    /// Files of the image that speak of it.
    pub locations: Vec<String>,
}

/// Returns a package URL; none for what cannot be the name of a package.
pub(crate) fn purl(
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
    version: &str,
    qualifiers: &[(&'static str, String)],
) -> Option<String> {
    let mut purl = PackageUrl::new(kind.purl_type(), name.to_owned()).ok()?;
    if let Some(namespace) = namespace {
        purl.with_namespace(namespace.to_owned()).ok()?;
    }
    purl.with_version(version.to_owned()).ok()?;
    for (key, value) in qualifiers.iter().filter(|(_, value)| !value.is_empty()) {
        purl.add_qualifier(*key, value.clone()).ok()?;
    }
    Some(purl.to_string())
}
