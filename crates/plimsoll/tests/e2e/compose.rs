//! `compose config` through the program; what files come to is tested beside their loader.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use plimsoll_testkit::{Sandbox, needs};

use crate::sandbox;

fn with_project() -> Sandbox {
    let sandbox = sandbox();
    sandbox.write(
        "compose.yaml",
        "name: shop\nservices:\n  web: {image: 'nginx:${TAG:-1}', depends_on: [db]}\n  db: {build: './${PART:-db}', command: 'echo $$HOME', volumes: ['data:/d'], profiles: [back]}\nvolumes: {data: }\n",
    );
    sandbox.write("compose.override.yaml", "services:\n  web:\n    image: nginx:2\n");
    sandbox
}

#[test]
fn config_prints_the_project() {
    let sandbox = with_project();
    let said = sandbox.fails(1, ["compose", "config", "-q"]);
    assert!(
        said.contains("--profile back") && said.contains("compose.yaml:3"),
        "{said}"
    );
    let ok = |args: &[&str]| {
        let all = ["compose", "--profile", "back"].iter().chain(args);
        sandbox.run(all).success(args)
    };
    assert_eq!(ok(&["config", "--services"]), "db\nweb\n");
    assert_eq!(ok(&["config", "--images"]), "shop-db\nnginx:2\n");
    assert_eq!(ok(&["config", "--volumes"]), "data\n");
    let explained = ok(&["config", "--explain", "services.web.image"]);
    assert_eq!(
        explained,
        "nginx:2\n\ncompose.override.yaml:3:12\n    image: nginx:2\n"
    );
    assert!(ok(&["config", "--variables"]).contains("PART"));
    let json: serde_json::Value = serde_json::from_str(&ok(&["config", "--format", "json"])).expect("JSON");
    assert_eq!(json["services"]["db"]["command"][1], "$$HOME");
    // What is printed can be loaded again, and comes to the same.
    let yaml = ok(&["config"]);
    sandbox.write("again.yaml", &yaml);
    assert_eq!(ok(&["-f", "again.yaml", "config"]), yaml);
}

#[test]
fn the_files_of_seed_examples_load() {
    needs!(path = "../shared/examples-seed/13-compose-stack/docker-compose.yml");
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/examples-seed");
    let sandbox = sandbox();
    for example in ["13-compose-stack", "14-compose-dev", "15-compose-prod"] {
        let file = format!("{seed}/{example}/docker-compose.yml");
        let outcome = sandbox.run(["compose", "-f", &file, "config", "-q"]);
        assert_eq!(outcome.code, 0, "{outcome}");
    }
}

#[test]
fn switches_are_read_from_the_env_file_too() {
    let sandbox = sandbox();
    sandbox.write(
        ".env",
        "COMPOSE_FILE=one.yaml:two.yaml\nCOMPOSE_PROFILES=extra\nCOMPOSE_PROJECT_NAME=named\n",
    );
    sandbox.write("one.yaml", "services: {one: {image: a}}\n");
    sandbox.write("two.yaml", "services: {two: {image: b, profiles: [extra]}}\n");
    assert_eq!(sandbox.ok(["compose", "config", "--services"]), "one\ntwo\n");
    assert!(sandbox.ok(["compose", "config"]).starts_with("name: named\n"));
    // What is said on the command line wins.
    assert_eq!(
        sandbox.ok(["compose", "-f", "one.yaml", "config", "--services"]),
        "one\n"
    );
}

#[test]
fn hashes_are_of_active_services() {
    let sandbox = sandbox();
    sandbox.write(
        "compose.yaml",
        "services:\n  web: {image: a}\n  off: {image: b, profiles: [back]}\n",
    );
    let of = |args: &[&str]| {
        let hashes = sandbox
            .run(["compose", "config", "--hash"].iter().chain(args))
            .success(args);
        let names = hashes.lines().filter_map(|line| line.split(' ').next());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(&["*"]), "web");
    assert_eq!(of(&["*", "off"]), "web", "names after it activate nothing");
    let said = sandbox.fails(1, ["compose", "config", "--hash", "web,off"]);
    assert!(said.contains("no such service: off: disabled"), "{said}");
    assert!(said.contains("hint: activate it with `--profile back`"), "{said}");
    let all = sandbox.ok(["compose", "--profile", "back", "config", "--hash", "*"]);
    assert_eq!(all.lines().count(), 2, "{all}");
}

