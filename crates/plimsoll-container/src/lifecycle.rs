//! What happens to a container from outside: another name, other limits, a supervisor that was killed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_linux::CommandExt as _;
use plimsoll_network::{NetworkError, Networks};
use plimsoll_runtime::Resources;
use plimsoll_store::EventLog;
use rusqlite::{OptionalExtension as _, params};

use crate::client::answered;
use crate::containers::{Container, Containers};
use crate::events::Witness;
use crate::model::{Definition, State, Status, write_json};
use crate::protocol::{Reply, Request};
use crate::restart::RestartPolicy;
use crate::{ContainerError, Result, leftovers, names, restore};

/// How long somebody else may take to start a container, or to clean up after it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Docker refuses less: nothing would start.
const LEAST_MEMORY: i64 = 6 << 20;

/// What `update` changes; what is not set stays.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Limits: those that are set.
    pub resources: Resources,
    /// Restart policy.
    pub restart: Option<RestartPolicy>,
}

impl Containers {
    /// Writes down that something happened to a container.
    pub(crate) fn event<const N: usize>(
        &self,
        container: &Container,
        action: &str,
        more: [(&str, String); N],
    ) {
        let log = self.store.events();
        witness(&log, container).container(action, more);
    }

    /// Says that a container was stopped and started again because somebody wanted that.
    pub fn restarted(&self, container: &Container) {
        self.event(container, "restart", []);
    }

    /// Gives a container another name.
    pub async fn rename(&self, container: &Container, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if !names::is_valid(name) {
            return Err(ContainerError::InvalidName(name.to_owned()));
        }
        if name == container.name {
            return Err(ContainerError::Option(
                "renaming a container with the same name as its current name".to_owned(),
            ));
        }
        self.store.db().write(|transaction| -> Result<()> {
            let taken = transaction
                .query_row("SELECT id FROM container WHERE name = ?1", [name], |row| {
                    row.get(0)
                })
                .optional()?;
            if let Some(id) = taken {
                let name = name.to_owned();
                return Err(ContainerError::NameInUse { name, id });
            }
            transaction.execute(
                "UPDATE container SET name = ?2 WHERE id = ?1",
                params![container.id(), name],
            )?;
            Ok(())
        })?;
        Networks::new(&self.store).renamed(container.id())?;
        let request = Request::Rename {
            name: name.to_owned(),
        };
        not_running_is_fine(self.tell(container, &request).await)?;
        let renamed = Container {
            name: name.to_owned(),
            ..container.clone()
        };
        self.event(&renamed, "rename", [("oldName", format!("/{}", container.name))]);
        Ok(())
    }

