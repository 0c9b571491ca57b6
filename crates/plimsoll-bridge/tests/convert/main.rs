//! Projects and what becomes of them: one test for each part of a compose file.

mod chart;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use plimsoll_bridge::{Conversion, ImageFacts, Target, convert};
use plimsoll_compose_file::{LoadOptions, Project, load};
use plimsoll_diagnostics::Diagnostic;

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

    fn project(&self) -> Project {
        let options = LoadOptions {
            files: vec!["compose.yaml".into()],
            current: self.path(),
            environment: BTreeMap::from([("TOKEN".to_owned(), "geheim".to_owned())]),
            ..LoadOptions::default()
        };
        load(&options).unwrap_or_else(|found| panic!("{}", self.lines(&found)))
    }

    /// Each on a line, with its place.
    fn lines(&self, found: &[Diagnostic]) -> String {
        let line = |found: &Diagnostic| {
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

    /// The manifests whose names have one of these words in them, and all warnings.
    fn shown(&self, images: &[(&str, ImageFacts)], words: &[&str]) -> String {
        let images = images
            .iter()
            .map(|(name, facts)| ((*name).to_owned(), facts.clone()))
            .collect();
        match convert(&self.project(), &images, Target::Kubernetes) {
            Ok(conversion) => self.print(&conversion, words),
            Err(found) => self.lines(&found),
        }
    }

    fn print(&self, conversion: &Conversion, words: &[&str]) -> String {
        let fits = |path: &str| words.iter().any(|word| path.contains(word));
        let files = conversion.files.iter().filter(|file| fits(file.path.as_str()));
        let files = files.map(|file| {
            let lock = if file.is_secret { " (secret)" } else { "" };
            // The first lines are the same everywhere.
            let text: String = file
                .text
                .lines()
                .skip(2)
                .map(|line| format!("{line}\n"))
                .collect();
            format!("## {}{lock}\n{text}", file.path)
        });
        let files: String = files.collect();
        format!("{files}## warnings\n{}", self.lines(&conversion.warnings))
            .replace(self.path().as_str(), "/app")
    }
}

fn one(text: &str, words: &[&str]) -> String {
    Folder::new(&[("compose.yaml", text)]).shown(&[], words)
}

#[test]
fn a_service_is_a_deployment_with_a_service() {
    insta::assert_snapshot!(one(
        r#"
name: shop
services:
  web:
    image: nginx:alpine
    ports: ["8080:80"]
    command: ["serve", "$$(HOME)", "$$HOME", "a$$$$b"]
    environment: {A: "1", EMPTY: "", UNSET: , QUOTED: "{{ x }}", EXPANDED: "$$(A)", "0 x": y}
    working_dir: /srv
    labels: {com.example.team: shop, "not a key!": x}
    stop_grace_period: 1m30s
    tty: true
    stdin_open: true
"#,
        &[""]
    ));
}

#[test]
fn ports_are_reached_as_they_are_published() {
    let text = r#"
name: p
services:
  web:
    image: web
    ports:
      - "8080:80"
      - "53:53/udp"
      - "127.0.0.1:5432:5432"
      - "192.168.1.1:90:90"
      - "9000-9002:9000"
      - {target: 443, published: "8443", name: https, app_protocol: https}
      - {target: 443, published: "8443", name: https, protocol: udp}
      - "7000"
    expose: ["3000-3001", "4000/udp"]
    networks: {front: {aliases: [www, db]}}
    container_name: the-web
  db:
    image: db
    networks: [front]
  worker:
    image: worker
    links: ["web:site"]
    networks: [front]
    deploy: {endpoint_mode: dnsrr}
networks: {front: }
"#;
    let exposed = ImageFacts {
        exposed: vec!["5432/tcp".to_owned()],
        ..ImageFacts::default()
    };
    let folder = Folder::new(&[("compose.yaml", text)]);
    insta::assert_snapshot!(folder.shown(&[("db", exposed)], &["expose", "-service", "alias", "published"]));
}

#[test]
fn dependencies_are_waited_for() {
    let text = r#"
name: p
services:
  app:
    image: app
    depends_on:
      db: {condition: service_healthy, restart: true}
      migrate: {condition: service_completed_successfully}
      cache: {condition: service_started}
      slow: {condition: service_started}
      none: {condition: service_started}
      maybe: {condition: service_healthy, required: false}
  db: {image: db, healthcheck: {test: [CMD, ok]}, volumes: [/anonymous]}
  migrate:
    image: db
    command: migrate
    restart: on-failure:3
    depends_on: {db: {condition: service_healthy}}
  after: {image: x, depends_on: {migrate: {condition: service_started}}}
  cache: {image: cache}
  slow: {image: slow, healthcheck: {test: ok}}
  none: {image: none, scale: 0}
  maybe: {image: maybe}
"#;
    let checked = ImageFacts {
        healthcheck: Some(plimsoll_compose_file::model::Healthcheck {
            test: vec!["CMD".to_owned(), "of-the-image".to_owned()],
            ..Default::default()
        }),
        ..ImageFacts::default()
    };
    let folder = Folder::new(&[("compose.yaml", text)]);
    insta::assert_snapshot!(folder.shown(
        &[("maybe", checked)],
        &["app-", "after-", "migrate-", "db-statefulset", "maybe-", "waits"]
    ));
}

#[test]
fn what_would_lose_its_meaning_is_refused() {
    insta::assert_snapshot!(one(
        r#"
name: kube-system
services:
  web:
    image: web
    depends_on: {db: {condition: service_healthy}}
    secrets: [missing, unset]
  db: {image: db}
  off:
    build: .
    healthcheck: {disable: true}
  waits_for_off: {image: x, depends_on: {off: {condition: service_healthy}}}
  side: {image: side, network_mode: "service:web"}
  peek: {image: side, pid: "service:web"}
  my_db: {image: a}
  my-db: {image: b}
secrets: {missing: {file: ./nowhere}, unset: {environment: NOT_THERE}}
"#,
        &[]
    ));
}

#[test]
fn health_checks_are_probes() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  all:
    image: x
    healthcheck:
      test: curl -f localhost
      interval: 5s
      timeout: 1500ms
      retries: 5
      start_period: 40s
      start_interval: 200ms
  defaults: {image: x, healthcheck: {test: [CMD, ok, "$$(A)"]}}
  healed: {image: x, labels: {autoheal: "true"}, healthcheck: {test: [CMD, ok], start_period: 1m}}
  off: {image: x, healthcheck: {disable: true}}
  none: {image: x, healthcheck: {test: [NONE]}}
"#,
        &["deployment"]
    ));
}

