//! What a container may use at most. `deploy.resources` goes before the older keys; the loader has made sure that they agree.

use std::os::unix::fs::MetadataExt as _;

use plimsoll_runtime::{DeviceRate, Resources};

use super::Making;
use crate::error::Result;

impl Making<'_> {
    pub(super) fn resources(&self) -> Result<Resources> {
        let service = self.service;
        let deploy = service.deploy.as_ref().map(|deploy| &deploy.resources);
        let limits = deploy.map(|resources| &resources.limits);
        let reserved = deploy.map(|resources| &resources.reservations);
        let cpus = limits.and_then(|limits| limits.cpus).or(service.cpus);
        let memory = limits.and_then(|limits| limits.memory).or(service.mem_limit);
        let reservation = reserved
            .and_then(|reserved| reserved.memory)
            .or(service.mem_reservation);
        let pids = limits.and_then(|limits| limits.pids).or(service.pids_limit);
        let blkio = service.blkio_config.clone().unwrap_or_default();
        let weights = blkio
            .weight_device
            .iter()
            .map(|device| (&device.path, device.weight));
        let rates = |rates: &[plimsoll_compose_file::model::BlkioRate]| -> Result<Vec<DeviceRate>> {
            rates
                .iter()
                .map(|device| self.rate(&device.path, device.rate))
                .collect()
        };
        let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded to a billionth of a processor"
        )]
        let nano_cpus = cpus.map(|cpus| (cpus * 1e9).round() as i64);
        Ok(Resources {
            memory,
            memory_swap: service.memswap_limit,
            memory_reservation: reservation,
            nano_cpus: nano_cpus.filter(|cpus| *cpus > 0),
            cpu_shares: unsigned(service.cpu_shares),
            cpu_quota: service.cpu_quota,
            cpu_period: unsigned(service.cpu_period),
            cpu_rt_runtime: service.cpu_rt_runtime,
            cpu_rt_period: unsigned(service.cpu_rt_period),
            cpuset_cpus: service.cpuset.clone().unwrap_or_default(),
            cpuset_mems: String::new(),
            memory_swappiness: unsigned(service.mem_swappiness),
            oom_kill_disable: service.oom_kill_disable,
            blkio_weight: blkio.weight.and_then(|weight| u16::try_from(weight).ok()),
            blkio_weight_device: weights
                .map(|(path, weight)| self.rate(path, weight))
                .collect::<Result<_>>()?,
            device_read_bps: rates(&blkio.device_read_bps)?,
            device_write_bps: rates(&blkio.device_write_bps)?,
            device_read_iops: rates(&blkio.device_read_iops)?,
            device_write_iops: rates(&blkio.device_write_iops)?,
            pids_limit: pids.filter(|pids| *pids != 0),
        })
    }

    fn rate(&self, path: &str, value: Option<i64>) -> Result<DeviceRate> {
        let facts = std::fs::metadata(path)
            .map_err(|error| self.wrong("blkio_config", format!("cannot look at `{path}`: {error}")))?;
        Ok(DeviceRate {
            major: rustix::fs::major(facts.rdev()),
            minor: rustix::fs::minor(facts.rdev()),
            value: value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0),
        })
    }
}
