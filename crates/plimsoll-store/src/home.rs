//! Where a store lives: making it, checking it, and the paths inside.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::params;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::db::Db;
use crate::error::{At, Result, StoreError};
use crate::lease::OwnLease;
use crate::lock::{Lock, SharedLock};
use crate::trash::remove_all;

/// The layout this program makes, and the highest it reads.
pub(crate) const LAYOUT: u32 = 1;

/// Dirty pages are written back after 30 seconds (`vm.dirty_expire_centisecs`), on laptops set to save power after ten
/// minutes at most.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(600);

const DIRECTORIES: &[&str] = &[
    "builds",
    "cache-mounts",
    "containers",
    "content/blobs/sha256",
    "content/ingest",
    "contexts",
    "events",
    "manifest-lists",
    "snapshots",
    "trash",
    "volumes",
];

/// What all parts of one open store share.
pub(crate) struct Home {
    pub(crate) root: Utf8PathBuf,
    pub(crate) run: Utf8PathBuf,
    pub(crate) instance: u32,
    /// The kernel's id of this boot.
    pub(crate) boot: String,
    pub(crate) db: Db,
    /// The lease of this process, taken with the first thing that needs one.
    pub(crate) lease: Mutex<Option<OwnLease>>,
}

impl Home {
    pub(crate) fn open(root: &Utf8Path, run: &Utf8Path) -> Result<Self> {
        let instance = match fs::read_to_string(root.join("layout-version")) {
            Ok(text) => parse_layout(root, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(root)?,
            Err(error) => return Err(error).at("read", root.join("layout-version")),
        };
        refuse_network(root, root)?;
        let db = Db::new(root.join("meta.db"), run.join("locks/migration"));
        let (root, run, boot) = (root.to_owned(), run.to_owned(), boot_id()?);
        let home = Self {
            root,
            run,
            instance,
            boot,
            db,
            lease: Mutex::new(None),
        };
        home.prepare_run()?;
        Ok(home)
    }

    /// Path of a named lock. Names may hold slashes (`build-key/<digest>`); the files lie flat.
    pub(crate) fn lock_path(&self, name: &str) -> Utf8PathBuf {
        self.run.join("locks").join(name.replace('/', "+"))
    }

    pub(crate) fn lock(&self, name: &str) -> Result<Lock> {
        Lock::wait(&self.lock_path(name))
    }

    pub(crate) fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        Lock::try_now(&self.lock_path(name))
    }

    /// Held from linking a file in to the commit of its row, so that gc never sees the one without the other.
    pub(crate) fn linking(&self) -> Result<SharedLock> {
        SharedLock::shared(&self.lock_path("store"))
    }

    /// Held while collecting.
    pub(crate) fn collecting(&self) -> Result<SharedLock> {
        SharedLock::exclusive(&self.lock_path("store"))
    }

    /// Makes the run-time folder, or clears it when it is from another boot. Its mark comes last.
    fn prepare_run(&self) -> Result<()> {
        let (run, mark) = (&self.run, self.run.join("boot-id"));
        let ready = || fs::read_to_string(&mark).is_ok_and(|text| text == self.boot);
        if ready() {
            return Ok(());
        }
        make_directory(run)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(run.as_std_path(), flags, Mode::empty()).at("open", run)?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).at("lock", run)?;
        if ready() {
            return Ok(());
        }
        for entry in run.read_dir_utf8().at("read", run)? {
            let entry = entry.at("read", run)?;
            // Made before any store is opened, by whoever joins an ordinary user's namespaces.
            if entry.file_name() != "userns" {
                remove_all(entry.path())?;
            }
        }
        for directory in ["containers", "locks", "netns"] {
            make_directory(&run.join(directory))?;
        }
        if self.root.join("meta.db").exists() {
            self.distrust_unsynced()?;
        }
        write_new(&mark, self.boot.as_bytes())
    }

    /// After another boot, forgets what was made before it and is not known to be on disk, where it can be made again:
    /// after a loss of power its files may be torn.
    fn distrust_unsynced(&self) -> Result<()> {
        let stale = "boot IS NOT NULL AND boot <> ?1 AND kind = 'committed'";
        let unpacked =
            "diff_id IN (SELECT diff_id FROM layer_blob JOIN blob USING (digest) WHERE encoder IS NULL)";
        self.db.write(|tx| {
            tx.execute(
                &format!(
                    "DELETE FROM cache_record WHERE snapshot IN (SELECT id FROM snapshot WHERE {stale})"
                ),
                [&self.boot],
            )?;
            tx.execute(
                &format!("UPDATE snapshot SET chain_id = NULL WHERE {stale} AND {unpacked}"),
                [&self.boot],
            )?;
            Ok(())
        })
    }

    /// Marks as durable what the kernel has long since written back.
    pub(crate) fn trust_settled(&self) -> Result<()> {
        let before = now() - SETTLED.as_nanos() as i64;
        let settled = "boot = ?1 AND created < ?2 AND kind = 'committed'";
        self.db.write(|tx| {
            tx.execute(
                &format!("UPDATE snapshot SET boot = NULL WHERE {settled}"),
                params![self.boot, before],
            )?;
            Ok(())
        })
    }

    /// Removes everything a store makes, and the two directories when nothing else is in them. The file that makes it a
    /// store goes first: killed after that, what is left is nobody's, and the next store at this place begins with it.
    pub(crate) fn remove(&self) -> Result<()> {
        let _lock = self.collecting()?;
        let database = ["meta.db", "meta.db-wal", "meta.db-shm"];
        let names = ["layout-version"].iter().chain(&database).chain(DIRECTORIES);
        for name in names.filter_map(|name| name.split('/').next()) {
            remove_all(&self.root.join(name))?;
        }
        for name in ["boot-id", "containers", "netns", "networks", "locks", "filters"] {
            remove_all(&self.run.join(name))?;
        }
        for directory in [&self.run, &self.root] {
            // Not ours when something else is in it.
            let _ = fs::remove_dir(directory);
        }
        Ok(())
    }

    /// Begins the lease of this process unless it has one; returns when that was.
    pub(crate) fn protect(&self) -> Result<i64> {
        let mut lease = self.own_lease();
        match &*lease {
            Some(lease) => Ok(lease.began),
            None => Ok(lease.insert(OwnLease::begin(self)?).began),
        }
    }

    pub(crate) fn own_lease(&self) -> std::sync::MutexGuard<'_, Option<OwnLease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(lease) = self.own_lease().take() {
            lease.end(&self.db);
        }
    }
}

