//! Who the process is: USER looked up in the image's own passwd and group.
//!
//! The files come from an image and are nobody's friend: they are opened inside the root, must be plain files of a
//! bounded size, and lines that make no sense are passed over.

use crate::RuntimeError;
use crate::container_spec::ContainerSpec;
use crate::root::Root;

/// The largest passwd or group file that is read.
const MAX_FILE: u64 = 16 << 20;

/// Numbers Docker accepts for users and groups.
const MAX_ID: u32 = i32::MAX as u32;

/// A user or group that cannot be had; Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such name in passwd.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No such name in group.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number that is no id.
    #[error("uids and gids must be in range 0-{MAX_ID}")]
    OutOfRange,
    /// Root, where it must not be.
    #[error(
        "user `{0}` is root in this image, which a hardened container must not be: name another by `--user`"
    )]
    Root(String),
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the first is `gid`: an empty list would leave the caller's groups in force.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Looks up the user of a container's first process.
pub(crate) fn of_container(root: &Root, spec: &ContainerSpec) -> Result<User, RuntimeError> {
    let user = lookup(root, &spec.user, &spec.group_add)?;
    if spec.non_root && user.uid == 0 {
        return Err(UserError::Root(spec.user.clone()).into());
    }
    Ok(user)
}

/// Looks `user` up in the root's files.
pub(crate) fn lookup(root: &Root, user: &str, group_add: &[String]) -> Result<User, RuntimeError> {
    let passwd = root.read("etc/passwd", MAX_FILE)?.unwrap_or_default();
    let group = root.read("etc/group", MAX_FILE)?.unwrap_or_default();
    Ok(resolve(user, group_add, &passwd, &group)?)
}

/// Returns the user and group that `user[:group]` means, by these two files of an image.
pub fn user_ids(user: &str, passwd: &str, group: &str) -> Result<(u32, u32), UserError> {
    let user = resolve(user, &[], passwd, group)?;
    Ok((user.uid, user.gid))
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (_gecos, home) = (fields.next(), fields.next().unwrap_or(""));
        Some(Account { name, uid, gid, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(Group {
            name,
            gid: fields.next()?.parse().ok()?,
            members: fields.next().unwrap_or(""),
        })
    })
}

/// The forms are `user`, `uid`, `user:group`, `uid:gid` and their mixtures; nothing is root.
fn resolve(text: &str, group_add: &[String], passwd: &str, group: &str) -> Result<User, UserError> {
    let (wanted, wanted_group) = text.split_once(':').unwrap_or((text, ""));
    let number = wanted.parse::<u32>().ok();
    // A number is never a name: an image could call root `1000` (CVE-2016-3697).
    let account = accounts(passwd).find(|account| match number {
        _ if wanted.is_empty() => account.uid == 0,
        Some(number) => account.uid == number,
        None => account.name == wanted,
    });
    let mut user = match (&account, number) {
        (Some(account), _) => User {
            uid: account.uid,
            gid: account.gid,
            groups: Vec::new(),
            home: account.home.to_owned(),
        },
        (None, Some(uid)) => User {
            uid,
            gid: 0,
            groups: Vec::new(),
            home: String::new(),
        },
        (None, None) if wanted.is_empty() => User {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            home: String::new(),
        },
        (None, None) if is_number(wanted) => return Err(UserError::OutOfRange),
        (None, None) => return Err(UserError::NoUser(wanted.to_owned())),
    };
    if user.home.is_empty() {
        user.home = "/".to_owned();
    }
    if wanted_group.is_empty() {
        user.groups.push(user.gid);
        let name = account.map_or("", |account| account.name);
        let listed =
            groups(group).filter(|group| !name.is_empty() && group.members.split(',').any(|m| m == name));
        user.groups.extend(listed.map(|group| group.gid));
    } else {
        user.gid = group_id(wanted_group, group)?;
        user.groups.push(user.gid);
    }
    for name in group_add {
        user.groups.push(group_id(name, group)?);
    }
    if user.uid > MAX_ID || user.groups.iter().any(|gid| *gid > MAX_ID) {
        return Err(UserError::OutOfRange);
    }
    let mut seen = std::collections::HashSet::new();
    user.groups.retain(|gid| seen.insert(*gid));
    Ok(user)
}

