//! RUN.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use plimsoll_oci::{Digest, Hasher, Platform};
use plimsoll_progress::Task;
use plimsoll_runtime::{
    ContainerSpec, Emulator, Exit, Mount, MountKind, NetworkNamespace, Rootfs, RunOnce, Stream,
    place_of_group,
};
use plimsoll_store::ActiveSnapshot;

use super::mount::cache::HeldCache;
use super::mount::mask::Mask;
use super::mount::{self, ExecMount, Prepared};
use super::{Output, Services, blocking, hash};
use crate::BuildNetwork;
use crate::emulate::{self, Runs};
use crate::error::OpError;
use crate::run_options::Wreck;

/// What the sandbox is called from inside: BuildKit's name.
pub(crate) const HOSTNAME: &str = "buildkitsandbox";
/// Lines of output that an error repeats.
const TAIL_LINES: usize = 10;
/// Longer lines are cut in the error; the whole is in the log.
const TAIL_LINE_BYTES: usize = 2048;

/// Runs a program on the stage's files.
pub(crate) struct ExecOp {
    /// As errors show it.
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    /// ENV, and behind it the ARGs that are seen.
    pub(crate) env: Vec<String>,
    /// So many of these are ARGs. Not in the key.
    pub(crate) args_seen: usize,
    /// In the environment, not in the key.
    pub(crate) proxy_env: Vec<String>,
    pub(crate) cwd: String,
    /// What its programs are for. Not in the key: the files are.
    pub(crate) platform: Platform,
    pub(crate) user: String,
    /// Name of the sandbox; not in the key.
    pub(crate) hostname: String,
    pub(crate) network: BuildNetwork,
    /// `--security=insecure`.
    pub(crate) insecure: bool,
    pub(crate) add_hosts: Vec<(String, String)>,
    /// Whether the first input is what it runs on; the others are for mounts.
    pub(crate) on_base: bool,
    pub(crate) mounts: Vec<ExecMount>,
    /// A here-document that names its interpreter.
    pub(crate) script: Option<Script>,
}

/// A file that is there to be run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Where; absolute.
    pub(crate) path: String,
    pub(crate) text: String,
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
        hasher.field(format!("{:?} {}", self.network, self.insecure));
        self.add_hosts
            .iter()
            .for_each(|(name, address)| hasher.field(format!("{name}={address}")));
        hasher.field(self.script.as_ref().map_or("", |script| &script.text));
        self.mounts.iter().for_each(|mount| mount.hash(&mut hasher));
        hasher.finish()
    }

    /// The base's content, and of what is mounted just the files selected.
    pub(super) async fn content_key(
        &self,
        services: &Services,
        inputs: &[Output],
    ) -> Result<Digest, OpError> {
        let mut digests: Vec<Digest> = self.base(inputs).map(|base| base.content).into_iter().collect();
        digests.extend(mount::contents(&self.mounts, services, inputs).await?);
        Ok(hash("inputs", &digests))
    }

    fn base<'a>(&self, inputs: &'a [Output]) -> Option<&'a Output> {
        inputs.first().filter(|_| self.on_base)
    }

    pub(super) async fn run(
        &self,
        services: &Services,
        inputs: &[Output],
        caches: &[HeldCache],
        task: &Task,
    ) -> Result<Output, OpError> {
        let snapshots = services.store.snapshots();
        let parent = self.base(inputs);
        let active = snapshots.prepare(parent.map(|parent| parent.snapshot))?;
        let folder = services.folder.join(active.id().to_string());
        let mut prepared = mount::prepare(&self.mounts, services, inputs, caches, folder.as_std_path())?;
        if let Some(script) = &self.script {
            prepared.mounts.push(script.write(folder.as_std_path())?);
        }
        let mut record = Record::new(&prepared.secrets, task);
        let ended = self.exec(services, &active, prepared, &mut record).await;
        let tail = record.finish();
        let log = services.journal.log(task.id());
        services.store.discard(&folder)?;
        let code = match ended {
            Ok(Exit::Code(0)) => None,
            Ok(exit) => Some(exit.code()),
            Err(error) => return Err(error),
        };
        if let Some(code) = code {
            self.keep_wreck(services, active, caches)?;
            return Err(OpError::Exit {
                command: self.command.clone(),
                code,
                tail,
                log,
            });
        }
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

    /// Leaves the files for a look at them, when somebody asked for it and no other step failed before.
    fn keep_wreck(
        &self,
        services: &Services,
        active: ActiveSnapshot,
        caches: &[HeldCache],
    ) -> Result<(), OpError> {
        let Some(place) = services.run.wreck.as_ref().filter(|place| place.get().is_none()) else {
            return Ok(());
        };
        let cache = |mount: &ExecMount| {
            let held = caches.iter().find(|cache| cache.serves(mount))?;
            Some((held.directory.clone(), mount.target.as_ref()?.into()))
        };
        let wreck = Wreck {
            snapshot: services.store.snapshots().commit(active)?,
            env: self.env.iter().chain(&self.proxy_env).cloned().collect(),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            caches: self.mounts.iter().filter_map(cache).collect(),
        };
        // Of two that fail at the same moment one is enough.
        let _ = place.set(wreck);
        Ok(())
    }

    async fn exec(
        &self,
        services: &Services,
        active: &ActiveSnapshot,
        mut prepared: Prepared,
        record: &mut Record<'_>,
    ) -> Result<Exit, OpError> {
        let emulator = self.emulator(services, &mut prepared)?;
        let network = match self.network {
            BuildNetwork::Default => Some(services.network.take().await?),
            BuildNetwork::None | BuildNetwork::Host => None,
        };
        let rootfs = Rootfs {
            lowers: active.lowers().to_vec(),
            upper: active.upper().to_owned(),
            work: active.work().to_owned(),
        };
        let request = RunOnce {
            backing: std::mem::take(&mut prepared.backing),
            spec: self.spec(services, active, &mut prepared).await?,
            rootfs,
            netns: network.as_ref().map(|network| network.namespace()).transpose()?,
            emulator,
        };
        let mut output = |stream: Stream, data: &[u8]| record.push(stream, data);
        let exit = services.runtime.run_once(request, &mut output).await;
        exit.map_err(|source| OpError::Start {
            command: self.command.clone(),
            source: Box::new(source),
        })
    }

    /// What runs programs of another processor. One that must be found in the step is laid there.
    fn emulator(&self, services: &Services, prepared: &mut Prepared) -> Result<Option<Emulator>, OpError> {
        match emulate::runs(&self.platform, &services.run.emulators)? {
            Runs::ByItself => Ok(None),
            Runs::By(emulator) => Ok(Some(emulator)),
            Runs::Needing(program) => {
                prepared.mounts.push(Mount {
                    kind: MountKind::Bind,
                    source: program.clone(),
                    target: program,
                    read_only: true,
                    options: Vec::new(),
                });
                Ok(None)
            }
        }
    }

    async fn spec(
        &self,
        services: &Services,
        active: &ActiveSnapshot,
        prepared: &mut Prepared,
    ) -> Result<ContainerSpec, OpError> {
        let instance = services.store.instance();
        let id = format!("{instance:016x}{:016x}", active.id().0);
        let mut mounts = services.network.mounts(&self.hostname, &self.add_hosts).await?;
        // What the Dockerfile mounts there takes the place of ours.
        mounts.retain(|mount| !prepared.mounts.iter().any(|other| other.target == mount.target));
        mounts.append(&mut prepared.mounts);
        let env = self.env.iter().chain(&self.proxy_env).chain(&prepared.env);
        Ok(ContainerSpec {
            cgroup: place_of_group(
                instance,
                &format!("build-{id}"),
                services.run.cgroup_parent.as_deref(),
            )
            .map_err(|source| OpError::Start {
                command: self.command.clone(),
                source: Box::new(source),
            })?,
            id,
            hostname: self.hostname.clone(),
            args: self.args.clone(),
            env: env.cloned().collect(),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            mounts,
            privileged: self.insecure,
            ulimits: services.run.ulimits.clone(),
            resources: services.run.resources.clone(),
            shm_size: services.run.shm_size,
            network: match self.network {
                BuildNetwork::Default => NetworkNamespace::Given,
                BuildNetwork::None => NetworkNamespace::None,
                BuildNetwork::Host => NetworkNamespace::Host,
            },
            ..ContainerSpec::default()
        })
    }
}

