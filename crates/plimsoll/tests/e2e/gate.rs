//! `--gate`: what a policy refuses has no name, goes nowhere and does not run; what it allows does as ever.

use plimsoll_testkit::{Archive, BaseRegistry, Sandbox, needs};
use serde_json::json;

use crate::{sandbox, with_busybox};

const BAD: &str = "FROM busybox\nENV API_KEY=hunter2-hunter2\nEXPOSE 80\nCMD httpd -f\n";

/// Nothing that `production` asks for at build time is missing, but for the base's digest.
const GOOD: &str = "USER 65532\nHEALTHCHECK CMD [\"/app\"]\nCMD [\"sleep\", \"30\"]\n";

fn write(sandbox: &Sandbox, dockerfile: &str) {
    sandbox.write("context/Dockerfile", dockerfile);
}

/// A base image that names nothing: what is pinned to its digest is asked of no registry.
fn from_scratch(sandbox: &Sandbox) {
    sandbox.write("context/app", "#!/bin/true\n");
    write(sandbox, &format!("FROM scratch\nCOPY app /app\n{GOOD}"));
}

#[test]
fn a_build_that_is_refused_leaves_nothing() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let name = format!("{}/team/app", registry.host);
    let sandbox = with_busybox();
    write(&sandbox, BAD);
    let archive = sandbox.path("out.tar");
    let files = sandbox.path("files");
    let cache = sandbox.path("cache");
    let args = [
        "build",
        "--gate=production",
        "-t",
        &name,
        "--push",
        &format!("--output=type=oci,dest={archive}"),
        &format!("--output=type=local,dest={files}"),
        &format!("--cache-to=type=local,dest={cache}"),
        "--iidfile=id",
        "--metadata-file=metadata",
        "context",
    ];
    let refused = sandbox.run(args);
    assert_eq!(refused.code, 1, "{refused}");
    for path in [&archive, &files, &cache] {
        assert!(!path.exists(), "{path} is there");
    }
    assert!(!sandbox.path("work/id").exists() && !sandbox.path("work/metadata").exists());
    let images = sandbox.ok(["images", "--format", "{{.Repository}}"]);
    assert_eq!(images.trim(), "busybox");
    assert!(!registry.requests().contains("PUT"), "{}", registry.requests());

    // Every reason, each with its fix, and no secret.
    for part in [
        "policy `production` does not allow",
        "non-root-user: the image runs as root",
        "healthcheck: nothing says how",
        "exec-form: ",
        "pinned-base: base image `busybox` is not pinned",
        "no-secrets: ",
    ] {
        assert!(refused.stderr.contains(part), "{part}\n{refused}");
    }
    let reasons = refused.stderr.matches("\n    fix: ").count();
    assert!(reasons >= 5, "{refused}");
    assert!(!refused.stderr.contains("hunter2-hunter2"), "{refused}");

    // The same build without the gate has a name.
    sandbox.ok(["build", "-q", "-t", "app", "context"]);
    sandbox.ok(["image", "inspect", "app"]);
}

#[test]
fn what_is_allowed_goes_on() {
    needs!(root, overlay);
    let sandbox = sandbox();
    from_scratch(&sandbox);
    let allowed = sandbox.run(["build", "--gate=production", "-t", "app", "context"]);
    assert_eq!(allowed.code, 0, "{allowed}");
    sandbox.ok(["image", "inspect", "app"]);
}

#[test]
fn a_base_is_pinned_by_its_digest() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write(&sandbox, &format!("FROM busybox\n{GOOD}"));
    let refused = sandbox.run(["build", "--gate=production", "-t", "app", "context"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("for one reason:") && refused.stderr.contains("pinned-base"),
        "{refused}"
    );
    // A policy of the user's own that does not ask for it.
    sandbox.write("relaxed.toml", "extends = \"production\"\npinned-base = false\n");
    let file = sandbox.path("work/relaxed.toml");
    let gate = format!("--gate={file}");
    sandbox.ok(["build", "-q", &gate, "-t", "app", "context"]);
}

#[test]
fn a_push_that_is_refused_sends_nothing() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let name = format!("{}/team/app", registry.host);
    let sandbox = with_busybox();
    write(&sandbox, BAD);
    sandbox.ok(["build", "-q", "-t", &name, "context"]);
    let refused = sandbox.run(["push", "--gate=production", &name]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("non-root-user") && refused.stderr.contains("pinned-base"),
        "{refused}"
    );
    assert!(!registry.requests().contains("PUT"), "{}", registry.requests());
    assert!(refused.stdout.is_empty(), "{refused}");

    from_scratch(&sandbox);
    sandbox.ok(["build", "-q", "-t", &name, "context"]);
    sandbox.ok(["push", "-q", "--gate=production", &name]);
}

