//! From a service to what a container is made with.

mod devices;
mod files;
mod limits;
mod mounts;
mod network;
mod unused;

use std::collections::BTreeMap;

use plimsoll_compose_file::model::{Healthcheck, Service};
use plimsoll_container::{
    Container, Containers, CreateOptions, HealthOptions, LogConfig, OnFailure, RestartPolicy,
};
use plimsoll_image::Image;
use plimsoll_runtime::Ulimit;

use crate::desired::Desired;
use crate::error::{ComposeError, Result};
use crate::labels;

pub(crate) use files::given;
pub(crate) use mounts::missing_files;
pub(crate) use network::own_network;
pub(crate) use unused::{unused, unused_of_network};

/// Everything a container of a service is made from.
pub(crate) struct Making<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) name: &'a str,
    pub(crate) service: &'a Service,
    pub(crate) image: &'a Image,
    pub(crate) containers: &'a Containers,
    /// Ids of the containers that others refer to, by service.
    pub(crate) peers: &'a BTreeMap<String, String>,
    /// What the containers of each service are called.
    pub(crate) names: &'a BTreeMap<String, Vec<String>>,
    /// The container whose place it takes.
    pub(crate) old: Option<&'a Container>,
    /// Whether volumes without a name are made anew.
    pub(crate) renew: bool,
}

