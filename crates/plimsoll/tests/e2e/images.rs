//! Images: load, save, names, looking at them, pulling.

use std::process::Command;

use plimsoll_testkit::{Archive, Outcome, Sandbox, needs};
use serde_json::{Value, json};

use crate::{assert_shows, sandbox, with_busybox};

fn small(tag: &str) -> Archive {
    Archive::new(tag).file("hello", "world\n", 0o644).config(json!({
        "Cmd": ["/hello"], "Env": ["A=b"], "User": "1000", "ExposedPorts": {"80/tcp": {}}, "Labels": {"k": "v"},
    }))
}

/// Loads a small image under `tag`, from a docker archive.
fn load_small(sandbox: &Sandbox, tag: &str) {
    let path = sandbox.path("small.tar");
    small(tag).write_docker(&path);
    sandbox.ok(["load", "-i", path.as_str()]);
}

fn inspect(sandbox: &Sandbox, name: &str) -> Value {
    let text = sandbox.ok(["image", "inspect", name]);
    serde_json::from_str::<Value>(&text).expect("inspect prints JSON")[0].clone()
}

#[test]
fn load_a_docker_archive() {
    needs!(root);
    let sandbox = sandbox();
    let path = sandbox.path("small.tar");
    small("small:1").write_docker(&path);
    assert_eq!(
        sandbox.ok(["load", "-i", path.as_str()]),
        "Loaded image: small:1\n"
    );
    assert_shows("images_table", &sandbox.ok(["images"]));
}

#[test]
fn load_an_oci_archive_from_stdin() {
    needs!(root);
    let sandbox = sandbox();
    let outcome = sandbox.run_with_input(["load"], &small("docker.io/library/small:2").oci());
    assert_eq!(outcome.stdout, "Loaded image: small:2\n", "{outcome}");
    assert_eq!(
        sandbox.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]),
        "small:2\n"
    );
}

#[test]
fn both_archives_are_the_same_image() {
    needs!(root);
    let (one, other) = (sandbox(), sandbox());
    load_small(&one, "small:1");
    other.run_with_input(["load", "-q"], &small("small:1").oci());
    assert_eq!(inspect(&one, "small:1")["Id"], inspect(&other, "small:1")["Id"]);
}

#[test]
fn a_damaged_archive_names_nothing() {
    needs!(root);
    let sandbox = sandbox();
    let mut bytes = small("small:1").docker();
    let place = bytes
        .windows(6)
        .position(|window| window == b"world\n")
        .expect("the file's content");
    bytes[place] = b'W';
    let outcome = sandbox.run_with_input(["load"], &bytes);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert_eq!(sandbox.ok(["images", "-q"]), "");
    let truncated = sandbox.run_with_input(["load"], &small("small:1").docker()[..2048]);
    assert_eq!(truncated.code, 1, "{truncated}");
}

#[test]
fn tag_and_remove() {
    needs!(root);
    let sandbox = sandbox();
    load_small(&sandbox, "small:1");
    sandbox.ok(["tag", "small:1", "registry.example/team/other"]);
    let id = inspect(&sandbox, "small:1")["Id"].clone();
    assert_eq!(inspect(&sandbox, "registry.example/team/other")["Id"], id);
    assert_eq!(sandbox.ok(["rmi", "small:1"]), "Untagged: small:1\n");
    let removed = sandbox.ok(["rmi", "registry.example/team/other"]);
    assert!(
        removed.contains("Untagged: registry.example/team/other:latest\n"),
        "{removed}"
    );
    assert!(
        removed.contains(&format!("Deleted: {}", id.as_str().unwrap())),
        "{removed}"
    );
    assert_eq!(sandbox.ok(["images", "-q"]), "");
}

#[test]
fn a_name_that_is_not_there_gets_a_suggestion() {
    needs!(root);
    let sandbox = sandbox();
    load_small(&sandbox, "small:1");
    for args in [["rmi", "smal:1"], ["history", "smal:1"], ["inspect", "smal:1"]] {
        let stderr = sandbox.fails(1, args);
        assert!(
            stderr.contains("did you mean") && stderr.contains("small:1"),
            "{stderr}"
        );
    }
}

