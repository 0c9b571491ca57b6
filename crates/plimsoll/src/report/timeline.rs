//! What happened when, and which of it decided how long the build took.

use jiff::Timestamp;
use plimsoll_build::record::{BuildRecord, TaskRecord};
use serde::Serialize;

/// Gap between two tasks that still counts as one waiting for the other.
const MOMENT: f64 = 0.05;

/// The span of a build.
pub(super) struct Timeline {
    start: Timestamp,
    /// Seconds.
    pub(super) length: f64,
}

/// A line of the grid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Tick {
    pub(super) left: f64,
    pub(super) label: String,
}

/// Where a bar is, in percent.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Bar {
    pub(super) left: f64,
    pub(super) width: f64,
}

impl Timeline {
    /// From the first thing that happened to the last.
    pub(super) fn of(record: &BuildRecord) -> Self {
        let begun = record.tasks.iter().filter_map(|task| task.started);
        let ended = record.tasks.iter().filter_map(|task| task.completed);
        let start = begun.chain([record.started]).min().expect("one at least");
        let end = ended.chain(record.finished).max().unwrap_or(start);
        Self {
            start,
            length: seconds(start, end),
        }
    }

    /// Where the bar of a task is; one that never ended goes on to the end of the build.
    pub(super) fn bar(&self, task: &TaskRecord) -> Option<Bar> {
        let started = seconds(self.start, task.started?);
        let ended = task
            .completed
            .map_or(self.length, |completed| seconds(self.start, completed));
        let whole = self.length.max(0.001);
        Some(Bar {
            left: 100.0 * started / whole,
            width: 100.0 * (ended - started).max(0.0) / whole,
        })
    }

    /// About five lines at round times.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let step = round_step((self.length / 5.0).max(0.001));
        std::iter::successors(Some(0.0), |time| Some(time + step))
            .take_while(|time| *time < self.length * 0.97)
            .map(|time| Tick {
                left: 100.0 * time / self.length.max(0.001),
                label: tick_label(time),
            })
            .collect()
    }
}

/// The next time that people would count in.
fn round_step(least: f64) -> f64 {
    const LONG: [f64; 10] = [
        10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0,
    ];
    let magnitude = 10_f64.powf(least.log10().floor());
    let short = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
    let (steps, otherwise): (&[f64], f64) = match least > 5.0 {
        true => (&LONG, (least / 3600.0).ceil() * 3600.0),
        false => (&short, least),
    };
    steps
        .iter()
        .copied()
        .find(|step| *step >= least)
        .unwrap_or(otherwise)
}

fn tick_label(time: f64) -> String {
    match time > 0.0 {
        true => duration(time),
        false => "0".to_owned(),
    }
}

/// Returns the seconds between two times, not below 0.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// How long a task took.
pub(super) fn taken(task: &TaskRecord) -> Option<f64> {
    Some(seconds(task.started?, task.completed?))
}

/// A duration for people: `350 ms`, `4.2 s`, `2 m 05 s`.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.9995 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 59.95 => format!("{seconds:.1} s").replace(".0 s", " s"),
        seconds => {
            let whole = seconds.round();
            format!("{:.0} m {:02.0} s", (whole / 60.0).floor(), whole % 60.0)
        }
    }
}

/// Returns the tasks that decided how long the build took, as places in `tasks`, the first one first: from the one that
/// ended last back to what it waited for, that is the last of its inputs to end, or, when no input ended shortly before it
/// began, whatever did.
pub(super) fn critical_path(tasks: &[TaskRecord]) -> Vec<usize> {
    let last = |candidates: &mut dyn Iterator<Item = usize>| {
        candidates
            .filter(|place| taken(&tasks[*place]).is_some())
            .max_by_key(|place| (tasks[*place].completed, *place))
    };
    let mut path = Vec::new();
    let mut next = last(&mut (0..tasks.len()));
    while let Some(place) = next {
        path.push(place);
        let started = tasks[place].started.expect("it has taken time");
        let before = |other: &usize| {
            let ended = tasks[*other]
                .completed
                .is_some_and(|completed| completed <= started);
            ended && !path.contains(other)
        };
        let is_input = |other: &usize| tasks[place].inputs.contains(&tasks[*other].digest);
        let input = last(&mut (0..tasks.len()).filter(is_input).filter(before));
        let is_close = |other: &usize| {
            let ended = tasks[*other].completed.expect("it has taken time");
            seconds(ended, started) <= MOMENT
        };
        next = input
            .filter(is_close)
            .or_else(|| last(&mut (0..tasks.len()).filter(before)));
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn task(name: &str, inputs: &[&str], started: i64, completed: i64) -> TaskRecord {
        let at = |milliseconds| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds);
        TaskRecord {
            digest: name.to_owned(),
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            name: name.to_owned(),
            started: Some(at(started)),
            completed: Some(at(completed)),
            cached: false,
            error: None,
            counts: Vec::new(),
            log: None,
        }
    }

    fn path(tasks: &[TaskRecord]) -> Vec<&str> {
        critical_path(tasks)
            .into_iter()
            .map(|place| tasks[place].name.as_str())
            .collect()
    }

    #[test]
    fn the_path_goes_through_the_input_that_ended_last() {
        let tasks = [
            task("pull", &[], 0, 1000),
            task("slow", &["pull"], 1001, 5000),
            task("fast", &["pull"], 1001, 2000),
            task("join", &["slow", "fast"], 5001, 6000),
            task("export", &[], 6001, 6500),
        ];
        assert_eq!(path(&tasks), ["pull", "slow", "join", "export"]);
    }

    #[test]
    fn a_step_that_waited_for_a_free_worker_waited_for_who_had_it() {
        let tasks = [
            task("base", &[], 0, 100),
            task("long", &["base"], 100, 3000),
            task("queued", &["base"], 3001, 4000),
        ];
        assert_eq!(path(&tasks), ["base", "long", "queued"]);
    }

    #[test]
    fn what_takes_no_time_cannot_turn_in_circles() {
        let tasks = [task("a", &["b"], 10, 10), task("b", &["a"], 10, 10)];
        assert_eq!(path(&tasks), ["a", "b"]);
        assert!(path(&[]).is_empty());
    }

    #[test]
    fn times_for_people() {
        for (seconds, text) in [
            (0.0004, "0 ms"),
            (0.35, "350 ms"),
            (0.9999, "1 s"),
            (4.25, "4.2 s"),
            (59.97, "1 m 00 s"),
            (125.4, "2 m 05 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn ticks_are_round() {
        let timeline = |length| Timeline {
            start: Timestamp::UNIX_EPOCH,
            length,
        };
        let labels = |length| -> Vec<String> {
            timeline(length)
                .ticks()
                .into_iter()
                .map(|tick| tick.label)
                .collect()
        };
        assert_eq!(labels(9.0), ["0", "2 s", "4 s", "6 s", "8 s"]);
        assert_eq!(labels(0.4), ["0", "100 ms", "200 ms", "300 ms"]);
        assert_eq!(labels(400.0), ["0", "2 m 00 s", "4 m 00 s", "6 m 00 s"]);
        assert!(labels(0.0).len() <= 1);
    }
}
