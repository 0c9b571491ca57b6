//! `compose bridge`: projects for Kubernetes and Helm, and transformations that are images.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_testkit::{Outcome, Sandbox, needs};
use serde_json::Value;

use crate::compose_seed::repository;
use crate::sandbox;

const COMPOSE: &str = "\
name: shop
services:
  web:
    image: nginx
    ports: ['8080:80']
    secrets: [token]
    logging: {driver: none}
    depends_on: {db: {condition: service_healthy}}
  db:
    image: postgres
    healthcheck: {test: [CMD, pg_isready]}
    volumes: ['data:/var/lib/postgresql/data']
volumes: {data: }
secrets: {token: {file: ./token}}
";

/// A sandbox with a project; commands run in its folder.
fn project(text: &str) -> (Sandbox, Utf8PathBuf) {
    let sandbox = sandbox();
    sandbox.write("shop/compose.yaml", text);
    sandbox.write("shop/token", "geheim");
    let folder = sandbox.path("work/shop");
    (sandbox, folder)
}

fn run_in(sandbox: &Sandbox, folder: &Utf8Path, args: &[&str]) -> Outcome {
    let args = ["compose", "bridge"].iter().chain(args);
    Outcome::of(sandbox.command(args).current_dir(folder))
}

fn read(folder: &Utf8Path, name: &str) -> String {
    let path = folder.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_project_becomes_manifests_that_wait() {
    let (sandbox, folder) = project(COMPOSE);
    let outcome = run_in(&sandbox, &folder, &["convert"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(
        outcome
            .stdout
            .contains("Kubernetes resource base/web-deployment.yaml created"),
        "{outcome}"
    );
    assert!(
        outcome.stderr.contains("`logging` has no meaning in Kubernetes"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("compose.yaml:7:5"), "{outcome}");
    assert!(outcome.stderr.contains("out/base/token-secret.yaml"), "{outcome}");
    assert!(!outcome.stderr.contains("geheim"), "{outcome}");
    let web = read(&folder, "out/base/web-deployment.yaml");
    assert!(
        web.contains("- rollout\n            - status\n            - deployment/db\n"),
        "{web}"
    );
    let secret = folder.join("out/base/token-secret.yaml");
    let mode = secret
        .metadata()
        .expect("the secret is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner reads a secret");
    assert!(read(&folder, "out/base/token-secret.yaml").contains("token: Z2VoZWlt\n"));
}

#[test]
fn a_chart_keeps_secrets_apart() {
    let (sandbox, folder) = project(COMPOSE);
    let outcome = run_in(&sandbox, &folder, &["convert", "-t", "helm", "-o", "chart"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(read(&folder, "chart/Chart.yaml").contains("name: shop\n"));
    assert!(read(&folder, "chart/values.yaml").contains("image: nginx\n"));
    assert!(!read(&folder, "chart/templates/token-secret.yaml").contains("Z2VoZWlt"));
    assert!(read(&folder, "chart/values.secrets.yaml").contains("token: Z2VoZWlt\n"));
    assert_eq!(read(&folder, "chart/.helmignore"), "values.secrets.yaml\n");
}

#[test]
fn an_output_folder_is_replaced_as_a_whole_or_not_at_all() {
    let (sandbox, folder) = project(COMPOSE);
    assert_eq!(run_in(&sandbox, &folder, &["convert"]).code, 0);
    sandbox.write("shop/compose.yaml", "services: {other: {image: x}}\n");
    assert_eq!(
        run_in(&sandbox, &folder, &["convert"]).code,
        0,
        "an earlier conversion is replaced"
    );
    assert!(folder.join("out/base/other-deployment.yaml").exists());
    assert!(!folder.join("out/base/web-deployment.yaml").exists());

    sandbox.write(
        "shop/compose.yaml",
        "services: {a: {image: x, network_mode: 'service:b'}, b: {image: x}}\n",
    );
    let refused = run_in(&sandbox, &folder, &["convert"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused
            .stderr
            .contains("`network_mode: service:b` cannot be kept"),
        "{refused}"
    );
    assert!(
        folder.join("out/base/other-deployment.yaml").exists(),
        "what is refused leaves what was there"
    );

    sandbox.write("shop/compose.yaml", "services: {other: {image: x}}\n");
    sandbox.write("shop/out/mine.txt", "mine");
    let asked = run_in(&sandbox, &folder, &["convert"]);
    assert_eq!(asked.code, 1, "{asked}");
    assert_eq!(read(&folder, "out/mine.txt"), "mine");
    assert_eq!(run_in(&sandbox, &folder, &["convert", "-y"]).code, 0);
    assert!(!folder.join("out/mine.txt").exists());

    let own = run_in(&sandbox, &folder, &["convert", "-y", "-o", "."]);
    assert_eq!(own.code, 1, "{own}");
    assert!(folder.join("compose.yaml").exists(), "the project stays");
    let left: Vec<String> = folder
        .read_dir_utf8()
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_rehearsal_writes_nothing() {
    let (sandbox, folder) = project(COMPOSE);
    let outcome = run_in(&sandbox, &folder, &["convert", "--dry-run"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(
        outcome.stdout.contains("out/base/web-deployment.yaml\n"),
        "{outcome}"
    );
    assert!(!folder.join("out").exists());
}

/// Builds an image with a program that shows what it is given.
fn transformation(sandbox: &Sandbox) {
    sandbox.load("busybox");
    sandbox.write("image/templates/deployment.tmpl", "of the image\n");
    sandbox.write(
        "image/transform",
        "#!/bin/sh\n\
         test -z \"$FAIL\" && test \"$LICENSE_AGREEMENT\" = true || exit 7\n\
         id -u; ls /in\n\
         cat /in/compose.yaml > /out/model.yaml\n\
         cat /templates/* > /out/templates.yaml\n",
    );
    sandbox.write(
        "image/Dockerfile",
        "FROM busybox\nLABEL com.docker.compose.bridge=transformation\nCOPY templates /templates\n\
         COPY --chmod=755 transform /transform\nENTRYPOINT [\"/transform\"]\n",
    );
    let folder = sandbox.path("work/image");
    sandbox.ok(["build", "-q", "-t", "mine:1", folder.as_str()]);
    sandbox.ok(["build", "-q", "-t", "plain", "--label", "a=b", folder.as_str()]);
}

#[test]
fn images_transform_projects() {
    needs!(root, overlay);
    let (sandbox, folder) = project(COMPOSE);
    transformation(&sandbox);
    let outcome = run_in(&sandbox, &folder, &["convert", "-t", "mine:1"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert_eq!(outcome.stdout, "0\ncompose.yaml\n");
    let model = read(&folder, "out/model.yaml");
    for part in [
        "name: shop\n",
        "content: geheim\n",
        "expose:\n      - \"80\"\n",
        "image: postgres\n",
    ] {
        assert!(model.contains(part), "{part}:\n{model}");
    }
    assert_eq!(read(&folder, "out/templates.yaml"), "of the image\n");

    sandbox.write("shop/own/a.tmpl", "of mine\n");
    let outcome = run_in(
        &sandbox,
        &folder,
        &["convert", "-y", "-t", "mine:1", "--templates", "own"],
    );
    assert_eq!(outcome.code, 0, "{outcome}");
    assert_eq!(read(&folder, "out/templates.yaml"), "of mine\n");

    let missing = run_in(&sandbox, &folder, &["convert", "-y", "-t", "127.0.0.1:1/none"]);
    assert_eq!(missing.code, 1, "{missing}");

    sandbox.write("image/transform", "#!/bin/sh\nexit 7\n");
    let image = sandbox.path("work/image");
    sandbox.ok(["build", "-q", "-t", "mine:1", image.as_str()]);
    let failed = run_in(&sandbox, &folder, &["convert", "-y", "-t", "mine:1"]);
    assert_eq!(failed.code, 7, "{failed}");
    assert_eq!(
        read(&folder, "out/templates.yaml"),
        "of mine\n",
        "what was there stays"
    );
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

#[test]
fn transformations_are_listed_and_begun() {
    needs!(root, overlay);
    let (sandbox, folder) = project(COMPOSE);
    transformation(&sandbox);
    sandbox.ok(["tag", "busybox", "other"]);
    let list = |args: &[&str]| {
        let outcome = run_in(&sandbox, &folder, &[&["transformations", "ls"], args].concat());
        assert_eq!(outcome.code, 0, "{outcome}");
        outcome.stdout
    };
    let table = list(&[]);
    assert!(
        table.starts_with("IMAGE ID            REPO                TAGS                SIZE\n"),
        "{table}"
    );
    let names = list(&["-q"]);
    assert!(names.contains("mine:1\n") && !names.contains("other"), "{names}");
    let json: Value = serde_json::from_str(&list(&["--format", "json"])).expect("JSON");
    let labels = &json[0]["Labels"];
    assert_eq!(labels["com.docker.compose.bridge"], "transformation", "{json}");

    let made = run_in(
        &sandbox,
        &folder,
        &["transformations", "create", "--from", "mine:1", "new"],
    );
    assert_eq!(made.code, 0, "{made}");
    assert_eq!(
        made.stdout,
        format!("Transformer created in {:?}\n", folder.join("new").as_str())
    );
    assert_eq!(read(&folder, "new/templates/deployment.tmpl"), "of the image\n");
    assert!(read(&folder, "new/Dockerfile").contains("LABEL com.docker.compose.bridge=transformation\n"));
    let again = run_in(
        &sandbox,
        &folder,
        &["transformations", "create", "--from", "mine:1", "new"],
    );
    assert_eq!(again.code, 1, "{again}");
    let built_in = run_in(
        &sandbox,
        &folder,
        &["transformations", "create", "--from", "helm", "none"],
    );
    assert_eq!(built_in.code, 1, "{built_in}");
    assert!(
        built_in
            .stderr
            .contains("`docker/compose-bridge-helm` is the image"),
        "{built_in}"
    );
    let none = run_in(
        &sandbox,
        &folder,
        &["transformations", "create", "--from", "busybox", "none"],
    );
    assert_eq!(none.code, 1, "{none}");
    assert!(none.stderr.contains("`busybox` has no templates"), "{none}");
    assert!(!folder.join("none").exists());
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
}

/// Converts a real project both ways; `kubectl`, where there is one, puts the manifests together.
#[track_caller]
fn converts(folder: &Utf8Path) {
    let sandbox = sandbox();
    let copy = sandbox.path("work").join(folder.file_name().expect("a name"));
    let copied = Outcome::of(Command::new("cp").args(["-a", folder.as_str(), copy.as_str()]));
    assert_eq!(copied.code, 0, "{copied}");
    for target in ["kubernetes", "helm"] {
        let outcome = run_in(&sandbox, &copy, &["convert", "-t", target, "-o", target]);
        assert_eq!(outcome.code, 0, "{outcome}");
    }
    let base = copy.join("kubernetes/base");
    let listed = read(&base, "kustomization.yaml");
    for line in listed
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- "))
    {
        assert!(base.join(line).exists(), "{line} is listed, and not there");
    }
    let overlay = copy.join("kubernetes/overlays/desktop");
    if let Ok(output) = Command::new("kubectl")
        .args(["kustomize", overlay.as_str()])
        .output()
    {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("kind: Deployment"), "{text}");
    }
}

#[test]
fn the_example_is_converted() {
    converts(&repository().join("examples/compose-stack"));
}

#[test]
fn projects_of_others_are_converted() {
    needs!(path = "../shared/examples-seed/13-compose-stack/docker-compose.yml");
    let seeds = repository().join("../shared/examples-seed");
    for name in ["13-compose-stack", "14-compose-dev", "15-compose-prod"] {
        converts(&seeds.join(name));
    }
}
