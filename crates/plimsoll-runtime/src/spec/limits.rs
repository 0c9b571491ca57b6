//! Limits of the group (memory, CPU, processes, devices) and of each process.

use crate::RuntimeError;
use crate::cgroup::Hierarchies;
use crate::container_spec::{ContainerSpec, Device, DeviceRate, Resources, Ulimit};
use crate::defaults;
use crate::host::Host;
use crate::id_map::IdMap;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxDevice, LinuxDeviceBuilder,
    LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemory, LinuxMemoryBuilder,
    LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder, LinuxThrottleDeviceBuilder,
    LinuxWeightDeviceBuilder, PosixRlimit, PosixRlimitBuilder,
};

/// Microseconds over which a share of CPU time is counted.
const PERIOD: u64 = 100_000;

pub(crate) fn group(
    spec: &ContainerSpec,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<LinuxResources, RuntimeError> {
    check_real_time(&spec.resources, host)?;
    let possible = without(&spec.resources, host, spec.non_root, warnings)?;
    let resources = &possible;
    let mut built = LinuxResourcesBuilder::default().devices(devices(spec)?);
    if let Some(memory) = memory(resources, host, warnings)? {
        built = built.memory(memory);
    }
    if let Some(cpu) = cpu(resources)? {
        built = built.cpu(cpu);
    }
    if let Some(blkio) = blkio(resources)? {
        built = built.block_io(blkio);
    }
    if let Some(limit) = resources.pids_limit.filter(|limit| *limit > 0) {
        built = built.pids(LinuxPidsBuilder::default().limit(limit).build()?);
    }
    Ok(built.build()?)
}

/// Docker's words: a program that counts on them must not run without.
fn check_real_time(resources: &Resources, host: &Host) -> Result<(), RuntimeError> {
    let (runtime, period) = real_time(resources);
    if runtime.is_none() && period.is_none() {
        return Ok(());
    }
    let too_long = |(runtime, period)| u64::try_from(runtime).is_ok_and(|runtime: u64| runtime > period);
    let text = if runtime.zip(period).is_some_and(too_long) {
        "cpu real-time runtime cannot be higher than cpu real-time period"
    } else if !host.shares_real_time {
        "kernel does not support CPU real-time scheduler"
    } else {
        return Ok(());
    };
    Err(RuntimeError::Invalid(text.to_owned()))
}

/// What is asked for.
fn real_time(resources: &Resources) -> (Option<i64>, Option<u64>) {
    let runtime = resources.cpu_rt_runtime.filter(|runtime| *runtime != 0);
    (runtime, resources.cpu_rt_period.filter(|period| *period > 0))
}

/// The limits that can be set here; what of them cannot is named, or refused for a container that has to have them.
fn without(
    asked: &Resources,
    host: &Host,
    hardened: bool,
    warnings: &mut Vec<String>,
) -> Result<Resources, RuntimeError> {
    let mut kept = asked.clone();
    let undelegated = match &host.controllers {
        Some(controllers) => take_undelegated(&mut kept, controllers),
        None => Vec::new(),
    };
    let unknown = match host.weighs_disks {
        true => Vec::new(),
        false => take_weights(&mut kept),
    };
    for (missing, why) in [
        (
            undelegated,
            "an ordinary user cannot set it here (`plimsoll system check` says what is missing)",
        ),
        (
            unknown,
            "this kernel has nothing that weighs reads and writes of disks, such as the scheduler BFQ",
        ),
    ] {
        if hardened && !missing.is_empty() {
            let text = format!(
                "a hardened container must have its limits: {}: {why}",
                missing.join(", ")
            );
            return Err(RuntimeError::Invalid(text));
        }
        let told = missing
            .iter()
            .map(|name| format!("limit `{name}` has no effect: {why}"));
        warnings.extend(told);
    }
    Ok(kept)
}

/// Takes away what belongs to other controllers than these, and names it.
fn take_undelegated(kept: &mut Resources, controllers: &[String]) -> Vec<&'static str> {
    let mut missing = Vec::new();
    let mut lacks = |controller: &str, limits: &[(&'static str, bool)]| {
        let lacks = !controllers.iter().any(|known| known == controller);
        if lacks {
            missing.extend(limits.iter().filter(|(_, asked)| *asked).map(|(name, _)| *name));
        }
        lacks
    };
    let set = |limit: Option<i64>| limit.is_some_and(|limit| limit > 0);
    let memory = [
        ("memory", set(kept.memory)),
        ("memory-reservation", set(kept.memory_reservation)),
    ];
    if lacks("memory", &memory) {
        (kept.memory, kept.memory_swap, kept.memory_reservation) = (None, None, None);
    }
    if lacks("pids", &[("pids-limit", set(kept.pids_limit))]) {
        kept.pids_limit = None;
    }
    let quota = kept.cpu_quota.is_some_and(|quota| quota != 0);
    let cpu = [
        ("cpus", set(kept.nano_cpus)),
        ("cpu-quota", quota),
        ("cpu-shares", kept.cpu_shares.is_some_and(|shares| shares > 0)),
    ];
    if lacks("cpu", &cpu) {
        (kept.nano_cpus, kept.cpu_quota, kept.cpu_period, kept.cpu_shares) = (None, None, None, None);
    }
    let sets = [
        ("cpuset-cpus", !kept.cpuset_cpus.is_empty()),
        ("cpuset-mems", !kept.cpuset_mems.is_empty()),
    ];
    if lacks("cpuset", &sets) {
        kept.cpuset_cpus.clear();
        kept.cpuset_mems.clear();
    }
    let weight = kept.blkio_weight.is_some_and(|weight| weight > 0);
    let disks = [
        ("blkio-weight", weight),
        ("device-read-bps and its kin", has_rates(kept)),
    ];
    if lacks("io", &disks) {
        kept.blkio_weight = None;
        for list in [
            &mut kept.blkio_weight_device,
            &mut kept.device_read_bps,
            &mut kept.device_write_bps,
            &mut kept.device_read_iops,
            &mut kept.device_write_iops,
        ] {
            list.clear();
        }
    }
    missing
}

/// Takes away the weights of disks, and names them.
fn take_weights(kept: &mut Resources) -> Vec<&'static str> {
    let weight = kept.blkio_weight.take().is_some_and(|weight| weight > 0);
    let devices = !std::mem::take(&mut kept.blkio_weight_device).is_empty();
    let names = [("blkio-weight", weight), ("blkio-weight-device", devices)];
    let asked = names.into_iter().filter(|(_, asked)| *asked);
    asked.map(|(name, _)| name).collect()
}

