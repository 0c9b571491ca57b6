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

/// Values of one service, read from files that are merged.
fn of_web(files: &[(&str, &str)], path: &str) -> String {
    let folder = Folder::new(files);
    let names: Vec<&str> = files
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| name.ends_with(".yaml") && !name.contains('/'))
        .collect();
    let project = folder.load(&names);
    let node = project.at(&format!("services.web.{path}"));
    let text = node.map_or_else(|| "nothing".to_owned(), |node| node.to_json().to_string());
    text.replace(folder.path().as_str(), "/app")
}

#[test]
fn an_override_leaves_the_folder_of_a_build_alone() {
    let base = ("compose.yaml", "services: {web: {build: ./web}}");
    let over = ("over.yaml", "services: {web: {build: {target: t}}}");
    assert_eq!(of_web(&[base, over], "build.context"), r#""/app/web""#);
    assert_eq!(of_web(&[over], "build.context"), r#""/app""#);
    let files = [
        (
            "compose.yaml",
            "services: {web: {extends: {file: sub/base.yaml, service: base}}}",
        ),
        ("sub/base.yaml", "services: {base: {build: {target: t}}}"),
    ];
    assert_eq!(of_web(&files, "build.context"), r#""/app""#);
}

#[test]
fn a_name_alone_in_an_override_takes_the_callers_value() {
    let base = (
        "compose.yaml",
        "services: {web: {image: a, environment: {SET: x, NOT: y}}}",
    );
    let over = ("over.yaml", "services: {web: {environment: [SET, NOT]}}");
    assert_eq!(
        of_web(&[base, over], "environment"),
        r#"{"SET":"value","NOT":null}"#
    );
}

#[test]
fn one_dependency_can_be_reset() {
    let base = (
        "compose.yaml",
        "services: {web: {image: a, depends_on: [b, c], extra_hosts: {h: 1.1.1.1, i: 2.2.2.2}}, b: {image: b}, c: {image: c}}",
    );
    let over = (
        "over.yaml",
        "services: {web: {depends_on: {b: !reset null}, extra_hosts: {h: !reset null}}}",
    );
    assert_eq!(of_web(&[base, over], "depends_on.b"), "nothing");
    assert_eq!(
        of_web(&[base, over], "depends_on.c.condition"),
        r#""service_started""#
    );
    assert_eq!(of_web(&[base, over], "extra_hosts"), r#"{"i":["2.2.2.2"]}"#);
}

#[test]
fn numbers_become_the_texts_that_the_reference_makes_of_them() {
    let text = "services: {web: {image: a, environment: {A: 1.50, B: 010, C: 0x1F, D: 1e6, E: True, F: \"1.50\"}, labels: {g: }}}";
    let file = [("compose.yaml", text)];
    let expected = r#"{"A":"1.5","B":"8","C":"31","D":"1e+06","E":"true","F":"1.50"}"#;
    assert_eq!(of_web(&file, "environment"), expected);
    assert_eq!(of_web(&file, "labels"), r#"{"g":""}"#);
    assert!(wrong(text).contains(
        "`services.web.environment.A` is the number `1.50`, which is `1.5` as a text (put it into quotes to keep it as it is: \"1.50\")"
    ));
}

#[test]
fn commands_end_where_a_shell_would_go_on() {
    let text = "services: {web: {image: a, command: 'npm i --color #fff && npm start'}}";
    let file = [("compose.yaml", text)];
    assert_eq!(of_web(&file, "command"), r##"["npm","i","--color","#fff"]"##);
    assert!(wrong(text).contains("all from `&& npm start` on is left out (write `sh -c \"...\"`"));
}

#[test]
fn files_of_variables_see_those_before_them() {
    let files = [
        (
            "compose.yaml",
            "services: {web: {image: a, env_file: [a.env, b.env], label_file: l, build: {context: ., args: [NOT, SET]}}}",
        ),
        ("a.env", "A=1\nB=1\n"),
        ("b.env", "B=2\nC=$A$B\n"),
        ("l", "k=v\n"),
    ];
    assert_eq!(of_web(&files, "environment"), r#"{"A":"1","B":"2","C":"12"}"#);
    assert_eq!(of_web(&files, "labels"), r#"{"k":"v"}"#);
    // An argument without a value leaves the default of the Dockerfile.
    assert_eq!(of_web(&files, "build.args"), r#"{"SET":"value"}"#);
    let folder = Folder::new(&[
        ("compose.yaml", "services: {web: {image: \"a:${C}\"}}"),
        ("a.env", "A=1\nB=1\n"),
        ("b.env", "B=2\nC=$A$B\n"),
    ]);
    let options = LoadOptions {
        env_files: Some(vec!["a.env".into(), "b.env".into()]),
        ..folder.options(&["compose.yaml"])
    };
    let project = load(&options).unwrap_or_else(|_| panic!("{}", folder.errors_with(&options)));
    assert_eq!(
        project
            .at("services.web.image")
            .and_then(|node| node.as_text().map(str::to_owned)),
        Some("a:12".to_owned())
    );
}

#[test]
fn label_files_start_at_the_file_that_names_them() {
    let files = [
        (
            "compose.yaml",
            "services: {web: {extends: {file: sub/base.yaml, service: base}}}",
        ),
        (
            "sub/base.yaml",
            "services: {base: {image: a, label_file: [l]}, other: {no: valid}}",
        ),
        ("sub/l", "k=v\n"),
    ];
    // Nor is it looked at what is wrong with a service that nobody extends.
    assert_eq!(of_web(&files, "labels"), r#"{"k":"v"}"#);
}

#[test]
fn the_env_file_of_the_current_folder_comes_before_that_of_the_project() {
    let folder = Folder::new(&[
        ("compose.yaml", "services: {web: {image: \"a:${A}${B}\"}}"),
        (".env", "A=project\nB=project\n"),
        ("sub/.env", "A=here\n"),
    ]);
    let options = LoadOptions {
        looked_for: true,
        current: folder.path().join("sub"),
        ..folder.options(&["../compose.yaml"])
    };
    let project = load(&options).unwrap_or_else(|_| panic!("{}", folder.errors_with(&options)));
    assert_eq!(
        project.at("services.web.image").and_then(|node| node.as_text()),
        Some("a:hereproject")
    );
}

#[test]
fn what_is_included_twice_is_there_once() {
    let diamond = Folder::new(&[
        ("compose.yaml", "include: [l.yaml, r.yaml]\n"),
        ("l.yaml", "include: [base.yaml]\nservices: {l: {image: l}}\n"),
        ("r.yaml", "include: [base.yaml]\nservices: {r: {image: r}}\n"),
        ("base.yaml", "services: {base: {image: b, security_opt: [x]}}\n"),
    ]);
    let project = diamond.load(&["compose.yaml"]);
    let options = project.at("services.base.security_opt").expect("there");
    assert_eq!(options.to_json().to_string(), r#"["x"]"#);
    let conflict = Folder::new(&[
        ("compose.yaml", "include: [l.yaml, r.yaml]\n"),
        ("l.yaml", "services: {b: {image: l}}\n"),
        ("r.yaml", "services: {b: {image: r}}\n"),
    ]);
    assert_eq!(
        conflict.errors(&["compose.yaml"]),
        "r.yaml:1:12: `services.b` is included twice, and differently: also from l.yaml:1:12 (rename one of them, or put both files into one entry of `include`: then the second is merged over the first)\n"
    );
}

#[test]
fn what_is_half_said_is_a_mistake() {
    for (service, expected) in [
        ("image: ''", "3:8: service `web` has neither `image` nor `build`"),
        (
            "image: a, tty: 1",
            "`services.web.tty` must be `true` or `false`, not a number (write `true`)",
        ),
        (
            "image: a, tmpfs: [/x], volumes: ['./a:/x/']",
            "`/x` is mounted twice: in `tmpfs` and in `volumes`",
        ),
        (
            "image: a, container_name: 'a b'",
            "`a b` is no name of a container",
        ),
        ("image: a, scale: -1", "must be a whole number from 0 on"),
        ("image: a, post_start: [{user: root}]", "`command` is missing"),
        (
            "image: a, develop: {watch: [{path: ., action: sync}]}",
            "`target` is missing",
        ),
        (
            "image: a, depends_on: {webb: {condition: service_started, required: false}}",
            "(did you mean `web`?)",
        ),
        (
            "build: {context: ., additional_contexts: {x: 'service:webb'}}",
            "(did you mean `web`?)",
        ),
        (
            "image: a, links: [webb]",
            "`webb`, which is not defined (did you mean `web`?)",
        ),
        (
            "image: a, environment: ['A =1']",
            "the name `A ` ends with a blank",
        ),
        (
            "image: a, read_only: '${SET}'",
            "(with its variables it came to `value`)",
        ),
        (
            "image: a, volumes: [{type: bnd, target: /x}]",
            "(did you mean `bind`?)",
        ),
        (
            "image: a, volumes: ['./a:/x:rro']",
            "the option `rro` is not known: it has no effect (did you mean `ro`?)",
        ),
    ] {
        let found = wrong(&format!("services:\n\n  web: {{{service}}}\n"));
        assert!(found.contains(expected), "{service}: {found}");
        assert_eq!(found.lines().count(), 1, "{service}: {found}");
    }
    let unused = wrong("services: {web: {image: a}}\nsecrets: {s: {}}\n");
    assert!(unused.contains("`secrets.s` needs one of"), "{unused}");
}

#[test]
fn what_the_reference_takes_is_taken() {
    let loaded = one(
        "services: {web: {image: a, ports: ['0:80'], healthcheck: {test: []}, deploy: {restart_policy: {condition: unless-stopped}, resources: {reservations: {devices: [{capabilities: [gpu]}]}}}}}",
    );
    assert!(loaded.contains("published: \"0\""), "{loaded}");
    assert!(loaded.contains("count: -1"), "{loaded}");
    assert_eq!(wrong("name: ''\nservices: {web: {image: a}}\n"), "");
    let nowhere = wrong("name: ${NOT}\nservices: {web: {image: a}}\n");
    assert!(
        nowhere.starts_with("compose.yaml:1:7: the project name comes to nothing"),
        "{nowhere}"
    );
}

#[test]
fn a_variable_that_is_not_set_is_said_once() {
    let text = format!(
        "services: {{web: {{image: a, command: '{}'}}}}",
        "$NOT ".repeat(5000)
    );
    assert_eq!(wrong(&text).lines().count(), 1);
}

#[test]
fn values_wait_for_their_variables_where_these_are_left_alone() {
    let folder = Folder::new(&[(
        "compose.yaml",
        "services:\n  web:\n    image: a\n    ports: ['${P:?need}:80', '${Q}:81', '90:90']\n    volumes: ['${H:-./h}:/h', '${I}']\n    command: run ${A} && more\n    mem_limit: ${M}\n    scale: ${N}\n    tty: ${T}\n    env_file: ${E}.env\n    container_name: ${C}\n    deploy: {replicas: '${R}'}\n    healthcheck: {test: a, interval: '${S}', retries: '${U}'}\n    networks: [nn]\n",
    )]);
    let options = LoadOptions {
        no_interpolate: true,
        ..folder.options(&["compose.yaml"])
    };
    assert_eq!(
        folder.errors_with(&options),
        "compose.yaml:14:16: service `web` names the network `nn`, which is not defined (define it under the top-level `networks:`)\n"
    );
    let options = LoadOptions {
        no_consistency: true,
        ..options
    };
    let project = load(&options).unwrap_or_else(|_| panic!("{}", folder.errors_with(&options)));
    let yaml = to_yaml(&project.to_yaml());
    for line in [
        "- ${P:?need}:80",
        "- ${Q}:81",
        "- ${H:-./h}:/h",
        "- ${I}",
        "command: run ${A} && more",
        "mem_limit: ${M}",
        "scale: ${N}",
        "interval: ${S}",
    ] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
}

#[test]
fn some_services_are_kept_with_what_they_use() {
    let mut project = Folder::new(&[(
        "compose.yaml",
        "services: {a: {image: a, volumes: ['v:/v']}, b: {image: b, volumes: ['w:/w']}}\nvolumes: {v: , w: }\n",
    )])
    .load(&["compose.yaml"]);
    project.keep_services(&["a".to_owned()].into(), false);
    let yaml = to_yaml(&project.to_yaml());
    assert!(
        yaml.contains("app_v") && !yaml.contains("app_w") && !yaml.contains("  b:"),
        "{yaml}"
    );
}

/// What is wrong with one line of a service, and the likely fix.
#[test]
fn values_that_are_wrong_have_a_likely_fix() {
    for (line, expected) in [
        (r#"ports: ["80/tpc"]"#, "did you mean `80/tcp`?"),
        (r#"ports: ["localhost:80:80"]"#, "did you mean `127.0.0.1:80:80`?"),
        (r#"ports: ["1:2:3:4"]"#, "an IPv6 address has brackets"),
        (
            r#"ports: ["[::1:80:80"]"#,
            "an IPv6 address is written as `[::1]:8080:80`",
        ),
        (r#"ports: ["8080 : 80"]"#, "did you mean `8080:80`?"),
        (
            r#"ports: ["80:"]"#,
            "the port in the container comes last: `80:80`",
        ),
        (r#"ports: ["80-70"]"#, "did you mean `70-80`?"),
        (r#"ports: ["8000-8010:80-82"]"#, "did you mean `8000-8002:80-82`?"),
        (
            r#"ports: ["99999:80"]"#,
            "it is written as `[[IP:]HOST:]CONTAINER",
        ),
        (r#"ports: [{target: x}]"#, "write it as `target: 80`"),
        (r#"volumes: ["/a:ro"]"#, "did you mean `/a:/a:ro`?"),
        (r#"volumes: ["a:b"]"#, "did you mean `a:/b`?"),
        (r#"volumes: [":/x"]"#, "did you mean `/x`?"),
        (
            r#"volumes: ["a:/b:ro:x"]"#,
            "it is written as `[SOURCE:]TARGET[:OPTIONS]`",
        ),
        (r#"volumes: [{source: ./a, target: /a}]"#, "write `type: bind`"),
        (
            r#"devices: ["a:b:c:d"]"#,
            "it is written as `SOURCE[:TARGET[:PERMISSIONS]]`",
        ),
        (r#"stop_grace_period: "10""#, "did you mean `10s`?"),
        (r#"stop_grace_period: 10"#, "did you mean `10s`?"),
        (r#"stop_grace_period: ten"#, "units are"),
        (r#"mem_limit: 5x"#, "units are"),
        (r#"init: maybe"#, "write `true` or `false` there"),
        (
            r#"environment: {A: [1]}"#,
            "write a text, a number or a truth value there",
        ),
        (r#"environment: ["A =1"]"#, "did you mean `A=`?"),
        (r#"extra_hosts: ["db"]"#, "write `db=host-gateway`"),
        (r#"ulimits: {nofile: {soft: 1}}"#, "write `nofile: {soft:"),
    ] {
        let found = wrong(&format!("services:\n  web:\n    image: x\n    {line}\n"));
        assert!(found.starts_with("compose.yaml:4:"), "{line}: {found}");
        assert!(found.contains(expected), "{line}: {found}");
    }
    let found = wrong("services:\n  my web:\n    image: x\n");
    assert!(found.contains("(did you mean `my-web`?)"), "{found}");
}

#[test]
fn what_is_external_is_named_as_now() {
    let text = |more: &str| {
        format!(
            "services: {{a: {{image: x, networks: [n]}}}}\nnetworks:\n  n:\n    external: {{name: other}}\n{more}"
        )
    };
    let deprecated = "compose.yaml:4:22: `networks.n.external.name` is deprecated (write `name: other` and `external: true`)\n";
    assert_eq!(wrong(&text("")), deprecated);
    assert!(one(&text("")).contains("name: other\n    external: true"));
    let both = wrong(&text("    name: foo\n"));
    assert!(
        both.contains("5:11: `networks.n` has both `name` and `external.name`"),
        "{both}"
    );
}

#[test]
fn scores_of_memory_have_a_range() {
    let with = |score: &str| {
        wrong(&format!(
            "services: {{a: {{image: x, oom_score_adj: {score}}}}}\n"
        ))
    };
    assert_eq!((with("-1000"), with("1000")), (String::new(), String::new()));
    for score in ["-1001", "1001"] {
        assert!(
            with(score).contains("not from -1000 to 1000 (-1000 is never"),
            "{}",
            with(score)
        );
    }
}

/// `count` services, each on top of the next one; the last has many variables.
fn chain_of_extends(count: usize) -> Folder {
    let mut text = "services:\n".to_owned();
    for at in (1..=count).rev() {
        let below = at - 1;
        text.push_str(&format!(
            "  s{at}:\n    extends: s{below}\n    labels: {{l{at}: x}}\n"
        ));
    }
    text.push_str("  s0:\n    image: x\n    environment:\n");
    (0..1000).for_each(|at| text.push_str(&format!("      V{at}: x\n")));
    Folder::new(&[("compose.yaml", &text)])
}

#[test]
fn long_chains_of_extends_come_to_all_of_it() {
    let folder = chain_of_extends(200);
    let project = folder.load(&["compose.yaml"]);
    let count = |path: &str| project.at(path).expect("it is there").entries().len();
    assert_eq!(
        (count("services.s200.labels"), count("services.s200.environment")),
        (200, 1000)
    );
}

#[test]
fn chains_of_extends_have_an_end() {
    let found = chain_of_extends(300).errors(&["compose.yaml"]);
    assert!(
        found.contains("`extends` goes more than 256 services deep"),
        "{found}"
    );
}

#[test]
fn files_of_variables_may_be_in_utf_16() {
    let folder = Folder::new(&[(
        "compose.yaml",
        "services: {a: {image: a, env_file: [wide.env, none.env]}}",
    )]);
    let units = "A=\u{e4}\nB=2\n".encode_utf16().flat_map(u16::to_le_bytes);
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain(units).collect();
    std::fs::write(folder.path().join("wide.env"), wide).expect("written");
    std::fs::write(folder.path().join("none.env"), b"C=1\nD=\xff\n").expect("written");
    let found = folder.errors(&["compose.yaml"]);
    assert!(
        found.contains("none.env`: line 2 is not UTF-8") && found.contains("save it as UTF-8"),
        "{found}"
    );
    std::fs::write(folder.path().join("none.env"), "").expect("written");
    let project = load(&folder.options(&["compose.yaml"])).expect("it is fine");
    let text = to_yaml(&project.to_yaml());
    assert!(text.contains("A: \u{e4}") && text.contains("B: \"2\""), "{text}");
}

#[test]
fn an_item_without_a_value_is_a_mistake() {
    let wrong = wrong(
        "services: {a: {image: x, cap_add: [null, ALL], environment: [~], networks: [null], volumes: [null]}}\n",
    );
    let lines: Vec<_> = wrong.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    let is_empty = |what: &str| {
        format!("`services.a.{what}.0` is empty (write something after the `-`, or take it out)")
    };
    assert_eq!(
        lines,
        ["cap_add", "environment", "networks", "volumes"].map(is_empty),
        "{wrong}"
    );
}

#[test]
fn words_of_other_yaml_versions_are_truth_values_with_a_warning() {
    let found = wrong("services: {a: {image: x, tty: yes}}\n");
    assert!(
        found.contains("`services.a.tty` is `yes`, which is a text in YAML 1.2 (write `true`)"),
        "{found}"
    );
}

#[test]
fn who_does_not_know_the_variables_does_not_judge_their_values() {
    let text = r#"
x-health: &health {interval: "$INTERVAL", retries: $RETRIES}
services:
  a:
    image: ${IMAGE}
    ports: ["${PORT}", "${PORT}:${PORT}/udp", "80:80"]
    volumes: ["${FROM}:/to", "./a:/b"]
    read_only: ${READ_ONLY}
    mem_limit: ${LIMIT}
    container_name: ${NAME}
    healthcheck: {<<: *health, test: x}
  b: {image: x, cpus: much, networks: [none]}
"#;
    let folder = Folder::new(&[("compose.yaml", text)]);
    let options = LoadOptions {
        forgives_variables: true,
        ..folder.options(&["compose.yaml"])
    };
    let found = folder.errors_with(&options);
    let errors: Vec<_> = found
        .lines()
        .filter(|line| !line.contains("is not set"))
        .collect();
    assert_eq!(errors.len(), 1, "{found}");
    assert!(
        errors[0].contains("`services.b.cpus` must be a number"),
        "{found}"
    );
    let known = text.replace("cpus: much, networks: [none]", "cpus: 1");
    let folder = Folder::new(&[("compose.yaml", &known)]);
    let options = LoadOptions {
        forgives_variables: true,
        ..folder.options(&["compose.yaml"])
    };
    let project = load(&options).expect("nothing else is wrong");
    assert_eq!(
        project
            .document
            .at(&["services", "a", "ports"])
            .expect("there")
            .items()
            .len(),
        1
    );
    assert_eq!(
        project
            .document
            .at(&["services", "a", "volumes"])
            .expect("there")
            .items()
            .len(),
        1
    );
    assert!(folder.errors(&["compose.yaml"]).contains("`services.a.ports.0`"));
}

#[test]
fn services_without_a_section_are_told_of_it() {
    let found = wrong("web:\n  image: x\n");
    assert!(
        found.contains("unknown key `web` (put it below `services:`"),
        "{found}"
    );
}

#[test]
fn containers_of_two_services_have_two_names() {
    let text = "services: {a: {image: x, container_name: one}, b: {image: x, container_name: one}, c: {image: x, profiles: [p], container_name: one}}\n";
    let found = wrong(text);
    assert!(
        found.contains("service `b` has the `container_name` of service `a`: `one`"),
        "{found}"
    );
    assert_eq!(
        found.lines().count(),
        1,
        "one that does not run counts for nothing: {found}"
    );
}

#[test]
fn what_is_left_out_on_request_is_what_the_reference_leaves_out() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            "services: {a: {image: x, pid: 'service:b', volumes_from: [b], label_file: l, env_file: none}, b: {image: x}}\nnetworks: {unused: }\n",
        ),
        ("l", "k=v\n"),
    ]);
    let options = LoadOptions {
        no_env_resolution: true,
        no_normalize: true,
        ..folder.options(&["compose.yaml"])
    };
    let text = to_yaml(&load(&options).expect("it is fine").to_yaml());
    assert!(
        text.contains("labels:\n      k: v") && !text.contains("unused"),
        "{text}"
    );
    let options = LoadOptions {
        no_normalize: false,
        ..options
    };
    let text = to_yaml(&load(&options).expect("it is fine").to_yaml());
    assert!(
        text.contains("b:\n        condition: service_started\n        restart: true"),
        "a namespace says more than volumes: {text}"
    );
}

#[test]
fn a_command_is_a_text_or_a_list() {
    let found = wrong(
        "services: {a: {image: x, command: 123, entrypoint: true}, b: {image: x, command: '123', entrypoint: [1, 2]}}\n",
    );
    assert!(
        found.contains("`services.a.command` must be a text, not a number"),
        "{found}"
    );
    assert!(
        found.contains("`services.a.entrypoint` must be a text, not a truth value"),
        "{found}"
    );
    assert_eq!(found.lines().count(), 2, "{found}");
}
