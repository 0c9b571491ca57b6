//! Networks that users make.

use super::host::{Container, HOST, HOST6, Host, Root, WORLD, WORLD6, ask, ask_udp, serve, serve_udp};
use super::published;
use crate::namespace::{connect, disconnect};
use plimsoll_testkit::needs;
use rusqlite::params;
use std::os::fd::AsFd as _;
use std::slice::from_ref;

use crate::{
    Answer, AttachOptions, NameTable, Network, NetworkError, NetworkRequest, default_routes, namespace,
    publish, set_default_routes,
};

fn create(host: &Host, root: &Root, name: &str, change: impl FnOnce(&mut NetworkRequest)) -> Network {
    try_create(host, root, name, change).expect("a network")
}

fn try_create(
    host: &Host,
    root: &Root,
    name: &str,
    change: impl FnOnce(&mut NetworkRequest),
) -> Result<Network, NetworkError> {
    let mut request = NetworkRequest {
        name: name.to_owned(),
        ..NetworkRequest::default()
    };
    change(&mut request);
    host.run(|| root.networks().create(&request))
}

#[test]
fn networks_are_apart() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let (one, two) = (
        create(&host, &root, "one", |_| {}),
        create(&host, &root, "two", |_| {}),
    );
    assert!(!one.main_pool().subnet.overlaps(two.main_pool().subnet));
    let a = Container::joined(&host, &root, "a", "one");
    let neighbour = Container::joined(&host, &root, "neighbour", "one");
    let b = Container::joined(&host, &root, "b", "two");
    let c = Container::new(&host, &root, "c");
    for container in [&a, &b, &c] {
        serve(&container.namespace, 80);
    }
    serve(&host.world, 7000);
    assert!(ask(&neighbour.namespace, a.endpoint.main_address(), 80).is_ok());
    for (from, to) in [(&a, &b), (&b, &a), (&a, &c), (&c, &a)] {
        assert!(ask(&from.namespace, to.endpoint.main_address(), 80).is_err());
    }
    for container in [&a, &b, &c] {
        assert_eq!(
            ask(&container.namespace, WORLD, 7000).expect("outward"),
            HOST.to_string()
        );
        assert!(
            ask(&host.namespace, container.endpoint.main_address(), 80).is_ok(),
            "from the host"
        );
        assert!(
            ask(&host.world, container.endpoint.main_address(), 80).is_err(),
            "from outside"
        );
    }
    // A published port is everybody's.
    let instance = root.store.instance();
    host.run(|| publish(instance, from_ref(&b.endpoint), &[published("8080:80")]))
        .expect("rules");
    assert!(ask(&host.world, HOST, 8080).is_ok());
    assert!(ask(&a.namespace, HOST, 8080).is_ok());
}

#[test]
fn there_is_no_way_out_of_an_internal_network() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let inner = create(&host, &root, "inner", |request| {
        request.internal = true;
        request.ipv6 = true;
    });
    create(&host, &root, "outer", |_| {});
    let one = Container::joined(&host, &root, "one", "inner");
    let two = Container::joined(&host, &root, "two", "inner");
    let other = Container::joined(&host, &root, "other", "outer");
    assert_eq!(one.endpoint.network, inner);
    for place in [&host.world, &host.namespace, &two.namespace, &other.namespace] {
        serve(place, 7000);
        serve_udp(place, 7001);
    }
    assert!(ask(&one.namespace, two.endpoint.main_address(), 7000).is_ok());
    assert!(ask(&one.namespace, two.endpoint.address6.expect("has one"), 7000).is_ok());
    assert!(
        ask(&host.namespace, one.endpoint.main_address(), 7000).is_err(),
        "nobody listens"
    );
    assert!(
        !host
            .sh_in(&one.namespace, "ip route; ip -6 route")
            .contains("default")
    );

    // Not even for somebody who makes a route.
    let (gateway, gateway6) = (inner.gateway(), inner.ipv6.as_ref().expect("has one").gateway);
    host.sh_in(
        &one.namespace,
        &format!("ip route add default via {gateway}; ip -6 route add default via {gateway6}"),
    );
    let elsewhere = other.endpoint.network.gateway();
    let instance = root.store.instance();
    host.run(|| publish(instance, from_ref(&other.endpoint), &[published("8080:7000")]))
        .expect("rules");
    for address in [
        WORLD.into(),
        HOST.into(),
        elsewhere,
        other.endpoint.main_address(),
        WORLD6.into(),
        HOST6.into(),
    ] {
        assert!(ask(&one.namespace, address, 7000).is_err(), "{address}");
        assert!(ask_udp(&one.namespace, address, 7001).is_err(), "{address}");
        assert!(ask(&one.namespace, address, 8080).is_err(), "{address}");
    }
    assert!(ask(&one.namespace, gateway, 7000).is_ok(), "as in Docker");
    // And none in.
    serve(&one.namespace, 7002);
    host.sh_in(&other.namespace, "true");
    assert!(ask(&host.namespace, one.endpoint.main_address(), 7002).is_ok());
    assert!(ask(&host.world, one.endpoint.main_address(), 7002).is_err());
    assert!(ask(&other.namespace, one.endpoint.main_address(), 7002).is_err());
}

