//! Plans as text. `[after ...]` names the steps that have to be done before.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use plimsoll_compose_file::{LoadOptions, load};
use plimsoll_container::Status;
use proptest::prelude::*;

use super::*;
use crate::{Desired, Observed, Seen, Thing};

fn desired(text: &str) -> Desired {
    let options = LoadOptions {
        files: vec!["-".into()],
        stdin: Some(text.to_owned()),
        name: Some("p".to_owned()),
        current: "/".into(),
        ..LoadOptions::default()
    };
    let project = load(&options).unwrap_or_else(|found| panic!("{found:?}"));
    Desired::new(&project, false).unwrap()
}

/// A project that runs as its files say.
fn running(desired: &Desired) -> Observed {
    let mut observed = Observed::default();
    let ours = |label: &str, key: &str, hash: &str| Thing {
        labels: [
            (labels::PROJECT, desired.name.as_str()),
            (label, key),
            (labels::CONFIG_HASH, hash),
        ]
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .into(),
    };
    for (key, network) in &desired.model.networks {
        let thing = ours(labels::NETWORK, key, desired.network_hash(key));
        observed.networks.insert(network.name.clone(), thing);
    }
    for (key, volume) in &desired.model.volumes {
        let thing = ours(labels::VOLUME, key, desired.volume_hash(key));
        observed.volumes.insert(volume.name.clone(), thing);
    }
    for (name, service) in &desired.model.services {
        observed.images.insert(name.clone(), "sha256:1".to_owned());
        for number in 1..=service.replicas() {
            observed.members.push(member(desired, name, number));
        }
    }
    observed
}

fn member(desired: &Desired, name: &str, number: u32) -> Seen {
    let service = &desired.model.services[name];
    let model = &desired.model;
    let networks = service
        .networks
        .keys()
        .map(|key| model.networks[key].name.clone());
    let sources = service.volumes.iter().filter_map(|mount| mount.source.as_ref());
    let volumes = sources.filter_map(|key| Some(model.volumes.get(key)?.name.clone()));
    Seen {
        id: format!("{number:012x}{name}"),
        name: desired.container_name(name, number),
        service: name.to_owned(),
        number,
        hash: desired.hash(name).to_owned(),
        image: "sha256:1".to_owned(),
        status: Status::Running,
        networks: networks.collect(),
        volumes: volumes.collect(),
        origin: desired.essence(name).cloned(),
        depends_on: service
            .depends_on
            .iter()
            .map(|(name, need)| (name.clone(), need.restart))
            .collect(),
        ..Seen::default()
    }
}

fn up(desired: &Desired, observed: &Observed) -> String {
    Plan::up(desired, observed, &UpOptions::default())
        .unwrap()
        .to_string()
}

const STACK: &str = "
services:
  app:
    image: app
    depends_on:
      db: {condition: service_healthy, restart: true}
      job: {condition: service_completed_successfully}
  db:
    image: db
    volumes: ['data:/d']
  job:
    image: job
    depends_on: [db]
volumes: {data: {}}
";

