//! The door: all containers of a store.

use std::fs;
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use plimsoll_image::Image;
use plimsoll_network::Networks;
use plimsoll_runtime::{ContainerSpec, ImageTree, Mount, MountKind, Rootfs};
use plimsoll_store::{Entry, Lock, MergedTree, SnapshotId, Store};
use rusqlite::{OptionalExtension as _, params};

use crate::create::{self, CreateOptions, Program};
use crate::model::{
    Definition, ImagePoint, MountPoint, NetworkMode, Paths, State, Status, read_json, write_json,
};
use crate::mounts::{ImageMount, MountRequest, MountSource};
use crate::volumes::{Volumes, below};
use crate::{ContainerError, Result, leftovers, names, restore};

/// The containers of a store. Cheap to clone.
#[derive(Clone)]
pub struct Containers {
    pub(crate) store: Store,
    pub(crate) program: PathBuf,
    /// Whose users a container has where nobody says.
    userns: String,
    /// Where makers of devices describe them.
    device_specs: Vec<Utf8PathBuf>,
}

/// One container, as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name, without Docker's slash.
    pub name: String,
    /// What it is.
    pub definition: Definition,
    /// What it does.
    pub state: State,
}

impl Container {
    /// Returns its id, 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.definition.id
    }

    /// Returns the first twelve digits of its id.
    pub fn short_id(&self) -> &str {
        &self.definition.id[..12]
    }

    /// Returns whether it is supervised: its program runs, is paused, or will be started again.
    pub fn is_running(&self) -> bool {
        self.state.status.is_alive()
    }
}

impl Containers {
    /// Opens the door. `program` is run as `program shim`, the supervisor's role: `/proc/self/exe` but in tests.
    pub fn new(store: &Store, program: impl Into<PathBuf>) -> Self {
        Self {
            store: store.clone(),
            program: program.into(),
            userns: String::new(),
            device_specs: Vec::new(),
        }
    }

    /// Where the makers of devices describe them for new containers; the usual places if empty: see [`crate::DeviceSpecs`].
    pub fn with_device_specs(self, device_specs: Vec<Utf8PathBuf>) -> Self {
        Self { device_specs, ..self }
    }

    /// Whose users new containers have where nobody says so: see [`crate::Isolation::userns`].
    pub fn with_users(self, userns: &str) -> Self {
        let userns = userns.to_owned();
        Self { userns, ..self }
    }

    /// Returns the container of this name, id or unambiguous beginning of an id.
    pub fn get(&self, name: &str) -> Result<Container> {
        let wanted = name.strip_prefix('/').unwrap_or(name);
        let rows = self.rows()?;
        let exact = rows.iter().find(|row| row.id == wanted || row.name == wanted);
        let row = match exact {
            Some(row) => row,
            None => {
                let mut matching = rows
                    .iter()
                    .filter(|row| !wanted.is_empty() && row.id.starts_with(wanted));
                match (matching.next(), matching.next()) {
                    (Some(row), None) => row,
                    (Some(_), Some(_)) => return Err(ContainerError::Ambiguous(wanted.to_owned())),
                    (None, _) => return Err(not_found(wanted, &rows)),
                }
            }
        };
        self.load(row)?.ok_or_else(|| not_found(wanted, &[]))
    }

    /// Returns all containers, the newest first.
    pub fn list(&self) -> Result<Vec<Container>> {
        let mut containers = Vec::new();
        for row in self.rows()? {
            containers.extend(self.load(&row)?);
        }
        Ok(containers)
    }

