//! Projects as their authors write them: files in a folder, and what they come to.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use plimsoll_compose_file::{LoadOptions, Project, load, to_yaml};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join("app").join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        Self(folder)
    }

    fn path(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.0.path().join("app")).expect("text")
    }

    fn options(&self, files: &[&str]) -> LoadOptions {
        LoadOptions {
            files: files.iter().map(Utf8PathBuf::from).collect(),
            current: self.path(),
            environment: BTreeMap::from([("SET".to_owned(), "value".to_owned())]),
            ..LoadOptions::default()
        }
    }

    /// What is found, each on a line with its place.
    fn errors(&self, files: &[&str]) -> String {
        self.errors_with(&self.options(files))
    }

    fn errors_with(&self, options: &LoadOptions) -> String {
        let found = match load(options) {
            Ok(project) => project.warnings,
            Err(found) => found,
        };
        let line = |found: &plimsoll_diagnostics::Diagnostic| {
            let at = found.span().map_or_else(String::new, |span| {
                let at = found.source.position(span.start);
                format!("{}:{}:{}: ", found.source.name, at.line, at.column)
            });
            let help = found
                .help
                .as_ref()
                .map_or_else(String::new, |help| format!(" ({help})"));
            format!("{at}{}{help}\n", found.message).replace(self.path().as_str(), "/app")
        };
        found.iter().map(line).collect()
    }

    fn load(&self, files: &[&str]) -> Project {
        let options = self.options(files);
        load(&options).unwrap_or_else(|_| panic!("{}", self.errors(files)))
    }

    fn yaml(&self, files: &[&str]) -> String {
        to_yaml(&self.load(files).to_yaml()).replace(self.path().as_str(), "/app")
    }
}

fn one(text: &str) -> String {
    Folder::new(&[("compose.yaml", text)]).yaml(&["compose.yaml"])
}

fn wrong(text: &str) -> String {
    Folder::new(&[("compose.yaml", text)]).errors(&["compose.yaml"])
}

#[test]
fn short_forms_become_long_ones() {
    insta::assert_snapshot!(one(r#"
services:
  web:
    build: ./web
    command: serve --name "a b" $SET
    environment:
      - A=1
      - SET
      - UNSET
    ports: ["8080:80", 127.0.0.1::53/udp, 9000]
    volumes:
      - ./conf:/etc/conf:ro
      - data:/data
      - /cache
    depends_on: [db]
    secrets: [token]
    configs: [{source: settings, target: app.conf, mode: 0440}]
    extra_hosts: ["host=1.2.3.4", "six:[::1]"]
    healthcheck: {test: curl -f localhost, interval: 5s}
    ulimits: {nofile: 100, nproc: {soft: 1, hard: 2}}
    mem_limit: 64m
    tmpfs: /tmp
    env_file: []
  db:
    image: postgres:16
    networks: {back: {aliases: [database]}}
networks: {back: {internal: true}, unused: }
volumes: {data: }
secrets: {token: {file: ./token}}
configs: {settings: {content: "x=${SET}"}}
"#));
}

#[test]
fn files_are_merged_by_the_rules_of_their_keys() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            r#"
services:
  web:
    image: web
    command: [a, b]
    environment: {A: 1, B: 2}
    ports: ["8080:80"]
    dns: [1.1.1.1]
    volumes: ["one:/data", "/x"]
    logging: {driver: json-file, options: {max-size: 1m}}
    cap_add: [NET_ADMIN]
    labels: [a=1]
  gone: {image: gone}
volumes: {one: , two: }
"#,
        ),
        (
            "over.yaml",
            r#"
services:
  web:
    command: c
    environment: [B=3, C=4]
    ports: ["9090:80", "8080:80"]
    dns: 1.1.1.1
    volumes: ["two:/data"]
    logging: {options: {max-file: "2"}}
    cap_add: !override [SYS_TIME]
    labels: !reset
  gone: !reset
"#,
        ),
    ]);
    insta::assert_snapshot!(folder.yaml(&["compose.yaml", "over.yaml"]));
}