/// Makes every directory, then the file that says the store is ready. Two processes may be at it together.
fn create(root: &Utf8Path) -> Result<u32> {
    refuse_network(root, existing_ancestor(root))?;
    for directory in DIRECTORIES {
        make_directory(&root.join(directory))?;
    }
    write_new(
        &root.join("content/oci-layout"),
        b"{\"imageLayoutVersion\":\"1.0.0\"}",
    )?;
    let path = root.join("layout-version");
    let instance = u32::from_le_bytes(random_bytes()?);
    write_new(&path, format!("{LAYOUT}\n{instance:08x}\n").as_bytes())?;
    parse_layout(root, &fs::read_to_string(&path).at("read", path)?)
}

/// Writes a file that appears complete or not at all; the first writer wins.
fn write_new(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    let partial = Utf8PathBuf::from(format!("{path}.{}", random_name()?));
    let mut file = fs::File::create(&partial).at("create", &partial)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .at("write", &partial)?;
    let linked = fs::hard_link(&partial, path);
    fs::remove_file(&partial).at("remove", &partial)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).at("create", path),
        _ => Ok(()),
    }
}

/// First line: the layout; second: the instance. Later layouts may say more.
fn parse_layout(root: &Utf8Path, text: &str) -> Result<u32> {
    let damaged = || StoreError::DamagedLayout {
        path: root.join("layout-version"),
    };
    let mut lines = text.lines();
    let found: u32 = lines
        .next()
        .and_then(|line| line.trim().parse().ok())
        .ok_or_else(damaged)?;
    if found > LAYOUT {
        return Err(StoreError::FutureLayout {
            root: root.to_owned(),
            found,
            known: LAYOUT,
        });
    }
    lines
        .next()
        .and_then(|line| u32::from_str_radix(line.trim(), 16).ok())
        .ok_or_else(damaged)
}

fn existing_ancestor(path: &Utf8Path) -> &Utf8Path {
    path.ancestors()
        .find(|path| path.exists())
        .unwrap_or(Utf8Path::new("."))
}

fn refuse_network(root: &Utf8Path, at: &Utf8Path) -> Result<()> {
    let at = if at.as_str().is_empty() {
        Utf8Path::new(".")
    } else {
        at
    };
    let kind = rustix::fs::statfs(at.as_std_path()).at("examine", at)?.f_type;
    match network_file_system(kind as u64) {
        Some(kind) => Err(StoreError::NetworkFileSystem {
            root: root.to_owned(),
            kind,
        }),
        None => Ok(()),
    }
}

/// Names of the file systems that carry neither SQLite's shared memory nor overlay uppers (statfs(2), linux/magic.h).
/// FUSE counts: sshfs, virtiofs and shared folders of virtual machines are that, and overlay refuses it as an upper.
fn network_file_system(magic: u64) -> Option<&'static str> {
    Some(match magic & 0xffff_ffff {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9p",
        0x00c3_6400 => "Ceph",
        0x6573_5546 => "FUSE",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x0bd0_0bd0 => "Lustre",
        _ => return None,
    })
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).at("read", path)?.trim().to_owned())
}

/// Only root may look inside: layers hold programs with the set-uid bit.
fn make_directory(path: &Utf8Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at("create", path)
}

pub(crate) fn random_name() -> Result<String> {
    Ok(format!("{:016x}", u64::from_le_bytes(random_bytes()?)))
}

fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let path = "/dev/urandom";
    fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .at("read", path)?;
    Ok(bytes)
}

/// The time as the database has it: unix nanoseconds.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        for (magic, kind) in [
            (0x6969, "NFS"),
            (0xff53_4d42, "SMB"),
            (0xffff_ffff_ff53_4d42, "SMB"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE"),
        ] {
            assert_eq!(network_file_system(magic), Some(kind));
        }
        for (magic, name) in [
            (0xef53, "ext4"),
            (0x9123_683e, "btrfs"),
            (0x5846_5342, "xfs"),
            (0x0102_1994, "tmpfs"),
            (0x794c_7630, "overlay"),
        ] {
            assert_eq!(network_file_system(magic), None, "{name}");
        }
    }

    #[test]
    fn the_refusal_says_what_is_needed() {
        let error = StoreError::NetworkFileSystem {
            root: "/mnt/store".into(),
            kind: "NFS",
        };
        let expected = "`/mnt/store` is on a NFS file system; the store needs a local one for its database and for overlay mounts";
        assert_eq!(error.to_string(), expected);
    }
}
