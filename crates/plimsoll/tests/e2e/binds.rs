//! Binds: what passes through them, and how far they go.

use std::fs;
use std::process::Command;

use plimsoll_testkit::{Sandbox, needs};

use crate::with_busybox;

fn mount(args: &[&str]) {
    let status = Command::new("mount").args(args).status().expect("mount");
    assert!(status.success(), "mount {args:?}");
}

/// A mount of memory on the host that others are told about, or not; unmounted with all below it at the end.
struct Memory(String);

impl Memory {
    fn new(sandbox: &Sandbox, name: &str, propagation: &str) -> Self {
        let path = sandbox.path(name).to_string();
        fs::create_dir_all(&path).unwrap();
        mount(&["-t", "tmpfs", "tmpfs", &path]);
        mount(&[&format!("--make-{propagation}"), &path]);
        Self(path)
    }

    /// A further mount below it, with a file.
    fn mount_below(&self, name: &str) {
        let path = format!("{}/{name}", self.0);
        fs::create_dir_all(&path).unwrap();
        mount(&["-t", "tmpfs", "tmpfs", &path]);
        fs::write(format!("{path}/file"), name).unwrap();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-R", "-l", &self.0]).status();
    }
}

#[test]
fn mounts_of_the_host_come_in_where_that_was_asked_for() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let source = Memory::new(&sandbox, "source", "shared");
    source.mount_below("early");
    for kind in ["rslave", "rshared", "rprivate", ""] {
        let bind = format!("{}:/b:{kind}", source.0);
        let name = format!("box-{kind}");
        sandbox.ok([
            "run", "-d", "--name", &name, "-v", &bind, "busybox", "sleep", "100",
        ]);
    }
    let long = format!("type=bind,src={},dst=/b,bind-propagation=rslave", source.0);
    sandbox.ok([
        "run", "-d", "--name", "box-long", "--mount", &long, "busybox", "sleep", "100",
    ]);
    source.mount_below("late");
    for (kind, seen) in [
        ("rslave", "early"),
        ("rshared", "early"),
        ("long", "early"),
        ("rprivate", ""),
        ("", ""),
    ] {
        let name = format!("box-{kind}");
        let files = sandbox.ok([
            "exec",
            &name,
            "sh",
            "-c",
            "cat /b/early/file; echo; cat /b/late/file 2>/dev/null; true",
        ]);
        let late = if seen.is_empty() { "" } else { "late" };
        assert_eq!(files, format!("early\n{late}"), "{kind}");
    }
    let format = "{{range .Mounts}}{{.Mode}} {{.Propagation}}{{end}} {{.HostConfig.Binds}}";
    assert_eq!(
        sandbox.ok(["inspect", "-f", format, "box-rslave"]),
        format!("rslave rslave [{}:/b:rslave]\n", source.0)
    );
}

#[test]
fn mounts_of_a_container_go_out_where_that_was_asked_for() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let source = Memory::new(&sandbox, "source", "shared");
    for (kind, seen) in [
        ("rshared", true),
        ("shared", true),
        ("rslave", false),
        ("rprivate", false),
    ] {
        let bind = format!("{}:/b:{kind}", source.0);
        let name = format!("box-{kind}");
        let script = format!(
            "mkdir /b/{kind} && mount -t tmpfs tmpfs /b/{kind} && echo x >/b/{kind}/file && sleep 100"
        );
        sandbox.ok([
            "run",
            "-d",
            "--privileged",
            "--name",
            &name,
            "-v",
            &bind,
            "busybox",
            "sleep",
            "100",
        ]);
        sandbox.ok(["exec", "-d", "--privileged", &name, "sh", "-c", &script]);
        let inside = [
            "exec",
            &name,
            "sh",
            "-c",
            &format!("until cat /b/{kind}/file; do sleep 0.05; done 2>/dev/null"),
        ];
        assert_eq!(sandbox.ok(inside), "x\n");
        let file = format!("{}/{kind}/file", source.0);
        assert_eq!(fs::exists(&file).unwrap(), seen, "{kind}");
    }
}

#[test]
fn what_keeps_to_itself_cannot_pass_anything_on() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let source = Memory::new(&sandbox, "source", "private");
    for (kind, words) in [("rshared", "shared"), ("slave", "shared or slave")] {
        let bind = format!("{}:/b:{kind}", source.0);
        let outcome = sandbox.run(["run", "--rm", "-v", &bind, "busybox", "true"]);
        assert_eq!(outcome.code, 125, "{outcome}");
        let expected = format!(
            "path {0} is mounted on {0} but it is not a {words} mount",
            source.0
        );
        assert!(outcome.stderr.contains(&expected), "{outcome}");
    }
}

#[test]
fn binds_take_along_what_is_mounted_below_or_not() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let source = Memory::new(&sandbox, "source", "private");
    source.mount_below("below");
    let try_all = "cat /b/below/file 2>/dev/null || echo -n none; for f in /b /b/below; do touch $f/x 2>/dev/null && echo -n ' rw' || echo -n ' ro'; done";
    for (options, expected) in [
        ("", "below rw rw"),
        (",bind-recursive=enabled", "below rw rw"),
        (",readonly", "below ro ro"),
        (
            ",readonly,bind-recursive=readonly,bind-propagation=rprivate",
            "below ro ro",
        ),
        (",readonly,bind-recursive=writable", "below ro rw"),
        (",bind-recursive=disabled", "none rw rw"),
        (",bind-nonrecursive", "none rw rw"),
        (",readonly,bind-recursive=disabled", "none ro ro"),
    ] {
        let bind = format!("type=bind,src={},dst=/b{options}", source.0);
        let seen = sandbox.ok(["run", "--rm", "--mount", &bind, "busybox", "sh", "-c", try_all]);
        assert_eq!(seen, expected, "{options}");
    }
}
