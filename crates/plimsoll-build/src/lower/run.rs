//! RUN.

use plimsoll_dockerfile::{Command, Instruction, Run};

use super::{Lower, Lowering, StageState, Steps};
use crate::BuildNetwork;
use crate::op::{ExecOp, Operation};
use crate::plan::PROXY_ARGS;

impl Lowering<'_> {
    pub(super) fn run(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        run: &Run,
        steps: &mut Steps,
    ) -> Lower<()> {
        self.refuse_unsupported(run)?;
        let args = self.run_line(state, run);
        let used: Vec<String> = state
            .used_args()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let env = state
            .config
            .env
            .iter()
            .cloned()
            .chain(used.iter().cloned())
            .collect();
        let declared = |name: &str| state.args.iter().any(|(arg, _)| arg == name);
        let proxies = PROXY_ARGS
            .into_iter()
            .filter(|name| !declared(name) && state.env(name).is_none());
        let proxy_env =
            proxies.filter_map(|name| Some(format!("{name}={}", self.settings.build_args.get(name)?)));
        let op = ExecOp {
            proxy_env: proxy_env.collect(),
            command: super::squeeze(&args.join(" ")),
            args,
            env,
            cwd: state.workdir().to_owned(),
            user: state.config.user.clone(),
            network: self.run_network(run)?,
            add_hosts: self.settings.add_hosts.to_vec(),
        };
        let history = match used.as_slice() {
            [] => format!("RUN {} # buildkit", op.args.join(" ")),
            used => format!(
                "RUN |{} {} {} # buildkit",
                used.len(),
                used.join(" "),
                op.args.join(" ")
            ),
        };
        let name = steps.next(&instruction.text);
        self.push(state, name, instruction.span, Operation::Exec(op), None);
        state.layer_row(history);
        Ok(())
    }

    fn refuse_unsupported(&self, run: &Run) -> Lower<()> {
        let unsupported = [("--mount", run.mounts.first()), ("--device", run.devices.first())];
        for (flag, word) in unsupported {
            if let Some(word) = word {
                return Err(self.error(
                    "unsupported-flag",
                    word.span,
                    format!("RUN {flag} is not supported yet"),
                ));
            }
        }
        match &run.security {
            Some(word) if word.value != "sandbox" => Err(self.error(
                "unsupported-flag",
                word.span,
                format!("RUN --security={} is not supported", word.value),
            )),
            _ => Ok(()),
        }
    }

    fn run_network(&self, run: &Run) -> Lower<BuildNetwork> {
        let Some(word) = &run.network else {
            return Ok(self.settings.network);
        };
        match word.value.as_str() {
            "default" => Ok(self.settings.network),
            "none" => Ok(BuildNetwork::None),
            "host" if self.settings.network == BuildNetwork::Host => Ok(BuildNetwork::Host),
            "host" => {
                let error = self.error(
                    "network-host",
                    word.span,
                    "RUN --network=host is not allowed in this build",
                );
                Err(Box::new(
                    error.with_help("pass `--network host` to the build to allow it"),
                ))
            }
            other => {
                let error = self.error(
                    "unknown-network",
                    word.span,
                    format!("`{other}` is not a network of RUN"),
                );
                Err(Box::new(error.with_help("use `default`, `none` or `host`")))
            }
        }
    }

    /// The program and its arguments. A lone here-document is the script; others are the shell's to read.
    fn run_line(&self, state: &StageState, run: &Run) -> Vec<String> {
        if let Some(script) = run.script() {
            return state
                .shell()
                .into_iter()
                .chain([script.body.value.clone()])
                .collect();
        }
        let mut line = state.command_line(&run.command);
        if let (Command::Shell(_), Some(text)) = (&run.command, line.last_mut()) {
            for heredoc in &run.heredocs {
                text.push_str(&format!("\n{}{}", heredoc.body.value, heredoc.delimiter));
            }
        }
        line
    }
}