fn memory(
    resources: &Resources,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<Option<LinuxMemory>, RuntimeError> {
    let limit = resources.memory.filter(|bytes| *bytes > 0);
    let reservation = resources.memory_reservation.filter(|bytes| *bytes > 0);
    let legacy = |asked: bool, what: &str, warnings: &mut Vec<String>| {
        let unified = host.hierarchies == Hierarchies::Unified;
        if asked && unified {
            warnings.push(format!("{what} has no effect on cgroup v2"));
        }
        asked && !unified
    };
    let swappiness = resources.memory_swappiness;
    let swappiness = swappiness.filter(|_| legacy(swappiness.is_some(), "memory-swappiness", warnings));
    let no_killer = legacy(resources.oom_kill_disable, "oom-kill-disable", warnings);
    if limit.is_none() && reservation.is_none() && swappiness.is_none() && !no_killer {
        return Ok(None);
    }
    let mut built = LinuxMemoryBuilder::default();
    if let Some(swappiness) = swappiness {
        built = built.swappiness(swappiness);
    }
    if no_killer {
        built = built.disable_oom_killer(true);
    }
    if let Some(limit) = limit {
        built = built.limit(limit);
        let swap = match resources.memory_swap {
            None | Some(0) => limit.saturating_mul(2),
            Some(swap) if swap >= 0 && swap < limit => {
                return Err(RuntimeError::Invalid(
                    "minimum memoryswap limit should be larger than memory limit, see usage".into(),
                ));
            }
            Some(swap) => swap,
        };
        if host.limits_swap {
            built = built.swap(swap);
        } else if resources.memory_swap.is_some_and(|swap| swap != 0) {
            warnings.push("this kernel cannot limit swap: memory is limited without it".into());
        }
    }
    if let Some(reservation) = reservation {
        built = built.reservation(reservation);
    }
    Ok(Some(built.build()?))
}

fn cpu(resources: &Resources) -> Result<Option<LinuxCpu>, RuntimeError> {
    let shares = resources.cpu_shares.filter(|shares| *shares > 0);
    let nano_cpus = resources.nano_cpus.filter(|cpus| *cpus > 0);
    let quota = resources.cpu_quota.filter(|quota| *quota != 0);
    let period = resources.cpu_period.filter(|period| *period > 0);
    let (rt_runtime, rt_period) = real_time(resources);
    let set = [&resources.cpuset_cpus, &resources.cpuset_mems];
    let numbers = [nano_cpus, quota, rt_runtime];
    if shares.or(period).or(rt_period).is_none()
        && numbers.iter().all(Option::is_none)
        && set.iter().all(|text| text.is_empty())
    {
        return Ok(None);
    }
    let mut built = LinuxCpuBuilder::default();
    if let Some(shares) = shares {
        built = built.shares(shares);
    }
    if let Some(cpus) = nano_cpus {
        // The kernel takes no less than a millisecond.
        let quota = (i128::from(cpus) * i128::from(PERIOD) / 1_000_000_000).clamp(1000, i128::from(i64::MAX));
        built = built.period(PERIOD).quota(quota as i64);
    } else if quota.or(period.map(|_| -1)).is_some() {
        built = built.period(period.unwrap_or(PERIOD)).quota(quota.unwrap_or(-1));
    }
    if let Some(period) = rt_period {
        built = built.realtime_period(period);
    }
    if let Some(runtime) = rt_runtime {
        built = built.realtime_runtime(runtime);
    }
    if !resources.cpuset_mems.is_empty() {
        built = built.mems(&resources.cpuset_mems);
    }
    if !resources.cpuset_cpus.is_empty() {
        built = built.cpus(&resources.cpuset_cpus);
    }
    Ok(Some(built.build()?))
}

fn blkio(resources: &Resources) -> Result<Option<LinuxBlockIo>, RuntimeError> {
    let rates = |rates: &[DeviceRate]| -> Result<Vec<_>, RuntimeError> {
        let one = |rate: &DeviceRate| {
            let numbers = (i64::from(rate.major), i64::from(rate.minor));
            let built = LinuxThrottleDeviceBuilder::default()
                .major(numbers.0)
                .minor(numbers.1);
            Ok(built.rate(rate.value).build()?)
        };
        rates.iter().map(one).collect()
    };
    let weight = resources.blkio_weight.filter(|weight| *weight > 0);
    let mut built = LinuxBlockIoBuilder::default()
        .throttle_read_bps_device(rates(&resources.device_read_bps)?)
        .throttle_write_bps_device(rates(&resources.device_write_bps)?)
        .throttle_read_iops_device(rates(&resources.device_read_iops)?)
        .throttle_write_iops_device(rates(&resources.device_write_iops)?);
    if let Some(weight) = weight {
        built = built.weight(weight);
    }
    let weights = resources.blkio_weight_device.iter().map(|rate| {
        let built = LinuxWeightDeviceBuilder::default()
            .major(i64::from(rate.major))
            .minor(i64::from(rate.minor));
        built
            .weight(u16::try_from(rate.value).unwrap_or(u16::MAX))
            .build()
    });
    let built = built
        .weight_device(weights.collect::<Result<Vec<_>, _>>()?)
        .build()?;
    Ok((weight.is_some() || has_rates(resources)).then_some(built))
}

fn has_rates(resources: &Resources) -> bool {
    let lists = [
        &resources.blkio_weight_device,
        &resources.device_read_bps,
        &resources.device_write_bps,
        &resources.device_read_iops,
        &resources.device_write_iops,
    ];
    lists.iter().any(|list| !list.is_empty())
}

/// Everything is denied but making nodes, the default devices and those asked for; on cgroup v2 the same list becomes a
/// program.
fn devices(spec: &ContainerSpec) -> Result<Vec<LinuxDeviceCgroup>, RuntimeError> {
    let rule = |allow, kind, access: &str| {
        LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(kind)
            .access(access)
    };
    if spec.privileged {
        return Ok(vec![rule(true, LinuxDeviceType::A, "rwm").build()?]);
    }
    let mut rules = vec![
        rule(false, LinuxDeviceType::A, "rwm").build()?,
        rule(true, LinuxDeviceType::C, "m").build()?,
        rule(true, LinuxDeviceType::B, "m").build()?,
    ];
    for (major, minor) in defaults::DEVICES {
        let mut built = rule(true, LinuxDeviceType::C, "rwm").major(*major);
        if let Some(minor) = minor {
            built = built.minor(*minor);
        }
        rules.push(built.build()?);
    }
    for device in &spec.devices {
        let built = rule(true, kind(device.block), &device.access).major(device.major);
        rules.push(built.minor(device.minor).build()?);
    }
    for text in &spec.device_rules {
        rules.push(device_rule(text)?);
    }
    Ok(rules)
}

/// The node of a device that was asked for: it belongs to whom it belongs on the host, in the container.
pub(super) fn node(device: &Device, map: Option<&IdMap>) -> Result<LinuxDevice, RuntimeError> {
    let uid = map.and_then(|map| map.outer_user(device.uid));
    let gid = map.and_then(|map| map.outer_group(device.gid));
    Ok(LinuxDeviceBuilder::default()
        .path(&device.path)
        .typ(kind(device.block))
        .major(device.major)
        .minor(device.minor)
        .file_mode(device.mode)
        .uid(uid.unwrap_or(device.uid))
        .gid(gid.unwrap_or(device.gid))
        .build()?)
}

fn kind(block: bool) -> LinuxDeviceType {
    if block {
        LinuxDeviceType::B
    } else {
        LinuxDeviceType::C
    }
}

/// `c 42:* rmw`, as `--device-cgroup-rule` takes it.
fn device_rule(text: &str) -> Result<LinuxDeviceCgroup, RuntimeError> {
    let wrong = || RuntimeError::Invalid(format!("invalid device cgroup format `{text}`"));
    let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>()[..] else {
        return Err(wrong());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse::<u32>().map(|number| Some(i64::from(number))),
    };
    let (major, minor) = (
        number(major).map_err(|_| wrong())?,
        number(minor).map_err(|_| wrong())?,
    );
    if access.is_empty() || access.len() > 3 || !access.bytes().all(|byte| b"rwm".contains(&byte)) {
        return Err(wrong());
    }
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(wrong()),
    };
    let mut built = LinuxDeviceCgroupBuilder::default()
        .allow(true)
        .typ(kind)
        .access(access);
    if let Some(major) = major {
        built = built.major(major);
    }
    if let Some(minor) = minor {
        built = built.minor(minor);
    }
    Ok(built.build()?)
}

