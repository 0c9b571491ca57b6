//! Hostile files: what a container, an image, an archive or a context would have our own commands do on the host.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use plimsoll_testkit::{Outcome, Sandbox, needs};

use crate::hostile::{Thing, archive};
use crate::{build, build_ok, sandbox, wait_for, with_busybox};

const SECRET: &str = "of the host, and nobody else's";

/// A folder of the host with a secret in it, where nothing else may ever be.
struct Outside(Utf8PathBuf);

impl Outside {
    fn new(sandbox: &Sandbox) -> Self {
        let folder = sandbox.path("outside");
        fs::create_dir_all(folder.join("etc")).unwrap();
        fs::write(folder.join("secret"), SECRET).unwrap();
        Self(folder)
    }

    #[track_caller]
    fn is_untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["etc", "secret"]);
        assert_eq!(fs::read_dir(self.0.join("etc")).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(self.0.join("secret")).unwrap(), SECRET);
    }
}

fn start(sandbox: &Sandbox, name: &str, options: &[&str], script: &str) {
    let run = ["run", "-d", "--network", "none", "--name", name];
    let program = ["busybox", "sh", "-c", script];
    sandbox
        .run(run.iter().chain(options).chain(&program))
        .success("a container");
}

#[test]
fn a_part_of_a_volume_is_never_a_part_of_the_host() {
    // CVE-2021-25741, CVE-2023-3955 and their kin: the path to it becomes a link once it was looked at.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    start(
        &sandbox,
        "owner",
        &["-v", "data:/data"],
        "mkdir -p /data/a/b /data/_data/b; echo mine > /data/a/b/secret; sleep 1000",
    );
    let shell = |script: &str| sandbox.ok(["exec", "owner", "sh", "-c", script]);
    wait_for("the folders", 10, || {
        (shell("ls /data/a/b") == "secret\n").then_some(())
    });
    let mount = |path: &str| format!("type=volume,source=data,target=/part,volume-subpath={path}");
    let look = ["sh", "-c", "cat /part/secret; echo theirs > /part/written"];
    for (name, path) in [("one", "a/b"), ("two", "a"), ("three", "_data/b")] {
        let args = [
            "create",
            "--network",
            "none",
            "--name",
            name,
            "--mount",
            &mount(path),
            "busybox",
        ];
        sandbox.run(args.iter().chain(&look)).success("create");
    }
    assert_eq!(sandbox.ok(["start", "-a", "one"]), "mine\n");
    shell(&format!(
        "rm -rf /data/a /data/_data; ln -s {0} /data/a; ln -s {0} /data/_data",
        outside.0.parent().unwrap()
    ));
    let other = [
        "create",
        "--network",
        "none",
        "--name",
        "four",
        "--mount",
        &mount("outside"),
        "busybox",
        "true",
    ];
    assert_ne!(sandbox.run(other).code, 0);
    for name in ["one", "two", "three"] {
        let outcome = sandbox.run(["start", "-a", name]);
        assert!(
            outcome.code != 0 && !outcome.stdout.contains(SECRET),
            "{name}\n{outcome}"
        );
        let _ = sandbox.run(["cp", &format!("{name}:/part/."), "copied"]);
        assert!(!sandbox.path("work/copied/secret").exists());
        let _ = sandbox.run(["cp", "plimsoll.toml", &format!("{name}:/part/put")]);
    }
    shell("rm /data/a; mkdir -p /data/a; ln -s / /data/a/b");
    assert_ne!(sandbox.run(["start", "-a", "one"]).code, 0);
    outside.is_untouched();
    sandbox.ok(["rm", "-f", "owner"]);
}

#[test]
fn an_empty_volume_is_filled_where_nobody_can_interfere() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    let dockerfile = "FROM busybox\nRUN for d in a b c d e f; do mkdir -p /full/$d; for n in $(seq 300); do echo evil > /full/$d/$n; done; done\n";
    build_ok(&sandbox, dockerfile, &["--network", "none"]);
    for round in 0..4 {
        let volume = format!("data{round}");
        // Whatever appears is put aside, with a link in its place.
        let script = format!(
            "while :; do for d in a b c d e f; do [ -d /data/$d -a ! -L /data/$d ] && mv /data/$d /data/.$d && ln -s {} /data/$d; \
             done; done",
            outside.0.join("etc")
        );
        start(&sandbox, "racer", &["-v", &format!("{volume}:/data")], &script);
        sandbox.ok([
            "run",
            "--rm",
            "--network",
            "none",
            "-v",
            &format!("{volume}:/full"),
            "app",
            "true",
        ]);
        sandbox.ok(["rm", "-f", "racer"]);
        outside.is_untouched();
    }
}

