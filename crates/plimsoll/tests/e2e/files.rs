//! The files of containers: `cp`, `diff`, `commit`, `import`, volumes.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use plimsoll_testkit::{Sandbox, needs};
use serde_json::Value;

use crate::with_busybox;

/// A sandbox with a container that runs and one that does not, both with the volume `data`.
fn with_containers() -> Sandbox {
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "-d",
        "--name",
        "up",
        "-v",
        "data:/data",
        "busybox",
        "sleep",
        "600",
    ]);
    sandbox.ok(["create", "--name", "down", "-v", "data:/data", "busybox", "true"]);
    sandbox
}

/// What a command prints in the running container.
#[track_caller]
fn shell(sandbox: &Sandbox, command: &str) -> String {
    sandbox.ok(["exec", "up", "sh", "-c", command])
}

/// The files of an archive on standard output, sorted.
#[track_caller]
fn listed(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let output = sandbox
        .command(["cp", path, "-"])
        .output()
        .expect("plimsoll runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut archive = tar::Archive::new(output.stdout.as_slice());
    let entries = archive.entries().expect("an archive");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .path()
                .expect("a path")
                .display()
                .to_string()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn cp_into_containers_and_out_of_them() {
    needs!(root, overlay);
    let sandbox = with_containers();
    let file = sandbox.write("file", "text\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    std::os::unix::fs::chown(&file, Some(1000), Some(1001)).expect("chown");
    sandbox.write("folder/a", "a");
    sandbox.write("folder/sub/b", "b");
    symlink("a", sandbox.path("work/folder/link")).expect("link");

    for name in ["up", "down"] {
        sandbox.ok(["cp", "file", &format!("{name}:/tmp/")]);
        sandbox.ok(["cp", "file", &format!("{name}:tmp/renamed")]);
        sandbox.ok(["cp", "folder", &format!("{name}:/new")]);
        sandbox.ok(["cp", "folder", &format!("{name}:/tmp")]);
        sandbox.ok(["cp", "folder/.", &format!("{name}:/data")]);
        assert_eq!(
            listed(&sandbox, &format!("{name}:/new")),
            ["new/", "new/a", "new/link", "new/sub/", "new/sub/b"]
        );
        sandbox.ok(["cp", &format!("{name}:/tmp/renamed"), &format!("from-{name}")]);
        sandbox.ok(["cp", "-a", &format!("{name}:/tmp/file"), &format!("kept-{name}")]);
        sandbox.ok([
            "cp",
            "-L",
            &format!("{name}:/new/link"),
            &format!("followed-{name}"),
        ]);
        sandbox.ok(["cp", &format!("{name}:/data/."), &format!("volume-{name}")]);
        let at = |file: String| sandbox.path("work").join(file);
        let copy = std::fs::metadata(at(format!("from-{name}"))).expect("copied");
        assert_eq!((copy.uid(), copy.mode() & 0o777), (0, 0o640));
        let kept = std::fs::metadata(at(format!("kept-{name}"))).expect("copied");
        assert_eq!((kept.uid(), kept.gid()), (1000, 1001));
        assert!(
            std::fs::symlink_metadata(at(format!("followed-{name}")))
                .expect("copied")
                .is_file()
        );
        assert_eq!(
            std::fs::read(at(format!("volume-{name}/sub/b"))).expect("copied"),
            b"b"
        );
    }
    assert_eq!(
        shell(&sandbox, "stat -c '%u:%g %a' /tmp/file; cat /tmp/renamed"),
        "1000:1001 640\ntext\n"
    );
    assert_eq!(
        shell(&sandbox, "ls /tmp /tmp/folder; stat -c %a /tmp"),
        "/tmp:\nfile\nfolder\nrenamed\n\n/tmp/folder:\na\nlink\nsub\n1777\n"
    );
    assert_eq!(
        shell(&sandbox, "ls /data"),
        "a\nlink\nsub\n",
        "what went into the volume of the other is seen here"
    );
    // What the engine has mounted stays mounted.
    sandbox.ok(["cp", "file", "up:/etc/hosts"]);
    assert_eq!(
        shell(&sandbox, "cat /etc/hosts; grep -c ' /etc/hosts ' /proc/mounts"),
        "text\n1\n"
    );
}

#[test]
fn cp_of_archives() {
    needs!(root, overlay);
    let sandbox = with_containers();
    sandbox.write("folder/a", "a");
    let tar = Command::new("tar")
        .args(["cz", "-C", sandbox.path("work").as_str(), "folder"])
        .output()
        .expect("tar runs");
    for name in ["up", "down"] {
        let outcome = sandbox.run_with_input(["cp", "-", &format!("{name}:/data")], &tar.stdout);
        assert_eq!(outcome.code, 0, "{outcome}");
        let outcome = sandbox.run_with_input(["cp", "-", &format!("{name}:/none")], &tar.stdout);
        assert!(outcome.stderr.contains("must be a directory"), "{outcome}");
    }
    assert_eq!(
        listed(&sandbox, "up:/data"),
        ["data/", "data/folder/", "data/folder/a"]
    );
    assert_eq!(listed(&sandbox, "up:/data/folder/a"), ["a"]);
}

#[test]
fn cp_says_what_is_wrong() {
    needs!(root, overlay);
    let sandbox = with_containers();
    sandbox.write("file", "");
    sandbox.write("folder/a", "");
    for (source, destination, said) in [
        ("file", "up:/none/x", "no such directory"),
        ("file", "up:/none/", "no such directory"),
        ("folder", "up:/bin/busybox", "cannot copy directory"),
        ("up:/none", ".", "Could not find the file /none in container up"),
        (
            "up:/proc/self/status",
            ".",
            "Could not find the file /proc/self/status in container up",
        ),
        ("none", "up:/", "no such file or directory"),
        ("file", "folder", "must specify at least one container source"),
        ("up:/a", "down:/b", "copying between containers is not supported"),
        ("upp:/a", ".", "did you mean `up`?"),
    ] {
        let said_so = sandbox.fails(1, ["cp", source, destination]);
        assert!(said_so.contains(said), "{source} {destination}: {said_so}");
    }
    sandbox.ok([
        "create",
        "--name",
        "hard",
        "--read-only",
        "-v",
        "data:/data:ro",
        "busybox",
        "true",
    ]);
    for path in ["hard:/tmp/x", "hard:/data/x"] {
        let said = sandbox.fails(1, ["cp", "file", path]);
        assert!(said.contains("Read-only file system"), "{said}");
    }
}

#[test]
fn links_of_a_container_lead_nowhere_else() {
    needs!(root, overlay);
    let sandbox = with_containers();
    let outside = sandbox.path("work/outside");
    std::fs::create_dir_all(&outside).expect("made");
    sandbox.write("file", "mine");
    let up = format!(
        "mkdir -p /work {outside}; ln -s {outside} /escape; ln -s ../../../../../../..{outside} /climb; ln -s /proc/1/root /magic"
    );
    shell(&sandbox, &up);
    sandbox.ok(["cp", "file", "up:/escape/one"]);
    sandbox.ok(["cp", "file", "up:/climb/two"]);
    assert_eq!(shell(&sandbox, &format!("ls {outside}")), "one\ntwo\n");
    assert_eq!(
        std::fs::read_dir(&outside).expect("there").count(),
        0,
        "nothing came out"
    );
    // The magic link is read as the text it shows inside.
    sandbox.ok(["cp", "up:/magic/etc/hostname", "stolen"]);
    let stolen = std::fs::read_to_string(sandbox.path("work/stolen")).expect("copied");
    assert_eq!(stolen, shell(&sandbox, "cat /etc/hostname"));
    sandbox.ok(["stop", "-t", "0", "up"]);
    sandbox.ok(["cp", "file", "up:/escape/three"]);
    assert_eq!(
        std::fs::read_dir(&outside).expect("there").count(),
        0,
        "nothing came out"
    );
    sandbox.ok(["start", "up"]);
    assert_eq!(shell(&sandbox, &format!("ls {outside}")), "one\nthree\ntwo\n");
}

#[test]
fn diff_names_what_the_container_did() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "--name",
        "did",
        "busybox",
        "sh",
        "-c",
        "echo x > /etc/new; rm /bin/wget; mkdir -p /a/b; chmod 700 /tmp; echo y > /dev/shm/z",
    ]);
    assert_eq!(
        sandbox.ok(["diff", "did"]),
        "A /a\nA /a/b\nC /bin\nD /bin/wget\nC /etc\nA /etc/new\nC /tmp\n"
    );
    sandbox.ok(["run", "--name", "nothing", "busybox", "true"]);
    assert_eq!(sandbox.ok(["diff", "nothing"]), "");
}

