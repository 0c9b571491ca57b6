//! `build --check`, `--call`, and what a Dockerfile says about its own checks.

use plimsoll_testkit::needs;
use serde_json::Value;

use crate::{build, sandbox, with_busybox};

const FAULTY: &str = "\
# build compiles things
FROM scratch AS build
# VERSION says which one
ARG VERSION=1
MAINTAINER ada
FROM scratch as final
CMD echo a
";

#[test]
fn checks_print_what_buildx_prints() {
    needs!(root);
    let sandbox = sandbox();
    let found = build(&sandbox, FAULTY, &["--check"]);
    assert_eq!(found.code, 1, "{found}");
    let expected = "\
Check complete, 3 warnings have been found!

WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
Maintainer instruction is deprecated in favor of using label
Dockerfile:5
--------------------
   3 |     # VERSION says which one
   4 |     ARG VERSION=1
   5 | >>> MAINTAINER ada
   6 |     FROM scratch as final
   7 |     CMD echo a
--------------------
";
    assert!(found.stdout.starts_with(expected), "{found}");
    assert!(
        found.stdout.contains("FromAsCasing") && found.stdout.contains("JSONArgsRecommended"),
        "{found}"
    );
    let ignored = build(&sandbox, FAULTY, &["--call=check,ignorestatus=true"]);
    assert_eq!(ignored.code, 0, "{ignored}");
    let clean = build(&sandbox, "FROM scratch\nCMD [\"a\"]\n", &["--call", "check"]);
    assert_eq!(
        (clean.code, clean.stdout.as_str()),
        (0, "Check complete, no warnings found.\n"),
        "{clean}"
    );
    let json = build(&sandbox, FAULTY, &["--call=check,format=json"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    assert_eq!(json["warnings"][0]["ruleName"], "MaintainerDeprecated");
    assert_eq!(json["warnings"][0]["location"]["ranges"][0]["start"]["line"], 5);
    assert_eq!(json["sources"][0]["filename"], "Dockerfile");
}

#[test]
fn what_cannot_be_parsed_is_told_besides() {
    needs!(root);
    let found = build(&sandbox(), "FROM scratch\nMAINTAINER x\nRUNN y\n", &["--check"]);
    assert_eq!(found.code, 1, "{found}");
    assert!(found.stdout.contains("MaintainerDeprecated"), "{found}");
    assert!(found.stderr.contains("unknown instruction `RUNN`"), "{found}");
}

#[test]
fn outline_and_targets() {
    needs!(root);
    let sandbox = sandbox();
    let outline = build(&sandbox, FAULTY, &["--call=outline", "--target", "build"]);
    let expected = "\
TARGET:      build
DESCRIPTION: compiles things

BUILD ARG   VALUE   DESCRIPTION
VERSION     1       says which one

";
    assert_eq!(outline.stdout, expected, "{outline}");
    let targets = build(&sandbox, FAULTY, &["--call", "targets"]);
    let expected = "TARGET          DESCRIPTION\nbuild           compiles things\nfinal (default) \n\n";
    assert_eq!(targets.stdout, expected, "{targets}");
    let wrong = build(&sandbox, FAULTY, &["--call", "outlin"]);
    assert_eq!(wrong.code, 1, "{wrong}");
}

#[test]
fn a_build_tells_its_warnings_and_fails_when_it_is_told_to() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let faulty = "FROM busybox\nMAINTAINER x\nCMD a\n";
    let told = build(&sandbox, faulty, &["--progress=plain"]);
    assert_eq!(told.code, 0, "{told}");
    assert!(
        told.stderr.contains("2 warnings found")
            && told
                .stderr
                .contains(" - MaintainerDeprecated: Maintainer instruction"),
        "{told}"
    );
    let strict = format!("# check=error=true\n{faulty}");
    let failed = build(&sandbox, &strict, &["-t", "strict"]);
    assert_eq!(failed.code, 1, "{failed}");
    let message = "lint violation found for rules: JSONArgsRecommended, MaintainerDeprecated";
    assert!(failed.stderr.contains(message), "{failed}");
    assert_ne!(
        sandbox.run(["image", "inspect", "strict"]).code,
        0,
        "nothing was tagged"
    );
    let skipped = format!("# check=skip=JSONArgsRecommended,MaintainerDeprecated;error=true\n{faulty}");
    let built = build(&sandbox, &skipped, &["--progress=plain"]);
    assert_eq!(
        (built.code, built.stderr.contains("warnings found")),
        (0, false),
        "{built}"
    );
    let argument = build(
        &sandbox,
        faulty,
        &["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all;error=true"],
    );
    assert_eq!(argument.code, 0, "{argument}");
}
