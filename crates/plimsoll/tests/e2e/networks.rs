//! Networks of the user's own, on a pretended host: the program runs in a network namespace, and the world around it is another
//! one.
//!
//! ```text
//! world 192.0.2.1 --- eth0 192.0.2.2 host --- bridges --- containers
//! ```

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plimsoll_testkit::{Sandbox, needs};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::wait_for;

const WORLD: &str = "192.0.2.1";
const HOST: &str = "192.0.2.2";
const WORLD6: &str = "2001:db8::1";
const HOST6: &str = "2001:db8::2";
/// What the name server of the world answers to everything.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// A network namespace, as long as its process lives.
struct Place(Child);

impl Place {
    fn new() -> Self {
        let command = [
            "--net",
            "sh",
            "-c",
            "ip link set lo up && echo ready && exec sleep 1000",
        ];
        let mut child = Command::new("unshare")
            .args(command)
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut ready = [0; 6];
        let mut stdout = child.stdout.take().expect("a pipe was asked for");
        stdout
            .read_exact(&mut ready)
            .expect("it says so when it is there");
        Self(child)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn sh(&self, script: &str) -> String {
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.path()))
            .args(["sh", "-ec", script])
            .output()
            .expect("nsenter starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `work` on a thread that is there.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(self.path()).expect("it lives");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may");
                work()
            });
            thread.join().expect("no panic")
        })
    }

    /// Asks a web server for `/page`, and returns the body.
    fn get(&self, server: &str, port: u16) -> Option<String> {
        let address: IpAddr = server.parse().expect("an address");
        self.run(|| {
            let timeout = Duration::from_secs(2);
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), timeout).ok()?;
            // Whoever took the connection answers, however busy the machine is.
            stream.set_read_timeout(Some(10 * timeout)).ok()?;
            stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer.split_once("\r\n\r\n")?.1.to_owned())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, on a host of its own.
struct Host {
    sandbox: Sandbox,
    place: Place,
    world: Place,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Host {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Host {
    fn new() -> Self {
        let (place, world) = (Place::new(), Place::new());
        place.sh(&format!(
            "ip link add eth0 type veth peer name eth0 netns {}
             ip address add {HOST}/24 dev eth0; ip address add {HOST6}/64 dev eth0 nodad; ip link set eth0 up",
            world.0.id()
        ));
        world.sh(&format!(
            "ip address add {WORLD}/24 dev eth0; ip address add {WORLD6}/64 dev eth0 nodad; ip link set eth0 up
             ip route add default via {HOST}; ip route add default via {HOST6}"
        ));
        place.sh(&format!(
            "ip route add default via {WORLD}; ip route add default via {WORLD6}"
        ));
        let folder = tempfile::tempdir().expect("a folder");
        let program =
            std::env::var("PLIMSOLL_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_plimsoll").to_owned());
        let wrapper = folder.path().join("plimsoll");
        let script = format!(
            "#!/bin/sh\nexec nsenter --net={} {program} \"$@\"\n",
            place.path()
        );
        std::fs::write(&wrapper, script).expect("written");
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).expect("its own file");
        let sandbox = Sandbox::of(wrapper);
        sandbox.load("busybox");
        Self {
            sandbox,
            place,
            world,
            _folder: folder,
        }
    }

    /// A web server whose `/page` is its name, on port 80.
    fn serve(&self, name: &str, options: &[&str]) {
        let server = format!("mkdir -p /www && echo {name} > /www/page && exec httpd -f -p 80 -h /www");
        self.start(name, options, &["sh", "-c", &server]);
    }

    /// Starts a container that waits.
    fn wait_in(&self, name: &str, options: &[&str]) {
        self.start(name, options, &["sleep", "1000"]);
    }

    fn start(&self, name: &str, options: &[&str], command: &[&str]) {
        let args = [&["run", "-d", "--name", name], options, &["busybox"], command].concat();
        self.run(args).success("run");
    }

