//! Flags of `run` and `create`, and what they mean.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_container::{
    Attached, Containers, CreateOptions, HealthOptions, LogConfig, MountRequest, OnFailure, RestartPolicy,
};
use plimsoll_oci::{ImageRef, Platform};
use plimsoll_runtime::{Resources, Seccomp, Ulimit};

use super::compat_options::CompatArgs;
use super::isolation_options::IsolationArgs;
use super::network_options::NetworkArgs;
use crate::command_error::CommandError;
use crate::gate::GateArgs;

/// Flags that say what the container is.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ContainerArgs {
    /// Give the container a name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Set an environment variable; without a value it is taken from the environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<Utf8PathBuf>,
    /// Mount a host path or a volume
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:ro]")]
    volume: Vec<String>,
    /// Mount something, in words: `type=bind|volume|tmpfs|image,source=..,target=..,readonly`
    #[arg(long, value_name = "OPTIONS")]
    mount: Vec<String>,
    /// Mount what another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,
    /// Mount memory
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    tmpfs: Vec<String>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Add a group to run with
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Make the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Limit memory
    #[arg(short, long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<i64>,
    /// Limit memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = bytes_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Memory the container is pushed back to under pressure
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Limit processor time, such as `1.5`
    #[arg(long, value_name = "NUMBER", value_parser = cpus)]
    cpus: Option<i64>,
    /// Share of processor time against other containers
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,
    /// Processors to run on, such as `0-2,4`
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Limit the number of processes; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability, or `ALL`
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give all capabilities and all devices
    #[arg(long)]
    privileged: bool,
    /// `no-new-privileges`, `seccomp=PROFILE.json`, `apparmor=PROFILE`, `label=..`, `systempaths=unconfined`
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Limit something for each process
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    shm_size: Option<i64>,
    /// Set a kernel parameter of the container
    #[arg(long, value_name = "NAME=VALUE")]
    sysctl: Vec<String>,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Domain of that name
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Attach to these only: `stdin`, `stdout`, `stderr`
    #[arg(short, long, value_name = "STREAM", ignore_case = true, value_parser = ["stdin", "stdout", "stderr"])]
    pub(crate) attach: Vec<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) compat: CompatArgs,
    #[command(flatten)]
    pub(crate) isolation: IsolationArgs,
    #[command(flatten)]
    pub(crate) gate: GateArgs,
    /// Set a label
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<Utf8PathBuf>,
    /// Set an annotation of the OCI runtime specification
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// Ask this command whether the container is well
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_interval: Option<Duration>,
    /// Time one check may take
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_timeout: Option<Duration>,
    /// Time in which failures do not count
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_start_period: Option<Duration>,
    /// Time between two checks in the start period
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_start_interval: Option<Duration>,
    /// Failures in a row that make the container unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// What to do with an unhealthy container: `none`, `kill`, `restart` or `stop`
    #[arg(long, value_name = "ACTION", value_enum, default_value_t)]
    health_on_failure: Unhealthy,
    /// Ignore the image's health check
    #[arg(long)]
    no_healthcheck: bool,
    /// Signal that asks the container to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds it has to do so
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u64>,
    /// What to do when the container ends: `no`, `on-failure[:RETRIES]`, `always`, `unless-stopped`
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Where to keep the output: `json-file`, `local`, `journald` or `none`
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Option of the log driver, such as `max-size=10m`
    #[arg(long, value_name = "NAME=VALUE")]
    log_opt: Vec<String>,
    /// Write the container's id to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<Utf8PathBuf>,
    /// When to pull the image: `always`, `missing`, `never`
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) pull: Pull,
    /// Platform of the image
    #[arg(long)]
    pub(crate) platform: Option<String>,
    /// Do not show the progress of a pull
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The image, and the command to run in it
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"], num_args = 1..)]
    image_and_command: Vec<String>,
}

