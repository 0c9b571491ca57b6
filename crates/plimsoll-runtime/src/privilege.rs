//! Where root is not the machine's: an ordinary user in a user namespace of their own, or a container in a container.
//!
//! What such a root holds are capabilities over what belongs to its namespace. The machine's are another thing: making
//! nodes, raising limits, loading programs of the kernel's; and what comes from the machine can only be bound, not mounted.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The map of the first namespace: everybody is who they are (user_namespaces(7)).
const EVERYBODY: [&str; 3] = ["0", "0", "4294967295"];

/// Whether user 0 is somebody else on the machine.
pub(crate) fn in_user_namespace() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        !map.is_empty() && !map.split_whitespace().eq(EVERYBODY)
    })
}

/// Who user 0 is on the machine, where that is somebody else.
pub(crate) fn outer_user() -> Option<u32> {
    if !in_user_namespace() {
        return None;
    }
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace();
        (numbers.next() == Some("0")).then(|| numbers.next()?.parse().ok())?
    })
}

/// The last of the groups from 0 that there are.
pub(crate) fn last_group() -> u32 {
    let map = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    last_id(&map)
}

fn last_id(map: &str) -> u32 {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().ok());
        Some((numbers.next()??, numbers.nth(1)??))
    };
    let mut ranges: Vec<(u64, u64)> = map.lines().filter_map(range).collect();
    ranges.sort_unstable();
    let end = ranges.iter().fold(
        0,
        |end, (first, size)| if *first == end { end + size } else { end },
    );
    u32::try_from(end.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(i32::MAX as u32)
}

/// Whether a process may choose its supplementary groups (user_namespaces(7), "The /proc/pid/setgroups file").
pub(crate) fn may_set_groups() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow")
}

/// Where the machine has the node of a device.
pub(crate) fn node_of(block: bool, major: i64, minor: i64) -> Option<PathBuf> {
    let kind = if block { "block" } else { "char" };
    let facts = fs::read_to_string(format!("/sys/dev/{kind}/{major}:{minor}/uevent")).ok()?;
    let name = facts.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(PathBuf::from("/dev").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_where_the_map_does() {
        assert_eq!(
            last_id("         0       1000          1\n         1     100000      65536\n"),
            65_536
        );
        assert_eq!(last_id("0 1000 1\n"), 0);
        assert_eq!(last_id("1 100000 10\n0 1000 1\n20 5 5\n"), 10);
        assert_eq!(last_id("0 0 4294967295\n"), i32::MAX as u32);
    }

    #[test]
    fn nodes_are_found_by_their_numbers() {
        assert_eq!(node_of(false, 1, 3), Some("/dev/null".into()));
        assert_eq!(node_of(false, 9999, 3), None);
    }
}