#[test]
fn export_and_import_again() {
    needs!(root, overlay);
    let sandbox = with_containers();
    shell(
        &sandbox,
        "echo new > /new; rm /bin/wget; ln /new /twice; echo v > /data/v",
    );
    sandbox.ok(["export", "-o", "files.tar", "up"]);
    sandbox.ok(["import", "files.tar", "again"]);
    let seen = "cat /new /twice; ls /bin/wget /data/v 2>/dev/null; stat -c %h /new";
    assert_eq!(
        sandbox.ok(["run", "--rm", "again", "/bin/sh", "-c", seen]),
        "new\nnew\n2\n"
    );
    let streamed = sandbox
        .command(["export", "down"])
        .output()
        .expect("plimsoll runs")
        .stdout;
    assert!(
        tar::Archive::new(streamed.as_slice())
            .entries()
            .expect("an archive")
            .count()
            > 10
    );
    sandbox.fails(1, ["export", "nobody"]);
}

fn config(sandbox: &Sandbox, image: &str) -> Value {
    let text = sandbox.ok(["image", "inspect", image]);
    serde_json::from_str::<Value>(&text).expect("JSON")[0].clone()
}

#[test]
fn commit_makes_an_image_of_a_container() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let made = "echo kept > /kept; rm /bin/wget; mkdir /empty";
    sandbox.ok([
        "run", "--name", "was", "-e", "A=1", "-w", "/tmp", "busybox", "sh", "-c", made,
    ]);
    let id = sandbox.ok([
        "commit",
        "-a",
        "me",
        "-m",
        "why",
        "-c",
        "CMD [\"cat\", \"/kept\"]",
        "-c",
        "ENV B=$A.2",
        "-c",
        "WORKDIR sub",
        "was",
        "image:1",
    ]);
    assert!(id.starts_with("sha256:"), "{id}");
    let image = config(&sandbox, "image:1");
    assert_eq!(image["Author"], "me");
    assert_eq!(image["Comment"], "why");
    assert_eq!(image["Config"]["Cmd"], serde_json::json!(["cat", "/kept"]));
    assert_eq!(image["Config"]["WorkingDir"], "/tmp/sub");
    assert_eq!(image["RootFS"]["Layers"].as_array().expect("layers").len(), 2);
    assert_eq!(sandbox.ok(["run", "--rm", "image:1"]), "kept\n");
    assert_eq!(
        sandbox.ok([
            "run",
            "--rm",
            "image:1",
            "sh",
            "-c",
            "echo $B; ls -d /empty /bin/wget 2>/dev/null; true"
        ]),
        "1.2\n/empty\n"
    );
    let said = sandbox.fails(1, ["commit", "-c", "RUN true", "was"]);
    assert!(said.contains("RUN is not a valid change command"), "{said}");
    // Without a name it is listed by its id.
    let nameless = sandbox.ok(["commit", "was"]);
    assert_eq!(config(&sandbox, nameless.trim())["Id"], nameless.trim());
}