#[test]
fn resources_are_limits_and_requests() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  new:
    image: x
    deploy:
      resources:
        limits: {cpus: "0.5", memory: 512M, pids: 50}
        reservations:
          cpus: "2"
          memory: 1000b
          devices:
            - {driver: nvidia, count: 2, capabilities: [gpu]}
            - {driver: other, count: 1, capabilities: [tpu]}
  old: {image: x, mem_limit: 64m, mem_reservation: 32m, cpus: 1.5, pids_limit: 10, gpus: all}
"#,
        &["deployment"]
    ));
}

#[test]
fn rights_are_kept() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  tight:
    image: x
    user: "1000:1001"
    group_add: ["7", audio]
    read_only: true
    cap_drop: [ALL]
    cap_add: [CAP_NET_BIND_SERVICE, chown]
    security_opt: [no-new-privileges:true, seccomp=unconfined, "label=type:svirt_t", "label:level:s0", apparmor=mine, systempaths=unconfined]
    tmpfs: ["/tmp:size=64m,mode=1777", "/run:uid=5"]
    sysctls: {net.core.somaxconn: 1024}
    volumes: ["data:/data"]
  loose:
    image: x
    privileged: true
    user: postgres
    security_opt: [no-new-privileges, "seccomp=./profile.json", "label=disable"]
    pid: host
    ipc: host
    network_mode: host
    userns_mode: private
volumes: {data: }
"#,
        &["deployment"]
    ));
}

#[test]
fn files_of_the_project_go_along() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            r#"
name: p
services:
  web:
    image: x
    volumes:
      - ./nginx.conf:/etc/nginx/nginx.conf:ro
      - ./init.sql:/docker-entrypoint-initdb.d/init.sql
      - ./conf.d:/etc/conf.d:ro
      - ./src:/src
      - ./token:/token:ro
      - /var/run/docker.sock:/var/run/docker.sock
      - {type: bind, source: /opt/cache, target: /cache, bind: {create_host_path: false, propagation: rslave}}
      - .:/all:ro