    /// The page of a server, asked for from inside a container; none when it cannot be had.
    fn page(&self, from: &str, server: &str) -> Option<String> {
        let url = format!("http://{server}/page");
        let outcome = self.run(["exec", from, "timeout", "2", "wget", "-q", "-O", "-", &url]);
        (outcome.code == 0).then(|| outcome.stdout.trim().to_owned())
    }

    fn expect_page(&self, from: &str, server: &str, expected: &str) {
        wait_for(&format!("{server} from {from}"), 10, || {
            (self.page(from, server)? == expected).then_some(())
        });
    }

    fn inspect(&self, args: &[&str]) -> Value {
        let outcome = self.run(args);
        let list: Value = serde_json::from_str(&outcome.success("inspect")).expect("JSON");
        list[0].clone()
    }

    /// Addresses that a container gets for a name.
    fn resolve(&self, from: &str, name: &str, kind: &str) -> Vec<String> {
        let kind = format!("-type={kind}");
        let mut args = vec!["exec", from, "nslookup", &kind, name, "127.0.0.11"];
        // It turns an address round only when it is not told what to ask for.
        args.retain(|arg| *arg != "-type=ptr");
        let outcome = self.run(args);
        let answer = outcome
            .stdout
            .split_once("\n\n")
            .map(|(_, answer)| answer)
            .unwrap_or_default();
        let lines = answer.lines().filter_map(|line| {
            line.strip_prefix("Address: ")
                .or_else(|| line.split_once("name = ").map(|(_, name)| name))
        });
        lines.map(|line| line.trim().to_owned()).collect()
    }
}

#[test]
fn containers_find_each_other_by_name() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.ok(["network", "create", "shop"]);
    host.ok(["network", "create", "--ipv6", "store"]);
    host.serve(
        "web",
        &[
            "--network",
            "shop",
            "--network-alias",
            "front",
            "--hostname",
            "till",
        ],
    );
    host.wait_in("client", &["--network", "shop", "--network", "store"]);
    host.wait_in("stranger", &["--network", "store"]);
    let id = host.ok(["inspect", "-f", "{{.Id}}", "web"]);
    for name in ["web", "front", "till", &id[..12], "web.shop"] {
        host.expect_page("client", name, "web");
    }
    assert_eq!(host.page("stranger", "web"), None, "another network");
    let address = host.ok([
        "inspect",
        "-f",
        "{{.NetworkSettings.Networks.shop.IPAddress}}",
        "web",
    ]);
    let address = address.trim();
    assert_eq!(host.resolve("client", "web", "a"), [address]);
    assert_eq!(host.resolve("client", address, "ptr"), ["web.shop"]);
    assert_eq!(host.resolve("client", "stranger", "aaaa").len(), 1);
    assert_eq!(host.page("stranger", address), None, "not even by address");

    // A program may have port 53 for itself, and a question that does not fit comes over TCP.
    host.run(["exec", "-d", "client", "nc", "-l", "-p", "53"])
        .success("exec");
    let busy = "nc -l -p 53 & sleep 0.2; nslookup web 127.0.0.11 > /dev/null && echo resolved";
    assert_eq!(host.ok(["exec", "client", "sh", "-c", busy]).trim(), "resolved");

    host.ok(["stop", "-t", "0", "web"]);
    assert_eq!(host.resolve("client", "web", "a"), [""; 0]);
    host.ok(["start", "web"]);
    host.expect_page("client", "web", "web");
    host.ok(["rename", "web", "shoe"]);
    host.expect_page("client", "shoe", "web");
}

#[test]
fn containers_of_one_service_share_a_name() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.ok(["network", "create", "shop"]);
    for name in ["one", "two", "three"] {
        host.wait_in(name, &["--network", "name=shop,alias=web"]);
    }
    let answers: Vec<Vec<String>> = (0..3).map(|_| host.resolve("one", "web", "a")).collect();
    assert!(answers.iter().all(|answer| answer.len() == 3), "{answers:?}");
    let mut firsts: Vec<&String> = answers.iter().map(|answer| &answer[0]).collect();
    firsts.sort();
    firsts.dedup();
    assert!(firsts.len() > 1, "they take turns: {answers:?}");
}

