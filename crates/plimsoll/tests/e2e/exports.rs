//! Where a build's result goes: archives, folders, files, registries; and that it is the same every time.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use camino::Utf8Path;
use plimsoll_testkit::{BaseRegistry, Outcome, Sandbox, needs};
use serde_json::Value;

use crate::{build, build_ok, sandbox, with_busybox};

const DOCKERFILE: &str = "FROM busybox\n\
    RUN mkdir -p /data/sub && echo hello > /data/a && ln -s a /data/b && ln /data/a /data/c && chmod 4750 /data/sub\n\
    WORKDIR /work\n\
    COPY Dockerfile .\n\
    ENV A=b\n\
    CMD [\"cat\", \"/data/a\"]\n";

fn sha256(bytes: &[u8]) -> String {
    plimsoll_oci::Digest::of(bytes).to_string()
}

/// Regular files of a tar.
fn tar_files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
    }
    files
}

fn folder_files(folder: &Utf8Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in next.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            match path.is_dir() {
                true => open.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_string();
                    files.insert(name, fs::read(path).unwrap());
                }
            }
        }
    }
    files
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn unpacked(layer: &[u8], media_type: &str) -> Vec<u8> {
    let program = match media_type.rsplit(['.', '+']).next().unwrap() {
        "gzip" => "gzip",
        "zstd" => "zstd",
        _ => return layer.to_vec(),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer");
    fs::write(&path, layer).unwrap();
    let output = Command::new(program)
        .arg("-dc")
        .stdin(fs::File::open(path).unwrap())
        .output();
    output.unwrap().stdout
}

/// Our own checker: every blob is what its name says, every descriptor fits, every layer unpacks to its diff id, and
/// the history has a row for each. Returns manifests and configurations.
#[track_caller]
fn check_layout(files: &BTreeMap<String, Vec<u8>>) -> Vec<(Value, Value)> {
    assert_eq!(json(&files["oci-layout"])["imageLayoutVersion"], "1.0.0");
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
        assert_eq!(path.replace("blobs/sha256/", "sha256:"), sha256(bytes));
    }
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "blobs/sha256/");
        let bytes = files
            .get(&digest)
            .unwrap_or_else(|| panic!("{descriptor} is missing"));
        assert_eq!(descriptor["size"], bytes.len(), "{descriptor}");
        bytes
    };
    let mut open: Vec<Value> = json(&files["index.json"])["manifests"]
        .as_array()
        .unwrap()
        .clone();
    assert!(!open.is_empty());
    let mut images = Vec::new();
    while let Some(descriptor) = open.pop() {
        let manifest = json(blob(&descriptor));
        assert_eq!(manifest["mediaType"], descriptor["mediaType"]);
        if let Some(entries) = manifest["manifests"].as_array() {
            open.extend(entries.iter().cloned());
            continue;
        }
        let config = json(blob(&manifest["config"]));
        let layers = manifest["layers"].as_array().unwrap();
        if descriptor["platform"]["os"] == "unknown" {
            for layer in layers {
                blob(layer);
            }
            continue;
        }
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!(layers.len(), diff_ids.len());
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let tar = unpacked(blob(layer), layer["mediaType"].as_str().unwrap());
            assert_eq!(sha256(&tar), diff_id.as_str().unwrap());
        }
        let history = config["history"].as_array().unwrap();
        let rows = history.iter().filter(|row| row["empty_layer"] != true).count();
        assert_eq!(rows, layers.len(), "{history:#?}");
        images.push((manifest, config));
    }
    images
}

/// Builds into an archive and returns its bytes.
#[track_caller]
fn archive(sandbox: &Sandbox, dockerfile: &str, options: &str, more: &[&str]) -> Vec<u8> {
    let path = sandbox.path("work/out.tar");
    let output = format!("{options},dest={path}");
    let options: Vec<&str> = ["-o", &output].iter().chain(more).copied().collect();
    build_ok(sandbox, dockerfile, &options);
    fs::read(path).unwrap()
}

