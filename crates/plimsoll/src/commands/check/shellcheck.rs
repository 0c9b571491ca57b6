//! ShellCheck, for whoever asks: an installed program that gets the text of every RUN.

use std::io::Write as _;
use std::process::{Command, Stdio};

use plimsoll_check::Config;
use plimsoll_check::shell::external::{Answer, ShellText, texts};
use plimsoll_check::view::Workspace;

/// What cannot be right about a part of a script: variables that ENV and ARG set, files that are only in the image.
const NOT_HERE: &str = "SC2154,SC2034,SC1090,SC1091";

/// The program, when it is asked for: by the flag, or by naming it in the settings.
pub(super) fn asked(flag: bool, config: &Config) -> Option<&str> {
    let set = config
        .options
        .get("shellcheck")
        .and_then(|options| options.get("program"));
    set.and_then(serde_json::Value::as_str)
        .or(flag.then_some("shellcheck"))
}

/// Asks ShellCheck about every Dockerfile. What cannot be asked is an error for all of them.
pub(super) fn ask(workspace: &mut Workspace, program: &str) -> Result<(), String> {
    for view in &mut workspace.dockerfiles {
        let mut found = Vec::new();
        for text in texts(view) {
            let answer = answer(&text, program)?;
            found.extend(text.bring_back(answer));
        }
        view.shellcheck = found;
    }
    Ok(())
}

fn answer(text: &ShellText, program: &str) -> Result<Answer, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot ask `{program}`: {error}");
    let mut child = Command::new(program)
        .args([
            "--format=json1",
            "--norc",
            "--shell",
            text.dialect,
            "--exclude",
            NOT_HERE,
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| cannot(&error))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let written = text.as_str().to_owned();
    // It answers while it reads: neither waits for the other.
    let writer = std::thread::spawn(move || stdin.write_all(written.as_bytes()));
    let output = child.wait_with_output().map_err(|error| cannot(&error))?;
    let _ = writer.join();
    serde_json::from_slice(&output.stdout).map_err(|error| cannot(&error))
}
