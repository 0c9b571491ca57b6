//! Starting a container: everything that needs the database or many threads is done here, then a shim is spawned.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use plimsoll_linux::CommandExt as _;
use plimsoll_network::{BoundPort, Endpoint, Networks};
use plimsoll_store::Lock;
use tokio::net::UnixStream as AsyncStream;

use crate::client::Attachment;
use crate::containers::{Container, Containers};
use crate::model::{Definition, NetworkMode, Paths};
use crate::protocol::{StartReply, StartRequest};
use crate::{ContainerError, Result, wire};

/// Docker's word for the host as seen from the container, in `--add-host`.
const HOST_GATEWAY: &str = "host-gateway";

/// What is ready when the shim has been spawned.
struct Prepared {
    /// Held until the shim has answered, so that two starts of one container never meet.
    _lock: Lock,
    shim: Child,
    control: UnixStream,
    request: StartRequest,
    fds: Vec<OwnedFd>,
    attached: Option<UnixStream>,
}

impl Containers {
    /// Starts a container that does not run. With `attach` all of its output comes over the returned attachment.
    ///
    /// None when it is running already, or when nobody asked to attach.
    pub async fn start(&self, container: &Container, attach: bool) -> Result<Option<Attachment>> {
        let (this, target) = (self.clone(), container.clone());
        let prepared = tokio::task::spawn_blocking(move || this.prepare(&target, attach))
            .await
            .map_err(|_| ContainerError::Interrupted)??;
        let Some(mut prepared) = prepared else {
            return Ok(None);
        };
        let started = self.hand_over(&mut prepared, container.id()).await;
        if let Err(error) = started {
            // The shim ends by itself after an answer; without one it must not start anything later.
            let _ = prepared.shim.kill();
            let _ = prepared.shim.wait();
            Networks::new(&self.store).release(container.id())?;
            return Err(error);
        }
        prepared
            .attached
            .take()
            .map(|stream| attachment(stream, container.id()))
            .transpose()
    }