/// `--pull`
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pull {
    /// Even when it is there.
    Always,
    /// When it is not there.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

/// `--health-on-failure`
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unhealthy {
    /// Only say so.
    #[default]
    None,
    /// Kill it; the restart policy decides.
    Kill,
    /// Stop it and start it again.
    Restart,
    /// Stop it.
    Stop,
}

impl ContainerArgs {
    /// The image's name, as typed.
    pub(crate) fn image(&self) -> &str {
        &self.image_and_command[0]
    }

    /// Resolves flags, files and environment.
    pub(crate) fn options(&self) -> Result<CreateOptions, CommandError> {
        let wrong = CommandError::usage;
        self.compat.check()?;
        let directory = current_directory()?;
        let restart = RestartPolicy::parse(self.restart.as_deref().unwrap_or_default())?;
        if self.rm && restart != RestartPolicy::No {
            return Err(wrong(
                "conflicting options: cannot specify both --restart and --rm".to_owned(),
            ));
        }
        let mut mounts = Vec::new();
        for text in &self.volume {
            mounts.push(MountRequest::parse_volume(text, &directory)?);
        }
        for text in &self.mount {
            mounts.push(MountRequest::parse_mount(text, &directory)?);
        }
        for text in &self.tmpfs {
            mounts.push(MountRequest::parse_tmpfs(text)?);
        }
        let network = self.network.options()?;
        let mut options = CreateOptions {
            id: None,
            name: self.name.clone(),
            image: self.image().to_owned(),
            command: self.image_and_command[1..].to_vec(),
            entrypoint: self.entrypoint.clone().map(|command| vec![command]),
            env: environment(&self.env_file, &self.env)?,
            user: self.user.clone(),
            group_add: self.group_add.clone(),
            working_dir: self.workdir.clone(),
            hostname: self.network.hostname.clone(),
            labels: labels(&self.label_file, &self.label)?,
            mounts,
            mounted_images: BTreeMap::new(),
            ports: network.ports,
            publish_all: network.publish_all,
            expose: network.expose,
            network: network.mode,
            attachments: network.attachments,
            resolver: network.resolver,
            links: network.links,
            extra_hosts: network.extra_hosts,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            privileged: self.privileged,
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            isolation: self.isolation.isolation(),
            read_only: self.read_only,
            resources: self.resources()?,
            ulimits: self
                .ulimit
                .iter()
                .map(|text| ulimit(text))
                .collect::<Result<_, _>>()?,
            shm_size: self
                .shm_size
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            sysctls: pairs("sysctl", &self.sysctl)?,
            tty: self.tty,
            open_stdin: self.interactive,
            attached: Attached {
                stdin: self.interactive || self.attaches("stdin"),
                stdout: self.attach.is_empty() || self.attaches("stdout"),
                stderr: self.attach.is_empty() || self.attaches("stderr"),
            },
            auto_remove: self.rm,
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            health: self.health()?,
            restart,
            log: LogConfig::new(self.log_driver.as_deref(), pairs("log option", &self.log_opt)?)?,
            domainname: self.domainname.clone().unwrap_or_default(),
            annotations: pairs("annotation", &self.annotation)?,
            files: Vec::new(),
            origin: None,
        };
        options.secure(&self.security_opt)?;
        Ok(options)
    }

    fn attaches(&self, stream: &str) -> bool {
        self.attach.iter().any(|name| name.eq_ignore_ascii_case(stream))
    }

    /// What `--volumes-from` adds: what is mounted in words of its own goes over it.
    pub(crate) fn inherited_mounts(
        &self,
        containers: &Containers,
    ) -> Result<Vec<MountRequest>, CommandError> {
        let mut mounts = Vec::new();
        for text in &self.volumes_from {
            mounts.extend(containers.volumes_from(text)?);
        }
        Ok(mounts)
    }

    /// The platform that was asked for, by flag or environment.
    pub(crate) fn platform(&self) -> Result<Option<Platform>, CommandError> {
        let asked = self
            .platform
            .clone()
            .or_else(|| crate::env::var(crate::env::DOCKER_DEFAULT_PLATFORM));
        Ok(asked.map(|text| text.parse()).transpose()?)
    }

    fn resources(&self) -> Result<Resources, CommandError> {
        const LEAST: i64 = 6 << 20;
        if self.memory.is_some_and(|memory| memory != 0 && memory < LEAST) {
            return Err(CommandError::usage("minimum memory limit allowed is 6MB"));
        }
        if let (Some(swap), Some(memory)) = (self.memory_swap, self.memory)
            && swap > 0
            && swap < memory
        {
            return Err(CommandError::usage(
                "minimum memory-swap limit should be larger than memory limit",
            ));
        }
        if self.memory_swap.is_some_and(|swap| swap > 0) && self.memory.is_none() {
            return Err(CommandError::usage(
                "you should always set the memory limit when using the memory-swap limit",
            ));
        }
        self.isolation.limits(Resources {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            nano_cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
            pids_limit: self.pids_limit,
            ..Resources::default()
        })
    }

    fn health(&self) -> Result<HealthOptions, CommandError> {
        let health = HealthOptions {
            disable: self.no_healthcheck || self.health_cmd.as_deref() == Some("none"),
            test: self
                .health_cmd
                .as_ref()
                .map(|command| vec!["CMD-SHELL".to_owned(), command.clone()]),
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
            retries: self.health_retries,
            on_failure: match self.health_on_failure {
                Unhealthy::None => OnFailure::None,
                Unhealthy::Kill => OnFailure::Kill,
                Unhealthy::Restart => OnFailure::Restart,
                Unhealthy::Stop => OnFailure::Stop,
            },
        };
        for (name, given) in [
            ("Interval", health.interval),
            ("Timeout", health.timeout),
            ("StartPeriod", health.start_period),
            ("StartInterval", health.start_interval),
        ] {
            if given.is_some_and(|given| !given.is_zero() && given < Duration::from_millis(1)) {
                return Err(CommandError::usage(format!(
                    "{name} in Healthcheck cannot be less than 1ms"
                )));
            }
        }
        let any = self.health_cmd.is_some()
            || health
                .interval
                .or(health.timeout)
                .or(health.start_period)
                .is_some();
        if self.no_healthcheck && any {
            return Err(CommandError::usage(
                "--no-healthcheck conflicts with --health-* options",
            ));
        }
        Ok(health)
    }
}

/// Docker makes a reference of whatever is not an id of a stored image.
pub(crate) fn reference(name: &str) -> Result<ImageRef, CommandError> {
    Ok(name.parse::<ImageRef>()?)
}

/// The folder relative paths start from.
pub(crate) fn current_directory() -> Result<Utf8PathBuf, CommandError> {
    let path = std::env::current_dir()
        .map_err(|error| CommandError::internal("cannot tell the current folder", error))?;
    Utf8PathBuf::try_from(path)
        .map_err(|error| CommandError::internal("the current folder's name is not UTF-8", error))
}

/// Variables of the files, then of the flags. A name alone is looked up in our own environment.
pub(crate) fn environment(files: &[Utf8PathBuf], flags: &[String]) -> Result<Vec<String>, CommandError> {
    let mut entries = Vec::new();
    for file in files {
        entries.extend(lines(file)?);
    }
    entries.extend(flags.iter().cloned());
    entries
        .into_iter()
        .map(|entry| {
            let name = entry.split('=').next().unwrap_or_default();
            if name.is_empty() {
                return Err(CommandError::usage(format!(
                    "invalid environment variable: `{entry}`"
                )));
            }
            Ok(match (entry.contains('='), std::env::var(name)) {
                (false, Ok(value)) => format!("{name}={value}"),
                _ => entry,
            })
        })
        .collect()
}

/// Lines of a file that are neither empty nor comments.
fn lines(file: &Utf8Path) -> Result<Vec<String>, CommandError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CommandError::new(
            crate::command_error::Kind::User,
            format!("cannot read `{file}`: {error}"),
        )
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let wanted = text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(wanted.map(str::to_owned).collect())
}

