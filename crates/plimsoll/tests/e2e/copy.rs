//! COPY and ADD: flags, rules of the destination, what decides the cache, archives.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use camino::Utf8PathBuf;
use plimsoll_testkit::{Sandbox, needs};

use crate::{build, build_files, build_ok, sandbox, with_busybox};

/// A sandbox with files of these names in the context; each holds its name.
fn with_files(names: &[&str]) -> Sandbox {
    let sandbox = sandbox();
    write_all(&sandbox, names);
    sandbox
}

fn write_all(sandbox: &Sandbox, names: &[&str]) {
    for name in names {
        sandbox.write(&format!("context/{name}"), name);
    }
}

fn context(sandbox: &Sandbox, name: &str) -> Utf8PathBuf {
    sandbox.path("work/context").join(name)
}

/// Every path below a folder, sorted, directories with a slash.
fn tree(folder: &Utf8PathBuf) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.clone()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().strip_prefix(folder).unwrap().to_string();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path().to_owned());
                found.push(format!("{path}/"));
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What `stat` says of paths in the image, looked at from inside: `mode uid:gid path`.
fn inside(sandbox: &Sandbox, dockerfile: &str, paths: &[&str]) -> Vec<String> {
    let dockerfile = format!(
        "{dockerfile}RUN stat -c '%a %u:%g %n' {} > /stat\n",
        paths.join(" ")
    );
    let dockerfile = format!(
        "{}\nFROM scratch\nCOPY --from=made /stat /\n",
        dockerfile.trim_end()
    );
    let folder = build_files(sandbox, &dockerfile, &[]);
    let text = fs::read_to_string(folder.join("stat")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn ran(log: &str, text: &str) -> bool {
    log.lines()
        .any(|line| line.starts_with('#') && line.splitn(3, ' ').nth(2) == Some(text))
}

#[test]
fn destinations() {
    needs!(root, overlay);
    let sandbox = with_files(&["f", "g", ".dot", "dir/x", "dir/sub/y", "w/one/a", "w/two/b"]);
    let files = build_files(
        &sandbox,
        "FROM scratch\n\
         COPY f /file\n\
         COPY f /slash/\n\
         COPY dir /contents\n\
         COPY dir/ /contents2/\n\
         COPY f /contents\n\
         COPY f g /last\n\
         COPY w/* /flat/\n\
         COPY .d* /dots/\n\
         COPY nothing* /none/\n\
         COPY ../../f /clamped\n\
         WORKDIR /here\n\
         COPY f .\n\
         COPY f sub/deep/name\n",
        &[],
    );
    assert_eq!(
        tree(&files),
        [
            "clamped",
            "contents/",
            "contents/f",
            "contents/sub/",
            "contents/sub/y",
            "contents/x",
            "contents2/",
            "contents2/sub/",
            "contents2/sub/y",
            "contents2/x",
            "dots/",
            "dots/.dot",
            "file",
            "flat/",
            "flat/a",
            "flat/b",
            "here/",
            "here/f",
            "here/sub/",
            "here/sub/deep/",
            "here/sub/deep/name",
            "last",
            "slash/",
            "slash/f"
        ]
    );
    assert_eq!(
        fs::read_to_string(files.join("last")).unwrap(),
        "g",
        "the last file wins"
    );
}

#[test]
fn later_sources_win_and_kinds_must_fit() {
    needs!(root, overlay);
    let sandbox = with_files(&["a/same", "b/same", "c/same/deep", "same"]);
    let files = build_files(&sandbox, "FROM scratch\nCOPY a b /x/\nCOPY same /x/\n", &[]);
    assert_eq!(fs::read_to_string(files.join("x/same")).unwrap(), "same");
    let outcome = build(&sandbox, "FROM scratch\nCOPY a /x\nCOPY c /x\n", &[]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("it is not a directory"),
        "{outcome}"
    );
    let outcome = build(&sandbox, "FROM scratch\nCOPY c /x\nCOPY a /x\n", &[]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("cannot overwrite directory"),
        "{outcome}"
    );
    let outcome = build(&sandbox, "FROM scratch\nCOPY missing /x\n", &[]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("`missing` not found"),
        "{outcome}"
    );
    let outcome = build(&sandbox, "FROM scratch\nCOPY missing/*.txt /x/\n", &[]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("not found"),
        "{outcome}"
    );
}

#[test]
fn links_stay_inside() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["real/file", "f"]);
    symlink("real", context(&sandbox, "to-dir")).unwrap();
    symlink("/etc/hostname", context(&sandbox, "out")).unwrap();
    symlink("../../../../f", context(&sandbox, "up")).unwrap();
    symlink("file", context(&sandbox, "real/kept")).unwrap();
    let files = build_files(
        &sandbox,
        "FROM busybox AS made\n\
         RUN mkdir /target && ln -s /target /link && ln -s ../../../../target /relative\n\
         COPY f /link/one\n\
         COPY f /relative/two\n\
         COPY to-dir /dir\n\
         COPY up /clamped\n\
         FROM scratch\n\
         COPY --from=made /target /target\n\
         COPY --from=made /dir /dir\n\
         COPY --from=made /clamped /\n",
        &[],
    );
    assert_eq!(
        tree(&files),
        [
            "clamped",
            "dir/",
            "dir/file",
            "dir/kept",
            "target/",
            "target/one",
            "target/two"
        ]
    );
    assert_eq!(fs::read_link(files.join("dir/kept")).unwrap(), Path::new("file"));
    let outcome = build(&sandbox, "FROM scratch\nCOPY out /x\n", &[]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("`out` not found in the build context"),
        "{outcome}"
    );
}

