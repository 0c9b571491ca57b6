//! Several platforms in one build, statements about what was built, and looking at both.

use std::path::Path;
use std::process::Command;

use camino::Utf8Path;
use plimsoll_testkit::{BaseRegistry, Outcome, Sandbox, needs};
use serde_json::Value;

use crate::{sandbox, with_busybox};

const BOTH: &str = "linux/amd64,linux/arm64";
/// What needs no emulator: everything runs on the machine's own platform.
const CROSS: &str = "FROM --platform=$BUILDPLATFORM busybox AS common\n\
    RUN echo common >/common\n\
    FROM --platform=$BUILDPLATFORM busybox AS build\n\
    ARG TARGETARCH\n\
    RUN echo $TARGETARCH >/target\n\
    FROM busybox\n\
    COPY --from=common /common /\n\
    COPY --from=build /target /\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A blob of a layout in a folder.
fn blob(layout: &Utf8Path, digest: &str) -> Value {
    let text = std::fs::read_to_string(layout.join("blobs").join(digest.replace(':', "/"))).unwrap();
    json(&text)
}

/// What `save` writes of an image, unpacked.
fn saved(sandbox: &Sandbox, name: &str) -> camino::Utf8PathBuf {
    let archive = sandbox.path("saved.tar");
    sandbox.ok(["save", "-o", archive.as_str(), name]);
    let layout = sandbox.path("layout");
    let _ = std::fs::remove_dir_all(&layout);
    tar::Archive::new(std::fs::File::open(archive).unwrap())
        .unpack(&layout)
        .unwrap();
    layout
}

/// The statements of a saved image by predicate, in order.
fn statements(layout: &Utf8Path) -> Vec<Value> {
    let index = json(&std::fs::read_to_string(layout.join("index.json")).unwrap());
    let index = blob(layout, index["manifests"][0]["digest"].as_str().unwrap());
    let mut all = Vec::new();
    for entry in index["manifests"].as_array().unwrap() {
        if entry["annotations"]["vnd.docker.reference.type"] != "attestation-manifest" {
            continue;
        }
        assert_eq!(entry["platform"]["os"], "unknown");
        let manifest = blob(layout, entry["digest"].as_str().unwrap());
        for layer in manifest["layers"].as_array().unwrap() {
            assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
            let statement = blob(layout, layer["digest"].as_str().unwrap());
            assert_eq!(
                statement["predicateType"],
                layer["annotations"]["in-toto.io/predicate-type"]
            );
            let about = format!(
                "sha256:{}",
                statement["subject"][0]["digest"]["sha256"].as_str().unwrap()
            );
            assert_eq!(
                entry["annotations"]["vnd.docker.reference.digest"],
                about.as_str()
            );
            all.push(statement);
        }
    }
    all
}

/// Builds, under no name but those in `options`.
fn build(sandbox: &Sandbox, dockerfile: &str, options: &[&str]) -> Outcome {
    sandbox.write("context/Dockerfile", dockerfile);
    let args = ["build", "--progress=plain"]
        .iter()
        .chain(options)
        .chain(&["context"]);
    let mut command = sandbox.command(args);
    // An emulator may be anywhere.
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    Outcome::of(&mut command)
}

/// As [`build`], and it must work; returns stderr.
#[track_caller]
fn build_ok(sandbox: &Sandbox, dockerfile: &str, options: &[&str]) -> String {
    let outcome = build(sandbox, dockerfile, options);
    assert_eq!(outcome.code, 0, "{outcome}");
    outcome.stderr
}

fn with_both() -> Sandbox {
    let mut sandbox = sandbox();
    sandbox.serve(&["busybox"]);
    sandbox
}

