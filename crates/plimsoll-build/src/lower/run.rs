//! RUN.

use std::collections::HashMap;

use plimsoll_dockerfile::{Command, Heredoc, Instruction, Run, Word, nearest};
use plimsoll_solver::VertexId;

use super::{Lower, Lowering, StageState, Steps, join};
use crate::BuildNetwork;
use crate::mount::{self, MountKind, RunMount};
use crate::op::{
    CopyOp, ExecMount, ExecOp, HOSTNAME, MountFiles, Operation, Script, SourcePath, SourceTree, literal,
};
use crate::plan::{Origin, PROXY_ARGS};

impl Lowering<'_> {
    pub(super) fn run(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        run: &Run,
        from: &[&Origin],
        states: &HashMap<usize, StageState>,
        steps: &mut Steps,
    ) -> Lower<()> {
        if let Some(word) = run.devices.first() {
            let error = self.error("unsupported-flag", word.span, "RUN --device is not supported");
            return Err(Box::new(
                error.with_help("devices of the host are not handed to build steps"),
            ));
        }
        let insecure = self.insecure(run)?;
        let network = self.run_network(run)?;
        let (mounts, inputs) = self.mounts(state, instruction, run, from, states)?;
        let (args, script) = self.run_line(state, run);
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
        let hostname = self.settings.build_args.get("BUILDKIT_SANDBOX_HOSTNAME");
        let op = ExecOp {
            proxy_env: proxy_env.collect(),
            command: super::squeeze(&args.join(" ")),
            args,
            env,
            args_seen: used.len(),
            cwd: state.workdir().to_owned(),
            platform: state.runs_on.clone(),
            user: state.config.user.clone(),
            hostname: hostname.map_or(HOSTNAME, String::as_str).to_owned(),
            network,
            insecure,
            add_hosts: self.settings.add_hosts.to_vec(),
            on_base: state.vertex.is_some(),
            mounts,
            script,
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
        let name = steps.next(&instruction.text, Some(state));
        self.push(state, name, instruction.span, Operation::Exec(op), inputs);
        state.layer_row(history);
        Ok(())
    }

    fn insecure(&self, run: &Run) -> Lower<bool> {
        let Some(word) = &run.security else {
            return Ok(false);
        };
        match word.value.as_str() {
            "sandbox" => Ok(false),
            "insecure" if self.settings.run.allow_insecure => Ok(true),
            "insecure" => {
                let error = self.error(
                    "security-insecure",
                    word.span,
                    "RUN --security=insecure is not allowed in this build",
                );
                Err(Box::new(error.with_help(
                    "pass `--allow security.insecure` to the build to allow it",
                )))
            }
            other => {
                let error = self.error(
                    "unknown-security",
                    word.span,
                    format!("`{other}` is not a security mode of RUN"),
                );
                let near = nearest(other, ["sandbox", "insecure"]);
                Err(Box::new(error.with_help(near.map_or_else(
                    || "use `sandbox` or `insecure`".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ))))
            }
        }
    }

    /// The mounts, and the vertices that their files come from.
    fn mounts(
        &mut self,
        state: &StageState,
        instruction: &Instruction,
        run: &Run,
        from: &[&Origin],
        states: &HashMap<usize, StageState>,
    ) -> Lower<(Vec<ExecMount>, Vec<VertexId>)> {
        let mut from = from.iter();
        let mut inputs = Inputs {
            base: usize::from(state.vertex.is_some()),
            vertices: Vec::new(),
        };
        let mut mounts = Vec::new();
        let mut agents = 0;
        for word in &run.mounts {
            let mount = mount::parse(self.source, word, &|word| self.expand(state, word))?;
            let origin = mount::from_word(word).and_then(|_| from.next().copied());
            let absolute = |target: &String| join(state.workdir(), target);
            let (mut cache_id, mut files) = (String::new(), None);
            let target = match &mount.kind {
                MountKind::Bind { target, source, .. } => {
                    files = Some(self.mount_files(
                        instruction,
                        &mount,
                        origin,
                        source.as_ref(),
                        states,
                        &mut inputs,
                    ));
                    Some(absolute(target))
                }
                MountKind::Cache {
                    target, source, id, ..
                } => {
                    cache_id = self.cache_id(id.as_deref(), target);
                    if origin.is_some() {
                        files = Some(self.mount_files(
                            instruction,
                            &mount,
                            origin,
                            source.as_ref(),
                            states,
                            &mut inputs,
                        ));
                    }
                    Some(absolute(target))
                }
                MountKind::Tmpfs { target, .. } => Some(absolute(target)),
                MountKind::Secret { target, .. } => target.as_ref().map(absolute),
                MountKind::Ssh { target, .. } => {
                    agents += 1;
                    let own = || format!("/run/buildkit/ssh_agent.{}", agents - 1);
                    Some(target.as_ref().map_or_else(own, absolute))
                }
            };
            mounts.push(ExecMount {
                mount,
                target,
                cache_id,
                files,
                content: Default::default(),
                cache: Default::default(),
            });
        }
        Ok((mounts, inputs.vertices))
    }

    /// The name of a cache: its id or its target, in the namespace that a build argument sets.
    fn cache_id(&self, id: Option<&str>, target: &str) -> String {
        let id = id.map_or_else(|| clean(target), str::to_owned);
        match self.settings.build_args.get("BUILDKIT_CACHE_MOUNT_NS") {
            Some(namespace) => format!("{namespace}/{id}"),
            None => id,
        }
    }

    fn mount_files(
        &mut self,
        instruction: &Instruction,
        mount: &RunMount,
        origin: Option<&Origin>,
        source: Option<&Word>,
        states: &HashMap<usize, StageState>,
        inputs: &mut Inputs,
    ) -> MountFiles {
        let mut path = SourcePath {
            path: join("", source.map_or("/", |word| &word.value)),
            span: source.map_or(mount.span, |word| word.span),
        };
        match self.source_tree(instruction, origin, states) {
            (SourceTree::Input { name, .. }, vertex) => MountFiles {
                input: vertex.map(|vertex| inputs.add(vertex)),
                place: name,
                whole: path.path == "/",
                path,
            },
            // A copy of what is selected: it is found again by its content, and knows no ignored files.
            (tree, _) => {
                let copy = CopyOp::whole(tree, literal(&path));
                let mut op = self.op(None, path.span, Operation::Copy(copy), true);
                op.cacheable = true;
                let vertex = self.add(op, Vec::new());
                path.path = CopyOp::WHOLE.to_owned();
                MountFiles {
                    input: Some(inputs.add(vertex)),
                    place: "the build context".to_owned(),
                    path,
                    whole: true,
                }
            }
        }
    }

    fn run_network(&self, run: &Run) -> Lower<BuildNetwork> {
        let Some(word) = &run.network else {
            return Ok(self.settings.network);
        };
        match word.value.as_str() {
            "default" => Ok(self.settings.network),
            "none" => Ok(BuildNetwork::None),
            "host" if self.settings.network == BuildNetwork::Host || self.settings.run.allow_host_network => {
                Ok(BuildNetwork::Host)
            }
            "host" => {
                let error = self.error(
                    "network-host",
                    word.span,
                    "RUN --network=host is not allowed in this build",
                );
                Err(Box::new(error.with_help(
                    "pass `--allow network.host` to the build to allow it",
                )))
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

    /// The program and its arguments. A lone here-document is the script, a file of its own when it names its
    /// interpreter; several are the shell's to read. Line endings of Windows would be part of every command: they go.
    fn run_line(&self, state: &StageState, run: &Run) -> (Vec<String>, Option<Script>) {
        let text = |heredoc: &Heredoc| heredoc.body.value.replace("\r\n", "\n");
        if let Some(heredoc) = run.script() {
            let text = text(heredoc);
            if text.starts_with("#!") {
                // BuildKit's place.
                let path = format!("/dev/pipes/{}", heredoc.delimiter);
                return (vec![path.clone()], Some(Script { path, text }));
            }
            return (state.shell().into_iter().chain([text]).collect(), None);
        }
        let mut line = state.command_line(&run.command);
        if let (Command::Shell(_), Some(last)) = (&run.command, line.last_mut()) {
            for heredoc in &run.heredocs {
                last.push_str(&format!("\n{}{}", text(heredoc), heredoc.delimiter));
            }
        }
        (line, None)
    }
}

/// The inputs of a RUN besides what it runs on.
struct Inputs {
    base: usize,
    vertices: Vec<VertexId>,
}

impl Inputs {
    /// The number of the input.
    fn add(&mut self, vertex: VertexId) -> usize {
        self.vertices.push(vertex);
        self.base + self.vertices.len() - 1
    }
}

/// A path cleaned as Go's path.Clean does: relative stays relative.
fn clean(path: &str) -> String {
    let absolute = join("", path);
    match path.starts_with('/') {
        true => absolute,
        false => absolute.trim_start_matches('/').to_owned(),
    }
}
