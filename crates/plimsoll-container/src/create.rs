//! From what the user asked for and what the image says to a [`Definition`].

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8PathBuf;
use plimsoll_network::{AttachOptions, PortRequest, Protocol, Resolver};
use plimsoll_oci::{ContainerConfig, Healthcheck};
use plimsoll_runtime::{BENEATH, ImageTree, Mount, MountKind, Resources, Seccomp, Ulimit};
use plimsoll_store::SnapshotId;

use crate::given::GivenFile;
use crate::isolation::Isolation;
use crate::log::LogConfig;
use crate::model::{Attached, HealthCheck, MountPoint, NetworkMode, OnFailure, Paths, StopSignal};
use crate::mounts::{MountRequest, MountSource, VolumeMount};
use crate::restart::RestartPolicy;
use crate::signals::parse_signal;
use crate::{ContainerError, Result};

/// Options of `create` and `run`; what is not set comes from the image.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Its id, where one was made before (see [`crate::Containers::new_id`]).
    pub id: Option<String>,
    /// A name; made up when there is none.
    pub name: Option<String>,
    /// The image, as it was asked for.
    pub image: String,
    /// Command, or arguments to the entrypoint.
    pub command: Vec<String>,
    /// Replaces the image's entrypoint, and with it the image's command; empty takes it away.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value`; a bare `NAME` takes the image's away.
    pub env: Vec<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// Further groups.
    pub group_add: Vec<String>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Name in the container.
    pub hostname: Option<String>,
    /// Labels beside the image's.
    pub labels: BTreeMap<String, String>,
    /// Binds, volumes, tmpfs, images.
    pub mounts: Vec<MountRequest>,
    /// Top layers of the images that are mounted, by the name they were asked for; held by who creates.
    pub mounted_images: BTreeMap<String, Option<SnapshotId>>,
    /// Ports to publish.
    pub ports: Vec<PortRequest>,
    /// Publishes all exposed ports, too.
    pub publish_all: bool,
    /// More exposed ports, `80/tcp`.
    pub expose: Vec<String>,
    /// Kind of network.
    pub network: NetworkMode,
    /// Places on networks; without any it gets one on `network`.
    pub attachments: Vec<(String, AttachOptions)>,
    /// Where to look for names.
    pub resolver: Resolver,
    /// Other containers and what they are called in this one.
    pub links: Vec<(String, String)>,
    /// Names and addresses for `/etc/hosts`.
    pub extra_hosts: Vec<(String, String)>,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// No walls.
    pub privileged: bool,
    /// Set-user-id programs have no effect.
    pub no_new_privileges: bool,
    /// What is shared, and with whom; devices.
    pub isolation: Isolation,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// The root cannot be written to.
    pub read_only: bool,
    /// Limits.
    pub resources: Resources,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of /dev/shm; 0 is the default.
    pub shm_size: u64,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Gives it a terminal.
    pub tty: bool,
    /// Keeps its input open.
    pub open_stdin: bool,
    /// Who makes it wants to see and type.
    pub attached: Attached,
    /// Removes it when it ends.
    pub auto_remove: bool,
    /// Signal that asks it to end.
    pub stop_signal: Option<String>,
    /// Seconds it has to do so.
    pub stop_timeout: Option<u64>,
    /// What `--health-*` say.
    pub health: HealthOptions,
    /// What happens when its program has ended.
    pub restart: RestartPolicy,
    /// Where its output is kept.
    pub log: LogConfig,
    /// Domain of its name.
    pub domainname: String,
    /// Annotations of the OCI spec.
    pub annotations: BTreeMap<String, String>,
    /// Secrets and configurations.
    pub files: Vec<GivenFile>,
    /// What it is made from, for whoever made it; not shown.
    pub origin: Option<serde_json::Value>,
}

/// What the user says about the health check; the rest comes from the image.
#[derive(Clone, Debug, Default)]
pub struct HealthOptions {
    /// No check at all.
    pub disable: bool,
    /// `CMD` or `CMD-SHELL`, and its words; `NONE`.
    pub test: Option<Vec<String>>,
    /// Between two probes.
    pub interval: Option<Duration>,
    /// For one probe.
    pub timeout: Option<Duration>,
    /// Failures do not count in this time.
    pub start_period: Option<Duration>,
    /// Between two probes in that time.
    pub start_interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
    /// What happens to an unhealthy container.
    pub on_failure: OnFailure,
}

