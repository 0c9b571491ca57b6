//! What RUN sees beside its stage's files: mounts of every type, secrets, networks, limits.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use plimsoll_testkit::{Outcome, Sandbox, needs};

use crate::{build, build_ok, with_busybox};

const SECRET: &str = "s3cr3t-value-nobody-may-see";

/// The lines that a step printed as `> text`.
fn said(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| line.split_once(" > "))
        .map(|(_, said)| said)
        .collect()
}

/// Files below `folder` that hold `bytes`.
fn holding(folder: &Path, bytes: &[u8], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            holding(&entry.path(), bytes, found);
        } else if kind.is_file()
            && fs::read(entry.path())
                .unwrap()
                .windows(bytes.len())
                .any(|window| window == bytes)
        {
            found.push(entry.path().display().to_string());
        }
    }
}

/// Names in the top layer of `app`.
fn top_layer(sandbox: &Sandbox) -> String {
    let folder = sandbox.path("work/saved");
    fs::create_dir_all(&folder).unwrap();
    sandbox.ok(["save", "-o", folder.join("app.tar").as_str(), "app"]);
    let sh = "cd $0 && tar xf app.tar && layer=$(tr ',' '\n' <manifest.json | grep -o 'blobs/sha256/[0-9a-f]*\\|[0-9a-f]*/layer.tar' | tail -1) && tar tf $layer";
    let output = std::process::Command::new("sh")
        .args(["-c", sh, folder.as_str()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn build_fails(sandbox: &Sandbox, dockerfile: &str, options: &[&str]) -> String {
    let outcome: Outcome = build(sandbox, dockerfile, options);
    assert_eq!(outcome.code, 1, "{outcome}");
    outcome.stderr
}

#[test]
fn a_cache_outlives_builds_and_no_cache() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = |step: &str| {
        format!(
            "FROM busybox\nRUN --mount=type=cache,target=/root/.cache/pip echo {step} >>/root/.cache/pip/log; sed 's/^/> /' /root/.cache/pip/log\n"
        )
    };
    assert_eq!(said(&build_ok(&sandbox, &dockerfile("one"), &[])), ["one"]);
    // Neither the mount point nor the folders above it stay behind.
    assert!(!top_layer(&sandbox).contains(".cache"), "{}", top_layer(&sandbox));
    assert_eq!(said(&build_ok(&sandbox, &dockerfile("two"), &[])), ["one", "two"]);
    assert_eq!(
        said(&build_ok(&sandbox, &dockerfile("two"), &["--no-cache"])),
        ["one", "two", "two"]
    );
    let other = build_ok(
        &sandbox,
        &dockerfile("three"),
        &["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=team"],
    );
    assert_eq!(said(&other), ["three"]);
}

#[test]
fn a_cache_begins_with_its_seed_and_belongs_to_whom_it_says() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let log = build_ok(
        &sandbox,
        "FROM busybox AS seed\nRUN mkdir -p /s/d && echo seeded >/s/d/f\nFROM busybox\n\
         RUN --mount=type=cache,id=a,target=/c,from=seed,source=/s,ro sed 's/^/> /' /c/d/f; touch /c/x 2>/dev/null || echo '> read-only'\n\
         RUN --mount=type=cache,id=b,target=/c,mode=0770,uid=7,gid=8 echo \"> $(stat -c '%a %u:%g' /c)\"\n\
         RUN --mount=type=cache,id=c,target=/c echo \"> $(stat -c '%a %u:%g' /c)\"\n",
        &[],
    );
    assert_eq!(said(&log), ["seeded", "read-only", "770 7:8", "755 0:0"]);
}

#[test]
fn locked_caches_exclude_and_private_ones_are_apart() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    // Each of two stages takes the cache and says so; a second one that comes in meanwhile would see the mark.
    let stages = |sharing: &str| {
        let stage = |name: &str| {
            format!(
                "FROM busybox AS {name}\nRUN --mount=type=cache,id=c,target=/c,sharing={sharing} : {name}; \
                 test -e /c/mark && echo '> not alone'; touch /c/mark; sleep 0.5; rm /c/mark; echo {name} >>/c/all; touch /{name}\n"
            )
        };
        format!(
            "{}{}FROM busybox\nCOPY --from=one /one /\nCOPY --from=two /two /\n\
             RUN --mount=type=cache,id=c,target=/c,sharing=shared echo \"> $(wc -l </c/all)\"\n",
            stage("one"),
            stage("two")
        )
    };
    assert_eq!(said(&build_ok(&sandbox, &stages("locked"), &[])), ["2"]);
    let sandbox = with_busybox();
    assert_eq!(said(&build_ok(&sandbox, &stages("private"), &[])), ["1"]);
}