"#,
        ),
        ("nginx.conf", "events {}\n"),
        ("init.sql", "select 1;\n"),
        ("conf.d/a.conf", "a"),
        ("conf.d/sub/b c.conf", "b"),
        ("src/main.c", "int main;"),
        ("token", "ghp_16C7e42F292c6912E7710c838347Ae178B4a\n"),
    ]);
    insta::assert_snapshot!(folder.shown(&[], &["web-"]));
}

#[test]
fn volumes_are_claims() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  one: {image: x, volumes: ["data:/data", "shared:/s", {type: volume, source: data, target: /sub, volume: {subpath: a/b}}], shm_size: 128m}
  two: {image: x, volumes: ["shared:/s:ro", "theirs:/t", {type: tmpfs, target: /m, tmpfs: {size: 1g, mode: 0700}}]}
  own: {image: x, scale: 2, volumes: [/cache, {type: image, source: files, target: /f}], devices: ["/dev/fuse:/dev/fuse"]}
  from: {image: x, volumes_from: ["one:ro", "container:other"]}
volumes:
  data: {labels: {a.b: c}, driver_opts: {size: 5Gi}}
  shared: {driver: nfs}
  theirs: {external: true, name: their-volume}
  unused: {}
"#,
        &["deployment", "statefulset", "persistentVolumeClaim", "overlays"]
    ));
}

#[test]
fn secrets_and_configs_are_files() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            r#"
name: p
services:
  web:
    image: x
    user: "1000"
    secrets: [token, {source: key, target: /etc/key.pem, mode: 0400, uid: "5"}, theirs]
    configs: [nginx, {source: nginx, target: /etc/nginx.conf, mode: 0440}, other]
secrets:
  token: {environment: TOKEN}
  key: {file: ./key.pem, labels: {a.b: c}}
  theirs: {external: true, name: their_secret}
configs:
  nginx: {content: "a: {{ b }}\n"}
  other: {external: true}
"#,
        ),
        ("key.pem", "not a key"),
    ]);
    insta::assert_snapshot!(folder.shown(&[], &["secret", "configs", "web-deployment"]));
}

#[test]
fn networks_are_policies() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  web: {image: x, ports: ["80:80"], networks: [front, back], depends_on: [db]}
  db: {image: x, networks: {back: {ipv4_address: 10.0.0.5}}}
  job: {image: x, networks: [back], depends_on: [db]}
  alone: {image: x, network_mode: none}
networks:
  front: {driver: macvlan, ipam: {config: [{subnet: 10.0.0.0/24}]}}
  back: {internal: true, ipam: {config: [{subnet: 10.0.0.0/24}]}}
"#,
        &["network-policy", "web-deployment", "alone"]
    ));
}

#[test]
fn workloads_fit_what_runs() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  rolled: {image: x, deploy: {replicas: 4, update_config: {parallelism: 2, order: start-first, delay: 10s, failure_action: rollback}}}
  batches: {image: x, deploy: {replicas: 4, update_config: {parallelism: 2, monitor: 10m}, labels: {a.b: c}}}
  everywhere: {image: x, volumes: [/cache], deploy: {mode: global, placement: {constraints: [node.labels.disk == ssd, node.role == manager], preferences: [{spread: node.labels.zone}]}}}
  job: {image: x, deploy: {mode: replicated-job, replicas: 3, restart_policy: {condition: on-failure, max_attempts: 2}}}
  once: {image: x, restart: "no"}
  server: {image: x, restart: "no", ports: ["80:80"]}
  flaky: {image: x, restart: on-failure, platform: linux/arm64, runtime: nvidia, hostname: flaky.example}
"#,
        &["deployment", "daemonset", "job"]
    ));
}

