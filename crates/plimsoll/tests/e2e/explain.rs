//! Why steps ran, and the history of builds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use plimsoll_testkit::{BaseRegistry, Sandbox, needs};
use serde_json::Value;

use crate::{build, build_ok, sandbox, wait_for, with_busybox};

/// Builds and returns what `--explain` says, and nothing else.
#[track_caller]
fn explained(sandbox: &Sandbox, dockerfile: &str, options: &[&str]) -> String {
    sandbox.write("context/Dockerfile", dockerfile);
    let args = ["build", "--progress=quiet", "--explain", "-t", "app"];
    let outcome = sandbox.run(args.iter().chain(options).chain(&["context"]));
    assert_eq!(outcome.code, 0, "{outcome}");
    let hidden = outcome.stderr.trim_start().to_owned();
    let digest = |text: String, algorithm: &str| {
        let mut parts = text.split(algorithm).map(str::to_owned).collect::<Vec<_>>();
        parts[1..].iter_mut().for_each(|part| {
            let end = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
            assert_eq!(end, 12, "{text}");
            part.replace_range(..end, "[DIGEST]");
        });
        parts.join(algorithm)
    };
    digest(digest(hidden, "blake3:"), "sha256:")
}

/// The explanation of the last build as JSON.
#[track_caller]
fn last(sandbox: &Sandbox) -> Value {
    let text = sandbox.ok(["builder", "history", "explain", "--format", "json"]);
    serde_json::from_str(&text).unwrap()
}

/// The causes of the step that does `instruction`.
#[track_caller]
fn causes(explanation: &Value, instruction: &str) -> Vec<Value> {
    let steps = explanation["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["name"].as_str().unwrap().contains(instruction));
    step.unwrap_or_else(|| panic!("{explanation}"))["causes"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn one_file_of_two_thousand() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nCOPY src /src\nRUN ls /src >/list\n";
    for number in 0..2000 {
        sandbox.write(
            &format!("context/src/{}/{number}.txt", number % 20),
            format!("{number}\n"),
        );
    }
    build_ok(&sandbox, dockerfile, &[]);
    sandbox.write("context/src/7/1007.txt", "abc");
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    2 of 3 steps ran, 1 came from the cache

    [2/3] COPY src /src
      `src/7/1007.txt` has other content: blake3:[DIGEST] -> blake3:[DIGEST]

    [3/3] RUN ls /src >/list
      it builds on `[2/3] COPY src /src`, which came to other files
    ");
    let forth = causes(&last(&sandbox), "COPY src");
    assert_eq!(forth.len(), 1, "{forth:?}");
    assert_eq!(
        (&forth[0]["path"], &forth[0]["change"]),
        (&"src/7/1007.txt".into(), &"content".into())
    );
    // What b3sum(1) says of `abc`.
    assert_eq!(
        forth[0]["new"],
        "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    );
    sandbox.write("context/src/7/1007.txt", "third\n");
    build_ok(&sandbox, dockerfile, &[]);
    let back = causes(&last(&sandbox), "COPY src");
    assert_eq!(back.len(), 1);
    assert_eq!(back[0]["old"], forth[0]["new"]);
    assert_eq!(
        explained(&sandbox, dockerfile, &[]),
        "3 steps: nothing had to run\n"
    );
}

#[test]
fn a_build_argument_names_the_first_step_that_saw_it() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "\
FROM busybox
RUN echo one >/one
WORKDIR /work
ARG VERSION=1
RUN echo $VERSION >/version
RUN echo two >/two
";
    build_ok(&sandbox, dockerfile, &["--build-arg", "VERSION=1"]);
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &["--build-arg", "VERSION=2"]), @"
    2 of 5 steps ran, 3 came from the cache

    [4/5] RUN echo $VERSION >/version
      ARG `VERSION` changed: `1` -> `2`; this is the first step that sees it

    [5/5] RUN echo two >/two
      ARG `VERSION` changed: `1` -> `2`; `[4/5] RUN echo $VERSION >/version` was the first to see it
      it builds on `[4/5] RUN echo $VERSION >/version`, which came to other files
    ");
}

#[test]
fn an_argument_of_a_copy_and_of_from() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok(["tag", "busybox", "base:1"]);
    build_ok(&sandbox, "FROM busybox\nRUN touch /other\n", &["-t", "base:2"]);
    sandbox.write("context/a.txt", "a");
    sandbox.write("context/b.txt", "b");
    let dockerfile = "ARG BASE=1\nFROM base:${BASE}\nARG NAME\nCOPY $NAME.txt /\n";
    build_ok(&sandbox, dockerfile, &["--build-arg", "NAME=a"]);
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &["--build-arg", "NAME=b"]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] COPY $NAME.txt /
      ARG `NAME` changed: `a` -> `b`; this is the first step that sees it
    ");
    insta::assert_snapshot!(
        explained(&sandbox, dockerfile, &["--build-arg", "NAME=b", "--build-arg", "BASE=2"]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] COPY $NAME.txt /
      ARG `BASE` changed: `1` -> `2`; this is the first step that sees it
      the base image is `base:2`, was `base:1`: sha256:[DIGEST] -> sha256:[DIGEST]
    ");
}