#[test]
fn platforms_share_what_they_have_in_common() {
    needs!(root, overlay, tool = "docker-registry");
    let sandbox = with_both();
    let built = build_ok(&sandbox, CROSS, &["--platform", BOTH, "-t", "app"]);
    let steps = |part: &str| {
        let lines = built
            .lines()
            .filter(|line| line.starts_with('#') && line.contains(part));
        lines.count()
    };
    assert_eq!(steps(" [linux/amd64 common 2/2] RUN"), 1, "{built}");
    assert_eq!(steps(" [linux/amd64 build 2/2] RUN"), 1, "{built}");
    assert_eq!(steps(" [linux/amd64->arm64 build 2/2] RUN"), 1, "{built}");
    assert_eq!(steps(" [linux/arm64 stage-2 2/3] COPY"), 1, "{built}");
    let names = sandbox.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(names.matches("app:latest").count(), 1, "{names}");
    let architecture = |platform: &str| {
        let args = [
            "image",
            "inspect",
            "--platform",
            platform,
            "-f",
            "{{.Architecture}}",
            "app",
        ];
        sandbox.ok(args)
    };
    assert_eq!(architecture("linux/amd64"), "amd64\n");
    assert_eq!(architecture("linux/arm64"), "arm64\n");
    assert_eq!(
        sandbox.ok(["run", "--rm", "app", "cat", "/target", "/common"]),
        "amd64\ncommon\n"
    );
    // Both go with the name.
    sandbox.ok(["tag", "app", "copy"]);
    sandbox.ok(["rmi", "app"]);
    let layout = saved(&sandbox, "copy");
    let index = json(&std::fs::read_to_string(layout.join("index.json")).unwrap());
    let index = blob(&layout, index["manifests"][0]["digest"].as_str().unwrap());
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "{index}");
    let removed = sandbox.ok(["rmi", "copy"]);
    assert_eq!(removed.matches("Deleted: ").count(), 2, "{removed}");
}

/// The program that runs arm64 ones, where there is one and the kernel lets it be used.
fn emulator() -> Result<(), String> {
    let registered = Path::new("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).any(|folder| folder.join("qemu-aarch64-static").exists());
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match (registered, installed, kernel >= (6, 7)) {
        (true, ..) | (_, true, true) => Ok(()),
        (_, false, _) => Err("needs qemu-aarch64-static (apt-get install qemu-user-static)".to_owned()),
        _ => Err("needs Linux 6.7, or an emulator registered with binfmt_misc".to_owned()),
    }
}

#[test]
fn steps_of_another_processor_are_emulated_or_explained() {
    needs!(root, overlay, tool = "docker-registry");
    if std::env::consts::ARCH != "x86_64" {
        return;
    }
    let sandbox = with_both();
    let text = "FROM busybox\nRUN uname -m >/machine && chown 12:34 /machine\nUSER 7:8\nRUN id -u && echo $0 && ls -ln /machine\n";
    let args = [
        "--platform",
        "linux/arm64",
        "-t",
        "foreign",
        "--progress",
        "plain",
    ];
    if let Err(reason) = emulator() {
        let outcome = build(&sandbox, text, &args);
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(
            outcome
                .stderr
                .contains("programs for linux/arm64 do not run on this machine, which is linux/amd64")
                && outcome
                    .stderr
                    .contains("`apt-get install qemu-user-static binfmt-support`")
                && outcome.stderr.contains("Dockerfile:2:1"),
            "{outcome}"
        );
        eprintln!("skipped the other half: {reason}");
        return;
    }
    let built = build_ok(&sandbox, text, &args);
    assert!(built.contains(" 7\n") && built.contains("12       34"), "{built}");
    let registered = Path::new("/proc/sys/fs/binfmt_misc/plimsoll").exists();
    assert!(!registered, "the host knows nothing of it");
    let out = sandbox.path("out");
    let output = format!("type=local,dest={out}");
    build_ok(&sandbox, text, &["--platform", "linux/arm64", "-o", &output]);
    assert_eq!(std::fs::read_to_string(out.join("machine")).unwrap(), "aarch64\n");
}

#[test]
fn statements_say_what_went_in_and_keep_secrets() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let secret = sandbox.write("secret", "hunter2-in-a-file");
    let text = "ARG BUILDKIT_SBOM_SCAN_STAGE=true\n\
        FROM busybox AS modules\n\
        ARG API_TOKEN\n\
        RUN --mount=type=secret,id=s mkdir -p /m/node_modules/left-pad && \
          echo '{\"name\":\"left-pad\",\"version\":\"1.3.0\"}' >/m/node_modules/left-pad/package.json\n\
        FROM busybox\n\
        COPY --from=modules /m /m\n";
    let file = format!("id=s,src={secret}");
    let args = [
        "-t",
        "app:1",
        "--provenance",
        "mode=max",
        "--sbom",
        "true",
        "--secret",
        &file,
        "--build-arg",
        "API_TOKEN=hunter2-as-argument",
        "--build-arg",
        "PLAIN=seen",
    ];
    build_ok(&sandbox, text, &args);
    let layout = saved(&sandbox, "app:1");
    let all = statements(&layout);
    let kinds: Vec<_> = all
        .iter()
        .map(|one| one["predicateType"].as_str().unwrap())
        .collect();
    let spdx = "https://spdx.dev/Document";
    assert_eq!(kinds, [spdx, spdx, "https://slsa.dev/provenance/v1"]);
    let text = all.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(
        all[0]["subject"][0]["name"],
        "pkg:docker/app@1?platform=linux%2Famd64"
    );
    let purl = &all[0]["predicate"]["packages"][1]["externalRefs"][0]["referenceLocator"];
    assert_eq!(purl, "pkg:npm/left-pad@1.3.0");
    assert_eq!(all[1]["predicate"]["name"], "sbom-modules");
    let definition = &all[2]["predicate"]["buildDefinition"];
    let material = &definition["resolvedDependencies"][0];
    assert_eq!(
        material["uri"],
        "pkg:docker/busybox@latest?platform=linux%2Famd64"
    );
    assert_eq!(material["digest"]["sha256"].as_str().unwrap().len(), 64);
    let arguments = &definition["externalParameters"]["request"]["args"];
    assert_eq!(arguments["build-arg:PLAIN"], "seen");
    assert_eq!(arguments["build-arg:API_TOKEN"], "***");
    assert_eq!(
        definition["externalParameters"]["request"]["secrets"][0]["id"],
        "s"
    );
}

