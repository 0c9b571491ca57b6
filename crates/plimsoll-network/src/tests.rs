//! Whole networks, each on a pretended host in a namespace of its own: nothing here touches the machine's own network.

mod host;
mod user;

use host::{Container, HOST, Host, MTU, Root, WORLD, ask, ask_udp, serve, serve_udp};
use plimsoll_testkit::needs;
use std::net::Ipv4Addr;
use std::slice::from_ref;

use crate::{
    NetworkError, PortRequest, PublishedPort, bind, netlink::Netlink, publish, subnet::Subnet, unpublish,
};

fn request(text: &str) -> PortRequest {
    PortRequest::parse(text).expect("valid").remove(0)
}

fn published(text: &str) -> PublishedPort {
    let PortRequest {
        host_ip,
        host_port,
        container_port,
        protocol,
        ..
    } = request(text);
    let host_ip = host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    PublishedPort {
        host_ip,
        host_port,
        container_port,
        protocol,
    }
}

#[test]
fn containers_reach_the_world_and_each_other() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let one = Container::new(&host, &root, "one");
    let two = Container::new(&host, &root, "two");
    serve(&host.world, 7000);
    serve(&two.namespace, 80);
    serve(&host.namespace, 7001);

    let gateway = one.endpoint.network.gateway();
    assert_eq!(
        ask(&one.namespace, WORLD, 7000).expect("masquerade"),
        HOST.to_string()
    );
    assert_eq!(
        ask(&one.namespace, two.endpoint.main_address(), 80).expect("bridge"),
        one.endpoint.main_address().to_string()
    );
    assert_eq!(
        ask(&one.namespace, gateway, 7001).expect("gateway"),
        one.endpoint.main_address().to_string()
    );
    assert_eq!(
        ask(&host.namespace, two.endpoint.main_address(), 80).expect("host"),
        gateway.to_string()
    );
}

#[test]
fn a_container_looks_as_in_docker() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let container = Container::new(&host, &root, "one");
    let endpoint = &container.endpoint;
    assert_eq!(endpoint.main_address().to_string(), "172.17.0.2");
    assert_eq!(endpoint.mac, "02:42:ac:11:00:02");
    assert!(endpoint.host_interface.len() <= 15 && endpoint.network.bridge.len() <= 15);

    let inside = host.sh_in(
        &container.namespace,
        "ip address; ip route; ip -6 address show dev eth0",
    );
    for expected in [
        "eth0@",
        "inet 172.17.0.2/16 brd 172.17.255.255",
        "02:42:ac:11:00:02",
        "default via 172.17.0.1 dev eth0",
        "127.0.0.1/8",
        "inet6 ::1/128",
    ] {
        assert!(inside.contains(expected), "{expected} in:\n{inside}");
    }
    assert!(!inside.contains("fe80"), "no IPv6 but on loopback:\n{inside}");
    assert_eq!(
        inside.matches(&format!("mtu {MTU}")).count(),
        1,
        "the MTU of the default route:\n{inside}"
    );
    let outside = host.sh(&format!("ip link show dev {}", endpoint.network.bridge));
    assert!(outside.contains(&format!("mtu {MTU}")), "{outside}");
    let unprivileged = host.sh_in(
        &container.namespace,
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    assert_eq!(unprivileged, "0\n");
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let server = Container::new(&host, &root, "server");
    let neighbour = Container::new(&host, &root, "neighbour");
    serve(&server.namespace, 80);
    serve_udp(&server.namespace, 53);
    let ports = [
        published("8080:80"),
        published("192.0.2.2:8081:80"),
        published("5353:53/udp"),
    ];
    let instance = root.store.instance();
    host.run(|| publish(instance, from_ref(&server.endpoint), &ports))
        .expect("rules");
    host.run(|| publish(instance, from_ref(&server.endpoint), &ports))
        .expect("again");

    for port in [8080, 8081] {
        assert_eq!(
            ask(&host.world, HOST, port).expect("from outside"),
            WORLD.to_string()
        );
        assert_eq!(
            ask(&host.namespace, HOST, port).expect("from the host"),
            HOST.to_string()
        );
        let gateway = server.endpoint.network.gateway().to_string();
        assert_eq!(
            ask(&neighbour.namespace, HOST, port).expect("from a container"),
            gateway
        );
        assert_eq!(ask(&server.namespace, HOST, port).expect("from itself"), gateway);
    }
    assert_eq!(ask_udp(&host.world, HOST, 5353).expect("udp"), WORLD.to_string());
    assert!(
        ask(&host.namespace, Ipv4Addr::LOCALHOST, 8080).is_err(),
        "loopback is the shim's"
    );
    assert!(
        ask(&host.world, server.endpoint.main_address(), 80).is_err(),
        "only published ports are open to the world"
    );

    host.run(|| unpublish(instance, from_ref(&server.endpoint), &ports))
        .expect("gone");
    host.run(|| unpublish(instance, from_ref(&server.endpoint), &ports))
        .expect("again");
    assert!(ask(&host.world, HOST, 8080).is_err());
    assert!(!host.sh("nft list ruleset").contains("elements"));
}

