//! Explanations in words.

use std::fmt;

use super::{Cause, Change, Explanation, FileChange, Note, StepExplanation, Variable};
use crate::record::StepOutcome;

/// Files that one step names in words; all are in the JSON form.
const FILES: usize = 10;
/// Hexadecimal digits of a digest.
const DIGITS: usize = 12;
/// Longer values are cut.
const WIDTH: usize = 80;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ran: Vec<_> = self.steps.iter().filter(|step| step.outcome.has_run()).collect();
        let cached = self.steps.iter().filter(|step| step.outcome.is_cached()).count();
        let total = self.steps.len();
        match ran.len() {
            0 => writeln!(f, "{}: nothing had to run", plural(total, "step"))?,
            ran => writeln!(
                f,
                "{ran} of {} ran, {cached} came from the cache",
                plural(total, "step")
            )?,
        }
        ran.into_iter().try_for_each(|step| write!(f, "\n{step}"))?;
        let again = |step: &&StepExplanation| step.outcome == StepOutcome::CachedByContent;
        for step in self.steps.iter().filter(again) {
            let name = &step.name;
            writeln!(
                f,
                "\n{name}\n  cached: steps before it ran, but what it reads of them is the same"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for StepExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        let is_file = |cause: &&Cause| matches!(cause, Cause::File(_));
        let files = self.causes.iter().filter(is_file).count();
        let mut told = 0;
        for cause in &self.causes {
            if is_file(&cause) {
                told += 1;
                if told == FILES + 1 && files > FILES {
                    writeln!(f, "  and {} more", plural(files - FILES, "file"))?;
                }
                if told > FILES {
                    continue;
                }
            }
            writeln!(f, "  {cause}")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))?;
        if self.same_as_earlier {
            writeln!(
                f,
                "  it left what an earlier run had left: steps after it stay cached"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCache => f.write_str("asked for: `--no-cache` or `--no-cache-filter`"),
            Self::Instruction { old, new } => {
                write!(f, "the instruction changed: {} -> {}", quoted(old), quoted(new))
            }
            Self::Variable(variable) => write!(f, "{variable}"),
            Self::File(change) => write!(f, "{change}"),
            Self::Files => f.write_str("the files it reads are others; which is not known any more"),
            Self::BaseImage {
                reference,
                old_reference,
                old,
                new,
            } => {
                let digests = format!("{} -> {}", short(old), short(new));
                match old_reference {
                    None => write!(f, "the base image `{reference}` is another one: {digests}"),
                    Some(before) => write!(f, "the base image is `{reference}`, was `{before}`: {digests}"),
                }
            }
            Self::Parent { name, .. } => write!(f, "it builds on `{name}`, which came to other files"),
            Self::Setting { name, old, new } => match (old, new) {
                (Some(old), Some(new)) => write!(f, "{name} changed: {} -> {}", quoted(old), quoted(new)),
                (None, Some(new)) => write!(f, "{name} is new: {}", quoted(new)),
                (old, None) => write!(
                    f,
                    "{name} is gone: {}",
                    quoted(old.as_deref().unwrap_or_default())
                ),
            },
            Self::Source { url, old, new } => {
                write!(
                    f,
                    "`{url}` gives something else: {} -> {}",
                    short(old),
                    short(new)
                )
            }
            Self::FailedBefore => f.write_str("it failed the last time, and failures are not kept"),
            Self::Interrupted => f.write_str("it had not ended when the last build was given up"),
            Self::Removed => f.write_str("nothing changed, but its result was removed from the cache"),
            Self::NewStep => f.write_str("no earlier build had this step"),
            Self::FirstBuild => f.write_str("no earlier build of this Dockerfile and context is known"),
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` ", self.kind, self.name)?;
        match (&self.old, &self.new) {
            _ if self.hidden => f.write_str("changed; its value is not shown")?,
            (Some(old), Some(new)) => write!(f, "changed: {} -> {}", quoted(old), quoted(new))?,
            (None, Some(new)) => write!(f, "is new here: {}", quoted(new))?,
            (old, None) => write!(
                f,
                "is not set any more, was {}",
                quoted(old.as_deref().unwrap_or_default())
            )?,
        }
        match &self.first_seen {
            None => f.write_str("; this is the first step that sees it"),
            Some(step) => write!(f, "; `{step}` was the first to see it"),
        }
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.path)?;
        let (old, new) = (
            self.old.as_deref().unwrap_or_default(),
            self.new.as_deref().unwrap_or_default(),
        );
        match self.change {
            Change::Content => write!(f, "has other content: {} -> {}", short(old), short(new))?,
            Change::Mode => write!(f, "has another mode: {old} -> {new}")?,
            Change::Owner => write!(f, "has another owner: {old} -> {new}")?,
            Change::Kind => write!(f, "is a {new}, was a {old}")?,
            Change::Added => f.write_str("is new")?,
            Change::Removed => f.write_str("is gone")?,
        }
        if let Some(files) = self.files {
            write!(f, ", with {}", plural(files, "file"))?;
        }
        match &self.rule {
            None => Ok(()),
            Some(rule) => {
                let when = if self.change == Change::Added {
                    "left it out before"
                } else {
                    "leaves it out"
                };
                write!(f, ": `{}` in {}:{} {when}", rule.pattern, rule.file, rule.line)
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CacheMountGone { id } => {
                write!(f, "its cache mount `{id}` was removed since then: it began empty")
            }
        }
    }
}

fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn quoted(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.chars().count() > WIDTH {
        true => format!("`{}…`", text.chars().take(WIDTH).collect::<String>()),
        false => format!("`{text}`"),
    }
}

/// The beginning of a digest.
fn short(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, hex)) => format!("{algorithm}:{}", hex.get(..DIGITS).unwrap_or(hex)),
        None => digest.get(..DIGITS).unwrap_or(digest).to_owned(),
    }
}
