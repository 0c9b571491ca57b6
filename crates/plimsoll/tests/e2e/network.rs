//! Ports and networks.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use plimsoll_testkit::{Sandbox, needs};

use crate::{wait_for, with_busybox};

/// Asks for a page and returns the whole answer.
fn get(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

fn serve(sandbox: &Sandbox, options: &[&str]) {
    let server = "mkdir /www && echo the-page > /www/page && exec httpd -f -p 3000 -h /www";
    let command = ["busybox", "sh", "-c", server];
    let args = ["run", "-d", "--name", "web"]
        .iter()
        .chain(options)
        .chain(&command);
    sandbox.run(args).success("run");
}

fn published(sandbox: &Sandbox) -> SocketAddr {
    sandbox
        .ok(["port", "web", "3000"])
        .lines()
        .next()
        .expect("a port")
        .parse()
        .expect("an address")
}

#[test]
fn a_published_port_answers_on_loopback() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    serve(&sandbox, &["-p", "127.0.0.1::3000"]);
    let address = published(&sandbox);
    assert!(address.ip().is_loopback() && address.port() != 0);
    let answer = wait_for("the page", 10, || get(address));
    assert!(answer.ends_with("the-page\n"), "{answer}");
    assert_eq!(sandbox.ok(["port", "web"]), format!("3000/tcp -> {address}\n"));
    assert!(sandbox.ok(["ps"]).contains(&format!("{address}->3000/tcp")));
    let format = "{{(index (index .NetworkSettings.Ports \"3000/tcp\") 0).HostPort}}";
    assert_eq!(
        sandbox.ok(["inspect", "-f", format, "web"]).trim(),
        address.port().to_string()
    );
    sandbox.ok(["rm", "-f", "web"]);
    assert!(get(address).is_none(), "the port is free again");
}

#[test]
fn a_published_port_answers_on_the_bridge_address() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    serve(&sandbox, &["-p", "3000"]);
    let gateway = sandbox.ok([
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}",
        "web",
    ]);
    let port = published(&sandbox).port();
    let address = format!("{}:{port}", gateway.trim()).parse().expect("an address");
    let answer = wait_for("the page", 10, || get(address));
    assert!(answer.ends_with("the-page\n"), "{answer}");
}

#[test]
fn a_port_is_allocated_once() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    serve(&sandbox, &["-p", "127.0.0.1::3000"]);
    let taken = format!("{}:80", published(&sandbox));
    let stderr = sandbox.fails(125, ["run", "--rm", "-p", &taken, "busybox", "true"]);
    assert!(stderr.contains("port is already allocated"), "{stderr}");
}

#[test]
fn containers_reach_each_other_and_not_without_a_network() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    serve(&sandbox, &[]);
    let address = sandbox.ok([
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        "web",
    ]);
    let url = format!("http://{}:3000/page", address.trim());
    wait_for("the server", 10, || {
        let outcome = sandbox.run(["run", "--rm", "busybox", "wget", "-q", "-O", "-", &url]);
        (outcome.stdout == "the-page\n").then_some(())
    });
    assert_ne!(
        sandbox
            .run([
                "run",
                "--rm",
                "--network",
                "none",
                "busybox",
                "wget",
                "-q",
                "-O",
                "-",
                &url
            ])
            .code,
        0
    );
    let interfaces = sandbox.ok([
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "ls",
        "/sys/class/net",
    ]);
    assert_eq!(interfaces.split_whitespace().collect::<Vec<_>>(), ["lo"]);
}

#[test]
fn the_hosts_network_is_the_hosts() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let inside = sandbox.ok([
        "run",
        "--rm",
        "--network",
        "host",
        "busybox",
        "readlink",
        "/proc/self/ns/net",
    ]);
    let outside = std::fs::read_link("/proc/self/ns/net").expect("proc is mounted");
    assert_eq!(inside.trim(), outside.to_str().expect("text"));
}

#[test]
fn names_of_the_container() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    let out = sandbox.ok([
        "run",
        "--rm",
        "--hostname",
        "ship",
        "busybox",
        "sh",
        "-c",
        "hostname; grep -c ship /etc/hosts; grep -c nameserver /etc/resolv.conf",
    ]);
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("ship"));
    assert_eq!(lines.next(), Some("1"));
}
