//! Names of images as they are written in FROM and `--from`.

use plimsoll_diagnostics::Fix;

/// A name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) struct ImageName<'a> {
    /// Registry and path, without tag and digest.
    pub(in crate::rules) path: &'a str,
    pub(in crate::rules) tag: Option<&'a str>,
    pub(in crate::rules) digest: Option<&'a str>,
}

impl<'a> ImageName<'a> {
    pub(in crate::rules) fn parse(name: &'a str) -> Self {
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (name, None),
        };
        let slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match rest[slash..].rfind(':') {
            Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
            None => (rest, None),
        };
        Self { path, tag, digest }
    }

    /// The registry: what stands before the first slash when it looks like a host, Docker Hub otherwise.
    pub(in crate::rules) fn registry(&self) -> &'a str {
        match self.path.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
            _ => "docker.io",
        }
    }

    /// The path on Docker Hub of an official image, `node`; none for others.
    pub(in crate::rules) fn official(&self) -> Option<&'a str> {
        // Mirrors keep Docker Hub's paths.
        let path = self
            .path
            .split_once("/library/")
            .map_or(self.path, |(_, name)| name);
        let path = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
            .iter()
            .find_map(|host| path.strip_prefix(host))
            .unwrap_or(path);
        let path = path.strip_prefix("library/").unwrap_or(path);
        (!path.contains('/')).then_some(path)
    }
}

/// The digest that the registry gives for a name now.
pub(in crate::rules) fn pinned(digest: &str) -> Fix {
    Fix::safe(format!(
        "name it by its digest, {}",
        &digest[..digest.len().min(19)]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |name| {
            let image = ImageName::parse(name);
            (image.registry(), image.official(), image.tag, image.digest)
        };
        assert_eq!(
            parts("node:22-alpine"),
            ("docker.io", Some("node"), Some("22-alpine"), None)
        );
        assert_eq!(
            parts("docker.io/library/node"),
            ("docker.io", Some("node"), None, None)
        );
        assert_eq!(parts("localhost:5000/a/b"), ("localhost:5000", None, None, None));
        assert_eq!(
            parts("ghcr.io/a/b:1@sha256:00"),
            ("ghcr.io", None, Some("1"), Some("sha256:00"))
        );
    }
}