#[test]
fn inspect_has_dockers_fields() {
    needs!(root);
    let sandbox = sandbox();
    load_small(&sandbox, "small:1");
    let image = inspect(&sandbox, "small:1");
    assert_eq!(image["RepoTags"], json!(["small:1"]));
    assert_eq!(image["Config"]["Cmd"], json!(["/hello"]));
    assert_eq!(image["Config"]["User"], "1000");
    assert_eq!(image["Os"], "linux");
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert_eq!(
        sandbox.ok([
            "inspect",
            "-f",
            "{{.Config.User}} {{json .Config.Env}}",
            "small:1"
        ]),
        "1000 [\"A=b\"]\n"
    );
    assert_eq!(
        sandbox.ok([
            "image",
            "inspect",
            "--format",
            "{{index .Config.Labels \"k\"}}",
            "small:1"
        ]),
        "v\n"
    );
}

#[test]
fn history_shows_what_made_it() {
    needs!(root);
    let sandbox = sandbox();
    load_small(&sandbox, "small:1");
    assert_shows("history", &sandbox.ok(["history", "small:1"]));
}

#[test]
fn save_and_load_again() {
    needs!(root);
    let sandbox = sandbox();
    load_small(&sandbox, "small:1");
    sandbox.ok(["tag", "small:1", "also:2"]);
    let id = inspect(&sandbox, "small:1")["Id"].clone();
    for format in ["docker", "oci"] {
        let path = sandbox.path(format!("{format}.tar"));
        sandbox.ok([
            "save",
            "--format",
            format,
            "-o",
            path.as_str(),
            "small:1",
            "also:2",
        ]);
        let other = crate::sandbox();
        let loaded = other.ok(["load", "-i", path.as_str()]);
        assert!(
            loaded.contains("small:1") && loaded.contains("also:2"),
            "{loaded}"
        );
        assert_eq!(inspect(&other, "also:2")["Id"], id, "{format}");
    }
}

#[test]
fn other_tools_read_what_save_writes() {
    needs!(root, tool = "skopeo");
    let sandbox = with_busybox();
    for (format, transport) in [("docker", "docker-archive"), ("oci", "oci-archive")] {
        let path = sandbox.path(format!("{format}.tar"));
        sandbox.ok(["save", "--format", format, "-o", path.as_str(), "busybox"]);
        let target = format!("dir:{}", sandbox.path(format!("{format}.dir")));
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "copy",
            "--insecure-policy",
            &format!("{transport}:{path}"),
            &target,
        ]);
        Outcome::of(&mut skopeo).success(&format);
    }
}

#[test]
fn pull_through_a_mirror() {
    needs!(root);
    let mut sandbox = sandbox();
    sandbox.serve(&["busybox"]);
    let outcome = sandbox.run(["pull", "busybox:latest"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(
        outcome.stdout.ends_with("docker.io/library/busybox:latest\n"),
        "{outcome}"
    );
    assert_eq!(
        sandbox.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]),
        "busybox:latest\n"
    );
    let quiet = sandbox.run(["pull", "-q", "busybox"]);
    assert_eq!(
        (quiet.stdout.as_str(), quiet.stderr.as_str()),
        ("docker.io/library/busybox:latest\n", "")
    );
}

#[test]
fn pull_in_spite_of_faults() {
    needs!(root);
    let mut sandbox = sandbox();
    sandbox.serve_with(&["busybox"], &["--fail-first", "1", "--kinds", "500,503,cut"]);
    let outcome = sandbox.run(["pull", "busybox"]);
    assert_eq!(outcome.code, 0, "{outcome}");
}

#[test]
fn pull_what_is_not_there() {
    needs!(root);
    let mut sandbox = sandbox();
    sandbox.serve(&["busybox"]);
    let host = sandbox.serve(&["busybox"]).host.clone();
    let stderr = sandbox.fails(1, ["pull", &format!("{host}/library/no-such-image:1")]);
    assert!(
        stderr.contains("error: ") && stderr.contains("no-such-image"),
        "{stderr}"
    );
    assert_eq!(sandbox.ok(["images", "-q"]), "");
}

#[test]
fn images_can_be_formatted() {
    needs!(root);
    let sandbox = sandbox();
    load_small(&sandbox, "small:1");
    let line: Value = serde_json::from_str(&sandbox.ok(["images", "--format", "json"])).unwrap();
    assert_eq!(
        (&line["Repository"], &line["Tag"]),
        (&json!("small"), &json!("1"))
    );
    let id = line["ID"].as_str().unwrap().to_owned();
    assert_eq!(sandbox.ok(["images", "-q"]), format!("{id}\n"));
    assert_eq!(
        sandbox.ok(["image", "ls", "-q", "--no-trunc"]).trim(),
        inspect(&sandbox, "small:1")["Id"]
    );
}
