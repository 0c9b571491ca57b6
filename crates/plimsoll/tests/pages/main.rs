//! Build cases as pages: prose, a Dockerfile, its files, commands, and what must come of them.
//!
//! Each `##` section of `tests/pages/*.md` is one test with a sandbox of its own. From top to bottom:
//!
//! | block | what is done |
//! | --- | --- |
//! | ` ```dockerfile ` | becomes `Dockerfile` of the context |
//! | any block after a line `` `NAME`: `` | becomes the file NAME of the context |
//! | ` ```sh ` | is run in the context and must succeed |
//! | ` ```console ` | runs each `$ command` in the context and judges what it did, see [`judge`] |
//! | ` ```files FOLDER ` | must list all below FOLDER (or `/`) of the image `app`: mode, owner, path, content |
//! | ` ```layer N ` | must list the Nth layer of `app`, 1 for the last one |
//! | ` ```config ` | every key must be so in the configuration of the image `app`; `null` is absent |
//!
//! `busybox` is loaded where a section names it. With `PLIMSOLL_PEER=docker` the same pages are built by Docker, one at a
//! time, and its files, configuration and exit codes are held against the pages instead.

mod image;
mod judge;
mod page;

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_testkit::{Need, Outcome, Sandbox};

use crate::page::{Block, Section};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if peer().is_some() {
        // A peer has one store and one `app` in it.
        arguments.test_threads = Some(1);
    }
    // Modes in pages are those that files have under this mask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let trials = page::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages"))
        .into_iter()
        .map(|section| Trial::test(section.name.clone(), move || run(&section)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The program that stands in for Plimsoll.
fn peer() -> Option<String> {
    std::env::var("PLIMSOLL_PEER").ok()
}

fn run(section: &Section) -> Result<(), Failed> {
    if plimsoll_testkit::skip(&[Need::Root, Need::Overlay]) {
        return Ok(());
    }
    let room = Room::new();
    if section.names("busybox") && peer().is_none() {
        room.sandbox.load("busybox");
    }
    for (line, block) in &section.blocks {
        room.work(block)
            .map_err(|reason| format!("{}:{line}: {reason}", section.file))?;
    }
    Ok(())
}

/// A sandbox whose `PATH` begins with the program under test, or the peer in its place.
struct Room {
    sandbox: Sandbox,
}

impl Room {
    fn new() -> Self {
        let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_plimsoll"));
        let program = sandbox.write("bin/plimsoll", "");
        let target = match peer() {
            Some(name) => name,
            None => sandbox.program().display().to_string(),
        };
        std::fs::write(&program, format!("#!/bin/sh\nexec {target} \"$@\"\n"))
            .expect("a script can be written");
        rustix::fs::chmod(program.as_str(), rustix::fs::Mode::from_raw_mode(0o755)).expect("it is ours");
        std::fs::create_dir(sandbox.path("work/context")).expect("a new folder");
        Self { sandbox }
    }

    fn work(&self, block: &Block) -> Result<(), String> {
        match block {
            Block::File { name, text } => {
                self.sandbox.write(&format!("context/{name}"), text);
                Ok(())
            }
            Block::Script(script) => match self.shell(script) {
                outcome if outcome.code == 0 => Ok(()),
                outcome => Err(format!("the script failed\n{outcome}")),
            },
            Block::Console(commands) => commands.iter().try_for_each(|command| {
                let outcome = self.shell(&command.line);
                let verdict = match peer() {
                    None => judge::judge(&outcome, &command.expected),
                    Some(_) => judge::exit_code(&outcome, &command.expected),
                };
                verdict.map_err(|reason| format!("{}\n{reason}", command.line))
            }),
            Block::Files { folder, listing } => {
                let found = image::files(self, folder)?;
                same("files", listing, &found)
            }
            Block::Layer { number, listing } => {
                let found = image::layer(self, *number)?;
                same("layer", listing, &found)
            }
            Block::Config(expected) => image::compare_config(self, expected),
        }
    }

    /// Runs a line of shell in the context.
    fn shell(&self, script: &str) -> Outcome {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .current_dir(self.sandbox.path("work/context"))
            .env_clear()
            .envs(self.sandbox.environment())
            .env("PATH", self.search_path())
            .stdin(std::process::Stdio::null());
        if peer().is_some() {
            command.envs(std::env::vars().filter(|(name, _)| name == "HOME" || name.starts_with("DOCKER_")));
        }
        Outcome::of(&mut command)
    }

    fn search_path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.sandbox.path("work/bin"))
    }
}

/// Compares two texts and shows both where they differ. `[..]` on a page stands for anything within a line.
fn same(what: &str, expected: &str, found: &str) -> Result<(), String> {
    let (expected, found) = (expected.trim(), found.trim());
    let count = expected.lines().count() == found.lines().count();
    match count && expected.lines().zip(found.lines()).all(same_line) {
        true => Ok(()),
        false => Err(format!(
            "other {what} than the page says\n--- page\n{expected}\n--- found\n{found}"
        )),
    }
}

fn same_line((expected, found): (&str, &str)) -> bool {
    match expected.split_once("[..]") {
        Some((start, end)) => found.starts_with(start) && found.ends_with(end),
        None => expected.trim_end() == found.trim_end(),
    }
}