impl Making<'_> {
    /// What the container of this number is made with; its name is somebody else's matter.
    pub(crate) fn options(&self, number: u32) -> Result<CreateOptions> {
        let service = self.service;
        let mut options = CreateOptions {
            image: self.desired.image(self.name),
            env: environment(&service.environment),
            user: service.user.clone(),
            group_add: service.group_add.clone(),
            working_dir: service.working_dir.clone(),
            hostname: service.hostname.clone(),
            domainname: service.domainname.clone().unwrap_or_default(),
            labels: self.labels(number),
            annotations: service.annotations.clone(),
            cap_add: service.cap_add.clone(),
            cap_drop: service.cap_drop.clone(),
            privileged: service.privileged,
            read_only: service.read_only,
            shm_size: service
                .shm_size
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            sysctls: service.sysctls.clone(),
            ulimits: ulimits(service),
            tty: service.tty,
            open_stdin: service.stdin_open,
            stop_signal: service.stop_signal.clone(),
            stop_timeout: service
                .stop_grace_period
                .map(|time| time.as_millis().div_ceil(1000) as u64),
            origin: self.desired.essence(self.name).cloned(),
            ..CreateOptions::default()
        };
        self.program(&mut options);
        self.share(&mut options)?;
        options
            .secure(&service.security_opt)
            .map_err(|error| self.wrong("security_opt", error))?;
        options.restart = self.restart()?;
        options.log = self.log()?;
        options.health = self.health();
        options.resources = self.resources()?;
        self.connect(&mut options)?;
        options.mounts = self.mounts()?;
        options.files = given(self.desired, self.name)?;
        Ok(options)
    }

    /// An empty command is none, also not the image's.
    fn program(&self, options: &mut CreateOptions) {
        let service = self.service;
        options.entrypoint.clone_from(&service.entrypoint);
        match &service.command {
            Some(words) if words.is_empty() && service.entrypoint.is_none() => {
                let own = self.image.config.config.entrypoint.clone();
                options.entrypoint = Some(own.unwrap_or_default());
            }
            Some(words) => options.command.clone_from(words),
            None => {}
        }
    }

    fn labels(&self, number: u32) -> BTreeMap<String, String> {
        let desired = self.desired;
        let mut all = self.service.labels.clone();
        let files: Vec<&str> = desired.files.iter().map(|file| file.as_str()).collect();
        let depends_on: Vec<String> = self
            .service
            .depends_on
            .iter()
            .map(|(name, need)| format!("{name}:{}:{}", labels::condition(need.condition), need.restart))
            .collect();
        let own = [
            (labels::PROJECT, desired.name.clone()),
            (labels::SERVICE, self.name.to_owned()),
            (labels::NUMBER, number.to_string()),
            (labels::ONE_OFF, "False".to_owned()),
            (labels::CONFIG_HASH, desired.hash(self.name).to_owned()),
            (labels::IMAGE, self.image.id.to_string()),
            (labels::DEPENDS_ON, depends_on.join(",")),
            (labels::WORKING_DIR, desired.folder.to_string()),
            (labels::CONFIG_FILES, files.join(",")),
            (labels::VERSION, labels::COMPOSE_VERSION.to_owned()),
        ];
        all.extend(own.map(|(label, value)| (label.to_owned(), value)));
        if !desired.environment_files.is_empty() {
            let files: Vec<&str> = desired
                .environment_files
                .iter()
                .map(|file| file.as_str())
                .collect();
            all.insert(labels::ENVIRONMENT_FILE.to_owned(), files.join(","));
        }
        if let Some(old) = self.old {
            all.insert(labels::REPLACE.to_owned(), old.name.clone());
        }
        all
    }

    /// Namespaces and devices of the host, or of other containers.
    fn share(&self, options: &mut CreateOptions) -> Result<()> {
        let service = self.service;
        let mode = |mode: &Option<String>| -> Result<String> {
            let text = mode.as_deref().unwrap_or_default();
            match text.strip_prefix("service:") {
                Some(name) => Ok(format!("container:{}", self.peer(name)?)),
                None => Ok(text.to_owned()),
            }
        };
        let own = &mut options.isolation;
        own.pid = mode(&service.pid)?;
        own.ipc = mode(&service.ipc)?;
        own.uts = service.uts.clone().unwrap_or_default();
        own.cgroupns = service.cgroup.clone().unwrap_or_default();
        own.cgroup_parent = service.cgroup_parent.clone().unwrap_or_default();
        own.userns = service.userns_mode.clone().unwrap_or_default();
        own.init = service.init.unwrap_or(false);
        own.runtime = service.runtime.clone().unwrap_or_default();
        own.oom_score_adj = service.oom_score_adj.and_then(|score| i32::try_from(score).ok());
        own.device_rules.clone_from(&service.device_cgroup_rules);
        (own.devices, own.device_requests) = devices::of(service);
        Ok(())
    }

    fn restart(&self) -> Result<RestartPolicy> {
        let deploy = self.service.deploy.as_ref();
        if let Some(policy) = deploy.and_then(|deploy| deploy.restart_policy.as_ref()) {
            let retries = policy.max_attempts.and_then(|count| u32::try_from(count).ok());
            return Ok(match policy.condition.as_deref() {
                Some("none" | "no") => RestartPolicy::No,
                Some("unless-stopped") => RestartPolicy::UnlessStopped,
                Some("on-failure") => RestartPolicy::OnFailure {
                    retries: retries.unwrap_or(0),
                },
                _ => RestartPolicy::Always,
            });
        }
        let text = self.service.restart.as_deref().unwrap_or_default();
        RestartPolicy::parse(text).map_err(|error| self.wrong("restart", error))
    }

    fn log(&self) -> Result<LogConfig> {
        let Some(logging) = &self.service.logging else {
            return Ok(LogConfig::default());
        };
        let log = LogConfig::new(logging.driver.as_deref(), logging.options.clone());
        log.map_err(|error| self.wrong("logging", error))
    }

    fn health(&self) -> HealthOptions {
        let on_failure = match self.service.is_healed() {
            true => OnFailure::Restart,
            false => OnFailure::None,
        };
        let Some(check) = &self.service.healthcheck else {
            return HealthOptions {
                on_failure,
                ..HealthOptions::default()
            };
        };
        let Healthcheck {
            disable,
            test,
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        } = check;
        HealthOptions {
            disable: *disable || test.first().is_some_and(|word| word == "NONE"),
            test: (!test.is_empty()).then(|| test.clone()),
            interval: *interval,
            timeout: *timeout,
            start_period: *start_period,
            start_interval: *start_interval,
            retries: retries.and_then(|count| u32::try_from(count).ok()),
            on_failure,
        }
    }

    /// The id of a container of another service.
    fn peer(&self, name: &str) -> Result<&str> {
        let id = self.peers.get(name).map(String::as_str);
        id.ok_or_else(|| self.wrong(name, "has no container"))
    }

    fn wrong(&self, key: &str, reason: impl std::fmt::Display) -> ComposeError {
        ComposeError::Key {
            service: self.name.to_owned(),
            key: key.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// A variable without a value takes the image's away.
pub(crate) fn environment(variables: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let line = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    variables.iter().map(line).collect()
}

fn ulimits(service: &Service) -> Vec<Ulimit> {
    let limit = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    let limits = service.ulimits.iter().map(|(name, value)| {
        let (soft, hard) = value.pair();
        Ulimit {
            name: name.clone(),
            soft: limit(soft),
            hard: limit(hard),
        }
    });
    limits.collect()
}