#[test]
fn copies_follow_no_link_that_is_put_in_their_way() {
    // CVE-2018-15664: a directory becomes a link between the look at it and its use.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    let script = format!(
        "mkdir -p /w/real/etc; ln -s {} /w/link; while :; do mv /w/real /w/x; mv /w/link /w/real; mv /w/real /w/link; mv /w/x /w/real; done",
        outside.0
    );
    start(&sandbox, "up", &[], &script);
    sandbox.write("payload/etc/evil", "evil");
    let end = Instant::now() + Duration::from_secs(5);
    let mut copied = 0;
    while Instant::now() < end {
        copied += u32::from(sandbox.run(["cp", "payload/.", "up:/w/real"]).code == 0);
        let _ = sandbox.run(["cp", "payload/etc/evil", "up:/w/real/etc/evil"]);
        let out = sandbox.path("work/out");
        let _ = fs::remove_file(&out);
        let _ = fs::remove_dir_all(&out);
        if sandbox.run(["cp", "up:/w/real", "out"]).code == 0 && !out.is_symlink() {
            assert!(!out.join("secret").exists(), "a file of the host came out");
        }
        let taken = sandbox.run(["cp", "up:/w/real", "-"]);
        assert!(!taken.stdout.contains(SECRET));
        outside.is_untouched();
    }
    assert!(copied > 0, "never won, never lost: nothing was tried");
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn what_is_read_of_a_running_container_is_its_own() {
    // export, commit and diff read its layer on the host while it changes.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    fs::write(outside.0.join("etc/shadow"), SECRET).unwrap();
    // Files there are links here, folders there are links here, and a disk that is called like a file.
    let script = format!(
        "mkdir -p /w/real; for n in $(seq 50); do mkdir /w/real/$n; echo own > /w/real/$n/shadow; done; ln -s {0} /w/link; \
         while :; do for n in $(seq 50); do mv /w/real/$n /w/x; ln -s {0} /w/real/$n; rm /w/real/$n; mv /w/x /w/real/$n; done; done",
        outside.0.join("etc")
    );
    start(&sandbox, "up", &[], &script);
    let end = Instant::now() + Duration::from_secs(6);
    let mut made = 0;
    while Instant::now() < end {
        let exported = sandbox.run(["export", "up"]);
        assert!(!exported.stdout.contains(SECRET), "export");
        let changed = sandbox.run(["diff", "up"]);
        assert!(!changed.stdout.contains("secret"), "diff");
        if sandbox.run(["commit", "up", "taken"]).code == 0 {
            made += 1;
            let out = sandbox.path("work/taken.tar");
            sandbox.ok(["save", "-o", out.as_str(), "taken"]);
            assert!(
                !String::from_utf8_lossy(&fs::read(&out).unwrap()).contains(SECRET),
                "commit"
            );
        }
    }
    eprintln!("{made} images were made meanwhile");
    sandbox.ok(["rm", "-f", "up"]);
}

#[test]
fn nothing_that_an_image_brings_runs_on_the_host() {
    // CVE-2019-14271: cp ran the container's libraries as root of the host. Devices and pipes that would act or hold.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let things = [
        Thing::Folder("etc"),
        Thing::Fifo("etc/hosts"),
        Thing::Device("etc/nsswitch.conf"),
        Thing::Fifo("etc/resolv.conf"),
        Thing::Link("etc/hostname", "/proc/self/exe"),
        Thing::Device("disk"),
        Thing::Fifo("pipe"),
        Thing::Folder("lib"),
        Thing::File("lib/libnss_files.so.2", b"evil"),
    ];
    sandbox.write("context/evil.tar", archive(&things));
    build_ok(
        &sandbox,
        "FROM scratch\nCOPY --from=busybox /bin /bin\nADD evil.tar /\n",
        &[],
    );
    sandbox.ok([
        "create",
        "--name",
        "up",
        "--network",
        "none",
        "app",
        "sleep",
        "1000",
    ]);
    for running in [false, true] {
        if running {
            let outcome = sandbox.run(["start", "up"]);
            if outcome.code != 0 {
                break;
            }
        }
        sandbox.ok(["cp", "up:/disk", "-"]);
        let all = sandbox.path("work/all");
        let _ = fs::remove_dir_all(&all);
        let _ = sandbox.run(["cp", "up:/etc", "all"]);
        let followed = sandbox.run(["cp", "-L", "up:/etc/hostname", "exe"]);
        let taken = fs::read(sandbox.path("work/exe")).unwrap_or_default();
        assert!(
            followed.code != 0 || taken.len() < 2_000_000,
            "our own program came out"
        );
        assert_eq!(sandbox.run(["export", "-o", "all.tar", "up"]).code, 0);
    }
    sandbox.ok(["rm", "-f", "up"]);
}