#[test]
fn values_of_credentials_are_not_shown() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nARG API_TOKEN\nRUN true\n";
    build_ok(&sandbox, dockerfile, &["--build-arg", "API_TOKEN=first-value"]);
    let text = explained(&sandbox, dockerfile, &["--build-arg", "API_TOKEN=second-value"]);
    assert!(
        text.contains("ARG `API_TOKEN` changed; its value is not shown"),
        "{text}"
    );
    for command in ["explain", "inspect"] {
        let json = sandbox.ok(["builder", "history", command, "--format", "json"]);
        assert!(
            !json.contains("first-value") && !json.contains("second-value"),
            "{json}"
        );
    }
}

#[test]
fn a_base_image_pulled_again() {
    needs!(root, overlay, tool = "docker-registry");
    let registry = BaseRegistry::serve(&["none"], &[]);
    let name = format!("{}/base:1", registry.host);
    let elsewhere = with_busybox();
    build_ok(&elsewhere, "FROM busybox\nRUN echo 1 >/version\n", &["-t", &name]);
    elsewhere.ok(["push", &name]);
    let sandbox = sandbox();
    let dockerfile =
        format!("FROM {name} AS build\nRUN cat /version >/copy\nFROM scratch\nCOPY --from=build /copy /\n");
    build_ok(&sandbox, &dockerfile, &[]);
    build_ok(&elsewhere, "FROM busybox\nRUN echo 2 >/version\n", &["-t", &name]);
    elsewhere.ok(["push", &name]);
    let text = explained(&sandbox, &dockerfile, &["--pull"]).replace(&name, "[NAME]");
    insta::assert_snapshot!(text, @"
    2 of 3 steps ran, 1 came from the cache

    [build 2/2] RUN cat /version >/copy
      the base image `[NAME]` is another one: sha256:[DIGEST] -> sha256:[DIGEST]

    [stage-1 2/2] COPY --from=build /copy /
      `/copy` has other content: blake3:[DIGEST] -> blake3:[DIGEST]
    ");
    let cause = &causes(&last(&sandbox), "RUN cat")[0];
    let digest = |field: &str| cause[field].as_str().unwrap().to_owned();
    assert_ne!(digest("old"), digest("new"));
    assert!(digest("old").starts_with("sha256:"), "{cause}");
    let repo_digests = sandbox.ok(["inspect", "-f", "{{.RepoDigests}}", &name]);
    assert!(repo_digests.contains(&digest("new")), "{repo_digests} {cause}");
}

#[test]
fn a_mode_under_another_umask() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let file = sandbox.write("context/run.sh", "#!/bin/sh\n");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let dockerfile = "FROM busybox\nCOPY run.sh /\n";
    mode(0o644);
    build_ok(&sandbox, dockerfile, &[]);
    mode(0o640);
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] COPY run.sh /
      `run.sh` has another mode: 0644 -> 0640
    ");
}

#[test]
fn an_ignore_file_that_let_a_folder_in() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    for name in ["docs/index.md", "docs/img/a.svg", "main.c"] {
        sandbox.write(&format!("context/{name}"), name);
    }
    sandbox.write(
        "context/.dockerignore",
        "# not wanted\nDockerfile\n.dockerignore\ndocs\n",
    );
    let dockerfile = "FROM busybox\nCOPY . /src\n";
    build_ok(&sandbox, dockerfile, &[]);
    sandbox.write("context/.dockerignore", "Dockerfile\n.dockerignore\n");
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] COPY . /src
      `docs/` is new, with 2 files: `docs` in context/.dockerignore:4 left it out before
    ");
    sandbox.write("context/.dockerignore", "Dockerfile\n.dockerignore\ndocs/img\n");
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] COPY . /src
      `docs/img/` is gone, with 1 file: `docs/img` in context/.dockerignore:3 leaves it out
    ");
}