/// A program and where its words came from.
pub(crate) struct Program {
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) command: Vec<String>,
    /// Both joined.
    pub(crate) args: Vec<String>,
}

impl CreateOptions {
    /// The images that are mounted beside the container's own.
    pub fn images_to_mount(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image(wanted) => Some(wanted.image.as_str()),
            _ => None,
        })
    }

    /// What is executed.
    pub(crate) fn program(&self, image: &ContainerConfig) -> Result<Program> {
        let (entrypoint, inherited) = match &self.entrypoint {
            // Docker writes `--entrypoint ""` as a list of one empty word.
            Some(words) => (
                words
                    .clone()
                    .into_iter()
                    .filter(|word| !word.is_empty())
                    .collect(),
                None,
            ),
            None => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone()),
        };
        let command = if self.command.is_empty() {
            inherited.unwrap_or_default()
        } else {
            self.command.clone()
        };
        let args: Vec<String> = entrypoint.iter().chain(&command).cloned().collect();
        if args.is_empty() {
            return Err(ContainerError::NoCommand);
        }
        Ok(Program {
            entrypoint: (!entrypoint.is_empty()).then_some(entrypoint),
            command,
            args,
        })
    }

    /// The image's environment with the user's over it; a name that is there keeps its place.
    pub(crate) fn environment(&self, image: &ContainerConfig) -> Vec<String> {
        let name = |entry: &str| {
            entry
                .split_once('=')
                .map_or_else(|| entry.to_owned(), |(name, _)| name.to_owned())
        };
        let mut merged = image.env.clone();
        for entry in &self.env {
            let wanted = name(entry);
            let place = merged.iter().position(|known| name(known) == wanted);
            match (place, entry.contains('=')) {
                (Some(at), true) => merged[at].clone_from(entry),
                (Some(at), false) => drop(merged.remove(at)),
                (None, true) => merged.push(entry.clone()),
                (None, false) => {}
            }
        }
        merged
    }

    /// What `--sysctl` says, and the domain, which is one of these, too.
    pub(crate) fn kernel_parameters(&self) -> BTreeMap<String, String> {
        let mut parameters = self.sysctls.clone();
        if !self.domainname.is_empty() {
            parameters.insert("kernel.domainname".to_owned(), self.domainname.clone());
        }
        parameters
    }

    pub(crate) fn labels(&self, image: &ContainerConfig) -> BTreeMap<String, String> {
        let mut labels = image.labels.clone().unwrap_or_default();
        labels.extend(self.labels.clone());
        labels
    }

    /// Exposed ports, sorted, each as `80/tcp`.
    pub(crate) fn exposed(&self, image: &ContainerConfig) -> Vec<String> {
        let of_image = image.exposed_ports.iter().flat_map(BTreeMap::keys);
        let published = self
            .ports
            .iter()
            .map(|port| format!("{}/{}", port.container_port, protocol(port.protocol)));
        let mut ports: Vec<String> = of_image
            .chain(&self.expose)
            .map(|port| {
                if port.contains('/') {
                    port.clone()
                } else {
                    format!("{port}/tcp")
                }
            })
            .chain(published)
            .collect();
        ports.sort_by_key(|port| {
            (
                port.split('/')
                    .next()
                    .and_then(|number| number.parse::<u16>().ok()),
                port.clone(),
            )
        });
        ports.dedup();
        ports
    }

    /// What to publish: what was asked, and with `-P` a random port for each exposed one that is not.
    pub(crate) fn published(&self, exposed: &[String]) -> Result<Vec<PortRequest>> {
        let mut ports = self.ports.clone();
        if !self.publish_all {
            return Ok(ports);
        }
        for text in exposed {
            for port in PortRequest::parse(text).map_err(|error| ContainerError::Option(error.to_string()))? {
                let same = |known: &PortRequest| {
                    known.container_port == port.container_port && known.protocol == port.protocol
                };
                if !ports.iter().any(same) {
                    ports.push(port);
                }
            }
        }
        Ok(ports)
    }

    pub(crate) fn stop_signal(&self, image: &ContainerConfig) -> Result<StopSignal> {
        let name = self.stop_signal.clone().or_else(|| image.stop_signal.clone());
        let name = name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "SIGTERM".to_owned());
        Ok(StopSignal {
            number: parse_signal(&name)?,
            name,
        })
    }

    /// The image's mounts under the user's: a path the user mounts something on needs no anonymous volume.
    pub(crate) fn all_mounts(&self, image: &ContainerConfig) -> Vec<MountRequest> {
        let mut mounts: Vec<MountRequest> = Vec::new();
        for request in &self.mounts {
            mounts.retain(|known| known.target != request.target);
            mounts.push(request.clone());
        }
        for target in image.volumes.iter().flat_map(BTreeMap::keys) {
            let target = crate::mounts::lexical(&Utf8PathBuf::from("/").join(target));
            if !mounts.iter().any(|known| known.target == target) {
                mounts.push(MountRequest {
                    source: MountSource::Volume(VolumeMount::default()),
                    target,
                    read_only: false,
                    options: Vec::new(),
                });
            }
        }
        // A mount on a path below another one must come later.
        mounts.sort_by_key(|mount| mount.target.components().count());
        mounts
    }

    pub(crate) fn health(&self, image: &ContainerConfig) -> Option<HealthCheck> {
        let options = &self.health;
        let inherited = image.healthcheck.clone().unwrap_or_default();
        let test = options.test.clone().unwrap_or_else(|| inherited.test.clone());
        let args = probe_arguments(&test, image)?;
        if options.disable {
            return None;
        }
        let or = |own: Option<Duration>, image: i64, default: u64| {
            own.filter(|own| !own.is_zero())
                .or_else(|| {
                    u64::try_from(image)
                        .ok()
                        .filter(|image| *image > 0)
                        .map(Duration::from_nanos)
                })
                .unwrap_or(Duration::from_secs(default))
        };
        let Healthcheck {
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
            ..
        } = inherited;
        let retries = options
            .retries
            .or_else(|| u32::try_from(retries).ok())
            .filter(|retries| *retries > 0);
        Some(HealthCheck {
            test,
            args,
            interval: or(options.interval, interval, 30),
            timeout: or(options.timeout, timeout, 30),
            start_period: or(options.start_period, start_period, 0),
            start_interval: or(options.start_interval, start_interval, 5),
            retries: retries.unwrap_or(3),
            on_failure: options.on_failure,
        })
    }
}

