//! The builder as a whole: stages, cache, context, output, errors.

use std::fs;

use plimsoll_testkit::needs;

use crate::{assert_shows, build, build_files, build_ok, sandbox, with_busybox};

const TWO_STAGES: &str = "\
FROM busybox AS builder
WORKDIR /src
COPY input .
RUN tr a-z A-Z < input > output && echo building
FROM scratch
COPY --from=builder /src/output /output
USER 65532
CMD [\"/output\"]
";

/// True when a step's output has the line `text`: `#5 0.123 text`.
fn printed(log: &str, text: &str) -> bool {
    log.lines()
        .any(|line| line.starts_with('#') && line.splitn(3, ' ').nth(2) == Some(text))
}

#[test]
fn two_stages_make_a_small_image() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/input", "hello\n");
    build_ok(&sandbox, TWO_STAGES, &[]);
    let files = build_files(&sandbox, TWO_STAGES, &[]);
    assert_eq!(fs::read_to_string(files.join("output")).unwrap(), "HELLO\n");
    assert_eq!(
        fs::read_dir(&files).unwrap().count(),
        1,
        "only what the last stage has"
    );
    assert_eq!(
        sandbox.ok([
            "inspect",
            "-f",
            "{{.Config.User}} {{json .Config.Cmd}} {{len .RootFS.Layers}}",
            "app"
        ]),
        "65532 [\"/output\"] 1\n"
    );
}

#[test]
fn a_second_build_runs_nothing() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/input", "hello\n");
    let first = build_ok(&sandbox, TWO_STAGES, &["--iidfile", "one"]);
    assert!(printed(&first, "building"), "{first}");
    let second = build_ok(&sandbox, TWO_STAGES, &["--iidfile", "two"]);
    assert!(!printed(&second, "building"), "{second}");
    let cached = second.lines().filter(|line| line.ends_with(" CACHED")).count();
    assert!(cached >= 4, "{second}");
    let id = |name: &str| fs::read_to_string(sandbox.path("work").join(name)).unwrap();
    assert_eq!(id("one"), id("two"));
    assert!(id("one").starts_with("sha256:"));
    let third = build_ok(&sandbox, TWO_STAGES, &["--no-cache"]);
    assert!(printed(&third, "building"), "{third}");
}

#[test]
fn a_changed_file_reruns_what_reads_it() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nCOPY a /a\nRUN echo ran-a\nCOPY b /b\nRUN echo ran-b\n";
    sandbox.write("context/a", "1");
    sandbox.write("context/b", "1");
    build_ok(&sandbox, dockerfile, &[]);
    sandbox.write("context/b", "2");
    let log = build_ok(&sandbox, dockerfile, &[]);
    assert!(!printed(&log, "ran-a") && printed(&log, "ran-b"), "{log}");
    // Same bytes, new time: nothing changed.
    sandbox.write("context/b", "2");
    let log = build_ok(&sandbox, dockerfile, &[]);
    assert!(!printed(&log, "ran-b"), "{log}");
}

#[test]
fn quiet_prints_the_id_only() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN echo noise\n");
    let outcome = sandbox.run(["build", "-q", "-t", "app", "context"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome}");
    assert_eq!(
        outcome.stdout.trim(),
        sandbox.ok(["inspect", "-f", "{{.Id}}", "app"]).trim()
    );
}

#[test]
fn rawjson_has_buildkits_fields() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = build(
        &sandbox,
        "FROM busybox\nRUN echo noise\n",
        &["--progress=rawjson"],
    );
    let lines: Vec<serde_json::Value> = outcome
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(
        lines.iter().any(|line| line["logs"][0]["data"] == "bm9pc2UK"),
        "{outcome}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line["vertexes"][0]["completed"].is_string()),
        "{outcome}"
    );
}

#[test]
fn unreachable_stages_are_not_run() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile =
        "FROM busybox AS unused\nRUN false\nFROM busybox AS test\nRUN false\nFROM busybox\nRUN true\n";
    build_ok(&sandbox, dockerfile, &[]);
    let outcome = build(&sandbox, dockerfile, &["--target", "tset"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("did you mean `test`?"), "{outcome}");
}