impl Script {
    fn write(&self, folder: &Path) -> Result<Mount, OpError> {
        let source = folder.join("script");
        std::fs::create_dir_all(folder).map_err(OpError::io("make", folder))?;
        std::fs::write(&source, &self.text).map_err(OpError::io("write", &source))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&source, mode).map_err(OpError::io("set mode of", &source))?;
        Ok(Mount {
            kind: MountKind::Bind,
            source,
            target: self.path.clone().into(),
            read_only: true,
            options: Vec::new(),
        })
    }
}

/// What a program prints, on its way to the user, the log on disk and the error. Secrets are covered in all of them.
struct Record<'a> {
    task: &'a Task,
    masks: [Mask; 2],
    tail: Tail,
}

impl<'a> Record<'a> {
    fn new(secrets: &[Vec<u8>], task: &'a Task) -> Self {
        Self {
            task,
            masks: [Mask::new(secrets), Mask::new(secrets)],
            tail: Tail::default(),
        }
    }

    fn push(&mut self, stream: Stream, data: &[u8]) {
        let number = if stream == Stream::Stdout { 1 } else { 2 };
        let shown = self.masks[usize::from(number) - 1].cover(data);
        self.show(number, &shown);
    }

    fn show(&mut self, number: u8, shown: &[u8]) {
        if !shown.is_empty() {
            self.tail.push(shown);
            self.task.log(number, shown);
        }
    }

    /// The last lines.
    fn finish(mut self) -> Vec<String> {
        for number in [1, 2] {
            let rest = self.masks[usize::from(number) - 1].finish();
            self.show(number, &rest);
        }
        self.tail.finish()
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
            args_seen: 0,
            proxy_env: vec![format!("HTTP_PROXY={proxy}")],
            cwd: "/".to_owned(),
            platform: Platform::host(),
            user: String::new(),
            hostname: HOSTNAME.to_owned(),
            network: BuildNetwork::Default,
            insecure: false,
            add_hosts: Vec::new(),
            on_base: true,
            mounts: Vec::new(),
            script: None,
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
