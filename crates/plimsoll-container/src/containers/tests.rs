//! The records of containers, without running any.

use std::time::Duration;

use plimsoll_oci::{Digest, ImageConfig};

use super::*;

struct Scene {
    _folder: tempfile::TempDir,
    containers: Containers,
    image: Image,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::try_from(folder.path().join("root")).unwrap();
    let store = Store::open(&root, &root.join("run")).unwrap();
    let manifest = serde_json::from_value(serde_json::json!({
        "schemaVersion": 2,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": Digest::of("config").to_string(),
            "size": 6,
        },
        "layers": [],
    }));
    let image = Image {
        id: Digest::of("config"),
        manifest_digest: Digest::of("manifest"),
        manifest: manifest.unwrap(),
        config: ImageConfig::default(),
    };
    Scene {
        _folder: folder,
        containers: Containers::new(&store, "/nonexistent"),
        image,
    }
}

impl Scene {
    fn create(&self, name: Option<&str>) -> Result<Container> {
        let options = CreateOptions {
            name: name.map(str::to_owned),
            image: "thing".to_owned(),
            command: vec!["true".to_owned()],
            network: NetworkMode::None,
            mounts: vec![MountRequest::parse_volume("/data", "/".into()).unwrap()],
            ..CreateOptions::default()
        };
        self.containers.create(&self.image, None, &options)
    }

    fn volumes(&self) -> usize {
        fs::read_dir(self.containers.store.root().join("volumes")).map_or(0, Iterator::count)
    }
}

#[test]
fn containers_are_found_by_name_id_and_prefix() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    scene.create(None).unwrap();
    for name in ["web", "/web", made.id(), made.short_id(), &made.id()[..6]] {
        assert_eq!(scene.containers.get(name).unwrap().id(), made.id(), "{name}");
    }
    assert_eq!(scene.containers.list().unwrap().len(), 2);
    let error = scene.containers.get("wen").unwrap_err();
    let ContainerError::NotFound { suggestion, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(suggestion.as_deref(), Some("web"));
}

#[test]
fn a_name_is_given_once() {
    let scene = scene();
    let first = scene.create(Some("web")).unwrap();
    let error = scene.create(Some("web")).unwrap_err();
    assert!(
        matches!(&error, ContainerError::NameInUse { id, .. } if id == first.id()),
        "{error}"
    );
    assert!(matches!(
        scene.create(Some("../x")),
        Err(ContainerError::InvalidName(_))
    ));
    scene.containers.remove(&first, true).unwrap();
    scene.create(Some("web")).unwrap();
}

#[test]
fn removing_takes_everything_but_shared_volumes() {
    let scene = scene();
    let first = scene.create(None).unwrap();
    assert_eq!(scene.volumes(), 1);
    scene.containers.remove(&first, false).unwrap();
    assert_eq!(scene.volumes(), 1, "without -v the volume stays");
    let second = scene.create(None).unwrap();
    scene.containers.remove(&second, true).unwrap();
    assert_eq!(scene.volumes(), 1);
    assert!(scene.containers.list().unwrap().is_empty());
    scene.containers.remove(&second, true).unwrap();
    let folder = scene.containers.store.root().join("containers");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn a_failed_create_leaves_nothing() {
    let scene = scene();
    let options = CreateOptions {
        image: "thing".to_owned(),
        ..CreateOptions::default()
    };
    let error = scene.containers.create(&scene.image, None, &options).unwrap_err();
    assert!(matches!(error, ContainerError::NoCommand));
    assert!(scene.containers.list().unwrap().is_empty());
    assert_eq!(scene.volumes(), 0);
}

#[test]
fn a_container_whose_supervisor_was_killed_is_marked() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    let paths = scene.containers.paths(made.id());
    let running = State {
        status: Status::Running,
        pid: 1,
        ..State::default()
    };
    paths.write_state(&running).unwrap();
    let found = scene.containers.get("web").unwrap();
    assert_eq!(
        (found.state.status, found.state.exit_code, found.state.pid),
        (Status::Exited, 137, 0)
    );
    assert_eq!(paths.read_state().unwrap().status, Status::Exited);

    // With the lock held it is alive.
    fs::create_dir_all(&paths.run).unwrap();
    let lock = fs::File::create(paths.lock()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    paths.write_state(&running).unwrap();
    let found = scene.containers.get("web").unwrap();
    assert!(found.is_running());
    assert!(matches!(
        scene.containers.remove(&found, true),
        Err(ContainerError::Running(_))
    ));
}

#[test]
fn a_container_half_made_is_swept() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    fs::remove_file(scene.containers.paths(made.id()).definition()).unwrap();
    assert!(scene.containers.list().unwrap().is_empty());
    scene.create(Some("web")).unwrap();
}

