//! ContainerSpec -> OCI runtime spec. Pure: everything about the machine comes in as [`Host`].

mod capabilities;
mod limits;
pub(crate) mod mounts;
pub(crate) mod seccomp;

use crate::RuntimeError;
use crate::container_spec::{ContainerSpec, NetworkNamespace, Seccomp};
use crate::defaults;
use crate::host::Host;
use crate::user::User;
use oci_spec::runtime::{
    LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxSeccomp, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use std::collections::HashMap;
use std::path::Path;

/// The mapping and what had to be changed on the way.
pub(crate) struct Mapped {
    pub(crate) spec: Spec,
    pub(crate) warnings: Vec<String>,
}

/// What a process in the container gets, apart from the container itself.
pub(crate) struct ProcessRequest<'a> {
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [String],
    pub(crate) cwd: &'a str,
    pub(crate) tty: bool,
}

/// Maps a whole container. `netns` is the path of the network namespace to join.
pub(crate) fn container(
    spec: &ContainerSpec,
    user: &User,
    rootfs: &Path,
    netns: Option<&Path>,
    host: &Host,
) -> Result<Mapped, RuntimeError> {
    if spec.args.is_empty() {
        return Err(RuntimeError::Invalid("no command specified".into()));
    }
    let mut warnings = Vec::new();
    let request = ProcessRequest {
        args: &spec.args,
        env: &spec.env,
        cwd: &spec.cwd,
        tty: spec.tty,
    };
    let mut process = process(spec, &request, user, host, &mut warnings)?;
    process.set_capabilities(Some(held_by(
        user,
        &capabilities::of(spec, spec.privileged, host, &mut warnings)?,
    )));
    let spec = SpecBuilder::default()
        .version("1.0.2")
        .hostname(hostname(spec))
        .root(
            RootBuilder::default()
                .path(rootfs)
                .readonly(spec.read_only)
                .build()?,
        )
        .process(process)
        .mounts(mounts::all(spec, host)?)
        .linux(linux(spec, netns, host, &mut warnings)?)
        .annotations(spec.annotations.clone().into_iter().collect::<HashMap<_, _>>())
        .build()?;
    Ok(Mapped { spec, warnings })
}

