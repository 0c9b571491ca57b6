//! `check` through the program; what rules find is tested beside them.

use std::fs;

use plimsoll_testkit::{Sandbox, needs};
use serde_json::Value;

use crate::sandbox;

const BAD: &str = "FROM debian:12\n# made by hand\nMAINTAINER me\nRUNN x\nUSER 1000\n";

fn with_file(text: &str) -> Sandbox {
    let sandbox = sandbox();
    sandbox.write("Dockerfile", text);
    sandbox
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Rules of the findings in order.
fn rules(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("findings");
    findings
        .iter()
        .map(|finding| finding["rule"].as_str().expect("rule"))
        .collect()
}

#[test]
fn json_has_the_fields_that_are_promised() {
    let sandbox = with_file(BAD);
    let outcome = sandbox.run(["check", "--format", "json", "Dockerfile"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    let report = json(&outcome.stdout);
    assert_eq!(rules(&report), ["maintainer-deprecated", "syntax-error"]);
    let first = &report["findings"][0];
    let place = serde_json::json!({
        "file": "Dockerfile", "line": 3, "column": 1, "endLine": 3, "endColumn": 14, "severity": "warning",
        "url": "docs/rules/maintainer-deprecated.md",
    });
    for (key, value) in place.as_object().expect("an object") {
        assert_eq!(&first[key], value, "{key}");
    }
    assert_eq!(first["aliases"][0], "DL4000");
    assert_eq!(first["fix"]["safety"], "safe");
    assert_eq!(report["errors"], Value::Array(Vec::new()));
    assert_eq!(report["summary"]["files"], 1);
    assert_eq!(report["summary"]["error"], 1);
}

#[test]
fn exit_codes_tell_findings_from_failures() {
    let sandbox = with_file("FROM debian:12\nMAINTAINER me\nUSER 1000\n");
    let code = |args: &[&str]| {
        let all = ["check"].iter().chain(args);
        sandbox.run(all).code
    };
    assert_eq!(code(&[]), 1);
    assert_eq!(code(&["--fail-on", "error"]), 0);
    assert_eq!(code(&["--fail-on", "none", "."]), 0);
    assert_eq!(code(&["--ignore", "DL4000"]), 0);
    assert_eq!(code(&["--error", "DL4000", "--fail-on", "error"]), 1);
    for wrong in [
        &["--nonsense"][..],
        &["--fail-on", "bad"],
        &["--format", "xml"],
        &["--ignore", "no-such-rule"],
        &["--explain", "no-such-rule"],
        &["no-such-file-or-image"],
        &["--config", "missing.toml"],
        &["-", "--fix"],
    ] {
        assert_eq!(code(wrong), 2, "{wrong:?}");
    }
}

#[test]
fn standard_input_is_a_dockerfile() {
    let outcome = sandbox().run_with_input(["check", "-f", "json", "-"], BAD.as_bytes());
    assert_eq!(outcome.code, 1, "{outcome}");
    assert_eq!(json(&outcome.stdout)["findings"][0]["file"], "<stdin>");
}

#[test]
fn every_form_is_written() {
    let sandbox = with_file(BAD);
    for (format, part) in [
        (
            "text",
            "error[syntax-error]: unknown instruction `RUNN`\n --> Dockerfile:4:1\n",
        ),
        ("sarif", "\"version\": \"2.1.0\""),
        (
            "github",
            "::error file=Dockerfile,line=4,endLine=4,col=1,endColumn=5,title=syntax-error::",
        ),
        ("gitlab", "\"check_name\": \"syntax-error\""),
        ("checkstyle", "<error line=\"4\" column=\"1\" severity=\"error\""),
        (
            "junit",
            "<testsuite name=\"Dockerfile\" tests=\"2\" failures=\"2\"",
        ),
    ] {
        let outcome = sandbox.run(["check", "--format", format]);
        assert_eq!(outcome.code, 1, "{outcome}");
        assert!(outcome.stdout.contains(part), "{format}: {outcome}");
    }
}

#[test]
fn fixes_are_shown_and_made() {
    let text = "FROM debian:12\r\n# kept\r\nMAINTAINER me\r\nUSER 1000\r\n";
    let sandbox = sandbox();
    let path = sandbox.write("Dockerfile", text);
    let shown = sandbox.run(["check", "--diff"]);
    assert_eq!(shown.code, 1, "{shown}");
    assert!(
        shown.stdout.starts_with("--- a/Dockerfile\n+++ b/Dockerfile\n"),
        "{shown}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing is written");
    let mended = sandbox.run(["check", "--fix"]);
    assert_eq!(mended.code, 0, "{mended}");
    assert!(mended.stderr.contains("1 fix made in 1 file"), "{mended}");
    let new = text.replace("MAINTAINER me", "LABEL org.opencontainers.image.authors=\"me\"");
    assert_eq!(fs::read_to_string(&path).unwrap(), new);
    assert_eq!(sandbox.run(["check", "--fix"]).code, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), new);
}

#[test]
fn settings_of_the_project_and_of_hadolint_are_read() {
    let sandbox = with_file("FROM debian:12\nMAINTAINER me\nUSER 1000\n");
    sandbox.write(".hadolint.yaml", "ignored:\n  - DL4000\n");
    sandbox.ok(["check"]);
    sandbox.write(".hadolint.yaml", "");
    assert_eq!(sandbox.run(["check"]).code, 1);
    sandbox.write(".trivyignore", "# accepted\nCVE-2024-1\nDS-0022\n");
    sandbox.ok(["check"]);
    sandbox.write("plimsoll.toml", "[check]\nerror = [\"maintainer-deprecated\"]\n");
    let outcome = sandbox.run(["check", "--fail-on", "error"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    sandbox.write("plimsoll.toml", "[check]\nerror = [\"maintainer-depricated\"]\n");
    let said = sandbox.fails(2, ["check"]);
    assert!(
        said.contains("plimsoll.toml:2:10") && said.contains("did you mean `maintainer-deprecated`?"),
        "{said}"
    );
}

#[test]
fn rules_are_explained() {
    let sandbox = sandbox();
    let page = sandbox.ok(["check", "--explain", "DL4000"]);
    assert!(page.starts_with("# maintainer-deprecated\n"), "{page}");
    let said = sandbox.fails(2, ["check", "--explain", "maintainer-depricated"]);
    assert!(said.contains("did you mean `maintainer-deprecated`?"), "{said}");
    assert!(
        sandbox
            .ok(["check", "--list-rules"])
            .contains("maintainer-deprecated ")
    );
    let list = json(&sandbox.ok(["check", "--list-rules", "--format", "json"]));
    assert!(list.as_array().expect("a list").len() > 50);
}

#[test]
fn registries_are_asked_for_digests() {
    needs!(root, tool = "docker-registry");
    let mut sandbox = sandbox();
    sandbox.serve(&["busybox"]);
    sandbox.write(
        "Dockerfile",
        "FROM busybox AS base\nFROM base\nUSER 65532\nCMD [\"true\"]\n",
    );
    sandbox.write(
        "compose.yaml",
        "services:\n  one:\n    image: \"busybox:latest\" # kept\n",
    );
    let outcome = sandbox.run(["check", "--fix", "--pin", "--fail-on", "none"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let read = |name: &str| std::fs::read_to_string(sandbox.path("work").join(name)).expect("there");
    let dockerfile = read("Dockerfile");
    let digest = dockerfile
        .strip_prefix("FROM busybox@")
        .and_then(|rest| rest.split_once(" AS base\nFROM base\n"))
        .unwrap_or_else(|| panic!("{dockerfile}"))
        .0
        .to_owned();
    assert_eq!(digest.len(), "sha256:".len() + 64, "{digest}");
    let compose = read("compose.yaml");
    assert!(
        compose.contains(&format!("image: \"busybox:latest@{digest}\" # kept\n")),
        "{compose}"
    );

    sandbox.write("Dockerfile", "FROM nothing-of-that-name\n");
    let outcome = sandbox.run(["check", "--pin", "--fail-on", "none", "Dockerfile"]);
    assert_eq!(outcome.code, 2, "{outcome}");
    assert!(
        outcome
            .stderr
            .contains("cannot ask for the digest of `nothing-of-that-name`"),
        "{outcome}"
    );
}