#[test]
fn ipv6_goes_out_and_comes_in() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    create(&host, &root, "six", |request| request.ipv6 = true);
    let server = Container::joined(&host, &root, "server", "six");
    let neighbour = Container::joined(&host, &root, "neighbour", "six");
    let address = server.endpoint.address6.expect("has one");
    assert!(address.is_unique_local(), "{address}");
    serve(&host.world, 7000);
    serve(&server.namespace, 80);
    serve_udp(&server.namespace, 53);
    assert_eq!(
        ask(&server.namespace, WORLD6, 7000).expect("outward"),
        HOST6.to_string()
    );
    assert!(ask(&neighbour.namespace, address, 80).is_ok());
    assert!(ask(&host.namespace, address, 80).is_ok());
    let ports = [
        published("8080:80"),
        published("[::]:8080:80"),
        published("[::]:5353:53/udp"),
    ];
    let instance = root.store.instance();
    host.run(|| publish(instance, from_ref(&server.endpoint), &ports))
        .expect("rules");
    assert_eq!(ask(&host.world, HOST6, 8080).expect("inward"), WORLD6.to_string());
    assert_eq!(
        ask(&host.world, HOST, 8080).expect("inward"),
        super::WORLD.to_string()
    );
    assert_eq!(
        ask_udp(&host.world, HOST6, 5353).expect("udp"),
        WORLD6.to_string()
    );
    assert!(ask(&neighbour.namespace, HOST6, 8080).is_ok());
    assert!(ask(&server.namespace, HOST6, 8080).is_ok(), "hairpin");
    host.sh_in(
        &host.world,
        &format!(
            "ip route add {}/64 via {HOST6}",
            server
                .endpoint
                .network
                .ipv6
                .clone()
                .expect("has one")
                .subnet
                .base()
        ),
    );
    assert!(ask(&host.world, address, 80).is_err(), "only what is published");
}

#[test]
fn a_host_that_hears_routers_goes_on_hearing_them() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    host.sh("echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra");
    create(&host, &root, "six", |request| request.ipv6 = true);
    assert_eq!(
        host.sh("cat /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/eth0/accept_ra"),
        "1\n2\n"
    );
}