#[test]
fn modes_and_owners() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["f", "dir/x", "dir/sub/y"]);
    fs::set_permissions(context(&sandbox, "f"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(context(&sandbox, "dir/x"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(context(&sandbox, "dir"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(context(&sandbox, "dir/sub"), fs::Permissions::from_mode(0o750)).unwrap();
    std::os::unix::fs::chown(context(&sandbox, "f"), Some(77), Some(77)).unwrap();
    let dockerfile = "FROM busybox AS made\n\
         RUN echo 'app:x:1000:2000::/:' >> /etc/passwd && echo 'crew:x:3000:' >> /etc/group\n\
         USER 99\n\
         COPY f /plain\n\
         COPY dir /top\n\
         COPY --chmod=4711 f /set\n\
         COPY --chmod=700 f /p/q/r\n\
         COPY --chmod=u=rwX,go=rX dir /x\n\
         COPY --chown=app f /name\n\
         COPY --chown=app:crew f /both\n\
         COPY --chown=5 f /number\n\
         COPY --chown=5:crew f /o/w/n\n\
         COPY --chown=:7 f /group\n\
         COPY --chmod=600 <<EOF /inline\ntext\nEOF\n\
         USER 0\n";
    let paths = [
        "/plain", "/top", "/top/sub", "/set", "/p", "/p/q", "/p/q/r", "/x/x", "/x/sub", "/x/sub/y", "/name",
        "/both", "/number", "/o/w", "/o/w/n", "/group", "/inline",
    ];
    assert_eq!(
        inside(&sandbox, dockerfile, &paths),
        [
            "640 0:0 /plain",
            "755 0:0 /top",
            "750 0:0 /top/sub",
            "4711 0:0 /set",
            "700 0:0 /p",
            "700 0:0 /p/q",
            "700 0:0 /p/q/r",
            "755 0:0 /x/x",
            "755 0:0 /x/sub",
            "644 0:0 /x/sub/y",
            "640 1000:2000 /name",
            "640 1000:3000 /both",
            "640 5:5 /number",
            "755 5:3000 /o/w",
            "640 5:3000 /o/w/n",
            "640 0:7 /group",
            "600 0:0 /inline",
        ]
    );
}

#[test]
fn nonsense_is_refused_where_it_stands() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["f"]);
    for (flag, column, message) in [
        ("--chmod=rwx", 14, "`rwx` is not a file mode"),
        ("--chmod=10000", 14, "`10000` is not a file mode"),
        ("--chown=nobody-here", 14, "unable to find user `nobody-here`"),
        ("--exclude=[a", 16, "pattern `[a` cannot be read"),
    ] {
        let outcome = build(&sandbox, &format!("FROM busybox\nCOPY {flag} f /\n"), &[]);
        let place = format!("Dockerfile:2:{column}");
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(
            outcome.stderr.contains(message) && outcome.stderr.contains(&place),
            "{place}\n{outcome}"
        );
    }
}

#[test]
fn link_depends_on_nothing_below() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["f", "dir/x"]);
    let dockerfile = |base: &str| {
        format!(
            "FROM busybox AS made\nRUN mkdir /target && ln -s /target /way && echo {base} > /base\n\
             COPY --link dir /way/\nCOPY --link --chown=3:4 f /way/sub/\n\
             RUN find /way/ -type f | sort > /list; find /target >> /list; stat -c '%u:%g' /way/sub/f >> /list\n\
             FROM scratch\nCOPY --from=made /list /base /\n"
        )
    };
    let files = build_files(&sandbox, &dockerfile("one"), &[]);
    let list = || fs::read_to_string(files.join("list")).unwrap();
    assert_eq!(
        list(),
        "/way/sub/f\n/way/x\n/target\n3:4\n",
        "the symlink became a directory"
    );
    let log = build_ok(
        &sandbox,
        &dockerfile("two"),
        &["--output", &format!("type=local,dest={files}")],
    );
    assert_eq!(list(), "/way/sub/f\n/way/x\n/target\n3:4\n");
    assert_eq!(fs::read_to_string(files.join("base")).unwrap(), "two\n");
    let cached = |text: &str| {
        let step = log
            .lines()
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{text}: {log}"));
        let number = step.split(' ').next().unwrap();
        log.lines().any(|line| {
            line.starts_with(&format!("{number} CACHED"))
                || (line.starts_with(number) && line.ends_with(" CACHED"))
        })
    };
    assert!(
        cached("COPY --link dir") && cached("COPY --link --chown"),
        "{log}"
    );
}

#[test]
fn link_asks_the_stage_for_names_only() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["f"]);
    let dockerfile =
        "FROM busybox AS made\nRUN echo 'app:x:11:12::/:' >> /etc/passwd\nCOPY --link --chown=app f /f\n";
    assert_eq!(inside(&sandbox, dockerfile, &["/f"]), ["644 11:12 /f"]);
    fs::remove_dir_all(sandbox.path("work/files")).unwrap();
    let files = build_files(&sandbox, "FROM scratch\nCOPY --link f /only/\n", &[]);
    assert_eq!(tree(&files), ["only/", "only/f"]);
}

