//! The rules that need more than one file, against the examples of their pages and the folders in `tests/fixtures/projects`.

use std::fs;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_diagnostics::{Diagnostic, Safety, Severity};

use super::{FAMILIES, named};
use crate::config::{Config, Level};
use crate::fix::Images;
use crate::load::{Inputs, load};
use crate::rule::Rule;

/// A folder with files, and what is found in it.
struct Project(tempfile::TempDir);

impl Project {
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let project = Self(tempfile::tempdir().expect("there is room"));
        for (path, text) in files {
            let path = project.0.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }
        project
    }

    fn folder(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).expect("it is UTF-8")
    }

    fn check(&self) -> Vec<Diagnostic> {
        check(self.folder())
    }
}

fn check(folder: &Utf8Path) -> Vec<Diagnostic> {
    let loaded = load(&inputs(folder));
    assert_eq!(loaded.errors, Vec::<String>::new());
    crate::check(&loaded.workspace, &only(|_| true)).findings
}

/// Rules of these families only, and of them those that are wanted: what others find and mend is theirs to test.
fn only(wanted: impl Fn(&Rule) -> bool) -> Config {
    let mut config = Config::default();
    for rule in super::all() {
        let own = rules().any(|own| own.id == rule.id) || rule.id == "syntax-error";
        if !own || !wanted(rule) {
            config.levels.insert(rule.id.to_owned(), Level::Off);
        }
    }
    config
}

fn inputs(folder: &Utf8Path) -> Inputs {
    Inputs {
        paths: vec![".".to_owned()],
        current: folder.to_owned(),
        ..Inputs::default()
    }
}

fn file_of(language: &str) -> Option<&'static str> {
    Some(match language {
        "yaml" => "compose.yaml",
        "dockerfile" => "Dockerfile",
        "dockerignore" => ".dockerignore",
        _ => return None,
    })
}

/// The files that a section of a page shows.
fn example(rule: &Rule, heading: &str) -> Vec<(&'static str, String)> {
    let page = rule.page();
    let section = page.split("\n## ").find(|section| section.starts_with(heading));
    let fences = section.unwrap_or_default().split("```").skip(1).step_by(2);
    fences
        .filter_map(|fence| {
            let (language, text) = fence.split_once('\n')?;
            Some((file_of(language)?, text.to_owned()))
        })
        .collect()
}

fn project_of(files: &[(&str, String)]) -> Project {
    Project::new(files.iter().map(|(name, text)| (*name, text.as_str())))
}

/// The families that this is about: those of Dockerfiles and of the checker have tests of their own.
fn rules() -> impl Iterator<Item = &'static Rule> {
    let wanted = ["Build context", "Compose", "Across files"];
    let families = FAMILIES.iter().filter(move |(name, _)| wanted.contains(name));
    families.flat_map(|(_, rules)| rules.iter().copied())
}

