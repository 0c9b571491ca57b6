//! Rules about images, by facts that are made here; how facts come from images is the command line's to test.

use plimsoll_diagnostics::{Diagnostic, Severity};
use plimsoll_oci::{Healthcheck, History};

use crate::config::Config;
use crate::facts::{Account, FileFact, FileFacts, ImageFacts, LayerFacts, SecretFile, WasteFact};
use crate::view::Workspace;

/// An image that no rule has anything against.
fn good() -> ImageFacts {
    let mut image = ImageFacts {
        name: "app:1".to_owned(),
        layers: vec![
            LayerFacts {
                size: 3 << 20,
                wasted: 0
            };
            2
        ],
        files: Some(FileFacts {
            programs: ["app", "busybox"].map(str::to_owned).into(),
            accounts: vec![account("root", 0), account("app", 1000)],
            groups: vec![("root".to_owned(), 0), ("app".to_owned(), 1000)],
            ..FileFacts::default()
        }),
        ..ImageFacts::default()
    };
    let line = |text: &str, empty_layer| History {
        created_by: Some(text.to_owned()),
        empty_layer,
        ..History::default()
    };
    image.config.history = vec![
        line("ADD rootfs.tar / # buildkit", false),
        line("ENV MODE=production", true),
        line("COPY app /app # buildkit", false),
        line("USER app", true),
    ];
    let config = &mut image.config.config;
    config.user = "app".to_owned();
    config.env = vec!["MODE=production".to_owned()];
    config.cmd = Some(vec!["/app".to_owned()]);
    config.exposed_ports = Some([("80/tcp".to_owned(), serde_json::Value::Null)].into());
    config.healthcheck = Some(Healthcheck {
        test: vec!["CMD".to_owned(), "app".to_owned(), "--check".to_owned()],
        ..Healthcheck::default()
    });
    image
}

fn account(name: &str, uid: u32) -> Account {
    Account {
        name: name.to_owned(),
        uid,
        empty_password: false,
    }
}

fn file(path: &str, layer: usize, size: u64) -> FileFact {
    FileFact {
        path: path.to_owned(),
        layer,
        size,
        mode: 0o4755,
    }
}

fn found(change: impl FnOnce(&mut ImageFacts)) -> Vec<Diagnostic> {
    let mut image = good();
    change(&mut image);
    let workspace = Workspace {
        images: vec![image],
        ..Workspace::default()
    };
    crate::check(&workspace, &Config::default()).findings
}

/// `rule severity line: message` of the only finding.
fn only(change: impl FnOnce(&mut ImageFacts)) -> String {
    let found = found(change);
    let [one] = found.as_slice() else {
        panic!("{found:#?}")
    };
    let line = one.source.position(one.span().unwrap_or_default().start).line;
    let line = if one.source.text.is_empty() { 0 } else { line };
    assert!(one.help.is_some(), "{}", one.code);
    format!("{} {:?} {line}: {}", one.code, one.severity, one.message)
}

#[test]
fn a_good_image_has_no_findings() {
    assert!(found(|_| ()).is_empty(), "{:#?}", found(|_| ()));
}

#[test]
fn what_the_configuration_says() {
    let told = [
        only(|image| image.config.config.user.clear()),
        only(|image| image.config.config.user = "0:1000".to_owned()),
        only(|image| {
            image.config.config.user = "toor".to_owned();
            image.files.as_mut().unwrap().accounts.push(account("toor", 0));
            image.files.as_mut().unwrap().accounts.remove(0);
        }),
        only(|image| image.config.config.healthcheck = None),
        only(|image| image.config.config.cmd = Some(["/bin/sh", "-c", "app"].map(str::to_owned).to_vec())),
        only(|image| {
            let volumes = [("/etc/".to_owned(), serde_json::Value::Null)];
            image.config.config.volumes = Some(volumes.into());
        }),
        only(|image| image.name = "app:latest".to_owned()),
        only(|image| {
            let check = image.config.config.healthcheck.as_mut().unwrap();
            check.test = vec![
                "CMD-SHELL".to_owned(),
                "curl -f http://localhost/ || exit 1".to_owned(),
            ];
        }),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_lies_in_the_files() {
    let files = |change: fn(&mut FileFacts)| only(|image| change(image.files.as_mut().unwrap()));
    let told = [
        files(|files| files.setuid = vec![file("/bin/su", 0, 9), file("/bin/mount", 0, 9)]),
        files(|files| files.leftovers = vec![file("/app/.git", 1, 1_234_567)]),
        files(|files| files.package_lists = vec![file("/var/lib/apt/lists", 0, 20_000_000)]),
        files(|files| files.accounts[1].empty_password = true),
        files(|files| files.accounts.push(account("web", 1000))),
        files(|files| files.groups.push(("staff".to_owned(), 0))),
        files(|files| files.programs.extend(["sudo".to_owned()])),
        files(|files| files.programs.extend(["gcc", "make"].map(str::to_owned))),
        files(|files| {
            files.waste = vec![WasteFact {
                path: "/data.tar".to_owned(),
                size: 2 << 20,
                layer: 0,
                by: 1,
                deleted: true,
            }];
        }),
        files(|files| {
            files.secrets = vec![SecretFile {
                path: "/app/.env".to_owned(),
                layer: 1,
                line: Some(3),
                kind: "a password or token",
                covered: true,
            }];
        }),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn little_waste_is_not_worth_a_word() {
    let waste = |size| {
        found(|image| {
            image.layers[0].size = 100 << 20;
            let waste = WasteFact {
                size,
                by: 1,
                ..WasteFact::default()
            };
            image.files.as_mut().unwrap().waste = vec![waste];
        })
    };
    assert!(waste(1 << 20).is_empty() && !waste(3 << 20).is_empty());
}

#[test]
fn secrets_are_found_in_variables_and_history_and_not_shown() {
    let mut image = good();
    image.config.config.env.push("API_KEY=hunter2-hunter2".to_owned());
    let line = |text: &str| History {
        created_by: Some(text.to_owned()),
        empty_layer: true,
        ..History::default()
    };
    image.config.history.extend([
        line("ENV API_KEY=hunter2-hunter2"),
        line("RUN |1 NPM_TOKEN=hunter3-hunter3 /bin/sh -c npm ci # buildkit"),
        line("RUN /bin/sh -c git clone https://me:hunter4-hunter4@example.com/x # buildkit"),
    ]);
    let found = found(|facts| *facts = image);
    let codes: Vec<_> = found.iter().map(|one| one.code).collect();
    assert_eq!(codes, ["secret-in-env", "secret-in-run", "secret-in-run"]);
    for one in &found {
        assert_eq!(one.severity, Severity::Error);
        let shown = plimsoll_diagnostics::render(one, false);
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

#[test]
fn an_image_whose_files_nobody_looked_at_is_judged_by_the_rest() {
    assert!(found(|image| image.files = None).is_empty());
}