    async fn hand_over(&self, prepared: &mut Prepared, id: &str) -> Result<()> {
        let broken = |source| ContainerError::Shim {
            id: id[..12].to_owned(),
            source,
        };
        let control = prepared
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
            Some((StartReply::Started, _)) => Ok(()),
            Some((StartReply::Failed { code, message }, _)) => Err(ContainerError::Start { code, message }),
            None => {
                let text = fs::read_to_string(self.paths(id).shim_log()).unwrap_or_default();
                let text = text.trim();
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

    /// Address, namespace, ports, files, and the shim's process; None when the container runs already.
    fn prepare(&self, container: &Container, attach: bool) -> Result<Option<Prepared>> {
        let id = container.id();
        let paths = self.paths(id);
        let lock = self.lock(id)?;
        if paths.is_supervised() && paths.read_state()?.status.is_alive() {
            return Ok(None);
        }
        paths
            .wait_unsupervised()
            .map_err(ContainerError::file("lock", paths.lock()))?;
        let prepared = self.prepare_locked(container, attach, &paths, lock);
        if prepared.is_err() {
            Networks::new(&self.store).release(id)?;
        }
        prepared.map(Some)
    }

    fn prepare_locked(
        &self,
        container: &Container,
        attach: bool,
        paths: &Paths,
        lock: Lock,
    ) -> Result<Prepared> {
        let definition = &container.definition;
        let bound = bind(definition)?;
        let (endpoint, namespace) = self.connect(definition)?;
        write_files(definition, endpoint.as_ref(), paths)?;
        make_private(paths)?;

        let (mut fds, mut sockets, mut ports) = (Vec::new(), Vec::new(), Vec::new());
        let has_namespace = namespace.is_some();
        fds.extend(namespace);
        let (ours, theirs) = if attach {
            Some(pair()?).unzip()
        } else {
            (None, None)
        };
        fds.extend(theirs.map(OwnedFd::from));
        for (at, port) in bound.into_iter().enumerate() {
            sockets.push(at);
            ports.push(port.published);
            fds.push(port.socket);
        }
        let request = StartRequest {
            id: definition.id.clone(),
            name: container.name.clone(),
            root: self.store.root().to_owned(),
            run: self.store.run().to_owned(),
            endpoint,
            ports,
            sockets,
            has_namespace,
            has_client: attach,
        };
        let (control, theirs) = pair()?;
        let shim = self.spawn(paths, &definition.id, theirs)?;
        Ok(Prepared {
            _lock: lock,
            shim,
            control,
            request,
            fds,
            attached: ours,
        })
    }

    /// A place on the bridge and a namespace that is connected there.
    fn connect(&self, definition: &Definition) -> Result<(Option<Endpoint>, Option<OwnedFd>)> {
        if definition.network != NetworkMode::Bridge {
            return Ok((None, None));
        }
        let networks = Networks::new(&self.store);
        let endpoint = networks.allocate(&networks.default_bridge()?, &definition.id)?;
        let namespace = plimsoll_network::namespace()?;
        plimsoll_network::connect(namespace.as_fd(), &endpoint)?;
        Ok((Some(endpoint), Some(namespace)))
    }

    /// The shim inherits its control socket and nothing else: no terminal, no environment, no session.
    fn spawn(&self, paths: &Paths, id: &str, control: UnixStream) -> Result<Child> {
        let log_path = paths.shim_log();
        let log = File::create(&log_path).map_err(ContainerError::file("make", &log_path))?;
        let log_too = log.try_clone().map_err(ContainerError::file("make", &log_path))?;
        Command::new(&self.program)
            .args(["shim", &id[..12]])
            .env_clear()
            // For nft.
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(OwnedFd::from(control))
            .stdout(log)
            .stderr(log_too)
            .new_session()
            .spawn()
            .map_err(ContainerError::file("run", &self.program))
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

/// Host and `none` networks publish nothing; Docker discards their ports, too.
fn bind(definition: &Definition) -> Result<Vec<BoundPort>> {
    if definition.network != NetworkMode::Bridge {
        return Ok(Vec::new());
    }
    let mut bound = Vec::new();
    for port in &definition.ports {
        bound.extend(plimsoll_network::bind(port)?);
    }
    Ok(bound)
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

/// Writes the container's own /etc/hosts, resolv.conf and hostname. In place: a mount shows the file, not the name.
fn write_files(definition: &Definition, endpoint: Option<&Endpoint>, paths: &Paths) -> Result<()> {
    let write = |path: camino::Utf8PathBuf, text: String| {
        fs::write(&path, text).map_err(ContainerError::file("write", &path))
    };
    let base = match definition.network {
        NetworkMode::Host => fs::read_to_string("/etc/hosts").unwrap_or_else(|_| LOOPBACK.to_owned()),
        _ => LOOPBACK.to_owned(),
    };
    write(paths.hosts(), hosts(&base, definition, endpoint))?;
    let resolver = match definition.network {
        NetworkMode::Bridge => plimsoll_network::resolv_conf(),
        _ => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    write(paths.resolv_conf(), resolver)?;
    write(paths.hostname(), format!("{}\n", definition.spec.hostname))
}

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                        ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

fn hosts(base: &str, definition: &Definition, endpoint: Option<&Endpoint>) -> String {
    let mut text = base.to_owned();
    let gateway = endpoint.map_or(Ipv4Addr::LOCALHOST.into(), |endpoint| endpoint.network.ipv4.gateway);
    for (name, address) in &definition.extra_hosts {
        let address = if address == HOST_GATEWAY {
            gateway.to_string()
        } else {
            address.clone()
        };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if let Some(endpoint) = endpoint {
        let hostname = &definition.spec.hostname;
        let short = hostname.split('.').next().filter(|short| short != hostname);
        let alias = short.map(|short| format!(" {short}")).unwrap_or_default();
        text.push_str(&format!("{}\t{hostname}{alias}\n", endpoint.address));
    }
    text
}