#[test]
fn from_nothing() {
    assert_snapshot!(up(&desired(STACK), &Observed::default()), @r"
    0  Network p_default  Create
    1  Volume p_data  Create
    2  Container p-db-1  Create  [after 0 1]
    3  Container p-db-1  Start  [after 2]
    4  Container p-job-1  Create  [after 0]
    5  Container p-job-1  Start  [after 3 4]
    6  Container p-app-1  Create  [after 0]
    7  Service db  Wait for service_healthy  [after 3]
    8  Service job  Wait for service_completed_successfully  [after 5]
    9  Container p-app-1  Start  [after 6 7 8]
    ");
}

#[test]
fn nothing_has_to_be_done() {
    let desired = desired(STACK);
    assert_snapshot!(up(&desired, &running(&desired)), @r"
    -  Container p-db-1  Running
    -  Container p-job-1  Running
    -  Container p-app-1  Running
    ");
}

#[test]
fn a_changed_service_is_replaced_alone_and_those_who_follow_it_restart() {
    let before = desired(STACK);
    let mut observed = running(&before);
    let now = desired(&STACK.replace("image: db", "image: db\n    environment: {DEBUG: '1'}"));
    assert_snapshot!(up(&now, &observed), @r"
    0  Container p-db-1  Recreate (environment.DEBUG changed)
    1  Container p-db-1  Start  [after 0]
    2  Service db  Wait for service_healthy  [after 1]
    3  Service job  Wait for service_completed_successfully
    4  Container p-app-1  Restart (db was started anew)  [after 2 3]
    -  Container p-job-1  Running
    ");
    // The same as long as nothing but the image's content has changed.
    observed.images.insert("db".to_owned(), "sha256:2".to_owned());
    assert_snapshot!(up(&before, &observed), @r"
    0  Container p-db-1  Recreate (the image changed)
    1  Container p-db-1  Start  [after 0]
    2  Service db  Wait for service_healthy  [after 1]
    3  Service job  Wait for service_completed_successfully
    4  Container p-app-1  Restart (db was started anew)  [after 2 3]
    -  Container p-job-1  Running
    ");
    let never = UpOptions {
        no_recreate: true,
        ..UpOptions::default()
    };
    assert_snapshot!(Plan::up(&now, &observed, &never).unwrap(), @r"
    -  Container p-db-1  Running
    -  Container p-job-1  Running
    -  Container p-app-1  Running
    ");
}

#[test]
fn a_changed_volume_is_kept_unless_it_can_go() {
    let before = desired(STACK);
    let mut observed = running(&before);
    let things = [(labels::PROJECT, "p"), (labels::CONFIG_HASH, "before")];
    let labels = things.map(|(label, value)| (label.to_owned(), value.to_owned()));
    let volume = Thing {
        labels: labels.into(),
    };
    observed.volumes.insert("p_data".to_owned(), volume);
    let said = up(&before, &observed);
    assert!(
        said.contains("Container p-db-1  Running")
            && said.contains("volume \"p_data\" was made with another"),
        "{said}"
    );
    let options = UpOptions {
        renew_volumes: true,
        ..UpOptions::default()
    };
    assert_snapshot!(Plan::up(&before, &observed, &options).unwrap(), @r"
    0  Container p-db-1  Stop
    1  Container p-db-1  Remove  [after 0]
    2  Volume p_data  Remove  [after 1]
    3  Volume p_data  Create  [after 2]
    4  Container p-db-1  Create  [after 1 3]
    5  Container p-db-1  Start  [after 4]
    6  Service db  Wait for service_healthy  [after 5]
    7  Service job  Wait for service_completed_successfully
    8  Container p-app-1  Restart (db was started anew)  [after 6 7]
    -  Container p-job-1  Running
    ");
}

fn with<'a>(observed: &'a mut Observed, service: &str) -> &'a mut Seen {
    let mut members = observed.members.iter_mut();
    members.find(|member| member.service == service).unwrap()
}

#[test]
fn a_job_that_is_done_is_not_done_again_unless_what_it_works_on_is_new() {
    let desired = desired(STACK);
    let mut observed = running(&desired);
    with(&mut observed, "job").status = Status::Exited;
    assert_snapshot!(up(&desired, &observed), @r"
    -  Container p-db-1  Running
    -  Container p-job-1  Exited
    -  Container p-app-1  Running
    ");
    // Somebody names it.
    let named = UpOptions {
        services: vec!["job".to_owned()],
        ..UpOptions::default()
    };
    assert_snapshot!(Plan::up(&desired, &observed, &named).unwrap(), @r"
    0  Container p-job-1  Start
    -  Container p-db-1  Running
    ");
    // It has failed.
    with(&mut observed, "job").exit_code = 1;
    assert!(up(&desired, &observed).contains("Container p-job-1  Start"));
    // It is done, but the database is another one.
    with(&mut observed, "job").exit_code = 0;
    observed.images.insert("db".to_owned(), "sha256:2".to_owned());
    assert!(up(&desired, &observed).contains("Container p-job-1  Start"));
}

#[test]
fn scaling_goes_up_above_the_highest_number_and_down_from_it() {
    let text = "services: {web: {image: x}}";
    let desired = desired(text);
    let mut observed = running(&desired);
    let plan = |observed: &Observed, count: u32| {
        let options = UpOptions {
            scale: [("web".to_owned(), count)].into(),
            ..UpOptions::default()
        };
        Plan::up(&desired, observed, &options).unwrap().to_string()
    };
    assert_snapshot!(plan(&observed, 3), @r"
    0  Container p-web-2  Create
    1  Container p-web-3  Create
    2  Container p-web-2  Start  [after 0]
    3  Container p-web-3  Start  [after 1]
    -  Container p-web-1  Running
    ");
    observed.members = (2..=4).map(|number| member(&desired, "web", number)).collect();
    assert_snapshot!(plan(&observed, 1), @r"
    0  Container p-web-3  Stop
    1  Container p-web-3  Remove  [after 0]
    2  Container p-web-4  Stop
    3  Container p-web-4  Remove  [after 2]
    -  Container p-web-2  Running
    ");
    // What is out of date goes first.
    observed.members[0].hash = "old".to_owned();
    assert_snapshot!(plan(&observed, 2), @r"
    0  Container p-web-2  Stop
    1  Container p-web-2  Remove  [after 0]
    -  Container p-web-3  Running
    -  Container p-web-4  Running
    ");
    assert_snapshot!(plan(&observed, 0), @r"
    0  Container p-web-3  Stop
    1  Container p-web-3  Remove  [after 0]
    2  Container p-web-4  Stop
    3  Container p-web-4  Remove  [after 2]
    4  Container p-web-2  Stop
    5  Container p-web-2  Remove  [after 4]
    ");
}

#[test]
fn what_goes_before_a_service_goes_before_each_start_or_before_all() {
    let text = "
services:
  web:
    image: x
    scale: 2
    depends_on: [db]
    pre_start: [{command: [migrate]}, {command: [warm], per_replica: true}]
  db: {image: y}
";
    let desired = desired(text);
    assert_snapshot!(up(&desired, &Observed::default()), @r"
    0  Network p_default  Create
    1  Container p-db-1  Create  [after 0]
    2  Container p-db-1  Start  [after 1]
    3  Container p-web-1  Create  [after 0]
    4  Container p-web-2  Create  [after 0]
    5  Service web  Run pre_start  [after 2 3]
    6  Container p-web-1  Run pre_start  [after 3 5]
    7  Container p-web-1  Start  [after 6]
    8  Container p-web-2  Run pre_start  [after 4 5]
    9  Container p-web-2  Start  [after 8]
    ");
    let mut observed = running(&desired);
    assert_snapshot!(up(&desired, &observed), @r"
    -  Container p-db-1  Running
    -  Container p-web-1  Running
    -  Container p-web-2  Running
    ");
    // One of them runs: the service is prepared, the new container is not.
    observed.members.retain(|member| member.name != "p-web-2");
    assert_snapshot!(up(&desired, &observed), @r"
    0  Container p-web-2  Create
    1  Container p-web-2  Run pre_start  [after 0]
    2  Container p-web-2  Start  [after 1]
    -  Container p-db-1  Running
    -  Container p-web-1  Running
    ");
    with(&mut observed, "web").status = Status::Exited;
    let started = Plan::start(&observed, Some(&desired), &["web".to_owned()]);
    assert_snapshot!(started.to_string(), @r"
    0  Service web  Run pre_start
    1  Container p-web-1  Run pre_start  [after 0]
    2  Container p-web-1  Start  [after 1]
    ");
}

#[test]
fn an_update_that_starts_first_is_one_step() {
    let text = |image: &str| {
        format!(
            "services: {{web: {{image: {image}, deploy: {{replicas: 2, update_config: {{order: start-first}}}}}}}}"
        )
    };
    let observed = running(&desired(&text("one")));
    assert_snapshot!(up(&desired(&text("two")), &observed), @r"
      0  Service web  Update 2, start first (image changed)
    ");
}

#[test]
fn half_an_update_that_starts_first_is_mended() {
    let desired = desired(
        "services: {web: {image: x, ports: ['80:80'], deploy: {update_config: {order: start-first}}}}",
    );
    let mut observed = running(&desired);
    observed.members[0].hash = "old".to_owned();
    observed.members.push(member(&desired, "web", 2));
    // Killed before the new one was started: it has to wait for the port.
    observed.members[1].status = Status::Created;
    assert_snapshot!(up(&desired, &observed), @r"
    0  Container p-web-1  Stop
    1  Container p-web-1  Remove  [after 0]
    2  Container p-web-2  Start  [after 1]
    ");
    // Killed before it had the port: the old one, which has it, is updated again.
    observed.members[1].status = Status::Running;
    observed.members[1].lacks_ports = true;
    assert_snapshot!(up(&desired, &observed), @r"
    0  Container p-web-2  Stop
    1  Container p-web-2  Remove  [after 0]
    2  Service web  Update 1, start first (configuration changed)  [after 1]
    ");
    // Killed before the old one was stopped.
    observed.members[1].lacks_ports = false;
    observed.members[0].lacks_ports = true;
    assert_snapshot!(up(&desired, &observed), @r"
    0  Container p-web-1  Stop
    1  Container p-web-1  Remove  [after 0]
    -  Container p-web-2  Running
    ");
}

#[test]
fn half_a_replacement_is_mended() {
    let desired = desired("services: {web: {image: x}}");
    let mut observed = running(&desired);
    let mut new = member(&desired, "web", 1);
    new.id = "abcdef".to_owned();
    new.name = format!("{}_p-web-1", &observed.members[0].id[..12]);
    new.status = Status::Created;
    observed.members[0].hash = "old".to_owned();
    observed.members.push(new);
    assert_snapshot!(up(&desired, &observed), @r"
    0  Container p-web-1  Stop
    1  Container p-web-1  Remove  [after 0]
    2  Container p-web-1  Rename  [after 1]
    3  Container p-web-1  Start  [after 2]
    ");
    // The old one had gone already.
    observed.members.remove(0);
    assert_snapshot!(up(&desired, &observed), @r"
    0  Container p-web-1  Rename
    1  Container p-web-1  Start  [after 0]
    ");
}

#[test]
fn what_shares_a_namespace_follows_its_parent() {
    let text = |image: &str| {
        format!(
            "services: {{vpn: {{image: {image}}}, app: {{image: x, network_mode: 'service:vpn'}}, log: {{image: x, volumes_from: [vpn]}}}}"
        )
    };
    let before = desired(&text("one"));
    let mut observed = running(&before);
    assert_snapshot!(up(&desired(&text("two")), &observed), @r"
    0  Container p-vpn-1  Recreate (image changed)
    1  Container p-vpn-1  Start  [after 0]
    2  Container p-app-1  Recreate (vpn was replaced)  [after 0]
    3  Container p-app-1  Start  [after 1 2]
    4  Container p-log-1  Recreate (vpn was replaced)  [after 0]
    5  Container p-log-1  Start  [after 1 4]
    ");
    // Started again it has another network namespace.
    with(&mut observed, "vpn").status = Status::Exited;
    assert_snapshot!(up(&before, &observed), @r"
    0  Container p-vpn-1  Start
    1  Container p-app-1  Restart (vpn was started anew)  [after 0]
    2  Container p-log-1  Restart (vpn was started anew)  [after 0]
    ");
}

#[test]
fn a_changed_network_is_made_anew_under_stopped_containers() {
    let text = |option: &str| {
        format!("services: {{web: {{image: x}}}}\nnetworks: {{default: {{driver_opts: {{a: '{option}'}}}}}}")
    };
    let observed = running(&desired(&text("1")));
    assert_snapshot!(up(&desired(&text("2")), &observed), @r"
    0  Container p-web-1  Stop
    1  Network p_default  Remove  [after 0]
    2  Network p_default  Create  [after 1]
    3  Container p-web-1  Recreate (network p_default changed)  [after 2]
    4  Container p-web-1  Start  [after 3]
    ");
}

#[test]
fn what_belongs_to_others_is_left_alone_and_has_to_be_there() {
    let text = "services: {web: {image: x, networks: [out], volumes: ['data:/d']}}\nnetworks: {out: {external: true, name: lan}}\nvolumes: {data: {external: true}}";
    let desired = desired(text);
    let error = Plan::up(&desired, &Observed::default(), &UpOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "network lan declared as external, but could not be found"
    );
    let mut observed = Observed::default();
    observed.networks.insert("lan".to_owned(), Thing::default());
    let error = Plan::up(&desired, &observed, &UpOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "external volume \"data\" not found");
    observed.volumes.insert("data".to_owned(), Thing::default());
    assert_snapshot!(up(&desired, &observed), @r"
    0  Container p-web-1  Create
    1  Container p-web-1  Start  [after 0]
    ");
}

#[test]
fn a_network_of_another_project_is_no_ground_to_build_on() {
    let desired = desired("services: {web: {image: x}}");
    let mut observed = Observed::default();
    let other = [(labels::PROJECT.to_owned(), "q".to_owned())].into();
    observed
        .networks
        .insert("p_default".to_owned(), Thing { labels: other });
    let error = Plan::up(&desired, &observed, &UpOptions::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("com.docker.compose.project set to \"q\" (expected: \"p\")")
    );
}

#[test]
fn orphans_are_told_of_or_removed() {
    let before = desired("services: {web: {image: x}, old: {image: x}}");
    let observed = running(&before);
    let now = desired("services: {web: {image: x}}");
    assert_snapshot!(up(&now, &observed), @r"
      -  Container p-web-1  Running
    warning: Found orphan containers ([p-old-1]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.
    ");
    let remove = UpOptions {
        remove_orphans: true,
        ..UpOptions::default()
    };
    assert_snapshot!(Plan::up(&now, &observed, &remove).unwrap(), @r"
    0  Container p-old-1  Stop
    1  Container p-old-1  Remove  [after 0]
    -  Container p-web-1  Running
    ");
    // A service in a profile that is not active is no orphan.
    let quiet = desired("services: {web: {image: x}, old: {image: x, profiles: [some]}}");
    assert!(!up(&quiet, &observed).contains("orphan"));
}

#[test]
fn only_what_is_named_and_what_that_depends_on() {
    let desired = desired(STACK);
    let only = |no_deps: bool| {
        let options = UpOptions {
            services: vec!["job".to_owned()],
            no_deps,
            ..UpOptions::default()
        };
        Plan::up(&desired, &Observed::default(), &options)
            .unwrap()
            .to_string()
    };
    assert_snapshot!(only(false), @r"
    0  Network p_default  Create
    1  Volume p_data  Create
    2  Container p-db-1  Create  [after 0 1]
    3  Container p-db-1  Start  [after 2]
    4  Container p-job-1  Create  [after 0]
    5  Container p-job-1  Start  [after 3 4]
    ");
    assert_snapshot!(only(true), @r"
    0  Network p_default  Create
    1  Container p-job-1  Create  [after 0]
    2  Container p-job-1  Start  [after 1]
    ");
    let unknown = UpOptions {
        services: vec!["jib".to_owned()],
        ..UpOptions::default()
    };
    let error = Plan::up(&desired, &Observed::default(), &unknown).unwrap_err();
    assert_eq!(error.to_string(), "no such service: jib");
}

#[test]
fn down_goes_the_other_way() {
    let desired = desired(STACK);
    let observed = running(&desired);
    let down = |desired: Option<&Desired>, options: &DownOptions| {
        Plan::down("p", desired, &observed, options).to_string()
    };
    // Labels alone say the same.
    let plan = down(Some(&desired), &DownOptions::default());
    assert_eq!(plan, down(None, &DownOptions::default()));
    assert_snapshot!(plan, @r"
    0  Container p-app-1  Stop
    1  Container p-job-1  Stop  [after 0]
    2  Container p-db-1  Stop  [after 0 1]
    3  Container p-app-1  Remove  [after 0]
    4  Container p-db-1  Remove  [after 2]
    5  Container p-job-1  Remove  [after 1]
    6  Network p_default  Remove  [after 3 4 5]
    ");
    let all = DownOptions {
        volumes: true,
        images: Some(Images::All),
        ..DownOptions::default()
    };
    assert!(down(Some(&desired), &all).ends_with(
        "Volume p_data  Remove  [after 3 4 5]\n  8  Image app  Remove  [after 3 4 5]\n  9  Image db  Remove  [after 3 4 5]\n 10  Image job  Remove  [after 3 4 5]\n"
    ), "{}", down(Some(&desired), &all));
    assert!(Plan::down("p", None, &Observed::default(), &all).is_empty());
}

#[test]
fn restarts_follow_dependencies() {
    let desired = desired(STACK);
    let mut observed = running(&desired);
    let restart = |observed: &Observed, dependents| {
        Plan::restart(observed, Some(&desired), &["db".to_owned()], dependents).to_string()
    };
    assert_snapshot!(restart(&observed, true), @r"
    0  Container p-db-1  Restart
    1  Container p-app-1  Restart (db was restarted)  [after 0]
    ");
    assert_snapshot!(restart(&observed, false), @r"
      0  Container p-db-1  Restart
    ");
    for member in &mut observed.members {
        member.status = Status::Exited;
    }
    assert_snapshot!(Plan::start(&observed, Some(&desired), &[]), @r"
    0  Container p-db-1  Start
    1  Container p-job-1  Start  [after 0]
    2  Service db  Wait for service_healthy  [after 0]
    3  Service job  Wait for service_completed_successfully  [after 1]
    4  Container p-app-1  Start  [after 2 3]
    ");
    let app = ["app".to_owned()];
    assert_snapshot!(Plan::start(&observed, None, &app), @r"
    0  Container p-db-1  Start
    1  Container p-job-1  Start  [after 0]
    2  Container p-app-1  Start  [after 0 1]
    ");
    // The job has ended with 0.
    assert_snapshot!(Plan::start(&observed, Some(&desired), &app), @r"
    0  Container p-db-1  Start
    1  Service db  Wait for service_healthy  [after 0]
    2  Service job  Wait for service_completed_successfully
    3  Container p-app-1  Start  [after 1 2]
    ");
    assert_snapshot!(Plan::start(&observed, Some(&desired), &["db".to_owned()]), @"  0  Container p-db-1  Start");
    let job = observed.members.iter_mut().find(|member| member.service == "job");
    job.unwrap().exit_code = 1;
    assert!(
        Plan::start(&observed, Some(&desired), &app)
            .to_string()
            .contains("Container p-job-1  Start")
    );
}

/// Services 0 to n, each depending on some before it, under conditions of all kinds.
fn project(edges: &[(usize, usize, u8)], count: usize) -> Desired {
    let mut needs: BTreeMap<usize, BTreeMap<usize, u8>> = BTreeMap::new();
    for (one, other, kind) in edges.iter().filter(|(one, other, _)| one != other) {
        let (from, to) = (one.max(other), one.min(other));
        needs.entry(*from).or_default().insert(*to, *kind);
    }
    let mut text = "services:\n".to_owned();
    for service in 0..count {
        text.push_str(&format!("  s{service}:\n    image: x\n"));
        if let Some(needs) = needs.get(&service) {
            text.push_str("    depends_on:\n");
            for (need, kind) in needs {
                let condition = match kind % 3 {
                    0 => "service_started",
                    1 => "service_healthy",
                    _ => "service_completed_successfully",
                };
                text.push_str(&format!("      s{need}: {{condition: {condition}}}\n"));
            }
        }
    }
    desired(&text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever runs when it may run, nothing starts before what it depends on, and nothing stops before what depends on
    /// it; and every step gets its turn.
    #[test]
    fn order_is_kept_whatever_is_fastest(
        edges in proptest::collection::vec((0_usize..8, 0_usize..8, 0_u8..3), 0..20),
        haste in proptest::collection::vec(0_usize..1000, 200),
    ) {
        let desired = project(&edges, 8);
        let plan = Plan::up(&desired, &Observed::default(), &UpOptions::default()).unwrap();
        let order = any_order(&plan, &haste);
        prop_assert_eq!(order.len(), plan.steps.len());
        let place = |wanted: &dyn Fn(&Action) -> bool| order.iter().position(|step| wanted(&plan.steps[*step].action));
        let start = |name: &str| place(&|action| matches!(action, Action::Start { service, .. } if service == name)).unwrap();
        for (name, service) in &desired.model.services {
            for (need, dependency) in &service.depends_on {
                prop_assert!(start(need) < start(name));
                let wait = place(&|action| matches!(action, Action::Wait { service, condition, .. } if service == need && *condition == dependency.condition));
                if dependency.condition != Condition::ServiceStarted {
                    prop_assert!(start(need) < wait.unwrap() && wait.unwrap() < start(name));
                }
            }
        }
        let observed = running(&desired);
        let down = Plan::down("p", Some(&desired), &observed, &DownOptions::default());
        let order = any_order(&down, &haste);
        prop_assert_eq!(order.len(), down.steps.len());
        let stop = |name: &str| order.iter().position(|step| matches!(&down.steps[*step].action, Action::Stop { service, .. } if service == name)).unwrap();
        for (name, service) in &desired.model.services {
            for need in service.depends_on.keys() {
                prop_assert!(stop(name) < stop(need));
            }
        }
    }
}

/// The steps in an order that their `after` allows.
fn any_order(plan: &Plan, haste: &[usize]) -> Vec<usize> {
    let mut order = Vec::new();
    for pick in haste {
        let ready: Vec<usize> = (0..plan.steps.len())
            .filter(|step| !order.contains(step))
            .filter(|step| {
                plan.steps[*step]
                    .after
                    .iter()
                    .all(|before| order.contains(before))
            })
            .collect();
        if ready.is_empty() {
            break;
        }
        order.push(ready[pick % ready.len()]);
    }
    order
}