/// Answers every question over UDP with [`FAR`].
fn serve_names(place: &Place) {
    let socket = place.run(|| UdpSocket::bind("0.0.0.0:53").expect("nobody else has it"));
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let mut answer = question[..length].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            answer.truncate(
                12 + question[12..length]
                    .iter()
                    .position(|byte| *byte == 0)
                    .expect("a name ends")
                    + 5,
            );
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(FAR.octets());
            let _ = socket.send_to(&answer, client);
        }
    });
}

#[test]
fn other_names_are_asked_elsewhere() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    serve_names(&host.world);
    host.ok(["network", "create", "shop"]);
    host.ok(["network", "create", "--internal", "vault"]);
    host.wait_in(
        "one",
        &[
            "--network",
            "shop",
            "--dns",
            WORLD,
            "--dns-search",
            "example.org",
            "--dns-option",
            "ndots:2",
        ],
    );
    assert_eq!(host.resolve("one", "example.com", "a"), [FAR.to_string()]);
    let file = host.ok(["exec", "one", "cat", "/etc/resolv.conf"]);
    assert_eq!(
        file,
        "nameserver 127.0.0.11\nsearch example.org\noptions ndots:2\n"
    );
    host.wait_in("two", &["--network", "vault", "--dns", WORLD]);
    assert_eq!(
        host.resolve("two", "example.com", "a"),
        [""; 0],
        "nothing leaves an internal network"
    );
    assert_eq!(host.resolve("two", "two", "a").len(), 1);
    // On the default bridge there is no server of our own.
    let file = host.ok([
        "run",
        "--rm",
        "--dns",
        WORLD,
        "--dns-search",
        ".",
        "busybox",
        "grep",
        "-v",
        "options",
        "/etc/resolv.conf",
    ]);
    assert_eq!(file, format!("nameserver {WORLD}\n"));
}

#[test]
fn a_running_container_changes_its_networks() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.ok(["network", "create", "shop"]);
    host.serve("web", &["--network", "shop"]);
    host.wait_in("client", &[]);
    assert_eq!(host.page("client", "web"), None);
    host.ok(["network", "connect", "--alias", "buyer", "shop", "client"]);
    host.expect_page("client", "web", "web");
    assert_eq!(host.resolve("web", "buyer", "a").len(), 1);
    let devices = host.ok(["exec", "client", "sh", "-c", "ls -d /sys/class/net/eth*"]);
    assert_eq!(devices, "/sys/class/net/eth0\n/sys/class/net/eth1\n");
    let seen = host.inspect(&["inspect", "client"]);
    let networks = seen["NetworkSettings"]["Networks"].as_object().expect("networks");
    assert_eq!(networks.keys().collect::<Vec<_>>(), ["bridge", "shop"]);
    assert_eq!(networks["shop"]["Aliases"][0], "buyer");
    assert_eq!(networks["shop"]["DNSNames"][0], "client");
    let again = host.fails(1, ["network", "connect", "shop", "client"]);
    assert!(
        again.contains("endpoint with name client already exists in network shop"),
        "{again}"
    );
    let busy = host.fails(1, ["network", "rm", "shop"]);
    assert!(
        busy.contains("network shop has active endpoints (name:\""),
        "{busy}"
    );

    host.ok(["network", "disconnect", "shop", "client"]);
    assert_eq!(host.page("client", "web"), None);
    let off = host.fails(1, ["network", "disconnect", "shop", "client"]);
    assert!(
        off.contains("container client is not connected to network shop"),
        "{off}"
    );
    // The next start remembers, and so does a connection made while it stands still.
    host.ok(["stop", "-t", "0", "client"]);
    host.ok(["network", "connect", "shop", "client"]);
    host.ok(["start", "client"]);
    host.expect_page("client", "web", "web");
    let mine = host.ok(["exec", "client", "grep", "-c", "client\\|eth", "/proc/net/dev"]);
    assert_eq!(mine.trim(), "2", "both networks");
}

