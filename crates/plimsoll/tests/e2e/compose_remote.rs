//! Compose files from git repositories and registries.

use plimsoll_oci::Digest;
use plimsoll_testkit::{BaseRegistry, Sandbox, needs};
use serde_json::{Value, json};

use crate::sandbox;
use crate::sources::Git;

#[track_caller]
fn config(sandbox: &Sandbox, args: &[&str]) -> Value {
    let outcome = sandbox.run([&["compose"], args, &["config", "--format", "json"]].concat());
    assert_eq!(outcome.code, 0, "{outcome}");
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

#[test]
fn files_come_from_git() {
    needs!(root, tool = "git");
    let sandbox = sandbox();
    let git = Git::serve(&sandbox);
    git.commit(
        "app",
        &[
            (
                "compose.yaml",
                "services: {web: {image: nginx, volumes: ['./conf:/etc/nginx']}}\n",
            ),
            ("conf/nginx.conf", "events {}\n"),
            ("db/docker-compose.yml", "services: {db: {image: postgres}}\n"),
        ],
    );
    let url = git.url("app");
    let project = config(&sandbox, &["-p", "app", "-f", &url]);
    let source = project["services"]["web"]["volumes"][0]["source"]
        .as_str()
        .expect("a path");
    let mounted =
        std::fs::read_to_string(format!("{source}/nginx.conf")).expect("the repository's files stay");
    assert_eq!(mounted, "events {}\n");

    sandbox.write(
        "compose.yaml",
        format!("include: ['{url}#main:db']\nservices: {{own: {{image: x}}}}\n"),
    );
    assert_eq!(config(&sandbox, &[])["services"]["db"]["image"], "postgres");

    let nothing = format!("{url}#main:conf");
    let stderr = sandbox.fails(1, ["compose", "-f", &nothing, "config"]);
    assert!(stderr.contains("no compose file"), "{stderr}");
}

/// Puts bytes into a registry.
fn put(registry: &BaseRegistry, kind: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes).to_string();
    let start = curl(
        &[
            "-X",
            "POST",
            "-D",
            "-",
            &format!("http://{}/v2/stack/blobs/uploads/", registry.host),
        ],
        b"",
    );
    let location = start
        .lines()
        .find_map(|line| {
            line.split_once(": ")
                .filter(|(key, _)| key.eq_ignore_ascii_case("location"))
        })
        .expect("a place for the upload")
        .1
        .trim();
    let url = match location.starts_with('/') {
        true => format!("http://{}{location}", registry.host),
        false => location.to_owned(),
    };
    let join = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{join}digest={digest}");
    curl(
        &[
            "-f",
            "-X",
            "PUT",
            "-H",
            "Content-Type: application/octet-stream",
            "--data-binary",
            "@-",
            &url,
        ],
        bytes,
    );
    json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
}

#[track_caller]
fn curl(args: &[&str], input: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = std::process::Command::new("curl")
        .arg("-sS")
        .args(args)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("curl");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input)
        .expect("written");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "curl {args:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn files_come_from_a_registry() {
    needs!(root, tool = "docker-registry", tool = "curl");
    let mut sandbox = sandbox();
    sandbox.serve(&["busybox"]);
    let registry = BaseRegistry::serve(&["busybox"], &[]);
    // The layers of `docker compose publish` 2.40: files, joined in order, and files of variables beside them.
    let layer = |kind: &str, annotations: Value, text: &str| {
        let mut layer = put(&registry, kind, text.as_bytes());
        layer["annotations"] = annotations;
        layer
    };
    let file = "application/vnd.docker.compose.file+yaml";
    let layers = [
        layer(
            file,
            json!({"com.docker.compose.file": "compose.yaml"}),
            "services: {web: {image: nginx, env_file: a.env}}",
        ),
        layer(
            file,
            json!({"com.docker.compose.file": "more.yaml"}),
            "services: {db: {image: postgres}}",
        ),
        layer(
            "application/vnd.docker.compose.envfile",
            json!({"com.docker.compose.envfile": "a.env"}),
            "A=1\n",
        ),
    ];
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.docker.compose.project",
        "config": put(&registry, "application/vnd.docker.compose.config.empty.v1+json", b"{}"),
        "layers": layers,
    });
    let push = |tag: &str, manifest: &Value| {
        let url = format!("http://{}/v2/stack/manifests/{tag}", registry.host);
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
        curl(
            &["-f", "-X", "PUT", "-H", kind, "--data-binary", "@-", &url],
            manifest.to_string().as_bytes(),
        );
    };
    push("1", &manifest);
    let name = format!("oci://{}/stack:1", registry.host);
    let project = config(&sandbox, &["-p", "app", "-f", &name]);
    assert_eq!(project["services"]["web"]["environment"]["A"], "1");
    assert_eq!(project["services"]["db"]["image"], "postgres");

    let mut hostile = manifest.clone();
    hostile["layers"][2]["annotations"]["com.docker.compose.envfile"] = json!("../../escaped.env");
    push("hostile", &hostile);
    let name = format!("oci://{}/stack:hostile", registry.host);
    let stderr = sandbox.fails(1, ["compose", "-p", "app", "-f", &name, "config"]);
    assert!(stderr.contains("no name, or a path for one"), "{stderr}");
}

#[test]
fn what_is_published_is_read_again() {
    needs!(root, tool = "docker-registry");
    let sandbox = sandbox();
    let registry = BaseRegistry::serve(&["busybox"], &[]);
    let name = format!("{}/shop/stack:1", registry.host);
    sandbox.write("a.env", "A=1\n");
    let text = "services:\n  web: {image: 'nginx:${TAG:-1}', env_file: a.env, environment: {MODE: fast}}\n";
    sandbox.write("compose.yaml", text);
    sandbox.write(
        "compose.override.yaml",
        "services:\n  web: {environment: {MORE: '1'}}\n",
    );
    let asked = sandbox.fails(1, ["compose", "publish", &name]);
    assert!(asked.contains("has a file of variables"), "{asked}");
    let digest = sandbox.ok(["compose", "publish", "-y", &name]);
    assert!(digest.starts_with("sha256:"), "{digest}");
    let project = config(&sandbox, &["-p", "app", "-f", &format!("oci://{name}")]);
    let web = &project["services"]["web"];
    assert_eq!(web["image"], "nginx:1");
    assert_eq!(web["environment"], json!({"A": "1", "MODE": "fast", "MORE": "1"}));

    let token = ["ghp", "_", "0123456789abcdefghijklmnopqrstuvwxyz"].concat();
    sandbox.write(
        "compose.override.yaml",
        format!("services:\n  web: {{environment: {{TOKEN: {token}}}}}\n"),
    );
    let refused = sandbox.fails(1, ["compose", "publish", "-y", &name]);
    assert!(
        refused.contains("the value of `TOKEN` is") && !refused.contains(&token),
        "{refused}"
    );
    sandbox.write("compose.override.yaml", "services:\n  own: {build: .}\n");
    let refused = sandbox.fails(1, ["compose", "publish", "-y", &name]);
    assert!(refused.contains("service `own` has only a `build`"), "{refused}");
}
