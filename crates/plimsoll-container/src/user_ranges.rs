//! `--userns auto`: ids of the host that one container has to itself.
//!
//! They come from the ranges that `/etc/subuid` and `/etc/subgid` give to the user `containers`, as with Podman, or else
//! from one that systemd's table of ids calls unused. A container keeps its range, in the database, until it is removed;
//! so a program that ever gets out of one is nobody to the files and processes of every other.

use std::fs;

use plimsoll_runtime::{IdMap, IdRange};
use rusqlite::params;

use crate::containers::Containers;
use crate::{ContainerError, Result};

/// As many as distributions give to each user.
pub(crate) const SIZE: u32 = 65_536;

/// Whose ranges of subordinate ids are for containers.
const OWNER: &str = "containers";

/// Where nobody has said anything: 0x70000000 to 0x7fffffff, "unused" (systemd, docs/UIDS-GIDS.md).
const UNUSED: Pool = Pool {
    first: 0x7000_0000,
    size: 0x1000_0000,
};

/// Successive ids from which containers get theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pool {
    first: u32,
    size: u32,
}

/// The ids of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    uid: u32,
    gid: u32,
    size: u32,
}

impl Containers {
    /// Gives a container, whose row is there, `size` ids of its own.
    pub(crate) fn claim_users(&self, id: &str, size: u32) -> Result<IdMap> {
        let (uids, gids) = (pool("/etc/subuid")?, pool("/etc/subgid")?);
        let instance = self.store.instance();
        let claim = self.store.db().write(|transaction| -> Result<Option<Claim>> {
            let mut statement = transaction.prepare("SELECT uid, gid, size FROM user_range")?;
            let rows = statement.query_map([], |row| {
                Ok(Claim {
                    uid: row.get(0)?,
                    gid: row.get(1)?,
                    size: row.get(2)?,
                })
            })?;
            let taken: Vec<Claim> = rows.collect::<rusqlite::Result<_>>()?;
            let claim = free(uids, gids, size, instance, &taken);
            if let Some(Claim { uid, gid, size }) = claim {
                transaction.execute(
                    "INSERT INTO user_range (container, uid, gid, size) VALUES (?1, ?2, ?3, ?4)",
                    params![id, uid, gid, size],
                )?;
            }
            Ok(claim)
        })?;
        let claim = claim.ok_or_else(|| {
            ContainerError::Option(format!(
                "--userns auto: no {size} users are left of {} from {}: remove containers, or give the user `{OWNER}` more in \
                 /etc/subuid and /etc/subgid",
                uids.size.min(gids.size),
                uids.first
            ))
        })?;
        let all_from = |outside| {
            vec![IdRange {
                inside: 0,
                outside,
                size,
            }]
        };
        Ok(IdMap::new(all_from(claim.uid), all_from(claim.gid))?)
    }
}

/// `auto` and `auto:size=NUMBER`, as Podman has them; None for what is neither.
pub(crate) fn wanted(userns: &str) -> Option<Result<u32>> {
    let options = userns.strip_prefix("auto")?;
    if options.is_empty() {
        return Some(Ok(SIZE));
    }
    let size = options.strip_prefix(":size=").and_then(|text| text.parse().ok());
    Some(size.filter(|size| *size > 0).ok_or_else(|| {
        ContainerError::Option(format!(
            "--userns: invalid USER mode `{userns}`: expected `auto` or `auto:size=NUMBER`"
        ))
    }))
}

fn pool(path: &str) -> Result<Pool> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(largest(&text).unwrap_or(UNUSED)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(UNUSED),
        Err(error) => Err(ContainerError::file("read", path)(error)),
    }
}

/// The largest range of the user `containers`.
fn largest(text: &str) -> Option<Pool> {
    let range = |line: &str| {
        let (owner, range) = line.trim().split_once(':')?;
        let (first, size) = range.split_once(':')?;
        let (first, size): (u32, u32) = (first.parse().ok()?, size.parse().ok()?);
        // The last number is nobody (-1).
        let size = size.min(u32::MAX - first);
        (owner == OWNER).then_some(Pool { first, size })
    };
    text.lines().filter_map(range).max_by_key(|pool| pool.size)
}

/// The first place where both kinds are free. Each store begins elsewhere, so that those of two rarely meet.
fn free(uids: Pool, gids: Pool, size: u32, instance: u32, taken: &[Claim]) -> Option<Claim> {
    let room = uids.size.min(gids.size).checked_sub(size)?;
    let places = room / SIZE + 1;
    let meet = |first: u32, other: u32, length: u32| {
        u64::from(first) < u64::from(other) + u64::from(length)
            && u64::from(other) < u64::from(first) + u64::from(size)
    };
    let begin = instance % places;
    let claims = (begin..places).chain(0..begin).map(|place| Claim {
        uid: uids.first + place * SIZE,
        gid: gids.first + place * SIZE,
        size,
    });
    let mut free = claims.filter(|claim| {
        !taken
            .iter()
            .any(|other| meet(claim.uid, other.uid, other.size) || meet(claim.gid, other.gid, other.size))
    });
    free.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_user_containers_and_of_nobody_else() {
        let text = "me:100000:65536\ncontainers:200000:10\n# containers:1:9999999\ncontainers:300000:65536\ncontainers:x:1\n";
        let found = Pool {
            first: 300_000,
            size: 65_536,
        };
        assert_eq!((largest(text), largest("me:1:2\n")), (Some(found), None));
        let podmans = largest("containers:2147483647:2147483648").unwrap();
        assert_eq!(podmans.first + podmans.size, u32::MAX);
    }

    #[test]
    fn no_two_containers_have_an_id_in_common() {
        let uids = Pool {
            first: 1_000_000,
            size: 4 * SIZE,
        };
        let gids = Pool {
            first: 5_000_000,
            size: 4 * SIZE + 7,
        };
        let mut taken = Vec::new();
        for size in [10, SIZE, 2 * SIZE] {
            taken.push(free(uids, gids, size, 3, &taken).unwrap());
        }
        let places: Vec<u32> = taken
            .iter()
            .map(|claim| (claim.uid - uids.first) / SIZE)
            .collect();
        assert_eq!(places, [3, 0, 1]);
        assert!(
            taken
                .iter()
                .all(|claim| claim.gid - gids.first == claim.uid - uids.first)
        );
        assert_eq!(free(uids, gids, 1, 0, &taken), None);
        taken.remove(0);
        assert_eq!(
            free(uids, gids, SIZE, 0, &taken).unwrap().uid,
            1_000_000 + 3 * SIZE
        );
        assert_eq!(free(uids, gids, 5 * SIZE, 0, &[]), None);
        // Ranges that were given out by another table of ids count as well.
        let odd = Claim {
            uid: 1_000_001,
            gid: 1,
            size: SIZE,
        };
        assert_eq!(free(uids, gids, 2, 0, &[odd]).unwrap().uid, 1_000_000 + 2 * SIZE);
        assert_eq!(free(uids, gids, 2, 1, &[odd]).unwrap().uid, 1_000_000 + 2 * SIZE);
    }

    #[test]
    fn how_many_are_wanted() {
        let size = |text| wanted(text).map(|size| size.ok());
        assert_eq!(
            (size("auto"), size("auto:size=1000")),
            (Some(Some(SIZE)), Some(Some(1000)))
        );
        assert_eq!(
            (size("auto:size=0"), size("automatic"), size("host")),
            (Some(None), Some(None), None)
        );
    }
}
