//! `deploy.update_config` with `order: start-first`: a new version beside the old one.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plimsoll_testkit::{Sandbox, needs};

use crate::compose_up::{project, up, write};
use crate::{free_ports, inspect, wait_for};

#[test]
fn an_update_that_starts_first_leaves_no_gap_and_comes_back_when_it_fails() {
    needs!(root, overlay);
    let text = |version: &str, healthy: &str| {
        format!(
            "services:
  web:
    image: busybox
    command: SERVE
    environment: {{VERSION: '{version}'}}
    healthcheck: {{test: 'test {healthy}', interval: 50ms, retries: 1}}
    deploy:
      replicas: 2
      update_config: {{order: start-first, failure_action: rollback}}
"
        )
    };
    let sandbox = project(&text("1", "1 = 1"));
    up(&sandbox, &["--wait"]);
    write(&sandbox, &text("2", "1 = 1"));
    let said = up(&sandbox, &[]);
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text} in {said}"));
    assert!(
        at("Container p-web-3  Healthy") < at("Container p-web-1  Removed"),
        "{said}"
    );
    let names = |sandbox: &Sandbox| sandbox.ok(["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(names(&sandbox).lines().count(), 2);
    let before = names(&sandbox);
    write(&sandbox, &text("3", "1 = 2"));
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(said.contains("update of service web rolled back"), "{said}");
    assert_eq!(names(&sandbox), before);
    for name in before.lines() {
        assert_eq!(inspect(&sandbox, name)["State"]["Status"], "running");
    }
}

#[test]
fn an_update_that_goes_on_leaves_old_ones_in_the_places_of_those_that_fail() {
    needs!(root, overlay);
    let text = |healthy: &str| {
        format!(
            "services:
  web:
    image: busybox
    command: SERVE
    healthcheck: {{test: 'test {healthy}', interval: 50ms, retries: 1}}
    deploy: {{replicas: 2, update_config: {{order: start-first, failure_action: continue}}}}
"
        )
    };
    let sandbox = project(&text("1 = 1"));
    up(&sandbox, &["--wait"]);
    let ids = || sandbox.ok(["compose", "ps", "-aq"]);
    let before = ids();
    write(&sandbox, &text("1 = 2"));
    for options in [&[][..], &["--wait"]] {
        assert_eq!(up(&sandbox, options).matches("Update goes on").count(), 2);
        assert_eq!(ids(), before);
    }
    assert_eq!(sandbox.ok(["compose", "ps", "-q"]), before, "and they run");
}

/// A web server that says its version, on this port of the host.
fn server(port: u16, version: &str, healthy: bool) -> String {
    format!(
        "services:
  web:
    image: busybox
    command: [sh, -c, 'mkdir /www; echo {version} > /www/index.html; trap \"exit 0\" TERM; httpd -f -p 80 -h /www & wait']
    ports: ['{port}:80']
    healthcheck:
      test: 'echo checked {version}; until wget -qO- http://127.0.0.1/ 2>/dev/null; do sleep 0.05; done; {healthy}'
      interval: 100ms
      start_period: 100ms
      retries: 2
    deploy: {{update_config: {{order: start-first, failure_action: rollback}}}}
"
    )
}

/// What a server says, or why it does not.
fn get(address: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    match ask() {
        Ok(text) => text.lines().last().unwrap_or("nothing").to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Asks again and again while something is done; returns all answers.
fn answers(addresses: &[String], work: impl FnOnce()) -> BTreeSet<String> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking: Vec<_> = addresses
            .iter()
            .map(|address| {
                scope.spawn(|| {
                    let mut answers = BTreeSet::new();
                    while !over.load(Ordering::Relaxed) {
                        answers.insert(get(address));
                    }
                    answers
                })
            })
            .collect();
        work();
        over.store(true, Ordering::Relaxed);
        let asked = asking.into_iter().map(|asking| asking.join().expect("it asks"));
        asked.flatten().collect()
    })
}

