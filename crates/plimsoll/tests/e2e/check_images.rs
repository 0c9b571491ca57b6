//! `check` of images: what lies in their layers, in the store and in archives.

use plimsoll_testkit::{Sandbox, needs};
use serde_json::Value;

use crate::{build_ok, with_busybox};

const DOCKERFILE: &str = r#"FROM busybox
RUN mkdir -p /app/.git && echo x >/app/.git/HEAD && echo API_KEY=$(printf hunter2-%s hunter2) >/app/.env
RUN cp /bin/busybox /app/su && chmod 4755 /app/su && echo open::5:5::/:/bin/sh >>/etc/passwd
RUN dd if=/dev/urandom of=/big bs=1M count=3
RUN rm /app/.env /big
ENV TOKEN=hunter2-hunter2
USER 65532
CMD ["sleep", "1"]
"#;

/// `rule:line of the history` of what is found.
fn found(sandbox: &Sandbox, image: &str) -> Vec<String> {
    let outcome = sandbox.run(["check", "--format=json", image]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(!outcome.stdout.contains("hunter2-hunter2"), "{outcome}");
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(report["errors"], serde_json::json!([]));
    let findings = report["findings"].as_array().expect("a list");
    let mut told: Vec<_> = findings
        .iter()
        .map(|one| format!("{}:{}", one["rule"].as_str().unwrap_or_default(), one["line"]))
        .collect();
    told.sort();
    told
}

#[test]
fn layers_are_looked_into_also_where_later_ones_cover_them() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(&sandbox, DOCKERFILE, &[]);
    // Two lines of history are the base's.
    let expected = [
        "empty-password:1",
        "image-waste:5",
        "leftover-files:3",
        "secret-file-copied:3",
        "secret-in-env:7",
        "setuid-files:4",
    ];
    assert_eq!(found(&sandbox, "app"), expected);
    let archive = sandbox.path("app.tar");
    for format in ["docker", "oci"] {
        let format = format!("--format={format}");
        sandbox.ok(["save", &format, "-o", archive.as_str(), "app"]);
        assert_eq!(found(&sandbox, archive.as_str()), expected, "{format}");
    }
    let text = sandbox.run(["check", "app"]);
    assert!(
        text.stdout.contains("ENV TOKEN=***") && !text.stdout.contains("hunter2-hunter2"),
        "{text}"
    );
}

#[test]
fn what_is_no_image_is_an_error() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let outcome = sandbox.run(["check", "--format=json", "busibox"]);
    assert_eq!(outcome.code, 2, "{outcome}");
    assert!(outcome.stdout.contains("busibox"), "{outcome}");
    let broken = sandbox.write("broken.tar", "no archive");
    let outcome = sandbox.run(["check", broken.as_str()]);
    assert_eq!(outcome.code, 2, "{outcome}");
}