#[test]
fn services_extend_services_of_other_folders() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            "services:\n  web:\n    extends: {file: base/common.yaml, service: web}\n    environment: {B: 2}\n  mine:\n    extends: web\n    command: x\n",
        ),
        (
            "base/common.yaml",
            "services:\n  root: {image: root, init: true}\n  web:\n    extends: root\n    build: .\n    volumes: ['./src:/src']\n    environment: {A: 1, B: 1}\n    env_file: vars.env\n",
        ),
        ("base/vars.env", "V=1\n"),
    ]);
    insta::assert_snapshot!(folder.yaml(&["compose.yaml"]));
}

#[test]
fn projects_include_projects() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            "include:\n  - sub/compose.yaml\nservices:\n  web: {image: web, depends_on: [db]}\n  db: {environment: {B: 2}}\n",
        ),
        (
            "sub/compose.yaml",
            "services:\n  db:\n    image: db:${TAG}\n    volumes: ['./data:/data']\n    environment: {A: 1}\n",
        ),
        ("sub/.env", "TAG=16\n"),
    ]);
    insta::assert_snapshot!(folder.yaml(&["compose.yaml"]));
}

#[test]
fn profiles_choose_services() {
    let folder = Folder::new(&[(
        "compose.yaml",
        "services:\n  web: {image: web}\n  debug: {image: debug, profiles: [debug]}\n  test:\n    image: t\n    profiles: [test]\n    depends_on: {debug: {condition: service_started, required: false}}\n",
    )]);
    let names = |profiles: &[&str], named: &[&str]| {
        let options = LoadOptions {
            profiles: profiles.iter().map(|name| (*name).to_owned()).collect(),
            named: named.iter().map(|name| (*name).to_owned()).collect(),
            ..folder.options(&["compose.yaml"])
        };
        let project = load(&options).expect("loads");
        project
            .section("services")
            .iter()
            .map(|entry| entry.key.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&[], &[]), ["web"]);
    assert_eq!(names(&["debug"], &[]), ["debug", "web"]);
    assert_eq!(names(&["*"], &[]), ["debug", "test", "web"]);
    assert_eq!(names(&[], &["test"]), ["test", "web"]);
    assert_eq!(folder.load(&["compose.yaml"]).profiles(), ["debug", "test"]);
}

#[test]
fn names_of_projects() {
    let folder = Folder::new(&[
        ("compose.yaml", "name: ${SET}-app\nservices: {a: {image: a}}\n"),
        ("other.yaml", "services: {a: {image: a}}\n"),
    ]);
    assert_eq!(folder.load(&["compose.yaml"]).name, "value-app");
    assert_eq!(folder.load(&["other.yaml"]).name, "app");
    let options = LoadOptions {
        name: Some("Not Good".to_owned()),
        ..folder.options(&["other.yaml"])
    };
    assert!(
        folder
            .errors_with(&options)
            .starts_with("invalid project name `Not Good`")
    );
}

#[test]
fn values_know_where_they_come_from() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    ports: ['80']\n",
        ),
        ("over.yaml", "services:\n  web:\n    image: b\n"),
    ]);
    let project = folder.load(&["compose.yaml", "over.yaml"]);
    let image = project.at("services.web.image").expect("there");
    assert_eq!(
        (image.as_text(), &*image.place.source.name),
        (Some("b"), "over.yaml")
    );
    assert_eq!(
        project
            .at("services.web.ports.0.target")
            .and_then(|node| node.as_text()),
        Some("80")
    );
    assert!(project.at("services.web.nothing").is_none());
}