#[test]
fn parents_keep_paths() {
    needs!(root, overlay);
    let sandbox = with_files(&[
        "a/one/x.txt",
        "a/one/y.md",
        "a/two/z.txt",
        "b/c/d/e.txt",
        "top.txt",
    ]);
    fs::set_permissions(context(&sandbox, "a/one"), fs::Permissions::from_mode(0o711)).unwrap();
    let parents = |sources: &str| {
        let _ = fs::remove_dir_all(sandbox.path("work/files"));
        tree(&build_files(
            &sandbox,
            &format!("FROM scratch\nCOPY --parents {sources} /x/\n"),
            &[],
        ))
    };
    assert_eq!(
        parents("a/one/x.txt"),
        ["x/", "x/a/", "x/a/one/", "x/a/one/x.txt"]
    );
    assert_eq!(mode(sandbox.path("work/files/x/a/one")), 0o711);
    assert_eq!(
        parents("./a/*/*.txt top.txt"),
        [
            "x/",
            "x/a/",
            "x/a/one/",
            "x/a/one/x.txt",
            "x/a/two/",
            "x/a/two/z.txt",
            "x/top.txt"
        ]
    );
    assert_eq!(parents("b/./c/d"), ["x/", "x/c/", "x/c/d/", "x/c/d/e.txt"]);
    assert_eq!(parents("b/./**/*.txt"), ["x/", "x/c/", "x/c/d/", "x/c/d/e.txt"]);
    assert_eq!(
        parents("**/e.txt"),
        ["x/", "x/b/", "x/b/c/", "x/b/c/d/", "x/b/c/d/e.txt"]
    );
    assert_eq!(parents("nothing*"), ["x/"]);
    let outcome = build(&sandbox, "FROM scratch\nCOPY --parents a/none /x/\n", &[]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("`a/none` not found"),
        "{outcome}"
    );
}

