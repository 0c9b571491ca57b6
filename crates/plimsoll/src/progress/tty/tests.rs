use super::*;
use crate::progress::fixture::{Screen, at, build};

fn tty(screen: &Screen) -> Tty {
    Tty {
        began_at: at(0),
        ..Tty::new(Box::new(screen.clone()), "Building", false)
    }
}

/// A terminal that shows what was written.
fn terminal(rows: u16, columns: u16) -> vt100::Parser {
    let some = |number| std::num::NonZero::new(number).expect("not 0");
    vt100::Parser::new(some(rows), some(columns), 100)
}

/// Feeds a drawing to a terminal: as written by a program in cooked mode, where a newline returns to the first column.
fn feed(terminal: &mut vt100::Parser, screen: &Screen) {
    terminal.process(screen.take().replace('\n', "\r\n").as_bytes());
}

fn draw(tty: &mut Tty, now: i64, rows: u16, columns: u16, is_over: bool) {
    let rows = if is_over {
        usize::MAX
    } else {
        usize::from(rows) - 1
    };
    let lines = tty.lines(at(now), rows, is_over);
    tty.redraw(&lines, usize::from(columns)).unwrap();
}

#[test]
fn drawings_replace_each_other_and_leave_what_was_above() {
    let screen = Screen::default();
    let mut tty = tty(&screen);
    let mut terminal = terminal(12, 50);
    terminal.process(b"$ plimsoll build .\r\n");
    for (number, event) in build().into_iter().enumerate() {
        tty.event(event).unwrap();
        draw(&mut tty, 100 * number as i64, 12, 50, false);
        feed(&mut terminal, &screen);
    }
    insta::assert_snapshot!("running", terminal.screen().contents());
    draw(&mut tty, 1500, 12, 50, true);
    feed(&mut terminal, &screen);
    insta::assert_snapshot!("finished", terminal.screen().contents());
    assert_eq!(
        terminal.screen().cursor_position().1,
        0,
        "the prompt starts a line"
    );
}

#[test]
fn a_low_terminal_is_never_scrolled_while_it_runs() {
    let screen = Screen::default();
    let mut tty = tty(&screen);
    let mut terminal = terminal(5, 40);
    for (number, event) in build().into_iter().enumerate() {
        tty.event(event).unwrap();
        draw(&mut tty, 100 * number as i64, 5, 40, false);
        feed(&mut terminal, &screen);
        let header = terminal
            .screen()
            .contents()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(
            header.starts_with("[+] Building"),
            "{}",
            terminal.screen().contents()
        );
    }
}

#[test]
fn narrow_terminals_cut_and_never_wrap() {
    for columns in [5, 11, 20, 30] {
        let screen = Screen::default();
        let mut tty = tty(&screen);
        build().into_iter().for_each(|event| tty.event(event).unwrap());
        let mut terminal = terminal(24, columns);
        for _ in 0..3 {
            draw(&mut tty, 750, 24, columns, true);
            feed(&mut terminal, &screen);
        }
        let drawn = terminal.screen().contents();
        assert_eq!(
            drawn.lines().count(),
            tty.drawn.len(),
            "{columns} columns:\n{drawn}"
        );
        assert!((0..24).all(|row| !terminal.screen().row_wrapped(row)), "{drawn}");
    }
}

#[test]
fn what_became_narrower_is_found_where_it_has_wrapped() {
    let screen = Screen::default();
    let mut tty = tty(&screen);
    build()
        .into_iter()
        .take(12)
        .for_each(|event| tty.event(event).unwrap());
    draw(&mut tty, 750, 24, 80, false);
    let lines = tty.drawn.len();
    screen.take();
    draw(&mut tty, 750, 24, 40, false);
    // The header is short; of the others those with figures filled 79 columns and take two rows now.
    let wrapped = screen.take();
    let rows: usize = wrapped
        .strip_prefix("\r\x1b[")
        .unwrap()
        .split('A')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(rows > lines && rows <= 2 * lines, "{rows} rows for {lines} lines");
    assert!(tty.drawn.iter().all(|columns| *columns < 40), "{:?}", tty.drawn);
}

#[test]
fn wide_letters_take_two_columns_and_control_characters_none() {
    assert_eq!(fit("日本語", 6), ("日本語".to_owned(), 6));
    assert_eq!(fit("日本語", 5), ("日本…".to_owned(), 5));
    assert_eq!(fit("日本語", 4), ("日…".to_owned(), 3));
    assert_eq!(fit("a\x1b[2Jb\nc", 20), ("a [2Jb c".to_owned(), 8));
    assert_eq!(fit("abc", 0), (String::new(), 0));
}

#[test]
fn sizes_stand_beside_the_seconds_at_the_end() {
    let screen = Screen::default();
    let mut tty = tty(&screen);
    build().into_iter().for_each(|event| tty.event(event).unwrap());
    tty.sizes(HashMap::from([("b".to_owned(), 12_345_678)]));
    let mut terminal = terminal(10, 60);
    draw(&mut tty, 900, 10, 60, true);
    feed(&mut terminal, &screen);
    insta::assert_snapshot!("sizes", terminal.screen().contents());
}

#[test]
fn nothing_is_drawn_in_the_first_quarter_second() {
    let screen = Screen::default();
    let mut tty = tty(&screen);
    build()
        .into_iter()
        .take(4)
        .for_each(|event| tty.event(event).unwrap());
    tty.draw(Instant::now()).unwrap();
    assert_eq!(screen.take(), "");
    tty.draw(Instant::now() + SILENCE).unwrap();
    assert!(screen.take().contains("FROM busybox"));
}