/// An image archive in Docker's form, from its parts.
fn image(manifest: &str, parts: &[Thing<'_>]) -> Vec<u8> {
    let mut things = vec![Thing::File("manifest.json", manifest.as_bytes())];
    things.extend(parts);
    archive(&things)
}

#[test]
fn image_archives_reach_nothing_but_themselves() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let outside = Outside::new(&sandbox);
    let secret = outside.0.join("secret");
    let config = r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#;
    let manifest = |config: &str, layer: &str| {
        format!(r#"[{{"Config":"{config}","RepoTags":["evil:1"],"Layers":["{layer}"]}}]"#)
    };
    let config_file = Thing::File("config.json", config.as_bytes());
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let deep_config = format!(
        r#"{{"architecture":"amd64","os":"linux","x":{deep},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
    );
    let bomb = {
        // A gigabyte of zeros in a megabyte, twice over, which is no archive at all.
        let mut inner = std::process::Command::new("sh");
        inner.args(["-c", "head -c 300000000 /dev/zero | gzip -1 | gzip -1"]);
        inner.output().unwrap().stdout
    };
    let up = format!("../../../../../../../../../..{secret}");
    let archives: Vec<(&str, Vec<u8>)> = vec![
        (
            "parts by absolute paths",
            image(&manifest(secret.as_str(), secret.as_str()), &[]),
        ),
        ("parts by paths that go up", image(&manifest(&up, &up), &[])),
        (
            "a layer that is a link",
            image(
                &manifest("config.json", "layer.tar"),
                &[config_file, Thing::Link("layer.tar", secret.as_str())],
            ),
        ),
        (
            "a configuration that is a link",
            image(
                &manifest("config.json", "layer.tar"),
                &[Thing::Link("config.json", secret.as_str())],
            ),
        ),
        (
            "a manifest that is a link",
            archive(&[Thing::Link("manifest.json", secret.as_str())]),
        ),
        (
            "a manifest that is a device",
            archive(&[Thing::Device("manifest.json"), Thing::Fifo("index.json")]),
        ),
        (
            "entries that go up",
            image(
                &manifest("../outside/etc/config", "../outside/etc/x"),
                &[
                    Thing::File("../outside/etc/x", b"evil"),
                    Thing::File("../outside/etc/config", config.as_bytes()),
                ],
            ),
        ),
        (
            "names that are paths",
            image(
                r#"[{"Config":"config.json","RepoTags":["../../evil"],"Layers":[]}]"#,
                &[Thing::File(
                    "config.json",
                    br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
                )],
            ),
        ),
        (
            "brackets upon brackets",
            image(
                &manifest("config.json", "layer.tar"),
                &[Thing::File("config.json", deep_config.as_bytes())],
            ),
        ),
        (
            "a manifest of brackets",
            archive(&[Thing::File("manifest.json", deep.as_bytes())]),
        ),
        (
            "a layer that is a bomb",
            image(
                &manifest("config.json", "layer.tar"),
                &[config_file, Thing::File("layer.tar", &bomb)],
            ),
        ),
        ("nothing", archive(&[])),
        ("noise", b"\x1f\x8b\x08\x00garbage".to_vec()),
    ];
    for (what, bytes) in archives {
        let path = sandbox.write("evil.tar", bytes);
        let outcome = sandbox.run(["load", "-i", path.as_str()]);
        assert_eq!(outcome.code, 1, "{what}\n{outcome}");
        assert!(
            outcome.stderr.contains("error: ") && !outcome.stderr.contains(SECRET),
            "{what}\n{outcome}"
        );
        outside.is_untouched();
        // As a root file system, where links and devices are content.
        let imported = sandbox.run(["import", path.as_str(), "imported:1"]);
        assert!(
            imported.code == 0 || imported.stderr.contains("error: "),
            "{what}\n{imported}"
        );
        outside.is_untouched();
    }
    assert!(
        !sandbox.ok(["images", "-q", "evil:1"]).contains("sha256"),
        "nothing half-made has a name"
    );
    let found =
        Outcome::of(std::process::Command::new("grep").args(["-rl", SECRET, sandbox.root().as_str()]));
    assert_eq!(found.stdout, "", "nothing of the host went into the store");
}

#[test]
fn contexts_bring_no_file_of_the_host() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    let context = sandbox.path("work/context");
    fs::create_dir_all(&context).unwrap();
    let secret = outside.0.join("secret");
    symlink(&secret, context.join("link")).unwrap();
    symlink(&outside.0, context.join("folder")).unwrap();
    symlink("../../outside", context.join("up")).unwrap();
    let tries = [
        "COPY link /x\nRUN cat /x",
        "COPY folder /x\nRUN cat /x/secret",
        "COPY folder/secret /x\nRUN cat /x",
        "COPY up/secret /x\nRUN cat /x",
        "COPY ../outside/secret /x\nRUN cat /x",
        "COPY folder/* /x/\nRUN cat /x/secret",
        "ADD link /x\nRUN cat /x",
        "RUN --mount=type=bind,source=folder,target=/x cat /x/secret",
        "RUN --mount=type=bind,source=up/secret,target=/x cat /x",
        "RUN --mount=type=bind,source=../outside,target=/x cat /x/secret",
    ];
    for text in tries {
        let outcome = build(
            &sandbox,
            &format!("FROM busybox\n{text}\n"),
            &["--no-cache", "--network", "none"],
        );
        assert!(
            outcome.code != 0 && !outcome.stderr.contains(SECRET),
            "{text}\n{outcome}"
        );
    }
    outside.is_untouched();
}