/// What a health check's test executes; None for none.
fn probe_arguments(test: &[String], image: &ContainerConfig) -> Option<Vec<String>> {
    match test.split_first() {
        Some((kind, args)) if kind == "CMD" && !args.is_empty() => Some(args.to_vec()),
        Some((kind, [command, ..])) if kind == "CMD-SHELL" => {
            let shell = image.shell.clone().filter(|shell| !shell.is_empty());
            let mut args = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            args.push(command.clone());
            Some(args)
        }
        _ => None,
    }
}

/// Returns `tcp` or `udp`.
pub(crate) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// The trees of the images that are mounted.
pub(crate) fn image_trees(points: &[MountPoint]) -> Vec<ImageTree> {
    let images = points.iter().filter_map(|point| point.image.as_ref());
    images.map(|image| image.tree.clone()).collect()
}

/// The runtime's mounts: the user's, and the container's own files over `/etc`, unless the user mounts there.
pub(crate) fn runtime_mounts(
    points: &[MountPoint],
    tmpfs: Vec<Mount>,
    paths: &Paths,
    read_only: bool,
) -> Vec<Mount> {
    let bind = |source: &Utf8PathBuf, target: &str, read_only, options: &[String]| Mount {
        kind: MountKind::Bind,
        source: source.into(),
        target: target.into(),
        read_only,
        options: options.to_vec(),
    };
    let mut mounts: Vec<Mount> = points
        .iter()
        .map(|point| {
            if let Some(image) = &point.image {
                return Mount {
                    kind: MountKind::Image,
                    source: image.tree.rootfs.upper.clone(),
                    target: point.target.clone().into(),
                    read_only: true,
                    options: Vec::new(),
                };
            }
            let beneath = point
                .beneath()
                .map(|folder| format!("{BENEATH}{}", folder.display()));
            let options: Vec<String> = point.options.iter().cloned().chain(beneath).collect();
            bind(&point.source, point.target.as_str(), !point.writable, &options)
        })
        .collect();
    mounts.extend(tmpfs);
    mounts.sort_by_key(|mount| mount.target.components().count());
    for (source, target) in [
        (paths.resolv_conf(), "/etc/resolv.conf"),
        (paths.hostname(), "/etc/hostname"),
        (paths.hosts(), "/etc/hosts"),
    ] {
        if !mounts.iter().any(|mount| mount.target.as_os_str() == target) {
            mounts.push(bind(&source, target, read_only, &[]));
        }
    }
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    fn image() -> ContainerConfig {
        ContainerConfig {
            entrypoint: Some(words(&["/entry"])),
            cmd: Some(words(&["serve"])),
            env: words(&["PATH=/bin", "A=1"]),
            volumes: Some(
                [
                    ("/data".to_owned(), serde_json::json!({})),
                    ("/cache/".to_owned(), serde_json::json!({})),
                ]
                .into(),
            ),
            exposed_ports: Some(
                [
                    ("8080".to_owned(), serde_json::json!({})),
                    ("53/udp".to_owned(), serde_json::json!({})),
                ]
                .into(),
            ),
            healthcheck: Some(Healthcheck {
                test: words(&["CMD-SHELL", "wget -q localhost"]),
                interval: 2_000_000_000,
                retries: 5,
                ..Healthcheck::default()
            }),
            ..ContainerConfig::default()
        }
    }

    #[test]
    fn entrypoint_and_command_combine_as_in_docker() {
        for (entrypoint, command, args) in [
            (None, &[][..], &["/entry", "serve"][..]),
            (None, &["x", "y"], &["/entry", "x", "y"]),
            (Some(&["sh"][..]), &[], &["sh"]),
            (Some(&[""]), &["ls"], &["ls"]),
        ] {
            let options = CreateOptions {
                entrypoint: entrypoint.map(words),
                command: words(command),
                ..CreateOptions::default()
            };
            assert_eq!(options.program(&image()).unwrap().args, words(args));
        }
        let options = CreateOptions {
            entrypoint: Some(words(&[""])),
            ..CreateOptions::default()
        };
        assert!(matches!(
            options.program(&image()),
            Err(ContainerError::NoCommand)
        ));
    }

    #[test]
    fn environment_replaces_in_place_and_removes() {
        let options = CreateOptions {
            env: words(&["B=2", "A=3", "PATH"]),
            ..CreateOptions::default()
        };
        assert_eq!(options.environment(&image()), words(&["A=3", "B=2"]));
    }

    #[test]
    fn the_users_mounts_replace_the_images_volumes() {
        let mount = |target: &str| MountRequest {
            source: MountSource::Tmpfs(Vec::new()),
            target: target.into(),
            read_only: false,
            options: Vec::new(),
        };
        let options = CreateOptions {
            mounts: vec![mount("/cache/deep"), mount("/data")],
            ..CreateOptions::default()
        };
        let targets: Vec<_> = options
            .all_mounts(&image())
            .into_iter()
            .map(|mount| mount.target)
            .collect();
        assert_eq!(targets, ["/data", "/cache", "/cache/deep"]);
    }

    #[test]
    fn health_takes_dockers_defaults() {
        let check = CreateOptions::default().health(&image()).unwrap();
        assert_eq!(check.args, words(&["/bin/sh", "-c", "wget -q localhost"]));
        assert_eq!(
            (check.interval, check.timeout),
            (Duration::from_secs(2), Duration::from_secs(30))
        );
        assert_eq!(
            (check.start_period, check.start_interval),
            (Duration::ZERO, Duration::from_secs(5))
        );
        assert_eq!(check.retries, 5);

        let mut options = CreateOptions::default();
        options.health.test = Some(words(&["CMD-SHELL", "true"]));
        options.health.retries = Some(1);
        let check = options.health(&image()).unwrap();
        assert_eq!((check.args[2].as_str(), check.retries), ("true", 1));

        options.health.disable = true;
        assert_eq!(options.health(&image()), None);
        let none = ContainerConfig {
            healthcheck: Some(Healthcheck {
                test: words(&["NONE"]),
                ..Healthcheck::default()
            }),
            ..image()
        };
        assert_eq!(CreateOptions::default().health(&none), None);
    }

    #[test]
    fn exposed_ports_are_published_at_random_with_publish_all() {
        let options = CreateOptions {
            ports: PortRequest::parse("80:8080").unwrap(),
            publish_all: true,
            ..CreateOptions::default()
        };
        let exposed = options.exposed(&image());
        assert_eq!(exposed, ["53/udp", "8080/tcp"]);
        let published = options.published(&exposed).unwrap();
        assert_eq!(published.len(), 2);
        assert_eq!((published[1].host_port, published[1].container_port), (0, 53));
    }
}