    /// Returns the containers that were made with a label, the newest first. Labels of images do not count.
    pub fn labelled(&self, name: &str, value: &str) -> Result<Vec<Container>> {
        let rows = self.store.db().read(|connection| -> Result<Vec<Row>> {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM container, json_each(container.labels) AS label
                 WHERE label.key = ?1 AND label.value = ?2 ORDER BY created DESC"
            ))?;
            let rows = statement.query_map([name, value], Row::read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        let mut containers = Vec::new();
        for row in rows {
            containers.extend(self.load(&row)?);
        }
        Ok(containers)
    }

    /// Makes up an id for a container to be made.
    pub fn new_id() -> Result<String> {
        names::random_id().map_err(ContainerError::file("read", "/dev/urandom"))
    }

    /// Makes a container of an image whose top layer is `parent`.
    pub fn create(
        &self,
        image: &Image,
        parent: Option<SnapshotId>,
        options: &CreateOptions,
    ) -> Result<Container> {
        let id = options.id.clone().map_or_else(Self::new_id, Ok)?;
        let _lock = self.lock(&id)?;
        let name = self.claim_name(&id, image, options)?;
        let made = self.make(&id, image, parent, options);
        let definition = match made {
            Ok(definition) => definition,
            Err(error) => {
                self.erase(&id, None, true)?;
                return Err(error);
            }
        };
        let container = Container {
            name,
            definition,
            state: State::default(),
        };
        self.event(&container, "create", []);
        Ok(container)
    }

    /// Removes a container that does not run, and with `volumes` the anonymous volumes only it had.
    ///
    /// Fine when another process was faster.
    pub fn remove(&self, container: &Container, volumes: bool) -> Result<()> {
        let id = container.id();
        let paths = self.paths(id);
        // Whoever starts it holds the lock until its program runs: supervised and not alive, it is on its way out.
        let _lock = self.lock(id)?;
        if !paths.read_state().is_ok_and(|state| state.status.is_alive()) {
            paths
                .wait_unsupervised()
                .map_err(ContainerError::file("lock", paths.lock()))?;
        }
        if paths.is_supervised() {
            return Err(ContainerError::Running(container.name.clone()));
        }
        if !paths.home.exists() {
            return Ok(());
        }
        self.put_right_if_needed(container)?;
        self.erase(id, Some(&container.definition), volumes)?;
        self.event(container, "destroy", []);
        Ok(())
    }

    pub(crate) fn paths(&self, id: &str) -> Paths {
        Paths::new(self.store.root(), self.store.run(), id)
    }

    pub(crate) fn lock(&self, id: &str) -> Result<Lock> {
        Ok(self.store.lock(&format!("container-{id}"))?)
    }

    /// Makes the row, which is what gives a container its name.
    fn claim_name(&self, id: &str, image: &Image, options: &CreateOptions) -> Result<String> {
        if let Some(name) = &options.name {
            let name = name.strip_prefix('/').unwrap_or(name);
            if !names::is_valid(name) {
                return Err(ContainerError::InvalidName(name.to_owned()));
            }
            return match self.insert(id, name, image, options)? {
                None => Ok(name.to_owned()),
                Some(other) => Err(ContainerError::NameInUse {
                    name: name.to_owned(),
                    id: other,
                }),
            };
        }
        let mut attempt = 0;
        loop {
            let name = names::random_name(attempt).map_err(ContainerError::file("read", "/dev/urandom"))?;
            if self.insert(id, &name, image, options)?.is_none() {
                return Ok(name);
            }
            attempt += 1;
        }
    }

    /// Returns the id of who has the name already.
    fn insert(&self, id: &str, name: &str, image: &Image, options: &CreateOptions) -> Result<Option<String>> {
        let labels = serde_json::to_string(&options.labels).expect("a map of strings becomes JSON");
        self.store.db().write(|transaction| -> Result<Option<String>> {
            let taken = transaction
                .query_row("SELECT id FROM container WHERE name = ?1", [name], |row| {
                    row.get(0)
                })
                .optional()?;
            if taken.is_none() {
                transaction.execute(
                    "INSERT INTO container (id, name, created, image, manifest_digest, auto_remove, labels)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        id,
                        name,
                        plimsoll_store::now(),
                        options.image,
                        image.manifest_digest.to_string(),
                        options.auto_remove,
                        labels
                    ],
                )?;
            }
            Ok(taken)
        })
    }

