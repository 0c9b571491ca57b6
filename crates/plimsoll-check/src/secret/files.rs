//! Files that are secrets, by their name and by what is in them.

use super::{Secret, find, of_variable};

/// A bigger file is no file of secrets.
pub const FILE_LIMIT: u64 = 256 << 10;

/// A secret in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFile {
    /// What it is, with its article.
    pub kind: &'static str,
    /// From 1; none if the file as a whole is one.
    pub line: Option<usize>,
}

/// Whether files of this name are for secrets. `path` has slashes.
pub fn is_secret_name(path: &str) -> bool {
    kind_of_name(path).is_some()
}

/// Judges a file. Its name says where to look; without its text (`None`) a name that can mean nothing else decides.
pub fn of_file(path: &str, text: Option<&[u8]>) -> Option<InFile> {
    let kind = kind_of_name(path);
    let Some(bytes) = text else {
        return kind.filter(|kind| kind.is_sure).map(|kind| InFile {
            kind: kind.name,
            line: None,
        });
    };
    if let Some(found) = find(bytes).first() {
        return Some(in_line(bytes, found));
    }
    let kind = kind?;
    if kind.is_binary {
        return (!bytes.is_empty()).then_some(InFile {
            kind: kind.name,
            line: None,
        });
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let line = text.lines().position(|line| kind.has(line))?;
    Some(InFile {
        kind: kind.name,
        line: Some(line + 1),
    })
}

fn in_line(bytes: &[u8], found: &Secret) -> InFile {
    let before = &bytes[..found.span.start.min(bytes.len())];
    InFile {
        kind: found.kind,
        line: Some(before.iter().filter(|byte| **byte == b'\n').count() + 1),
    }
}

/// A kind of file.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// Whether the name alone is enough.
    is_sure: bool,
    /// Whether there are no lines to look at.
    is_binary: bool,
    form: Form,
}

/// What a line with a secret looks like.
#[derive(Clone, Copy)]
enum Form {
    /// Only tokens and keys count.
    Shape,
    /// `NAME=value`
    Variables,
    /// `//registry/:_authToken=value`
    Npm,
    /// `machine x login y password z`
    Netrc,
    /// `host:port:database:user:password`
    Pgpass,
    /// `https://user:password@host`
    Urls,
}

fn kind_of_name(path: &str) -> Option<Kind> {
    let name = path.rsplit('/').next()?;
    let lower = name.to_ascii_lowercase();
    let parent = path.rsplit('/').nth(1).unwrap_or_default();
    let kind = |name, is_sure, is_binary, form| Kind {
        name,
        is_sure,
        is_binary,
        form,
    };
    // Certificates of authorities are many, and public.
    let extension = lower.rsplit_once('.').map_or("", |(_, extension)| extension);
    let example = ["example", "sample", "template", "dist", "test", "default"].contains(&extension);
    Some(match lower.as_str() {
        ".env" => kind("a password or token", false, false, Form::Variables),
        _ if lower.starts_with(".env.") && !example => {
            kind("a password or token", false, false, Form::Variables)
        }
        ".npmrc" | ".yarnrc" | ".yarnrc.yml" => kind("a registry token", false, false, Form::Npm),
        ".netrc" | "_netrc" => kind("a password", true, false, Form::Netrc),
        ".pypirc" | ".my.cnf" => kind("a password", true, false, Form::Variables),
        ".git-credentials" => kind("a password of git", true, false, Form::Urls),
        ".pgpass" => kind("a password", true, false, Form::Pgpass),
        "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" => kind("a private key", true, false, Form::Shape),
        "credentials" if parent == ".aws" => kind("an AWS key", true, false, Form::Variables),
        "config.json" if parent == ".docker" => kind("a registry login", false, false, Form::Shape),
        "terraform.tfstate" => kind(
            "what Terraform knows, passwords included",
            true,
            false,
            Form::Shape,
        ),
        _ => match extension {
            "pem" | "key" => kind("a private key", false, false, Form::Shape),
            "p12" | "pfx" | "jks" | "keystore" => kind("a key store", true, true, Form::Shape),
            _ => return None,
        },
    })
}

impl Kind {
    fn has(self, line: &str) -> bool {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            return false;
        }
        let pair = || line.split_once(['=', ':']);
        match self.form {
            Form::Shape => false,
            Form::Urls => !super::of_text(line).is_empty(),
            Form::Variables => {
                let Some((name, value)) = line.split_once('=') else {
                    return false;
                };
                let name = name.trim().trim_start_matches("export ").trim();
                of_variable(name, value.trim()).is_some()
            }
            Form::Npm => {
                let mut parts = line.split(['/', ':', ' ', '\t']);
                let names = ["_authToken", "_auth", "_password", "npmAuthToken"];
                let is_named = parts.any(|part| names.iter().any(|name| part.trim_start().starts_with(name)));
                let value = line
                    .rsplit_once(['=', ' '])
                    .map(|(_, value)| value.trim().trim_matches('"'));
                is_named && value.is_some_and(|value| !super::is_clean(value))
            }
            Form::Netrc => {
                let mut words = line.split_whitespace();
                words.any(|word| word == "password")
                    && words.next().is_some_and(|value| !super::is_clean(value))
            }
            Form::Pgpass => pair().is_some() && line.split(':').count() == 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str, text: &str) -> Option<&'static str> {
        of_file(path, Some(text.as_bytes())).map(|found| found.kind)
    }

    #[test]
    fn files_are_judged_by_what_is_in_them() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n";
        for (path, text) in [
            (".env", "MODE=x\nDB_PASSWORD=hunter2\n"),
            ("app/.env.production", "export API_KEY='secret123'\n"),
            (".npmrc", "//registry.npmjs.org/:_authToken=abcdef\n"),
            (".netrc", "machine x login y password z\n"),
            (".git-credentials", "https://me:hunter2@github.com\n"),
            (".pgpass", "db:5432:*:app:hunter2\n"),
            ("tls/server.key", key),
            ("anything.txt", key),
            ("store.p12", "\u{1}\u{2}"),
        ] {
            assert!(kind(path, text).is_some(), "{path}");
        }
        let found = of_file(".env", Some(b"MODE=x\nDB_PASSWORD=hunter2\n")).unwrap();
        assert_eq!(found.line, Some(2));
        assert_eq!(of_file("home/id_rsa", None).unwrap().kind, "a private key");
    }

    #[test]
    fn examples_references_and_public_parts_are_clean() {
        for (path, text) in [
            (".env", "MODE=production\nDB_PASSWORD=\n# OLD_PASSWORD=x\n"),
            (".env.example", "DB_PASSWORD=hunter2\n"),
            (
                ".npmrc",
                "//registry.npmjs.org/:_authToken=${NPM_TOKEN}\nsave-exact=true\n",
            ),
            (
                "ca.pem",
                "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\n",
            ),
            ("id_rsa.pub", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7\n"),
            ("notes.txt", "password=hunter2\n"),
        ] {
            assert_eq!(kind(path, text), None, "{path}");
        }
        assert_eq!(of_file(".env", None), None);
    }
}