#[test]
fn mistakes_are_said_with_their_place() {
    insta::assert_snapshot!([
        wrong("services:\n  web:\n    image: x\n    enviroment: {A: 1}\n"),
        wrong("services:\n  web:\n    image: 5\n    init: maybe\n    ports: {a: b}\n    restart: [no]\n"),
        wrong("services:\n  web:\n    image: x\n    ports: ['99999:80', '80:x']\n    volumes: ['data:rel']\n"),
        wrong("services:\n  web:\n    image: x\n    healthcheck: {test: [curl], interval: 5}\n    mem_limit: 5x\n    pull_policy: often\n"),
        wrong("services:\n  web:\n    image: x\n    networks: [frnt]\n    volumes: ['data:/d']\n    depends_on: [dbb]\n  db: {image: y}\nnetworks: {front: }\n"),
        wrong("services:\n  a: {image: a, depends_on: [b]}\n  b: {image: b, depends_on: [c]}\n  c: {image: c, links: [a]}\n"),
        wrong("services:\n  a: {command: x}\n  b: {image: b, network_mode: host, networks: [default]}\n"),
        wrong("services:\n  a:\n    image: a\n    container_name: a\n    deploy: {replicas: 2, resources: {limits: {memory: 64m}}}\n    mem_limit: 32m\n    scale: 3\n    volumes: ['/x', 'y:/x/']\nvolumes: {y: }\n"),
        wrong("services:\n  a: {image: a, secrets: [s, t], configs: [c]}\nsecrets: {s: {file: x, environment: Y}, t: {}}\nconfigs: {c: {external: true, file: x}}\n"),
        wrong("services:\n  a: {image: 'a:${TAG:?say which}', command: '${B/x}'}\n  b: {image: $NO}\n"),
        wrong("services:\n  a: {image: a, env_file: [none.env, {path: also, required: false}]}\n"),
        wrong("services:\n  a: {extends: b}\n  b: {extends: {service: a}}\n"),
        wrong("services:\n  a: {extends: {file: none.yaml, service: x}}\n"),
        wrong("services:\n  a: {extends: webb, image: x}\n  web: {image: y}\n"),
        wrong("include: [compose.yaml]\nservices: {}\n"),
        wrong("include: [none.yaml]\nservices: {}\n"),
        wrong("version: '3'\nservices:\n  db: {image: a, profiles: [back]}\n  web: {image: b, depends_on: [db]}\n"),
        wrong(""),
        wrong("services:\n  web: {image: x}\n  web: {image: y}\n"),
    ]
    .join("--\n"));
}

#[test]
fn another_kind_of_value_does_not_override() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            "services:\n  web: {image: a, x-own: {a: 1}}\nvolumes: {v: {external: true}}\n",
        ),
        (
            "over.yaml",
            "services:\n  web: {x-own: [1]}\nvolumes: {v: {external: {name: w}}}\n",
        ),
    ]);
    assert_eq!(
        folder.errors(&["compose.yaml", "over.yaml"]),
        "over.yaml:3:25: cannot override `volumes.v.external`: another kind of value (`!override` before the value replaces what earlier files say)\n"
    );
}

#[test]
fn files_may_be_elsewhere() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            "include: ['oci://example.com/stack:1']\nservices:\n  web: {extends: {file: 'https://example.com/base.git#main', service: base}}\n",
        ),
        (
            "fetched/stack/compose.yaml",
            "services: {db: {image: postgres, volumes: ['./data:/data']}}\n",
        ),
        ("fetched/base/compose.yaml", "services: {base: {image: nginx}}\n"),
    ]);
    let at = folder.path().join("fetched");
    let fetch = |name: &str| match name {
        "oci://example.com/stack:1" => Ok(at.join("stack/compose.yaml")),
        "https://example.com/base.git#main" => Ok(at.join("base/compose.yaml")),
        other => Err(format!("asked for {other}")),
    };
    let project =
        plimsoll_compose_file::load_with(&folder.options(&["compose.yaml"]), &fetch).expect("loads");
    let json = project.to_json();
    assert_eq!(json["services"]["web"]["image"], "nginx");
    assert_eq!(
        json["services"]["db"]["volumes"][0]["source"],
        at.join("stack/data").as_str()
    );
    let errors = folder.errors(&["compose.yaml"]);
    assert!(
        errors.contains("cannot fetch `https://example.com/base.git#main`"),
        "{errors}"
    );
    let named = plimsoll_compose_file::load_with(&folder.options(&["oci://example.com/stack:1"]), &fetch);
    assert!(named.expect("loads").document.at(&["services", "db"]).is_some());
}