#[test]
fn contexts_from_elsewhere_read_no_file_of_the_host() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    // A pattern that means nothing is shown where it stands.
    let text = format!("[{SECRET}");
    let ignore = outside.0.with_file_name("ignore");
    fs::write(&ignore, &text).unwrap();
    for name in [".dockerignore", "Dockerfile.dockerignore"] {
        let things = [
            Thing::File("Dockerfile", b"FROM busybox\nCOPY . /x\nRUN ls -A /x\n"),
            Thing::Link(name, ignore.as_str()),
        ];
        let outcome = sandbox.run_with_input(["build", "--progress=plain", "-"], &archive(&things));
        assert_eq!(outcome.code, 0, "{outcome}");
        assert!(!outcome.stderr.contains(SECRET), "{outcome}");
    }
    let things = [Thing::Link("Dockerfile", ignore.as_str())];
    let outcome = sandbox.run_with_input(["build", "--progress=plain", "-"], &archive(&things));
    assert!(outcome.code == 1 && !outcome.stderr.contains(SECRET), "{outcome}");
}

/// Runs a command to its end, within `seconds`.
#[track_caller]
fn in_time(sandbox: &Sandbox, args: &[&str], seconds: u64) -> i32 {
    let mut child: Child = sandbox
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    panic!("{args:?} did not end within {seconds} s");
}

#[test]
fn files_of_a_context_that_are_none_hold_nobody() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let context = sandbox.path("work/context");
    let fresh = || {
        let _ = fs::remove_dir_all(&context);
        fs::create_dir_all(&context).unwrap();
    };
    let node = |name: &str, kind: &str| {
        let mut command = std::process::Command::new("mknod");
        command.arg(context.join(name));
        match kind {
            "pipe" => command.arg("p"),
            _ => command.args(["c", "250", "77"]),
        };
        assert!(command.status().unwrap().success());
    };
    for kind in ["pipe", "device"] {
        fresh();
        node("Dockerfile", kind);
        assert_ne!(
            in_time(&sandbox, &["build", "-q", "context"], 20),
            0,
            "Dockerfile: {kind}"
        );
        for name in [".dockerignore", "Dockerfile.dockerignore"] {
            fresh();
            fs::write(context.join("Dockerfile"), "FROM busybox\nCOPY . /x\n").unwrap();
            node(name, kind);
            assert_ne!(
                in_time(&sandbox, &["build", "-q", "context"], 20),
                0,
                "{name}: {kind}"
            );
        }
        // One that comes as an archive.
        let thing = match kind {
            "pipe" => Thing::Fifo("Dockerfile"),
            _ => Thing::Device("Dockerfile"),
        };
        let outcome = sandbox.run_with_input(["build", "-q", "-"], &archive(&[thing]));
        assert_eq!(outcome.code, 1, "{outcome}");
        // In the midst of others it is no file to be read.
        fresh();
        fs::write(context.join("Dockerfile"), "FROM busybox\nCOPY . /x\n").unwrap();
        node("thing", kind);
        in_time(&sandbox, &["build", "-q", "context"], 30);
    }
}

