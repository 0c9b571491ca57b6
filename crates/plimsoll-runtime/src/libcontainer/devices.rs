//! Which devices a container may use, on cgroup v2.
//!
//! The library writes the v1 files; on v2 it would need a C library. A device node is a door to the host (an image may
//! hold one, root may make one), so the rule is loaded here as the small program the kernel wants.

use crate::RuntimeError;
use crate::privilege::in_user_namespace;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsFd;
use std::path::Path;

// Kinds of devices and of access (linux/bpf.h).
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const ACCESS: [(char, i32); 3] = [('m', 1), ('r', 2), ('w', 4)];

/// Limits the group in `folder` to what the rules allow. The first rule denies all, or there is nothing to limit.
pub(crate) fn limit(folder: &Path, rules: &[LinuxDeviceCgroup]) -> Result<(), RuntimeError> {
    if rules.first().is_none_or(|first| first.allow()) {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = rustix::fs::open(folder, flags, Mode::empty()).map_err(RuntimeError::path("open", folder))?;
    match plimsoll_linux::attach_device_program(group.as_fd(), &program(rules)) {
        // A program of the kernel's is the machine's. Nobody can make nodes there either, and those of a layer are dead:
        // file systems that a user namespace mounts have no devices.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && in_user_namespace() => Ok(()),
        result => result.map_err(RuntimeError::path("limit devices of", folder)),
    }
}

/// Answers 1 (may) where a rule allows all that is asked, else 0. The argument in register 1 is
/// `struct bpf_cgroup_dev_ctx`: access << 16 | kind, major, minor.
fn program(rules: &[LinuxDeviceCgroup]) -> Vec<u64> {
    let mut code = vec![
        load(2, 0),
        copy(3, 2),
        instruction(0x57, 2, 0, 0, 0xffff), // r2 &= 0xffff: the kind
        instruction(0x77, 3, 0, 0, 16),     // r3 >>= 16: the access
        load(4, 4),
        load(5, 8),
    ];
    for rule in rules.iter().filter(|rule| rule.allow()) {
        code.extend(allow(rule));
    }
    code.extend(answer(0));
    code
}

/// Answers 1, or goes on behind.
fn allow(rule: &LinuxDeviceCgroup) -> Vec<u64> {
    let access = rule.access().as_deref().unwrap_or("rwm");
    let granted = ACCESS.iter().filter(|(letter, _)| access.contains(*letter));
    let denied = 7 & !granted.fold(0, |all, (_, bit)| all | bit);
    // (code, register, value): the tests of which each must hold.
    let mut tests = Vec::new();
    match rule.typ() {
        Some(LinuxDeviceType::B) => tests.push((UNLESS, 2, BLOCK)),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => tests.push((UNLESS, 2, CHARACTER)),
        _ => {}
    }
    if denied != 0 {
        tests.push((WITH_ANY, 3, denied));
    }
    let number = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok());
    tests.extend(number(rule.major()).map(|major| (UNLESS, 4, major)));
    tests.extend(number(rule.minor()).map(|minor| (UNLESS, 5, minor)));
    let count = tests.len();
    let tests = tests
        .into_iter()
        .enumerate()
        .map(|(at, (code, register, value))| {
            // Over the tests that follow and the two instructions of the answer.
            instruction(code, register, 0, (count - at - 1 + 2) as i16, value)
        });
    tests.chain(answer(1)).collect()
}

/// Jumps where the register is not the value, or has one of its bits.
const UNLESS: u8 = 0x55;
const WITH_ANY: u8 = 0x45;

fn load(register: u8, offset: i16) -> u64 {
    instruction(0x61, register, 1, offset, 0)
}

fn copy(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

fn answer(value: i32) -> [u64; 2] {
    [instruction(0xb7, 0, 0, 0, value), instruction(0x95, 0, 0, 0, 0)]
}

/// `struct bpf_insn` as one number.
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    u64::from_ne_bytes({
        let mut bytes = [0; 8];
        bytes[0] = code;
        bytes[1] = if cfg!(target_endian = "little") {
            from << 4 | to
        } else {
            to << 4 | from
        };
        bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&value.to_ne_bytes());
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_group_opens_default_devices_and_no_others() {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let unified = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let Some(point) = unified.and_then(|line| line.split(' ').nth(4)) else {
            eprintln!("skipped: needs cgroup v2 or the hybrid form");
            return;
        };
        let group = Path::new(point).join(format!("plimsoll-devices-{}", std::process::id()));
        if !rustix::process::geteuid().is_root() || std::fs::create_dir(&group).is_err() {
            eprintln!("skipped: needs root and a writable cgroup");
            return;
        }
        let spec = crate::ContainerSpec {
            device_rules: vec!["c 1:11 w".into()],
            ..Default::default()
        };
        let host = crate::host::Host::detect().unwrap();
        let resources = crate::spec::resources(&spec, &host, &mut Vec::new()).unwrap();
        limit(&group, resources.devices().as_deref().unwrap()).unwrap();
        let node = tempfile::tempdir().unwrap();
        let script = format!(
            "echo $$ > {group}/cgroup.procs && cat /dev/null && mknod {node}/disk b 7 0 && mknod {node}/mem c 1 1 &&
             ! cat {node}/disk 2>{node}/error && grep -q 'not permitted' {node}/error && ! cat {node}/mem 2>/dev/null &&
             mknod {node}/log c 1 11 && : >{node}/log && ! dd if={node}/log count=0 2>/dev/null",
            group = group.display(),
            node = node.path().display(),
        );
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        std::fs::remove_dir(&group).unwrap();
        assert!(status.success());
    }
}