#[test]
fn the_least_provenance_goes_where_buildx_sends_it() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let text = "FROM busybox\nARG PLAIN\nRUN true\n";
    let archive = sandbox.path("out.tar");
    let output = format!("type=oci,dest={archive}");
    let attested = |args: &[&str], environment: &[(&str, &str)]| {
        let _ = std::fs::remove_file(&archive);
        sandbox.write("context/Dockerfile", text);
        let mut command = sandbox.command(["build", "-q", "-o", &output]);
        command
            .args(args)
            .arg("context")
            .envs(environment.iter().copied());
        Outcome::of(&mut command).success("build");
        let mut types = Vec::new();
        let mut tar = tar::Archive::new(std::fs::File::open(&archive).unwrap());
        for entry in tar.entries().unwrap() {
            let mut text = String::new();
            if std::io::Read::read_to_string(&mut entry.unwrap(), &mut text).is_ok()
                && let Ok(value) = serde_json::from_str::<Value>(&text)
                && let Some(kind) = value["predicateType"].as_str()
            {
                types.push((kind.to_owned(), value));
            }
        }
        types
    };
    let [(kind, statement)] = &attested(&["--build-arg", "PLAIN=x"], &[])[..] else {
        panic!("one statement");
    };
    assert_eq!(kind, "https://slsa.dev/provenance/v1");
    let request = &statement["predicate"]["buildDefinition"]["externalParameters"]["request"];
    assert_eq!(request["args"], serde_json::json!({}), "arguments are left out");
    let metadata = &statement["predicate"]["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_completeness"]["request"], false);
    assert!(attested(&["--provenance", "false"], &[]).is_empty());
    assert!(attested(&[], &[("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")]).is_empty());
    let old = attested(
        &[
            "--attest",
            "type=provenance,version=v0.2,builder-id=https://ci.example.org",
        ],
        &[],
    );
    assert_eq!(old[0].0, "https://slsa.dev/provenance/v0.2");
    assert_eq!(old[0].1["predicate"]["builder"]["id"], "https://ci.example.org");
    // The store keeps the plain image.
    build_ok(&sandbox, text, &["-t", "plain"]);
    let raw = json(&sandbox.ok(["imagetools", "inspect", "--raw", "plain"]));
    assert!(raw["layers"].is_array(), "{raw}");
}

#[test]
fn statements_are_the_same_again_with_an_epoch() {
    needs!(root, overlay);
    let digest = || {
        let sandbox = with_busybox();
        let args = [
            "-t",
            "app",
            "--provenance",
            "mode=max",
            "--sbom",
            "true",
            "--build-arg",
            "SOURCE_DATE_EPOCH=1700000000",
        ];
        build_ok(&sandbox, "FROM busybox\nRUN echo x >/x\n", &args);
        sandbox.ok(["images", "--digests", "--format", "{{.Digest}}", "app"])
    };
    assert_eq!(digest(), digest());
}

