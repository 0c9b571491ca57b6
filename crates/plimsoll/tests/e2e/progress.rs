//! Progress on a terminal, looked at as a person would: through one.

use std::num::NonZero;

use plimsoll_testkit::{Sandbox, Terminal, needs};
use rustix::process::Signal;

use crate::with_busybox;

const ROWS: u16 = 30;
const COLUMNS: u16 = 90;

fn screen(rows: u16, columns: u16) -> vt100::Parser {
    let some = |number| NonZero::new(number).expect("not 0");
    vt100::Parser::new(some(rows), some(columns), 0)
}

/// Starts a build in a terminal below a line that must stay.
fn start(sandbox: &Sandbox, dockerfile: &str, rows: u16, columns: u16) -> (Terminal, vt100::Parser) {
    sandbox.write("context/Dockerfile", dockerfile);
    let command = sandbox.command(["build", "-t", "app", "context"]);
    let mut screen = screen(rows, columns);
    screen.process(b"$ plimsoll build -t app context\r\n");
    (Terminal::start(command, rows, columns), screen)
}

/// The screen's lines without the seconds.
fn lines(screen: &vt100::Parser) -> Vec<String> {
    let without_seconds = |line: &str| {
        let trimmed = line.trim_end();
        let end = trimmed
            .rfind(' ')
            .filter(|_| trimmed.ends_with('s'))
            .unwrap_or(trimmed.len());
        trimmed[..end].trim_end().to_owned()
    };
    screen.screen().contents().lines().map(without_seconds).collect()
}

fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_build_is_one_list_that_is_redrawn() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nRUN echo first\nRUN echo one && echo two && sleep 1\nRUN head -c 5000000 /dev/zero > /big\n";
    let (mut terminal, mut screen) = start(&sandbox, dockerfile, ROWS, COLUMNS);
    screen.process(&terminal.read_until("# two"));
    let running = lines(&screen);
    assert!(running[1].starts_with("[+] Building"), "{running:#?}");
    assert_eq!(count(&running, "=> => # one"), 1, "{running:#?}");
    let (code, rest) = terminal.finish();
    screen.process(&rest);
    let done = lines(&screen);
    assert_eq!(code, 0, "{done:#?}");
    assert_eq!(done[0], "$ plimsoll build -t app context");
    assert!(done[1].ends_with("FINISHED"), "{done:#?}");
    for step in [
        "=> [1/4] FROM",
        "=> [2/4] RUN echo first",
        "=> [3/4] RUN echo one",
        "=> exporting to image",
    ] {
        assert_eq!(count(&done, step), 1, "{step}: {done:#?}");
    }
    assert_eq!(count(&done, "=> => # "), 0, "output is folded: {done:#?}");
    let big = done
        .iter()
        .find(|line| line.contains("[4/4]"))
        .expect("the last step");
    assert!(big.ends_with(" 5MB"), "its layer's size: {big}");
    assert_eq!(screen.screen().cursor_position().1, 0);
}

#[test]
fn a_second_build_marks_what_is_cached() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nRUN echo first\nRUN echo second\n";
    crate::build_ok(&sandbox, dockerfile, &[]);
    let (terminal, mut screen) = start(&sandbox, dockerfile, ROWS, COLUMNS);
    let (code, output) = terminal.finish();
    screen.process(&output);
    let done = lines(&screen);
    assert_eq!(code, 0, "{done:#?}");
    assert_eq!(count(&done, "=> CACHED [3/3] RUN echo second"), 1, "{done:#?}");
}

#[test]
fn a_failure_stands_whole_below_the_list() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nRUN echo before && sleep 1 && echo wrong >&2 && false\n";
    let (terminal, mut screen) = start(&sandbox, dockerfile, ROWS, 60);
    let (code, output) = terminal.finish();
    screen.process(&output);
    let shown = lines(&screen);
    assert_eq!(code, 1, "{shown:#?}");
    assert_eq!(count(&shown, "=> ERROR [2/2] RUN echo before"), 1, "{shown:#?}");
    let list = shown
        .iter()
        .rposition(|line| line.starts_with(" => "))
        .expect("the list");
    let error = shown
        .iter()
        .position(|line| line.starts_with("error: "))
        .expect("the error");
    assert!(list < error, "{shown:#?}");
    assert_eq!(count(&shown[error..], "Dockerfile:2"), 1, "{shown:#?}");
}

#[test]
fn a_terminal_that_changes_its_size_stays_in_order() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let dockerfile = "FROM busybox\nRUN echo one; sleep 1; echo two; sleep 1; echo three; sleep 1\n";
    let (mut terminal, mut screen) = start(&sandbox, dockerfile, ROWS, 40);
    screen.process(&terminal.read_until("# one"));
    terminal.resize(12, 100);
    screen
        .screen_mut()
        .set_size(NonZero::new(12).unwrap(), NonZero::new(100).unwrap());
    screen.process(&terminal.read_until("# two"));
    let (code, rest) = terminal.finish();
    screen.process(&rest);
    let done = lines(&screen);
    assert_eq!(code, 0, "{done:#?}");
    assert_eq!(done[0], "$ plimsoll build -t app context");
    assert_eq!(count(&done, "[+] Building"), 1, "{done:#?}");
    assert_eq!(
        count(
            &done,
            "[2/2] RUN echo one; sleep 1; echo two; sleep 1; echo three"
        ),
        1,
        "{done:#?}"
    );
}

#[test]
fn a_build_that_is_interrupted_says_what_was_running() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    let (mut terminal, mut screen) = start(
        &sandbox,
        "FROM busybox\nRUN echo up && sleep 100\n",
        ROWS,
        COLUMNS,
    );
    screen.process(&terminal.read_until("# up"));
    terminal.signal(Signal::INT);
    let (code, rest) = terminal.finish();
    screen.process(&rest);
    let shown = lines(&screen);
    assert_eq!(code, 130, "{shown:#?}");
    assert_eq!(count(&shown, "=> CANCELED [2/2] RUN echo up"), 1, "{shown:#?}");
    assert_eq!(screen.screen().cursor_position().1, 0);
}

#[test]
fn without_a_terminal_or_in_ci_there_are_lines() {
    needs!(root, overlay);
    let sandbox = with_busybox();
    sandbox.write("context/Dockerfile", "FROM busybox\nRUN echo hello\n");
    let piped = sandbox.run(["build", "context"]);
    assert!(
        piped.stderr.contains("#1 ") && !piped.stderr.contains('\x1b'),
        "{piped}"
    );
    let mut command = sandbox.command(["build", "--no-cache", "context"]);
    command.env("CI", "true");
    let (code, output) = Terminal::start(command, ROWS, COLUMNS).finish();
    let output = String::from_utf8_lossy(&output);
    assert!(
        code == 0 && output.contains("hello") && !output.contains("\x1b["),
        "{output}"
    );
}