#[test]
fn variables_are_listed_as_the_reference_lists_them() {
    let sandbox = sandbox();
    sandbox.write(
        "compose.yaml",
        "services:\n  web: {image: '${TAG:?say which}', command: '$B ${A_RATHER_LONG_NAME_OF_ONE:-1} ${B:+x} $TAG'}\n  \
         off: {profiles: [p], image: x, labels: ['a.${IN_A_KEY}.b=${OFF}']}\n",
    );
    let table = "\
NAME                        REQUIRED            DEFAULT VALUE       ALTERNATE VALUE
A_RATHER_LONG_NAME_OF_ONE   false               1                   
B                           false                                   x
IN_A_KEY                    false                                   
OFF                         false                                   
TAG                         true                                    
";
    assert_eq!(sandbox.ok(["compose", "config", "--variables"]), table);
    let json = sandbox.ok(["compose", "config", "--variables", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let of_b = serde_json::json!({"Name": "B", "DefaultValue": "", "PresenceValue": "x", "Required": false});
    assert_eq!(
        (json["B"].clone(), json["TAG"]["Required"].as_bool()),
        (of_b, Some(true))
    );
    let yaml = sandbox.ok(["compose", "config", "--variables", "--format", "yaml"]);
    assert!(
        yaml.contains("TAG:\n  name: TAG\n  defaultvalue: \"\"\n"),
        "{yaml}"
    );
}

#[test]
fn several_files_of_known_names_are_told() {
    let sandbox = sandbox();
    let one = "services: {one: {image: a}}\n";
    for name in ["compose.yaml", "docker-compose.yml"] {
        sandbox.write(name, one);
    }
    let said = sandbox.run(["compose", "config", "-q"]);
    assert_eq!(said.code, 0, "{said}");
    let found = "Found multiple config files with supported names: ";
    let line = said
        .stderr
        .lines()
        .find(|line| line.contains(found))
        .expect("it is said");
    assert!(
        line.contains("/compose.yaml, ") && line.ends_with("/docker-compose.yml"),
        "{line}"
    );
    assert!(
        said.stderr.contains("Using ") && !said.stderr.contains("override"),
        "{said}"
    );
    let named = sandbox.run(["compose", "-f", "compose.yaml", "config", "-q"]);
    assert_eq!(named.stderr, "", "a file that is named is not looked for");
}

#[test]
fn the_environment_names_its_sources() {
    let sandbox = sandbox();
    sandbox.write(
        "compose.yaml",
        "name: shop\nservices: {web: {image: '${IMAGE}'}}\n",
    );
    sandbox.write("one.env", "IMAGE=one\nONLY_ONE=1\nHOME=/nowhere\n");
    sandbox.write("two.env", "IMAGE=two\nBUILT=${ONLY_ONE}2\n");
    let args = ["--env-file", "one.env", "--env-file", "two.env"];
    let all = ["compose"]
        .iter()
        .chain(&args)
        .chain(&["config", "--environment", "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&sandbox.run(all).success(&args)).expect("JSON");
    let of = |name: &str| {
        let row = rows.iter().find(|row| row["Name"] == name);
        let row = row.unwrap_or_else(|| panic!("no {name}"));
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        (
            text("Value"),
            text("Source").rsplit('/').next().unwrap_or_default().to_owned(),
        )
    };
    let pair = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(of("IMAGE"), pair("two", "two.env"));
    assert_eq!(of("ONLY_ONE"), pair("1", "one.env"));
    assert_eq!(of("BUILT"), pair("12", "two.env"));
    assert_eq!(of("HOME").1, "environment", "the caller's wins");
    assert_eq!(of("COMPOSE_PROJECT_NAME"), pair("shop", "project name"));
}

#[test]
fn values_of_other_files_are_explained() {
    let sandbox = sandbox();
    sandbox.write(
        "compose.yaml",
        "include: [part/compose.yaml]\nservices:\n  web:\n    extends: {file: base.yaml, service: base}\n    image: web\n    env_file: web.env\n",
    );
    sandbox.write(
        "over.yaml",
        "services:\n  web:\n    ports: ['80:8080']\n    image: over\n",
    );
    sandbox.write(
        "base.yaml",
        "services:\n  base:\n    image: base\n    user: nobody\n",
    );
    sandbox.write("part/compose.yaml", "services:\n  db:\n    image: db\n");
    sandbox.write("web.env", "A=1\nB=2\n");
    let explained = |path: &str| {
        let files = ["compose", "-f", "compose.yaml", "-f", "over.yaml"];
        let said = sandbox
            .run(files.iter().chain(&["config", "--explain", path]))
            .success(&[path]);
        let place = said
            .lines()
            .find(|line| line.contains(':') && line.contains("ml:") || line.contains("env:"));
        let place = place.unwrap_or_else(|| panic!("no place: {said}"));
        let line = said.lines().last().unwrap_or_default().trim();
        format!(
            "{} {line}",
            place.replace(
                &format!("{}/", sandbox.path("").as_str().trim_end_matches('/')),
                ""
            )
        )
    };
    for (path, expected) in [
        ("services.web.image", "over.yaml:4:12 image: over"),
        ("services.web.ports.0.target", "over.yaml:3:13 ports: ['80:8080']"),
        ("services.web.user", "base.yaml:4:11 user: nobody"),
        ("services.db.image", "part/compose.yaml:3:12 image: db"),
    ] {
        assert_eq!(explained(path), expected, "{path}");
    }
    let of_file = explained("services.web.environment.B");
    assert!(
        of_file.contains("web.env:2:") && of_file.ends_with("B=2"),
        "{of_file}"
    );
}

#[test]
fn variables_that_are_no_text_are_nobodys() {
    let sandbox = sandbox();
    sandbox.write("compose.yaml", "services: {web: {image: 'nginx:${TAG}'}}\n");
    let mut command = sandbox.command(["compose", "config", "--images"]);
    command.env("TAG", "7").env("OTHER", OsStr::from_bytes(b"\xff"));
    let output = command.output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "nginx:7\n", "{output:?}");
}
