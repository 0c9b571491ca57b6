//! Networks for RUN: ready namespaces that steps of one build take in turn.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex};

use camino::Utf8PathBuf;
use plimsoll_network::{Endpoint, Network, NetworkError, Networks, namespace, resolv_conf};
use plimsoll_runtime::{Mount, MountKind};
use plimsoll_store::Store;

use crate::error::OpError;

/// `--network` of a build or of a RUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildNetwork {
    /// A namespace of its own on the default bridge.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// As an address of `--add-host`: the host, seen from the default bridge.
const HOST_GATEWAY: &str = "host-gateway";

/// Namespaces on the default bridge, made when first needed and used again by later steps.
pub(crate) struct NetworkPool {
    state: Arc<Pool>,
    /// Holds the files that every RUN sees as /etc/hosts and /etc/resolv.conf.
    folder: Utf8PathBuf,
}

struct Pool {
    store: Store,
    /// Under which the addresses of this build are allocated.
    owner: String,
    bridge: tokio::sync::OnceCell<Network>,
    idle: Mutex<Vec<(OwnedFd, Endpoint)>>,
    next: Mutex<u32>,
    taken: Mutex<BTreeSet<String>>,
}

/// A namespace in use; goes back when dropped.
pub(crate) struct Lent {
    pool: Arc<Pool>,
    ready: Option<(OwnedFd, Endpoint)>,
}

const NOT_POISONED: &str = "no holder of this lock panics";

impl NetworkPool {
    pub(crate) fn new(store: &Store, owner: String, folder: Utf8PathBuf) -> Self {
        let state = Pool {
            store: store.clone(),
            owner,
            bridge: tokio::sync::OnceCell::new(),
            idle: Mutex::default(),
            next: Mutex::default(),
            taken: Mutex::default(),
        };
        Self {
            state: Arc::new(state),
            folder,
        }
    }

    /// Lends a namespace that no other step uses at the moment.
    pub(crate) async fn take(&self) -> Result<Lent, OpError> {
        let pool = self.state.clone();
        let idle = pool.idle.lock().expect(NOT_POISONED).pop();
        let ready = match idle {
            Some(ready) => ready,
            None => {
                let bridge = pool.bridge().await?.clone();
                let pool = pool.clone();
                crate::op::blocking(move || pool.make(&bridge)).await?
            }
        };
        Ok(Lent {
            pool,
            ready: Some(ready),
        })
    }

    /// /etc/hosts and /etc/resolv.conf, as files of this build.
    pub(crate) async fn mounts(
        &self,
        hostname: &str,
        add_hosts: &[(String, String)],
    ) -> Result<Vec<Mount>, OpError> {
        let mut hosts =
            format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for (name, address) in add_hosts {
            let address = match address.as_str() {
                HOST_GATEWAY => self.state.bridge().await?.gateway().to_string(),
                address => address.to_owned(),
            };
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        let files = [
            ("hosts", "/etc/hosts", hosts),
            ("resolv.conf", "/etc/resolv.conf", resolv_conf()),
        ];
        let mount = |(name, target, text): (&str, &str, String)| {
            let path = self.folder.join(name);
            if !path.exists() {
                std::fs::write(&path, text).map_err(OpError::io("write", path.as_std_path()))?;
            }
            Ok(Mount {
                kind: MountKind::Bind,
                source: path.into_std_path_buf(),
                target: target.into(),
                read_only: true,
                options: Vec::new(),
            })
        };
        files.into_iter().map(mount).collect()
    }
}

async fn bridge(store: Store) -> Result<Network, OpError> {
    crate::op::blocking(move || Ok(Networks::new(&store).default_bridge()?)).await
}

impl Pool {
    async fn bridge(&self) -> Result<&Network, OpError> {
        self.bridge.get_or_try_init(|| bridge(self.store.clone())).await
    }

    fn make(&self, bridge: &Network) -> Result<(OwnedFd, Endpoint), OpError> {
        let owner = {
            let mut next = self.next.lock().expect(NOT_POISONED);
            *next += 1;
            format!("{}-{next}", self.owner)
        };
        let made = || -> Result<_, NetworkError> {
            let networks = Networks::new(&self.store);
            let endpoint = networks.allocate(bridge, &owner)?;
            self.taken.lock().expect(NOT_POISONED).insert(owner.clone());
            let namespace = namespace()?;
            networks.connect(namespace.as_fd(), &endpoint)?;
            Ok((namespace, endpoint))
        };
        Ok(made()?)
    }
}

impl Drop for Pool {
    /// Gives the addresses back. What a killed build leaves is swept by the next.
    fn drop(&mut self) {
        let networks = Networks::new(&self.store);
        for owner in self.taken.get_mut().expect(NOT_POISONED).iter() {
            if let Err(error) = networks.release(owner) {
                tracing::warn!(%error, owner, "cannot release the address of a build");
            }
        }
    }
}

impl Lent {
    /// A descriptor of the namespace for the runner.
    pub(crate) fn namespace(&self) -> Result<OwnedFd, OpError> {
        let (namespace, _) = self.ready.as_ref().expect("taken away only by drop");
        namespace
            .try_clone()
            .map_err(OpError::io("duplicate", "network namespace"))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool
            .idle
            .lock()
            .expect(NOT_POISONED)
            .extend(self.ready.take());
    }
}
