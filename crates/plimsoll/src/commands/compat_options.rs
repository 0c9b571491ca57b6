//! Flags of `run` and `create` that Docker has and that mean little here: taken, and said where somebody counts on them.

use crate::command_error::CommandError;

/// See the module.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct CompatArgs {
    /// Accepted for Docker's sake: a container's layer has no options of its own
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    storage_opt: Vec<String>,
    /// Accepted for Docker's sake; `default` is the only one
    #[arg(long, value_name = "MODE", hide = true)]
    isolation: Option<String>,
    /// Accepted for Docker's sake; `local` is the only one
    #[arg(long, value_name = "DRIVER", hide = true)]
    volume_driver: Option<String>,
    /// Accepted for Docker's sake: the kernel has no such limit any more
    #[arg(long, value_name = "SIZE", hide = true)]
    kernel_memory: Option<String>,
    /// Accepted for Docker's sake: `plimsoll verify` checks signatures
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide = true)]
    disable_content_trust: Option<bool>,
}

impl CompatArgs {
    /// Refuses what Docker refuses, in its words.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        if self.storage_opt.iter().any(|option| !option.contains('=')) {
            return Err(CommandError::usage("invalid storage option"));
        }
        match self.isolation.as_deref() {
            None | Some("" | "default") => {}
            Some(mode) => {
                let text = format!("invalid isolation ({mode}): linux only supports 'default'");
                return Err(CommandError::usage(text));
            }
        }
        match self.volume_driver.as_deref() {
            None | Some("" | "local") => Ok(()),
            Some(driver) => Err(CommandError::usage(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            ))),
        }
    }

    /// What is asked for and has no effect.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &'static str> {
        let storage = (!self.storage_opt.is_empty())
            .then_some("--storage-opt has no effect: a container's layer may grow as its disk lets it");
        let kernel = self
            .kernel_memory
            .as_ref()
            .map(|_| "--kernel-memory has no effect: kernels have no such limit any more");
        storage.into_iter().chain(kernel)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CompatArgs,
    }

    fn parse(words: &[&str]) -> CompatArgs {
        Line::parse_from(["run"].iter().chain(words)).args
    }

    #[test]
    fn what_means_nothing_is_said_and_what_cannot_be_is_refused() {
        let taken = parse(&[
            "--storage-opt=size=1G",
            "--isolation=default",
            "--volume-driver=local",
            "--disable-content-trust",
        ]);
        assert!(taken.check().is_ok());
        assert_eq!(taken.warnings().count(), 1);
        assert_eq!(parse(&["--kernel-memory=4m"]).warnings().count(), 1);
        for (word, said) in [
            ("--storage-opt=size", "invalid storage option"),
            (
                "--isolation=hyperv",
                "invalid isolation (hyperv): linux only supports 'default'",
            ),
            (
                "--volume-driver=x",
                "error looking up volume plugin x: plugin \"x\" not found",
            ),
        ] {
            let error = parse(&[word]).check().unwrap_err();
            assert!(error.to_text().contains(said), "{}", error.to_text());
        }
    }
}
