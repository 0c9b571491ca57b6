//! `compose config` through the program; what files come to is tested beside their loader.

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