#[test]
fn a_container_is_judged_with_how_it_would_run() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let path = sandbox.path("app.tar");
    Archive::new("app:1")
        .file("bin/app", "#!/bin/true\n", 0o755)
        .config(json!({
            "User": "65532",
            "Cmd": ["/bin/app"],
            "Healthcheck": {"Test": ["CMD", "/bin/app"]},
        }))
        .write_docker(&path);
    sandbox.ok(["load", "-q", "-i", path.as_str()]);
    let refused = sandbox.run([
        "create",
        "--gate=production",
        "--name=one",
        "-e",
        "TOKEN=hunter2-hunter2",
        "app:1",
    ]);
    assert_eq!(refused.code, 1, "{refused}");
    for part in [
        "limits: the container has no limit of memory, processor time, processes",
        "fix: set `--memory 512m`, `--cpus 1`, `--pids-limit 256`",
        "read-only: ",
        "no-secrets: the container gets a secret in the variable `TOKEN`",
    ] {
        assert!(refused.stderr.contains(part), "{part}\n{refused}");
    }
    assert!(!refused.stderr.contains("hunter2-hunter2"), "{refused}");
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
    let run = sandbox.run(["run", "--rm", "--gate=production", "app:1"]);
    assert_eq!(run.code, 125, "{run}");
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
    let allowed = [
        "create",
        "--gate=production",
        "--memory=64m",
        "--cpus=1",
        "--pids-limit=64",
        "--read-only",
        "app:1",
    ];
    let created = sandbox.run(allowed);
    assert_eq!(created.code, 0, "{created}");
}

#[test]
fn a_project_is_refused_as_a_whole() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    sandbox.write(
        "compose.yaml",
        "name: stack\nservices:\n  web:\n    image: busybox\n    command: [sleep, \"30\"]\n    privileged: true\n",
    );
    let refused = sandbox.run(["compose", "up", "-d", "--gate=production"]);
    assert_eq!(refused.code, 1, "{refused}");
    for part in [
        "policy `production` does not allow project `stack`",
        "service `web` runs as root",
        "service `web` has no limit of memory",
        "service `web` is privileged",
        "fix: set `mem_limit: 512m`, `cpus: 1`, `pids_limit: 256`",
    ] {
        assert!(refused.stderr.contains(part), "{part}\n{refused}");
    }
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
    assert!(
        !sandbox
            .ok(["network", "ls", "--format", "{{.Name}}"])
            .contains("stack")
    );
}

#[test]
fn a_project_may_ask_for_more_and_not_for_less() {
    needs!(root, overlay);
    let sandbox = sandbox();
    from_scratch(&sandbox);
    sandbox.write("plimsoll.toml", "[policy.production]\nmax-size = \"1B\"\n");
    let refused = sandbox.run(["build", "--gate=production", "-t", "app", "context"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("max-size: "), "{refused}");
    sandbox.write("plimsoll.toml", "\n[policy.production]\nhealthcheck = false\n");
    let refused = sandbox.run(["build", "--gate=production", "-t", "app", "context"]);
    assert_eq!(refused.code, 1, "{refused}");
    for part in ["plimsoll.toml:3", "may not loosen policy `production`", "hint: "] {
        assert!(refused.stderr.contains(part), "{part}\n{refused}");
    }
    std::fs::remove_file(sandbox.path("work/plimsoll.toml")).expect("it is there");
    assert_eq!(sandbox.ok(["images", "-q"]), "");
}

#[test]
fn what_a_project_says_of_rules_does_not_open_the_gate() {
    needs!(root, overlay);
    let sandbox = sandbox();
    from_scratch(&sandbox);
    write(
        &sandbox,
        &format!(
            "FROM scratch AS base\nCOPY app /app\n# plimsoll ignore=secret-in-env\nENV API_KEY=hunter2-hunter2\nFROM base\n{GOOD}"
        ),
    );
    sandbox.write("plimsoll.toml", "[check]\nignore = [\"secret-in-env\"]\n");
    let refused = sandbox.run(["build", "--gate=production", "-t", "app", "context"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("no-secrets: ") && !refused.stderr.contains("hunter2-hunter2"),
        "{refused}"
    );
}

#[test]
fn an_unknown_policy_is_an_error_before_anything_is_built() {
    needs!(root, overlay);
    let sandbox = sandbox();
    from_scratch(&sandbox);
    let error = sandbox.fails(1, ["build", "--gate=prodution", "-t", "app", "context"]);
    assert!(
        error.contains("there is no policy, and no file, called `prodution`"),
        "{error}"
    );
    assert!(error.contains("did you mean `production`?"), "{error}");
    assert!(!error.contains("COPY"), "{error}");
    sandbox.write("strict.toml", "helthcheck = true\n");
    let error = sandbox.fails(1, ["build", "--gate=strict.toml", "-t", "app", "context"]);
    assert!(
        error.contains("strict.toml:1:1") && error.contains("helthcheck"),
        "{error}"
    );
}