#[test]
fn binds_show_stages_images_and_the_context() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/src/a", "kept");
    sandbox.write("context/src/b.log", "ignored");
    sandbox.write("context/.dockerignore", "**/*.log\n");
    let dockerfile = "FROM busybox AS one\nRUN mkdir /data && echo one >/data/f\n\
         FROM busybox\nWORKDIR /work\n\
         RUN --mount=source=src,target=in --mount=from=one,source=/data,target=/one,rw --mount=from=busybox,target=/image \
         echo \"> $(ls in) $(cat in/a /one/f | tr '\\n' ' ')$(test -x /image/bin/sh && echo image)\"; \
         touch in/x 2>/dev/null || echo '> read-only'; echo more >>/one/f && echo '> writable'; ls -n in/a | awk '{print \"> \" $3 $4}'\n\
         RUN echo \"> $(ls -d /work/in /one /image 2>/dev/null | wc -l)\"\n";
    std::os::unix::fs::chown(sandbox.path("work/context/src/a"), Some(1000), Some(1000)).unwrap();
    let log = build_ok(&sandbox, dockerfile, &[]);
    assert_eq!(
        said(&log),
        ["a keptone image", "read-only", "writable", "00", "0"]
    );
    // A file that is not mounted decides nothing; one that is does. What was written is gone.
    sandbox.write("context/other", "new");
    assert!(said(&build_ok(&sandbox, dockerfile, &[])).is_empty());
    sandbox.write("context/src/a", "changed");
    assert_eq!(
        said(&build_ok(&sandbox, dockerfile, &[]))[0],
        "a changedone image"
    );
}

#[test]
fn secrets_are_there_and_stay_nowhere() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let file = sandbox.write("token", format!("{SECRET}\n"));
    let dockerfile = "FROM busybox\n\
         RUN --mount=type=secret,id=tok --mount=type=secret,id=tok,env=TOKEN --mount=type=secret,id=none \
         --mount=type=secret,id=tok,target=/root/.npmrc,mode=0440,uid=5,gid=6 \
         ls -n /run/secrets /root/.npmrc | awk 'NF>4 {print \"> \" $1, $3, $4, $NF}'; \
         test \"$(echo \"$TOKEN\")\" = \"$(cat /run/secrets/tok)\" && echo '> equal'; cat /root/.npmrc; echo $TOKEN >&2\n\
         RUN test -z \"$TOKEN\" && ! test -e /run/secrets && ! test -e /root/.npmrc\n";
    let option = format!("id=tok,src={file}");
    let log = build_ok(&sandbox, dockerfile, &["--secret", &option]);
    assert_eq!(
        said(&log),
        ["-r--r----- 5 6 /root/.npmrc", "-r-------- 0 0 tok", "equal"]
    );
    assert!(log.contains("***") && !log.contains(SECRET), "{log}");
    // Another value is no reason to run again, and a build without it needs none when all is cached.
    fs::write(&file, "another").unwrap();
    assert!(said(&build_ok(&sandbox, dockerfile, &["--secret", &option])).is_empty());
    fs::write(&file, SECRET).unwrap();
    let failing = "FROM busybox\nRUN --mount=type=secret,id=tok cat /run/secrets/tok; echo; exit 3\n";
    let error = build_fails(&sandbox, failing, &["--secret", &option]);
    assert!(error.contains("***") && !error.contains(SECRET), "{error}");
    let log = error
        .lines()
        .find_map(|line| line.split_once("all of its output is in "))
        .expect("names the log")
        .1;
    assert_eq!(
        fs::read_to_string(log).unwrap(),
        "# [2/2] RUN --mount=type=secret,id=tok cat /run/secrets/tok; echo; exit 3\n***\n"
    );
    let mut found = Vec::new();
    holding(sandbox.root().as_std_path(), SECRET.as_bytes(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_secret_that_is_required_is_asked_for() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let error = build_fails(
        &sandbox,
        "FROM busybox\nRUN --mount=type=secret,id=tok,required true\n",
        &[],
    );
    assert!(
        error.contains("secret `tok` is required and was not given"),
        "{error}"
    );
    assert!(
        error.contains("--secret id=tok,src=FILE") && error.contains("Dockerfile:2:13"),
        "{error}"
    );
}

#[test]
fn ssh_leads_to_the_agent() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let path = sandbox.path("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let agent = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 4];
        stream.read_exact(&mut asked).unwrap();
        stream.write_all(b"> answer\n").unwrap();
        asked
    });
    let option = format!("default={path}");
    let dockerfile = "FROM busybox\nRUN --mount=type=ssh,mode=0666,uid=3 echo \"> $SSH_AUTH_SOCK $(stat -c '%a %u' $SSH_AUTH_SOCK)\"; \
         printf ping | nc local:$SSH_AUTH_SOCK\nRUN test -z \"$SSH_AUTH_SOCK\"\n";
    let outcome = build(&sandbox, dockerfile, &["--ssh", &option]);
    // Busybox may come without a netcat for local sockets; then the mount alone is what can be seen.
    let log = &outcome.stderr;
    assert_eq!(said(log)[0], "/run/buildkit/ssh_agent.0 666 3", "{outcome}");
    if outcome.code == 0 {
        assert_eq!(said(log)[1], "answer");
        assert_eq!(&agent.join().unwrap(), b"ping");
    }
    let error = build_fails(
        &sandbox,
        "FROM busybox\nRUN --mount=type=ssh,required true\n",
        &[],
    );
    assert!(error.contains("ssh agent `default` is required"), "{error}");
}

