//! Each instruction once, through the real pipeline.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use plimsoll_testkit::{Sandbox, needs};
use serde_json::{Value, json};

use crate::{build, build_files, build_ok, with_busybox};

fn config(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.ok(["inspect", "-f", "{{json .Config}}", "app"])).expect("JSON")
}

#[test]
fn metadata() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        r#"FROM busybox
ARG VERSION=1
ENV NAME=app VERSION_FILE=/v${VERSION} EMPTY=
LABEL a="b c" v=$VERSION
WORKDIR /srv
WORKDIR $NAME
USER 1000:1000
EXPOSE 8080 53/udp
VOLUME ["/data"]
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-ec"]
HEALTHCHECK --interval=5s --timeout=2s --start-period=1s --retries=4 CMD wget -q localhost
ENTRYPOINT ["/bin/app"]
CMD ["--port", "8080"]
"#,
        &["--build-arg", "VERSION=2", "--label", "c=d"],
    );
    let config = config(&sandbox);
    let env = config["Env"].as_array().unwrap();
    assert!(
        env.contains(&json!("NAME=app"))
            && env.contains(&json!("VERSION_FILE=/v2"))
            && env.contains(&json!("EMPTY=")),
        "{env:?}"
    );
    assert_eq!(config["Labels"], json!({"a": "b c", "v": "2", "c": "d"}));
    assert_eq!(config["WorkingDir"], "/srv/app");
    assert_eq!(config["User"], "1000:1000");
    assert_eq!(config["ExposedPorts"], json!({"53/udp": {}, "8080/tcp": {}}));
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["Shell"], json!(["/bin/sh", "-ec"]));
    assert_eq!(config["Entrypoint"], json!(["/bin/app"]));
    assert_eq!(config["Cmd"], json!(["--port", "8080"]));
    let health = &config["Healthcheck"];
    assert_eq!(health["Test"], json!(["CMD-SHELL", "wget -q localhost"]));
    assert_eq!(
        (&health["Interval"], &health["Timeout"]),
        (&json!(5_000_000_000_i64), &json!(2_000_000_000_i64))
    );
    assert_eq!(
        (&health["StartPeriod"], &health["Retries"]),
        (&json!(1_000_000_000), &json!(4))
    );
}

/// What Docker 28 shows of the same file, to the letter.
#[test]
fn history_is_written_as_buildkit_does() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        r#"FROM busybox
EXPOSE 80 53/udp 8000-8002
EXPOSE 90/TCP
ARG P=70
EXPOSE $P
SHELL ["/bin/ash", "-c"]
HEALTHCHECK --interval=5s --timeout=3s CMD wget -q "localhost" || exit 1
HEALTHCHECK --interval=1m30s --start-period=1s --start-interval=500ms --retries=2 CMD ["wget", "a b"]
HEALTHCHECK NONE
ONBUILD RUN echo "hi"   there
VOLUME /a /b
VOLUME ["/c d"]
STOPSIGNAL SIGINT
USER 1:2
MAINTAINER me
LABEL a="b c" d=e
ENV X="y z" W=1
ENV OLD style value
CMD echo hi
ENTRYPOINT ["/bin/x", "y<z"]
CMD ["a&b"]
WORKDIR /w
"#,
        &[],
    );
    let shown = sandbox.ok(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "app"]);
    let expected = r#"WORKDIR /w
CMD ["a&b"]
ENTRYPOINT ["/bin/x" "y<z"]
CMD ["/bin/ash" "-c" "echo hi"]
ENV OLD=style value
ENV X=y z W=1
LABEL a=b c d=e
MAINTAINER me
USER 1:2
STOPSIGNAL SIGINT
VOLUME [/c d]
VOLUME [/a /b]
HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\x00'}
HEALTHCHECK &{["CMD" "wget" "a b"] "1m30s" "0s" "1s" "500ms" '\x02'}
HEALTHCHECK &{["CMD-SHELL" "wget -q \"localhost\" || exit 1"] "5s" "3s" "0s" "0s" '\x00'}
SHELL [/bin/ash -c]
EXPOSE [70/tcp]
ARG P=70
EXPOSE [90/tcp]
EXPOSE [53/udp 80/tcp 8000/tcp 8001/tcp 8002/tcp]
"#;
    assert!(shown.starts_with(expected), "{shown}");
}

#[test]
fn shell_and_exec_forms() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let files = build_files(
        &sandbox,
        "FROM busybox AS b\nENV WHO=world\nRUN echo \"hello $WHO\" > /shell\nRUN [\"touch\", \"/exec $WHO\"]\nSHELL [\"/bin/sh\", \"-xc\"]\nRUN echo $0 > /other\nUSER 12:34\nWORKDIR /tmp/w\nRUN id -u > id; id -g >> id; pwd >> id\nFROM scratch\nCOPY --from=b /shell /exec* /other /tmp/w/id /\n",
        &[],
    );
    let text = |name: &str| fs::read_to_string(files.join(name)).unwrap();
    assert_eq!(text("shell"), "hello world\n");
    assert!(files.join("exec $WHO").exists());
    assert_eq!(text("id"), "12\n34\n/tmp/w\n");
}

