//! The flags of `build` that every RUN gets something from.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use clap::Parser as _;
use plimsoll_build::{RunOptions, Secret, Wreck};
use plimsoll_oci::{ContainerConfig, ImageConfig, Platform};
use plimsoll_runtime::Resources;

use super::ssh::Agents;
use crate::command_error::CommandError;
use crate::commands::container_options::{bytes, bytes_or_unlimited, ulimit};
use crate::context::Context;

/// As BuildKit: larger ones are no secrets.
const MAX_SECRET: u64 = 500 << 10;
const ENTITLEMENTS: [&str; 3] = ["network.host", "security.insecure", "buildx.local.delete"];

#[derive(clap::Args)]
pub(super) struct RunArgs {
    /// Give RUN --mount=type=secret a value: `id=ID,src=FILE`, `id=ID,env=VARIABLE`, or `id=ID` for the variable or
    /// file of that name
    #[arg(long = "secret", value_name = "SPEC")]
    secrets: Vec<String>,
    /// Give RUN --mount=type=ssh an agent: `default` for the one of SSH_AUTH_SOCK, `ID=SOCKET`, or `ID=KEY[,KEY]` for
    /// one that holds these keys
    #[arg(long = "ssh", value_name = "default|ID=SOCKET|ID=KEY")]
    ssh: Vec<String>,
    /// Limit something for each process of RUN
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    ulimits: Vec<String>,
    /// Limit each RUN: `memory`, `memory-swap`, `cpu-shares`, `cpu-period`, `cpu-quota`, `cpuset-cpus`
    #[arg(long = "resource", value_name = "NAME=VALUE", value_delimiter = ',')]
    resources: Vec<String>,
    /// Size of /dev/shm of RUN
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    shm_size: Option<i64>,
    /// Cgroup below which RUN gets its own
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// Allow RUN what it may not by default: `network.host`, `security.insecure`
    #[arg(long = "allow", value_name = "RIGHT", value_delimiter = ',', value_parser = entitlement)]
    allowed: Vec<String>,
    /// Open a shell in the files of the step that failed
    #[arg(long, value_name = "WHAT", value_enum)]
    on_error: Option<OnError>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    /// Opens a shell, which needs a terminal
    Shell,
}

impl RunArgs {
    /// The agents of `--ssh`, to be kept as long as the build runs.
    pub(super) fn agents(&self) -> Result<Agents, CommandError> {
        Agents::of(&self.ssh)
    }

    /// Reads the environment and files that the flags name.
    pub(super) fn options(&self, agents: &Agents) -> Result<RunOptions, CommandError> {
        let allows = |right: &str| self.allowed.iter().any(|allowed| allowed == right);
        let shell = self.on_error == Some(OnError::Shell);
        if shell && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(
                CommandError::usage("`--on-error shell` needs a terminal to type on")
                    .hint("without it the error names the log of the step that failed"),
            );
        }
        Ok(RunOptions {
            emulators: crate::env::path(),
            secrets: self
                .secrets
                .iter()
                .map(|text| secret(text))
                .collect::<Result<_, _>>()?,
            ssh: agents.sockets.clone(),
            ulimits: self
                .ulimits
                .iter()
                .map(|text| ulimit(text))
                .collect::<Result<_, _>>()?,
            resources: resources(&self.resources)?,
            shm_size: self
                .shm_size
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
            cgroup_parent: self.cgroup_parent.clone(),
            allow_host_network: allows("network.host"),
            allow_insecure: allows("security.insecure"),
            wreck: shell.then(Arc::default),
        })
    }
}

/// The words of `run`, to be parsed from a line of ours.
#[derive(clap::Parser)]
#[command(disable_help_flag = true)]
struct RunLine {
    #[command(flatten)]
    args: crate::commands::run::Args,
}

