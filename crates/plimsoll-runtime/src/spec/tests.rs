//! The mapping as snapshots, and its arithmetic as tables.

use super::*;
use crate::cgroup::Hierarchies;
use crate::container_spec::{DeviceRate, Mount, MountKind, Resources, Ulimit};
use serde_json::{Map, Value, json};

fn host(hierarchies: Hierarchies) -> Host {
    Host {
        ordinary: false,
        controllers: None,
        hierarchies,
        capabilities: (1 << 41) - 1,
        hard_limits: vec![("nofile", 20_000)],
        oom_score_adj: 0,
        apparmor: false,
        limits_swap: true,
        weighs_disks: true,
        shares_real_time: true,
        kernel: (6, 1),
        architecture: "amd64",
    }
}

fn legacy() -> Hierarchies {
    let mount =
        |path: &str, names: &[&str]| (path.into(), names.iter().map(|&name| name.to_owned()).collect());
    Hierarchies::Legacy(vec![
        mount("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
        mount("/sys/fs/cgroup/memory", &["memory"]),
    ])
}

fn root() -> User {
    User {
        uid: 0,
        gid: 0,
        groups: vec![0, 10],
        home: "/root".into(),
    }
}

fn app() -> User {
    User {
        uid: 1000,
        gid: 1000,
        groups: vec![1000],
        home: "/home/app".into(),
    }
}

fn simple() -> ContainerSpec {
    ContainerSpec {
        id: "0123456789abcdef".repeat(4),
        args: vec!["server".into(), "--port=80".into()],
        cwd: "/srv".into(),
        cgroup: "/plimsoll-1/0123".into(),
        ..ContainerSpec::default()
    }
}

fn map(spec: &ContainerSpec, user: &User, host: &Host) -> Result<Mapped, RuntimeError> {
    let netns = (spec.network == NetworkNamespace::Given).then(|| Path::new("/proc/7/fd/8"));
    let paths = Paths {
        network: netns.map(Path::to_owned),
        ..Paths::default()
    };
    container(spec, user, Path::new("/run/root"), &paths, host)
}

fn failure(spec: &ContainerSpec) -> String {
    map(spec, &root(), &host(Hierarchies::Unified))
        .err()
        .expect("it must not map")
        .to_string()
}

/// Sets come in no order, and the filter has tests of its own.
fn settled(spec: &Spec) -> Value {
    fn settle(value: Value, set: bool) -> Value {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.into_iter().collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                let fields = fields.into_iter().map(|(name, value)| {
                    let value = match (name.as_str(), value) {
                        ("syscalls", Value::Array(rules)) => json!(format!("{} rules", rules.len())),
                        (name, value) => settle(value, name == "capabilities" || set),
                    };
                    (name, value)
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Value::Array(mut items) if set => {
                items.sort_by_key(ToString::to_string);
                Value::Array(items)
            }
            Value::Array(items) => Value::Array(items.into_iter().map(|item| settle(item, false)).collect()),
            other => other,
        }
    }
    settle(serde_json::to_value(spec).unwrap(), false)
}

#[test]
fn the_least_that_can_be_asked_for() {
    let mapped = map(&simple(), &root(), &host(Hierarchies::Unified)).unwrap();
    assert_eq!(mapped.warnings, [""; 0]);
    insta::assert_json_snapshot!(settled(&mapped.spec));
}

#[test]
fn everything_at_once() {
    let bind = Mount {
        kind: MountKind::Bind,
        source: "/host/data".into(),
        target: "/data".into(),
        read_only: true,
        options: vec!["rslave".into()],
    };
    let tmpfs = Mount {
        kind: MountKind::Tmpfs,
        source: "".into(),
        target: "/dev/shm".into(),
        read_only: false,
        options: vec!["size=64m".into(), "exec".into()],
    };
    let spec = ContainerSpec {
        hostname: "boat".into(),
        env: vec!["A=1".into(), "PATH=/bin".into(), "A=2".into(), "HOSTNAME".into()],
        tty: true,
        read_only: true,
        mounts: vec![
            Mount {
                target: "/data/inner".into(),
                ..bind.clone()
            },
            bind,
            tmpfs,
        ],
        cap_add: vec!["cap_sys_admin".into()],
        cap_drop: vec!["MKNOD".into()],
        no_new_privileges: true,
        resources: Resources {
            memory: Some(512 << 20),
            memory_reservation: Some(256 << 20),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(512),
            cpuset_cpus: "0-1".into(),
            pids_limit: Some(100),
            ..Resources::default()
        },
        ulimits: vec![Ulimit {
            name: "nofile".into(),
            soft: 1024,
            hard: 4096,
        }],
        sysctls: [("net.core.somaxconn".to_owned(), "1024".to_owned())].into(),
        network: NetworkNamespace::Given,
        annotations: [("a".to_owned(), "b".to_owned())].into(),
        ..simple()
    };
    let mapped = map(&spec, &app(), &host(legacy())).unwrap();
    assert_eq!(mapped.warnings, [""; 0]);
    insta::assert_json_snapshot!(settled(&mapped.spec));
}

#[test]
fn privileged_with_the_host_network() {
    let spec = ContainerSpec {
        privileged: true,
        network: NetworkNamespace::Host,
        ..simple()
    };
    let mapped = map(&spec, &root(), &host(legacy())).unwrap();
    insta::assert_json_snapshot!(settled(&mapped.spec));
}

#[test]
fn capabilities_are_added_and_dropped_as_with_docker() {
    type Names = &'static [&'static str];
    let table: [(Names, Names, usize, Names, Names); 7] = [
        (&[], &[], 14, &["CHOWN", "MKNOD"], &["SYS_ADMIN"]),
        (&["SYS_ADMIN"], &["CAP_CHOWN"], 14, &["SYS_ADMIN"], &["CHOWN"]),
        (&[], &["all"], 0, &[], &["CHOWN"]),
        (&["net_admin"], &["ALL"], 1, &["NET_ADMIN"], &["CHOWN"]),
        (&["ALL"], &["SYS_TIME"], 40, &["SYS_ADMIN"], &["SYS_TIME"]),
        (&["ALL"], &["ALL"], 41, &["SYS_TIME"], &[]),
        (&["CHOWN"], &["CHOWN"], 14, &["CHOWN"], &[]),
    ];
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    for (add, drop, count, with, without) in table {
        let spec = ContainerSpec {
            cap_add: texts(add),
            cap_drop: texts(drop),
            ..simple()
        };
        let held = capabilities::of(&spec, false, &host(Hierarchies::Unified), &mut Vec::new()).unwrap();
        assert_eq!(held.len(), count, "+{add:?} -{drop:?}");
        assert!(with.iter().all(|name| held.contains(name)), "+{add:?} -{drop:?}");
        assert!(
            !without.iter().any(|name| held.contains(name)),
            "+{add:?} -{drop:?}"
        );
    }
    let wrong = ContainerSpec {
        cap_add: texts(&["CAP_FLY"]),
        ..simple()
    };
    assert_eq!(failure(&wrong), "invalid CapAdd: unknown capability: \"CAP_FLY\"");
}

#[test]
fn a_capability_we_lack_is_left_out_with_a_warning() {
    let poor = Host {
        capabilities: 0xff_ffff_ffff & !(1 << 24),
        ..host(Hierarchies::Unified)
    };
    let spec = ContainerSpec {
        cap_add: vec!["SYS_RESOURCE".into()],
        ..simple()
    };
    let mapped = map(&spec, &root(), &poor).unwrap();
    assert_eq!(
        mapped.warnings,
        ["capability `SYS_RESOURCE` cannot be added: this process does not have it"]
    );
}

#[test]
fn limits_of_processes_are_held_where_they_cannot_be_raised() {
    let wide = Ulimit {
        name: "nofile".into(),
        soft: 30_000,
        hard: 40_000,
    };
    let spec = ContainerSpec {
        ulimits: vec![wide],
        ..simple()
    };
    let limits = |host: &Host| {
        let mapped = map(&spec, &root(), host).unwrap();
        let limit = mapped
            .spec
            .process()
            .as_ref()
            .unwrap()
            .rlimits()
            .as_ref()
            .unwrap()[0];
        (limit.soft(), limit.hard(), mapped.warnings)
    };
    let rich = host(Hierarchies::Unified);
    assert_eq!(limits(&rich), (30_000, 40_000, Vec::new()));
    let poor = Host {
        capabilities: rich.capabilities & !(1 << 24),
        ..rich
    };
    let warning = "ulimit `nofile` is held at 20000: raising it needs CAP_SYS_RESOURCE".to_owned();
    assert_eq!(limits(&poor), (20_000, 20_000, vec![warning]));
    let ulimit = |name: &str, soft, hard| ContainerSpec {
        ulimits: vec![Ulimit {
            name: name.into(),
            soft,
            hard,
        }],
        ..simple()
    };
    assert_eq!(failure(&ulimit("files", 1, 1)), "invalid ulimit type: files");
    assert!(failure(&ulimit("nofile", 2, 1)).contains("2 > 1"));
}

#[test]
fn weights_of_disks_that_the_kernel_does_not_know_are_named() {
    let spec = ContainerSpec {
        resources: Resources {
            blkio_weight: Some(300),
            device_read_bps: vec![DeviceRate {
                major: 8,
                minor: 0,
                value: 1000,
            }],
            ..Resources::default()
        },
        ..simple()
    };
    let weight = |spec: &ContainerSpec, weighs_disks| {
        let host = Host {
            weighs_disks,
            ..host(Hierarchies::Unified)
        };
        let mapped = map(spec, &app(), &host)?;
        let linux = mapped.spec.linux().clone().unwrap();
        let disks = linux.resources().as_ref().unwrap().block_io().clone().unwrap();
        let rates = disks.throttle_read_bps_device().iter().flatten().count();
        Ok::<_, RuntimeError>((disks.weight(), rates, mapped.warnings.join("\n")))
    };
    assert_eq!(weight(&spec, true).unwrap(), (Some(300), 1, String::new()));
    let (kept, rates, warnings) = weight(&spec, false).unwrap();
    assert_eq!((kept, rates), (None, 1));
    assert!(
        warnings.starts_with("limit `blkio-weight` has no effect: this kernel"),
        "{warnings}"
    );
    let hardened = ContainerSpec {
        non_root: true,
        ..spec
    };
    let text = weight(&hardened, false).unwrap_err().to_string();
    assert!(text.contains("must have its limits: blkio-weight"), "{text}");
}

#[test]
fn swap_is_twice_the_memory_unless_said_otherwise() {
    let swap = |memory_swap, limits_swap| {
        let resources = Resources {
            memory: Some(100),
            memory_swap,
            ..Resources::default()
        };
        let host = Host {
            limits_swap,
            ..host(Hierarchies::Unified)
        };
        let mapped = map(
            &ContainerSpec {
                resources,
                ..simple()
            },
            &root(),
            &host,
        )?;
        let linux = mapped.spec.linux().clone().unwrap();
        let memory = linux.resources().as_ref().unwrap().memory().unwrap();
        Ok::<_, RuntimeError>((memory.limit(), memory.swap(), mapped.warnings.len()))
    };
    assert_eq!(swap(None, true).unwrap(), (Some(100), Some(200), 0));
    assert_eq!(swap(Some(-1), true).unwrap(), (Some(100), Some(-1), 0));
    assert_eq!(swap(Some(150), true).unwrap(), (Some(100), Some(150), 0));
    assert_eq!(swap(None, false).unwrap(), (Some(100), None, 0));
    assert_eq!(swap(Some(150), false).unwrap(), (Some(100), None, 1));
    assert!(swap(Some(50), true).is_err());
}

#[test]
fn the_environment_keeps_its_order() {
    let env = |given: &[&str], tty| {
        let env: Vec<String> = given.iter().map(|&entry| entry.to_owned()).collect();
        let spec = ContainerSpec {
            hostname: "boat".into(),
            ..simple()
        };
        environment(
            &spec,
            &ProcessRequest {
                args: &[],
                env: &env,
                cwd: "/",
                tty,
            },
            &app(),
        )
    };
    assert_eq!(
        env(&[], true),
        [defaults::PATH, "HOSTNAME=boat", "TERM=xterm", "HOME=/home/app"]
    );
    let given = env(
        &["B=1", "PATH=/bin", "HOME=/h", "HOSTNAME", "A=", "B=2=3", "NONE"],
        false,
    );
    assert_eq!(given, ["PATH=/bin", "B=2=3", "HOME=/h", "A="]);
    assert_eq!(env(&["HOME="], false).last().unwrap(), "HOME=/home/app");
}

#[test]
fn wrong_requests_are_refused() {
    assert_eq!(
        failure(&ContainerSpec {
            args: Vec::new(),
            ..simple()
        }),
        "no command specified"
    );
    let relative = Mount {
        kind: MountKind::Bind,
        source: "/x".into(),
        target: "data".into(),
        read_only: false,
        options: Vec::new(),
    };
    let spec = ContainerSpec {
        mounts: vec![relative],
        ..simple()
    };
    assert_eq!(failure(&spec), "invalid mount path: `data` must be absolute");
}

#[test]
fn owners_of_mounts_and_devices_are_those_of_the_host() {
    use crate::container_spec::Device;
    use crate::{IdMap, IdRange};
    let spec = |size, options: &[&str]| {
        let ranges = |outside| {
            let range = IdRange {
                inside: 0,
                outside,
                size,
            };
            vec![range]
        };
        let memory = Mount {
            kind: MountKind::Tmpfs,
            source: "tmpfs".into(),
            target: "/data".into(),
            read_only: false,
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        let device = Device {
            path: "/dev/disk".into(),
            block: true,
            major: 8,
            minor: 0,
            mode: 0o660,
            uid: 0,
            gid: 6,
            access: "rw".into(),
        };
        ContainerSpec {
            mounts: vec![memory],
            devices: vec![device],
            userns: Some(IdMap::new(ranges(1000), ranges(2000)).unwrap()),
            ..simple()
        }
    };
    let owners = |size, options: &[&str]| {
        let mapped = map(&spec(size, options), &root(), &host(Hierarchies::Unified)).unwrap();
        let named = |path: &str| {
            let mounts = mapped.spec.mounts().iter().flatten();
            let mut found = mounts.filter(|mount| mount.destination() == Path::new(path));
            let options = found.next().unwrap().options().clone().unwrap();
            let owners = options.into_iter().filter(|option| option.contains("id="));
            owners.collect::<Vec<_>>().join(",")
        };
        let linux = mapped.spec.linux().as_ref().unwrap();
        let node = &linux.devices().as_ref().unwrap()[0];
        (
            named("/dev/pts"),
            named("/data"),
            (node.uid().unwrap(), node.gid().unwrap()),
        )
    };
    let all = owners(100, &["uid=7", "gid=99", "mode=700"]);
    assert_eq!(all, ("gid=2005".into(), "uid=1007,gid=2099".into(), (1000, 2006)));
    // Who is in no map: terminals are root's, a device stays whose it is.
    assert_eq!(owners(5, &[]), (String::new(), String::new(), (1000, 6)));
    let error = failure(&spec(5, &["uid=5"]));
    assert_eq!(
        error,
        "mount option `uid=5`: it is not in the container's map of users"
    );
}

#[test]
fn shares_of_real_time_are_given_or_refused() {
    let map_with = |runtime, period, shares_real_time| {
        let host = Host {
            shares_real_time,
            ..host(Hierarchies::Unified)
        };
        let spec = ContainerSpec {
            resources: Resources {
                cpu_rt_runtime: runtime,
                cpu_rt_period: period,
                ..Resources::default()
            },
            ..simple()
        };
        let mapped = map(&spec, &app(), &host)?;
        let linux = mapped.spec.linux().clone().unwrap();
        let cpu = linux.resources().as_ref().unwrap().cpu().clone();
        Ok::<_, RuntimeError>(cpu.map(|cpu| (cpu.realtime_runtime(), cpu.realtime_period())))
    };
    assert_eq!(
        map_with(Some(95_000), Some(100_000), true).unwrap(),
        Some((Some(95_000), Some(100_000)))
    );
    assert_eq!(map_with(Some(0), None, false).unwrap(), None);
    let said = |result: Result<_, RuntimeError>| result.unwrap_err().to_string();
    assert_eq!(
        said(map_with(Some(2_000), Some(1_000), true)),
        "cpu real-time runtime cannot be higher than cpu real-time period"
    );
    assert_eq!(
        said(map_with(Some(1_000), None, false)),
        "kernel does not support CPU real-time scheduler"
    );
}