#[test]
fn inspect_has_dockers_fields() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    let value = scene.containers.inspect(&made);
    for pointer in [
        "/Id",
        "/Name",
        "/Created",
        "/Path",
        "/Args",
        "/State/Status",
        "/State/Running",
        "/State/OOMKilled",
        "/Image",
        "/RestartCount",
        "/HostConfig/Memory",
        "/Mounts/0/Destination",
        "/Config/Image",
        "/NetworkSettings/Ports",
        "/NetworkSettings/Networks/none/IPAddress",
    ] {
        assert!(value.pointer(pointer).is_some(), "{pointer}");
    }
    assert_eq!(value["Name"], "/web");
    assert!(value.pointer("/State/Health").is_none());
}

/// A container that somebody starts: its supervisor lives, and does not run the program yet. Half a second later it does.
fn being_started(scene: &Scene, made: &Container) -> std::thread::JoinHandle<fs::File> {
    let (start, paths) = (
        scene.containers.lock(made.id()).unwrap(),
        scene.containers.paths(made.id()),
    );
    fs::create_dir_all(&paths.run).unwrap();
    let lock = fs::File::create(paths.lock()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        let running = State {
            status: Status::Running,
            pid: 1,
            ..State::default()
        };
        paths.write_state(&running).unwrap();
        drop(start);
        lock
    })
}

#[test]
fn one_that_is_being_started_is_not_removed() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    let supervisor = being_started(&scene, &made);
    let (sender, receiver) = std::sync::mpsc::channel();
    let containers = scene.containers.clone();
    let target = made.clone();
    std::thread::spawn(move || sender.send(containers.remove(&target, true)));
    let removed = receiver.recv_timeout(Duration::from_secs(30));
    assert!(
        matches!(removed, Ok(Err(ContainerError::Running(_)))),
        "{removed:?}"
    );
    drop(supervisor.join().unwrap());
}

#[test]
fn one_that_is_being_started_is_stopped_when_it_runs() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    let (supervisor, paths) = (being_started(&scene, &made), scene.containers.paths(made.id()));
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let lock = supervisor.join().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(paths.run.join(crate::shim::SOCKET)).unwrap();
        let connection = listener.accept().unwrap();
        let ended = State {
            status: Status::Exited,
            ..State::default()
        };
        paths.write_state(&ended).unwrap();
        sender.send(()).unwrap();
        drop((lock, connection));
    });
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let stopped = event_loop
        .unwrap()
        .block_on(scene.containers.stop(&made, None, None));
    assert!(stopped.is_ok() && asked.try_recv().is_ok(), "{stopped:?}");
}

#[test]
fn one_that_is_not_due_any_more_is_not_started_again() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    let containers = Containers::new(&scene.containers.store, "/bin/cat");
    let mut supervisor = containers.supervisor(made.id()).unwrap();
    supervisor.conditions.due = true;
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let start = containers.start_with(supervisor, &made, false);
    assert!(event_loop.unwrap().block_on(start).unwrap().is_none());
}

#[test]
fn who_waits_for_a_start_sees_that_it_runs() {
    let scene = scene();
    let made = scene.create(Some("web")).unwrap();
    let supervisor = being_started(&scene, &made);
    let seen = scene.containers.started_by_others(made).unwrap().unwrap();
    assert!(seen.is_running());
    drop(supervisor.join().unwrap());
    let idle = scene.create(Some("idle")).unwrap();
    let seen = scene.containers.started_by_others(idle.clone()).unwrap().unwrap();
    assert_eq!(seen.state.status, Status::Created);
    scene.containers.remove(&idle, true).unwrap();
    assert!(
        scene.containers.started_by_others(idle).unwrap().is_some(),
        "nobody is at it"
    );
}
