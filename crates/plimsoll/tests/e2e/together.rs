//! Many processes, one state directory, no daemon.

use std::thread;

use plimsoll_testkit::needs;

use crate::{build_ok, sandbox, with_busybox};

#[test]
fn many_containers_at_once() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    thread::scope(|scope| {
        for number in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                let text = format!("number {number}");
                let outcome = sandbox.run(["run", "--rm", "-p", "127.0.0.1::80", "busybox", "echo", &text]);
                assert_eq!(
                    (outcome.code, outcome.stdout.trim()),
                    (0, text.as_str()),
                    "{outcome}"
                );
            });
        }
    });
    assert_eq!(sandbox.ok(["ps", "-aq"]), "");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn addresses_are_given_once() {
    needs!(root, overlay, tool = "nft");
    let sandbox = with_busybox();
    let start = || {
        sandbox
            .ok(["run", "-d", "busybox", "sleep", "100"])
            .trim()
            .to_owned()
    };
    let ids: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(start)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it starts"))
            .collect()
    });
    let address = |id: &String| {
        sandbox.ok([
            "inspect",
            "-f",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
            id,
        ])
    };
    let mut addresses: Vec<String> = ids.iter().map(address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), ids.len(), "{addresses:?}");
}

#[test]
fn the_same_build_at_once_runs_once() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile =
        "FROM busybox\nRUN sleep 1 && head -c 8 /dev/urandom | od > /random\nCMD [\"cat\", \"/random\"]\n";
    sandbox.write("context/Dockerfile", dockerfile);
    thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let sandbox = &sandbox;
            scope.spawn(move || sandbox.ok(["build", "-q", "-t", name, "context"]));
        }
    });
    let id = |name: &str| sandbox.ok(["inspect", "-f", "{{.RootFS.Layers}}", name]);
    assert_eq!(id("one"), id("two"));
    assert_eq!(id("one"), id("three"));
}

#[test]
fn different_builds_at_once() {
    needs!(root, overlay);
    let mut sandbox = sandbox();
    sandbox.serve(&["busybox"]);
    for name in ["one", "two", "three"] {
        sandbox.write(
            &format!("{name}/Dockerfile"),
            format!("FROM busybox\nRUN echo {name} > /name\nCMD [\"cat\", \"/name\"]\n"),
        );
    }
    // The base image is pulled by all three at the same moment.
    thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let sandbox = &sandbox;
            scope.spawn(move || sandbox.ok(["build", "-q", "-t", name, name]));
        }
    });
    for name in ["one", "two", "three"] {
        assert_eq!(
            sandbox.ok(["run", "--rm", "--network", "none", name]),
            format!("{name}\n")
        );
    }
}

#[test]
fn an_image_in_use_is_not_removed() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    build_ok(&sandbox, "FROM busybox\nRUN touch /x\nCMD sleep 100\n", &[]);
    sandbox.ok(["run", "-d", "--name", "user", "app"]);
    let stderr = sandbox.fails(1, ["rmi", "app"]);
    assert!(
        stderr.contains("user") || stderr.contains("container"),
        "{stderr}"
    );
    assert_eq!(sandbox.ok(["exec", "user", "ls", "/x"]), "/x\n");
    sandbox.ok(["rm", "-f", "user"]);
    sandbox.ok(["rmi", "app"]);
}

/// Each step announces itself, so the logs of all processes together tell how often it ran.
#[test]
fn every_step_runs_in_one_of_many_processes() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/file", "x");
    let stage = |name: &str| format!("FROM busybox AS {name}\nRUN echo ran-{name}; echo {name} > /{name}\n");
    let dockerfile = format!(
        "{}{}FROM busybox\nCOPY file /\nRUN echo ran-last\nCOPY --from=one /one /\nCOPY --from=two /two /\nRUN echo ran-end\n",
        stage("one"),
        stage("two")
    );
    sandbox.write("context/Dockerfile", dockerfile);
    let builds: Vec<_> = (0..6).map(|number| format!("app{number}")).collect();
    let build = |name: &String| {
        let outcome = sandbox.run(["build", "--progress=plain", "-t", name, "context"]);
        assert_eq!(outcome.code, 0, "{outcome}");
        outcome.stderr
    };
    let build = &build;
    let logs: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = builds
            .iter()
            .map(|name| scope.spawn(move || build(name)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it builds"))
            .collect()
    });
    for step in ["ran-one", "ran-two", "ran-last", "ran-end"] {
        let printed = |line: &&str| {
            line.starts_with('#') && line.ends_with(&format!(" {step}")) && !line.contains("RUN")
        };
        let times = logs.iter().flat_map(|log| log.lines()).filter(printed).count();
        assert_eq!(times, 1, "{step}\n{}", logs.join("\n"));
    }
    let id = |name: &String| sandbox.ok(["inspect", "-f", "{{.Id}}", name]);
    let ids: Vec<String> = builds.iter().map(id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
