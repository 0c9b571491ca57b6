//! `check --fix --unsafe-fixes` makes of bad files some that build to a smaller image which does the same.

use camino::Utf8Path;
use plimsoll_testkit::{Sandbox, needs};
use serde_json::Value;

use crate::{sandbox, wait_for, with_busybox};

/// A folder with a bad Dockerfile, and how to see what its image does.
struct Case {
    folder: &'static str,
    /// As somebody wrote it.
    bad: &'static str,
    /// The same, such that it builds, for comparison.
    buildable: &'static str,
    /// A command in the running container, or one to run instead of the image's own.
    probe: &'static [&'static str],
    serves: bool,
}

const NODE: &[&str] = &[
    "node",
    "-e",
    "fetch('http://127.0.0.1:3000/').then(r => console.log(r.status), () => process.exit(1))",
];
const PYTHON: &[&str] = &[
    "python",
    "-c",
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 5000); c.request('GET', '/'); print(c.getresponse().status)",
];
/// Without the number of the user, which is to be another one.
const WGET: &[&str] = &[
    "sh",
    "-c",
    "wget -q -O - http://127.0.0.1:8080/health | grep -o healthy",
];

const CASES: &[Case] = &[
    Case {
        folder: "01-node-two-stage",
        bad: "Dockerfile.single",
        buildable: "Dockerfile.single",
        probe: NODE,
        serves: true,
    },
    Case {
        folder: "03-python-layer-cache",
        bad: "Dockerfile.bad",
        buildable: "Dockerfile.bad-fixed",
        probe: PYTHON,
        serves: true,
    },
    Case {
        folder: "08-node-layer-order",
        bad: "Dockerfile.bad",
        buildable: "Dockerfile.bad-fixed",
        probe: &["ls", "-R", "dist"],
        serves: false,
    },
    Case {
        folder: "10-go-scratch",
        bad: "Dockerfile.single",
        buildable: "Dockerfile.single",
        probe: WGET,
        serves: true,
    },
];

/// Copies the files of a folder, and what lies in many folders beside them.
fn stage(sandbox: &Sandbox, from: &Utf8Path, to: &str) {
    for entry in from.read_dir_utf8().expect("the folder is there").flatten() {
        let name = entry.file_name();
        match entry.path().is_dir() {
            true => stage(sandbox, entry.path(), &format!("{to}/{name}")),
            false if name.starts_with("Dockerfile") || name == ".dockerignore" => {}
            false => {
                let bytes = std::fs::read(entry.path()).expect("it can be read");
                sandbox.write(&format!("{to}/{name}"), bytes);
            }
        }
    }
}

