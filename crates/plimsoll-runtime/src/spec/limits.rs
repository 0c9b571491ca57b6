//! Limits of the group (memory, CPU, processes, devices) and of each process.

use crate::RuntimeError;
use crate::container_spec::{ContainerSpec, Resources, Ulimit};
use crate::defaults;
use crate::host::Host;
use oci_spec::runtime::{
    LinuxCpu, LinuxCpuBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemory,
    LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder, PosixRlimit,
    PosixRlimitBuilder,
};

/// Microseconds over which a share of CPU time is counted.
const PERIOD: u64 = 100_000;

pub(super) fn group(
    spec: &ContainerSpec,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<LinuxResources, RuntimeError> {
    let resources = &spec.resources;
    let mut built = LinuxResourcesBuilder::default().devices(devices(spec.privileged)?);
    if let Some(memory) = memory(resources, host, warnings)? {
        built = built.memory(memory);
    }
    if let Some(cpu) = cpu(resources)? {
        built = built.cpu(cpu);
    }
    if let Some(limit) = resources.pids_limit.filter(|limit| *limit > 0) {
        built = built.pids(LinuxPidsBuilder::default().limit(limit).build()?);
    }
    Ok(built.build()?)
}

fn memory(
    resources: &Resources,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<Option<LinuxMemory>, RuntimeError> {
    let limit = resources.memory.filter(|bytes| *bytes > 0);
    let reservation = resources.memory_reservation.filter(|bytes| *bytes > 0);
    if limit.is_none() && reservation.is_none() {
        return Ok(None);
    }
    let mut built = LinuxMemoryBuilder::default();
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
    if shares.is_none() && nano_cpus.is_none() && resources.cpuset_cpus.is_empty() {
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
    }
    if !resources.cpuset_cpus.is_empty() {
        built = built.cpus(&resources.cpuset_cpus);
    }
    Ok(Some(built.build()?))
}

/// Everything is denied but making nodes and the default devices; on cgroup v2 the same list becomes a program.
fn devices(privileged: bool) -> Result<Vec<LinuxDeviceCgroup>, RuntimeError> {
    let rule = |allow, kind, access: &str| {
        LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(kind)
            .access(access)
    };
    if privileged {
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
    Ok(rules)
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
        let hard = if host.holds("SYS_RESOURCE") {
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