#[test]
fn a_port_left_behind_is_taken_over() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let (old, new) = (
        Container::new(&host, &root, "old"),
        Container::new(&host, &root, "new"),
    );
    serve(&new.namespace, 80);
    let (first, second) = (
        [published("8080:80"), published("8081:80")],
        [published("8080:80")],
    );
    let instance = root.store.instance();
    host.run(|| publish(instance, from_ref(&old.endpoint), &first))
        .expect("rules");
    host.run(|| publish(instance, from_ref(&new.endpoint), &second))
        .expect("taken over");
    assert_eq!(
        ask(&host.world, HOST, 8080).expect("the new one"),
        WORLD.to_string()
    );

    host.run(|| unpublish(instance, from_ref(&old.endpoint), &first))
        .expect("late, but harmless");
    assert_eq!(
        ask(&host.world, HOST, 8080).expect("still the new one"),
        WORLD.to_string()
    );
    assert!(!host.sh("nft list ruleset").contains("8081"));
}

#[test]
fn a_port_in_use_on_the_host_is_refused() {
    needs!(root, tool = "ip");
    let host = Host::new();
    serve(&host.namespace, 8080);
    let error = host.run(|| bind(&request("8080:80")).expect_err("taken"));
    assert_eq!(
        error.to_string(),
        "Bind for 0.0.0.0:8080 failed: port is already allocated"
    );
    let bound = host.run(|| bind(&request("8081:80"))).expect("free");
    assert_eq!(bound.len(), 2, "IPv4 and IPv6");
}

#[test]
fn destroy_leaves_nothing() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let container = Container::new(&host, &root, "one");
    host.run(|| {
        publish(
            root.store.instance(),
            from_ref(&container.endpoint),
            &[published("8080:80")],
        )
    })
    .expect("rules");
    let networks = root.networks();
    host.run(|| networks.destroy()).expect("gone");
    host.run(|| networks.destroy()).expect("again");
    assert_eq!(host.sh("nft list ruleset"), "");
    let links = host.sh("ip -brief link");
    assert!(!links.contains("pl"), "{links}");

    let again = Container::new(&host, &root, "one");
    serve(&host.world, 7000);
    assert!(
        ask(&again.namespace, WORLD, 7000).is_ok(),
        "and it can be made again"
    );
}

#[test]
fn a_standing_bridge_is_left_alone() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    let first = host.run(|| networks.default_bridge()).expect("a bridge");
    let rules = host.sh("nft -a list ruleset");
    assert_eq!(host.run(|| networks.default_bridge()).expect("the same"), first);
    assert_eq!(
        host.sh("nft -a list ruleset"),
        rules,
        "not written again: handles would differ"
    );
}

#[test]
fn what_is_missing_is_made_again() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    let first = host.run(|| networks.default_bridge()).expect("a bridge");
    serve(&host.world, 7000);
    for damage in [
        // A reboot.
        format!(
            "ip link delete {}; nft flush ruleset; echo 0 > /proc/sys/net/ipv4/ip_forward",
            first.bridge
        ),
        // `systemctl restart nftables`.
        "nft flush ruleset".to_owned(),
        format!("ip link set {} down", first.bridge),
        // A first attempt that was killed.
        format!(
            "ip link set {} alias ''; ip address flush dev {}",
            first.bridge, first.bridge
        ),
    ] {
        host.sh(&damage);
        assert_eq!(
            host.run(|| networks.default_bridge()).expect("mended"),
            first,
            "{damage}"
        );
        let container = host.run(|| Container::on(&networks, &first, &damage));
        assert!(ask(&container.namespace, WORLD, 7000).is_ok(), "{damage}");
    }
}