#[test]
fn import_makes_an_image_of_an_archive() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("files/hello", "hello\n");
    let tar = Command::new("tar")
        .args(["cz", "-C", sandbox.path("work/files").as_str(), "."])
        .output()
        .expect("tar runs");
    sandbox.write("files.tgz", &tar.stdout);
    sandbox.ok([
        "import",
        "-c",
        "CMD [\"/hello\"]",
        "-m",
        "by hand",
        "files.tgz",
        "flat:1",
    ]);
    let image = config(&sandbox, "flat:1");
    assert_eq!(image["Comment"], "by hand");
    assert_eq!(image["Config"]["Cmd"], serde_json::json!(["/hello"]));
    let outcome = sandbox.run_with_input(["import", "-"], &tar.stdout);
    let id = outcome.success("import");
    assert_eq!(config(&sandbox, id.trim())["Comment"], "Imported from -");
    sandbox.ok(["create", "--name", "flat", "flat:1"]);
    sandbox.ok(["cp", "flat:/hello", "out"]);
    assert_eq!(
        std::fs::read(sandbox.path("work/out")).expect("copied"),
        b"hello\n"
    );
    let said = sandbox.fails(1, ["import", "none.tar"]);
    assert!(said.contains("none.tar"), "{said}");
}

#[test]
fn volumes_are_made_listed_and_removed() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    assert_eq!(
        sandbox.ok(["volume", "create", "--label", "a=b", "named"]),
        "named\n"
    );
    let anonymous = sandbox.ok(["volume", "create"]);
    assert_eq!(anonymous.trim().len(), 64);
    assert_eq!(
        sandbox.ok(["volume", "ls", "-q", "--filter", "label=a=b"]),
        "named\n"
    );
    assert!(
        sandbox
            .ok(["volume", "ls"])
            .starts_with("DRIVER    VOLUME NAME\n")
    );
    let volume: Value = serde_json::from_str(&sandbox.ok(["volume", "inspect", "named"])).expect("JSON");
    assert_eq!(volume[0]["Labels"]["a"], "b");
    assert_eq!(volume[0]["Options"], Value::Null);
    let data = volume[0]["Mountpoint"].as_str().expect("a path").to_owned();
    sandbox.ok([
        "run",
        "--name",
        "user",
        "-v",
        "named:/data",
        "busybox",
        "sh",
        "-c",
        "echo x > /data/x",
    ]);
    assert_eq!(
        std::fs::read_to_string(format!("{data}/x")).expect("written"),
        "x\n"
    );
    let said = sandbox.fails(1, ["volume", "rm", "named"]);
    assert!(said.contains("volume is in use"), "{said}");
    assert!(sandbox.ok(["volume", "prune", "-f"]).contains(anonymous.trim()));
    sandbox.ok(["rm", "user"]);
    assert_eq!(
        sandbox.ok(["volume", "ls", "-q", "--filter", "dangling=true"]),
        "named\n"
    );
    assert_eq!(sandbox.ok(["volume", "rm", "named"]), "named\n");
    assert!(
        sandbox
            .fails(1, ["volume", "rm", "named"])
            .contains("no such volume: named")
    );
    assert_eq!(sandbox.ok(["volume", "rm", "-f", "named"]), "named\n");
    assert!(
        sandbox
            .fails(1, ["volume", "create", "a/b"])
            .contains("invalid characters")
    );
}