#[test]
fn indexes_are_looked_at_and_made_in_registries() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let name = |name: &str| format!("{}/{name}", registry.host);
    let sandbox = with_both();
    build_ok(
        &sandbox,
        CROSS,
        &[
            "--platform",
            BOTH,
            "-t",
            &name("app:1"),
            "--sbom",
            "true",
            "--push",
        ],
    );
    let there = crate::sandbox();
    let shown = there.ok(["buildx", "imagetools", "inspect", &name("app:1")]);
    assert!(
        shown.contains("  Platform:    linux/arm64\n") && shown.matches("attestation-manifest").count() == 2,
        "{shown}"
    );
    let field = |field: &str, name: &str| there.ok(["imagetools", "inspect", "--format", field, name]);
    assert_eq!(
        field(
            "{{(index .SBOM \"linux/arm64\").SPDX.spdxVersion}}",
            &name("app:1")
        ),
        "SPDX-2.3\n"
    );
    let provenance = json(&field("{{json .Provenance}}", &name("app:1")));
    assert!(
        provenance["linux/amd64"]["SLSA"]["buildDefinition"].is_object(),
        "{provenance}"
    );
    let digest = |name: &str| field("{{.Manifest.digest}}", name);
    there.ok([
        "imagetools",
        "create",
        "-t",
        &name("other/copy:2"),
        &name("app:1"),
    ]);
    assert_eq!(digest(&name("other/copy:2")), digest(&name("app:1")));
    // An image of another repository is added; its blobs are taken over.
    build_ok(
        &sandbox,
        "FROM scratch\nCOPY Dockerfile /\n",
        &[
            "--platform",
            "linux/s390x",
            "-t",
            &name("s:1"),
            "--push",
            "--provenance",
            "false",
        ],
    );
    there.ok([
        "imagetools",
        "create",
        "--append",
        "-t",
        &name("other/copy:2"),
        &name("s:1"),
    ]);
    let raw = json(&there.ok(["imagetools", "inspect", "--raw", &name("other/copy:2")]));
    assert_eq!(raw["manifests"].as_array().unwrap().len(), 5, "{raw}");
    assert_eq!(raw["manifests"][4]["platform"]["architecture"], "s390x", "{raw}");
    let dry = there.ok([
        "imagetools",
        "create",
        "--dry-run",
        "--annotation",
        "index:a=b",
        &name("app:1"),
    ]);
    assert_eq!(json(&dry)["annotations"]["a"], "b", "{dry}");
    let (list, image) = (name("list:1"), name("s:1"));
    there.ok(["manifest", "create", &list, &image]);
    there.ok(["manifest", "annotate", "--arch", "ppc64le", &list, &image]);
    let pushed = there.ok(["manifest", "push", "-p", &list]);
    assert_eq!(digest(&list), pushed);
    let inspected = json(&there.ok(["manifest", "inspect", &list]));
    assert_eq!(
        inspected["manifests"][0]["platform"]["architecture"], "ppc64le",
        "{inspected}"
    );
    let gone = there.fails(1, ["manifest", "push", &list]);
    assert!(gone.contains("No such manifest"), "{gone}");
    if Command::new("skopeo").arg("-v").output().is_ok() {
        let copied = Command::new("skopeo")
            .args([
                "copy",
                "-q",
                "--all",
                "--src-tls-verify=false",
                "--insecure-policy",
            ])
            .arg(format!("docker://{}", name("other/copy:2")))
            .arg(format!("oci:{}:x", sandbox.path("skopeo")))
            .output()
            .unwrap();
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
    }
    there.ok(["pull", "-q", "--platform", "linux/arm64", &name("app:1")]);
    assert_eq!(
        there.ok(["image", "inspect", "-f", "{{.Architecture}}", &name("app:1")]),
        "arm64\n"
    );
}

#[test]
fn there_is_one_builder() {
    let sandbox = sandbox();
    let listed = sandbox.ok(["buildx", "ls"]);
    assert!(
        listed.starts_with("NAME/NODE ") && listed.contains("\ndefault*"),
        "{listed}"
    );
    let json = json(&sandbox.ok(["buildx", "ls", "--format", "json"]));
    assert_eq!(
        json["Nodes"][0]["Platforms"][0],
        format!(
            "linux/{}",
            if cfg!(target_arch = "x86_64") {
                "amd64"
            } else {
                "arm64"
            }
        )
    );
    assert!(
        sandbox
            .ok(["buildx", "inspect", "--bootstrap"])
            .contains("Driver: docker\n")
    );
    assert_eq!(
        sandbox.ok(["buildx", "create", "--use", "--name", "ci"]),
        "default\n"
    );
    sandbox.ok(["buildx", "use", "default"]);
    sandbox.ok(["buildx", "stop"]);
    let unknown = sandbox.fails(1, ["buildx", "use", "ci"]);
    assert!(unknown.contains("no builder \"ci\" found"), "{unknown}");
    assert!(sandbox.fails(1, ["buildx", "rm"]).contains("cannot be removed"));
    assert!(sandbox.ok(["buildx", "version"]).contains(" v"));
}
