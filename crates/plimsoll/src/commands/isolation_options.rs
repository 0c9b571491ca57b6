//! Flags of `run` and `create` about what a container shares, may use, and must not be.

use std::os::unix::fs::MetadataExt as _;

use plimsoll_container::{
    CreateOptions, DeviceRequest, Isolation, MountRequest, NetworkMode, is_device_name,
};
use plimsoll_oci::ContainerConfig;
use plimsoll_runtime::{DeviceRate, Resources, Seccomp};

use super::container_options::bytes;
use crate::command_error::{CommandError, Kind};

/// See the module.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct IsolationArgs {
    /// Refuse everything a container does not need: root, a writable root, capabilities not asked for, no limits
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    hardened: Option<bool>,
    /// Who makes the container: `direct` where that leads, or `libcontainer`
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    runtime: String,
    /// Put a small init in front of the program, which reaps processes and forwards signals
    #[arg(long)]
    init: bool,
    /// Whose processes it sees: `host` or `container:NAME`
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    pid: String,
    /// Whose shared memory it has: `none`, `private`, `shareable`, `host` or `container:NAME`
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    ipc: String,
    /// Whose host name it has: `host`
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    uts: String,
    /// Whose users it has: `host`, `auto` for its own, or `UID:GID[:SIZE]` of its root on the host
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    userns: String,
    /// Who some of its users are on the host, instead of --userns
    #[arg(long, value_name = "CONTAINER:HOST[:SIZE]")]
    uidmap: Vec<String>,
    /// Likewise for groups; without it they are as its users
    #[arg(long, value_name = "CONTAINER:HOST[:SIZE]")]
    gidmap: Vec<String>,
    /// Whose control groups it sees: `private` or `host`
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    cgroupns: String,
    /// Put its control group below this one, or into a slice of systemd such as `work.slice`
    #[arg(long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    cgroup_parent: String,
    /// Give it a device of the host, or one that its maker describes, such as `vendor.com/class=name`
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]")]
    device: Vec<String>,
    /// Give it GPUs: `all`, a number, or fields such as `device=0,driver=nvidia`
    #[arg(long, value_name = "REQUEST", value_parser = super::gpus::parse)]
    gpus: Vec<DeviceRequest>,
    /// Allow it to use devices, such as `c 42:* rmw`
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
    /// How readily the kernel kills it for want of memory, -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: Option<i32>,
    /// Let processes wait instead of killing them for want of memory
    #[arg(long)]
    oom_kill_disable: bool,
    /// How readily its memory is swapped out, 0 to 100
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=100))]
    memory_swappiness: Option<i64>,
    /// Microseconds of processor time in each period
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Microseconds of such a period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Microseconds of real-time tasks in each period, on cgroup v1
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// Microseconds of such a period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Memory nodes to use, such as `0-1`
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Weight of its reading and writing against others, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// The same for one device
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    blkio_weight_device: Vec<String>,
    /// Limit the bytes read from a device each second
    #[arg(long, value_name = "DEVICE:BYTES")]
    device_read_bps: Vec<String>,
    /// Limit the bytes written to a device each second
    #[arg(long, value_name = "DEVICE:BYTES")]
    device_write_bps: Vec<String>,
    /// Limit the reads from a device each second
    #[arg(long, value_name = "DEVICE:NUMBER")]
    device_read_iops: Vec<String>,
    /// Limit the writes to a device each second
    #[arg(long, value_name = "DEVICE:NUMBER")]
    device_write_iops: Vec<String>,
}

impl IsolationArgs {
    /// All but what `--security-opt` says.
    pub(crate) fn isolation(&self) -> Isolation {
        let (described, devices): (Vec<_>, Vec<_>) =
            self.device.iter().cloned().partition(|text| is_device_name(text));
        let mut device_requests = self.gpus.clone();
        if !described.is_empty() {
            device_requests.push(DeviceRequest::named(described));
        }
        Isolation {
            pid: self.pid.clone(),
            ipc: self.ipc.clone(),
            uts: self.uts.clone(),
            cgroupns: self.cgroupns.clone(),
            cgroup_parent: self.cgroup_parent.clone(),
            userns: self.userns.clone(),
            uid_maps: self.uidmap.clone(),
            gid_maps: self.gidmap.clone(),
            init: self.init,
            runtime: self.runtime.clone(),
            oom_score_adj: self.oom_score_adj,
            devices,
            device_requests,
            device_rules: self.device_cgroup_rule.clone(),
            ..Isolation::default()
        }
    }

