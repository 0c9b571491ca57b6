//! Owners by name: `--chown` and the user a WORKDIR belongs to.

use std::io::Read as _;
use std::path::Path;

use plimsoll_store::MergedTree;

use super::Owner;
use crate::error::OpError;

/// More of passwd or group than this is not read.
const MAX_DATABASE: u64 = 8 << 20;

/// Looks `user[:group]` up in the image's passwd and group. Empty is root. A lone number is the group too, a lone
/// name brings its own group.
pub(super) fn owner(tree: &MergedTree, text: &str) -> Result<Owner, OpError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let (uid, own_group) = match (user, user.parse::<u32>()) {
        ("", _) => (0, 0),
        (_, Ok(uid)) => (uid, uid),
        (name, Err(_)) => {
            let ids = lookup(tree, "/etc/passwd", name)?;
            ids.ok_or_else(|| {
                OpError::Copy(format!(
                    "unable to find user `{name}`: no such entry in the image's /etc/passwd"
                ))
            })?
        }
    };
    let gid = match group.map(|group| (group, group.parse::<u32>())) {
        None => own_group,
        Some((_, Ok(gid))) => gid,
        Some((name, Err(_))) => {
            let ids = lookup(tree, "/etc/group", name)?;
            ids.ok_or_else(|| {
                OpError::Copy(format!(
                    "unable to find group `{name}`: no such entry in the image's /etc/group"
                ))
            })?
            .0
        }
    };
    Ok(Owner { uid, gid })
}

/// Third and fourth field of the first line of that name; group has its id in the third.
fn lookup(tree: &MergedTree, file: &str, name: &str) -> Result<Option<(u32, u32)>, OpError> {
    let Some(entry) = tree
        .resolve(Path::new(file))?
        .filter(|entry| entry.metadata.is_file())
    else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    entry
        .open()?
        .take(MAX_DATABASE)
        .read_to_end(&mut bytes)
        .map_err(OpError::io("read", file))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let id = fields.get(2)?.parse().ok()?;
        let group = fields.get(3).and_then(|gid| gid.parse().ok()).unwrap_or(id);
        (fields[0] == name).then_some((id, group))
    }))
}