#[test]
fn ports_are_reached_from_everywhere() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.ok(["network", "create", "--ipv6", "shop"]);
    host.serve("old", &["-p", "8080:80"]);
    host.serve(
        "new",
        &[
            "--network",
            "shop",
            "-p",
            "8081:80",
            "-p",
            "127.0.0.1:8082:80",
            "-p",
            "9000-9010:80",
        ],
    );
    for (name, port) in [("old", 8080), ("new", 8081), ("new", 9000)] {
        for (place, server) in [
            (&host.place, "127.0.0.1"),
            (&host.place, "::1"),
            (&host.place, HOST),
            (&host.place, HOST6),
            (&host.world, HOST),
            (&host.world, HOST6),
        ] {
            wait_for(&format!("{name} on {server}"), 10, || {
                (place.get(server, port)?.trim() == name).then_some(())
            });
        }
    }
    assert_eq!(host.place.get("127.0.0.1", 8082).as_deref(), Some("new\n"));
    assert_eq!(host.world.get(HOST, 8082), None, "for this host only");
    assert_eq!(
        host.ok(["port", "old"]),
        "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    );

    let taken = host.fails(125, ["run", "--rm", "-p", "8080:80", "busybox", "true"]);
    assert!(
        taken.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"),
        "{taken}"
    );
    host.ok(["network", "disconnect", "shop", "new"]);
    assert_eq!(host.world.get(HOST, 8081), None, "no way to it");
    host.ok(["network", "connect", "bridge", "new"]);
    wait_for("the other way", 10, || host.world.get(HOST, 8081));
    wait_for("the other way, here", 10, || host.place.get("127.0.0.1", 8081));
}

#[test]
fn what_a_killed_supervisor_leaves_is_in_nobodys_way() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.ok(["network", "create", "shop"]);
    host.serve("web", &["--network", "shop", "-p", "8080:80"]);
    wait_for("the server", 10, || host.world.get(HOST, 8080));
    let pid: i32 = host
        .ok(["inspect", "-f", "{{.State.Pid}}", "web"])
        .trim()
        .parse()
        .expect("a number");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .expect("a parent");
    let parent = rustix::process::Pid::from_raw(parent.trim().parse().expect("a number")).expect("not 0");
    rustix::process::kill_process(parent, rustix::process::Signal::KILL).expect("ours");
    wait_for("its end", 10, || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    // The very next command is one that wants the port, and by the same name's address.
    host.serve(
        "other",
        &["--network", "shop", "--network-alias", "web", "-p", "8080:80"],
    );
    wait_for("the new server", 10, || {
        (host.world.get(HOST, 8080)? == "other\n").then_some(())
    });
    assert_eq!(
        host.ok(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web"])
            .trim(),
        "exited 137"
    );
    assert_eq!(host.resolve("other", "web", "a").len(), 1);
}

#[test]
fn addresses_are_as_asked_and_stay() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.ok([
        "network",
        "create",
        "--subnet",
        "10.77.0.0/24",
        "--gateway",
        "10.77.0.1",
        "--ip-range",
        "10.77.0.64/26",
        "--ipv6",
        "--subnet",
        "fd77::/64",
        "shop",
    ]);
    host.wait_in(
        "one",
        &[
            "--network",
            "shop",
            "--ip",
            "10.77.0.9",
            "--ip6",
            "fd77::9",
            "--mac-address",
            "02:00:00:00:00:09",
        ],
    );
    host.wait_in("two", &["--network", "shop"]);
    host.wait_in("three", &["--network", "shop"]);
    let address = |name: &str| {
        host.ok([
            "inspect",
            "-f",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{.MacAddress}}{{end}}",
            name,
        ])
        .trim()
        .to_owned()
    };
    assert_eq!(address("one"), "10.77.0.9 fd77::9 02:00:00:00:00:09");
    assert!(
        host.ok(["exec", "one", "ip", "address"])
            .contains("inet6 fd77::9/64")
    );
    let before = [address("two"), address("three")];
    assert!(before[0].starts_with("10.77.0.64 fd77::2 "), "{before:?}");
    host.ok(["stop", "-t", "0", "two", "three"]);
    host.ok(["start", "three", "two"]);
    assert_eq!([address("two"), address("three")], before);
    let taken = host.fails(
        125,
        [
            "run",
            "--rm",
            "--network",
            "shop",
            "--ip",
            "10.77.0.9",
            "busybox",
            "true",
        ],
    );
    assert!(taken.contains("Address already in use"), "{taken}");
    let stray = host.fails(
        125,
        [
            "run",
            "--rm",
            "--network",
            "shop",
            "--ip",
            "10.99.0.1",
            "busybox",
            "true",
        ],
    );
    assert!(
        stray.contains("no configured subnet or ip-range contain the IP address 10.99.0.1"),
        "{stray}"
    );
    let pinged = host.run(["exec", "two", "ping", "-c", "1", "-W", "2", "fd77::9"]);
    assert_eq!(pinged.code, 0, "{pinged}");
}

