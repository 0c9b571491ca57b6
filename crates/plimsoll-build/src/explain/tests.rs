//! Records made by hand.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use plimsoll_store::Store;

use super::compare::Comparison;
use super::{Cause, mark_first_seen};
use crate::record::{
    BuildOptions, BuildRecord, BuildStatus, ContextRecord, Part, PartKind, Place, StageRecord, StepKind,
    StepOutcome, StepRecord, TextRecord,
};

fn record(id: &str, steps: Vec<StepRecord>) -> BuildRecord {
    BuildRecord {
        version: 1,
        id: id.to_owned(),
        name: "app".to_owned(),
        status: BuildStatus::Completed,
        started: Timestamp::UNIX_EPOCH,
        finished: None,
        options: BuildOptions::default(),
        dockerfile: TextRecord::default(),
        context: ContextRecord::default(),
        steps: steps
            .into_iter()
            .enumerate()
            .map(|(id, step)| StepRecord { id, ..step })
            .collect(),
        tasks: Vec::new(),
        warnings: Vec::new(),
        images: Vec::new(),
        exports: Vec::new(),
        error: None,
    }
}

/// A RUN on the step before it. Its key is its instruction's.
fn run(at: usize, instruction: &str, outcome: StepOutcome) -> StepRecord {
    StepRecord {
        id: at,
        task: None,
        name: Some(format!("[{at}/9] {instruction}")),
        kind: StepKind::Run,
        stage: StageRecord::default(),
        instruction: instruction.to_owned(),
        place: Place::default(),
        inputs: at.checked_sub(1).into_iter().collect(),
        on_base: at > 0,
        outcome,
        started: None,
        finished: None,
        key: Some(format!("key of {instruction}")),
        content_key: None,
        content: Some(format!("content of {instruction}")),
        same_as_earlier: false,
        snapshot: None,
        bytes: None,
        parts: vec![Part::new(PartKind::Command, "", instruction)],
    }
}

fn with(mut step: StepRecord, parts: &[(PartKind, &str, &str)]) -> StepRecord {
    step.parts.extend(
        parts
            .iter()
            .map(|(kind, name, value)| Part::new(*kind, *name, *value)),
    );
    step
}

/// What is said about the steps that ran.
fn told(now: &BuildRecord, earlier: Vec<BuildRecord>) -> Vec<(String, Vec<String>)> {
    let directory = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
    let store = Store::open(&root.join("root"), &root.join("run")).unwrap();
    let mut explanation = Comparison::of(&store, now, earlier).explain();
    mark_first_seen(&mut explanation.steps);
    let ran = explanation
        .steps
        .into_iter()
        .filter(|step| step.outcome.has_run());
    ran.map(|step| (step.name, step.causes.iter().map(Cause::to_string).collect()))
        .collect()
}

fn causes(now: &BuildRecord, earlier: Vec<BuildRecord>) -> Vec<String> {
    told(now, earlier)
        .into_iter()
        .flat_map(|(_, causes)| causes)
        .collect()
}

use StepOutcome::{Cached, Failed, Ran, Unfinished, Unneeded};

