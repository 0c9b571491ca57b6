//! Results that travel: `--cache-to` on one machine, `--cache-from` on another.

use std::path::Path;

use camino::Utf8PathBuf;
use plimsoll_testkit::{ActionsService, BaseRegistry, Outcome, Sandbox, needs};

use crate::push::{Gate, kill_after};
use crate::{sandbox, with_busybox};

/// The first stage leaves much that the image does not need.
const DOCKERFILE: &str = "FROM busybox AS build\n\
    RUN head -c 600000 /dev/urandom >/noise; echo one >/one\n\
    RUN echo two >>/one\n\
    FROM busybox\n\
    COPY --from=build /one /one\n\
    COPY extra /extra\n\
    RUN cat /one /extra >/three\n";

/// A machine with the base image and the sources.
fn machine() -> Sandbox {
    let sandbox = with_busybox();
    sandbox.write("context/Dockerfile", DOCKERFILE);
    sandbox.write("context/extra", "extra\n");
    sandbox
}

fn build(sandbox: &Sandbox, options: &[&str]) -> Outcome {
    let args = ["build", "--progress=plain", "-t", "app"];
    let outcome = sandbox.run(args.iter().chain(options).chain(&["context"]));
    assert_eq!(outcome.code, 0, "{outcome}");
    outcome
}

/// How many steps ran that are not FROM.
fn ran(outcome: &Outcome) -> usize {
    let steps = outcome.stderr.split("\n\n");
    let ran = |block: &&str| {
        let first = block.lines().next().unwrap_or_default();
        let step = first.contains("] RUN") || first.contains("] COPY");
        step && !first.contains(" importing ") && !block.contains(" CACHED")
    };
    steps.filter(ran).count()
}

fn id(sandbox: &Sandbox) -> String {
    sandbox.ok(["images", "-q", "--no-trunc", "app"])
}

fn export(place: &str) -> Sandbox {
    let here = machine();
    let outcome = build(&here, &["--cache-to", place]);
    assert_eq!(ran(&outcome), 5, "{outcome}");
    assert!(!outcome.stderr.contains("warning"), "{outcome}");
    here
}

/// On a machine that has nothing, nothing runs, and the image is the same.
fn nothing_runs(here: &Sandbox, place: &str) -> (Sandbox, Outcome) {
    let there = machine();
    let outcome = build(&there, &["--cache-from", place]);
    assert_eq!(ran(&outcome), 0, "{outcome}");
    assert!(!outcome.stderr.contains("warning"), "{outcome}");
    assert_eq!(id(&there), id(here));
    assert_eq!(
        there.ok(["run", "--rm", "app", "cat", "/three"]),
        "one\ntwo\nextra\n"
    );
    (there, outcome)
}

#[test]
fn through_a_registry() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let name = format!("{}/team/cache:main", registry.host);
    let here = export(&format!("type=registry,ref={name}"));
    let (there, _) = nothing_runs(&here, &name);
    // From there it goes on, with what was never brought.
    let other = format!("{}/team/cache:other", registry.host);
    build(
        &there,
        &[
            "--cache-from",
            &name,
            "--cache-to",
            &format!("type=registry,ref={other}"),
        ],
    );
    nothing_runs(&here, &other);
    // The forms that BuildKit has besides.
    for form in [
        "image-manifest=false",
        "oci-mediatypes=false",
        "compression=zstd,force-compression=true",
    ] {
        build(
            &here,
            &["--cache-to", &format!("type=registry,ref={other},{form}")],
        );
        nothing_runs(&here, &other);
    }
}

/// The largest blob of a cache in a folder.
fn largest(folder: &Utf8PathBuf) -> Utf8PathBuf {
    let blobs = folder.join("blobs/sha256").read_dir_utf8().expect("blobs");
    let blobs = blobs.map(|entry| entry.expect("an entry").into_path());
    blobs
        .max_by_key(|path| path.metadata().expect("a file").len())
        .expect("a blob")
}

#[test]
fn through_a_folder_and_only_what_is_needed() {
    needs!(root, overlay);
    let folder = sandbox();
    let cache = folder.path("cache");
    let here = export(&format!("type=local,dest={cache}"));
    let from = format!("type=local,src={cache}");
    // The base image's layer and the first stage's noise are the largest: the image needs neither from here.
    for _ in 0..2 {
        std::fs::remove_file(largest(&cache)).expect("it is there");
    }
    let (there, _) = nothing_runs(&here, &from);
    // A change in the middle runs what comes after it and no more.
    there.write("context/extra", "changed\n");
    assert_eq!(ran(&build(&there, &["--cache-from", &from])), 2);
    // What is missing and needed is warned about, and made again.
    let poor = machine();
    poor.write(
        "context/Dockerfile",
        DOCKERFILE.replace("FROM busybox\n", "FROM build\n"),
    );
    let outcome = build(&poor, &["--cache-from", &from]);
    assert!(
        outcome.stderr.contains("cannot use a result of the cache"),
        "{outcome}"
    );
}

