//! Dockerfiles that people wrote, with what must come of them.

use std::process::Command;

use plimsoll_testkit::{Outcome, needs};

use crate::sandbox;

#[test]
fn the_seed_examples_build_and_run() {
    needs!(
        root,
        overlay,
        tool = "python3",
        tool = "nft",
        path = "../shared/examples-seed/verify.py"
    );
    let mut sandbox = sandbox();
    sandbox.serve(&[]);
    let top = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/examples-seed/verify.py"
    );
    let report = sandbox.path("report.json");
    let mut verify = Command::new("python3");
    verify.args([
        top,
        "--docker",
        &sandbox.program().display().to_string(),
        "--json",
        report.as_str(),
        // Every step runs once all the same: the store is new. Steps that cases share are not run again.
        "--no-cold",
    ]);
    verify
        .env_clear()
        .envs(sandbox.environment())
        .current_dir(sandbox.path("work"));
    let outcome = Outcome::of(&mut verify);
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}\n{outcome}"));
    let cases: serde_json::Value = serde_json::from_str(&text).expect("a report in JSON");
    let cases = cases.as_array().expect("a list of cases");
    let failed: Vec<_> = cases
        .iter()
        .filter(|case| {
            case["problems"]
                .as_array()
                .is_none_or(|problems| !problems.is_empty())
        })
        .collect();
    assert!(!cases.is_empty() && failed.is_empty(), "{failed:#?}\n{outcome}");
}
