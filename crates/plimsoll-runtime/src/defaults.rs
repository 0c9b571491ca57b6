//! Docker's hardening defaults, as data.
//!
//! What a container may do when nobody says anything. The names and numbers are Docker's, so that an image that runs
//! there runs here and one that is stopped there is stopped here.

pub(crate) mod capabilities;
pub(crate) mod seccomp;

use oci_spec::runtime::PosixRlimitType as Limit;
use rustix::process::Resource;

/// Where programs are looked for when the image sets no PATH.
pub(crate) const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of /dev/shm.
pub(crate) const SHM_SIZE: u64 = 64 << 20;

/// Files and directories of /proc and /sys that show the host: covered.
pub(crate) const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Parts of /proc that change the host: read-only.
pub(crate) const READ_ONLY_PATHS: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Kernel parameters of a container's own network: anyone may bind low ports and ping.
pub(crate) const NETWORK_SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// Kernel parameters of System V objects.
pub(crate) const IPC_SYSCTLS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// File system, source, target and options of each default mount, parents first.
pub(crate) const MOUNTS: &[(&str, &str, &str, &[&str])] = &[
    ("proc", "proc", "/proc", &["nosuid", "noexec", "nodev"]),
    (
        "tmpfs",
        "tmpfs",
        "/dev",
        &["nosuid", "strictatime", "mode=755", "size=65536k"],
    ),
    (
        "devpts",
        "devpts",
        "/dev/pts",
        &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ],
    ),
    ("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
    (
        "cgroup",
        "cgroup",
        "/sys/fs/cgroup",
        &["ro", "nosuid", "noexec", "nodev"],
    ),
    ("mqueue", "mqueue", "/dev/mqueue", &["nosuid", "noexec", "nodev"]),
    (
        "tmpfs",
        "shm",
        "/dev/shm",
        &["nosuid", "noexec", "nodev", "mode=1777"],
    ),
];

/// Character devices every container may use: null, zero, full, random, urandom, tty, console, ptmx, and any
/// terminal (None is any minor).
pub(crate) const DEVICES: &[(i64, Option<i64>)] = &[
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Docker's names of the process limits.
pub(crate) const ULIMITS: &[(&str, Limit, Resource)] = &[
    ("as", Limit::RlimitAs, Resource::As),
    ("core", Limit::RlimitCore, Resource::Core),
    ("cpu", Limit::RlimitCpu, Resource::Cpu),
    ("data", Limit::RlimitData, Resource::Data),
    ("fsize", Limit::RlimitFsize, Resource::Fsize),
    ("locks", Limit::RlimitLocks, Resource::Locks),
    ("memlock", Limit::RlimitMemlock, Resource::Memlock),
    ("msgqueue", Limit::RlimitMsgqueue, Resource::Msgqueue),
    ("nice", Limit::RlimitNice, Resource::Nice),
    ("nofile", Limit::RlimitNofile, Resource::Nofile),
    ("nproc", Limit::RlimitNproc, Resource::Nproc),
    ("rss", Limit::RlimitRss, Resource::Rss),
    ("rtprio", Limit::RlimitRtprio, Resource::Rtprio),
    ("rttime", Limit::RlimitRttime, Resource::Rttime),
    ("sigpending", Limit::RlimitSigpending, Resource::Sigpending),
    ("stack", Limit::RlimitStack, Resource::Stack),
];