/// A shell in the files of the step that failed, with its variables, directory, user and caches. What it had as binds
/// and secrets is not there any more.
pub(super) async fn shell(wreck: &Wreck, context: &Context) -> Result<(), CommandError> {
    let images = context.images()?;
    let platform = Platform::host();
    let config = ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        config: ContainerConfig {
            env: wreck.env.clone(),
            working_dir: wreck.cwd.clone(),
            user: wreck.user.clone(),
            ..ContainerConfig::default()
        },
        ..ImageConfig::default()
    };
    let image = images.assemble(config, Some(wreck.snapshot))?;
    images.keep(&image)?;
    let id = image.id.to_string();
    let caches = wreck.caches.iter().flat_map(|(source, target)| {
        [
            "-v".to_owned(),
            format!("{}:{}", source.display(), target.display()),
        ]
    });
    let flags = ["run", "--rm", "-it", "--pull", "never", "--entrypoint", "/bin/sh"].map(str::to_owned);
    let line = flags.into_iter().chain(caches).chain([id.clone()]);
    let args = RunLine::try_parse_from(line).map_err(CommandError::from)?.args;
    context.warn(
        "this is the container of the step that failed, without its secrets and binds; leave it with `exit`",
    );
    let ended = crate::commands::run::run(args, context).await;
    images.remove(&id, true, &|_| false)?;
    ended.map(drop)
}

fn entitlement(text: &str) -> Result<String, String> {
    // Of the device and file system rights only the name before the sign matters; nothing here needs them.
    let name = text.split('=').next().unwrap_or(text);
    match name {
        name if ENTITLEMENTS.contains(&name) => Ok(text.to_owned()),
        "device" | "fs" | "fs.read" | "fs.write" | "ssh" => Ok(text.to_owned()),
        _ => Err(match plimsoll_dockerfile::nearest(name, ENTITLEMENTS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "expected `network.host` or `security.insecure`".to_owned(),
        }),
    }
}

/// `key=value` pairs between commas.
fn fields<'a>(flag: &str, text: &'a str, keys: &[&str]) -> Result<BTreeMap<&'a str, &'a str>, CommandError> {
    let mut fields = BTreeMap::new();
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| CommandError::usage(format!("`--{flag} {text}`: `{field}` is not KEY=VALUE")))?;
        let key = key.trim();
        if !keys.contains(&key) {
            let error = CommandError::usage(format!("`--{flag} {text}`: `{key}` is not an option of it"));
            return Err(match plimsoll_dockerfile::nearest(key, keys.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the options are {}", keys.join(", "))),
            });
        }
        fields.insert(key, value);
    }
    Ok(fields)
}

/// `[type=file|env,]id=ID[,src=FILE][,env=VARIABLE]`, as buildx reads it.
fn secret(text: &str) -> Result<(String, Secret), CommandError> {
    let fields = fields("secret", text, &["type", "id", "src", "source", "env"])?;
    let get = |key: &str| fields.get(key).copied().filter(|value| !value.is_empty());
    let source = get("src").or(get("source"));
    let id = get("id").ok_or_else(|| CommandError::usage(format!("`--secret {text}` names no `id`")))?;
    let value = match (get("type"), get("env"), source) {
        (None | Some("env"), Some(name), None) => variable(name)?,
        (Some("env"), None, source) => variable(source.unwrap_or(id))?,
        (None | Some("file"), None, Some(path)) => file(Path::new(path))?,
        (Some("file"), None, None) => file(Path::new(id))?,
        (None, None, None) => match std::env::var_os(id) {
            Some(_) => variable(id)?,
            None => file(Path::new(id))?,
        },
        (Some(kind), ..) if !["file", "env"].contains(&kind) => {
            return Err(
                CommandError::usage(format!("`--secret {text}`: `{kind}` is not a type of it"))
                    .hint("use `type=file` or `type=env`"),
            );
        }
        _ => {
            return Err(
                CommandError::usage(format!("`--secret {text}` names both a file and a variable"))
                    .hint("give either `src=FILE` or `env=VARIABLE`"),
            );
        }
    };
    Ok((id.to_owned(), value))
}

