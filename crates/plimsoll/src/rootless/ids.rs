//! Whose ids a user may use (subuid(5), subgid(5)), and giving them to a namespace.

use std::fs;
use std::io;
use std::process::Command;

use super::HolderError;

/// Where Debian, Fedora and everybody else keep them.
pub(crate) const SUBUID: &str = "/etc/subuid";
/// As [`SUBUID`], for groups.
pub(crate) const SUBGID: &str = "/etc/subgid";
/// As many as images use: up to nobody.
pub(crate) const ENOUGH: u32 = 65_536;

/// Successive ids that are somebody's to give away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: u32,
    size: u32,
}

/// What a user has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subordinate {
    pub(crate) uids: Vec<Range>,
    pub(crate) gids: Vec<Range>,
}

impl Subordinate {
    /// Of the user who calls.
    pub(crate) fn of_caller() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let name = user_name(uid);
        let read = |path| {
            parse(
                &fs::read_to_string(path).unwrap_or_default(),
                name.as_deref(),
                uid,
            )
        };
        Self {
            uids: read(SUBUID),
            gids: read(SUBGID),
        }
    }

    /// Whether any file of another owner than the user can be.
    pub(crate) fn is_empty(&self) -> bool {
        self.uids.is_empty() || self.gids.is_empty()
    }

    /// How many users there are beside the user.
    pub(crate) fn count(&self) -> u32 {
        let sum = |ranges: &[Range]| {
            ranges
                .iter()
                .fold(0_u32, |sum, range| sum.saturating_add(range.size))
        };
        sum(&self.uids).min(sum(&self.gids))
    }
}

/// The first id behind all that are given away.
pub(crate) fn first_free() -> u32 {
    let end = |path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let ends = text.lines().filter_map(|line| {
            let mut parts = line
                .trim()
                .split(':')
                .skip(1)
                .map(|part| part.parse::<u32>().ok());
            parts.next()??.checked_add(parts.next()??)
        });
        ends.max().unwrap_or(0)
    };
    // Where `useradd` begins (SUB_UID_MIN).
    end(SUBUID).max(end(SUBGID)).max(100_000)
}

/// The caller's name, as /etc/passwd has it.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let line = text
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    line.split(':').next().map(str::to_owned)
}

/// Lines of `name:first:size`, or with the number instead of the name.
fn parse(text: &str, name: Option<&str>, uid: u32) -> Vec<Range> {
    let uid = uid.to_string();
    let one = |line: &str| {
        let mut parts = line.trim().split(':');
        let owner = parts.next()?;
        let (first, size) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        (owner == uid || Some(owner) == name)
            .then_some(Range { first, size })
            .filter(|range| range.size > 0)
    };
    text.lines().filter_map(one).collect()
}

/// The caller is 0 in there, and the subordinate ids follow, as long as there is room for them.
fn triples(own: u32, ranges: &[Range]) -> Vec<[u32; 3]> {
    let mut all = vec![[0, own, 1]];
    let mut inside = 1;
    for range in ranges {
        let size = range.size.min(u32::MAX - 1 - inside);
        all.push([inside, range.first, size]);
        inside += size;
    }
    all
}

/// Gives the namespace of `pid` its users. Without subordinate ids, or without the programs that hand them out, there is
/// the caller alone: returns what that means.
pub(super) fn give(pid: u32) -> Result<Option<String>, HolderError> {
    let ids = Subordinate::of_caller();
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if ids.is_empty() {
        alone(pid, uid, gid)?;
        return Ok(Some(format!(
            "you have no subordinate ids in {SUBUID} and {SUBGID}: every file has to belong to one user, so most images cannot be unpacked (`plimsoll system check` says what to do)"
        )));
    }
    for (program, own, ranges) in [("newuidmap", uid, &ids.uids), ("newgidmap", gid, &ids.gids)] {
        match map(program, pid, &triples(own, ranges)) {
            Err(HolderError::NoProgram) => {
                alone(pid, uid, gid)?;
                return Ok(Some(format!(
                    "`{program}` is not installed: every file has to belong to one user, so most images cannot be unpacked (`plimsoll system check` says what to do)"
                )));
            }
            result => result?,
        }
    }
    Ok(None)
}

fn map(program: &'static str, pid: u32, triples: &[[u32; 3]]) -> Result<(), HolderError> {
    let numbers = triples.iter().flatten().map(u32::to_string);
    let output = Command::new(program).arg(pid.to_string()).args(numbers).output();
    let output = output.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => HolderError::NoProgram,
        _ => HolderError::Start { program, source },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(HolderError::Map { program, said })
}

/// For the calling process itself.
pub(super) fn take_alone(uid: u32, gid: u32) -> io::Result<()> {
    alone(std::process::id(), uid, gid).map_err(|error| match error {
        HolderError::Namespace(source) => source,
        error => io::Error::other(error),
    })
}

/// What the kernel allows without anybody's help (user_namespaces(7)): one id, and no change of groups.
fn alone(pid: u32, uid: u32, gid: u32) -> Result<(), HolderError> {
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/{pid}/{file}"), text).map_err(HolderError::Namespace)
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1\n"))?;
    write("gid_map", format!("0 {gid} 1\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_by_name_and_by_number() {
        let text =
            "lab:100000:65536\n# a remark\n1001:200000:10\nother:300000:5\nlab:400000:1\nlab:500000:0\n";
        let range = |first, size| Range { first, size };
        assert_eq!(
            parse(text, Some("lab"), 1000),
            [range(100_000, 65_536), range(400_000, 1)]
        );
        assert_eq!(parse(text, None, 1001), [range(200_000, 10)]);
        assert_eq!(parse(text, None, 1), []);
    }

    #[test]
    fn the_user_is_root_and_the_others_follow() {
        let ranges = [
            Range {
                first: 100_000,
                size: 65_536,
            },
            Range {
                first: 400_000,
                size: 2,
            },
        ];
        assert_eq!(
            triples(1000, &ranges),
            [[0, 1000, 1], [1, 100_000, 65_536], [65_537, 400_000, 2]]
        );
    }
}
