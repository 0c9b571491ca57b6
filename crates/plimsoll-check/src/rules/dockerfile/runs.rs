//! The commands of RUN instructions, and what they are run with.

use plimsoll_dockerfile::{InstructionKind, Run};

use crate::shell::{Script, ShellCommand};
use crate::view::{DockerfileView, Stage, Step};

/// A RUN with its shell text.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunStep<'a> {
    pub(super) step: Step<'a>,
    pub(super) run: &'a Run,
    pub(super) script: &'a Script,
}

/// A command of a RUN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ran<'a> {
    pub(super) of: RunStep<'a>,
    pub(super) command: &'a ShellCommand,
}

/// Every RUN whose text a POSIX shell or nobody reads, those in ONBUILD too.
pub(super) fn runs(view: &DockerfileView) -> impl Iterator<Item = RunStep<'_>> {
    view.steps().filter_map(|step| run_step(view, step))
}

/// Those of one stage.
pub(super) fn runs_of<'a>(view: &'a DockerfileView, stage: &'a Stage) -> impl Iterator<Item = RunStep<'a>> {
    view.steps_of(stage).filter_map(|step| run_step(view, step))
}

/// Every command of every RUN.
pub(super) fn commands(view: &DockerfileView) -> impl Iterator<Item = Ran<'_>> {
    runs(view).flat_map(RunStep::commands)
}

/// The commands that run one of these programs.
pub(super) fn called<'a>(view: &'a DockerfileView, programs: &'a [&'a str]) -> impl Iterator<Item = Ran<'a>> {
    commands(view).filter(|ran| {
        ran.command
            .program()
            .is_some_and(|program| programs.contains(&program))
    })
}

fn run_step<'a>(view: &'a DockerfileView, step: Step<'a>) -> Option<RunStep<'a>> {
    let InstructionKind::Run(run) = step.effective() else {
        return None;
    };
    let script = view.script(step.at)?;
    Some(RunStep { step, run, script })
}

impl<'a> RunStep<'a> {
    /// Its commands.
    pub(super) fn commands(self) -> impl Iterator<Item = Ran<'a>> {
        self.script
            .commands
            .iter()
            .map(move |command| Ran { of: self, command })
    }

    /// Whether what is written to a folder does not become part of the layer: a cache or tmpfs is mounted on it, or on a
    /// folder above it.
    pub(super) fn is_mounted(self, folder: &str) -> bool {
        let targets = self.mounts(&["cache", "tmpfs"]);
        targets.into_iter().any(|target| {
            let target = target.trim_end_matches('/');
            folder
                .strip_prefix(target)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Whether any cache is mounted.
    pub(super) fn has_cache(self) -> bool {
        !self.mounts(&["cache"]).is_empty()
    }

    fn mounts(self, kinds: &[&str]) -> Vec<&'a str> {
        let mounts = self.run.mounts.iter().filter_map(|mount| {
            let fields = mount.value.split(',').filter_map(|field| field.split_once('='));
            let kind = fields
                .clone()
                .find(|(key, _)| *key == "type")
                .map(|(_, kind)| kind);
            let target = fields
                .clone()
                .find(|(key, _)| matches!(*key, "target" | "dst" | "destination"))
                .map(|(_, target)| target);
            kind.filter(|kind| kinds.contains(kind)).and(target)
        });
        mounts.collect()
    }

    /// The arguments of its commands, for those who look for a path.
    pub(super) fn mentions(self, text: &str) -> bool {
        let mut words = self.script.commands.iter().flat_map(|command| {
            let targets = command
                .redirects
                .iter()
                .filter_map(|redirect| redirect.target.as_ref());
            command.words.iter().chain(targets)
        });
        words.any(|word| word.text.contains(text))
    }
}