    /// What the other flags say about limits stays.
    pub(crate) fn limits(&self, resources: Resources) -> Result<Resources, CommandError> {
        let wrong = |text: &str| Err(CommandError::usage(text));
        if self
            .blkio_weight
            .is_some_and(|weight| weight != 0 && !(10..=1000).contains(&weight))
        {
            return wrong("Range of blkio weight is from 10 to 1000");
        }
        if resources.nano_cpus.is_some() && self.cpu_quota.or(self.cpu_period.map(|_| 0)).is_some() {
            return wrong("Conflicting options: Nano CPUs and CPU Quota or Period cannot both be set");
        }
        if self
            .cpu_period
            .is_some_and(|period| period != 0 && !(1_000..=1_000_000).contains(&period))
        {
            return wrong(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            );
        }
        if self.cpu_quota.is_some_and(|quota| quota > 0 && quota < 1_000) {
            return wrong("CPU cfs quota can not be less than 1ms (i.e. 1000)");
        }
        let rates = |texts: &[String], value: fn(&str) -> Option<u64>| -> Result<Vec<_>, CommandError> {
            texts.iter().map(|text| rate(text, value)).collect()
        };
        let size = |text: &str| bytes(text).ok().and_then(|bytes| u64::try_from(bytes).ok());
        let number = |text: &str| text.parse().ok();
        let weight = |text: &str| text.parse().ok().filter(|weight| (10..=1000).contains(weight));
        Ok(Resources {
            cpu_quota: self.cpu_quota,
            cpu_period: self.cpu_period,
            cpu_rt_runtime: self.cpu_rt_runtime,
            cpu_rt_period: self.cpu_rt_period,
            cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
            memory_swappiness: self
                .memory_swappiness
                .and_then(|percent| u64::try_from(percent).ok()),
            oom_kill_disable: self.oom_kill_disable,
            blkio_weight: self.blkio_weight,
            blkio_weight_device: rates(&self.blkio_weight_device, weight)?,
            device_read_bps: rates(&self.device_read_bps, size)?,
            device_write_bps: rates(&self.device_write_bps, size)?,
            device_read_iops: rates(&self.device_read_iops, number)?,
            device_write_iops: rates(&self.device_write_iops, number)?,
            ..resources
        })
    }

    /// Makes the container as narrow as it can be, where the flag or the settings ask for it.
    pub(crate) fn harden(
        &self,
        setting: bool,
        options: &mut CreateOptions,
        image: &ContainerConfig,
    ) -> Result<(), CommandError> {
        if !self.hardened.unwrap_or(setting) {
            return Ok(());
        }
        let reasons = refusals(options, image);
        if !reasons.is_empty() {
            let source = if self.hardened.is_some() {
                "`--hardened`"
            } else {
                "`hardened` in the settings"
            };
            let text = format!("{source} cannot be met:\n  - {}", reasons.join("\n  - "));
            return Err(CommandError::new(Kind::Container(125), text));
        }
        narrow(options);
        Ok(())
    }
}

/// Processes and threads of a hardened container where nobody says how many.
const PIDS: i64 = 512;

fn narrow(options: &mut CreateOptions) {
    options.read_only = true;
    options.no_new_privileges = true;
    options.cap_drop = vec!["ALL".to_owned()];
    options.isolation.non_root = true;
    options.resources.pids_limit.get_or_insert(PIDS);
    if !options.mounts.iter().any(|mount| mount.target == "/tmp") {
        let tmp = MountRequest::parse_tmpfs("/tmp:mode=1777").expect("it is well-formed");
        options.mounts.push(tmp);
    }
}

