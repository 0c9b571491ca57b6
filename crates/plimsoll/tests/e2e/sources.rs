//! What a build takes from elsewhere: URLs, repositories, archives, named contexts.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_testkit::{Outcome, Sandbox, needs};

use crate::{build, build_files, build_ok, sandbox, wait_for, with_busybox};

const LAST_MODIFIED: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
const LAST_MODIFIED_SECONDS: i64 = 1_445_412_480;

/// A web server that knows its files again by their ETag, and counts.
struct Web {
    address: String,
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    /// Answers of 503 that are still to be given.
    busy: Arc<Mutex<u32>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Self {
            address: listener.local_addr().unwrap().to_string(),
            files: Arc::default(),
            busy: Arc::default(),
            requests: Arc::default(),
        };
        let (files, busy, requests) = (web.files.clone(), web.busy.clone(), web.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &files, &busy, &requests);
            }
        });
        web
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) -> String {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.into());
        format!("http://{}{path}", self.address)
    }

    /// What was asked since the last time: `GET /x 200`.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn answer(
    mut stream: TcpStream,
    files: &Mutex<HashMap<String, Vec<u8>>>,
    busy: &Mutex<u32>,
    requests: &Mutex<Vec<String>>,
) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
        return;
    };
    let header = |name: &str| {
        head.iter()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let body = files.lock().unwrap().get(path).cloned();
    let mut busy = busy.lock().unwrap();
    let etag = body.as_ref().map(|body| {
        format!(
            "\"{:x}-{}\"",
            body.len(),
            body.iter().map(|b| u64::from(*b)).sum::<u64>()
        )
    });
    let (status, body) = match body {
        _ if *busy > 0 => {
            *busy -= 1;
            ("503 Busy", Vec::new())
        }
        None => ("404 Not Found", Vec::new()),
        Some(_)
            if path.starts_with("/secret") && header("authorization").as_deref() != Some("Bearer t0ken") =>
        {
            ("401 Unauthorized", Vec::new())
        }
        Some(_) if header("if-none-match") == etag => ("304 Not Modified", Vec::new()),
        Some(body) => ("200 OK", body),
    };
    requests
        .lock()
        .unwrap()
        .push(format!("GET {path} {}", &status[..3]));
    let etag = etag.map(|etag| format!("ETag: {etag}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\n{etag}Last-Modified: {LAST_MODIFIED}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}

/// Repositories served by `git daemon`.
pub(crate) struct Git {
    folder: Utf8PathBuf,
    address: String,
    daemon: Child,
}

impl Git {
    pub(crate) fn serve(sandbox: &Sandbox) -> Self {
        let folder = sandbox.path("repositories");
        fs::create_dir_all(&folder).unwrap();
        let programs =
            String::from_utf8(Command::new("git").arg("--exec-path").output().unwrap().stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let daemon = Command::new(format!("{}/git-daemon", programs.trim()))
            .args(["--reuseaddr", "--export-all", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={folder}"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        wait_for("git daemon", 20, || TcpStream::connect(&address).ok());
        Self {
            folder,
            address,
            daemon,
        }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("git://{}/{name}", self.address)
    }

    /// Runs git in a repository and returns what it prints.
    fn run(&self, name: &str, args: &[&str]) -> String {
        let identity = [
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "protocol.file.allow=always",
        ];
        let output = Command::new("git")
            .current_dir(self.folder.join(name))
            .args(identity)
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits files, making the repository first if need be; returns the commit.
    pub(crate) fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        let folder = self.folder.join(name);
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            self.run(name, &["init", "-q", "-b", "main"]);
        }
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.run(name, &["add", "-A"]);
        self.run(name, &["commit", "-q", "-m", "change"]);
        self.run(name, &["rev-parse", "HEAD"])
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn read(path: impl AsRef<Utf8Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A tar archive of these files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(0);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Puts `bytes` through a program.
fn through(program: &str, bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

/// Builds what is on standard input into a folder of files.
fn build_stdin(sandbox: &Sandbox, input: &[u8], options: &[&str]) -> Outcome {
    let output = format!("type=local,dest={}", sandbox.path("work/files"));
    let args = ["build", "--progress=plain", "--output", &output]
        .into_iter()
        .chain(options.iter().copied())
        .chain(["-"]);
    sandbox.run_with_input(args, input)
}

/// Builds a context that is not a folder into a folder of files.
fn build_context(sandbox: &Sandbox, context: &str, options: &[&str]) -> Outcome {
    let output = format!("type=local,dest={}", sandbox.path("work/files"));
    let args = ["build", "--progress=plain", "--output", &output]
        .into_iter()
        .chain(options.iter().copied())
        .chain([context]);
    sandbox.run(args)
}

#[test]
fn a_file_of_the_web_is_known_again() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let web = Web::new();
    let url = web.put("/dir/tool", "one");
    let dockerfile = format!("FROM scratch\nADD {url} /bin/\nADD --chmod=755 --chown=7:8 {url} /renamed\n");
    let files = build_files(&sandbox, &dockerfile, &[]);
    let tool = fs::metadata(files.join("bin/tool")).unwrap();
    assert_eq!(read(files.join("bin/tool")), "one");
    assert_eq!(
        (tool.permissions().mode() & 0o7777, tool.mtime()),
        (0o600, LAST_MODIFIED_SECONDS)
    );
    assert_eq!(
        fs::metadata(files.join("renamed")).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    web.asked();
    let log = build_ok(&sandbox, &dockerfile, &[]);
    assert_eq!(web.asked(), ["GET /dir/tool 304"], "{log}");
    assert!(
        !log.contains("DONE") || log.matches(" CACHED").count() >= 2,
        "{log}"
    );
    web.put("/dir/tool", "changed");
    let files = build_files(&sandbox, &dockerfile, &[]);
    assert_eq!(read(files.join("bin/tool")), "changed");
}

#[test]
fn a_checksum_is_kept_to() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let web = Web::new();
    let url = web.put("/tool", "hello\n");
    let right = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    let dockerfile = format!("FROM scratch\nADD --checksum={right} {url} /tool\n");
    build_ok(&sandbox, &dockerfile, &[]);
    assert_eq!(web.asked(), ["GET /tool 200"]);
    build_ok(&sandbox, &dockerfile, &[]);
    build_ok(
        &sandbox,
        &format!("{dockerfile}ADD --checksum={right} {url} /again\n"),
        &[],
    );
    assert!(web.asked().is_empty(), "what is at hand is not asked for");

    let wrong = right.replace("5891", "0000");
    let outcome = build(&sandbox, &dockerfile.replace(right, &wrong), &[]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(
        outcome.stderr.contains(&wrong) && outcome.stderr.contains(right),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("Dockerfile:2:"), "{outcome}");
    let rest = fs::read_dir(sandbox.root().join("content/ingest"))
        .unwrap()
        .count();
    assert_eq!(rest, 0, "nothing of it is kept");

    let outcome = build(
        &sandbox,
        "FROM scratch\nCOPY x /\nADD --checksum=sha256:12 http://x/ /\n",
        &[],
    );
    assert!(outcome.stderr.contains("64 hexadecimal digits"), "{outcome}");
}

#[test]
fn servers_may_be_busy_or_refuse() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let web = Web::new();
    let url = web.put("/tool", "x");
    *web.busy.lock().unwrap() = 2;
    build_ok(&sandbox, &format!("FROM scratch\nADD {url} /tool\n"), &[]);
    assert_eq!(web.asked(), ["GET /tool 503", "GET /tool 503", "GET /tool 200"]);

    let gone = url.replace("tool", "gone");
    let outcome = build(&sandbox, &format!("FROM scratch\nADD {gone} /\n"), &[]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(
        outcome.stderr.contains("answered 404") && outcome.stderr.contains("Dockerfile:2:5"),
        "{outcome}"
    );
    let outcome = build(&sandbox, "FROM scratch\nADD http://127.0.0.1:1/x /\n", &[]);
    assert!(
        outcome.stderr.contains("`127.0.0.1:1` cannot be reached"),
        "{outcome}"
    );

    let secret = web.put("/secret", "s");
    let dockerfile = format!("FROM scratch\nADD {secret} /secret\n");
    let outcome = build(&sandbox, &dockerfile, &[]);
    assert!(outcome.stderr.contains("HTTP_AUTH_TOKEN_"), "{outcome}");
    let token = sandbox.write("token", "t0ken\n");
    let option = format!("id=HTTP_AUTH_TOKEN_127.0.0.1,src={token}");
    build_ok(&sandbox, &dockerfile, &["--secret", &option]);
}

#[test]
fn archives_of_the_web_are_unpacked_when_asked() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let web = Web::new();
    let url = web.put("/a.tar", archive(&[("inside", "x")]));
    let other = web.put("/b", "b");
    sandbox.write("context/local", "l");
    let dockerfile = format!(
        "FROM scratch\nADD {url} /whole/\nADD --unpack=true {url} /open/\nADD {other} local {url} /all/\n"
    );
    let files = build_files(&sandbox, &dockerfile, &[]);
    assert!(files.join("whole/a.tar").exists() && files.join("open/inside").exists());
    for name in ["b", "local", "a.tar"] {
        assert!(files.join("all").join(name).exists(), "{name}");
    }
    build_ok(&sandbox, &dockerfile, &[]);
    let layers = sandbox.ok(["inspect", "-f", "{{len .RootFS.Layers}}", "app"]);
    let rows = sandbox.ok(["history", "--format", "{{.CreatedBy}}", "app"]);
    assert_eq!(
        layers.trim(),
        rows.lines().count().to_string(),
        "a row for each layer"
    );
    let outcome = build(&sandbox, &format!("FROM scratch\nCOPY {url} /\n"), &[]);
    assert!(outcome.stderr.contains("use ADD for remote files"), "{outcome}");
}

#[test]
fn repositories_are_added() {
    needs!(root, overlay, tool = "git");
    let sandbox = sandbox();
    let git = Git::serve(&sandbox);
    let first = git.commit("app", &[("file", "1"), ("sub/deep/x", "x"), ("run.sh", "#!")]);
    fs::set_permissions(git.folder.join("app/run.sh"), fs::Permissions::from_mode(0o777)).unwrap();
    git.commit("app", &[("file", "2")]);
    git.run("app", &["tag", "-a", "-m", "t", "v1"]);
    git.run("app", &["checkout", "-q", "-b", "feature/a"]);
    git.commit("app", &[("file", "3")]);
    git.run("app", &["checkout", "-q", "main"]);
    let url = git.url("app");
    let dockerfile = format!(
        "FROM scratch\nADD {url}#main /main\nADD {url}#v1:sub/deep /sub\nADD {url}?branch=feature/a /feature/\nADD {url}#{first} /first\nADD --keep-git-dir=true {url}#v1 /kept\n"
    );
    let files = build_files(&sandbox, &dockerfile, &[]);
    for (path, text) in [
        ("main/file", "2"),
        ("sub/x", "x"),
        ("feature/file", "3"),
        ("first/file", "1"),
        ("kept/file", "2"),
    ] {
        assert_eq!(read(files.join(path)), text, "{path}");
    }
    assert!(files.join("kept/.git/HEAD").exists() && !files.join("main/.git").exists());
    let mode = |path: &str| fs::metadata(files.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode("main/file"), mode("main/run.sh"), mode("main/sub")),
        (0o644, 0o755, 0o755)
    );
    let status = Command::new("git")
        .args(["-C", files.join("kept").as_str(), "status", "--porcelain"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&status.stdout),
        "",
        "the kept repository is in order"
    );

    let log = build_ok(&sandbox, &dockerfile, &[]);
    assert!(
        !log.contains(" DONE ") || log.matches(" CACHED").count() >= 9,
        "{log}"
    );
    git.commit("app", &[("file", "4")]);
    assert_eq!(
        read(build_files(&sandbox, &dockerfile, &[]).join("main/file")),
        "4"
    );
}

#[test]
fn wrong_references_and_checksums_of_repositories_are_named() {
    needs!(root, overlay, tool = "git");
    let sandbox = sandbox();
    let git = Git::serve(&sandbox);
    let commit = git.commit("app", &[("file", "1")]);
    let url = git.url("app");
    let fails = |line: &str| {
        let outcome = build(&sandbox, &format!("FROM scratch\nADD {line} /\n"), &[]);
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(outcome.stderr.contains("Dockerfile:2:"), "{outcome}");
        outcome.stderr
    };
    let stderr = fails(&format!("{url}#mian"));
    assert!(
        stderr.contains("has no branch or tag `mian`") && stderr.contains("did you mean `main`?"),
        "{stderr}"
    );
    let stderr = fails(&format!("--checksum=0123456 {url}"));
    assert!(stderr.contains(&commit) && stderr.contains("0123456"), "{stderr}");
    let stderr = fails(&format!("{url}#main:nowhere"));
    assert!(stderr.contains("`nowhere` is not a folder in"), "{stderr}");
    let stderr = fails(&git.url("nothing"));
    assert!(stderr.contains("git cannot list the branches of"), "{stderr}");
    let stderr = fails(&format!("{url}?brunch=main"));
    assert!(stderr.contains("did you mean `branch`?"), "{stderr}");
    build_ok(
        &sandbox,
        &format!("FROM scratch\nADD --checksum={} {url} /\n", &commit[..8]),
        &[],
    );
    let file = format!("file://{}", git.folder.join("app/.git"));
    let stderr = fails(&file);
    assert!(stderr.contains("not found in the build context"), "{stderr}");
}

#[test]
fn submodules_come_along() {
    needs!(root, overlay, tool = "git");
    let sandbox = sandbox();
    let git = Git::serve(&sandbox);
    git.commit("library", &[("code", "c")]);
    git.commit("app", &[("file", "1")]);
    git.run(
        "app",
        &["submodule", "add", "-q", &git.url("library"), "vendor/library"],
    );
    git.commit("app", &[]);
    let url = git.url("app");
    let dockerfile = format!("FROM scratch\nADD {url} /with\nADD {url}?submodules=false /without\n");
    let files = build_files(&sandbox, &dockerfile, &[]);
    assert_eq!(read(files.join("with/vendor/library/code")), "c");
    assert!(!files.join("with/vendor/library/.git").exists());
    assert!(!files.join("without/vendor/library/code").exists());
}

#[test]
fn a_missing_git_is_named() {
    needs!(root, overlay);
    let sandbox = sandbox();
    sandbox.write("context/Dockerfile", "FROM scratch\nADD git://127.0.0.1:1/x /\n");
    let outcome = Outcome::of(sandbox.command(["build", "context"]).env("PATH", "/nowhere"));
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(
        outcome.stderr.contains("hint: install it: `apt-get install git`"),
        "{outcome}"
    );
}

#[test]
fn contexts_come_as_archives() {
    needs!(
        root,
        overlay,
        tool = "gzip",
        tool = "bzip2",
        tool = "xz",
        tool = "zstd"
    );
    let sandbox = sandbox();
    let files = [
        ("Dockerfile", "FROM scratch\nCOPY . /all/\n"),
        ("other/Dockerfile", "FROM scratch\nCOPY file /other\n"),
        ("file", "f"),
        ("ignored", "i"),
        (".dockerignore", "ignored\n"),
    ];
    let tar = archive(&files);
    for program in ["cat", "gzip", "bzip2", "xz", "zstd"] {
        let input = if program == "cat" {
            tar.clone()
        } else {
            through(program, &tar)
        };
        let outcome = build_stdin(&sandbox, &input, &[]);
        assert_eq!(outcome.code, 0, "{program}: {outcome}");
        let all = sandbox.path("work/files/all");
        assert_eq!(read(all.join("file")), "f", "{program}");
        assert!(!all.join("ignored").exists(), "{program}");
        fs::remove_dir_all(all).unwrap();
    }
    let outcome = build_stdin(&sandbox, &tar, &["-f", "other/Dockerfile"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(sandbox.path("work/files/other").exists());
    let outcome = build_stdin(&sandbox, &tar, &["-f", "nowhere"]);
    assert!(
        outcome
            .stderr
            .contains("cannot find Dockerfile `nowhere` in the archive"),
        "{outcome}"
    );
    let outcome = build_stdin(&sandbox, b"FROM scratch\nCOPY <<x /alone\nx\n", &[]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let outcome = build_stdin(&sandbox, b"FROM scratch\n", &["-f", "x"]);
    assert!(
        outcome.stderr.contains("the context is not an archive"),
        "{outcome}"
    );
    let builds = fs::read_dir(sandbox.root().join("builds")).unwrap();
    let builds = builds
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("lists"));
    let left: Vec<_> = builds
        .flat_map(|build| fs::read_dir(build).unwrap())
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "record.json" && name != "log")
        .collect();
    assert!(left.is_empty(), "nothing of the contexts stays: {left:?}");
}

#[test]
fn hostile_archives_stay_inside() {
    needs!(root, overlay);
    let sandbox = sandbox();
    let outside = sandbox.write("outside", "mine");
    let link = |builder: &mut tar::Builder<Vec<u8>>, name: &str, target: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    };
    let file = |builder: &mut tar::Builder<Vec<u8>>, name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    };
    let mut builder = tar::Builder::new(Vec::new());
    link(&mut builder, "folder", outside.parent().unwrap().as_str());
    file(&mut builder, "folder/outside", "theirs");
    link(&mut builder, "Dockerfile", outside.as_str());
    let outcome = build_stdin(&sandbox, &builder.into_inner().unwrap(), &[]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert_eq!(read(&outside), "mine");
    assert!(!outcome.stderr.contains("mine"), "{outcome}");

    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, "../../../../escaped", "theirs");
    let outcome = build_stdin(&sandbox, &builder.into_inner().unwrap(), &[]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(!sandbox.path("escaped").exists() && !sandbox.root().join("escaped").exists());
}

#[test]
fn contexts_come_from_repositories_and_the_web() {
    needs!(root, overlay, tool = "git");
    let sandbox = sandbox();
    let git = Git::serve(&sandbox);
    git.commit(
        "app",
        &[
            ("Dockerfile", "FROM scratch\nCOPY file /top\n"),
            ("file", "f"),
            ("sub/Dockerfile", "FROM scratch\nCOPY here /sub\n"),
            ("sub/here", "h"),
            ("sub/Other", "FROM scratch\nCOPY here /another\n"),
            ("Git", "FROM scratch\nCOPY .git/HEAD /head\n"),
        ],
    );
    let url = git.url("app");
    let made = |context: &str, options: &[&str], name: &str| {
        let outcome = build_context(&sandbox, context, options);
        assert_eq!(outcome.code, 0, "{context}: {outcome}");
        assert!(sandbox.path("work/files").join(name).exists(), "{context}");
        outcome.stderr
    };
    made(&url, &[], "top");
    made(&format!("{url}#main:sub"), &[], "sub");
    made(&format!("{url}#main:sub"), &["-f", "Other"], "another");
    let again = made(&url, &[], "top");
    assert!(again.contains(" CACHED"), "{again}");
    let keep = ["-f", "Git", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"];
    assert_eq!(build_context(&sandbox, &url, &keep[..2]).code, 1);
    made(&url, &keep, "head");

    let web = Web::new();
    let dockerfile = web.put("/Dockerfile", "FROM scratch\nCOPY <<x /web\nx\n");
    made(&dockerfile, &[], "web");
    let tar = web.put(
        "/context.tar",
        archive(&[("Dockerfile", "FROM scratch\nCOPY in /tar\n"), ("in", "x")]),
    );
    made(&tar, &[], "tar");
    sandbox.write("context/local", "l");
    let remote = web.put("/Remote", "FROM scratch\nCOPY local /remote\n");
    made("context", &["-f", &remote], "remote");
    let outcome = build_context(&sandbox, &tar.replace("context", "gone"), &[]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("answered 404"), "{outcome}");
}

#[test]
fn named_folders_take_the_place_of_stages_and_images() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("assets/a", "from the folder");
    sandbox.write("assets/ignored", "i");
    sandbox.write("assets/.dockerignore", "ignored\n");
    let assets = sandbox.path("work/assets");
    let name = |name: &str| format!("{name}={assets}");
    // A stage that would fail, an image that is nowhere, a name of its own, and a mount.
    let dockerfile = "\
FROM busybox AS builder
RUN false
FROM busybox AS reader
RUN --mount=from=own,target=/own cat /own/a > /read
FROM docker.io/library/nowhere
COPY --from=builder . /stage/
COPY --from=own /a /own
COPY --from=reader /read /mounted
";
    let options = [name("builder"), name("nowhere"), name("own")];
    let options: Vec<&str> = options
        .iter()
        .flat_map(|value| ["--build-context", value.as_str()])
        .collect();
    let files = build_files(&sandbox, dockerfile, &options);
    for path in ["a", "stage/a", "own", "mounted"] {
        assert_eq!(read(files.join(path)), "from the folder", "{path}");
    }
    assert!(!files.join("ignored").exists() && !files.join("stage/ignored").exists());
    let owner = fs::metadata(files.join("a")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (0, 0));
    build_ok(&sandbox, dockerfile, &options);
    let history = sandbox.ok(["history", "app", "--format", "{{.CreatedBy}}"]);
    assert!(
        history.contains("FROM docker.io/library/nowhere") || history.contains("FROM nowhere"),
        "{history}"
    );

    let outcome = build(&sandbox, "FROM scratch\nCOPY --from=onw /a /\n", &options);
    assert!(outcome.stderr.contains("did you mean `own`?"), "{outcome}");
    let outcome = build(&sandbox, "FROM scratch\nCOPY --from=own /nothing /\n", &options);
    assert!(
        outcome.stderr.contains("`/nothing` not found in context `own`"),
        "{outcome}"
    );
}

#[test]
fn named_images_and_layouts_take_the_place_of_images() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(
        &sandbox,
        "FROM busybox\nENV KIND=own\nRUN echo own > /kind && chown 7:7 /kind\n",
        &[],
    );
    let layout = sandbox.path("work/layout");
    fs::create_dir(&layout).unwrap();
    let tar = sandbox.path("work/app.tar");
    sandbox.ok(["save", "--format", "oci", "-o", tar.as_str(), "app"]);
    tar::Archive::new(fs::File::open(&tar).unwrap())
        .unpack(&layout)
        .unwrap();

    let dockerfile = "FROM alpine\nRUN test $KIND = own\nFROM scratch\nCOPY --from=0 /kind /kind\nCOPY --from=alpine:latest /kind /direct\n";
    for value in ["docker-image://app", &format!("oci-layout://{layout}")] {
        let files = build_files(
            &sandbox,
            dockerfile,
            &["--build-context", &format!("alpine={value}")],
        );
        assert_eq!(read(files.join("kind")), "own\n", "{value}");
        let options = ["--build-context", &format!("alpine={value}"), "--target", "last"];
        build_ok(
            &sandbox,
            "FROM scratch AS last\nCOPY --from=alpine /kind /\n",
            &options,
        );
        sandbox.ok(["save", "-o", tar.as_str(), "app"]);
        build_ok(
            &sandbox,
            "FROM busybox\nENV KIND=own\nRUN echo own > /kind && chown 7:7 /kind\n",
            &[],
        );
    }
    let option = "alpine=docker-image://scratch";
    let files = build_files(
        &sandbox,
        "FROM alpine\nCOPY <<x /x\nx\n",
        &["--build-context", option],
    );
    assert!(files.join("x").exists());
    let wrong = format!("alpine=oci-layout://{layout}:nothing");
    let outcome = build(&sandbox, dockerfile, &["--build-context", &wrong]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("layout:nothing"), "{outcome}");
}

#[test]
fn named_contexts_are_fetched_when_they_are_needed() {
    needs!(root, overlay, tool = "git");
    let sandbox = sandbox();
    let git = Git::serve(&sandbox);
    git.commit("app", &[("dir/file", "g")]);
    let web = Web::new();
    let file = web.put("/data", "w");
    let unneeded = web.put("/unneeded", "u");
    let options = [
        format!("repository={}#main:dir", git.url("app")),
        format!("data={file}"),
        format!("unneeded={unneeded}"),
    ];
    let options: Vec<&str> = options
        .iter()
        .flat_map(|value| ["--build-context", value.as_str()])
        .collect();
    let dockerfile = "FROM repository\nCOPY --from=data /context /data\nFROM 0 AS unneeded\n";
    let files = build_files(&sandbox, dockerfile, &[&options[..], &["--target", "0"]].concat());
    assert_eq!(
        (read(files.join("file")), read(files.join("data"))),
        ("g".to_owned(), "w".to_owned())
    );
    assert_eq!(web.asked(), ["GET /data 200"]);
    let log = build_ok(&sandbox, dockerfile, &[&options[..], &["--target", "0"]].concat());
    assert_eq!(web.asked(), ["GET /data 304"]);
    assert!(log.contains(" CACHED"), "{log}");
}