fn layer_types(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["mediaType"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn layouts_are_whole_in_every_form() {
    needs!(root, overlay, tool = "zstd");
    let sandbox = with_busybox();
    let mut configs = Vec::new();
    for (options, last) in [
        ("type=oci", "application/vnd.oci.image.layer.v1.tar+gzip"),
        (
            "type=oci,compression=zstd",
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        (
            "type=oci,compression=gzip,compression-level=9",
            "application/vnd.oci.image.layer.v1.tar+gzip",
        ),
        (
            "type=oci,compression=uncompressed",
            "application/vnd.oci.image.layer.v1.tar",
        ),
        (
            "type=oci,compression=uncompressed,force-compression=true",
            "application/vnd.oci.image.layer.v1.tar",
        ),
        (
            "type=oci,oci-mediatypes=false",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
        ("type=docker", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ] {
        let bytes = archive(&sandbox, DOCKERFILE, options, &[]);
        let images = check_layout(&tar_files(&bytes));
        let [(manifest, config)] = images.as_slice() else {
            panic!("{options}: {} images", images.len());
        };
        assert_eq!(layer_types(manifest).last().unwrap(), last, "{options}");
        configs.push(manifest["config"]["digest"].clone());
        assert_eq!(config["config"]["Cmd"][0], "cat");
    }
    assert!(
        configs.iter().all(|id| *id == configs[0]),
        "one image: {configs:?}"
    );
}

#[test]
fn a_folder_takes_one_image_after_the_other() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let output = "type=oci,tar=false,dest=layout";
    for (name, text) in [("one", "1"), ("two", "2"), ("one", "3")] {
        let dockerfile = format!("FROM busybox\nRUN echo {text} > /which\n");
        sandbox.write("context/Dockerfile", dockerfile);
        sandbox.ok(["build", "-q", "-t", name, "-o", output, "context"]);
    }
    let files = folder_files(&sandbox.path("work/layout"));
    assert_eq!(check_layout(&files).len(), 2);
    let names: Vec<String> = json(&files["index.json"])["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["annotations"]["io.containerd.image.name"].to_string())
        .collect();
    assert_eq!(
        names,
        [
            r#""docker.io/library/two:latest""#,
            r#""docker.io/library/one:latest""#
        ]
    );
    assert!(
        !files.keys().any(|path| path.contains("partial")),
        "{:?}",
        files.keys()
    );
}

#[test]
fn several_outputs_of_one_build() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        DOCKERFILE,
        &[
            "-o",
            "files",
            "-o",
            "type=tar,dest=files.tar",
            "-o",
            "type=oci,dest=app.tar",
            "--load",
        ],
    );
    assert_eq!(
        fs::read_to_string(sandbox.path("work/files/data/a")).unwrap(),
        "hello\n"
    );
    let tar = fs::read(sandbox.path("work/files.tar")).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let entries: BTreeMap<String, (u32, tar::EntryType, Option<String>)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name().unwrap().map(|path| path.display().to_string());
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            (path, (header.mode().unwrap(), header.entry_type(), link))
        })
        .collect();
    assert_eq!(entries["data/sub/"].0, 0o4750);
    assert_eq!(entries["data/b"].2.as_deref(), Some("a"));
    assert_eq!(entries["data/c"].1, tar::EntryType::Link);
    assert_eq!(entries["data/c"].2.as_deref(), Some("data/a"));
    check_layout(&tar_files(&fs::read(sandbox.path("work/app.tar")).unwrap()));
    assert_ne!(
        sandbox.ok(["images", "-q", "app"]),
        "",
        "--load beside other outputs"
    );
}

#[test]
fn standard_output_takes_an_archive_and_nothing_else() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/Dockerfile", DOCKERFILE);
    for (output, file) in [
        ("-", "data/a"),
        ("type=oci", "index.json"),
        ("type=tar,dest=-", "data/a"),
    ] {
        let args = ["build", "-q", "-o", output, "context"];
        let out = sandbox.command(args).stderr(Stdio::null()).output().unwrap();
        assert!(out.status.success());
        assert!(tar_files(&out.stdout).contains_key(file), "{output}");
    }
    let said = sandbox.fails(125, ["build", "-o", "-", "-o", "type=oci", "context"]);
    assert!(
        said.contains("only one output can go to standard output"),
        "{said}"
    );
}