#[test]
fn addresses_as_asked_and_kept() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    create(&host, &root, "web", |request| {
        request.subnets = vec!["10.77.0.0/24".parse().expect("a subnet")];
        request.gateways = vec!["10.77.0.254".parse().expect("an address")];
        request.ranges = vec!["10.77.0.128/30".parse().expect("a subnet")];
        request.reserved = [("printer".to_owned(), "10.77.0.129".parse().expect("an address"))].into();
    });
    let info = networks.get("web").expect("there");
    let attach = |name: &str, address: &str| {
        let options = AttachOptions {
            address: Some(address.parse().expect("an address")),
            mac: Some("02:00:00:00:00:07".to_owned()),
            ..AttachOptions::default()
        };
        networks.attach(name, name, &info, &options)
    };
    let address = |name: &str| {
        let endpoints = host.run(|| networks.join(name, "web"))?;
        Ok::<_, NetworkError>(endpoints[0].main_address().to_string())
    };
    attach("fixed", "10.77.0.7").expect("free");
    assert_eq!(address("fixed").expect("as asked"), "10.77.0.7");
    assert_eq!(address("first").expect("one"), "10.77.0.128");
    assert_eq!(
        address("second").expect("one"),
        "10.77.0.130",
        "not the printer's"
    );
    // It keeps it over a stop, unless others need it.
    networks.park("first").expect("parked");
    assert_eq!(address("third").expect("one"), "10.77.0.131");
    assert_eq!(address("first").expect("again"), "10.77.0.128");
    networks.park("second").expect("parked");
    assert_eq!(address("fourth").expect("the last one"), "10.77.0.130");
    let full = address("second").expect_err("full").to_string();
    assert_eq!(full, "network `web` has no free address left in 10.77.0.0/24");
    // One that was asked for stays with who asked.
    networks.park("fixed").expect("parked");
    attach("thief", "10.77.0.7").expect("looked at later");
    let error = address("thief").expect_err("taken").to_string();
    assert_eq!(
        error,
        "Address already in use: 10.77.0.7 on network web belongs to fixed"
    );

    assert!(matches!(
        attach("fixed", "10.77.0.7"),
        Err(NetworkError::AlreadyConnected { .. })
    ));
    let stray = attach("stray", "10.99.0.1").expect_err("elsewhere").to_string();
    assert_eq!(
        stray,
        "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 10.99.0.1"
    );
}

#[test]
fn a_network_is_removed_when_nobody_is_on_it() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    let network = create(&host, &root, "web", |_| {});
    let container = Container::joined(&host, &root, "busy", "web");
    let info = networks.get(&network.id[..8]).expect("by its id");
    let remove = || host.run(|| networks.remove(&info));
    let error = remove().expect_err("in use").to_string();
    let expected = format!(
        "error while removing network: network web has active endpoints (name:\"busy\" id:\"{}\")",
        &container.endpoint.id[..12]
    );
    assert_eq!(error, expected);
    networks.detach("busy", "busy", &info).expect("off");
    assert!(matches!(
        networks.detach("busy", "busy", &info),
        Err(NetworkError::NotConnected { .. })
    ));
    remove().expect("gone");
    assert!(!host.sh("ip -brief link").contains(&network.bridge));
    assert!(!host.sh("nft list ruleset").contains(&network.bridge));
    let error = networks.get("web").expect_err("gone");
    assert_eq!(error.to_string(), "network web not found");
    for name in ["bridge", "host", "none"] {
        let info = networks.get(name).expect("always there");
        let error = host.run(|| networks.remove(&info)).expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("{name} is a pre-defined network and cannot be removed")
        );
    }
}

#[test]
fn what_cannot_be_is_refused() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let subnet = |text: &str| {
        let subnet = text.parse().expect("a subnet");
        move |request: &mut NetworkRequest| request.subnets = vec![subnet]
    };
    create(&host, &root, "web", subnet("10.77.0.0/16"));
    let error = try_create(&host, &root, "web", |_| {}).expect_err("a name is had once");
    assert_eq!(error.to_string(), "network with name web already exists");
    for (wanted, owner) in [
        ("10.77.5.0/24", "network web"),
        ("192.0.2.128/25", "192.0.2.0/24, a subnet of this host"),
    ] {
        let error = try_create(&host, &root, "other", subnet(wanted)).expect_err("overlaps");
        let expected = format!(
            "invalid pool request: Pool overlaps with other one on this address space: {wanted} is in use by {owner}"
        );
        assert_eq!(error.to_string(), expected);
    }
    let error = try_create(&host, &root, "other", |request| {
        request.options = [("com.docker.network.bridge.name".to_owned(), "eth0".to_owned())].into();
    });
    assert!(matches!(error, Err(NetworkError::DeviceExists(_))));
    for name in ["e*", "a/b", "a b", "sixteen-letters-"] {
        let error = try_create(&host, &root, "other", |request| {
            request.options = [("com.docker.network.bridge.name".to_owned(), name.to_owned())].into();
        });
        assert!(matches!(error, Err(NetworkError::Invalid(_))), "{name}");
    }
    assert!(host.sh("ip -brief link").contains("eth0"));
    assert_eq!(
        root.networks().list().expect("all").len(),
        4,
        "nothing is left of them"
    );
}