/// The wished score, or the nearest this process may give: lowering it is a privilege.
pub(super) fn oom_score(spec: &ContainerSpec, host: &Host, warnings: &mut Vec<String>) -> Option<i32> {
    let wanted = spec.oom_score_adj?;
    if wanted >= host.oom_score_adj || host.may("SYS_RESOURCE") {
        return Some(wanted);
    }
    warnings.push(format!(
        "oom-score-adj is held at {}: lowering it needs CAP_SYS_RESOURCE",
        host.oom_score_adj
    ));
    Some(host.oom_score_adj)
}

/// Limits of each process, no higher than this process may set them.
pub(super) fn process(
    ulimits: &[Ulimit],
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<Vec<PosixRlimit>, RuntimeError> {
    let mut limits = Vec::new();
    for wanted in ulimits {
        let Some((name, kind, _)) = defaults::ULIMITS.iter().find(|(name, ..)| *name == wanted.name) else {
            return Err(RuntimeError::Invalid(format!(
                "invalid ulimit type: {}",
                wanted.name
            )));
        };
        if wanted.soft > wanted.hard {
            return Err(RuntimeError::Invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                wanted.soft, wanted.hard
            )));
        }
        let present = host.hard_limit(name);
        let hard = if host.may("SYS_RESOURCE") {
            wanted.hard
        } else {
            wanted.hard.min(present)
        };
        if hard < wanted.hard {
            warnings.push(format!(
                "ulimit `{name}` is held at {hard}: raising it needs CAP_SYS_RESOURCE"
            ));
        }
        limits.push(
            PosixRlimitBuilder::default()
                .typ(*kind)
                .hard(hard)
                .soft(wanted.soft.min(hard))
                .build()?,
        );
    }
    Ok(limits)
}