#[test]
fn exclude_counts_from_the_copied_folder() {
    needs!(root, overlay);
    let sandbox = with_files(&[
        "src/a.txt",
        "src/b.md",
        "src/sub/c.md",
        "src/sub/keep.md",
        "d.md",
        "e.txt",
    ]);
    let files = build_files(
        &sandbox,
        "FROM scratch\n\
         COPY --exclude=*.md src /one/\n\
         COPY --exclude=**/*.md --exclude=!sub/keep.md src /two/\n\
         COPY --exclude=sub src /three/\n\
         ADD --exclude=*.md *.* /four/\n\
         COPY --parents --exclude=**/*.md src /five/\n",
        &[],
    );
    assert_eq!(
        tree(&files),
        [
            "five/",
            "five/src/",
            "five/src/a.txt",
            "five/src/sub/",
            "four/",
            "four/e.txt",
            "one/",
            "one/a.txt",
            "one/sub/",
            "one/sub/c.md",
            "one/sub/keep.md",
            "three/",
            "three/a.txt",
            "three/b.md",
            "two/",
            "two/a.txt",
            "two/sub/",
            "two/sub/keep.md"
        ]
    );
}

#[test]
fn special_files_come_through() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["dir/first"]);
    let dir = context(&sandbox, "dir");
    fs::hard_link(dir.join("first"), dir.join("second")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(dir.join("fifo"))
            .status()
            .unwrap()
            .success()
    );
    let odd = dir.as_std_path().join(OsStr::from_bytes(b"odd\xff\n"));
    fs::write(&odd, "odd").unwrap();
    let long = "l".repeat(255);
    fs::write(dir.join(&long), "long").unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    let set = |file: &Utf8PathBuf, name: &str, value: &[u8]| {
        let status = Command::new("python3")
            .args([
                "-c",
                "import os,sys; os.setxattr(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]))",
            ])
            .arg(file)
            .arg(name)
            .arg(value.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            .status();
        assert!(status.unwrap().success(), "{name}");
    };
    // cap_net_bind_service=ep, version 2 (linux/capability.h).
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(&dir.join("first"), "security.capability", &capability);
    set(&dir.join("first"), "user.note", b"hello");
    let files = build_files(
        &sandbox,
        "FROM busybox AS made\nCOPY dir /one\nRUN mknod /one/device c 1 3\nFROM scratch\nCOPY --from=made /one /two\n",
        &[],
    );
    let two = files.join("two");
    let stat = |name: &str| fs::symlink_metadata(two.join(name)).unwrap();
    assert!(stat("fifo").file_type().is_fifo());
    assert!(stat("device").file_type().is_char_device());
    assert_eq!(stat("device").rdev(), fs::metadata("/dev/null").unwrap().rdev());
    assert_eq!(stat("first").ino(), stat("second").ino());
    assert_eq!(
        fs::read(two.as_std_path().join(OsStr::from_bytes(b"odd\xff\n"))).unwrap(),
        b"odd"
    );
    assert_eq!(fs::read_to_string(two.join(&long)).unwrap(), "long");
    assert_eq!(stat("sparse").len(), 1 << 30);
    assert!(stat("sparse").blocks() * 512 < 1 << 20, "holes stay holes");
    let script = "import os,sys; print(os.getxattr(sys.argv[1],'security.capability').hex(), os.getxattr(sys.argv[1],'user.note'))";
    let shown = Command::new("python3")
        .args(["-c", script])
        .arg(two.join("first"))
        .output()
        .unwrap();
    let expected = format!(
        "{} b'hello'\n",
        capability.map(|byte| format!("{byte:02x}")).concat()
    );
    assert_eq!(String::from_utf8_lossy(&shown.stdout), expected);
}

#[test]
fn what_a_layer_deleted_does_not_come_back() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["dir/a", "dir/b", "dir/sub/c", "dir/old/d"]);
    let files = build_files(
        &sandbox,
        "FROM busybox AS made\nCOPY dir /dir\n\
         RUN rm -r /dir/a /dir/sub && rm -r /dir/old && mkdir /dir/old && touch /dir/old/new\n\
         FROM made AS again\nCOPY dir/sub /dir/sub\n\
         FROM scratch\nCOPY --from=made /dir /one\nCOPY --from=again /dir /two\n",
        &[],
    );
    assert_eq!(
        tree(&files),
        [
            "one/",
            "one/b",
            "one/old/",
            "one/old/new",
            "two/",
            "two/b",
            "two/old/",
            "two/old/new",
            "two/sub/",
            "two/sub/c"
        ]
    );
}