fn group_id(wanted: &str, group: &str) -> Result<u32, UserError> {
    let number = wanted.parse::<u32>().ok();
    let named = || groups(group).find(|group| group.name == wanted);
    match number.or_else(|| named().map(|group| group.gid)) {
        Some(gid) => Ok(gid),
        None if is_number(wanted) => Err(UserError::OutOfRange),
        None => Err(UserError::NoGroup(wanted.to_owned())),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
# a comment
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
broken:x:many:1::/:
node:x:1000:1000::/home/node:/bin/sh
1234:x:77:78::/home/digits:/bin/sh
homeless:x:5:5";
    const GROUP: &str = "\
root:x:0:root
wheel:x:10:root,node
docker:x:999:node,other
node:x:1000:
nodes:x:1001:nodejs
7:x:70:";

    fn ids(text: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        let user = resolve(text, &[], PASSWD, GROUP).map_err(|error| error.to_string())?;
        Ok((user.uid, user.gid, user.groups, user.home))
    }

    #[test]
    fn every_form_of_user() {
        type Ids = (u32, u32, &'static [u32], &'static str);
        let table: [(&str, Ids); 14] = [
            ("", (0, 0, &[0, 10], "/root")),
            ("root", (0, 0, &[0, 10], "/root")),
            ("0", (0, 0, &[0, 10], "/root")),
            ("node", (1000, 1000, &[1000, 10, 999], "/home/node")),
            ("1000", (1000, 1000, &[1000, 10, 999], "/home/node")),
            ("node:docker", (1000, 999, &[999], "/home/node")),
            ("node:0", (1000, 0, &[0], "/home/node")),
            ("4711", (4711, 0, &[0], "/")),
            ("4711:4712", (4711, 4712, &[4712], "/")),
            ("65532:nodes", (65532, 1001, &[1001], "/")),
            (":docker", (0, 999, &[999], "/root")),
            ("1234", (1234, 0, &[0], "/")),
            ("root:7", (0, 7, &[7], "/root")),
            ("homeless", (5, 5, &[5], "/")),
        ];
        for (text, (uid, gid, groups, home)) in table {
            assert_eq!(
                ids(text),
                Ok((uid, gid, groups.to_vec(), home.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_in_dockers_words() {
        let table = [
            (
                "nobody",
                "unable to find user nobody: no matching entries in passwd file",
            ),
            (
                "broken",
                "unable to find user broken: no matching entries in passwd file",
            ),
            (
                "node:nix",
                "unable to find group nix: no matching entries in group file",
            ),
            ("4294967295", "uids and gids must be in range 0-2147483647"),
            ("99999999999", "uids and gids must be in range 0-2147483647"),
            ("-1", "uids and gids must be in range 0-2147483647"),
            ("0:-1", "uids and gids must be in range 0-2147483647"),
        ];
        for (text, message) in table {
            assert_eq!(ids(text).unwrap_err(), message, "{text}");
        }
    }

    #[test]
    fn further_groups_are_added_once() {
        let add = ["docker".to_owned(), "42".to_owned(), "42".to_owned()];
        assert_eq!(
            resolve("root", &add, PASSWD, GROUP).unwrap().groups,
            [0, 10, 999, 42]
        );
        let none = resolve("root", &["nix".to_owned()], PASSWD, GROUP).unwrap_err();
        assert_eq!(none, UserError::NoGroup("nix".into()));
    }

    #[test]
    fn an_image_without_files_still_has_root_and_numbers() {
        let user = resolve("", &[], "", "").unwrap();
        assert_eq!(
            (user.uid, user.gid, user.groups, user.home.as_str()),
            (0, 0, vec![0], "/")
        );
        assert_eq!(
            resolve("app", &[], "", "").unwrap_err(),
            UserError::NoUser("app".into())
        );
        assert_eq!(resolve("1001", &[], "", "").unwrap().uid, 1001);
    }
}