#[test]
fn options_of_the_bridge() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let option = |name: &str, value: &str| (format!("com.docker.network.{name}"), value.to_owned());
    let network = create(&host, &root, "web", |request| {
        request.options = [
            option("bridge.name", "mine0"),
            option("bridge.enable_icc", "false"),
            option("bridge.enable_ip_masquerade", "false"),
            option("bridge.host_binding_ipv4", "127.0.0.1"),
            option("driver.mtu", "1300"),
        ]
        .into();
    });
    assert_eq!(network.host_binding().expect("said").to_string(), "127.0.0.1");
    assert!(host.sh("ip link show dev mine0").contains("mtu 1300"));
    let one = Container::joined(&host, &root, "one", "web");
    let two = Container::joined(&host, &root, "two", "web");
    serve(&two.namespace, 80);
    serve(&host.world, 7000);
    assert!(
        ask(&one.namespace, two.endpoint.main_address(), 80).is_err(),
        "they do not see each other"
    );
    assert_eq!(
        ask(&one.namespace, WORLD, 7000).expect("routed"),
        one.endpoint.main_address().to_string(),
        "by its own address"
    );
}

#[test]
fn a_network_comes_back_after_a_reboot() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let network = create(&host, &root, "web", |request| request.ipv6 = true);
    serve(&host.world, 7000);
    host.sh(&format!("ip link delete {}; nft flush ruleset", network.bridge));
    let container = Container::joined(&host, &root, "one", "web");
    assert!(ask(&container.namespace, WORLD, 7000).is_ok());
    assert!(ask(&container.namespace, WORLD6, 7000).is_ok());
}

#[test]
fn a_running_container_moves_between_networks() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    create(&host, &root, "inner", |request| request.internal = true);
    create(&host, &root, "outer", |_| {});
    serve(&host.world, 7000);
    let container = Container::joined(&host, &root, "one", "inner");
    let mut endpoints = vec![container.endpoint.clone()];
    assert!(ask(&container.namespace, WORLD, 7000).is_err());
    let outer = networks.get("outer").expect("there");
    host.run(|| {
        networks
            .attach("one", "one", &outer, &AttachOptions::default())
            .expect("a place");
        endpoints.push(networks.join_one("one", &outer, &endpoints).expect("an address"));
        default_routes(&mut endpoints);
        connect(container.namespace.as_fd(), &endpoints[1]).expect("a connection");
        set_default_routes(container.namespace.as_fd(), &endpoints).expect("routes");
    });
    assert_eq!(endpoints[1].interface, "eth1");
    assert!(ask(&container.namespace, WORLD, 7000).is_ok());
    host.run(|| {
        disconnect(&endpoints[1]).expect("gone");
        disconnect(&endpoints[1]).expect("again");
    });
    assert!(ask(&container.namespace, WORLD, 7000).is_err());
    assert_eq!(
        host.sh_in(&container.namespace, "ls /sys/class/net | wc -l")
            .trim(),
        host.sh_in(&namespace().expect("one"), "ls /sys/class/net | wc -l")
            .trim()
    );
}

#[test]
fn the_way_out_is_the_one_of_the_highest_priority() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    for name in ["b", "a", "c"] {
        create(&host, &root, name, |_| {});
        let options = AttachOptions {
            gateway_priority: i32::from(name == "c"),
            ..AttachOptions::default()
        };
        networks
            .attach("one", "one", &networks.get(name).expect("there"), &options)
            .expect("a place");
    }
    let mut endpoints = host.run(|| networks.join("one", "b")).expect("places");
    let order: Vec<_> = endpoints
        .iter()
        .map(|endpoint| (endpoint.network.name.as_str(), endpoint.interface.as_str()))
        .collect();
    assert_eq!(order, [("b", "eth0"), ("a", "eth1"), ("c", "eth2")]);
    let out = |endpoints: &[crate::Endpoint]| {
        let out = endpoints.iter().find(|endpoint| endpoint.default_route);
        out.map(|endpoint| endpoint.network.name.clone())
    };
    assert_eq!(out(&endpoints).as_deref(), Some("c"));
    endpoints.pop();
    endpoints
        .iter_mut()
        .for_each(|endpoint| endpoint.options.gateway_priority = 0);
    default_routes(&mut endpoints);
    assert_eq!(out(&endpoints).as_deref(), Some("a"), "else the first by name");
}

