//! Telling URLs from paths, and what a git URL says.
//!
//! The grammar is BuildKit's (`frontend/dockerfile/dfgitutil`): `git://`, `ssh://` and `user@host:path` are git, an
//! `http` or `https` URL is when its path ends in `.git`; after it `?branch=&tag=&ref=&subdir=&checksum=&keep-git-dir=
//! &submodules=` or `#REF:SUBDIR`.

use super::SourceError;

/// Something that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// One file, by its URL.
    Http(String),
    /// A commit of a repository.
    Git(GitUrl),
}

/// A commit of a repository, and what of it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitUrl {
    /// As `git fetch` takes it.
    pub(crate) remote: String,
    /// Branch, tag, full name of a reference or commit.
    pub(crate) reference: Option<String>,
    pub(crate) subdir: Option<String>,
    /// What the commit's name must begin with.
    pub(crate) checksum: Option<String>,
    pub(crate) keep_git_dir: bool,
    pub(crate) without_submodules: bool,
}

impl Remote {
    /// Reads `text` as a URL; none when it is a path.
    pub fn parse(text: &str) -> Result<Option<Self>, SourceError> {
        let (bare, fragment) = split(text, '#');
        let (remote, query) = split(bare, '?');
        let is_web = remote.starts_with("http://") || remote.starts_with("https://");
        let is_git = match is_web {
            true => remote.ends_with(".git"),
            false => remote.starts_with("git://") || remote.starts_with("ssh://") || is_scp(remote),
        };
        if !is_git {
            return Ok(is_web.then(|| Self::Http(text.to_owned())));
        }
        let mut url = GitUrl {
            remote: remote.to_owned(),
            ..GitUrl::default()
        };
        let wrong = |reason: String| SourceError::GitUrl {
            url: super::without_credentials(text),
            reason,
        };
        if let Some(fragment) = fragment {
            let (reference, subdir) = split(fragment, ':');
            url.set_reference(reference).map_err(wrong)?;
            url.set_subdir(subdir.unwrap_or_default()).map_err(wrong)?;
        }
        for pair in query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = split(pair, '=');
            url.set(key, &decoded(value.unwrap_or_default())).map_err(wrong)?;
        }
        if url.reference.is_none() && url.checksum.as_deref().is_some_and(is_commit) {
            url.reference.clone_from(&url.checksum);
        }
        Ok(Some(Self::Git(url)))
    }

    /// As [`Remote::parse`]; `github.com/...` without a scheme is git too, as for contexts of `docker build`.
    pub fn parse_context(text: &str) -> Result<Option<Self>, SourceError> {
        if !text.starts_with("github.com/") {
            return Self::parse(text);
        }
        let end = text.find(['#', '?']).unwrap_or(text.len());
        let (path, rest) = text.split_at(end);
        Self::parse(&format!("https://{}.git{rest}", path.trim_end_matches(".git")))
    }

    /// As it may be shown.
    pub fn shown(&self) -> String {
        match self {
            Self::Http(url) => super::without_credentials(url),
            Self::Git(url) => url.shown(),
        }
    }
}

impl GitUrl {
    /// Keeps the folder `.git` in what is checked out, whatever the URL says, if `keep` is set.
    #[must_use]
    pub fn keeping_git_dir(mut self, keep: bool) -> Self {
        self.keep_git_dir |= keep;
        self
    }