    /// Changes limits and restart policy, of a running container at once. Returns what could not be had.
    pub async fn update(&self, container: &Container, changes: &Changes) -> Result<Vec<String>> {
        if container.definition.auto_remove
            && changes.restart.is_some_and(|policy| policy != RestartPolicy::No)
        {
            return Err(ContainerError::Option(
                "Restart policy cannot be updated because AutoRemove is enabled for the container".to_owned(),
            ));
        }
        let _lock = self.lock(container.id())?;
        let mut definition = container.definition.clone();
        definition.spec.resources = merged(&definition.spec.resources, &changes.resources)?;
        if let Some(policy) = changes.restart {
            definition.restart = policy;
        }
        let request = Request::Update {
            resources: Box::new(definition.spec.resources.clone()),
        };
        // First where the kernel may refuse.
        let warnings = match self.ask(container, &request).await {
            Ok(Reply::Updated { warnings }) => warnings,
            Ok(other) => return Err(answered(other, container.short_id())),
            Err(ContainerError::NotRunning(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let path = self.paths(container.id()).definition();
        write_json(path.as_std_path(), &definition)?;
        not_running_is_fine(self.tell(container, &Request::Reload).await)?;
        self.event(container, "update", []);
        Ok(warnings)
    }

    /// Cleans up after a supervisor that died, or whoever came after it: nobody wrote down the end, or gave back what the
    /// container had, or removed one that was made with `--rm`. None when it is gone now.
    pub(crate) fn reconcile(&self, container: Container, has_addresses: bool) -> Result<Option<Container>> {
        let id = container.id().to_owned();
        // Whoever holds it is about to do the same, or to start the container.
        let Some(_lock) = self.claim(&id)? else {
            return match container.is_running() {
                true => self.settled(container),
                false => Ok(Some(container)),
            };
        };
        let container = self.put_right(container, has_addresses)?;
        if !restore::is_over(&container) {
            return Ok(Some(container));
        }
        self.erase(&id, Some(&container.definition), true)?;
        self.event(&container, "destroy", []);
        Ok(None)
    }

    /// What a dead supervisor should have done. The caller holds the container's lock.
    fn put_right(&self, container: Container, has_addresses: bool) -> Result<Container> {
        let paths = self.paths(container.id());
        let state = paths.read_state()?;
        let container = Container { state, ..container };
        leftovers::kill(&container.definition.spec.cgroup);
        if has_addresses {
            self.give_back(&container)?;
        }
        leftovers::clear(&paths);
        match container.is_running() {
            true => self.write_end(container),
            false => Ok(container),
        }
    }

    /// The same for one whose supervisor may have died since it was looked at. The caller holds the container's lock, and
    /// nobody supervises it.
    pub(crate) fn put_right_if_needed(&self, container: &Container) -> Result<()> {
        let paths = self.paths(container.id());
        if paths.runtime().exists() || paths.read_state()?.status.is_alive() {
            self.put_right(container.clone(), true)?;
        }
        Ok(())
    }

    /// As it is when whoever is at it has finished; as it is now where that takes long, or is the caller.
    fn settled(&self, container: Container) -> Result<Option<Container>> {
        let paths = self.paths(container.id());
        let end = Instant::now() + PATIENCE;
        loop {
            if !paths.definition().exists() {
                return Ok(None);
            }
            let state = paths.read_state()?;
            if !state.status.is_alive() || paths.is_supervised() || Instant::now() > end {
                return Ok(Some(Container { state, ..container }));
            }
            if let Some(lock) = self.claim(container.id())? {
                drop(lock);
                return self.reconcile(container, true);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A container that does not run, as it is when whoever starts it at this moment has done so. None when it is gone
    /// then.
    pub fn started_by_others(&self, container: Container) -> Result<Option<Container>> {
        if container.is_running() || self.claim(container.id())?.is_some() {
            return Ok(Some(container));
        }
        drop(self.lock(container.id())?);
        match self.get(container.id()) {
            Err(ContainerError::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Addresses and published ports of a container whose supervisor is dead. Where the packet filter cannot be asked any
    /// more, the rules stay, and a later look finds them.
    fn give_back(&self, container: &Container) -> Result<()> {
        self.retract(&container.definition)?;
        Ok(Networks::new(&self.store).park(container.id())?)
    }

    /// Takes back the published ports of a container whose supervisor is dead.
    fn retract(&self, definition: &Definition) -> Result<()> {
        let needed = !definition.ports.is_empty();
        match needed.then(|| Networks::new(&self.store).retract(&definition.id)) {
            Some(Err(error @ (NetworkError::NoNft | NetworkError::Nft { .. }))) => {
                tracing::warn!(%error, container = definition.id, "cannot take back published ports");
                Ok(())
            }
            Some(done) => Ok(done?),
            None => Ok(()),
        }
    }

    fn write_end(&self, container: Container) -> Result<Container> {
        let state = container.state.clone();
        // One that was paused before its next start had ended already, and keeps its exit code.
        let exit_code = if state.status == Status::Restarting {
            state.exit_code
        } else {
            137
        };
        let policy = container.definition.restart;
        let endpoints = state.endpoints.clone();
        let state = State {
            status: Status::Exited,
            pid: 0,
            exit_code,
            error: "the container's supervisor was killed, and the container with it".to_owned(),
            finished_at: Some(Timestamp::now()),
            endpoints: Vec::new(),
            last_ports: state.ports,
            ports: Vec::new(),
            restart_due: state.status == Status::Restarting || policy.applies(exit_code, state.restart_count),
            ..state
        };
        self.paths(container.id()).write_state(&state)?;
        let container = Container { state, ..container };
        let log = self.store.events();
        let witness = witness(&log, &container);
        witness.moved_out(&endpoints);
        witness.container("die", [("exitCode", exit_code.to_string())]);
        Ok(container)
    }

    /// Starts a container in the background whose supervisor was killed, if its restart policy says so.
    pub fn revive(&self, container: &Container) -> Result<()> {
        if !container.state.restart_due {
            return Ok(());
        }
        Command::new(&self.program)
            .args(["shim", "restore"])
            .arg(self.store.root())
            .arg(self.store.run())
            .arg(container.id())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .new_session()
            .spawn()
            .map_err(ContainerError::file("run", &self.program))?;
        Ok(())
    }

    /// As [`Containers::remove`], for one that may run: it is killed first.
    pub async fn remove_by_force(&self, container: &Container, volumes: bool) -> Result<()> {
        loop {
            let (this, target) = (self.clone(), container.clone());
            let removed = tokio::task::spawn_blocking(move || this.remove(&target, volumes)).await;
            match removed.map_err(|_| ContainerError::Interrupted)? {
                // Perhaps since a moment ago.
                Err(ContainerError::Running(_)) => {
                    self.stop(container, Some(9), None).await?;
                    self.settle(container).await?;
                }
                removed => return removed,
            }
        }
    }

    /// Somebody stops a container that is not running: it is not started again for its policy's sake.
    pub(crate) fn stay_stopped(&self, container: &Container) -> Result<()> {
        if !container.state.restart_due && !container.state.suspended {
            return Ok(());
        }
        let paths = self.paths(container.id());
        let _lock = self.lock(container.id())?;
        let state = paths.read_state()?;
        paths.write_state(&State {
            restart_due: false,
            suspended: false,
            stopped_by_user: true,
            ..state
        })
    }
}

fn witness<'a>(log: &'a EventLog, container: &'a Container) -> Witness<'a> {
    Witness {
        log,
        definition: &container.definition,
        name: &container.name,
    }
}

fn not_running_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(ContainerError::NotRunning(_)) => Ok(()),
        result => result,
    }
}

/// Limits with those over them that are set; Docker's rules for memory and swap.
fn merged(present: &Resources, changes: &Resources) -> Result<Resources> {
    fn text(changed: &str, present: &str) -> String {
        if changed.is_empty() { present } else { changed }.to_owned()
    }
    if changes
        .memory
        .is_some_and(|memory| memory > 0 && memory < LEAST_MEMORY)
    {
        return Err(ContainerError::Option(
            "Minimum memory limit allowed is 6MB".to_owned(),
        ));
    }
    let merged = Resources {
        memory: changes.memory.or(present.memory),
        memory_swap: changes.memory_swap.or(present.memory_swap),
        memory_reservation: changes.memory_reservation.or(present.memory_reservation),
        nano_cpus: changes.nano_cpus.or(present.nano_cpus),
        cpu_shares: changes.cpu_shares.or(present.cpu_shares),
        cpu_quota: changes.cpu_quota.or(present.cpu_quota),
        cpu_period: changes.cpu_period.or(present.cpu_period),
        cpu_rt_runtime: changes.cpu_rt_runtime.or(present.cpu_rt_runtime),
        cpu_rt_period: changes.cpu_rt_period.or(present.cpu_rt_period),
        cpuset_cpus: text(&changes.cpuset_cpus, &present.cpuset_cpus),
        cpuset_mems: text(&changes.cpuset_mems, &present.cpuset_mems),
        blkio_weight: changes.blkio_weight.or(present.blkio_weight),
        pids_limit: changes.pids_limit.or(present.pids_limit),
        ..present.clone()
    };
    if let (Some(memory), Some(swap)) = (changes.memory, merged.memory_swap)
        && changes.memory_swap.is_none()
        && swap > 0
        && memory > swap
    {
        return Err(ContainerError::Option(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                .to_owned(),
        ));
    }
    Ok(merged)
}