#[test]
fn independent_stages_run_at_the_same_time() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    // Each stage waits for the other's sign on the network they share with the host: only together can they end.
    let wait = |own: u16, other: u16| {
        format!(
            "RUN (echo up | timeout 60 nc -l -p {own} >/dev/null 2>&1 &) ; for i in $(seq 300); do nc -w 1 127.0.0.1 {other} </dev/null >/dev/null 2>&1 && break; sleep 0.1; [ $i != 300 ]; done; sleep 0.5"
        )
    };
    let dockerfile = format!(
        "FROM busybox AS one\n{}\nRUN touch /one\nFROM busybox AS two\n{}\nRUN touch /two\nFROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
        wait(38_771, 38_772),
        wait(38_772, 38_771),
    );
    build_ok(&sandbox, &dockerfile, &["--network=host"]);
}

#[test]
fn a_failing_run_shows_output_frame_and_code() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = build(
        &sandbox,
        "FROM busybox\nRUN echo about to fail >&2; exit 7\nRUN true\n",
        &["--progress=quiet"],
    );
    assert_eq!(outcome.code, 1);
    assert_shows("failing_run", &outcome.to_string());
    assert_eq!(sandbox.ok(["images", "-q", "app"]), "", "nothing is tagged");
}

#[test]
fn a_wrong_dockerfile_is_shown_in_its_place() {
    needs!(root);
    let sandbox = sandbox();
    let outcome = build(&sandbox, "FROM busybox\nRUNN true\n", &[]);
    assert_eq!(outcome.code, 1);
    assert_shows("unknown_instruction", &outcome.to_string());
}

#[test]
fn a_missing_file_names_the_rule_that_hid_it() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/secret/key", "x");
    sandbox.write("context/.dockerignore", "# comment\nsecret\n");
    let hidden = build(
        &sandbox,
        "FROM busybox\nCOPY secret/key /\n",
        &["--progress=quiet"],
    );
    let missing = build(&sandbox, "FROM busybox\nCOPY nowhere /\n", &["--progress=quiet"]);
    assert_eq!((hidden.code, missing.code), (1, 1), "{hidden}\n{missing}");
    assert_shows("missing_file", &format!("{hidden}\n{missing}"));
    assert!(
        hidden.stderr.contains(".dockerignore") && hidden.stderr.contains("secret/key"),
        "{hidden}"
    );
}

#[test]
fn dockerignore_has_mobys_semantics() {
    needs!(root);
    let sandbox = sandbox();
    for file in [
        "keep",
        "a.log",
        "sub/b.log",
        "sub/c",
        "node_modules/x",
        "deep/node_modules/y",
        "docs/readme.md",
        "docs/other",
    ] {
        sandbox.write(&format!("context/{file}"), file);
    }
    sandbox.write(
        "context/.dockerignore",
        "*.log\n**/node_modules\ndocs\n!docs/readme.md\nDockerfile\n.dockerignore\n",
    );
    let files = build_files(&sandbox, "FROM scratch\nCOPY . /\n", &[]);
    let mut found: Vec<String> = Vec::new();
    for folder in ["", "sub", "docs", "deep"] {
        for entry in fs::read_dir(files.join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            found.push(if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            });
        }
    }
    found.sort();
    assert_eq!(
        found,
        [
            "deep",
            "docs",
            "docs/readme.md",
            "keep",
            "sub",
            "sub/b.log",
            "sub/c"
        ]
    );
}

#[test]
fn nothing_of_the_machine_is_left_in_a_layer() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox AS base\nRUN touch /made\nFROM scratch\nCOPY --from=base / /\n";
    sandbox.write("context/Dockerfile", dockerfile);
    let path = sandbox.path("out.tar");
    build_ok(
        &sandbox,
        "FROM busybox\nRUN touch /made && cat /etc/hosts /etc/resolv.conf >/dev/null\n",
        &["--output", &format!("type=oci,dest={path}")],
    );
    let layer = last_layer(&path);
    assert_eq!(layer, ["made"], "the layer of the RUN");
}