fn litter(sandbox: &Sandbox, folder: &str) {
    // Random enough not to be the same in two layers, and the same every time.
    let pack: Vec<u8> = (0..2_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    sandbox.write(&format!("{folder}/.git/objects/pack"), pack);
    sandbox.write(&format!("{folder}/debug.log"), "line\n".repeat(1000));
}

fn size(sandbox: &Sandbox, image: &str) -> u64 {
    let inspected = sandbox.ok(["image", "inspect", image]);
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    inspected[0]["Size"].as_u64().expect("a size")
}

/// What the image does: the probe's output.
fn behaviour(sandbox: &Sandbox, image: &str, case: &Case) -> String {
    if !case.serves {
        let outcome = sandbox.run(["run", "--rm", image].iter().chain(case.probe));
        assert_eq!(outcome.code, 0, "{outcome}");
        return outcome.stdout;
    }
    let id = sandbox.ok(["run", "-d", image]);
    let id = id.trim();
    let answer = wait_for("an answer", 60, || {
        let outcome = sandbox.run(["exec", id].iter().chain(case.probe));
        (outcome.code == 0).then_some(outcome.stdout)
    });
    sandbox.ok(["rm", "-f", id]);
    answer
}

#[track_caller]
fn mend(sandbox: &Sandbox, folder: &str) {
    let mended = sandbox.run(["check", "--fix", "--unsafe-fixes", "--fail-on=none", folder]);
    assert_eq!(mended.code, 0, "{mended}");
    let again = sandbox.run(["check", "--diff", "--unsafe-fixes", "--fail-on=none", folder]);
    assert!(
        !again.stdout.contains("+++"),
        "fixes do not come to an end\n{again}"
    );
}

#[test]
fn bad_examples_of_the_posts_become_smaller_and_do_the_same() {
    needs!(
        root,
        overlay,
        tool = "python3",
        tool = "nft",
        path = "../shared/examples-seed/verify.py"
    );
    let mut sandbox = sandbox();
    sandbox.serve(&[]);
    let seeds = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/examples-seed");
    for case in CASES {
        let from = seeds.join(case.folder);
        let folder = case.folder;
        stage(&sandbox, &from, folder);
        litter(&sandbox, folder);
        let read = |name: &str| std::fs::read_to_string(from.join(name)).expect("it is there");
        let dockerfile = format!("{folder}/Dockerfile");
        sandbox.write(&dockerfile, read(case.buildable));
        sandbox.ok(["build", "-q", "-t", "before", folder]);
        let before = (size(&sandbox, "before"), behaviour(&sandbox, "before", case));
        sandbox.write(&dockerfile, read(case.bad));
        mend(&sandbox, folder);
        sandbox.ok(["build", "-q", "-t", "after", folder]);
        let after = (size(&sandbox, "after"), behaviour(&sandbox, "after", case));
        assert!(
            after.0 < before.0,
            "{folder}: {} is not less than {}",
            after.0,
            before.0
        );
        assert_eq!(after.1, before.1, "{folder}");
        let user = sandbox.ok(["image", "inspect", "--format", "{{.Config.User}}", "after"]);
        assert!(!matches!(user.trim(), "" | "root" | "0"), "{folder}: {user}");
    }
}

/// The same with what every clone has.
#[test]
fn a_bad_file_becomes_smaller_and_does_the_same() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    litter(&sandbox, "app");
    sandbox.write("app/www/index.html", "hello\n");
    sandbox.write("app/.env", "API_KEY=hunter2-hunter2\n");
    sandbox.write(
        "app/Dockerfile",
        "FROM busybox\nMAINTAINER somebody\nWORKDIR /srv\nADD . .\nEXPOSE 8080\nCMD httpd -f -p 8080 -h /srv/www\n",
    );
    let case = Case {
        folder: "app",
        bad: "Dockerfile",
        buildable: "Dockerfile",
        probe: &["wget", "-q", "-O", "-", "http://127.0.0.1:8080/index.html"],
        serves: true,
    };
    sandbox.ok(["build", "-q", "-t", "before", "app"]);
    let before = (size(&sandbox, "before"), behaviour(&sandbox, "before", &case));
    assert_eq!(before.1, "hello\n");
    mend(&sandbox, "app");
    sandbox.ok(["build", "-q", "-t", "after", "app"]);
    assert!(size(&sandbox, "after") + 2_000_000 < before.0);
    assert_eq!(behaviour(&sandbox, "after", &case), before.1);
    // The secret and the history of the repository are not in it any more.
    assert_eq!(
        sandbox
            .run(["run", "--rm", "before", "test", "-e", "/srv/.env"])
            .code,
        0
    );
    for path in ["/srv/.env", "/srv/.git", "/srv/debug.log"] {
        assert_eq!(
            sandbox.run(["run", "--rm", "after", "test", "-e", path]).code,
            1,
            "{path}"
        );
    }
    let command = sandbox.ok(["image", "inspect", "--format", "{{json .Config.Cmd}}", "after"]);
    assert_eq!(command.trim(), r#"["httpd","-f","-p","8080","-h","/srv/www"]"#);
}

/// Compose files: what is drafted is accepted, and comments and order stay.
#[test]
fn a_bad_project_is_drafted_and_still_loads() {
    let sandbox = sandbox();
    let text = "# ours\nversion: \"3.8\"\nservices:\n  web: # front\n    image: example/web:2\n    depends_on: [db]\n    \
        ports: [\"8080:80\"]\n  db:\n    image: postgres:17\n    environment:\n      POSTGRES_PASSWORD: hunter2-hunter2\n    \
        ports:\n      - \"5432:5432\" # for tools\n";
    sandbox.write("p/compose.yaml", text);
    mend(&sandbox, "p");
    let mended = std::fs::read_to_string(sandbox.path("work/p/compose.yaml")).expect("it is there");
    for part in [
        "# ours\n",
        "web: # front",
        "\"127.0.0.1:5432:5432\" # for tools",
        "pids_limit: 256",
        "POSTGRES_PASSWORD_FILE",
    ] {
        assert!(mended.contains(part), "{part}\n{mended}");
    }
    assert!(
        !mended.contains("hunter2-hunter2") && !mended.contains("version:"),
        "{mended}"
    );
    let config = sandbox.ok(["compose", "-f", "p/compose.yaml", "config", "--format", "json"]);
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["services"]["db"]["read_only"], true);
    assert_eq!(
        config["secrets"]["postgres_password"]["environment"],
        "POSTGRES_PASSWORD"
    );
}