fn variable(name: &str) -> Result<Secret, CommandError> {
    use std::os::unix::ffi::OsStringExt as _;
    match std::env::var_os(name) {
        Some(value) => Ok(Secret::new(value.into_vec())),
        None => Err(CommandError::user(format!(
            "the variable `{name}` of a `--secret` is not set"
        ))),
    }
}

fn file(path: &Path) -> Result<Secret, CommandError> {
    let wrong = |reason: String| {
        CommandError::user(format!(
            "cannot read the file `{}` of a `--secret`: {reason}",
            path.display()
        ))
    };
    let size = std::fs::metadata(path)
        .map_err(|error| wrong(error.to_string()))?
        .len();
    if size > MAX_SECRET {
        return Err(wrong(format!(
            "it has {size} bytes, and a secret at most {MAX_SECRET}"
        )));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    Ok(Secret::new(bytes))
}

/// Limits of `--resource`; a quota without a period is of 100 ms, the kernel's own.
fn resources(given: &[String]) -> Result<Resources, CommandError> {
    let mut resources = Resources::default();
    let (mut period, mut quota) = (100_000, None);
    for text in given {
        let wrong = |reason: &str| {
            CommandError::usage(format!("invalid argument `{text}` for `--resource`: {reason}"))
        };
        let (name, value) = text.split_once('=').ok_or_else(|| wrong("expected NAME=VALUE"))?;
        let number = || {
            value
                .parse::<i64>()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| wrong("expected a number above 0"))
        };
        match name {
            "memory" => resources.memory = Some(bytes(value).map_err(|reason| wrong(&reason))?),
            "memory-swap" => {
                resources.memory_swap = Some(bytes_or_unlimited(value).map_err(|reason| wrong(&reason))?)
            }
            "cpu-shares" => resources.cpu_shares = Some(number()?.unsigned_abs()),
            "cpu-period" => period = number()?,
            "cpu-quota" => quota = Some(number()?),
            "cpuset-cpus" => value.clone_into(&mut resources.cpuset_cpus),
            _ => {
                return Err(wrong(
                    "use memory, memory-swap, cpu-shares, cpu-period, cpu-quota or cpuset-cpus",
                ));
            }
        }
    }
    resources.nano_cpus = quota.map(|quota| quota.saturating_mul(1_000_000_000) / period);
    Ok(resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_run() {
        let given =
            |texts: &[&str]| resources(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let limits = given(&["memory=64m", "cpu-quota=150000", "cpuset-cpus=0-1"]).expect("they are right");
        assert_eq!(
            (limits.memory, limits.nano_cpus, limits.cpuset_cpus.as_str()),
            (Some(64 << 20), Some(1_500_000_000), "0-1")
        );
        for wrong in ["memory", "memory=x", "cpu-shares=0", "disk=1"] {
            assert!(given(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_come_from_files_and_variables() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "t0ken").unwrap();
        let path = path.display();
        for text in [
            format!("id=a,src={path}"),
            format!("type=file,source={path},id=a"),
        ] {
            assert_eq!(
                secret(&text).unwrap(),
                ("a".to_owned(), Secret::new("t0ken")),
                "{text}"
            );
        }
        let path_variable = Secret::new(std::env::var("PATH").unwrap());
        for text in [
            "id=PATH",
            "id=PATH,type=env",
            "id=PATH,env=PATH",
            "id=PATH,type=env,src=PATH",
        ] {
            assert_eq!(secret(text).unwrap().1, path_variable, "{text}");
        }
        let missing = format!("id=a,src={path}.not");
        for text in [
            "src=x",
            "id=a,env=PLIMSOLL_NOT_SET",
            "id=a,env=A,src=b",
            "id=a,type=vault",
            "id",
            &missing,
        ] {
            assert!(secret(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rights_are_known_by_name() {
        assert!(entitlement("network.host").is_ok() && entitlement("device=vendor.com/x").is_ok());
        assert_eq!(
            entitlement("network.hots"),
            Err("did you mean `network.host`?".to_owned())
        );
    }
}
