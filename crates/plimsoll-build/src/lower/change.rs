//! Instructions on their own: `commit --change`, `import --change`.

use std::collections::BTreeMap;
use std::sync::Arc;

use plimsoll_diagnostics::{Diagnostic, Source};
use plimsoll_dockerfile::{Dockerfile, Instruction, InstructionKind};
use plimsoll_oci::ImageConfig;

use super::{LowerSettings, Lowering, StageImages, StageState, join};
use crate::context::BuildContext;
use crate::plan::{PlanSettings, Triggers, plan};
use crate::run_options::RunOptions;
use crate::source::Contexts;

/// Applies instructions that only edit the configuration of an image, each a text of its own. None leaves a line in the
/// history.
pub fn change(config: &mut ImageConfig, changes: &[String]) -> Result<(), Vec<Diagnostic>> {
    let platform = config.platform();
    let (contexts, build_args) = (Contexts::new(Vec::new()), BTreeMap::new());
    let scratch = Dockerfile::parse(&Source::new("scratch", "FROM scratch")).dockerfile;
    let triggers = Triggers::new();
    let settings = PlanSettings {
        target: None,
        build_args: &build_args,
        platform: &platform,
        contexts: &contexts,
    };
    let plan = plan(&scratch, &triggers, &settings)?;
    let settings = LowerSettings {
        build_args: &build_args,
        no_cache: false,
        no_cache_stages: &[],
        network: crate::BuildNetwork::Default,
        add_hosts: &[],
        run: &RunOptions::default(),
        contexts: &contexts,
    };
    let (images, context) = (StageImages::new(), Arc::new(BuildContext::empty()));
    let mut state = StageState::of(config);
    for text in changes {
        let parsed = Dockerfile::parse_trigger(&Source::new("--change", text.as_str()));
        if parsed.has_errors() {
            return Err(parsed.diagnostics);
        }
        let lowering = Lowering::new(&parsed.dockerfile, &plan, &images, &context, None, &settings);
        for instruction in &parsed.dockerfile.instructions {
            let changed = lowering.change(&mut state, instruction);
            changed.map_err(|diagnostic| vec![*diagnostic])?;
        }
    }
    config.config = state.config;
    Ok(())
}

impl Lowering<'_> {
    fn change(&self, state: &mut StageState, instruction: &Instruction) -> super::Lower<()> {
        match &instruction.kind {
            // Without a layer that makes the folder: it is made when a container starts.
            InstructionKind::Workdir(word) => {
                let path = self.expand(state, word)?;
                state.config.working_dir = join(&state.config.working_dir, &path);
                Ok(())
            }
            InstructionKind::Run(_)
            | InstructionKind::Copy(_)
            | InstructionKind::Add(_)
            | InstructionKind::Arg(_)
            | InstructionKind::Shell(_)
            | InstructionKind::Maintainer(_)
            | InstructionKind::From(_) => {
                let word = self
                    .source
                    .slice(instruction.span)
                    .split_whitespace()
                    .next()
                    .unwrap_or_default();
                let message = format!("{} is not a valid change command", word.to_uppercase());
                let help = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and \
                            WORKDIR are";
                Err(Box::new(
                    self.error("change", instruction.span, message).with_help(help),
                ))
            }
            _ => self.configure(state, instruction),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<ImageConfig, Vec<Diagnostic>> {
        let mut config = ImageConfig {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            ..ImageConfig::default()
        };
        config.config.env = vec!["A=1".to_owned()];
        config.config.working_dir = "/srv".to_owned();
        let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
        change(&mut config, &changes).map(|()| config)
    }

    #[test]
    fn the_configuration_is_edited_and_nothing_else() {
        let config = changed(&[
            "CMD [\"x\"]",
            "env B=$A.2",
            "WORKDIR app",
            "LABEL q=1",
            "EXPOSE 80",
            "USER me",
        ])
        .unwrap();
        let container = &config.config;
        assert_eq!(container.cmd.as_deref(), Some(&["x".to_owned()][..]));
        assert_eq!(container.env, ["A=1", "B=1.2"]);
        assert_eq!(
            (container.working_dir.as_str(), container.user.as_str()),
            ("/srv/app", "me")
        );
        assert!(container.exposed_ports.as_ref().unwrap().contains_key("80/tcp"));
        assert!(config.history.is_empty());
    }

    #[test]
    fn what_makes_layers_is_refused() {
        let errors = changed(&["RUN x"]).unwrap_err();
        assert_eq!(errors[0].message, "RUN is not a valid change command");
        assert!(changed(&["CMD ["]).is_ok(), "that is the shell form");
        assert!(changed(&["NOTHING x"]).is_err());
    }
}