#[test]
fn a_network_can_be_shared() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.ok(["network", "create", "shop"]);
    host.serve("web", &["--network", "shop", "--add-host", "far:198.51.100.9"]);
    host.wait_in("side", &["--network", "container:web"]);
    host.expect_page("side", "127.0.0.1", "web");
    host.expect_page("side", "web", "web");
    let (one, two) = (
        host.ok(["exec", "web", "cat", "/etc/hosts"]),
        host.ok(["exec", "side", "cat", "/etc/hosts"]),
    );
    assert_eq!(one, two);
    assert!(one.contains("198.51.100.9\tfar"), "{one}");
    let names = host.ok(["exec", "side", "hostname"]);
    assert_eq!(names, host.ok(["exec", "web", "hostname"]));
    let mode = host.ok([
        "inspect",
        "-f",
        "{{.HostConfig.NetworkMode}} {{len .NetworkSettings.Networks}}",
        "side",
    ]);
    let id = host.ok(["inspect", "-f", "{{.Id}}", "web"]);
    assert_eq!(mode.trim(), format!("container:{} 0", id.trim()));
    let missing = host.fails(
        125,
        ["run", "--rm", "--network", "container:nobody", "busybox", "true"],
    );
    assert!(missing.contains("No such container: nobody"), "{missing}");
    host.ok(["stop", "-t", "0", "web", "side"]);
    let stopped = host.fails(1, ["start", "side"]);
    assert!(
        stopped.contains("cannot join network of a non running container"),
        "{stopped}"
    );
    for (network, words) in [
        ("host", "cannot connect container to host network"),
        ("none", "private (none) mode"),
    ] {
        let refused = host.fails(1, ["network", "connect", network, "web"]);
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn links_give_names_on_the_default_bridge() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    host.serve("db", &[]);
    host.wait_in("app", &["--link", "db:store"]);
    host.expect_page("app", "store", "db");
    host.expect_page("app", "db", "db");
    assert_eq!(
        host.inspect(&["inspect", "app"])["HostConfig"]["Links"][0],
        "/db:/app/store"
    );
    host.ok(["network", "create", "shop"]);
    host.serve("db2", &["--network", "shop"]);
    host.wait_in("app2", &["--network", "shop", "--link", "db2:store"]);
    host.expect_page("app2", "store", "db2");
    host.ok(["stop", "-t", "0", "db"]);
    let stopped = host.fails(125, ["run", "--rm", "--link", "db", "busybox", "true"]);
    assert!(
        stopped.contains("Cannot link to a non running container: /db AS /db"),
        "{stopped}"
    );
}

