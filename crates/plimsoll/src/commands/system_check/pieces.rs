//! What this machine has to have, for root and for ordinary users.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::env;
use crate::rootless::{self, ids};

/// How it is with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is there.
    Ok,
    /// Something will not work.
    Missing,
    /// Something could be better, or is to be known.
    Note,
}

/// One thing that is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Piece {
    pub(crate) name: &'static str,
    pub(crate) status: Status,
    /// What was found.
    pub(crate) detail: String,
    /// The line that installs or enables it, on Debian and Ubuntu.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

impl Piece {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, detail, None)
    }

    fn missing(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Status::Missing, detail, Some(fix.into()))
    }

    fn note(name: &'static str, detail: impl Into<String>, fix: Option<&str>) -> Self {
        Self::new(name, Status::Note, detail, fix.map(str::to_owned))
    }

    fn new(name: &'static str, status: Status, detail: impl Into<String>, fix: Option<String>) -> Self {
        Self {
            name,
            status,
            detail: detail.into(),
            fix,
        }
    }
}

/// Everything, for the user who asks.
pub(crate) fn all() -> Vec<Piece> {
    let ordinary = rootless::is_ordinary_user();
    let probe = Probe::run();
    let mut pieces = vec![kernel()];
    if ordinary {
        pieces.extend([user_namespaces(&probe), id_programs(), ids_of_user()]);
    }
    pieces.extend([overlay(&probe), seccomp(), nft()]);
    if ordinary {
        pieces.extend([way_out(), tun(), route(), low_ports(), manager()]);
    }
    pieces.push(groups(ordinary));
    match ordinary {
        true => pieces.push(linger()),
        false => pieces.push(firewalls()),
    }
    pieces
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn number(path: &str) -> Option<i64> {
    read(path).parse().ok()
}

/// The place of a program, where a user's PATH may lack sbin.
fn program(name: &str) -> Option<PathBuf> {
    let folders = env::path()
        .into_iter()
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// What a child of ours could do that tried.
#[derive(Debug, Default)]
struct Probe {
    namespaces: Option<String>,
    overlay: Option<String>,
}

impl Probe {
    fn run() -> Self {
        let output = Command::new("/proc/self/exe")
            .arg(rootless::ROLE)
            .arg(rootless::PROBE)
            .stdin(Stdio::null())
            .output();
        let text = output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let said = |what: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(what))
                .unwrap_or(" cannot be tried");
            Some(line.trim().to_owned()).filter(|line| line != "ok")
        };
        Self {
            namespaces: said("namespaces"),
            overlay: said("overlay"),
        }
    }
}