#[test]
fn volumes_of_the_local_driver() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let folder = sandbox.path("work/device");
    std::fs::create_dir_all(&folder).expect("made");
    let device = format!("device={folder}");
    sandbox.ok([
        "volume",
        "create",
        "-o",
        "type=none",
        "-o",
        "o=bind",
        "-o",
        &device,
        "bound",
    ]);
    sandbox.ok([
        "volume",
        "create",
        "-o",
        "type=tmpfs",
        "-o",
        "device=tmpfs",
        "-o",
        "o=size=1m",
        "memory",
    ]);
    let command = "echo x > /bound/x; df -k /memory | tail -1 | awk '{print $2}'";
    let printed = sandbox.ok([
        "run",
        "--rm",
        "-v",
        "bound:/bound",
        "-v",
        "memory:/memory",
        "busybox",
        "sh",
        "-c",
        command,
    ]);
    assert_eq!(printed, "1024\n");
    assert!(folder.join("x").exists());
    // Whatever the kernel can mount.
    for folder in ["lower", "upper", "work"] {
        std::fs::create_dir_all(sandbox.path(folder)).expect("made");
    }
    sandbox.write("../lower/below", "seen\n");
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| sandbox.path(name));
    let options = format!("o=lowerdir={lower},upperdir={upper},workdir={work}");
    let create = [
        "volume",
        "create",
        "-o",
        "type=overlay",
        "-o",
        "device=overlay",
        "-o",
        &options,
        "merged",
    ];
    sandbox.ok(create);
    let printed = sandbox.ok([
        "run",
        "--rm",
        "-v",
        "merged:/m",
        "busybox",
        "sh",
        "-c",
        "cat /m/below; echo x >/m/above",
    ]);
    assert_eq!(printed, "seen\n");
    assert!(upper.join("above").exists());
    sandbox.ok(["volume", "rm", "merged"]);
    let said = sandbox.fails(1, ["volume", "create", "-o", "type=nfs"]);
    assert!(said.contains("missing required option: \"device\""), "{said}");
    sandbox.ok(["volume", "create", "-o", "type=no-such", "-o", "device=x", "odd"]);
    let said = sandbox.fails(125, ["run", "--rm", "-v", "odd:/m", "busybox", "true"]);
    assert!(said.contains("cannot mount a volume on"), "{said}");
}

