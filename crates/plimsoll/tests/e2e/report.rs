//! `build --report`: the page is there, says what happened, and is harmless; Chromium is the judge.

use std::process::Command;

use plimsoll_testkit::{Outcome, Sandbox, needs};
use serde_json::{Value, json};

use crate::{build, build_ok, sandbox, with_busybox};

/// Two stages that run beside each other, and a name that is code.
const DOCKERFILE: &str = "FROM busybox AS slow
RUN sleep 0.5 && mkdir /out && head -c 400000 /dev/zero > /out/slow
FROM busybox AS fast
ARG NAME=\"<img src=x onerror=alert(1)>\"
RUN echo \"<script>alert('printed')</script>$NAME\" && head -c 700000 /dev/zero > /fast
FROM busybox
WORKDIR /app
COPY --from=slow /out .
COPY --from=fast /fast .
COPY data data
RUN touch \"/<script>alert(2)<\" && sleep 0.4 && rm /app/fast
";

/// Opens the page in Chromium. `PLIMSOLL_SCREENSHOTS` names a folder for pictures of it.
fn look(page: &str, name: &str) -> Value {
    let mut command = Command::new("node");
    command.args([
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/page/check.mjs"),
        page,
    ]);
    if let Some(folder) = std::env::var_os("PLIMSOLL_SCREENSHOTS") {
        let folder = std::path::Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).expect("a folder for screenshots");
        command.arg(folder);
    }
    let text = Outcome::of(&mut command).success(&"check.mjs");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    // Whatever the build said: nothing was loaded, nothing ran, nothing complained, nothing sticks out.
    assert_eq!(found["requests"], json!([]), "{found:#}");
    assert_eq!(found["complaints"], json!([]), "{found:#}");
    assert_eq!(
        (&found["page"]["scripts"], &found["page"]["images"]),
        (&json!(1), &json!(0))
    );
    for view in found["views"].as_array().expect("views") {
        assert!(view["overflow"].as_i64().expect("a number") <= 0, "{view}");
    }
    found
}

fn report(sandbox: &Sandbox) -> String {
    sandbox.path("work/report.html").into_string()
}

/// The row of a step, by a part of its name.
fn row<'a>(found: &'a Value, name: &str) -> &'a Value {
    let rows = found["page"]["rows"].as_array().expect("rows");
    let is_it = |row: &&Value| row["name"].as_str().is_some_and(|text| text.contains(name));
    rows.iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("{name} in {rows:#?}"))
}

fn is(row: &Value, kind: &str) -> bool {
    row["kind"].as_array().expect("classes").contains(&json!(kind))
}

#[test]
fn chromium_shows_a_build() {
    needs!(
        root,
        overlay,
        tool = "node",
        tool = "chromium",
        path = "tools/page/node_modules/playwright-core"
    );
    let sandbox = with_busybox();
    sandbox.write("context/data/file", "one");
    build_ok(&sandbox, DOCKERFILE, &[]);
    sandbox.write("context/data/file", "two");
    let page = report(&sandbox);
    build_ok(
        &sandbox,
        DOCKERFILE,
        &["--report", &page, "--build-arg", "NAME=<b>\"x\"</b>"],
    );
    let found = look(&page, "built");
    assert_eq!(found["page"]["status"], "completed");
    assert!(is(row(&found, "sleep 0.5"), "cached"), "{found:#}");
    let changed = row(&found, "COPY data data");
    assert!(is(changed, "ran"), "{found:#}");
    assert!(changed["why"].to_string().contains("data/file"), "{changed:#}");
    let argument = row(&found, "<script>alert('printed')</script>");
    assert!(argument["why"].to_string().contains("NAME"), "{argument:#}");
    assert!(is(row(&found, "rm /app/fast"), "critical"), "{found:#}");
    assert_eq!(found["page"]["waste"][0], "/app/fast");
    let stages = found["page"]["stages"].to_string();
    assert!(stages.contains(r#"["fast","left behind"]"#), "{stages}");
    assert!(
        stages.contains(r#"["slow","cached, and nothing asked for it"]"#),
        "{stages}"
    );
    assert!(!found["page"]["cells"].as_array().unwrap().is_empty());
    assert!(found["page"]["facts"]["Names"].to_string().contains("app"));
    assert!(found["critical"].as_u64() < found["page"]["rows"].as_array().map(|rows| rows.len() as u64));
    assert_eq!(found["opened"], "");
}

#[test]
fn chromium_shows_why_a_build_failed() {
    needs!(
        root,
        overlay,
        tool = "node",
        tool = "chromium",
        path = "tools/page/node_modules/playwright-core"
    );
    let sandbox = with_busybox();
    let page = report(&sandbox);
    let dockerfile = "FROM busybox\nENV API_TOKEN=hunter2\nRUN echo '</pre><script>alert(1)</script>' && echo last words && exit 3\n";
    let outcome = build(&sandbox, dockerfile, &["--report", &page]);
    assert_eq!(outcome.code, 1, "{outcome}");
    let found = look(&page, "failed");
    assert_eq!(found["page"]["status"], "failed");
    assert!(
        found["page"]["errorOutput"]
            .as_str()
            .unwrap()
            .contains("last words"),
        "{found:#}"
    );
    let failed = row(&found, "exit 3");
    assert!(is(failed, "failed"), "{failed:#}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(!text.contains("hunter2") && text.contains("API_TOKEN=***"));
    assert_eq!(
        found["page"]["warnings"].as_array().map(Vec::len),
        Some(1),
        "{found:#}"
    );
}

#[test]
fn a_file_that_cannot_be_written_stops_the_build_before_it_begins() {
    needs!(root);
    let sandbox = sandbox();
    sandbox.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let stderr = sandbox.fails(
        1,
        ["build", "--report", "no/such/report.html", "-t", "app", "context"],
    );
    assert!(stderr.contains("cannot write `no/such/report.html`"), "{stderr}");
    assert_eq!(sandbox.ok(["images", "-q"]), "");
    sandbox.ok(["build", "--report", "report.html", "-q", "context"]);
    let left: Vec<_> = std::fs::read_dir(sandbox.path("work"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.contains(&"report.html".into()) && left.len() == 2,
        "no half file stays: {left:?}"
    );
}
