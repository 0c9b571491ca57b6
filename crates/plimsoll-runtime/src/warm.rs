//! Making the kernel ready to move processes between control groups.
//!
//! Moving one takes a lock that every fork of the machine holds for reading. On cgroup v1, which has no other way into a
//! group, the first to want it waits for a grace period of RCU: 5 to 20 ms. Who comes soon after it waits no more. So
//! whoever is going to start a container lets the kernel have that period while everything else is prepared.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How often the lock is taken, and the time between: longer than anything that is prepared meanwhile.
const TIMES: u32 = 25;
const PAUSE: Duration = Duration::from_millis(2);

/// How often the lock is still to be taken; above 0 while the thread that does it is there.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// Returns at once; a thread takes the lock for a while by moving this process where it is already. Asked again meanwhile, it
/// goes on for as long once more.
///
/// Without effect on cgroup v2, and where it is not allowed: then starting takes its time.
pub fn warm_control_groups() {
    if LEFT.swap(TIMES, Ordering::Relaxed) > 0 {
        return;
    }
    let keep_warm = || {
        let mut group = own_group();
        loop {
            let taken = group.as_mut().is_some_and(|group| group.write_all(b"0").is_ok());
            if !taken || LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    };
    // Where it cannot be done, or no thread be made, it counts as being done: nobody tries again.
    let _ = std::thread::Builder::new().stack_size(64 << 10).spawn(keep_warm);
}

/// The group of this process in the hierarchy that is cheapest to move in.
fn own_group() -> Option<File> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups
        .lines()
        .find_map(|line| line.split_once(":pids:/").map(|(_, path)| path))?;
    let procs = PathBuf::from("/sys/fs/cgroup/pids")
        .join(path)
        .join("cgroup.procs");
    File::options().write(true).open(procs).ok()
}