    fn make(
        &self,
        id: &str,
        image: &Image,
        parent: Option<SnapshotId>,
        options: &CreateOptions,
    ) -> Result<Definition> {
        let paths = self.paths(id);
        let home = paths.home.clone();
        fs::create_dir_all(&home).map_err(ContainerError::file("make", &home))?;
        let config = &image.config.config;
        let Program {
            entrypoint,
            command,
            args,
        } = options.program(config)?;
        let snapshots = self.store.snapshots();
        let lowers = parent
            .map(|parent| snapshots.layers(parent))
            .transpose()?
            .unwrap_or_default();
        let (points, tmpfs) = self.mounts(id, options, &options.all_mounts(config), &lowers)?;
        let snapshot = snapshots.prepare_container(parent, id)?;
        self.store.db().write(|transaction| -> Result<()> {
            transaction.execute(
                "UPDATE container SET snapshot = ?2 WHERE id = ?1",
                params![id, snapshot.0],
            )?;
            Ok(())
        })?;
        let (upper, work) = snapshots.directories(snapshot)?;
        let exposed = options.exposed(config);
        let instance = self.store.instance();
        let network = self.resolve_mode(&options.network)?;
        self.attach_all(id, options)?;
        // Files about the network come with it.
        let (hostname, network_files) = match (&options.hostname, &network) {
            (Some(name), _) => (name.clone(), paths.clone()),
            (None, NetworkMode::Host) => (host_name(), paths.clone()),
            (None, NetworkMode::Container(target)) => {
                (self.get(target)?.definition.spec.hostname, self.paths(target))
            }
            (None, _) => (id[..12].to_owned(), paths.clone()),
        };
        let mut spec = ContainerSpec {
            id: id.to_owned(),
            hostname,
            args,
            env: options.environment(config),
            cwd: working_directory(options.working_dir.as_deref(), &config.working_dir),
            user: options.user.clone().unwrap_or_else(|| config.user.clone()),
            group_add: options.group_add.clone(),
            tty: options.tty,
            read_only: options.read_only,
            mounts: create::runtime_mounts(&points, tmpfs, &network_files, options.read_only),
            cap_add: options.cap_add.clone(),
            cap_drop: options.cap_drop.clone(),
            privileged: options.privileged,
            no_new_privileges: options.no_new_privileges,
            seccomp: options.seccomp.clone(),
            resources: options.resources.clone(),
            ulimits: options.ulimits.clone(),
            sysctls: options.kernel_parameters(),
            shm_size: options.shm_size,
            network: network.namespace(),
            annotations: options.annotations.clone(),
            images: create::image_trees(&points),
            ..ContainerSpec::default()
        };
        let files = self.give(id, &options.files, &spec.user, &lowers)?;
        let mut isolation = options.isolation.clone();
        isolation.or_users(&self.userns);
        isolation.device_specs.clone_from(&self.device_specs);
        isolation.apply(&mut spec, self)?;
        let is_mapped = spec.userns.is_some();
        spec.mounts.extend(self.given_mounts(id, &files, is_mapped));
        let definition = Definition {
            id: id.to_owned(),
            created: Timestamp::now(),
            image: options.image.clone(),
            image_id: image.id.to_string(),
            platform: image.config.platform().to_string(),
            isolation,
            files,
            origin: options.origin.clone(),
            rootfs: Rootfs { lowers, upper, work },
            snapshot,
            instance,
            entrypoint,
            command,
            labels: options.labels(config),
            network,
            publish_all: options.publish_all,
            resolver: options.resolver.clone(),
            links: options.links.clone(),
            ports: options.published(&exposed)?,
            exposed_ports: exposed,
            extra_hosts: options.extra_hosts.clone(),
            mounts: points,
            stop_signal: options.stop_signal(config)?,
            stop_timeout: options.stop_timeout,
            health: options.health(config),
            auto_remove: options.auto_remove,
            open_stdin: options.open_stdin,
            attached: options.attached,
            restart: options.restart,
            log: options.log.clone(),
            domainname: options.domainname.clone(),
            spec,
        };
        // Last: a container without it is half made.
        write_json(paths.definition().as_std_path(), &definition)?;
        Ok(definition)
    }