#[test]
fn what_cannot_work_fails_before_the_build() {
    let sandbox = sandbox();
    sandbox.write("context/Dockerfile", "FROM none.example/none\n");
    sandbox.write("file", "x");
    let fails = |code: i32, options: &[&str], word: &str| {
        let args: Vec<&str> = ["build"]
            .iter()
            .chain(options)
            .chain(&["context"])
            .copied()
            .collect();
        let outcome = sandbox.run(args);
        assert_eq!(outcome.code, code, "{outcome}");
        assert!(outcome.stderr.contains(word), "{outcome}");
    };
    fails(1, &["-o", "file"], "destination directory file is a file");
    fails(
        1,
        &["-o", "type=oci,dest=context"],
        "destination file context is a directory",
    );
    fails(125, &["-o", "type=local"], "dest is required for local exporter");
    fails(
        125,
        &["-o", "type=oci,compression=estargz"],
        "use gzip, zstd or uncompressed",
    );
    fails(125, &["--push"], "tag is needed when pushing to registry");
    fails(
        125,
        &["--annotation", "page:a=b"],
        "unknown annotation type `page`",
    );
}

#[test]
fn annotations_stand_where_they_belong() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let more = [
        "--provenance=false",
        "--annotation",
        "a=b",
        "--annotation",
        "manifest-descriptor:c=d",
        "--annotation",
        "manifest[linux/riscv64]:not=this",
    ];
    let bytes = archive(&sandbox, DOCKERFILE, "type=oci,annotation.e=f", &more);
    let files = tar_files(&bytes);
    let images = check_layout(&files);
    let expected = serde_json::json!({"a": "b", "e": "f"});
    assert_eq!(images[0].0["annotations"], expected);
    let entry = json(&files["index.json"])["manifests"][0].clone();
    assert_eq!(entry["annotations"]["c"], "d");
    assert_eq!(
        entry["annotations"]["io.containerd.image.name"],
        "docker.io/library/app:latest"
    );
    let outcome = build(&sandbox, DOCKERFILE, &["--annotation", "index:a=b"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .contains("index annotations not supported for single platform export"),
        "{outcome}"
    );
}

#[test]
fn metadata_and_ids_are_as_buildx_writes_them() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let options = [
        "--provenance=false",
        "--iidfile",
        "id",
        "--metadata-file",
        "meta.json",
    ];
    let bytes = archive(&sandbox, DOCKERFILE, "type=oci", &options);
    let entry = json(&tar_files(&bytes)["index.json"])["manifests"][0].clone();
    let metadata = json(&fs::read(sandbox.path("work/meta.json")).unwrap());
    let keys: Vec<&String> = metadata.as_object().unwrap().keys().collect();
    let expected = [
        "buildx.build.ref",
        "containerimage.config.digest",
        "containerimage.descriptor",
        "containerimage.digest",
        "image.name",
    ];
    assert_eq!(keys, expected);
    assert_eq!(metadata["containerimage.digest"], entry["digest"]);
    let descriptor = &metadata["containerimage.descriptor"];
    for key in ["mediaType", "digest", "size", "platform"] {
        assert_eq!(descriptor[key], entry[key]);
    }
    assert!(descriptor["annotations"]["org.opencontainers.image.created"].is_string());
    assert_eq!(metadata["image.name"], "docker.io/library/app:latest");
    assert!(
        metadata["buildx.build.ref"]
            .as_str()
            .unwrap()
            .starts_with("default/default/")
    );
    let id = fs::read_to_string(sandbox.path("work/id")).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id);
    build_ok(&sandbox, DOCKERFILE, &["--iidfile", "id2"]);
    assert_eq!(fs::read_to_string(sandbox.path("work/id2")).unwrap(), id);
    assert_eq!(sandbox.ok(["images", "-q", "--no-trunc", "app"]).trim(), id);
}

#[test]
fn pushed_images_run_elsewhere() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let here = with_busybox();
    let name = format!("{}/team/app:1", registry.host);
    let other = format!("{}/team/other", registry.host);
    here.write("context/Dockerfile", DOCKERFILE);
    let metadata = here.path("meta.json");
    let args = [
        "build",
        "-t",
        &name,
        "--push",
        "--metadata-file",
        metadata.as_str(),
        "context",
    ];
    let outcome = here.run(args);
    assert_eq!(outcome.code, 0, "{outcome}");
    let digest = json(&fs::read(&metadata).unwrap())["containerimage.digest"].clone();
    let output = format!("type=image,name={other},push-by-digest=true");
    here.ok([
        "build",
        "-q",
        "-o",
        &output,
        "--metadata-file",
        metadata.as_str(),
        "context",
    ]);
    let by_digest = json(&fs::read(&metadata).unwrap())["containerimage.digest"].clone();
    let there = sandbox();
    let by_digest = format!("{other}@{}", by_digest.as_str().unwrap());
    for reference in [&name, &by_digest] {
        assert_eq!(there.ok(["run", "--rm", reference]), "hello\n");
    }
    assert!(there.ok(["pull", &name]).contains(digest.as_str().unwrap()));
    assert_ne!(
        there.run(["pull", &other]).code,
        0,
        "pushed by digest, it has no tag"
    );
}

