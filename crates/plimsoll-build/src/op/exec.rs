//! RUN.

use std::collections::VecDeque;

use plimsoll_oci::{Digest, Hasher};
use plimsoll_progress::Task;
use plimsoll_runtime::{ContainerSpec, Exit, NetworkNamespace, Rootfs, RunOnce, Stream};
use plimsoll_store::ActiveSnapshot;

use super::{Output, Services, blocking, hash};
use crate::BuildNetwork;
use crate::error::OpError;

/// What the sandbox is called from inside: BuildKit's name.
const HOSTNAME: &str = "buildkitsandbox";
/// Lines of output that an error repeats.
const TAIL_LINES: usize = 10;
/// Longer lines are cut in the error; the whole is in the log.
const TAIL_LINE_BYTES: usize = 2048;

/// Runs a program on the stage's files.
pub(crate) struct ExecOp {
    /// As errors show it.
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<String>,
    /// In the environment, not in the key.
    pub(crate) proxy_env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) user: String,
    pub(crate) network: BuildNetwork,
    pub(crate) add_hosts: Vec<(String, String)>,
}

impl ExecOp {
    pub(super) fn key(&self) -> Digest {
        let mut env = self.env.clone();
        env.sort();
        let mut hasher = Hasher::new();
        hasher.field("exec");
        for list in [&self.args, &env] {
            hasher.field(list.len().to_le_bytes());
            list.iter().for_each(|item| hasher.field(item));
        }
        hasher.field(&self.cwd);
        hasher.field(&self.user);
        hasher.field(format!("{:?}", self.network));
        self.add_hosts
            .iter()
            .for_each(|(name, address)| hasher.field(format!("{name}={address}")));
        hasher.finish()
    }

    pub(super) async fn run(
        &self,
        services: &Services,
        inputs: &[Output],
        task: &Task,
    ) -> Result<Output, OpError> {
        let snapshots = services.store.snapshots();
        let parent = inputs.first();
        let active = snapshots.prepare(parent.map(|parent| parent.snapshot))?;
        self.exec(services, &active, task).await?;
        let store = services.store.clone();
        let before = parent.map_or_else(|| Digest::of("scratch"), |parent| parent.content);
        blocking(move || {
            let diff = store.snapshots().diff_digest(active.upper())?;
            let snapshot = store.snapshots().commit(active)?;
            Ok(Output {
                snapshot,
                content: hash("ran", &[before, diff]),
            })
        })
        .await
    }

    async fn exec(&self, services: &Services, active: &ActiveSnapshot, task: &Task) -> Result<(), OpError> {
        let network = match self.network {
            BuildNetwork::Default => Some(services.network.take().await?),
            BuildNetwork::None | BuildNetwork::Host => None,
        };
        let id = format!("{:016x}{:016x}", services.store.instance(), active.id().0);
        let spec = ContainerSpec {
            cgroup: format!("/plimsoll-{:08x}/build-{id}", services.store.instance()),
            id,
            hostname: HOSTNAME.to_owned(),
            args: self.args.clone(),
            env: self.env.iter().chain(&self.proxy_env).cloned().collect(),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            mounts: services.network.mounts(HOSTNAME, &self.add_hosts)?,
            network: match self.network {
                BuildNetwork::Default => NetworkNamespace::Given,
                BuildNetwork::None => NetworkNamespace::None,
                BuildNetwork::Host => NetworkNamespace::Host,
            },
            ..ContainerSpec::default()
        };
        let rootfs = Rootfs {
            lowers: active.lowers().to_vec(),
            upper: active.upper().to_owned(),
            work: active.work().to_owned(),
        };
        let netns = network.as_ref().map(|network| network.namespace()).transpose()?;
        let mut tail = Tail::default();
        let mut output = |stream: Stream, data: &[u8]| {
            tail.push(data);
            task.log(if stream == Stream::Stdout { 1 } else { 2 }, data);
        };
        let exit = services
            .runtime
            .run_once(
                RunOnce {
                    spec,
                    rootfs,
                    netns,
                    backing: plimsoll_runtime::Backing::default(),
                },
                &mut output,
            )
            .await;
        match exit {
            Ok(Exit::Code(0)) => Ok(()),
            Ok(exit) => Err(OpError::Exit {
                command: self.command.clone(),
                code: exit.code(),
                tail: tail.finish(),
            }),
            Err(source) => Err(OpError::Start {
                command: self.command.clone(),
                source: Box::new(source),
            }),
        }
    }
}

/// The last lines of an output.
#[derive(Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    current: Vec<u8>,
}

impl Tail {
    fn push(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = piece
                .strip_suffix(b"\n")
                .map_or((piece, false), |text| (text, true));
            let room = TAIL_LINE_BYTES.saturating_sub(self.current.len());
            self.current.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(std::mem::take(&mut self.current));
    }

    fn finish(mut self) -> Vec<String> {
        if !self.current.is_empty() {
            self.end_line();
        }
        self.lines
            .iter()
            .map(|line| String::from_utf8_lossy(line).trim_end_matches('\r').to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for number in 0..30 {
            tail.push(format!("line {number}\nand ").as_bytes());
        }
        tail.push(b"the end");
        let lines = tail.finish();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines.first().unwrap(), "and line 21");
        assert_eq!(lines.last().unwrap(), "and the end");
    }

    #[test]
    fn proxies_do_not_enter_the_key() {
        let op = |proxy: &str| ExecOp {
            command: String::new(),
            args: vec!["true".to_owned()],
            env: vec!["B=2".to_owned(), "A=1".to_owned()],
            proxy_env: vec![format!("HTTP_PROXY={proxy}")],
            cwd: "/".to_owned(),
            user: String::new(),
            network: BuildNetwork::Default,
            add_hosts: Vec::new(),
        };
        assert_eq!(op("a").key(), op("b").key());
        assert_ne!(
            op("a").key(),
            ExecOp {
                env: Vec::new(),
                ..op("a")
            }
            .key()
        );
    }
}