#[test]
fn parts_of_volumes_and_volumes_of_others() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.ok([
        "run",
        "--name",
        "first",
        "-v",
        "data:/data",
        "-v",
        "/anonymous",
        "busybox",
        "sh",
        "-c",
        "mkdir -p /data/a/b; echo b > /data/a/b/file; ln -s /etc /data/out; echo n > /anonymous/n",
    ]);
    let mount = "type=volume,src=data,dst=/part,volume-subpath=a/b";
    assert_eq!(
        sandbox.ok(["run", "--rm", "--mount", mount, "busybox", "ls", "/part"]),
        "file\n"
    );
    for subpath in ["none", "out"] {
        let mount = format!("type=volume,src=data,dst=/part,volume-subpath={subpath}");
        let said = sandbox.fails(125, ["run", "--rm", "--mount", &mount, "busybox", "ls", "/part"]);
        assert!(said.contains("cannot access path"), "{said}");
    }
    let both = "cat /data/a/b/file /anonymous/n";
    assert_eq!(
        sandbox.ok([
            "run",
            "--rm",
            "--volumes-from",
            "first",
            "busybox",
            "sh",
            "-c",
            both
        ]),
        "b\nn\n"
    );
    let write = "touch /data/x 2>/dev/null || echo refused";
    assert_eq!(
        sandbox.ok([
            "run",
            "--rm",
            "--volumes-from",
            "first:ro",
            "busybox",
            "sh",
            "-c",
            write
        ]),
        "refused\n"
    );
    let over = sandbox.ok([
        "run",
        "--rm",
        "--volumes-from",
        "first",
        "-v",
        "other:/data",
        "busybox",
        "ls",
        "/data",
    ]);
    assert_eq!(over, "");
    sandbox.fails(
        125,
        ["run", "--rm", "--volumes-from", "nobody", "busybox", "true"],
    );
    sandbox.fails(
        125,
        ["run", "--rm", "--volumes-from", "first:what", "busybox", "true"],
    );
}