    /// Makes folders and volumes for the mounts.
    fn mounts(
        &self,
        id: &str,
        options: &CreateOptions,
        requests: &[MountRequest],
        lowers: &[PathBuf],
    ) -> Result<(Vec<MountPoint>, Vec<Mount>)> {
        let tree = MergedTree::new(lowers.to_vec());
        let (mut points, mut tmpfs) = (Vec::new(), Vec::new());
        for request in requests {
            let point = |volume: Option<String>, anonymous, source| MountPoint {
                volume,
                anonymous,
                source,
                target: request.target.clone(),
                writable: !request.read_only,
                options: request.options.clone(),
                image: None,
            };
            match &request.source {
                MountSource::Bind { path, create } => {
                    bind_source(path, *create)?;
                    points.push(point(None, false, path.clone()));
                }
                MountSource::Volume(wanted) => {
                    let anonymous = wanted.name.is_none();
                    let name = wanted.name.clone().map_or_else(Volumes::anonymous_name, Ok)?;
                    let copies = wanted.copy && wanted.subpath.is_none() && !lowers.is_empty();
                    let image = copies.then_some((&tree, request.target.as_std_path()));
                    let volumes = Volumes(&self.store);
                    let data = volumes.obtain(&name, anonymous, &wanted.options, id, image)?;
                    let source = match &wanted.subpath {
                        Some(path) => below(&data, path)?,
                        None => data,
                    };
                    points.push(point(Some(name), anonymous, source));
                }
                MountSource::Tmpfs(options) => tmpfs.push(Mount {
                    kind: MountKind::Tmpfs,
                    source: PathBuf::from("tmpfs"),
                    target: request.target.clone().into(),
                    read_only: request.read_only,
                    options: options.clone(),
                }),
                MountSource::Image(wanted) => {
                    let image = self.image_point(id, wanted, options)?;
                    let source = image
                        .tree
                        .rootfs
                        .upper
                        .parent()
                        .unwrap_or(&image.tree.rootfs.upper);
                    let source = Utf8PathBuf::from(source.to_string_lossy().into_owned());
                    points.push(MountPoint {
                        writable: false,
                        image: Some(image),
                        ..point(None, false, source)
                    });
                }
            }
        }
        Ok((points, tmpfs))
    }

    /// A layer for this mount alone, which nobody writes to: it keeps those below it for as long as the container is
    /// there.
    fn image_point(&self, id: &str, wanted: &ImageMount, options: &CreateOptions) -> Result<ImagePoint> {
        let Some(top) = options.mounted_images.get(&wanted.image) else {
            let text = format!("No such image: {}", wanted.image);
            return Err(ContainerError::Option(text));
        };
        let snapshots = self.store.snapshots();
        let lowers = top
            .map(|top| snapshots.layers(top))
            .transpose()?
            .unwrap_or_default();
        if let Some(part) = &wanted.subpath {
            // Layers do not change; what is mounted is looked for in the same way again.
            let found = MergedTree::new(lowers.clone()).lookup(part.as_std_path())?;
            let linked =
                |entry: &Entry| entry.path != Path::new("/").join(part) || entry.metadata.is_symlink();
            if found.is_none_or(|entry| linked(&entry)) {
                let text = format!(
                    "cannot access path {part} of image {}: no such file or directory, or a link on the way",
                    wanted.image
                );
                return Err(ContainerError::Option(text));
            }
        }
        let (upper, work) = snapshots.directories(snapshots.prepare_container(*top, id)?)?;
        Ok(ImagePoint {
            name: wanted.image.clone(),
            tree: ImageTree {
                rootfs: Rootfs { lowers, upper, work },
                part: wanted.subpath.clone().map(Into::into),
            },
        })
    }

