//! Starting a container: everything that needs the database or many threads is done here, then a shim is spawned.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use plimsoll_linux::CommandExt as _;
use plimsoll_network::{Networks, PublishedPort};
use plimsoll_store::Lock;
use tokio::net::UnixStream as AsyncStream;

use crate::client::Attachment;
use crate::containers::{Container, Containers};
use crate::model::{NetworkMode, Paths};
use crate::network::{self, Namespace, write_files};
use crate::protocol::{StartReply, StartRequest};
use crate::volumes::Volumes;
use crate::{ContainerError, Result, wire};

/// What is ready when the shim has been spawned.
struct Prepared {
    /// Held until the shim has answered, so that two starts of one container never meet.
    _lock: Lock,
    request: StartRequest,
    fds: Vec<OwnedFd>,
    attached: Option<UnixStream>,
}

/// A container whose program was started.
pub struct Started {
    /// Where somebody asked to attach.
    pub attachment: Option<Attachment>,
    /// What was asked for and could not be given, as limits that the host forbids to raise.
    pub warnings: Vec<String>,
}

impl Containers {
    /// Starts a container that does not run. With `attach` all of its output comes over the returned attachment.
    ///
    /// None when it is running already, or when nobody asked to attach.
    pub async fn start(&self, container: &Container, attach: bool) -> Result<Option<Attachment>> {
        let supervisor = self.supervisor(container.id())?;
        let started = self.start_with(supervisor, container, attach).await?;
        Ok(started.and_then(|started| started.attachment))
    }

    /// As [`Containers::start`], with a supervisor that was started before; None when it is running already.
    pub async fn start_with(
        &self,
        mut supervisor: Supervisor,
        container: &Container,
        attach: bool,
    ) -> Result<Option<Started>> {
        plimsoll_runtime::warm_control_groups();
        let shared = match &container.definition.network {
            NetworkMode::Container(id) => Some(self.namespace_of(id).await?),
            _ => None,
        };
        let (this, target) = (self.clone(), container.clone());
        let namespace = supervisor.namespace.take();
        let conditions = std::mem::take(&mut supervisor.conditions);
        let prepared = tokio::task::spawn_blocking(move || {
            this.prepare(&target, attach, shared, namespace, &conditions)
        })
        .await
        .map_err(|_| ContainerError::Interrupted)??;
        let Some(mut prepared) = prepared else {
            return Ok(None);
        };
        let started = self
            .hand_over(&mut supervisor, &mut prepared, container.id())
            .await;
        let warnings = match started {
            Ok(warnings) => warnings,
            Err(error) => {
                // The shim ends by itself after an answer; without one it must not start anything later.
                let _ = supervisor.process.kill();
                let _ = supervisor.process.wait();
                self.undo(container)?;
                return Err(error);
            }
        };
        let stream = prepared.attached.take();
        let attachment = stream
            .map(|stream| attachment(stream, container.id()))
            .transpose()?;
        Ok(Some(Started { attachment, warnings }))
    }

    /// Takes away what a supervisor left that did not get far. The caller holds the container's lock.
    fn undo(&self, container: &Container) -> Result<()> {
        // It has cleaned up after itself unless it was killed.
        self.put_right_if_needed(container)?;
        Ok(Networks::new(&self.store).park(container.id())?)
    }

    async fn hand_over(
        &self,
        supervisor: &mut Supervisor,
        prepared: &mut Prepared,
        id: &str,
    ) -> Result<Vec<String>> {
        let broken = |source| ContainerError::Shim {
            id: id[..12].to_owned(),
            source,
        };
        let control = supervisor
            .control
            .try_clone()
            .and_then(into_async)
            .map_err(broken)?;
        let (sender, mut receiver) = wire::split(control);
        let fds: Vec<_> = prepared.fds.iter().map(AsFd::as_fd).collect();
        // A shim that could not even begin has closed its end: what it wrote says more than a broken pipe.
        let sent = sender.message(&prepared.request, &fds).await;
        drop(fds);
        prepared.fds.clear();
        let reply = match sent {
            Ok(()) => receiver.message::<StartReply>().await.unwrap_or(None),
            Err(_) => None,
        };
        match reply {
            Some((StartReply::Started { warnings }, _)) => Ok(warnings),
            Some((StartReply::Failed { code, message }, _)) => Err(ContainerError::Start { code, message }),
            None => {
                let text = supervisor.words(&self.paths(id));
                let detail = if text.is_empty() {
                    String::new()
                } else {
                    format!(": {text}")
                };
                Err(ContainerError::ShimDied {
                    id: id[..12].to_owned(),
                    detail,
                })
            }
        }
    }

    /// Address, namespace, ports, files, and the shim's process; None when the container runs already, or is not to.
    fn prepare(
        &self,
        container: &Container,
        attach: bool,
        shared: Option<OwnedFd>,
        namespace: Option<Namespace>,
        conditions: &Conditions,
    ) -> Result<Option<Prepared>> {
        let id = container.id();
        let paths = self.paths(id);
        let lock = self.lock(id)?;
        if paths.is_supervised() && paths.read_state()?.status.is_alive() {
            return Ok(None);
        }
        if conditions.due && !paths.read_state()?.restart_due {
            return Ok(None);
        }
        paths
            .wait_unsupervised()
            .map_err(ContainerError::file("lock", paths.lock()))?;
        self.put_right_if_needed(container)?;
        let definition = &container.definition;
        let network = paths.read_state().and_then(|state| {
            self.prepare_network(
                definition,
                shared,
                namespace,
                (&state.last_ports, &conditions.held),
            )
        });
        let prepared =
            network.and_then(|network| self.prepare_locked(container, attach, network, &paths, lock));
        if prepared.is_err() {
            Networks::new(&self.store).park(id)?;
        }
        prepared.map(Some)
    }