#[test]
fn what_the_layer_does_not_show_does_not_count() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["dir/f"]);
    let file = context(&sandbox, "dir/f");
    let build_with = |flags: &str| {
        ran(
            &build_ok(
                &sandbox,
                &format!("FROM busybox\nCOPY {flags} dir /dir\nRUN echo ran {flags}\n"),
                &[],
            ),
            format!("ran {flags}").trim(),
        )
    };
    for flags in ["", "--chmod=644", "--chown=1:2"] {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        build_with(flags);
        sandbox.write("context/dir/f", "dir/f");
        assert!(!build_with(flags), "{flags}: another time");
        std::os::unix::fs::chown(&file, Some(5), Some(5)).unwrap();
        assert!(!build_with(flags), "{flags}: another owner");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(build_with(flags), flags != "--chmod=644", "{flags}: another mode");
        fs::set_permissions(context(&sandbox, "dir"), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(!build_with(flags), "{flags}: another mode of the folder itself");
        fs::set_permissions(context(&sandbox, "dir"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let cases: &[(&str, &dyn Fn())] = &[
        ("content", &|| drop(sandbox.write("context/dir/f", "other"))),
        ("name", &|| fs::rename(&file, context(&sandbox, "dir/g")).unwrap()),
        ("kind", &|| symlink("f", context(&sandbox, "dir/h")).unwrap()),
        ("target", &|| {
            fs::remove_file(context(&sandbox, "dir/h")).unwrap();
            symlink("g", context(&sandbox, "dir/h")).unwrap();
        }),
        ("an empty folder", &|| {
            fs::create_dir(context(&sandbox, "dir/empty")).unwrap()
        }),
    ];
    for (what, change) in cases {
        change();
        assert!(build_with(""), "{what} counts");
        assert!(!build_with(""), "{what} counts once");
    }
}

#[test]
fn an_edit_within_the_same_second_is_seen() {
    needs!(root, overlay);
    let sandbox = with_files(&["f"]);
    let file = context(&sandbox, "f");
    for round in 0..20 {
        // Same size, and the time set back: only the change time and the racy-clean rule can tell.
        fs::write(&file, format!("{round:03}")).unwrap();
        let touched = Command::new("touch")
            .args(["-d", "2020-01-01T00:00:00Z"])
            .arg(&file)
            .status();
        assert!(touched.unwrap().success());
        let files = build_files(&sandbox, "FROM scratch\nCOPY f /\n", &[]);
        assert_eq!(
            fs::read_to_string(files.join("f")).unwrap(),
            format!("{round:03}")
        );
    }
}

#[test]
fn a_copy_of_many_files_reuses_what_did_not_change() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let names: Vec<String> = (0..300)
        .map(|number| format!("many/{}/{number}", number % 7))
        .collect();
    names
        .iter()
        .for_each(|name| drop(sandbox.write(&format!("context/{name}"), name)));
    let dockerfile = "FROM scratch\nCOPY many /many\n";
    build_ok(&sandbox, dockerfile, &[]);
    sandbox.write("context/many/3/17", "changed");
    fs::set_permissions(context(&sandbox, "many/4/18"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(context(&sandbox, "many/5/19")).unwrap();
    let files = build_files(&sandbox, dockerfile, &[]);
    assert_eq!(fs::read_to_string(files.join("many/3/17")).unwrap(), "changed");
    assert_eq!(mode(files.join("many/4/18")), 0o600);
    assert!(!files.join("many/5/19").exists());
    assert_eq!(fs::read_to_string(files.join("many/6/20")).unwrap(), "many/6/20");
    let find = Command::new("find")
        .arg(sandbox.root().join("snapshots"))
        .args(["-type", "f", "-links", "2"])
        .output();
    let linked = String::from_utf8(find.unwrap().stdout).unwrap().lines().count();
    assert_eq!(linked, 2 * 297, "each under two names");
    build_ok(&sandbox, dockerfile, &[]);
    let layers = || sandbox.ok(["inspect", "-f", "{{json .RootFS.Layers}}", "app"]);
    let reused = layers();
    // The same context in a store that knows nothing: the layer has the same bytes.
    sandbox.ok(["rmi", "app"]);
    for entry in fs::read_dir(sandbox.root().join("contexts")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    build_ok(&sandbox, dockerfile, &["--no-cache"]);
    assert_eq!(layers(), reused);
}

/// An archive of `tree/` in the context, compressed by `program` when there is one.
fn archive(sandbox: &Sandbox, name: &str, program: Option<&str>) {
    let tar = Command::new("tar")
        .args(["--numeric-owner", "--owner=12", "--group=34", "-C"])
        .arg(context(sandbox, "tree"))
        .args(["-cf", "-", "."])
        .output()
        .unwrap();
    assert!(tar.status.success());
    let bytes = match program {
        None => tar.stdout,
        Some(program) => {
            let mut child = Command::new(program)
                .arg("-c")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}"));
            let mut stdin = child.stdin.take().unwrap();
            let writer = std::thread::spawn(move || stdin.write_all(&tar.stdout).unwrap());
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap();
            output.stdout
        }
    };
    sandbox.write(&format!("context/{name}"), bytes);
}

#[test]
fn archives_are_known_by_their_content() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    write_all(&sandbox, &["tree/a", "tree/sub/b", "plain.tar"]);
    fs::set_permissions(context(&sandbox, "tree/a"), fs::Permissions::from_mode(0o4750)).unwrap();
    for (name, program) in [
        ("none", None),
        ("gz", Some("gzip")),
        ("bz2", Some("bzip2")),
        ("xz", Some("xz")),
        ("zst", Some("zstd")),
    ] {
        archive(&sandbox, name, program);
    }
    let files = build_files(
        &sandbox,
        "FROM scratch\nADD none /none\nADD gz /gz/\nADD bz2 /bz2\nADD xz /xz\nADD zst /zst\nADD plain.tar /text\n\
         ADD --unpack=false gz /kept\nCOPY gz /copied\nADD tree /tree/\n",
        &[],
    );
    for name in ["none", "gz", "bz2", "xz", "zst"] {
        assert_eq!(
            fs::read_to_string(files.join(name).join("sub/b")).unwrap(),
            "tree/sub/b",
            "{name}"
        );
        assert_eq!(mode(files.join(name).join("a")), 0o4750, "{name}");
    }
    assert_eq!(
        fs::read(files.join("kept")).unwrap(),
        fs::read(files.join("copied")).unwrap()
    );
    assert_eq!(fs::read_to_string(files.join("text")).unwrap(), "plain.tar");
    let made = "FROM busybox AS made\nADD xz /xz\nADD --chown=0:0 xz /own\n";
    assert_eq!(
        inside(&sandbox, made, &["/xz", "/xz/sub", "/xz/a", "/own/a"]),
        [
            "755 0:0 /xz",
            "755 12:34 /xz/sub",
            "4750 12:34 /xz/a",
            "4750 0:0 /own/a"
        ]
    );
}

#[test]
fn hostile_archives_are_contained() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let script = r#"
import io, sys, tarfile
tar = tarfile.open(sys.argv[1], "w")
def add(name, kind=tarfile.REGTYPE, link="", data=b"x"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
    tar.addfile(info, io.BytesIO(data))
add("../../escaped")
add("/absolute")
add("out", tarfile.SYMTYPE, "/")
add("out/through")
add("up", tarfile.SYMTYPE, "../../../../..")
add("up/above")
add("twice"); add("twice", data=b"second")
"#;
    let path = sandbox.write("context/evil.tar", "");
    assert!(
        Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let files = build_files(&sandbox, "FROM scratch\nADD evil.tar /deep/er/\n", &[]);
    assert_eq!(
        tree(&files),
        [
            "above",
            "deep/",
            "deep/er/",
            "deep/er/absolute",
            "deep/er/escaped",
            "deep/er/out",
            "deep/er/twice",
            "deep/er/up",
            "through"
        ]
    );
    assert_eq!(fs::read_to_string(files.join("deep/er/twice")).unwrap(), "second");
    assert!(!Path::new("/through").exists() && !Path::new("/above").exists());
    let cut = fs::read(&path).unwrap();
    sandbox.write("context/cut.tar", &cut[..1200]);
    let outcome = build(&sandbox, "FROM scratch\nADD cut.tar /x/\n", &[]);
    assert!(
        outcome.code == 1 && outcome.stderr.contains("cannot unpack"),
        "{outcome}"
    );
}