#[test]
fn networks_are_listed_and_described_as_in_docker() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    let id = host.ok([
        "network",
        "create",
        "--subnet",
        "10.77.0.0/24",
        "--label",
        "tier=front",
        "-o",
        "com.docker.network.driver.mtu=1400",
        "shop",
    ]);
    let id = id.trim();
    assert_eq!(id.len(), 64);
    let table = host.ok(["network", "ls"]);
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]);
    let kinds: Vec<_> = rows[1..].iter().map(|row| row[1..].join(" ")).collect();
    assert_eq!(
        kinds,
        [
            "bridge bridge local",
            "host host local",
            "none null local",
            "shop bridge local"
        ]
    );
    for (filter, expected) in [
        ("type=custom", "shop\n"),
        ("label=tier=front", "shop\n"),
        ("driver=null", "none\n"),
        ("name=os", "host\n"),
        ("dangling=true", "shop\n"),
    ] {
        assert_eq!(
            host.ok(["network", "ls", "-f", filter, "--format", "{{.Name}}"]),
            expected,
            "{filter}"
        );
    }
    assert_eq!(
        host.ok(["network", "ls", "-q", "--no-trunc", "-f", "name=shop"])
            .trim(),
        id
    );
    let wrong = host.fails(1, ["network", "ls", "-f", "foo=bar"]);
    assert!(wrong.contains("invalid filter `foo`"), "{wrong}");

    host.wait_in("one", &["--network", "shop"]);
    let shop = host.inspect(&["network", "inspect", "shop"]);
    assert_eq!(
        (&shop["Name"], &shop["Driver"], &shop["Internal"]),
        (&"shop".into(), &"bridge".into(), &false.into())
    );
    let config = serde_json::json!([{ "Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1" }]);
    assert_eq!(shop["IPAM"]["Config"], config);
    assert_eq!(shop["Labels"]["tier"], "front");
    let one = host.inspect(&["inspect", "one"]);
    let member = &shop["Containers"][one["Id"].as_str().expect("text")];
    let place = &one["NetworkSettings"]["Networks"]["shop"];
    assert_eq!(
        (&member["Name"], &member["IPv4Address"]),
        (&"one".into(), &"10.77.0.2/24".into())
    );
    assert_eq!(
        (&member["EndpointID"], &member["MacAddress"]),
        (&place["EndpointID"], &place["MacAddress"])
    );
    assert_eq!(place["NetworkID"], id);
    assert_eq!(
        host.ok(["exec", "one", "cat", "/sys/class/net/eth0/mtu"]),
        "1400\n"
    );
    assert_eq!(
        host.ok([
            "ps",
            "--format",
            "{{.Names}} {{.Networks}}",
            "--filter",
            "network=shop"
        ]),
        "one shop\n"
    );
    let bridge = host.ok([
        "network",
        "inspect",
        "-f",
        "{{(index .IPAM.Config 0).Gateway}}",
        "bridge",
    ]);
    assert!(bridge.trim().ends_with(".0.1"), "{bridge}");
    assert_eq!(host.ok(["inspect", "-f", "{{.Driver}}", "host"]).trim(), "host");

    let missing = host.fails(1, ["network", "inspect", "shpo"]);
    assert!(
        missing.contains("network shpo not found") && missing.contains("did you mean `shop`?"),
        "{missing}"
    );
    for (args, words) in [
        (
            ["network", "rm", "bridge"],
            "bridge is a pre-defined network and cannot be removed",
        ),
        (
            ["network", "create", "shop"],
            "network with name shop already exists",
        ),
        (
            ["network", "create", "host"],
            "operation is not permitted on predefined host network",
        ),
    ] {
        let refused = host.fails(1, args);
        assert!(refused.contains(words), "{refused}");
    }
    // A container that stands still keeps its network from being pruned.
    host.ok(["network", "create", "spare"]);
    host.ok(["stop", "-t", "0", "one"]);
    assert_eq!(
        host.ok(["network", "prune", "-f"]),
        "Deleted Networks:\nspare\n\n"
    );
    assert_eq!(host.ok(["network", "rm", "shop"]), "shop\n");
    let gone = host.fails(1, ["start", "one"]);
    assert!(gone.contains("network shop not found"), "{gone}");
    let missing = host.fails(125, ["run", "--rm", "--network", "shop", "busybox", "true"]);
    assert!(missing.contains("network shop not found"), "{missing}");
}