/// Names in the last layer of an OCI archive, folders left out.
fn last_layer(path: &camino::Utf8Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap();
    let blob = |name: &str| {
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entry = archive
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .find(|entry| entry.path().unwrap().ends_with(name))
            .unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        content
    };
    let json = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
    let digest = |value: &serde_json::Value| {
        value["digest"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:")
            .to_owned()
    };
    let index = json(blob("index.json"));
    // Of an image with attestations: the index that has both.
    let index = json(blob(&digest(&index["manifests"][0])));
    let manifest = json(blob(&digest(&index["manifests"][0])));
    let layer = blob(&digest(manifest["layers"].as_array().unwrap().last().unwrap()));
    let layer: Box<dyn std::io::Read> = match layer.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(std::io::Cursor::new(gunzip(&layer))),
        false => Box::new(std::io::Cursor::new(layer)),
    };
    let mut archive = tar::Archive::new(layer);
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries
        .filter(|entry| !entry.header().entry_type().is_dir())
        .map(|entry| entry.path().unwrap().display().to_string())
        .collect()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = std::process::Command::new("gzip")
        .arg("-dc")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip is there");
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

#[test]
fn an_oci_archive_can_be_loaded_again() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let path = sandbox.path("out.tar");
    build_ok(
        &sandbox,
        "FROM busybox\nRUN echo x > /x\nCMD [\"cat\", \"/x\"]\n",
        &["--output", &format!("type=oci,dest={path}")],
    );
    assert_eq!(
        sandbox.ok(["images", "-q", "app"]),
        "",
        "with an output the store keeps no name"
    );
    let other = crate::sandbox();
    other.ok(["load", "-i", path.as_str()]);
    assert_eq!(
        other.ok(["inspect", "-f", "{{json .Config.Cmd}}", "app"]),
        "[\"cat\",\"/x\"]\n"
    );
}

#[test]
fn the_dockerfile_may_come_from_elsewhere() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/a", "1");
    let other = sandbox.write("other.Dockerfile", "FROM busybox\nCOPY a /\n");
    sandbox.ok(["build", "-q", "-f", other.as_str(), "-t", "one", "context"]);
    let outcome = sandbox.run_with_input(
        ["build", "-q", "-f", "-", "-t", "two", "context"],
        b"FROM busybox\nCOPY a /\n",
    );
    assert_eq!(outcome.code, 0, "{outcome}");
    assert_eq!(
        sandbox.ok(["inspect", "-f", "{{.Id}}", "one"]),
        sandbox.ok(["inspect", "-f", "{{.Id}}", "two"])
    );
    let stderr = sandbox.fails(1, ["build", "-f", "nowhere", "context"]);
    assert!(stderr.contains("nowhere"), "{stderr}");
    let stderr = sandbox.fails(1, ["build", "no-such-folder"]);
    assert!(stderr.contains("no-such-folder"), "{stderr}");
}

#[test]
fn run_has_network_access() {
    needs!(root, overlay);
    let mut sandbox = with_busybox();
    let host = sandbox.serve(&["busybox"]).host.clone();
    build_ok(
        &sandbox,
        &format!("FROM busybox\nRUN wget -q -O /dev/null http://{host}/v2/\n"),
        &["--network=host"],
    );
    // The default is a network of its own: an address, a route, a name server.
    build_ok(
        &sandbox,
        "FROM busybox\nRUN ip route | grep -q ^default && grep -q nameserver /etc/resolv.conf\n",
        &[],
    );
    build_ok(
        &sandbox,
        "FROM busybox\nRUN ! ip route | grep -q ^default\n",
        &["--network=none"],
    );
}

#[test]
fn from_resolves_through_the_mirror() {
    needs!(root, overlay);
    let mut sandbox = sandbox();
    sandbox.serve(&["busybox"]);
    build_ok(&sandbox, "FROM busybox:latest\nRUN true\n", &[]);
    assert!(
        sandbox
            .ok(["images", "--format", "{{.Repository}}"])
            .contains("app")
    );
}