#[test]
fn cache_mounts_on_request() {
    needs!(root, overlay);
    let folder = sandbox();
    let cache = folder.path("cache");
    let mounted =
        "FROM busybox\nARG RUN\nRUN --mount=type=cache,target=/c echo $RUN >>/c/runs; cat /c/runs >/seen\n";
    let run = |sandbox: &Sandbox, run: &str, options: &[&str]| {
        sandbox.write("context/Dockerfile", mounted);
        let arg = format!("RUN={run}");
        build(sandbox, &[&["--build-arg", arg.as_str()], options].concat());
        sandbox.ok(["run", "--rm", "app", "cat", "/seen"])
    };
    let to = format!("type=local,dest={cache},cache-mounts=true");
    let from = format!("type=local,src={cache}");
    assert_eq!(run(&machine(), "here", &["--cache-to", &to]), "here\n");
    assert_eq!(
        run(&machine(), "there", &["--cache-from", &from]),
        "there\n",
        "not asked for"
    );
    let mounts = format!("{from},cache-mounts=true");
    let there = machine();
    assert_eq!(run(&there, "there", &["--cache-from", &mounts]), "here\nthere\n");
    assert_eq!(
        run(&there, "again", &["--cache-from", &mounts]),
        "here\nthere\nagain\n",
        "it is here now"
    );
}

#[test]
fn a_damaged_cache_is_not_believed() {
    needs!(root, overlay);
    let folder = sandbox();
    let cache = folder.path("cache");
    export(&format!("type=local,dest={cache},mode=min"));
    for blob in cache.join("blobs/sha256").read_dir_utf8().expect("blobs") {
        let path = blob.expect("an entry").into_path();
        let bytes = std::fs::read(&path).expect("a blob");
        // Layers are gzip; the documents are left alone.
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let other: Vec<u8> = bytes.iter().rev().copied().collect();
            std::fs::write(&path, other).expect("it can be written");
        }
    }
    let there = machine();
    let outcome = build(&there, &["--cache-from", &format!("type=local,src={cache}")]);
    assert!(
        outcome.stderr.contains("is not what its digest says"),
        "{outcome}"
    );
    assert_eq!(ran(&outcome), 5, "{outcome}");
}

#[test]
fn with_the_image_itself() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let name = format!("{}/team/app:1", registry.host);
    for option in [
        ["--cache-to", "type=inline"],
        ["--build-arg", "BUILDKIT_INLINE_CACHE=1"],
    ] {
        let here = machine();
        build(&here, &option);
        here.ok(["tag", "app", &name]);
        here.ok(["push", "-q", &name]);
        let there = machine();
        let outcome = build(&there, &["--cache-from", &name]);
        assert_eq!(ran(&outcome), 0, "{outcome}");
    }
}

#[test]
fn with_github_actions() {
    needs!(root, overlay);
    let service = ActionsService::start();
    let place = format!("type=gha,url_v2={},token=t,scope=main", service.url);
    let here = export(&place);
    let blobs = service.keys().len();
    nothing_runs(&here, &place);
    build(&here, &["--cache-to", &place]);
    assert_eq!(
        service.keys().len(),
        blobs + 1,
        "only the document is saved again: {:?}",
        service.keys()
    );
    // A workflow's step says it by its environment.
    let there = machine();
    let outcome = Outcome::of(
        there
            .command([
                "build",
                "--progress=plain",
                "--cache-from",
                "type=gha,scope=main",
                "context",
            ])
            .env("ACTIONS_RESULTS_URL", &service.url)
            .env("ACTIONS_RUNTIME_TOKEN", "t"),
    );
    assert_eq!((outcome.code, ran(&outcome)), (0, 0), "{outcome}");
    let stderr = there.fails(125, ["build", "--cache-from", "type=gha", "context"]);
    assert!(stderr.contains("ACTIONS_RESULTS_URL"), "{stderr}");
}

#[test]
fn a_cache_that_is_not_there_fails_nothing() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let sandbox = machine();
    let missing = format!("{}/none", registry.host);
    let outcome = build(
        &sandbox,
        &[
            "--cache-from",
            &missing,
            "--cache-from",
            "type=local,src=/nonexistent",
        ],
    );
    assert!(
        !outcome.stderr.contains("warning"),
        "a first build is not at fault: {outcome}"
    );
    let nobody = "type=registry,ref=127.0.0.1:1/cache";
    let outcome = build(
        &sandbox,
        &["--cache-from", "127.0.0.1:1/cache", "--cache-to", nobody],
    );
    assert!(
        outcome
            .stderr
            .contains("the cache `127.0.0.1:1/cache:latest` is not used"),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("the cache was not exported"), "{outcome}");
    let must = format!("{nobody},ignore-error=false");
    let stderr = sandbox.fails(1, ["build", "--cache-to", &must, "context"]);
    assert!(stderr.contains("cannot export the cache"), "{stderr}");
}

#[test]
fn an_export_that_was_killed_is_finished_by_the_next() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let gate = Gate::new(&registry.host);
    for (at, bytes) in [1_000, 300_000, 1_000_000, 1_715_000].into_iter().enumerate() {
        let here = machine();
        let name = format!("{}/cache/app:{at}", gate.host);
        let to = format!("type=registry,ref={name}");
        kill_after(
            &here,
            &gate,
            bytes,
            &["build", "-q", "--cache-to", &to, "context"],
        );
        build(&here, &["--cache-to", &to]);
        nothing_runs(&here, &name);
    }
}

#[test]
fn a_killed_export_to_a_folder_leaves_no_half_blobs() {
    needs!(root, overlay);
    let folder = sandbox();
    let cache = folder.path("cache");
    let here = machine();
    let to = format!("type=local,dest={cache}");
    let mut child = here
        .command(["build", "-q", "--cache-to", &to, "context"])
        .spawn()
        .expect("it starts");
    crate::wait_for("the export to begin", 60, || {
        (Path::new(cache.as_str()).exists() || child.try_wait().expect("a child").is_some()).then_some(())
    });
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    build(&here, &["--cache-to", &to]);
    nothing_runs(&here, &format!("type=local,src={cache}"));
}