fn kernel() -> Piece {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release
        .split(|digit: char| !digit.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version {
        (0..=4, _) | (5, 0..=10) => Piece::missing(
            "kernel",
            format!("Linux {release}: 5.11 is the first for ordinary users, 5.12 for everything"),
            "sudo apt install --install-recommends linux-image-amd64",
        ),
        (5, 11..=18) => Piece::note(
            "kernel",
            format!("Linux {release}: containers get users of their own from 5.19 on"),
            None,
        ),
        _ => Piece::ok("kernel", format!("Linux {release}")),
    }
}

fn user_namespaces(probe: &Probe) -> Piece {
    const NAME: &str = "user namespaces";
    if number("/proc/sys/user/max_user_namespaces") == Some(0) {
        return Piece::missing(
            NAME,
            "`user.max_user_namespaces` is 0",
            "sudo sysctl -w user.max_user_namespaces=28633",
        );
    }
    if number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        let fix = "sudo sysctl -w kernel.unprivileged_userns_clone=1";
        return Piece::missing(NAME, "they are root's alone", fix);
    }
    let restricted = number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    match &probe.namespaces {
        None => Piece::ok(NAME, "can be made"),
        Some(said) if restricted => Piece::missing(
            NAME,
            format!("AppArmor leaves no rights in them: {said}"),
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        Some(said) => Piece::missing(NAME, said, "sudo sysctl -w user.max_user_namespaces=28633"),
    }
}

fn id_programs() -> Piece {
    const NAME: &str = "newuidmap, newgidmap";
    const FIX: &str = "sudo apt install uidmap";
    for name in ["newuidmap", "newgidmap"] {
        let Some(path) = program(name) else {
            return Piece::missing(NAME, format!("`{name}` is not installed"), FIX);
        };
        let by_bit = fs::metadata(&path).is_ok_and(|facts| facts.permissions().mode() & 0o4000 != 0);
        let by_capability = rustix::fs::getxattr(&path, "security.capability", &mut [0_u8; 64][..]).is_ok();
        if !by_bit && !by_capability {
            let fix = format!("sudo chmod u+s {}", path.display());
            return Piece::missing(NAME, format!("`{}` has no right to set ids", path.display()), fix);
        }
    }
    Piece::ok(NAME, "installed")
}

fn ids_of_user() -> Piece {
    const NAME: &str = "subordinate ids";
    let count = ids::Subordinate::of_caller().count();
    if count >= ids::ENOUGH {
        return Piece::ok(NAME, format!("{count} users and groups"));
    }
    let uid = rustix::process::getuid().as_raw();
    let user = ids::user_name(uid).unwrap_or_else(|| uid.to_string());
    let first = ids::first_free();
    let range = format!("{first}-{}", first + ids::ENOUGH - 1);
    let fix = format!("sudo usermod --add-subuids {range} --add-subgids {range} {user}");
    Piece::missing(
        NAME,
        format!(
            "{count} in {} and {}; images use {}",
            ids::SUBUID,
            ids::SUBGID,
            ids::ENOUGH
        ),
        fix,
    )
}

fn overlay(probe: &Probe) -> Piece {
    match &probe.overlay {
        None => Piece::ok("overlay", "can be mounted"),
        Some(said) => Piece::missing("overlay", said, "sudo modprobe overlay"),
    }
}

fn seccomp() -> Piece {
    match read("/proc/self/status").contains("Seccomp:") {
        true => Piece::ok("seccomp", "system calls can be filtered"),
        false => Piece::missing(
            "seccomp",
            "this kernel filters no system calls",
            "sudo apt install --install-recommends linux-image-amd64",
        ),
    }
}

fn nft() -> Piece {
    match program("nft") {
        Some(path) => Piece::ok("nft", path.display().to_string()),
        None => Piece::missing(
            "nft",
            "no network but `none` and `host` without it",
            "sudo apt install nftables",
        ),
    }
}

fn way_out() -> Piece {
    let found = ["pasta", "slirp4netns"].into_iter().find_map(program);
    match found {
        Some(path) => Piece::ok("pasta or slirp4netns", path.display().to_string()),
        None => Piece::missing(
            "pasta or slirp4netns",
            "containers cannot reach anything outside of this machine",
            "sudo apt install passt",
        ),
    }
}

fn tun() -> Piece {
    let path = "/dev/net/tun";
    match fs::File::options().read(true).write(true).open(path) {
        Ok(_) => Piece::ok(path, "can be opened"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Piece::missing(
            path,
            "you may not open it: containers cannot reach anything outside",
            "echo 'KERNEL==\"tun\", MODE=\"0666\"' | sudo tee /etc/udev/rules.d/90-tun.rules && sudo chmod 0666 /dev/net/tun",
        ),
        Err(error) => Piece::missing(path, error.to_string(), "sudo modprobe tun"),
    }
}

fn route() -> Piece {
    let table = read("/proc/net/route");
    let has_default = table
        .lines()
        .skip(1)
        .any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    match has_default {
        true => Piece::ok("default route", "there is one"),
        false => Piece::note(
            "default route",
            "there is none: containers cannot reach anything outside",
            None,
        ),
    }
}

fn low_ports() -> Piece {
    const NAME: &str = "ports below 1024";
    match number("/proc/sys/net/ipv4/ip_unprivileged_port_start") {
        Some(start) if start > 80 => Piece::note(
            NAME,
            format!("the lowest port you can publish is {start}"),
            Some("sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80"),
        ),
        _ => Piece::ok(NAME, "can be published"),
    }
}

fn user_socket() -> PathBuf {
    format!("/run/user/{}/systemd/private", rustix::process::getuid().as_raw()).into()
}

fn manager() -> Piece {
    const NAME: &str = "systemd for users";
    match user_socket().exists() {
        true => Piece::ok(NAME, "it runs for you"),
        false => Piece::missing(
            NAME,
            "it does not run for you: containers have no limits, and cannot be paused",
            "sudo apt install libpam-systemd dbus-user-session && sudo loginctl enable-linger $USER",
        ),
    }
}

/// What limits are set by.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
const DELEGATE: &str = "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload";
const UNIFIED: &str = "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub && sudo update-grub && sudo reboot";

fn groups(ordinary: bool) -> Piece {
    const NAME: &str = "control groups";
    let all = Path::new("/sys/fs/cgroup/cgroup.controllers");
    match (all.exists(), ordinary) {
        (false, true) => Piece::missing(
            NAME,
            "version 1, in which ordinary users have none: no limits",
            UNIFIED,
        ),
        (false, false) => Piece::ok(NAME, "version 1"),
        (true, false) => lacking(NAME, &read(all), None),
        (true, true) => {
            let uid = rustix::process::getuid().as_raw();
            let own =
                format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
            lacking(NAME, &read(own), Some(DELEGATE))
        }
    }
}

fn lacking(name: &'static str, controllers: &str, fix: Option<&str>) -> Piece {
    let has = |wanted: &&&str| controllers.split_whitespace().any(|known| known == **wanted);
    let missing: Vec<&str> = CONTROLLERS
        .iter()
        .filter(|wanted| !has(wanted))
        .copied()
        .collect();
    if missing.is_empty() {
        return Piece::ok(name, format!("version 2, with {}", CONTROLLERS.join(", ")));
    }
    let detail = format!("version 2, without {}: no such limits", missing.join(", "));
    match fix {
        Some(fix) => Piece::missing(name, detail, fix),
        None => Piece::note(name, detail, None),
    }
}

fn linger() -> Piece {
    const NAME: &str = "lingering";
    let uid = rustix::process::getuid().as_raw();
    let user = ids::user_name(uid).unwrap_or_else(|| uid.to_string());
    match Path::new("/var/lib/systemd/linger").join(&user).exists() {
        true => Piece::ok(NAME, "containers go on when you have logged out"),
        false => Piece::note(
            NAME,
            "containers may end when you log out, and are not there after a boot",
            Some(&format!("sudo loginctl enable-linger {user}")),
        ),
    }
}

fn firewalls() -> Piece {
    const NAME: &str = "other firewalls";
    match plimsoll_network::foreign_firewalls() {
        0 => Piece::ok(NAME, "none drops what is forwarded"),
        count => Piece::note(
            NAME,
            format!("{count} would drop what is forwarded: each bridge gets accept rules there"),
            None,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_that_are_not_delegated_are_named() {
        let piece = lacking("x", "memory pids", Some("do"));
        assert_eq!(piece.status, Status::Missing);
        assert!(
            piece.detail.contains("without cpu, cpuset, io"),
            "{}",
            piece.detail
        );
        assert_eq!(
            lacking("x", "cpuset cpu io memory hugetlb pids", Some("do")).status,
            Status::Ok
        );
        assert_eq!(lacking("x", "", None).status, Status::Note);
    }

    #[test]
    fn whatever_is_missing_says_what_to_do() {
        for piece in all() {
            assert!(
                piece.status != Status::Missing || piece.fix.is_some(),
                "{piece:?}"
            );
            assert!(!piece.detail.is_empty(), "{piece:?}");
        }
    }
}