    fn prepare_locked(
        &self,
        container: &Container,
        attach: bool,
        network: network::Prepared,
        paths: &Paths,
        lock: Lock,
    ) -> Result<Prepared> {
        let definition = &container.definition;
        self.give_again(&definition.id, &definition.files)?;
        Volumes(&self.store).mount_again(&definition.mounts)?;
        write_files(definition, &network.view, paths)?;
        make_private(paths)?;

        let held = lock.as_fd().try_clone_to_owned();
        let held = held.map_err(ContainerError::file("duplicate", "the lock"))?;
        let (mut fds, mut ports) = (vec![held], Vec::new());
        let (has_namespace, has_names) = (network.namespace.is_some(), network.names.is_some());
        fds.extend(network.namespace);
        let (ours, theirs) = if attach {
            Some(pair()?).unzip()
        } else {
            (None, None)
        };
        fds.extend(theirs.map(OwnedFd::from));
        fds.extend(network.names.into_iter().flat_map(|names| [names.udp, names.tcp]));
        for port in network.ports {
            ports.push(port.published);
            fds.push(port.socket);
        }
        let request = StartRequest {
            id: definition.id.clone(),
            name: container.name.clone(),
            root: self.store.root().to_owned(),
            run: self.store.run().to_owned(),
            network: network.view,
            ports,
            has_lock: true,
            has_namespace,
            has_client: attach,
            has_names,
        };
        Ok(Prepared {
            _lock: lock,
            request,
            fds,
            attached: ours,
        })
    }

    /// Starts a supervisor for the container that will be called `id`, while that is still being made.
    ///
    /// It inherits its control socket and a log in memory, and nothing else: no terminal, no environment, no session.
    pub fn supervisor(&self, id: &str) -> Result<Supervisor> {
        let (control, theirs) = pair()?;
        let failed = |source: std::io::Error| ContainerError::file("run", &self.program)(source);
        let log = rustix::fs::memfd_create("shim.log", rustix::fs::MemfdFlags::CLOEXEC);
        let log = File::from(log.map_err(|error| failed(error.into()))?);
        let outputs = (log.try_clone().map_err(failed)?, log.try_clone().map_err(failed)?);
        // Held until the program is there.
        let copy = plimsoll_runtime::read_only_program(&self.program);
        let program = copy.as_ref().map_or(self.program.clone(), |copy| copy.path());
        let process = Command::new(program)
            .args(["shim", id.get(..12).unwrap_or(id)])
            .env_clear()
            // For nft.
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(OwnedFd::from(theirs))
            .stdout(outputs.0)
            .stderr(outputs.1)
            .new_session()
            .spawn()
            .map_err(failed)?;
        Ok(Supervisor {
            process,
            control,
            log,
            namespace: None,
            conditions: Conditions::default(),
        })
    }

    /// Starts a supervisor for a container that is to start soon, and makes what else takes time and is in nobody's way: no
    /// lock is held meanwhile, no address and no port taken.
    pub fn ready_supervisor(&self, id: &str, mode: &NetworkMode) -> Result<Supervisor> {
        let mut supervisor = self.supervisor(id)?;
        supervisor.namespace = Namespace::begin(mode)?;
        Ok(supervisor)
    }
}

/// A process that waits to be told which container to start. It ends when this is dropped without having been used.
pub struct Supervisor {
    process: Child,
    control: UnixStream,
    /// What it says before it has the container's own log.
    log: File,
    /// The container's, where it was made already.
    namespace: Option<Namespace>,
    pub(crate) conditions: Conditions,
}

/// How a container is to be started.
#[derive(Default)]
pub(crate) struct Conditions {
    /// Ports that another container has so far: without these.
    pub(crate) held: Vec<PublishedPort>,
    /// Only if its restart policy still wants it: nobody has started or stopped it meanwhile.
    pub(crate) due: bool,
}

impl Supervisor {
    /// What it said last, for when it has died.
    fn words(&mut self, paths: &Paths) -> String {
        use std::io::{Read as _, Seek as _};
        let mut text = fs::read_to_string(paths.shim_log()).unwrap_or_default();
        if text.trim().is_empty() && self.log.rewind().is_ok() {
            let _ = self.log.read_to_string(&mut text);
        }
        text.trim().to_owned()
    }
}

fn pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().map_err(ContainerError::file("make", "a pair of sockets"))
}

fn into_async(stream: UnixStream) -> std::io::Result<AsyncStream> {
    stream.set_nonblocking(true)?;
    AsyncStream::from_std(stream)
}

fn attachment(stream: UnixStream, id: &str) -> Result<Attachment> {
    let stream = into_async(stream).map_err(|source| ContainerError::Shim {
        id: id[..12].to_owned(),
        source,
    })?;
    Ok(Attachment::new(stream, id))
}

/// Makes the run-time folder, for root's eyes only: whoever reaches the socket commands the container.
fn make_private(paths: &Paths) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&paths.run)
        .and_then(|()| fs::set_permissions(&paths.run, fs::Permissions::from_mode(0o700)))
        .map_err(ContainerError::file("make", &paths.run))
}
