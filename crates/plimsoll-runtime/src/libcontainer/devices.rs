//! Which devices a container may use, on cgroup v2.
//!
//! The library writes the v1 files; on v2 it would need a C library. A device node is a door to the host (an image may
//! hold one, root may make one), so the rule is loaded here as the small program the kernel wants.

use crate::RuntimeError;
use crate::defaults;
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsFd;
use std::path::Path;

// Kinds of access and of devices (linux/bpf.h).
const MAKE_NODE: i32 = 1;
const CHARACTER: i32 = 2;

/// Limits the group in `folder` to the default devices.
pub(crate) fn limit(folder: &Path, privileged: bool) -> Result<(), RuntimeError> {
    if privileged {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let group = rustix::fs::open(folder, flags, Mode::empty()).map_err(RuntimeError::path("open", folder))?;
    plimsoll_linux::attach_device_program(group.as_fd(), &program())
        .map_err(RuntimeError::path("limit devices of", folder))
}

/// Answers 1 (may) for making any node and for using a default device, 0 otherwise. The argument in register 1 is
/// `struct bpf_cgroup_dev_ctx`: access << 16 | kind, major, minor.
fn program() -> Vec<u64> {
    let mut code = vec![
        load(2, 0),
        copy(3, 2),
        instruction(0x57, 2, 0, 0, 0xffff), // r2 &= 0xffff: the kind
        instruction(0x77, 3, 0, 0, 16),     // r3 >>= 16: the access
        load(4, 4),
        load(5, 8),
        skip_unless(3, MAKE_NODE, 2),
    ];
    code.extend(answer(1));
    code.push(instruction(0x15, 2, 0, 2, CHARACTER)); // kind == character: over the answer
    code.extend(answer(0));
    for (major, minor) in defaults::DEVICES {
        code.push(skip_unless(4, *major as i32, if minor.is_some() { 3 } else { 2 }));
        code.extend(minor.map(|minor| skip_unless(5, minor as i32, 2)));
        code.extend(answer(1));
    }
    code.extend(answer(0));
    code
}

fn load(register: u8, offset: i16) -> u64 {
    instruction(0x61, register, 1, offset, 0)
}

fn copy(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

fn skip_unless(register: u8, value: i32, count: i16) -> u64 {
    instruction(0x55, register, 0, count, value)
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
        limit(&group, false).unwrap();
        let node = tempfile::tempdir().unwrap();
        let script = format!(
            "echo $$ > {group}/cgroup.procs && cat /dev/null && mknod {node}/disk b 7 0 && mknod {node}/mem c 1 1 &&
             ! cat {node}/disk 2>{node}/error && grep -q 'not permitted' {node}/error && ! cat {node}/mem 2>/dev/null",
            group = group.display(),
            node = node.path().display(),
        );
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        std::fs::remove_dir(&group).unwrap();
        assert!(status.success());
    }
}
