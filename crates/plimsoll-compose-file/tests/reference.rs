//! The normal form against that of Docker Compose 2.40.3, byte for byte.
//!
//! `reference/NAME/` has a file of ours and what `docker compose --profile p config`, `--format json` and
//! `--hash '*'` print for it in the folder `/srv/app`.

use std::path::PathBuf;

use camino::Utf8PathBuf;
use plimsoll_compose_file::{LoadOptions, Project, load, to_json, to_yaml};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

fn expected(name: &str, file: &str) -> String {
    std::fs::read_to_string(folder(name).join(file)).expect("there")
}

fn project(name: &str) -> Project {
    let file = Utf8PathBuf::from_path_buf(folder(name).join("compose.yaml")).expect("text");
    let options = LoadOptions {
        files: vec![file],
        project_directory: Some("/srv/app".into()),
        profiles: vec!["p".to_owned()],
        current: "/srv/app".into(),
        ..LoadOptions::default()
    };
    load(&options).unwrap_or_else(|found| panic!("{found:?}"))
}

/// Compares line by line, after a dollar sign is written twice as `config` does.
fn same(printed: &str, expected: &str) {
    let printed = printed.replace('$', "$$");
    for (at, (one, other)) in printed.lines().zip(expected.lines()).enumerate() {
        assert_eq!(one, other, "line {}", at + 1);
    }
    assert_eq!(printed.lines().count(), expected.lines().count());
}

fn compare(name: &str) {
    let project = project(name);
    same(&to_json(&project.to_json()), &expected(name, "config.json"));
    same(&to_yaml(&project.to_yaml()), &expected(name, "config.yaml"));
    for line in expected(name, "hashes").lines() {
        let (service, hash) = line.split_once(' ').expect("two words");
        assert_eq!(project.config_hash(service).as_deref(), Some(hash), "{service}");
    }
    project.model().expect("the model takes what the schema takes");
}

#[test]
fn every_key_is_printed_and_hashed_as_by_the_reference() {
    compare("all");
}

#[test]
fn short_forms_are_printed_and_hashed_as_by_the_reference() {
    compare("forms");
}

#[test]
fn numbers_in_keys_and_odd_values_are_printed_and_hashed_as_by_the_reference() {
    compare("values");
}
