//! Which files of a COPY changed.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_diagnostics::Source;
use plimsoll_dockerfile::IgnoreFile;
use plimsoll_oci::Digest;
use plimsoll_store::Store;

use super::lists::{self, Listed};
use super::{Cause, Change, FileChange, IgnoreRule};
use crate::record::ContextRecord;

const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;

/// Compares two lists by their names. `then` and `now` are the contexts, for their ignore files.
pub(super) fn changes(
    store: &Store,
    old: &str,
    new: &str,
    then: &ContextRecord,
    now: &ContextRecord,
) -> Vec<Cause> {
    let load = |name: &str| {
        name.parse::<Digest>()
            .ok()
            .and_then(|digest| lists::load(store, &digest))
    };
    let (Some(old), Some(new)) = (load(old), load(new)) else {
        return vec![Cause::Files];
    };
    let changes = compare(&old, &new, &Rules::new(then), &Rules::new(now));
    match changes.is_empty() {
        // Another name for a source in a directory, for example.
        true => vec![Cause::Files],
        false => changes.into_iter().map(Cause::File).collect(),
    }
}

/// An ignore file, to say which rule left a file out.
struct Rules(Option<(String, IgnoreFile)>);

impl Rules {
    fn new(context: &ContextRecord) -> Self {
        Self(context.ignore.as_ref().and_then(|ignore| {
            let source = Source::new(ignore.name.as_str(), ignore.text.as_str());
            Some((ignore.name.clone(), IgnoreFile::parse(&source).ok()?))
        }))
    }

    /// The rule that leaves a file of the context out.
    fn excluding(&self, path: &str) -> Option<IgnoreRule> {
        let (file, ignore) = self.0.as_ref().filter(|_| !path.starts_with('/'))?;
        let path = path.trim_end_matches('/');
        let rule = ignore.excludes(path).then(|| ignore.deciding_rule(path))??;
        Some(IgnoreRule {
            file: file.clone(),
            line: rule.line,
            pattern: rule.pattern.clone(),
        })
    }
}

fn compare(old: &[Listed], new: &[Listed], then: &Rules, now: &Rules) -> Vec<FileChange> {
    let by_path = |list: &'_ [Listed]| -> BTreeMap<String, Listed> {
        list.iter()
            .map(|entry| (entry.path.clone(), entry.clone()))
            .collect()
    };
    let (old, new) = (by_path(old), by_path(new));
    let mut found = Vec::new();
    for (path, entry) in &new {
        if let Some(before) = old.get(path) {
            found.extend(differences(before, entry));
        }
    }
    found.extend(one_sided(&new, &old, Change::Added, then));
    found.extend(one_sided(&old, &new, Change::Removed, now));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// What of a file changed, each thing by itself.
fn differences(old: &Listed, new: &Listed) -> Vec<FileChange> {
    let mut found = Vec::new();
    let mut add = |change: Change, before: String, after: String| {
        found.push(FileChange {
            path: new.path.clone(),
            change,
            old: Some(before),
            new: Some(after),
            files: None,
            rule: None,
        });
    };
    if old.mode & KIND != new.mode & KIND {
        add(Change::Kind, kind(old).to_owned(), kind(new).to_owned());
        return found;
    }
    if old.content != new.content {
        add(Change::Content, content(old), content(new));
    }
    if old.mode != new.mode {
        let mode = |entry: &Listed| format!("{:04o}", entry.mode & 0o7777);
        add(Change::Mode, mode(old), mode(new));
    }
    if (old.uid, old.gid) != (new.uid, new.gid) {
        let owner = |entry: &Listed| format!("{}:{}", entry.uid, entry.gid);
        add(Change::Owner, owner(old), owner(new));
    }
    found
}