#[test]
fn a_subnet_that_the_host_took_meanwhile_is_given_up() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    let first = host.run(|| networks.default_bridge()).expect("a bridge");
    host.sh(&format!(
        "ip link delete {}; ip route add {} via {WORLD}",
        first.bridge,
        first.main_pool().subnet
    ));
    let second = host.run(|| networks.default_bridge()).expect("another one");
    assert_eq!(second.main_pool().subnet.to_string(), "172.18.0.0/16");
}

#[test]
fn roots_of_one_host_never_meet() {
    needs!(root, tool = "nft", tool = "ip");
    let host = Host::new();
    let roots: Vec<Root> = (0..6).map(|_| Root::new()).collect();
    let networks: Vec<_> = std::thread::scope(|scope| {
        let make = |root: &Root| host.run(|| root.networks().default_bridge()).expect("a bridge");
        let threads: Vec<_> = roots.iter().map(|root| scope.spawn(move || make(root))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    for (index, one) in networks.iter().enumerate() {
        for other in &networks[index + 1..] {
            assert!(
                !one.main_pool().subnet.overlaps(other.main_pool().subnet),
                "{one:?} {other:?}"
            );
            assert_ne!(one.bridge, other.bridge);
        }
    }
    // What one takes away is not missed by another.
    host.run(|| roots[0].networks().destroy()).expect("gone");
    serve(&host.world, 7000);
    let container = Container::new(&host, &roots[1], "one");
    assert!(ask(&container.namespace, WORLD, 7000).is_ok());
}

#[test]
fn processes_of_one_root_make_one_bridge() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let endpoints: Vec<_> = std::thread::scope(|scope| {
        let make = |name: usize| {
            host.run(|| {
                let networks = root.networks();
                let network = networks.default_bridge().expect("a bridge");
                networks
                    .allocate(&network, &name.to_string())
                    .expect("an address")
            })
        };
        let threads: Vec<_> = (0..8).map(|name| scope.spawn(move || make(name))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let mut addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.main_address()).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 8, "{addresses:?}");
    assert!(
        endpoints
            .iter()
            .all(|endpoint| endpoint.network == endpoints[0].network)
    );
}

#[test]
fn addresses_run_out_and_come_back() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    let networks = root.networks();
    let mut network = host.run(|| networks.default_bridge()).expect("a bridge");
    network.ipv4.as_mut().expect("it has IPv4").subnet = "172.17.0.0/29".parse().expect("a subnet");
    let take = |name: &str| {
        networks
            .allocate(&network, name)
            .map(|endpoint| endpoint.address.expect("it has IPv4").octets()[3])
    };
    for (name, expected) in ["a", "b", "c", "d", "e"].into_iter().zip(2..) {
        assert_eq!(take(name).expect("free"), expected);
    }
    assert_eq!(take("c").expect("has one"), 4, "asking twice gives the same");
    let error = take("f").expect_err("full");
    assert_eq!(
        error.to_string(),
        "network `bridge` has no free address left in 172.17.0.0/29"
    );
    networks.release("b").expect("given back");
    networks.release("b").expect("again");
    assert_eq!(take("f").expect("free again"), 3);
}

#[test]
fn a_host_without_room_says_so() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    host.sh(&format!(
        "for net in 172.16.0.0/12 192.168.0.0/16 10.0.0.0/8; do ip route add $net via {WORLD}; done"
    ));
    let error = host
        .run(|| root.networks().default_bridge())
        .expect_err("no room");
    assert!(matches!(error, NetworkError::NoFreeSubnet), "{error}");
    assert!(error.hint().is_some());
    // The default route of a VPN does not count as taking everything.
    let host = Host::new();
    host.sh(&format!(
        "ip route add 0.0.0.0/1 via {WORLD}; ip route add 128.0.0.0/1 via {WORLD}"
    ));
    assert!(host.run(|| root.networks().default_bridge()).is_ok());
}

/// Docker's own rules, as its version 20.10 writes them.
const DOCKER: &str = "
    $iptables -P FORWARD DROP
    $iptables -N DOCKER-USER
    $iptables -N DOCKER-ISOLATION-STAGE-1
    $iptables -A FORWARD -j DOCKER-USER
    $iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
    $iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    $iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    $iptables -A DOCKER-USER -j RETURN
    $iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN";

fn packets_pass_a_foreign_drop(rules: &str, listing: &str, chain: &str) {
    let (host, root) = (Host::new(), Root::new());
    host.sh(rules);
    let before = host.sh(listing);
    let container = Container::new(&host, &root, "one");
    serve(&host.world, 7000);
    serve(&container.namespace, 80);
    host.run(|| {
        publish(
            root.store.instance(),
            from_ref(&container.endpoint),
            &[published("8080:80")],
        )
    })
    .expect("rules");
    assert_eq!(
        ask(&container.namespace, WORLD, 7000).expect("outward"),
        HOST.to_string()
    );
    assert_eq!(ask(&host.world, HOST, 8080).expect("inward"), WORLD.to_string());
    assert!(
        ask(&host.world, container.endpoint.main_address(), 80).is_err(),
        "ours still decides what gets in"
    );

    let during = host.sh(listing);
    let bridge = &container.endpoint.network.bridge;
    let ours = |text: &str| text.lines().filter(|line| line.contains(bridge.as_str())).count();
    assert_eq!(ours(&during), 2, "{during}");
    assert!(during.contains(chain), "{during}");
    // Made anew, it is not said twice.
    host.sh(&format!("ip link set {bridge} down"));
    host.run(|| root.networks().default_bridge()).expect("mended");
    assert_eq!(ours(&host.sh(listing)), 2);
    host.run(|| root.networks().destroy()).expect("gone");
    assert_eq!(host.sh(listing), before, "as it was");
}

#[test]
fn packets_pass_where_docker_drops() {
    needs!(root, tool = "nft", tool = "ip", tool = "iptables-nft");
    let rules = DOCKER.replace("$iptables", "iptables-nft");
    packets_pass_a_foreign_drop(&rules, "iptables-nft -S", "-A DOCKER-USER -i pl");
}

#[test]
fn packets_pass_where_docker_drops_by_the_older_interface() {
    needs!(root, tool = "nft", tool = "ip", tool = "iptables-legacy");
    let rules = DOCKER.replace("$iptables", "iptables-legacy");
    packets_pass_a_foreign_drop(&rules, "iptables-legacy -S", "-A DOCKER-USER -i pl");
}

#[test]
fn packets_pass_where_an_administrator_drops() {
    needs!(root, tool = "nft", tool = "ip");
    let rules =
        "nft 'table inet filter { chain forward { type filter hook forward priority 0; policy drop; }; }'";
    packets_pass_a_foreign_drop(rules, "nft list table inet filter", "accept comment \"plimsoll_");
}

#[test]
fn a_firewall_that_comes_later_is_noticed() {
    needs!(root, tool = "nft", tool = "ip", tool = "iptables-nft");
    let (host, root) = (Host::new(), Root::new());
    let container = Container::new(&host, &root, "one");
    serve(&host.world, 7000);
    host.sh(&DOCKER.replace("$iptables", "iptables-nft"));
    assert!(ask(&container.namespace, WORLD, 7000).is_err(), "shut out");
    host.run(|| root.networks().default_bridge())
        .expect("mended by the next container");
    assert!(ask(&container.namespace, WORLD, 7000).is_ok());
}

#[test]
fn nothing_foreign_is_touched_without_a_drop() {
    needs!(root, tool = "nft", tool = "ip");
    let (host, root) = (Host::new(), Root::new());
    host.sh(
        "nft 'table inet filter { chain forward { type filter hook forward priority 0; policy accept; }; }'",
    );
    let before = host.sh("nft -a list table inet filter");
    host.run(|| root.networks().default_bridge()).expect("a bridge");
    assert_eq!(host.sh("nft -a list table inet filter"), before);
}

#[test]
fn netlink_reads_what_ip_wrote() {
    needs!(root, tool = "ip");
    let host = Host::new();
    host.sh("ip link set eth0 alias 'to the world'; ip route add 198.51.100.0/24 via 192.0.2.1 metric 7");
    let mut netlink = host.run(Netlink::open).expect("a socket");
    let eth0 = netlink.link("eth0").expect("an answer").expect("a device");
    assert_eq!(
        (eth0.mtu, eth0.is_up, eth0.alias.as_deref()),
        (MTU, true, Some("to the world"))
    );
    assert_eq!(netlink.link("eth9").expect("an answer"), None);
    assert!(netlink.links().expect("devices").contains(&eth0));
    let routes = netlink.routes().expect("routes");
    let subnet = Subnet::new(Ipv4Addr::new(198, 51, 100, 0), 24);
    let route = routes
        .iter()
        .find(|route| route.destination == subnet)
        .expect("the route");
    assert_eq!((route.device, route.metric), (Some(eth0.index), 7));
    let addresses = netlink.addresses().expect("addresses");
    assert!(
        addresses
            .iter()
            .any(|address| address.device == eth0.index && address.subnet.prefix() == 24)
    );
}