#[test]
fn pages_show_what_is_found_and_what_is_not() {
    // What is in a folder besides texts cannot be shown on a page.
    let by_fixture = [
        "dockerignore-incomplete",
        "secret-file-copied",
        "source-bind-mount",
    ];
    let mut wrong = Vec::new();
    for rule in rules().filter(|rule| !by_fixture.contains(&rule.id)) {
        for (heading, expected) in [("Bad", true), ("Good", false)] {
            let files = example(rule, heading);
            assert!(!files.is_empty(), "the page of `{}` has no example", rule.id);
            let found = project_of(&files).check();
            if found.iter().any(|finding| finding.code == rule.id) != expected {
                let codes: Vec<_> = found
                    .iter()
                    .map(|finding| (finding.code, &finding.message))
                    .collect();
                wrong.push(format!("{} {heading}: {codes:?}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn fixtures() -> Vec<Utf8PathBuf> {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/projects");
    let mut folders: Vec<_> = folders(&root).iter().flat_map(|rule| folders(rule)).collect();
    folders.sort();
    folders
}

fn folders(path: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = path.read_dir_utf8().expect("there are fixtures").flatten();
    entries
        .map(|entry| entry.path().to_owned())
        .filter(|path| path.is_dir())
        .collect()
}

/// Copies a fixture: `_git` becomes `.git`, which git would not keep in a repository.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it is a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let to = to.join(name.replacen("dot_", ".", 1));
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => {
                // Tokens are put together here, so that no scanner of this repository stumbles over them.
                let text = fs::read_to_string(entry.path()).expect("it is text");
                fs::write(
                    to,
                    text.replace(
                        "{TOKEN}",
                        &["ghp_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"].concat(),
                    ),
                )
                .expect("it can be written");
            }
        }
    }
}

/// In the form of GitHub's.
fn token() -> String {
    ["ghp_", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"].concat()
}

fn staged(folder: &Utf8Path) -> Project {
    let project = Project::new([]);
    copy(folder.as_std_path(), project.0.path());
    project
}

#[test]
fn fixtures_hold_what_their_names_say() {
    let mut told = String::new();
    for folder in fixtures() {
        let rule = folder
            .parent()
            .and_then(Utf8Path::file_name)
            .expect("it is in a folder");
        let rule = named(rule)
            .first()
            .unwrap_or_else(|| panic!("no rule is called `{rule}`"));
        let name = folder.file_name().expect("it has a name");
        let found = staged(&folder).check();
        let own: Vec<_> = found.iter().filter(|finding| finding.code == rule.id).collect();
        if name.starts_with("good") {
            let messages: Vec<_> = own.iter().map(|finding| &finding.message).collect();
            assert!(own.is_empty(), "{folder}: {messages:?}");
            continue;
        }
        assert!(!own.is_empty(), "{folder}: nothing found");
        told += &format!("{}/{name}\n", rule.id);
        own.iter().for_each(|finding| told += &line(finding));
    }
    insta::assert_snapshot!(told);
}

fn line(finding: &Diagnostic) -> String {
    let span = finding.span().expect("it has a place");
    let (start, end) = (
        finding.source.position(span.start),
        finding.source.position(span.end),
    );
    let mut line = format!(
        "  {} {}:{}-{}:{} {:?}: {}\n",
        finding.source.name,
        start.line,
        start.column,
        end.line,
        end.column,
        finding.severity,
        finding.message
    );
    if let Some(help) = &finding.help {
        line += &format!("    help: {help}\n");
    }
    if let Some(fix) = &finding.fix {
        line += &format!("    {:?}: {}\n", fix.safety, fix.title);
    }
    line
}

/// Makes all fixes that are at least so sure, and writes the files.
fn mend(folder: &Utf8Path, least: Safety, config: &Config) {
    let fixed = crate::fix::mend(&inputs(folder), config, least, |_| Images::default());
    for (path, change) in fixed.files {
        fs::write(path, change.new).expect("it can be written");
    }
    let left = fixed.outcome.findings.into_iter().filter_map(|finding| {
        let safety = finding.fix.as_ref()?.safety;
        (safety >= least).then(|| format!("{}: {}", finding.code, finding.message))
    });
    let left: Vec<_> = left.collect();
    assert!(
        left.is_empty(),
        "fixes that mend nothing in\n{}\n{left:#?}",
        texts(folder)
    );
}

/// All texts of a project, and whether they can be read.
fn texts(folder: &Utf8Path) -> String {
    let mut told = String::new();
    for name in ["compose.yaml", "Dockerfile", ".dockerignore"] {
        if let Ok(text) = fs::read_to_string(folder.join(name)) {
            told += &format!("--- {name}\n{text}");
        }
    }
    told
}

fn errors(folder: &Utf8Path) -> usize {
    let codes = ["compose-schema", "syntax-error"];
    let found = check(folder).into_iter();
    found
        .filter(|one| codes.contains(&one.code) && one.severity == Severity::Error)
        .count()
}

#[test]
fn fixes_come_to_an_end_and_can_be_read() {
    let mut told = String::new();
    let pages = rules().map(|rule| {
        let alone = only(|other| other.id == rule.id);
        (rule.id.to_owned(), project_of(&example(rule, "Bad")), alone)
    });
    let folders = fixtures().into_iter().map(|folder| {
        let name = folder
            .strip_prefix(env!("CARGO_MANIFEST_DIR"))
            .expect("it is ours")
            .to_string();
        (name, staged(&folder), only(|_| true))
    });
    for (name, project, config) in pages.chain(folders) {
        let folder = project.folder();
        for safety in [Safety::Safe, Safety::Unsafe] {
            let before = (texts(folder), errors(folder));
            mend(folder, safety, &config);
            assert!(errors(folder) <= before.1, "{name}: {}", texts(folder));
            let after = texts(folder);
            if after != before.0 {
                told += &format!("=== {name} {safety:?}\n{}\n", after.replace(&token(), "{TOKEN}"));
            }
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn images_of_services_are_judged_as_bases_are() {
    let text = "services:\n  a:\n    image: nginx\n  b:\n    image: evil.example.com/x:latest\n  c:\n    image: ${IMAGE:-x}\n  d:\n    \
        build: .\n    image: mine\n  e:\n    image: ghcr.io/a/b:1@sha256:0000000000000000000000000000000000000000000000000000000000000000\n";
    let project = Project::new([("compose.yaml", text), ("Dockerfile", "FROM scratch\n")]);
    let mut config = Config {
        trusted_registries: vec!["docker.io".to_owned(), "ghcr.io".to_owned()],
        ..Config::default()
    };
    let info = Level::At(Severity::Info);
    config.levels.insert("image-not-digest".to_owned(), info);
    let loaded = load(&inputs(project.folder()));
    let found = crate::check(&loaded.workspace, &config).findings.into_iter();
    let of_images = found.filter(|one| one.code.starts_with("image-") || one.code == "registry-not-trusted");
    let told: Vec<_> = of_images
        .map(|one| {
            (
                one.code,
                one.source.position(one.span().unwrap_or_default().start).line,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("image-not-digest", 3),
            ("image-untagged", 3),
            ("image-latest", 5),
            ("image-not-digest", 5),
            ("registry-not-trusted", 5),
        ]
    );
}

#[test]
fn no_secret_is_shown() {
    let text = "services:\n  db:\n    image: postgres:17\n    environment:\n      POSTGRES_PASSWORD: hunter2-secret\n      \
        URL: postgres://app:hunter3-secret@db/x\n";
    let project = Project::new([("compose.yaml", text)]);
    let found = project.check();
    assert!(found.iter().any(|finding| finding.code == "compose-password"));
    assert!(
        found
            .iter()
            .any(|finding| finding.code == "compose-credential-in-url")
    );
    for finding in &found {
        let shown = format!(
            "{} {:?} {}",
            finding.message,
            finding.help,
            plimsoll_diagnostics::render(finding, false)
        );
        assert!(!shown.contains("hunter"), "{shown}");
        let edits = finding.fix.iter().flat_map(|fix| &fix.edits);
        assert!(edits.clone().all(|edit| !edit.text.contains("hunter")));
    }
}

/// The compose files of the five posts, where they are.
#[test]
fn projects_of_the_five_posts() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/examples-seed");
    let Ok(root) = root.canonicalize_utf8() else {
        return;
    };
    let mut told = String::new();
    for folder in folders(&root)
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
    {
        let loaded = load(&Inputs {
            paths: vec![folder.to_string()],
            current: root.clone(),
            ..Inputs::default()
        });
        if loaded.workspace.projects.is_empty() {
            continue;
        }
        told += &format!("== {}\n", folder.file_name().unwrap_or_default());
        let found = crate::check(&loaded.workspace, &only(|_| true)).findings;
        found.iter().for_each(|finding| told += &line(finding));
    }
    insta::assert_snapshot!(told);
}