#[test]
fn nothing_leaves_an_internal_network() {
    needs!(root, overlay, tool = "nft", tool = "ip");
    let host = Host::new();
    let listener = host.world.run(|| TcpListener::bind("0.0.0.0:80").expect("free"));
    std::thread::spawn(move || while listener.accept().is_ok() {});
    host.ok(["network", "create", "--internal", "vault"]);
    host.serve("web", &["--network", "vault", "-p", "8080:80"]);
    host.serve("other", &["-p", "8081:80"]);
    host.wait_in("one", &["--network", "vault", "--cap-add", "NET_ADMIN"]);
    host.expect_page("one", "web", "web");
    let reach = |server: &str, port: &str| {
        let connect = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {server} {port}");
        host.run(["exec", "one", "sh", "-c", &connect]).code == 0
    };
    assert!(reach("web", "80"), "the way in which it asks finds what is there");
    assert!(!reach(WORLD, "80"));
    let gateway = host.inspect(&["network", "inspect", "vault"])["IPAM"]["Config"][0]["Gateway"].clone();
    host.ok([
        "exec",
        "one",
        "ip",
        "route",
        "add",
        "default",
        "via",
        gateway.as_str().expect("text"),
    ]);
    for (server, port) in [(WORLD, "80"), (HOST, "8081"), (HOST, "8080")] {
        assert!(!reach(server, port), "{server}:{port}");
    }
    assert_eq!(host.world.get(HOST, 8080), None, "nothing is published from it");
}

#[test]
fn a_network_may_have_ipv6_alone() {
    needs!(root, overlay, tool = "nft", tool = "nsenter");
    let host = Host::new();
    let refused = host.run(["network", "create", "--ipv4=false", "neither"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("IPv4 or IPv6 must be enabled"),
        "{refused}"
    );
    host.ok(["network", "create", "--ipv4=false", "--ipv6", "six"]);
    let seen = host.ok([
        "network",
        "inspect",
        "-f",
        "{{.EnableIPv4}} {{.EnableIPv6}} {{len .IPAM.Config}}",
        "six",
    ]);
    assert_eq!(seen, "false true 1\n");
    let listed = host.ok(["network", "ls", "--format", "{{.Name}} {{.IPv4}} {{.IPv6}}"]);
    assert!(listed.contains("six false true\n"), "{listed}");
    host.serve("server", &["--network", "six", "-p", "8080:80"]);
    host.wait_in("client", &["--network", "six"]);
    host.expect_page("client", "server", "server");
    // What comes by IPv4 is taken over by the supervisor.
    for (place, address) in [
        (&host.place, "127.0.0.1"),
        (&host.world, HOST),
        (&host.world, HOST6),
    ] {
        wait_for(address, 10, || {
            (place.get(address, 8080)? == "server\n").then_some(())
        });
    }
    let inside = "ip -4 -o addr show dev eth0 | wc -l; ip -6 route | grep -c default; ip -4 route | wc -l";
    assert_eq!(host.ok(["exec", "client", "sh", "-c", inside]), "0\n1\n0\n");
    let addresses = host.ok([
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}[{{.IPAddress}}] {{.IPPrefixLen}} {{.GlobalIPv6PrefixLen}}{{end}}",
        "client",
    ]);
    assert_eq!(addresses, "[] 0 64\n");
    host.write(
        "compose.yaml",
        "name: p
services: {app: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, networks: [own]}}
networks: {own: {enable_ipv4: false, enable_ipv6: true}}
",
    );
    let up = host.run(["compose", "up", "-d"]);
    assert!(
        up.code == 0 && !up.stderr.contains("accepted without effect"),
        "{up}"
    );
    let seen = host.ok(["network", "inspect", "-f", "{{.EnableIPv4}}", "p_own"]);
    assert_eq!(seen, "false\n");
}