/// What only one of two builds had. A folder stands for all that is in it. `others` are the rules of the build that
/// had it not.
fn one_sided(
    with: &BTreeMap<String, Listed>,
    without: &BTreeMap<String, Listed>,
    change: Change,
    others: &Rules,
) -> Vec<FileChange> {
    let alone: BTreeSet<&str> = with
        .keys()
        .filter(|path| !without.contains_key(*path))
        .map(String::as_str)
        .collect();
    let mut found = Vec::new();
    for path in &alone {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if parent.is_some_and(|parent| alone.contains(parent)) {
            continue;
        }
        let entry = &with[*path];
        let is_folder = entry.mode & KIND == DIRECTORY;
        let below = format!("{path}/");
        let files = || {
            let below = with
                .range(below.clone()..)
                .take_while(|(path, _)| path.starts_with(&below));
            below.filter(|(_, entry)| entry.mode & KIND != DIRECTORY).count()
        };
        let digest = (!is_folder).then(|| content(entry));
        let (old, new) = if change == Change::Added {
            (None, digest)
        } else {
            (digest, None)
        };
        found.push(FileChange {
            path: if is_folder {
                below.clone()
            } else {
                (*path).to_owned()
            },
            change,
            old,
            new,
            files: is_folder.then(files),
            rule: others.excluding(path),
        });
    }
    found
}

fn kind(entry: &Listed) -> &'static str {
    match entry.mode & KIND {
        DIRECTORY => "folder",
        SYMLINK => "symbolic link",
        0o100_000 => "file",
        _ => "special file",
    }
}

fn content(entry: &Listed) -> String {
    let hex: String = entry.content.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("blake3:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: u8, mode: u32) -> Listed {
        Listed {
            path: path.to_owned(),
            mode,
            uid: 0,
            gid: 0,
            content: [content; 32],
        }
    }

    fn rules(text: &str) -> Rules {
        Rules::new(&ContextRecord {
            root: "/src".to_owned(),
            ignore: Some(crate::record::TextRecord {
                name: ".dockerignore".to_owned(),
                text: text.to_owned(),
            }),
        })
    }

    fn told(old: &[Listed], new: &[Listed], then: &str, now: &str) -> Vec<String> {
        let changes = compare(old, new, &rules(then), &rules(now));
        changes
            .into_iter()
            .map(|change| Cause::File(change).to_string())
            .collect()
    }

    #[test]
    fn each_thing_about_a_file_is_told() {
        let old = [
            file("a", 1, 0o100_644),
            file("b", 1, 0o100_644),
            file("c", 1, 0o100_644),
            file("d", 1, 0o100_644),
            file("same", 1, 0o100_644),
        ];
        let mut owned = file("c", 2, 0o100_600);
        owned.uid = 1000;
        let new = [
            file("a", 2, 0o100_644),
            file("b", 1, 0o100_600),
            owned,
            file("d", 1, SYMLINK),
            file("same", 1, 0o100_644),
        ];
        insta::assert_snapshot!(told(&old, &new, "", "").join("\n"), @"
        `a` has other content: blake3:010101010101 -> blake3:020202020202
        `b` has another mode: 0644 -> 0600
        `c` has other content: blake3:010101010101 -> blake3:020202020202
        `c` has another mode: 0644 -> 0600
        `c` has another owner: 0:0 -> 1000:0
        `d` is a symbolic link, was a file
        ");
    }

    #[test]
    fn a_folder_stands_for_what_is_in_it_and_names_the_rule() {
        let old = [file("src", 0, DIRECTORY), file("src/gone", 1, 0o100_644)];
        let new = [
            file("docs", 0, DIRECTORY),
            file("docs/a", 1, 0o100_644),
            file("docs/img", 0, DIRECTORY),
            file("docs/img/b", 1, 0o100_644),
            file("src", 0, DIRECTORY),
            file("src/new", 1, 0o100_644),
        ];
        insta::assert_snapshot!(told(&old, &new, "docs\n", "# ours\nsrc/gone\n").join("\n"), @"
        `docs/` is new, with 2 files: `docs` in .dockerignore:1 left it out before
        `src/gone` is gone: `src/gone` in .dockerignore:2 leaves it out
        `src/new` is new
        ");
    }
}
