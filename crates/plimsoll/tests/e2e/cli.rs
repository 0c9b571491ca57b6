//! The command line itself: help, version, wrong use, settings.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use plimsoll_testkit::{Archive, Outcome};

use crate::{assert_shows, sandbox};

#[test]
fn version() {
    let sandbox = sandbox();
    let expected = format!("Plimsoll version {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(sandbox.ok(["--version"]), expected);
    assert_eq!(sandbox.ok(["-v"]), expected);
    assert_eq!(
        sandbox.ok(["version", "--format", "{{.Client.Version}}"]).trim(),
        env!("CARGO_PKG_VERSION")
    );
    assert!(!sandbox.root().exists(), "asking for the version makes no state");
}

#[test]
fn help_lists_the_commands() {
    let help = sandbox().ok(["--help"]);
    for command in ["build", "run", "images", "ps", "pull", "exec", "logs"] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}:\n{help}"
        );
    }
}

#[test]
fn every_command_has_help() {
    let sandbox = sandbox();
    let help = sandbox.ok(["--help"]);
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    for command in commands.filter_map(|line| line.split_whitespace().next()) {
        let help = sandbox.ok([command, "--help"]);
        assert!(help.contains(&format!("Usage: plimsoll {command}")), "{help}");
    }
}

#[test]
fn wrong_use() {
    let sandbox = sandbox();
    let mut shown = String::new();
    for args in [
        &["build", "--tga", "x", "."][..],
        &["biuld"],
        &["images", "--root", "/x"],
        &["run"],
        &["image"],
        &["--color", "red", "images"],
    ] {
        shown.push_str(&format!("$ plimsoll {}\n{}\n", args.join(" "), sandbox.run(args)));
    }
    assert_shows("wrong_use", &shown);
}

#[test]
fn settings_are_checked_where_they_are_wrong() {
    let sandbox = sandbox();
    let file = sandbox.write(
        "bad.toml",
        "[registry.\"docker.io\"]\nmirors = [\"127.0.0.1:5000\"]\n",
    );
    let unknown = sandbox.run(["--settings", file.as_str(), "images"]);
    let missing = sandbox.run(["--settings", "nowhere.toml", "images"]);
    assert_shows("settings_errors", &format!("{unknown}\n{missing}"));
}

#[test]
fn a_project_may_not_redirect_registries() {
    let sandbox = sandbox();
    sandbox.write(
        "plimsoll.toml",
        "[registry.\"docker.io\"]\nmirrors = [\"evil.example\"]\n",
    );
    assert_shows("project_settings", &sandbox.run(["images"]).to_string());
}

#[test]
fn dockers_connection_flags_are_noted_once() {
    let outcome = sandbox().run(["-H", "tcp://1.2.3.4:5", "--tls", "images"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    assert!(outcome.stderr.contains("`--host`, `--tls`"), "{outcome}");
}

#[test]
fn called_as_docker() {
    let sandbox = sandbox();
    let mut command = sandbox.command(["biuld"]);
    command.arg0("/usr/local/bin/docker");
    let outcome = Outcome::of(&mut command);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("`biuld` is not a docker command"),
        "{outcome}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = sandbox();
    let mut child = sandbox
        .command(["version"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let outcome = Outcome::from(child.wait_with_output().expect("it ends"));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome}");
}

#[test]
fn colour_is_asked_for_or_not() {
    let sandbox = sandbox();
    let is_coloured = |args: &[&str], variable: Option<&str>| {
        let mut command = sandbox.command(args);
        command.envs(variable.map(|name| (name, "1")));
        Outcome::of(&mut command).stderr.contains('\u{1b}')
    };
    let args = ["inspect", "nothing"];
    assert!(!is_coloured(&args, None));
    assert!(is_coloured(&["--color", "always", "inspect", "nothing"], None));
    assert!(is_coloured(&args, Some("FORCE_COLOR")));
    assert!(!is_coloured(
        &["--color", "never", "inspect", "nothing"],
        Some("CLICOLOR_FORCE")
    ));
}

#[test]
fn two_roots_never_meet() {
    let (one, other) = (sandbox(), sandbox());
    let archive = one.path("image.tar");
    Archive::new("only-here:1")
        .file("a", "b", 0o644)
        .write_docker(&archive);
    one.ok(["load", "-i", archive.as_str()]);
    assert!(one.ok(["images"]).contains("only-here"));
    assert!(!other.ok(["images"]).contains("only-here"));
}