#[test]
fn copy_and_add() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    for (name, content) in [
        ("a.txt", "a"),
        ("b.txt", "b"),
        ("c.md", "c"),
        ("folder/x", "x"),
        ("folder/sub/y", "y"),
        ("script", "#!"),
    ] {
        sandbox.write(&format!("context/{name}"), content);
    }
    std::os::unix::fs::symlink("x", sandbox.path("work/context/folder/link")).unwrap();
    let files = build_files(
        &sandbox,
        "FROM scratch\nCOPY *.txt /text/\nCOPY c.md /renamed\nCOPY folder /folder\nCOPY --chown=12:34 --chmod=0750 script /bin/script\nADD folder/sub /added/\nWORKDIR /here\nCOPY a.txt .\nCOPY [\"b.txt\", \"with space\"]\n",
        &[],
    );
    let text =
        |name: &str| fs::read_to_string(files.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (name, content) in [
        ("text/a.txt", "a"),
        ("text/b.txt", "b"),
        ("renamed", "c"),
        ("folder/x", "x"),
        ("folder/sub/y", "y"),
        ("added/y", "y"),
        ("here/a.txt", "a"),
        ("here/with space", "b"),
    ] {
        assert_eq!(text(name), content, "{name}");
    }
    assert!(!files.join("text/c.md").exists());
    assert_eq!(
        fs::read_link(files.join("folder/link")).unwrap().to_str(),
        Some("x")
    );
    let script = fs::metadata(files.join("bin/script")).unwrap();
    assert_eq!(script.permissions().mode() & 0o7777, 0o750);
    let plain = fs::metadata(files.join("folder/x")).unwrap();
    assert_eq!(
        (plain.uid(), plain.gid()),
        (0, 0),
        "the context's owners do not matter"
    );
}

#[test]
fn copy_sets_owners_by_number_and_name() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/file", "x");
    let log = build_ok(
        &sandbox,
        "FROM busybox\nRUN echo 'app:x:77:88::/:/bin/sh' >> /etc/passwd && echo 'crew:x:99:' >> /etc/group\nCOPY --chown=12:34 file /a\nCOPY --chown=app file /b\nCOPY --chown=app:crew file /c\nRUN stat -c %u:%g /a /b /c\n",
        &[],
    );
    for owner in ["12:34", "77:88", "77:99"] {
        assert!(
            log.lines().any(|line| line.ends_with(&format!(" {owner}"))),
            "{owner}\n{log}"
        );
    }
}

#[test]
fn copy_from_stage_number_and_image() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let files = build_files(
        &sandbox,
        "FROM busybox\nRUN echo 0 > /zero\nFROM busybox AS Named\nRUN echo n > /named\nFROM scratch\nCOPY --from=0 /zero /\nCOPY --from=named /named /\nCOPY --from=busybox /bin/busybox /bb\n",
        &[],
    );
    assert_eq!(fs::read_to_string(files.join("zero")).unwrap(), "0\n");
    assert_eq!(fs::read_to_string(files.join("named")).unwrap(), "n\n");
    assert!(fs::metadata(files.join("bb")).unwrap().len() > 100_000);
}

#[test]
fn from_takes_arguments_and_platforms() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "ARG BASE=nothing\nFROM --platform=linux/amd64 ${BASE}:latest AS first\nRUN echo 1 > /x\nFROM first\nRUN cat /x\n";
    build_ok(&sandbox, dockerfile, &["--build-arg", "BASE=busybox"]);
}

#[test]
fn removed_files_are_gone() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let files = build_files(
        &sandbox,
        "FROM busybox AS b\nRUN mkdir -p /d/sub && touch /d/a /d/sub/b /keep\nRUN rm -r /d && mkdir /d && touch /d/new\nFROM scratch\nCOPY --from=b /d /d\n",
        &[],
    );
    let names: Vec<_> = fs::read_dir(files.join("d"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["new"]);
}

#[test]
fn run_writes_to_image_paths_as_docker_lets_it() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = build(
        &sandbox,
        "FROM busybox\nRUN rm -rf /tmp && mkdir -m 1777 /tmp && cp /bin/busybox /bin/new && mv /bin/new /bin/busybox\nRUN ls /proc/self /dev/null /sys >/dev/null\n",
        &[],
    );
    assert_eq!(outcome.code, 0, "{outcome}");
}
