//! What a command did against what its page says.

use std::collections::BTreeMap;

use plimsoll_testkit::Outcome;

use crate::same;

/// Judges an outcome by the lines below a command.
///
/// | line | what it says |
/// | --- | --- |
/// | `ran: STEP` | all steps that ran, each on a line; `ran: nothing` |
/// | `cached: STEP` | all steps that were found in the cache |
/// | `prints: TEXT` | a step wrote this line |
/// | `warning: TEXT` and what follows | all of stderr but the progress, when there is no `error:` |
/// | `error: TEXT` and all around it | the command fails with 1, and this is all of stderr but the progress |
/// | anything else | all of stdout |
pub(crate) fn judge(outcome: &Outcome, expected: &[String]) -> Result<(), String> {
    exit_code(outcome, expected)?;
    let log = Log::of(&outcome.stderr);
    if fails(expected) || expected.iter().any(|line| line.starts_with("warning")) {
        return same("output", &expected.join("\n"), &log.rest);
    }
    let mut stdout = Vec::new();
    let mut steps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in expected {
        match line.split_once(": ") {
            Some((kind @ ("ran" | "cached"), step)) => steps.entry(kind).or_default().push(step),
            Some(("prints", text)) if log.printed.iter().any(|line| line == text) => {}
            Some(("prints", text)) => return Err(format!("no step printed `{text}`\n{outcome}")),
            _ => stdout.push(line.as_str()),
        }
    }
    for (kind, mut expected) in steps {
        let mut found = if kind == "ran" {
            log.ran.clone()
        } else {
            log.cached.clone()
        };
        expected.retain(|step| *step != "nothing");
        expected.sort_unstable();
        found.sort_unstable();
        same(&format!("{kind} steps"), &expected.join("\n"), &found.join("\n"))
            .map_err(|reason| format!("{reason}\n--- log\n{}", outcome.stderr))?;
    }
    match stdout.is_empty() {
        true => Ok(()),
        false => same("output", &stdout.join("\n"), &outcome.stdout),
    }
}

/// Judges the exit code alone.
pub(crate) fn exit_code(outcome: &Outcome, expected: &[String]) -> Result<(), String> {
    match (outcome.code == 0) != fails(expected) {
        true => Ok(()),
        false => Err(format!("exit code {}\n{outcome}", outcome.code)),
    }
}

fn fails(expected: &[String]) -> bool {
    expected.iter().any(|line| line.starts_with("error"))
}

/// What plain progress says.
#[derive(Default)]
struct Log {
    ran: Vec<String>,
    cached: Vec<String>,
    printed: Vec<String>,
    /// All lines that are not progress.
    rest: String,
}

impl Log {
    fn of(stderr: &str) -> Self {
        let mut log = Self::default();
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        for line in stderr.lines() {
            let Some((number, text)) = line.strip_prefix('#').and_then(|rest| rest.split_once(' ')) else {
                if !line.is_empty() || !log.rest.is_empty() {
                    log.rest.push_str(line);
                    log.rest.push('\n');
                }
                continue;
            };
            let step = names.get(number);
            match (text.split_once(' '), step) {
                (None, Some(step)) if text == "CACHED" => log.cached.push(step.clone()),
                (Some(("DONE", _)), Some(step)) => log.ran.push(step.clone()),
                (Some((time, printed)), _) if time.parse::<f64>().is_ok() => {
                    log.printed.push(printed.to_owned())
                }
                _ => {
                    if let Some(step) = step_of(text) {
                        names.insert(number, step);
                    }
                }
            }
        }
        log
    }
}

/// `RUN true` of `[build 2/3] RUN true`; base images and exports are no steps.
fn step_of(text: &str) -> Option<String> {
    let (_, step) = text.strip_prefix('[')?.split_once("] ")?;
    (!step.starts_with("FROM ")).then(|| step.to_owned())
}