#[test]
fn names_follow_who_comes_and_goes() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    let network = create(&host, &root, "web", |_| {});
    let info = networks.get("web").expect("there");
    let id = "c".repeat(64);
    root.store
        .db()
        .write(|transaction| {
            transaction.execute(
                "INSERT INTO container (id, name, created) VALUES (?1, 'shop', 1)",
                params![id],
            )
        })
        .expect("a row");
    let options = AttachOptions {
        aliases: vec!["front".to_owned()],
        hostname: "till".to_owned(),
        ..AttachOptions::default()
    };
    networks.attach(&id, "shop", &info, &options).expect("a place");
    let mut table = NameTable::new(root.store.run(), [&network], Vec::new());
    let mut knows = |name: &str| {
        let mut question = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
        question.push(name.len() as u8);
        question.extend(name.as_bytes());
        question.extend(b"\x00\x00\x01\x00\x01");
        matches!(table.answer(&question, false), Answer::Reply(_))
    };
    assert!(!knows("shop"), "it does not run");
    host.run(|| networks.join(&id, "web")).expect("places");
    for name in ["shop", "front", "till", &id[..12]] {
        assert!(knows(name), "{name}");
    }
    root.store
        .db()
        .write(|transaction| transaction.execute("UPDATE container SET name = 'store'", []))
        .expect("renamed");
    networks.renamed(&id).expect("told");
    assert!(knows("store") && !knows("shop") && knows("front"));
    networks.park(&id).expect("parked");
    assert!(!knows("front"));
}

/// What firewalld's forward chain is made of, with zones that know no bridge of ours.
const FIREWALLD: &str = "table inet firewalld {
  chain trusted { iifname @trusted accept; }
  set trusted { type ifname; }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    jump trusted
    reject with icmpx admin-prohibited
  }
}";

#[test]
fn firewalld_is_asked_to_trust_the_bridge() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let file = root.store.root().join("firewalld.nft");
    std::fs::write(
        &file,
        FIREWALLD.replace(
            "chain trusted { iifname @trusted accept; }\n  set trusted { type ifname; }",
            "set trusted { type ifname; }\n  chain trusted { iifname @trusted accept; }",
        ),
    )
    .expect("written");
    host.sh(&format!("nft -f {file}"));
    // Stands for the program, which talks to a daemon.
    let programs = root.store.root().join("programs");
    let script = "#!/bin/sh\ncase $3 in\n--change-interface=*) nft add element inet firewalld trusted \"{ ${3#*=} }\";;\n\
                  --remove-interface=*) nft delete element inet firewalld trusted \"{ ${3#*=} }\";;\nesac\n";
    std::fs::create_dir(&programs).expect("a folder");
    std::fs::write(programs.join("firewall-cmd"), script).expect("written");
    host.sh(&format!("chmod 755 {programs}/firewall-cmd"));
    let with_program = |work: &(dyn Fn() + Sync)| {
        host.run(|| {
            use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
            plimsoll_linux::unshare(plimsoll_linux::UnshareFlags::NEWNS).expect("a mount namespace");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
            mount_bind(programs.as_std_path(), "/usr/local/bin").expect("mounted");
            work();
        });
    };
    let networks = root.networks();
    with_program(&|| drop(networks.default_bridge().expect("a bridge")));
    let network = host.run(|| networks.default_bridge()).expect("it stands");
    let container = host.run(|| Container::on(&networks, &network, "one"));
    serve(&host.world, 7000);
    serve(&container.namespace, 80);
    assert!(ask(&container.namespace, WORLD, 7000).is_ok());
    let instance = root.store.instance();
    host.run(|| publish(instance, from_ref(&container.endpoint), &[published("8080:80")]))
        .expect("rules");
    assert!(ask(&host.world, HOST, 8080).is_ok());
    with_program(&|| networks.destroy().expect("gone"));
    assert!(
        !host
            .sh("nft list set inet firewalld trusted")
            .contains(&network.bridge)
    );
}
