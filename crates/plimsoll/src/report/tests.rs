use jiff::{SignedDuration, Timestamp};
use plimsoll_build::record::WarningRecord;
use serde_json::json;

use super::*;

const HOSTILE: &str = "</style></script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds)
}

/// A build of three steps, the last of which failed, in which every text is `text`.
fn record(text: &str) -> BuildRecord {
    let place = json!({"file": text, "line": 1, "lastLine": 1});
    let step = |id: usize, outcome: &str| {
        json!({
            "id": id, "task": id, "name": text, "kind": "run", "instruction": format!("RUN {text}"),
            "stage": {"index": id, "name": text, "platform": "linux/amd64"}, "place": place,
            "inputs": [], "onBase": true, "outcome": outcome, "parts": [],
        })
    };
    let task = |id: i64, cached: bool, error: Option<&str>| {
        json!({
            "digest": format!("task:{id}"), "name": format!("[{text}] RUN {text}"), "started": at(1000 * id),
            "completed": at(1000 * id + 900), "cached": cached, "error": error,
        })
    };
    serde_json::from_value(json!({
        "version": 1, "id": "abc", "name": text, "status": "failed", "started": at(0), "finished": at(3000),
        "options": {"buildArgs": {text: text}, "labels": {text: text}, "target": text},
        "dockerfile": {"name": text, "text": format!("RUN {text}\n")},
        "context": {"root": text},
        "steps": [step(0, "cached"), step(1, "ran"), step(2, "failed")],
        "tasks": [task(0, true, None), task(1, false, None), task(2, false, Some(text))],
        "warnings": [{"code": text, "message": text, "help": text, "place": place, "shown": text}],
        "images": [{"platform": text, "manifestDigest": text, "configDigest": text}],
        "exports": [{"type": text, "names": [text], "attributes": {text: text}, "digest": text}],
        "error": {"message": text, "place": place},
    }))
    .expect("a record")
}

fn page(record: &BuildRecord, text: &str) -> String {
    let facts = Facts {
        record,
        reasons: BTreeMap::from([(1, vec![text.to_owned(), "another".to_owned()])]),
        output: BTreeMap::from([(2, (vec![text.to_owned()], 7))]),
        sizes: BTreeMap::from([(1, 12_345_678)]),
        images: Vec::new(),
        credentials: Vec::new(),
    };
    render(&facts).unwrap()
}

#[test]
fn nothing_of_a_hostile_build_becomes_markup() {
    let clean = page(&record("plain"), "plain");
    let hostile = page(&record(HOSTILE), HOSTILE);
    // As many tags and attributes as for a build whose texts say nothing.
    for mark in ['<', '>', '"', '\''] {
        assert_eq!(
            hostile.matches(mark).count(),
            clean.matches(mark).count(),
            "{mark}"
        );
    }
    assert!(!hostile.contains("<img") && hostile.contains("&lt;img"));
}

#[test]
fn only_its_own_script_may_run_and_nothing_may_be_loaded() {
    let page = page(&record("plain"), "plain");
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap();
    let policy = policy.split('"').next().unwrap();
    let digest = STANDARD.encode(Digest::of(SCRIPT).as_bytes());
    let expected = format!("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'");
    assert!(policy.starts_with(&expected), "{policy}");
    let script = page
        .split("<script>")
        .nth(1)
        .unwrap()
        .split("</script>")
        .next()
        .unwrap();
    assert_eq!(script, SCRIPT);
    for outside in ["http:", "https:", "url(", "@import", "src=", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_failed_build_begins_with_the_reason() {
    let page = page(&record("plain"), "why it ran");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not there"));
    assert!(place("Why it failed") < place("Timeline"));
    assert!(page.contains("why it ran (+1)") && page.contains("7 lines before these"));
    assert!(page.contains("12.3MB in its layer"));
    assert_eq!(page.matches("<details class=\"row ").count(), 3);
    assert_eq!(page.matches("<details class=\"row failed critical\"").count(), 1);
}

#[test]
fn values_of_credentials_are_covered_wherever_they_are() {
    let mut record = record("x");
    record.dockerfile.text = "ARG API_TOKEN=hunter2\nENV A_KEY=\"two words\" PLAIN=visible\n".to_owned();
    record.tasks[1].name = "RUN curl hunter2 visible".to_owned();
    let warning = |name: &str| WarningRecord {
        code: CREDENTIAL.to_owned(),
        message: format!("`{name}` looks like a credential"),
        shown: "1 | ARG API_TOKEN=hunter2".to_owned(),
        ..record.warnings[0].clone()
    };
    record.warnings = vec![warning("API_TOKEN"), warning("A_KEY")];
    assert_eq!(credentials(&record), ["two words", "hunter2"]);
    let facts = Facts {
        record: &record,
        reasons: BTreeMap::new(),
        output: BTreeMap::from([(1, (vec!["got hunter2".to_owned()], 0))]),
        sizes: BTreeMap::new(),
        images: Vec::new(),
        credentials: credentials(&record),
    };
    let page = render(&facts).unwrap();
    assert!(!page.contains("hunter2") && !page.contains("two words"));
    assert!(page.contains("got ***") && page.contains("RUN curl *** visible"));
}