#[test]
fn a_cache_mount_that_was_removed() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "\
FROM busybox
COPY input /
RUN --mount=type=cache,id=deps,target=/cache cp /input /cache/ && ls /cache >/list
";
    sandbox.write("context/input", "1");
    build_ok(&sandbox, dockerfile, &[]);
    sandbox.ok(["builder", "prune", "-f", "--filter", "type=exec.cachemount"]);
    assert_eq!(
        explained(&sandbox, dockerfile, &[]),
        "3 steps: nothing had to run\n",
        "it is in no key"
    );
    sandbox.write("context/input", "2");
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    2 of 3 steps ran, 1 came from the cache

    [2/3] COPY input /
      `input` has other content: blake3:[DIGEST] -> blake3:[DIGEST]

    [3/3] RUN --mount=type=cache,id=deps,target=/cache cp /input /cache/ && ls /cache >/list
      it builds on `[2/3] COPY input /`, which came to other files
      its cache mount `deps` was removed since then: it began empty
    ");
    sandbox.write("context/input", "3");
    let kept = explained(&sandbox, dockerfile, &[]);
    assert!(!kept.contains("cache mount"), "{kept}");
}

#[test]
fn two_causes_at_once() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/input", "1");
    let dockerfile =
        "FROM busybox\nENV MODE=fast\nCOPY input /\nRUN --mount=type=bind,source=input,target=/all true\n";
    build_ok(&sandbox, dockerfile, &[]);
    sandbox.write("context/input", "2");
    let changed = dockerfile.replace("fast", "small");
    insta::assert_snapshot!(explained(&sandbox, &changed, &[]), @"
    2 of 3 steps ran, 1 came from the cache

    [2/3] COPY input /
      `input` has other content: blake3:[DIGEST] -> blake3:[DIGEST]

    [3/3] RUN --mount=type=bind,source=input,target=/all true
      ENV `MODE` changed: `fast` -> `small`; this is the first step that sees it
      it builds on `[2/3] COPY input /`, which came to other files
      `input` has other content: blake3:[DIGEST] -> blake3:[DIGEST]
    ");
}

#[test]
fn results_that_are_gone_failures_and_new_steps() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nRUN echo one >/one\n";
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] RUN echo one >/one
      no earlier build of this Dockerfile and context is known
    ");
    sandbox.ok(["rmi", "app"]);
    sandbox.ok(["builder", "prune", "-af"]);
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] RUN echo one >/one
      nothing changed, but its result was removed from the cache
    ");
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &["--no-cache"]), @"
    1 of 2 steps ran, 1 came from the cache

    [2/2] RUN echo one >/one
      asked for: `--no-cache` or `--no-cache-filter`
    ");
    let longer =
        format!("{dockerfile}RUN test -e /go || cat /list; [ -z \"$(cat /flag 2>/dev/null)\" ] && false\n");
    let failed = build(&sandbox, &longer, &["--explain"]);
    assert_eq!(failed.code, 1);
    assert!(
        failed.stderr.contains("no earlier build had this step"),
        "{failed}"
    );
    let again = build(&sandbox, &longer, &["--explain"]);
    assert!(again.stderr.contains("it failed the last time"), "{again}");
    let edited = dockerfile.replace("echo one", "echo  two");
    let text = explained(&sandbox, &edited, &[]);
    assert!(
        text.contains("the instruction changed: `RUN echo one >/one` -> `RUN echo two >/one`"),
        "{text}"
    );
}

#[test]
fn files_of_a_stage_are_named() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "\
FROM busybox AS build
COPY input /in
RUN mkdir /out && cp /in /out/app && echo same >/out/same && date >/date
FROM scratch
COPY --from=build /out /
";
    sandbox.write("context/input", "1");
    build_ok(&sandbox, dockerfile, &[]);
    // Found by its definition: it looks at no file.
    build_ok(&sandbox, dockerfile, &[]);
    sandbox.write("context/input", "2");
    insta::assert_snapshot!(explained(&sandbox, dockerfile, &[]), @"
    3 of 4 steps ran, 1 came from the cache

    [build 2/3] COPY input /in
      `input` has other content: blake3:[DIGEST] -> blake3:[DIGEST]

    [build 3/3] RUN mkdir /out && cp /in /out/app && echo same >/out/same && date >/date
      it builds on `[build 2/3] COPY input /in`, which came to other files

    [stage-1 2/2] COPY --from=build /out /
      `/out/app` has other content: blake3:[DIGEST] -> blake3:[DIGEST]
    ");
}

#[test]
fn json_goes_with_json() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = build(
        &sandbox,
        "FROM busybox\nRUN true\n",
        &["--progress=json", "--explain"],
    );
    let last: Value = serde_json::from_str(outcome.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(last["steps"][1]["causes"][0]["cause"], "first-build", "{last}");
    assert_eq!(last["steps"][1]["outcome"], "ran");
}