    /// As it may be shown.
    pub(crate) fn shown(&self) -> String {
        let remote = super::without_credentials(&self.remote);
        match (&self.reference, &self.subdir) {
            (None, None) => remote,
            (reference, None) => format!("{remote}#{}", reference.as_deref().unwrap_or_default()),
            (reference, Some(subdir)) => {
                format!("{remote}#{}:{subdir}", reference.as_deref().unwrap_or_default())
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let truth = || match value {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!("`{key}` is true or false, not `{value}`")),
        };
        match key {
            "keep-git-dir" => self.keep_git_dir = truth()?,
            "submodules" => self.without_submodules = !truth()?,
            "ref" | "branch" | "tag" | "subdir" | "checksum" | "commit" if value.is_empty() => {
                return Err(format!("`{key}` has no value"));
            }
            "ref" => self.set_reference(value)?,
            "branch" => self.set_reference(&full("refs/heads/", value))?,
            "tag" => self.set_reference(&full("refs/tags/", value))?,
            "subdir" => self.set_subdir(value)?,
            "checksum" | "commit" => self.checksum = Some(value.to_owned()),
            _ => {
                let keys = [
                    "ref",
                    "branch",
                    "tag",
                    "subdir",
                    "checksum",
                    "commit",
                    "keep-git-dir",
                    "submodules",
                ];
                return Err(match plimsoll_dockerfile::nearest(key, keys) {
                    Some(near) => format!("`{key}` means nothing; did you mean `{near}`?"),
                    None => format!("`{key}` means nothing; there are {}", keys.join(", ")),
                });
            }
        }
        Ok(())
    }

    fn set_reference(&mut self, value: &str) -> Result<(), String> {
        set_once(&mut self.reference, value, "reference")?;
        match value.starts_with('-') {
            true => Err(format!("`{value}` cannot be the name of a branch or tag")),
            false => Ok(()),
        }
    }

    fn set_subdir(&mut self, value: &str) -> Result<(), String> {
        set_once(&mut self.subdir, value.trim_matches('/'), "folder")
    }
}

fn set_once(slot: &mut Option<String>, value: &str, what: &str) -> Result<(), String> {
    match slot {
        _ if value.is_empty() => Ok(()),
        Some(before) if before != value => Err(format!("it names two {what}s: `{before}` and `{value}`")),
        _ => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

fn full(prefix: &str, name: &str) -> String {
    match name.starts_with(prefix) {
        true => name.to_owned(),
        false => format!("{prefix}{name}"),
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

/// `git@github.com:owner/name.git`
fn is_scp(text: &str) -> bool {
    let word = |text: &str, more: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let Some((user, rest)) = text.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    word(user, "-_") && word(host, "-.") && !path.is_empty() && !path.starts_with('-')
}

/// A whole name of a commit, SHA-1 or SHA-256.
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Undoes `%20` and its like.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten();
        let code = code
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Remote::parse_context(text) {
            Ok(None) => "a path".to_owned(),
            Ok(Some(Remote::Http(url))) => format!("file {url}"),
            Ok(Some(Remote::Git(url))) => {
                let flags = [(url.keep_git_dir, " keep"), (url.without_submodules, " bare")];
                let flags: String = flags.iter().filter(|flag| flag.0).map(|flag| flag.1).collect();
                let checksum = url
                    .checksum
                    .as_ref()
                    .map(|sum| format!(" {sum}"))
                    .unwrap_or_default();
                format!("git {}{checksum}{flags}", url.shown())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn urls_are_told_from_paths() {
        let commit = "0123456789012345678901234567890123456789";
        for (text, expected) in [
            (".", "a path"),
            ("./git@x:y", "a path"),
            ("file:///x.git", "a path"),
            ("a@b/c:d", "a path"),
            ("https://host/x.tar.gz?a=b#c", "file https://host/x.tar.gz?a=b#c"),
            ("https://host/x.git", "git https://host/x.git"),
            (
                "https://host/x.git#main:sub/dir/",
                "git https://host/x.git#main:sub/dir",
            ),
            ("https://me:pw@host/x.git#:sub", "git https://host/x.git#:sub"),
            ("git@host:o/x.git#v1", "git git@host:o/x.git#v1"),
            ("ssh://git@host/x", "git ssh://host/x"),
            (
                "git://host/x?tag=v1&keep-git-dir=1",
                "git git://host/x#refs/tags/v1 keep",
            ),
            (
                "https://host/x.git?branch=a%2Fb&subdir=s",
                "git https://host/x.git#refs/heads/a/b:s",
            ),
            (
                "https://host/x.git?submodules=false&checksum=abc",
                "git https://host/x.git abc bare",
            ),
            ("github.com/o/x#main", "git https://github.com/o/x.git#main"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(
            shown(&format!("git://host/x?checksum={commit}")),
            format!("git git://host/x#{commit} {commit}")
        );
    }

    #[test]
    fn mistakes_in_git_urls_are_named() {
        for (text, reason) in [
            (
                "git://h/x?brunch=a",
                "`brunch` means nothing; did you mean `branch`?",
            ),
            ("git://h/x?branch=", "`branch` has no value"),
            (
                "git://h/x?branch=a#b",
                "it names two references: `b` and `refs/heads/a`",
            ),
            (
                "git://h/x?keep-git-dir=maybe",
                "`keep-git-dir` is true or false, not `maybe`",
            ),
            (
                "git://h/x#--upload-pack=x",
                "`--upload-pack=x` cannot be the name of a branch or tag",
            ),
        ] {
            let message = shown(text);
            assert!(message.ends_with(reason), "{text}: {message}");
        }
    }
}