#[test]
fn commands_and_hooks() {
    let entrypoint = ImageFacts {
        entrypoint: vec!["/docker-entrypoint.sh".to_owned()],
        ..ImageFacts::default()
    };
    let folder = Folder::new(&[(
        "compose.yaml",
        r#"
name: p
services:
  both: {image: x, entrypoint: [/e, "$$(X)"], command: [a, b]}
  no-entrypoint: {image: x, entrypoint: [], command: [a]}
  neither: {image: x, entrypoint: []}
  no-command: {image: x, command: []}
  unknown: {image: x, command: []}
  hooks:
    image: x
    pull_policy: daily
    init: true
    environment: {A: "1"}
    pre_start:
      - {command: [migrate], environment: {B: "2"}, user: "5"}
      - {image: helper, command: [prepare]}
    post_start: [{command: [echo, started]}, {command: [echo, "it's"], user: root}]
    pre_stop: [{command: [/stop]}]
"#,
    )]);
    insta::assert_snapshot!(folder.shown(&[("no-command", entrypoint)], &["deployment"]));
}

#[test]
fn names_that_nobody_has_there() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  web:
    build: .
    extra_hosts: ["a=10.0.0.1", "b=10.0.0.1", "six=[::1]", "host=host-gateway"]
    dns: [1.1.1.1]
    dns_search: [example.com]
    dns_opt: ["ndots:2", "use-vc"]
  my_service: {image: x}
"#,
        &["web-deployment", "my_service"]
    ));
}

#[test]
fn keys_without_a_counterpart_are_named() {
    insta::assert_snapshot!(one(
        r#"
name: p
services:
  web:
    image: x
    blkio_config: {weight: 10}
    cgroup: private
    cgroup_parent: /x
    cpu_shares: 5
    cpuset: "0"
    device_cgroup_rules: ["c 1:3 mr"]
    develop: {watch: [{path: ., action: rebuild}]}
    domainname: example.com
    external_links: [other]
    logging: {driver: none}
    mem_swappiness: 5
    memswap_limit: 1g
    oom_kill_disable: true
    oom_score_adj: 5
    stop_signal: SIGINT
    storage_opt: {size: 1G}
    ulimits: {nofile: 5}
    uts: host
"#,
        &[]
    ));
}

#[test]
fn a_project_is_the_same_each_time() {
    let folder = Folder::new(&[(
        "compose.yaml",
        "services: {b: {image: x, ports: [\"80:80\"]}, a: {image: x, volumes: [\"v:/v\"]}}\nvolumes: {v: }\n",
    )]);
    let texts = |target| -> Vec<(Utf8PathBuf, String)> {
        let conversion = convert(&folder.project(), &BTreeMap::new(), target).expect("converts");
        conversion
            .files
            .into_iter()
            .map(|file| (file.path, file.text))
            .collect()
    };
    for target in [Target::Kubernetes, Target::Helm] {
        assert_eq!(texts(target), texts(target));
    }
}

/// Every file of another crate's tests, which have every key; what is refused is refused with a place.
fn references() -> Vec<Project> {
    let folder =
        Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../plimsoll-compose-file/tests/reference");
    let mut projects = Vec::new();
    for entry in folder.read_dir_utf8().expect("a folder") {
        let options = LoadOptions {
            files: vec!["compose.yaml".into()],
            current: entry.expect("an entry").path().to_owned(),
            profiles: vec!["*".to_owned()],
            no_env_resolution: true,
            ..LoadOptions::default()
        };
        projects.push(load(&options).unwrap_or_else(|found| panic!("{found:?}")));
    }
    assert!(projects.len() >= 2, "{folder} has projects");
    projects
}

/// Takes keys of services away until something converts, as every whole reference has something that is refused.
#[test]
fn whatever_is_in_a_file_is_converted_or_refused() {
    let mut converted = 0;
    for project in &mut references() {
        let services: Vec<String> = project
            .section("services")
            .iter()
            .map(|entry| entry.key.clone())
            .collect();
        let keys: Vec<&str> = plimsoll_compose_file::service_keys().collect();
        for at in 0..keys.len() {
            for target in [Target::Kubernetes, Target::Helm] {
                match convert(project, &BTreeMap::new(), target) {
                    Ok(conversion) => converted += conversion.files.len(),
                    Err(found) => assert!(found.iter().all(|found| found.span().is_some())),
                }
            }
            // Their files are not there.
            project.document.take("secrets");
            for service in &services {
                let node = project
                    .document
                    .get_mut("services")
                    .and_then(|all| all.get_mut(service));
                node.expect("the service").take(keys[keys.len() - 1 - at]);
            }
        }
    }
    assert!(converted > 0, "nothing was converted");
}