#[test]
fn a_port_of_the_host_goes_over_while_it_is_used() {
    needs!(root, overlay, tool = "nft");
    let port = free_ports(1);
    let sandbox = project(&server(port, "one", true));
    up(&sandbox, &["--wait"]);
    let gateway = sandbox.ok([
        "network",
        "inspect",
        "-f",
        "{{(index .IPAM.Config 0).Gateway}}",
        "p_default",
    ]);
    // By the supervisor on loopback, by rules elsewhere.
    let addresses = [format!("127.0.0.1:{port}"), format!("{}:{port}", gateway.trim())];
    let all = |answer: &str| addresses.iter().all(|address| get(address) == answer);
    assert!(all("one"), "{}", get(&addresses[1]));

    write(&sandbox, &server(port, "two", true));
    let seen = answers(&addresses, || drop(up(&sandbox, &[])));
    assert!(seen.iter().all(|seen| seen == "one" || seen == "two"), "{seen:?}");
    assert!(all("two"));
    let published = sandbox.ok(["compose", "port", "web", "80"]);
    assert!(published.contains(&format!(":{port}")), "{published}");

    write(&sandbox, &server(port, "three", false));
    let seen = answers(&addresses, || {
        let said = sandbox.fails(1, ["compose", "up", "-d"]);
        assert!(said.contains("update of service web rolled back"), "{said}");
        assert!(
            said.contains("last output of `p-web-1`:\n  checked three"),
            "{said}"
        );
    });
    assert_eq!(seen, BTreeSet::from(["two".to_owned()]));

    sandbox.ok(["restart", "-t", "0", "p-web-2"]);
    // The server in it needs a moment before it listens.
    wait_for("it has the port for good", 10, || {
        (get(&addresses[0]) == "two").then_some(())
    });
    sandbox.ok(["compose", "down"]);
    TcpListener::bind(("0.0.0.0", port)).expect("the port is free again");
    assert!(sandbox.ok(["system", "check", "--leaks"]).contains("No leaks"));
}

#[test]
fn a_port_of_the_host_goes_over_to_other_addresses() {
    needs!(root, overlay, tool = "nft");
    let port = free_ports(1);
    let own = |version: &str, healthy: bool| {
        server(port, version, healthy).replace(&format!("'{port}:80'"), &format!("'127.0.0.1:{port}:80'"))
    };
    let address = format!("127.0.0.1:{port}");
    let sandbox = project(&own("one", true));
    up(&sandbox, &["--wait"]);
    let all = sandbox.ok([
        "network",
        "inspect",
        "-f",
        "{{(index .IPAM.Config 0).Gateway}}",
        "p_default",
    ]);
    let all = format!("{}:{port}", all.trim());
    assert!(get(&all).contains("refused"), "{}", get(&all));

    write(&sandbox, &server(port, "two", true));
    up(&sandbox, &[]);
    assert_eq!((get(&address), get(&all)), ("two".to_owned(), "two".to_owned()));
    write(&sandbox, &own("three", false));
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(said.contains("update of service web rolled back"), "{said}");
    assert_eq!((get(&address), get(&all)), ("two".to_owned(), "two".to_owned()));
    write(&sandbox, &own("three", true));
    up(&sandbox, &[]);
    assert_eq!(get(&address), "three");
    assert!(get(&all).contains("refused"), "{}", get(&all));
    let published = sandbox.ok(["compose", "port", "web", "80"]);
    assert_eq!(published.trim(), address);
    sandbox.ok(["compose", "down"]);
    TcpListener::bind(("0.0.0.0", port)).expect("the port is free again");
    assert!(sandbox.ok(["system", "check", "--leaks"]).contains("No leaks"));
}

#[test]
fn a_port_is_not_lost_with_whoever_was_to_hand_it_over() {
    needs!(root, overlay, tool = "nft");
    let port = free_ports(1);
    let address = format!("127.0.0.1:{port}");
    let sandbox = project(&server(port, "v0", true));
    up(&sandbox, &["--wait"]);
    for round in 1..=6_u64 {
        write(&sandbox, &server(port, &format!("v{round}"), true));
        let mut command = sandbox.command(["compose", "up", "-d"]);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(30 + 60 * round));
        let _ = child.kill();
        let _ = child.wait();
        let left = get(&address);
        assert!(
            left == format!("v{}", round - 1) || left == format!("v{round}"),
            "after round {round}: {left}"
        );
        up(&sandbox, &["--wait"]);
        assert_eq!(get(&address), format!("v{round}"));
        assert_eq!(sandbox.ok(["ps", "-aq"]).lines().count(), 1);
    }
    sandbox.ok(["compose", "down"]);
    assert!(sandbox.ok(["system", "check", "--leaks"]).contains("No leaks"));
}

#[test]
fn what_prepares_a_new_version_is_heard_when_it_fails() {
    needs!(root, overlay);
    let text = |version: &str| {
        format!(
            "services:
  web:
    image: busybox
    command: SERVE
    environment: {{VERSION: '{version}'}}
    pre_start:
      - {{command: [sh, -c, 'echo preparing $$VERSION; [ $$VERSION = 1 ]']}}
    deploy: {{update_config: {{order: start-first, monitor: 100ms}}}}
"
        )
    };
    let sandbox = project(&text("1"));
    up(&sandbox, &[]);
    write(&sandbox, &text("2"));
    let said = sandbox.fails(1, ["compose", "up", "-d"]);
    assert!(
        said.contains("last output of `p-web-2`:\n  preparing 2\n") && said.contains("web paused"),
        "{said}"
    );
    assert_eq!(sandbox.ok(["ps", "-a", "--format", "{{.Names}}"]), "p-web-1\n");
}
