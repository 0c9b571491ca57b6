//! `stats`, `container stats`

use std::collections::HashMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use plimsoll_container::{Container, Containers};
use plimsoll_runtime::{ControlGroup, Usage};
use serde_json::{Value, json};

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::{rows, units};

/// Show what containers use
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print once instead of every second
    #[arg(long)]
    no_stream: bool,
    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,
    /// `table`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Containers, by name or id [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

const TABLE: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Time between the two looks of a single answer: long enough for a share of processor time to mean something.
const FIRST: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let form = Form {
        no_stream: args.no_stream,
        no_trunc: args.no_trunc,
        format: args.format.clone(),
    };
    show(context, &form, || choose(&args, &containers)).await
}

/// How often and in which form it is told.
pub(super) struct Form {
    pub(super) no_stream: bool,
    pub(super) no_trunc: bool,
    pub(super) format: Option<String>,
}

/// Containers, and what each was asked for as.
pub(super) type Chosen = Vec<(String, Container)>;

/// Shows what the containers use that `choose` says each time.
pub(super) async fn show(
    context: &Context,
    form: &Form,
    choose: impl Fn() -> Result<Chosen, CommandError>,
) -> Result<ExitCode, CommandError> {
    let look = || Ok::<_, CommandError>(choose()?.into_iter().map(Sample::take).collect::<Vec<_>>());
    let host = host_memory();
    let mut before = look()?;
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = BETWEEN;
        let now = look()?;
        let earlier: HashMap<_, _> = before
            .iter()
            .map(|sample| (sample.container.id(), sample))
            .collect();
        let shown: Vec<_> = now
            .iter()
            .map(|sample| sample.row(earlier.get(sample.container.id()).copied(), host, form.no_trunc))
            .collect();
        let mut text = Vec::new();
        rows::print(&mut text, form.format.as_deref(), TABLE, HEADERS, &shown)?;
        let mut out = context.stdout();
        if form.no_stream {
            out.write_all(&text)?;
            return Ok(ExitCode::SUCCESS);
        }
        // As Docker draws: from the top, each line to its end, and nothing below.
        write!(out, "\u{1b}[H")?;
        for line in String::from_utf8_lossy(&text).lines() {
            writeln!(out, "{line}\u{1b}[K")?;
        }
        write!(out, "\u{1b}[J")?;
        out.flush()?;
        drop(out);
        before = now;
    }
}

/// What a container used at a moment.
struct Sample {
    /// As it was asked for.
    asked: String,
    container: Container,
    at: Instant,
    usage: Option<Usage>,
    /// Bytes received and sent.
    network: (u64, u64),
}

fn choose(args: &Args, containers: &Containers) -> Result<Chosen, CommandError> {
    Ok(if args.containers.is_empty() {
        let all = containers.list()?.into_iter();
        let wanted = all.filter(|container| args.all || container.is_running());
        wanted
            .map(|container| (container.short_id().to_owned(), container))
            .collect()
    } else {
        let found = args
            .containers
            .iter()
            .map(|name| Ok((name.clone(), containers.get(name)?)));
        found.collect::<Result<_, CommandError>>()?
    })
}

impl Sample {
    fn take((asked, container): (String, Container)) -> Self {
        let pid = container.state.pid;
        let usage = ControlGroup::open(&container.definition.spec.cgroup)
            .ok()
            .filter(|_| pid > 0)
            .map(|group| group.usage());
        let network = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
        Self {
            asked,
            usage,
            network: if pid > 0 { network_bytes(&network) } else { (0, 0) },
            at: Instant::now(),
            container,
        }
    }

    fn row(&self, before: Option<&Self>, host: u64, whole: bool) -> Value {
        let usage = self.usage.unwrap_or_default();
        let limit = match self.usage {
            Some(usage) => usage.memory_limit.map_or(host, |limit| limit.min(host)),
            None => 0,
        };
        let before = before.and_then(|sample| Some((sample.usage?.cpu, sample.at)));
        let cpu = before.map_or(0.0, |(cpu, at)| {
            share(usage.cpu.saturating_sub(cpu), (self.at - at).as_nanos())
        });
        let pair = |one, other| format!("{} / {}", units::human_size(one), units::human_size(other));
        json!({
            "BlockIO": pair(usage.read, usage.written),
            "CPUPerc": format!("{cpu:.2}%"),
            "Container": self.asked,
            "ID": if whole { self.container.id() } else { self.container.short_id() },
            "MemPerc": format!("{:.2}%", share(usage.memory, u128::from(limit))),
            "MemUsage": format!("{} / {}", units::binary_size(usage.memory), units::binary_size(limit)),
            "Name": self.container.name,
            "NetIO": pair(self.network.0, self.network.1),
            "PIDs": usage.pids.to_string(),
        })
    }
}

/// A part of a whole in hundredths; one whole processor is 100.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn share(part: u64, whole: u128) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64 * 100.0
    }
}

/// Sums of /proc/PID/net/dev without loopback (proc_net(5): receive has eight columns, then comes transmit).
fn network_bytes(text: &str) -> (u64, u64) {
    let counted = text.lines().filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let number = |at| numbers.split_whitespace().nth(at)?.parse::<u64>().ok();
        (name.trim() != "lo").then_some((number(0)?, number(8)?))
    });
    counted.fold((0, 0), |sum, (received, sent)| (sum.0 + received, sum.1 + sent))
}

/// Bytes of memory that this machine has.
fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_counted() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 100 1 0 0 0 0 0 0 100 1 0 0\n  eth0: 646 8 0 0 0 0 0 0 84 2 0 0 0 0 0 0\n";
        assert_eq!(network_bytes(text), (646, 84));
    }

    #[test]
    fn shares() {
        assert!((share(1, 4) - 25.0).abs() < f64::EPSILON);
        assert!(share(1, 0).abs() < f64::EPSILON);
    }
}