fn labels(files: &[Utf8PathBuf], flags: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let mut entries = Vec::new();
    for file in files {
        entries.extend(lines(file)?);
    }
    entries.extend(flags.iter().cloned());
    Ok(entries
        .iter()
        .map(|entry| entry.split_once('=').unwrap_or((entry, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn pairs(what: &str, texts: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(CommandError::usage(format!(
                "invalid {what} `{text}`: expected `NAME=VALUE`"
            ))),
        })
        .collect()
}

pub(super) fn ulimit(text: &str) -> Result<Ulimit, CommandError> {
    let wrong = || CommandError::usage(format!("invalid ulimit `{text}`: expected `NAME=SOFT[:HARD]`"));
    let limit = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (limit(soft).ok_or_else(wrong)?, limit(hard).ok_or_else(wrong)?);
    if name.is_empty() || soft > hard {
        return Err(wrong());
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// `64m`, `1.5g`, `1024`: powers of 1024, as Docker reads sizes of memory.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("invalid size".to_owned()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| "invalid size".to_owned())?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a limit, rounded to a byte"
    )]
    let bytes = (number * (1_u64 << shift) as f64) as i64;
    if !number.is_finite() || bytes < 0 {
        Err("invalid size".to_owned())
    } else {
        Ok(bytes)
    }
}

pub(super) fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// Processors as billionths of one.
pub(super) fn cpus(text: &str) -> Result<i64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "expected a number such as 1.5".to_owned())?;
    if !(0.0..=4096.0).contains(&number) {
        return Err("out of range".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 4096e9")]
    let nano = (number * 1e9).round() as i64;
    Ok(nano)
}

/// A duration as Go writes it: `1m30s`, `500ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    let positive = parsed.and_then(|duration| Duration::try_from(duration).ok());
    positive.ok_or_else(|| "expected a duration such as 30s or 1m30s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    #[command(disable_help_flag = true)]
    struct Cli {
        #[command(flatten)]
        args: ContainerArgs,
    }

    fn options(words: &[&str]) -> Result<CreateOptions, CommandError> {
        use clap::Parser as _;
        let all = std::iter::once("run").chain(words.iter().copied());
        Cli::try_parse_from(all)
            .map_err(|error| CommandError::usage(error.to_string()))?
            .args
            .options()
    }

    #[test]
    fn what_follows_the_image_is_the_command() {
        let options = options(&["-e", "A=1", "busybox", "sh", "-c", "echo --rm", "--name", "x"]).unwrap();
        assert_eq!(options.image, "busybox");
        assert_eq!(options.command, ["sh", "-c", "echo --rm", "--name", "x"]);
        assert_eq!((options.env, options.name), (vec!["A=1".to_owned()], None));
    }

    #[test]
    fn an_unknown_flag_is_not_taken_for_the_image() {
        assert!(options(&["--nope", "busybox"]).is_err());
    }

    #[test]
    fn sizes_processors_and_limits() {
        for (text, expected) in [
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("1024", 1024),
            ("2KiB", 2048),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        assert!(bytes("12x").is_err() && bytes("").is_err() && bytes("-3m").is_err());
        assert_eq!(cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("x").is_err() && duration("-1s").is_err());
        let limit = ulimit("nofile=1024:2048").unwrap();
        assert_eq!(
            (limit.name.as_str(), limit.soft, limit.hard),
            ("nofile", 1024, 2048)
        );
        assert!(ulimit("nofile=9:1").is_err() && ulimit("nofile").is_err());
    }

    #[test]
    fn refusals_say_what_they_refuse() {
        for (words, message) in [
            (
                &["--restart", "always", "--rm", "x"][..],
                "conflicting options: cannot specify both --restart and --rm",
            ),
            (&["--restart", "often", "x"], "unknown policy 'often'"),
            (
                &["--log-opt", "x=y", "x"],
                "unknown log opt 'x' for json-file log driver",
            ),
            (&["-m", "1m", "x"], "minimum memory limit allowed is 6MB"),
            (
                &["--security-opt", "systempaths=open", "x"],
                "security option `systempaths=open` is not supported",
            ),
            (&["-v", "aa:b", "x"], "invalid volume specification `aa:b`"),
        ] {
            let error = options(words).unwrap_err().to_text();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn environment_of_files_and_flags() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8PathBuf::try_from(folder.path().join("env")).unwrap();
        std::fs::write(&file, "# comment\n\n  A=one two \nPATH\nNOT_SET_ANYWHERE\n").unwrap();
        let env = environment(&[file], &["B=2".to_owned()]).unwrap();
        assert_eq!(env[0], "A=one two ");
        assert!(env[1].starts_with("PATH=/"));
        assert_eq!(&env[2..], ["NOT_SET_ANYWHERE", "B=2"]);
    }
}