#[test]
fn a_step_put_between_others_is_new_and_moves_those_after_it() {
    let then = record(
        "a",
        vec![run(0, "one", Ran), run(1, "two", Ran), run(2, "three", Ran)],
    );
    let mut three = run(3, "three", Ran);
    three.key = Some("another key".to_owned());
    let now = record(
        "b",
        vec![
            run(0, "one", Unneeded),
            run(1, "two", Cached),
            run(2, "new", Ran),
            three,
        ],
    );
    insta::assert_debug_snapshot!(told(&now, vec![then]), @r#"
    [
        (
            "[2/9] new",
            [
                "no earlier build had this step",
            ],
        ),
        (
            "[3/9] three",
            [
                "it builds on `[2/9] new`, which came to other files",
            ],
        ),
    ]
    "#);
}

#[test]
fn an_instruction_that_was_rewritten_is_found_by_its_place() {
    let then = record("a", vec![run(0, "one", Ran), run(1, "two", Ran)]);
    let now = record("b", vec![run(0, "one", Cached), run(1, "second", Ran)]);
    assert_eq!(
        causes(&now, vec![then]),
        ["the instruction changed: `two` -> `second`"]
    );
}

#[test]
fn the_same_instruction_twice_is_told_apart_by_order() {
    let steps = |value| {
        let second = with(run(1, "again", Ran), &[(PartKind::Env, "X", value)]);
        vec![
            with(run(0, "again", Cached), &[(PartKind::Env, "X", "0")]),
            second,
        ]
    };
    let said = causes(&record("b", steps("2")), vec![record("a", steps("1"))]);
    assert_eq!(
        said,
        ["ENV `X` changed: `1` -> `2`; this is the first step that sees it"]
    );
}

#[test]
fn variables_and_settings() {
    let step = |outcome, parts: &[_]| record("x", vec![with(run(0, "make", outcome), parts)]);
    let then = step(
        Ran,
        &[
            (PartKind::Arg, "OLD", "1"),
            (PartKind::Env, "A", "1"),
            (PartKind::User, "", "root"),
            (PartKind::Option, "--add-host db", "10.0.0.1"),
        ],
    );
    let now = step(
        Ran,
        &[
            (PartKind::Arg, "NEW", "2"),
            (PartKind::Env, "A", "1"),
            (PartKind::User, "", "app"),
            (PartKind::Workdir, "", "/src"),
        ],
    );
    insta::assert_snapshot!(causes(&now, vec![then]).join("\n"), @"
    ARG `NEW` is new here: `2`; this is the first step that sees it
    ARG `OLD` is not set any more, was `1`; this is the first step that sees it
    USER changed: `root` -> `app`
    WORKDIR is new: `/src`
    --add-host db is gone: `10.0.0.1`
    ");
}

#[test]
fn nothing_changed_but_the_step_ran() {
    let build = |id, outcome| record(id, vec![run(0, "make", outcome)]);
    let now = build("c", Ran);
    let gone = "nothing changed, but its result was removed from the cache";
    assert_eq!(causes(&now, vec![build("b", Cached), build("a", Ran)]), [gone]);
    let failed = "it failed the last time, and failures are not kept";
    assert_eq!(causes(&now, vec![build("b", Failed), build("a", Ran)]), [failed]);
    assert_eq!(
        causes(&now, vec![build("b", Unfinished), build("a", Failed)]),
        [failed],
        "a build that did not get so far says nothing"
    );
    let first = "no earlier build of this Dockerfile and context is known";
    assert_eq!(causes(&now, vec![]), [first]);
}

#[test]
fn a_parent_that_was_found_by_its_definition_is_known_from_before() {
    let build = |id, first: StepRecord, second: StepRecord| record(id, vec![first, second]);
    let mut unneeded = run(0, "one", Unneeded);
    unneeded.content = None;
    let oldest = build("a", run(0, "one", Ran), run(1, "two", Ran));
    let then = build("b", unneeded, run(1, "two", Cached));
    let mut moved = run(0, "one", Ran);
    moved.key = Some("another".to_owned());
    let now = build(
        "c",
        moved.clone(),
        with(run(1, "two", Ran), &[(PartKind::Env, "X", "1")]),
    );
    let said = told(&now, vec![then.clone(), oldest.clone()]);
    assert_eq!(
        said[1].1,
        ["ENV `X` is new here: `1`; this is the first step that sees it"]
    );
    moved.content = Some("other files".to_owned());
    let now = build("c", moved, run(1, "two", Ran));
    let said = told(&now, vec![then, oldest]);
    assert_eq!(said[1].1, ["it builds on `[0/9] one`, which came to other files"]);
}