    /// Takes everything of a container away, its row last. The caller holds the lock.
    pub(crate) fn erase(&self, id: &str, definition: Option<&Definition>, volumes: bool) -> Result<()> {
        let paths = self.paths(id);
        if let Some(definition) = definition {
            leftovers::kill(&definition.spec.cgroup);
        }
        // From here on it is half removed for everybody: whoever looks next goes on where this process may be killed.
        match fs::remove_file(paths.definition()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ContainerError::file("remove", paths.definition())(error));
            }
            _ => {}
        }
        Networks::new(&self.store).release(id)?;
        let anonymous = self.store.db().read(|connection| -> Result<Vec<String>> {
            let mut statement = connection.prepare(
                "SELECT volume FROM volume_use JOIN volume ON name = volume WHERE container = ?1 AND anonymous",
            )?;
            Ok(statement.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })?;
        for snapshot in self.store.snapshots().of_container(id)? {
            self.store.snapshots().remove(snapshot)?;
        }
        if paths.home.exists() {
            self.store.discard(&paths.home)?;
        }
        let _ = fs::remove_dir_all(&paths.run);
        self.take_back(id);
        self.store.db().write(|transaction| -> Result<()> {
            transaction.execute("DELETE FROM container WHERE id = ?1", [id])?;
            Ok(())
        })?;
        if volumes {
            for name in anonymous {
                Volumes(&self.store).remove_unused(&name)?;
            }
        }
        Ok(())
    }

    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        self.store.db().read(|connection| -> Result<Vec<Row>> {
            let mut statement =
                connection.prepare(&format!("SELECT {COLUMNS} FROM container ORDER BY created DESC"))?;
            let rows = statement.query_map([], Row::read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Reads a container's files. None for one that is being made or removed at this moment.
    fn load(&self, row: &Row) -> Result<Option<Container>> {
        let paths = self.paths(&row.id);
        let Some(definition) = read_json::<Definition>(paths.definition().as_std_path())? else {
            if let Some(_lock) = self.store.try_lock(&format!("container-{}", row.id))?
                && !paths.definition().exists()
            {
                // Nobody is at it: whoever was has died half-way.
                self.erase(&row.id, None, true)?;
            }
            return Ok(None);
        };
        let state = paths.read_state()?;
        let container = Container {
            name: row.name.clone(),
            definition,
            state,
        };
        let is_over = restore::is_over(&container);
        let is_suspect = container.is_running() || is_over || row.has_addresses || paths.runtime().exists();
        match is_suspect && !paths.is_supervised() {
            true => self.reconcile(container, row.has_addresses),
            false => Ok(Some(container)),
        }
    }

    /// Gives back what only a running container needs; `--rm` takes the rest. Done by the reaper.
    ///
    /// With `keep` it is about to be started again, and stays.
    pub(crate) fn reap(&self, id: &str, keep: bool) -> Result<()> {
        let paths = self.paths(id);
        let container = match self.get(id) {
            Err(ContainerError::NotFound { .. }) => return Ok(()),
            found => found?,
        };
        if container.definition.auto_remove && !keep && container.state.status != Status::Created {
            return match self.remove(&container, true) {
                // Started again meanwhile.
                Err(ContainerError::Running(_)) => Ok(()),
                removed => removed,
            };
        }
        let _lock = self.lock(id)?;
        if !paths.is_supervised() {
            Networks::new(&self.store).park(id)?;
        }
        Ok(())
    }
}

/// A container in the database.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Whether it has addresses that are its own at the moment.
    has_addresses: bool,
}

/// Of [`Row`].
const COLUMNS: &str = "container.id, container.name, \
     EXISTS (SELECT 1 FROM endpoint WHERE endpoint.container = container.id AND active)";

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            has_addresses: row.get(2)?,
        })
    }
}

fn not_found(wanted: &str, rows: &[Row]) -> ContainerError {
    let suggestion = names::nearest(wanted, rows.iter().map(|row| row.name.as_str()));
    ContainerError::NotFound {
        name: wanted.to_owned(),
        suggestion,
    }
}

fn bind_source(path: &Utf8PathBuf, create: bool) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if !create {
        return Err(ContainerError::BindSource(path.clone()));
    }
    fs::create_dir_all(path).map_err(ContainerError::file("make", path))
}

/// The user's directory, from the image's when it is relative.
fn working_directory(asked: Option<&str>, image: &str) -> String {
    let base = Utf8PathBuf::from("/").join(image);
    crate::mounts::lexical(&asked.map_or(base.clone(), |asked| base.join(asked))).into_string()
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