/// Maps one process; its capabilities are left open (see [`confinement`]).
pub(crate) fn process(
    spec: &ContainerSpec,
    request: &ProcessRequest<'_>,
    user: &User,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<Process, RuntimeError> {
    let identity = UserBuilder::default()
        .uid(user.uid)
        .gid(user.gid)
        .umask(0o22_u32)
        .additional_gids(user.groups.clone())
        .build()?;
    let mut process = ProcessBuilder::default()
        .terminal(request.tty)
        .user(identity)
        .args(request.args.to_vec())
        .env(environment(spec, request, user))
        .cwd(if request.cwd.is_empty() { "/" } else { request.cwd })
        .rlimits(limits::process(&spec.ulimits, host, warnings)?)
        .build()?;
    process.set_capabilities(None);
    // Even `false` makes the library load the filter after it has given up the right to: unset unless true.
    process.set_no_new_privileges(spec.no_new_privileges.then_some(true));
    process.set_apparmor_profile(None);
    Ok(process)
}

/// Capabilities and filter of a further process: the container's own, or with `privileged` all capabilities.
pub(crate) fn confinement(
    spec: &ContainerSpec,
    user: &User,
    privileged: bool,
    host: &Host,
) -> Result<(LinuxCapabilities, Option<LinuxSeccomp>), RuntimeError> {
    let names = capabilities::of(spec, privileged || spec.privileged, host, &mut Vec::new())?;
    Ok((held_by(user, &names), filter(spec, host)?))
}

/// Only root holds capabilities at once; others have them as a bound, which is what execve would leave them.
fn held_by(user: &User, names: &[&'static str]) -> LinuxCapabilities {
    let set = capabilities::set(names);
    let held = if user.uid == 0 {
        set.clone()
    } else {
        Default::default()
    };
    let mut capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(set)
        .effective(held.clone())
        .permitted(held)
        .build()
        .expect("every field has a default");
    capabilities.set_inheritable(Some(Default::default()));
    capabilities.set_ambient(Some(Default::default()));
    capabilities
}

fn hostname(spec: &ContainerSpec) -> String {
    match spec.hostname.as_str() {
        "" => spec.id.chars().take(12).collect(),
        name => name.to_owned(),
    }
}

/// PATH, HOSTNAME and TERM first, then what the image and the user say, HOME where nobody does.
fn environment(spec: &ContainerSpec, request: &ProcessRequest<'_>, user: &User) -> Vec<String> {
    let mut env = vec![defaults::PATH.to_owned(), format!("HOSTNAME={}", hostname(spec))];
    if request.tty {
        env.push("TERM=xterm".to_owned());
    }
    for entry in request.env {
        let name = entry.split('=').next().unwrap_or(entry);
        let place = env.iter().position(|known| known.split('=').next() == Some(name));
        match (place, entry.contains('=')) {
            (Some(at), true) => env[at] = entry.clone(),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
    if !env
        .iter()
        .any(|entry| entry.starts_with("HOME=") && entry != "HOME=")
    {
        env.retain(|entry| entry != "HOME=");
        env.push(format!("HOME={}", user.home));
    }
    env
}

fn filter(spec: &ContainerSpec, host: &Host) -> Result<Option<LinuxSeccomp>, RuntimeError> {
    let profile = match &spec.seccomp {
        _ if spec.privileged => return Ok(None),
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => defaults::seccomp::profile(),
        Seccomp::Profile(text) => seccomp::Profile::parse(text)?,
    };
    let held = capabilities::of(spec, spec.privileged, host, &mut Vec::new())?;
    let capabilities: Vec<String> = held.iter().map(|name| format!("CAP_{name}")).collect();
    let now = seccomp::Circumstances {
        capabilities: &capabilities,
        architecture: host.architecture,
        kernel: host.kernel,
    };
    profile.lower(&now).map(Some)
}

fn linux(
    spec: &ContainerSpec,
    netns: Option<&Path>,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<oci_spec::runtime::Linux, RuntimeError> {
    let (masked, read_only) = if spec.privileged {
        (Vec::new(), Vec::new())
    } else {
        let mut read_only = owned(defaults::READ_ONLY_PATHS);
        read_only.extend(mounts::read_only_afterwards(host));
        (owned(defaults::MASKED_PATHS), read_only)
    };
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(&spec.network, netns)?)
        .cgroups_path(&spec.cgroup)
        .resources(limits::group(spec, host, warnings)?)
        .sysctl(sysctls(spec))
        .masked_paths(masked)
        .readonly_paths(read_only)
        .build()?;
    linux.set_seccomp(filter(spec, host)?);
    Ok(linux)
}

fn namespaces(network: &NetworkNamespace, netns: Option<&Path>) -> Result<Vec<LinuxNamespace>, RuntimeError> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let new = |kind| LinuxNamespaceBuilder::default().typ(kind).build();
    let mut all: Vec<_> = [Mount, Uts, Ipc, Pid, Cgroup]
        .into_iter()
        .map(new)
        .collect::<Result<_, _>>()?;
    match (network, netns) {
        (NetworkNamespace::Host, _) => {}
        (_, Some(path)) => all.push(LinuxNamespaceBuilder::default().typ(Network).path(path).build()?),
        (_, None) => all.push(new(Network)?),
    }
    Ok(all)
}

fn sysctls(spec: &ContainerSpec) -> HashMap<String, String> {
    let defaults = match spec.network {
        NetworkNamespace::Host => &[],
        NetworkNamespace::None | NetworkNamespace::Given => defaults::NETWORK_SYSCTLS,
    };
    let mut all: HashMap<String, String> = defaults
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    all.extend(spec.sysctls.clone());
    all
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

impl From<oci_spec::OciSpecError> for RuntimeError {
    fn from(error: oci_spec::OciSpecError) -> Self {
        Self::Invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests;