/// Every reason, each with the way out.
fn refusals(options: &CreateOptions, image: &ContainerConfig) -> Vec<String> {
    let isolation = &options.isolation;
    let user = options.user.as_deref().unwrap_or(&image.user);
    let is_root = matches!(user.split(':').next(), None | Some("" | "0" | "root"));
    let root = match (is_root, &options.user) {
        (false, _) => None,
        (true, Some(_)) => Some("`--user` is root: name another, such as `--user 1000:1000`"),
        (true, None) => Some("the image runs as root: add `--user UID[:GID]`, or `USER` to its Dockerfile"),
    };
    let memory = options.resources.memory.is_none_or(|bytes| bytes <= 0);
    let pids = options.resources.pids_limit.is_some_and(|limit| limit <= 0);
    let all = options
        .cap_add
        .iter()
        .any(|name| matches!(name.to_ascii_uppercase().as_str(), "ALL" | "CAP_ALL"));
    let security = |wanted: &str| {
        isolation
            .security_opt
            .iter()
            .any(|option| option.replacen(':', "=", 1) == wanted)
    };
    let table = [
        (
            memory,
            "no memory limit: add `--memory BYTES`, such as `--memory 512m`",
        ),
        (
            pids,
            "`--pids-limit` is unlimited: give a number, or leave it out for 512",
        ),
        (
            options.privileged,
            "`--privileged` gives everything: take it away, and add what is needed by `--cap-add` and `--device`",
        ),
        (
            all,
            "`--cap-add ALL` gives every capability: name those that are needed",
        ),
        (
            options.seccomp == Seccomp::Unconfined,
            "`seccomp=unconfined` allows every system call: name a profile, or leave it out",
        ),
        (
            isolation.unconfined_paths,
            "`systempaths=unconfined` shows the host's /proc and /sys: leave it out",
        ),
        (
            security("apparmor=unconfined"),
            "`apparmor=unconfined` takes a wall away: leave it out",
        ),
        (
            security("no-new-privileges=false"),
            "`no-new-privileges=false` contradicts it: leave it out",
        ),
        (
            isolation.pid == "host",
            "`--pid host` shows the host's processes: leave it out",
        ),
        (
            isolation.ipc == "host",
            "`--ipc host` shares the host's memory: leave it out, or use `shareable`",
        ),
        (
            isolation.uts == "host",
            "`--uts host` shares the host's name: leave it out",
        ),
        (
            isolation.cgroupns == "host",
            "`--cgroupns host` shows the host's control groups: leave it out",
        ),
        (
            options.network == NetworkMode::Host,
            "`--network host` is the host's own network: use a bridge and `--publish`",
        ),
    ];
    let others = table
        .into_iter()
        .filter(|(refused, _)| *refused)
        .map(|(_, reason)| reason);
    root.into_iter().chain(others).map(str::to_owned).collect()
}

/// `/dev/sda:1mb`: a block device of this machine, and what is allowed.
fn rate(text: &str, value: fn(&str) -> Option<u64>) -> Result<DeviceRate, CommandError> {
    let wrong = |reason: &str| CommandError::usage(format!("bad format: `{text}`: {reason}"));
    let (path, allowed) = text
        .rsplit_once(':')
        .ok_or_else(|| wrong("expected `DEVICE:VALUE`"))?;
    let facts =
        std::fs::metadata(path).map_err(|error| wrong(&format!("cannot look at `{path}`: {error}")))?;
    let value = value(allowed).ok_or_else(|| wrong("the value is out of range"))?;
    Ok(DeviceRate {
        major: rustix::fs::major(facts.rdev()),
        minor: rustix::fs::minor(facts.rdev()),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(user: &str) -> ContainerConfig {
        ContainerConfig {
            user: user.to_owned(),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn every_reason_is_told_at_once() {
        let mut options = CreateOptions {
            privileged: true,
            cap_add: vec!["all".to_owned()],
            seccomp: Seccomp::Unconfined,
            network: NetworkMode::Host,
            ..CreateOptions::default()
        };
        options.resources.pids_limit = Some(-1);
        options.isolation.pid = "host".to_owned();
        options.isolation.security_opt = vec!["no-new-privileges:false".to_owned()];
        let reasons = refusals(&options, &image(""));
        assert_eq!(reasons.len(), 9, "{reasons:#?}");
        assert!(reasons.iter().all(|reason| reason.contains(": ")));
    }

    #[test]
    fn what_can_be_met_is_narrowed() {
        let args = IsolationArgs::default();
        let mut options = CreateOptions {
            cap_add: vec!["NET_BIND_SERVICE".to_owned()],
            ..CreateOptions::default()
        };
        options.resources.memory = Some(64 << 20);
        args.harden(false, &mut options, &image("app")).unwrap();
        assert!(!options.read_only);
        args.harden(true, &mut options, &image("app")).unwrap();
        assert!(options.read_only && options.no_new_privileges && options.isolation.non_root);
        assert_eq!(
            (options.cap_drop[0].as_str(), options.resources.pids_limit),
            ("ALL", Some(512))
        );
        assert_eq!(options.mounts[0].target, "/tmp");
        let off = IsolationArgs {
            hardened: Some(false),
            ..IsolationArgs::default()
        };
        off.harden(true, &mut CreateOptions::default(), &image(""))
            .unwrap();
    }
}