#[test]
fn memory_limits_networks_and_rights() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let log = build_ok(
        &sandbox,
        "FROM busybox\n\
         RUN --mount=type=tmpfs,target=/t,size=2m echo \"> $(df -k /t | awk 'END {print $2}')\"; cp /bin/busybox /t/sh 2>/dev/null; echo x >/t/x\n\
         RUN test ! -e /t\n\
         RUN --network=none echo \"> $(ls /sys/class/net)\"\n\
         RUN echo \"> $(ulimit -n) $(df -k /dev/shm | awk 'END {print $2}')\"\n\
         RUN grep -q gateway.example /etc/hosts && echo '> gateway'\n\
         RUN --security=insecure echo \"> $(grep CapEff /proc/self/status | grep -c '[13]ff')\"\n",
        &[
            "--ulimit",
            "nofile=321:654",
            "--shm-size",
            "3m",
            "--add-host",
            "gateway.example=host-gateway",
            "--allow",
            "security.insecure",
        ],
    );
    assert_eq!(said(&log), ["2048", "lo", "321 3072", "gateway", "1"]);
    let error = build_fails(&sandbox, "FROM busybox\nRUN --network=host true\n", &[]);
    assert!(error.contains("--allow network.host"), "{error}");
    let error = build_fails(&sandbox, "FROM busybox\nRUN --security=insecure true\n", &[]);
    assert!(error.contains("--allow security.insecure"), "{error}");
    build_ok(
        &sandbox,
        "FROM busybox\nRUN --network=host true\n",
        &["--allow", "network.host"],
    );
}

#[test]
fn here_documents_are_scripts() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\n\
         RUN <<EOF\n#!/bin/awk -f\nBEGIN { print \"> awk\" }\nEOF\n\
         RUN <<EOF\necho '> shell'\necho \"> $0\"\nEOF\n\
         RUN cat <<A && cat <<B\n> first\nA\n> second\nB\n";
    assert_eq!(
        said(&build_ok(&sandbox, dockerfile, &[])),
        ["awk", "shell", "/bin/sh", "first", "second"]
    );
    let windows =
        "FROM busybox\nRUN <<EOF\n#!/bin/sh -e\necho '> script'\nEOF\nRUN <<EOF\necho '> shell'\nEOF\n";
    assert_eq!(
        said(&build_ok(&sandbox, &windows.replace('\n', "\r\n"), &[])),
        ["script", "shell"]
    );
}

#[test]
fn mistakes_in_a_mount_are_shown_where_they_are() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let error = build_fails(
        &sandbox,
        "FROM busybox\nRUN --mount=type=cache,targte=/x true\n",
        &[],
    );
    assert!(
        error.contains("Dockerfile:2:24") && error.contains("did you mean `target`?"),
        "{error}"
    );
    let error = build_fails(
        &sandbox,
        "FROM busybox AS build\nRUN true\nFROM busybox\nRUN --mount=from=biuld,target=/x true\n",
        &[],
    );
    assert!(error.contains("did you mean `build`?"), "{error}");
    let error = build_fails(
        &sandbox,
        "FROM busybox\nRUN --mount=source=none,target=/x true\n",
        &[],
    );
    assert!(
        error.contains("`/none` not found in the build context") && error.contains("Dockerfile:2:20"),
        "{error}"
    );
}

#[test]
fn a_shell_after_an_error_needs_a_terminal() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = build(&sandbox, "FROM busybox\nRUN false\n", &["--on-error", "shell"]);
    assert!(
        outcome.stderr.contains("`--on-error shell` needs a terminal"),
        "{outcome}"
    );
}
