//! State that this version must not touch.

use std::fs;

use plimsoll_testkit::needs;

use crate::{assert_shows, sandbox};

#[test]
fn a_layout_from_the_future() {
    needs!(root);
    let sandbox = sandbox();
    sandbox.ok(["images"]);
    let path = sandbox.root().join("layout-version");
    let text = fs::read_to_string(&path).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&path, format!("99\n{rest}")).unwrap();
    let outcome = sandbox.run(["images"]);
    assert_eq!(outcome.code, 1);
    assert_shows("future_layout", &outcome.to_string());
}

#[test]
fn a_layout_that_is_not_one() {
    needs!(root);
    let sandbox = sandbox();
    sandbox.ok(["images"]);
    fs::write(sandbox.root().join("layout-version"), "nonsense").unwrap();
    assert_eq!(sandbox.run(["images"]).code, 1);
}

#[test]
fn a_root_that_is_a_file() {
    let sandbox = sandbox();
    fs::write(sandbox.root(), "").unwrap();
    let stderr = sandbox.fails(1, ["images"]);
    assert!(stderr.starts_with("error: "), "{stderr}");
}