#[test]
fn copies_between_stages_stay_between_them() {
    // Links of one stage, and of the destination; what is below them stays in the images.
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    let out = &outside.0;
    let up = format!("../../../../../../../../../..{out}");
    let evil = format!(
        "FROM busybox AS evil\nRUN ln -s {out} /away && ln -s {up} /up && ln -s /proc/1/root{out} /magic && mkdir /d && ln -s {out}/secret /d/secret\n"
    );
    for source in ["/away/secret", "/up/secret", "/magic/secret", "/away", "/d/"] {
        let dockerfile = format!("{evil}FROM busybox\nCOPY --from=evil {source} /x\nRUN cat /x /x/secret\n");
        let outcome = build(&sandbox, &dockerfile, &["--network", "none"]);
        assert!(
            outcome.code != 0 && !outcome.stderr.contains(SECRET),
            "{source}\n{outcome}"
        );
    }
    sandbox.write("context/payload/evil", "evil");
    for target in ["/away/", "/up/", "/magic/", "/away/etc/", "/away/secret"] {
        let dockerfile = format!("{evil}COPY payload {target}\nRUN echo more > /away/more; true\n");
        let outcome = build(&sandbox, &dockerfile, &["--network", "none"]);
        eprintln!("{target}: {}", outcome.code);
        outside.is_untouched();
    }
    let tars = [
        Thing::Link("away", out.as_str()),
        Thing::File("away/evil", b"evil"),
        Thing::File("../../../../evil", b"evil"),
    ];
    sandbox.write("context/evil.tar", archive(&tars));
    let _ = build(
        &sandbox,
        &format!("{evil}ADD evil.tar /away/\nADD evil.tar /\nWORKDIR /up/etc/made\n"),
        &["--network", "none"],
    );
    outside.is_untouched();
}

#[test]
fn mounts_of_a_step_leave_the_host_alone() {
    // CVE-2024-23651 (a link in a shared cache), CVE-2024-23652 (mount points of a step are removed after it).
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outside = Outside::new(&sandbox);
    let out = &outside.0;
    let parent = out.parent().unwrap();
    // What was made to mount on is a link by the time it is taken away.
    for kind in ["tmpfs", "cache", "bind,source=."] {
        sandbox.write("context/file", "mine");
        let dockerfile = format!(
            "FROM busybox\nRUN --mount=type={kind},target=/made/outside/etc \
             mv /made /elsewhere 2>/dev/null; ln -s {parent} /made; true\n"
        );
        let _ = build(&sandbox, &dockerfile, &["--no-cache", "--network", "none"]);
        outside.is_untouched();
        let dockerfile = format!(
            "FROM busybox\nRUN mkdir -p /a && ln -s {parent} /a/b\nRUN --mount=type={kind},target=/a/b/outside/etc/new true\n"
        );
        let _ = build(&sandbox, &dockerfile, &["--no-cache", "--network", "none"]);
        outside.is_untouched();
    }
    // A cache that says where it begins is a copy; links in it lead nowhere, not for another step either.
    let dockerfile = format!(
        "FROM busybox AS seed\nRUN mkdir -p /seed && ln -s {out} /seed/away && ln -s {out}/secret /seed/secret\n\
         FROM busybox\n\
         RUN --mount=type=cache,id=c,target=/c rm -rf /c/*; ln -s {out} /c/sub; ln -s {out}/secret /c/file\n\
         RUN --mount=type=cache,id=c,target=/c,readonly ! cat /c/sub/secret && ! cat /c/file\n\
         RUN --mount=type=cache,from=seed,source=/seed,target=/s ! cat /s/away/secret && ! cat /s/secret\n"
    );
    build_ok(&sandbox, &dockerfile, &["--no-cache", "--network", "none"]);
    for source in ["/seed/away", "/seed/secret"] {
        let dockerfile = format!(
            "FROM busybox AS seed\nRUN mkdir -p /seed && ln -s {out} /seed/away && ln -s {out}/secret /seed/secret\n\
             FROM busybox\nRUN --mount=type=cache,id=n,from=seed,source={source},target=/s cat /s/secret /s\n"
        );
        let outcome = build(&sandbox, &dockerfile, &["--no-cache", "--network", "none"]);
        assert!(
            outcome.code != 0 && !outcome.stderr.contains(SECRET),
            "{source}\n{outcome}"
        );
    }
    outside.is_untouched();
}
