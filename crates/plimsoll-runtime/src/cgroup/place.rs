//! Where the groups of containers are.
//!
//! | who | where |
//! | --- | --- |
//! | root | `/plimsoll-<instance>/<id>`, or below what `--cgroup-parent` names |
//! | root, with a slice | `/a.slice/a-b.slice/plimsoll-<id>.scope/<id>`, a scope of systemd's |
//! | an ordinary user, cgroup v2 | `/user.slice/user-U.slice/user@U.service/app.slice/plimsoll-<id>.scope/<id>`, likewise |
//! | an ordinary user, otherwise | nowhere |
//!
//! systemd wants to be the only one who writes to its groups, and leaves a unit to others where it is told to delegate it
//! (systemd's CGROUP_DELEGATION). So a path that goes through a scope says that the supervisor is to be in that scope:
//! [`super::systemd`] asks for it.

use super::{Hierarchies, MOUNT};
use crate::RuntimeError;
use crate::privilege::outer_user;
use std::path::{Path, PathBuf};

/// Where systemd's user managers keep programs.
const APPLICATIONS: &str = "app.slice";

/// Path of the group that a container of the store `instance` has, or a build's step; `parent` is `--cgroup-parent`.
pub fn place_of_group(instance: u32, id: &str, parent: Option<&str>) -> Result<String, RuntimeError> {
    let manager = outer_user().map(manager_of);
    place(
        instance,
        id,
        parent.filter(|parent| !parent.is_empty()),
        manager.as_deref(),
    )
}

/// Takes this process out of the unit of whoever started it, which may end: an ordinary user's gets a scope of its own, if
/// their systemd has one for it.
pub fn enter_own_scope(name: &str) -> Result<(), RuntimeError> {
    match outer_user() {
        Some(uid) if !Hierarchies::usable()?.is_none() => {
            super::systemd::enter_scope(&format!("{}/{APPLICATIONS}/{name}.scope", manager_of(uid)))
        }
        _ => Ok(()),
    }
}

fn place(
    instance: u32,
    id: &str,
    parent: Option<&str>,
    manager: Option<&str>,
) -> Result<String, RuntimeError> {
    let short = id.get(..12).filter(|_| id.len() == 64).unwrap_or(id);
    let scope = |slice: &str| -> Result<String, RuntimeError> {
        let slices = slices(slice)?;
        Ok(format!(
            "{}{slices}/plimsoll-{instance:08x}-{short}.scope/{id}",
            manager.unwrap_or_default()
        ))
    };
    match (parent, manager) {
        (Some(parent), _) if parent.ends_with(".slice") => scope(parent.trim_matches('/')),
        (Some(parent), Some(_)) => Err(RuntimeError::Invalid(format!(
            "cgroup parent `{parent}`: an ordinary user can only name a slice of systemd, such as `work.slice`"
        ))),
        (Some(parent), None) => Ok(format!("/{}/{id}", parent.trim_matches('/'))),
        (None, Some(_)) => scope(APPLICATIONS),
        (None, None) => Ok(format!("/plimsoll-{instance:08x}/{id}")),
    }
}

/// Each slice lies in the one that its name begins with (systemd.slice(5)): `/a.slice/a-b.slice`.
fn slices(name: &str) -> Result<String, RuntimeError> {
    let wrong = || RuntimeError::Invalid(format!("invalid slice name `{name}`"));
    let stem = name.strip_suffix(".slice").ok_or_else(wrong)?;
    let valid = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.:@\\".contains(&byte))
    };
    if !stem.split('-').all(valid) {
        return Err(wrong());
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Ok(ends.map(|end| format!("/{}.slice", &stem[..end])).collect())
}

/// The group of a user's own systemd.
fn manager_of(uid: u32) -> String {
    format!("/user.slice/user-{uid}.slice/user@{uid}.service")
}

/// A scope that a path goes through: its name, the slice it is in, and its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) slice: String,
    pub(crate) folder: PathBuf,
}

impl Scope {
    /// The last one of a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.split('/').collect();
        let at = parts.iter().rposition(|part| part.ends_with(".scope"))?;
        let slice = parts[..at].last()?.to_owned();
        parts.truncate(at + 1);
        Some(Self {
            name: parts[at].to_owned(),
            slice: slice.to_owned(),
            folder: Path::new(MOUNT).join(parts.join("/").trim_start_matches('/')),
        })
    }
}

impl Hierarchies {
    /// Those in which this process may make groups: an ordinary user has those of version 2 that their systemd delegates.
    pub(crate) fn usable() -> Result<Self, RuntimeError> {
        let all = Self::detect()?;
        let Some(uid) = outer_user() else {
            return Ok(all);
        };
        match all {
            Self::Unified if super::systemd::socket_of(Some(uid)).exists() => Ok(Self::Unified),
            _ => Ok(Self::Legacy(Vec::new())),
        }
    }

    /// Whether there is nothing to make groups in.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::Legacy(mounts) if mounts.is_empty())
    }
}

/// What of `cpu`, `memory` and so on limits can be set of; None is all that the kernel has.
pub(crate) fn delegated_controllers(hierarchies: &Hierarchies) -> Option<Vec<String>> {
    let uid = outer_user()?;
    if hierarchies.is_none() {
        return Some(Vec::new());
    }
    let path = Path::new(MOUNT)
        .join(manager_of(uid).trim_start_matches('/'))
        .join("cgroup.controllers");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    Some(text.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn root_has_plain_groups_and_users_have_scopes() {
        let manager = manager_of(1000);
        let at = |parent, manager| place(0xab, ID, parent, manager).unwrap();
        assert_eq!(at(None, None), format!("/plimsoll-000000ab/{ID}"));
        assert_eq!(at(Some("/team/"), None), format!("/team/{ID}"));
        let scope = format!("plimsoll-000000ab-{}.scope/{ID}", &ID[..12]);
        assert_eq!(at(Some("a-b.slice"), None), format!("/a.slice/a-b.slice/{scope}"));
        assert_eq!(at(None, Some(&manager)), format!("{manager}/app.slice/{scope}"));
        assert_eq!(
            at(Some("w.slice"), Some(&manager)),
            format!("{manager}/w.slice/{scope}")
        );
        let error = place(1, ID, Some("/team"), Some(&manager))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`work.slice`"), "{error}");
        for wrong in [".slice", "-.slice", "a--b.slice", "a/b.slice", "-a.slice"] {
            assert!(place(1, ID, Some(wrong), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_tells_its_scope() {
        let scope = Scope::of("/user.slice/app.slice/plimsoll-1-x.scope/x").unwrap();
        assert_eq!(
            (scope.name.as_str(), scope.slice.as_str()),
            ("plimsoll-1-x.scope", "app.slice")
        );
        assert_eq!(
            scope.folder,
            Path::new("/sys/fs/cgroup/user.slice/app.slice/plimsoll-1-x.scope")
        );
        assert_eq!(Scope::of("/plimsoll-1/x"), None);
    }
}