#[test]
fn two_builds_in_two_roots_are_the_same() {
    needs!(root, overlay);
    let mut archives = Vec::new();
    let mut ids = Vec::new();
    for round in 0..2 {
        let sandbox = with_busybox();
        // Other times, other order of making.
        sandbox.write("context/z", "z");
        if round == 1 {
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        sandbox.write("context/a", "a");
        let dockerfile = format!("{DOCKERFILE}COPY a z /copied/\n");
        let more = [
            "--build-arg",
            "SOURCE_DATE_EPOCH=1700000000",
            "--provenance=false",
        ];
        archives.push(archive(&sandbox, &dockerfile, "type=oci", &more));
        build_ok(&sandbox, &dockerfile, &more);
        ids.push(sandbox.ok(["images", "-q", "--no-trunc", "app"]));
    }
    assert_eq!(ids[0], ids[1]);
    assert!(archives[0] == archives[1], "the archives differ");
    let files = tar_files(&archives[0]);
    let (_, config) = check_layout(&files).remove(0);
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    let rows = config["history"].as_array().unwrap();
    let ours: Vec<&Value> = rows
        .iter()
        .filter(|row| row["comment"] == "buildkit.dockerfile.v0")
        .collect();
    assert!(!ours.is_empty() && ours.iter().all(|row| row["created"] == "2023-11-14T22:13:20Z"));
}

#[test]
fn the_epoch_comes_from_the_environment_and_leaves_the_base_alone() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN echo x > /x\n");
    let build = |epoch: &str, output: &str| {
        let args = ["build", "-q", "--provenance=false", "-o", output, "context"];
        let outcome = Outcome::of(sandbox.command(args).env("SOURCE_DATE_EPOCH", epoch));
        assert_eq!(outcome.code, 0, "{outcome}");
        let files = tar_files(&fs::read(sandbox.path("work/out.tar")).unwrap());
        check_layout(&files).remove(0).1
    };
    let first = build("1", "type=oci,dest=out.tar");
    let later = build("2", "type=oci,dest=out.tar");
    let kept = build("2", "type=oci,dest=out.tar,rewrite-timestamp=false");
    let diff_id = |config: &Value, at: usize| config["rootfs"]["diff_ids"][at].clone();
    assert_eq!(diff_id(&first, 0), diff_id(&later, 0), "the base image's layer");
    assert_ne!(diff_id(&first, 1), diff_id(&later, 1));
    assert_ne!(diff_id(&later, 1), diff_id(&kept, 1));
    assert_eq!(kept["created"], "1970-01-01T00:00:02Z");
    let args = ["build", "-q", "context"];
    let outcome = Outcome::of(sandbox.command(args).env("SOURCE_DATE_EPOCH", "today"));
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("invalid SOURCE_DATE_EPOCH: `today`"),
        "{outcome}"
    );
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let small = sandbox.path("small");
    fs::create_dir(&small).unwrap();
    let mount = |args: &[&str]| assert!(Command::new(args[0]).args(&args[1..]).status().unwrap().success());
    mount(&["mount", "-t", "tmpfs", "-o", "size=256k", "none", small.as_str()]);
    let path = small.join("app.tar");
    fs::write(&path, "old").unwrap();
    for output in ["type=oci", "type=docker", "type=tar"] {
        let outcome = build(&sandbox, DOCKERFILE, &["-o", &format!("{output},dest={path}")]);
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(
            outcome.stderr.contains(&format!("cannot write `{path}`")),
            "{outcome}"
        );
        assert!(outcome.stderr.contains("No space left on device"), "{outcome}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(
            small.read_dir_utf8().unwrap().count(),
            1,
            "nothing half done is left"
        );
    }
    mount(&["umount", small.as_str()]);
}

