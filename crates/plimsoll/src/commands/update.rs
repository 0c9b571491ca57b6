//! `update`, `container update`

use std::process::ExitCode;

use plimsoll_container::{Changes, RestartPolicy};
use plimsoll_runtime::Resources;

use super::container_options::{bytes, bytes_or_unlimited, cpus};
use super::containers::each;
use crate::command_error::CommandError;
use crate::context::Context;

/// Change limits and restart policy of containers, running or not
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Relative weight of reading and writing, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Microseconds over which processor time is limited
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Microseconds of processor time in each period; -1 for unlimited
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Microseconds of real-time tasks in each period, on cgroup v1
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// Microseconds of such a period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Share of processor time against other containers
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,
    /// Limit processor time, such as `1.5`
    #[arg(long, value_name = "NUMBER", value_parser = cpus)]
    cpus: Option<i64>,
    /// Processors to run on, such as `0-2,4`
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit memory
    #[arg(short, long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<i64>,
    /// Memory the container is pushed back to under pressure
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Limit memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = bytes_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Limit the number of processes; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// What to do when the container ends: `no`, `on-failure[:RETRIES]`, `always`, `unless-stopped`
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let changes = args.changes()?;
    each(context, &args.containers, async |containers, container| {
        for warning in containers.update(container, &changes).await? {
            context.warn(&warning);
        }
        Ok(())
    })
    .await
}

impl Args {
    fn changes(&self) -> Result<Changes, CommandError> {
        let numbers = [
            self.cpu_quota,
            self.cpu_rt_runtime,
            self.cpus,
            self.memory,
            self.memory_reservation,
            self.memory_swap,
            self.pids_limit,
        ];
        let texts = [&self.cpuset_cpus, &self.cpuset_mems, &self.restart];
        if numbers.iter().all(Option::is_none)
            && texts.iter().all(|text| text.is_none())
            && self.blkio_weight.is_none()
            && self.cpu_period.or(self.cpu_rt_period).is_none()
            && self.cpu_shares.is_none()
        {
            return Err(CommandError::user(
                "you must provide one or more flags when using this command",
            ));
        }
        Ok(Changes {
            resources: Resources {
                blkio_weight: self.blkio_weight,
                cpu_period: self.cpu_period,
                cpu_quota: self.cpu_quota,
                cpu_rt_runtime: self.cpu_rt_runtime,
                cpu_rt_period: self.cpu_rt_period,
                cpu_shares: self.cpu_shares,
                nano_cpus: self.cpus,
                cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
                cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
                memory: self.memory,
                memory_reservation: self.memory_reservation,
                memory_swap: self.memory_swap,
                pids_limit: self.pids_limit,
                ..Resources::default()
            },
            restart: self.restart.as_deref().map(RestartPolicy::parse).transpose()?,
        })
    }
}