#[test]
fn builds_are_remembered() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nRUN echo to-stdout; echo to-stderr >&2\n";
    build_ok(&sandbox, dockerfile, &["--build-arg", "X=1"]);
    let failed = build(&sandbox, "FROM busybox\nRUN echo oh && false\n", &[]);
    assert_eq!(failed.code, 1);
    let table = sandbox.ok(["builder", "history", "ls"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("BUILD ID"), "{table}");
    let columns: Vec<&str> = lines[0]
        .split("  ")
        .filter(|word| !word.is_empty())
        .map(str::trim)
        .collect();
    assert_eq!(columns, ["BUILD ID", "NAME", "STATUS", "CREATED AT", "DURATION"]);
    assert!(
        lines[1].contains("Error") && lines[2].contains("Completed"),
        "{table}"
    );
    let json = sandbox.ok([
        "buildx",
        "history",
        "ls",
        "--format",
        "json",
        "--filter",
        "status=completed",
    ]);
    let build: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(
        (&build["total_steps"], &build["completed_steps"]),
        (&2.into(), &2.into())
    );
    let id = build["ref"].as_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!(id.len(), 25);

    let log = sandbox.run(["builder", "history", "logs", &id[..10]]).stderr;
    assert!(
        log.contains("[2/2] RUN echo to-stdout; echo to-stderr >&2\n"),
        "{log}"
    );
    assert!(
        log.contains(" to-stdout\n") && log.contains(" to-stderr\n") && log.contains(" DONE "),
        "{log}"
    );
    let raw = sandbox
        .run(["builder", "history", "logs", "--progress=rawjson", id])
        .stderr;
    let logs = raw.lines().filter(|line| line.starts_with("{\"logs\"")).count();
    assert!(logs >= 1, "{raw}");

    let inspected: Value =
        serde_json::from_str(&sandbox.ok(["buildx", "history", "inspect", "--format", "json", id])).unwrap();
    assert_eq!(inspected["Status"], "completed");
    assert_eq!(inspected["BuildArgs"][0]["Name"], "X");
    assert_eq!(inspected["Record"]["steps"].as_array().unwrap().len(), 2);
    let shown = sandbox.ok(["builder", "history", "inspect"]);
    assert!(
        shown.contains("did not complete successfully: exit code: 1"),
        "{shown}"
    );
    assert_eq!(
        sandbox
            .ok(["builder", "history", "inspect", "--format", "{{.Ref}}", "^1"])
            .trim(),
        id
    );

    let unknown = sandbox.fails(1, ["builder", "history", "logs", "nothing-such"]);
    assert!(unknown.contains("builder history ls"), "{unknown}");
    sandbox.ok(["builder", "history", "rm", id]);
    assert_eq!(sandbox.ok(["builder", "history", "ls", "-q"]).lines().count(), 1);
    sandbox.ok(["builder", "history", "rm", "--all"]);
    assert_eq!(sandbox.ok(["builder", "history", "ls", "-q"]), "");
    let nothing = sandbox.fails(1, ["builder", "history", "inspect"]);
    assert!(nothing.contains("no build is remembered yet"), "{nothing}");
}

#[test]
fn builds_that_are_given_up_or_killed_are_remembered_as_canceled() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN echo begun && sleep 60\n");
    for (signal, has_record) in [
        (rustix::process::Signal::INT, true),
        (rustix::process::Signal::KILL, false),
    ] {
        let mut child = sandbox.command(["build", "context"]).spawn().unwrap();
        let running = || sandbox.ok(["builder", "history", "ls", "--filter", "status=running", "-q"]);
        let id = wait_for("the build runs", 20, || {
            Some(running()).filter(|ids| !ids.is_empty())
        });
        let id = id.trim();
        let log = sandbox.root().join("builds").join(id).join("log/01.log");
        wait_for("its step runs", 20, || {
            fs::read_to_string(&log)
                .ok()
                .filter(|log| log.contains("begun\n"))
        });
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        child.wait().unwrap();
        let inspected = sandbox.run(["builder", "history", "inspect", "--format", "{{.Status}}", id]);
        match has_record {
            true => assert_eq!(inspected.stdout, "canceled\n", "{inspected}"),
            false => assert!(inspected.stderr.contains("was killed"), "{inspected}"),
        }
        let list = sandbox.ok(["builder", "history", "ls", "--format", "{{.Ref}} {{.Status}}"]);
        assert!(list.contains(&format!("{id} Canceled")), "{list}");
        assert!(!sandbox.root().join("builds").join(id).join("scratch").exists());
    }
    let text = explained(&sandbox, "FROM busybox\nRUN echo begun && sleep 0\n", &[]);
    assert!(text.contains("the instruction changed"), "{text}");
}