#[test]
fn skopeo_reads_archives_and_folders() {
    needs!(root, overlay, tool = "skopeo");
    let sandbox = with_busybox();
    for (output, source) in [
        ("type=oci,dest=app.tar", "oci-archive:app.tar:latest"),
        (
            "type=oci,dest=app.tar,compression=zstd",
            "oci-archive:app.tar:latest",
        ),
        ("type=oci,dest=app,tar=false", "oci:app:latest"),
        (
            "type=docker,dest=docker.tar",
            "docker-archive:docker.tar:docker.io/library/app:latest",
        ),
    ] {
        build_ok(&sandbox, DOCKERFILE, &["--provenance=false", "-o", output]);
        let copied = sandbox.path("work/copied");
        let _ = fs::remove_dir_all(&copied);
        let skopeo = Command::new("skopeo")
            .args(["copy", "--insecure-policy", source, "dir:copied"])
            .current_dir(sandbox.path("work"))
            .output()
            .unwrap();
        assert!(
            skopeo.status.success(),
            "{source}: {}",
            String::from_utf8_lossy(&skopeo.stderr)
        );
    }
}

#[test]
fn umoci_unpacks_what_was_built() {
    needs!(root, overlay, tool = "umoci");
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        DOCKERFILE,
        &["--provenance=false", "-o", "type=oci,dest=app,tar=false"],
    );
    let umoci = Command::new("umoci")
        .args(["raw", "unpack", "--image", "app:latest", "rootfs"])
        .current_dir(sandbox.path("work"))
        .output()
        .unwrap();
    assert!(
        umoci.status.success(),
        "{}",
        String::from_utf8_lossy(&umoci.stderr)
    );
    assert_eq!(
        fs::read_to_string(sandbox.path("work/rootfs/data/a")).unwrap(),
        "hello\n"
    );
}

#[test]
fn verify_names_what_differs() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let random = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /random && echo same > /same\n";
    let outcome = build(&sandbox, random, &["--verify", "--reproducible"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert_eq!(outcome.stdout, "/random: content\n");
    assert!(outcome.stderr.contains("they differ in one place"), "{outcome}");
    assert_eq!(sandbox.ok(["images", "-q", "app"]), "", "nothing is named");
    let timed = "FROM busybox\nRUN echo same > /same\n";
    let outcome = build(&sandbox, timed, &["--verify"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stdout.contains("configuration created: "), "{outcome}");
    assert!(
        outcome.stderr.contains("only times differ: `--reproducible`"),
        "{outcome}"
    );
    let outcome = build(&sandbox, timed, &["--verify", "--reproducible"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""), "{outcome}");
    assert_ne!(sandbox.ok(["images", "-q", "app"]), "");
}

#[test]
fn reproducible_takes_the_time_of_the_last_commit() {
    needs!(root, overlay, tool = "git");
    let sandbox = with_busybox();
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN echo x > /x\n");
    let git = |args: &[&str]| {
        let done = Command::new("git")
            .args(args)
            .current_dir(sandbox.path("work/context"))
            .env("GIT_COMMITTER_DATE", "1600000000 +0000")
            .stdout(Stdio::null())
            .status();
        assert!(done.unwrap().success());
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]);
    build_ok(&sandbox, "FROM busybox\nRUN echo x > /x\n", &["--reproducible"]);
    let created = sandbox.ok(["image", "inspect", "-f", "{{.Created}}", "app"]);
    assert_eq!(created.trim(), "2020-09-13T12:26:40Z");
}

#[test]
fn layers_are_packed_while_later_steps_run() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write(
        "context/Dockerfile",
        "FROM busybox AS base\nRUN head -c 3000000 /dev/urandom > /noise\nFROM base\nRUN sleep 100\n",
    );
    let mut child = sandbox
        .command(["build", "-q", "-o", "type=oci,dest=out.tar", "context"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let blobs = sandbox.root().join("content/blobs/sha256");
    crate::wait_for("the layer's blob", 60, || {
        let sizes = blobs.read_dir_utf8().unwrap().flatten();
        let mut sizes = sizes.filter_map(|entry| Some(entry.metadata().ok()?.len()));
        sizes.find(|size| (3_000_000..3_100_000).contains(size))
    });
    assert!(child.try_wait().unwrap().is_none(), "the last step still runs");
    child.kill().unwrap();
    child.wait().unwrap();
}
