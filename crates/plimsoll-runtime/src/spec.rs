//! ContainerSpec -> OCI runtime spec. Pure: everything about the machine comes in as [`Host`].

mod capabilities;
mod limits;
pub(crate) mod mounts;
pub(crate) mod seccomp;

use crate::RuntimeError;
use crate::container_spec::{ContainerSpec, Ipc, NetworkNamespace, Seccomp, Sharing};
use crate::defaults;
use crate::hooks;
use crate::host::Host;
use crate::user::User;
use crate::{Namespaces, ProcessSpec};
use oci_spec::runtime::{
    LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, LinuxResources, LinuxSeccomp, Process, ProcessBuilder, RootBuilder, Spec,
    SpecBuilder, UserBuilder,
};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The mapping and what had to be changed on the way.
pub(crate) struct Mapped {
    pub(crate) spec: Spec,
    pub(crate) warnings: Vec<String>,
}

/// A further process and its filter.
pub(crate) struct Further {
    pub(crate) process: Process,
    pub(crate) filter: Option<LinuxSeccomp>,
}

/// What a process in the container gets, apart from the container itself.
struct ProcessRequest<'a> {
    args: &'a [String],
    env: &'a [String],
    cwd: &'a str,
    tty: bool,
}

/// Where the namespaces to join are found.
#[derive(Default)]
pub(crate) struct Paths {
    network: Option<PathBuf>,
    pid: Option<PathBuf>,
    ipc: Option<PathBuf>,
}

impl Paths {
    /// By numbers of ours, for the paths are opened by other processes.
    pub(crate) fn of(joined: &Namespaces) -> Self {
        let path = |fd: &Option<OwnedFd>| {
            let fd = fd.as_ref()?;
            Some(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()).into())
        };
        Self {
            network: path(&joined.network),
            pid: path(&joined.pid),
            ipc: path(&joined.ipc),
        }
    }
}

/// Maps a whole container.
pub(crate) fn container(
    spec: &ContainerSpec,
    user: &User,
    rootfs: &Path,
    paths: &Paths,
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
    process.set_oom_score_adj(limits::oom_score(spec, host, &mut warnings));
    let mut mapped = SpecBuilder::default()
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
        .linux(linux(spec, paths, host, &mut warnings)?)
        .annotations(spec.annotations.clone().into_iter().collect::<HashMap<_, _>>())
        .build()?;
    if !spec.hooks.is_empty() {
        mapped.set_hooks(Some(hooks::oci(&spec.hooks)?));
    }
    Ok(Mapped {
        spec: mapped,
        warnings,
    })
}

/// Maps the limits of a group.
pub(crate) fn resources(
    spec: &ContainerSpec,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<LinuxResources, RuntimeError> {
    limits::group(spec, host, warnings)
}

/// Maps a further process of a container: it has the container's own capabilities and filter, or with `privileged` all
/// capabilities.
pub(crate) fn further_process(
    spec: &ContainerSpec,
    wanted: &ProcessSpec,
    user: &User,
    host: &Host,
) -> Result<Further, RuntimeError> {
    let request = ProcessRequest {
        args: &wanted.args,
        env: &wanted.env,
        cwd: &wanted.cwd,
        tty: wanted.tty,
    };
    let ignored = &mut Vec::new();
    let mut process = process(spec, &request, user, host, ignored)?;
    let names = capabilities::of(spec, wanted.privileged || spec.privileged, host, ignored)?;
    process.set_capabilities(Some(held_by(user, &names)));
    process.set_oom_score_adj(limits::oom_score(spec, host, ignored));
    let filter = filter(spec, host)?;
    Ok(Further { process, filter })
}

/// Maps one process; its capabilities are left open.
fn process(
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
    process.set_apparmor_profile(apparmor(spec, host, warnings));
    Ok(process)
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

/// Nothing is changed for `unconfined`: whoever makes containers has no profile that they would inherit.
fn apparmor(spec: &ContainerSpec, host: &Host, warnings: &mut Vec<String>) -> Option<String> {
    let profile = Some(spec.apparmor.as_str()).filter(|name| !matches!(*name, "" | "unconfined"))?;
    if !host.apparmor {
        warnings.push(format!(
            "AppArmor is not in force here: profile `{profile}` has no effect"
        ));
        return None;
    }
    Some(profile.to_owned())
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
    paths: &Paths,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<oci_spec::runtime::Linux, RuntimeError> {
    let (masked, read_only) = spec.covered_paths();
    let (masked, mut read_only) = (owned(masked), owned(read_only));
    if !read_only.is_empty() {
        read_only.extend(mounts::read_only_afterwards(host));
    }
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(spec, paths)?)
        .cgroups_path(&spec.cgroup)
        .resources(limits::group(spec, host, warnings)?)
        .sysctl(sysctls(spec, host.ordinary)?)
        .masked_paths(masked)
        .readonly_paths(read_only)
        .build()?;
    linux.set_seccomp(filter(spec, host)?);
    if !spec.devices.is_empty() {
        let map = spec.userns.as_ref();
        let nodes = spec.devices.iter().map(|device| limits::node(device, map));
        linux.set_devices(Some(nodes.collect::<Result<_, _>>()?));
    }
    Ok(linux)
}

fn namespaces(spec: &ContainerSpec, paths: &Paths) -> Result<Vec<LinuxNamespace>, RuntimeError> {
    use LinuxNamespaceType::{Cgroup, Ipc as IpcKind, Mount, Network, Pid, Uts};
    let pid = (Pid, spec.pid != Sharing::Host, &paths.pid);
    let ipc = (IpcKind, spec.ipc != Ipc::Host, &paths.ipc);
    let network = (Network, spec.network != NetworkNamespace::Host, &paths.network);
    let own = |kind, wanted| (kind, wanted, &None);
    let kinds = [
        own(Mount, true),
        own(Uts, spec.uts == Sharing::Own),
        own(Cgroup, spec.cgroupns == Sharing::Own),
        pid,
        ipc,
        network,
    ];
    let wanted = kinds.into_iter().filter(|(_, wanted, _)| *wanted);
    let built = wanted.map(|(kind, _, path)| {
        let built = LinuxNamespaceBuilder::default().typ(kind);
        Ok(match path {
            Some(path) => built.path(path).build()?,
            None => built.build()?,
        })
    });
    built.collect()
}

fn sysctls(spec: &ContainerSpec, ordinary: bool) -> Result<HashMap<String, String>, RuntimeError> {
    let own_network = spec.network != NetworkNamespace::Host;
    for name in spec.sysctls.keys() {
        check_sysctl(name, spec)?;
    }
    let defaults = if own_network {
        defaults::NETWORK_SYSCTLS
    } else {
        &[]
    };
    let mut all: HashMap<String, String> = defaults
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if ordinary && own_network {
        // A group that is not in the map is no group.
        let range = format!("0 {}", crate::privilege::last_group());
        all.insert("net.ipv4.ping_group_range".to_owned(), range);
    }
    all.extend(spec.sysctls.clone());
    Ok(all)
}

/// Only what belongs to a namespace the container has for itself: anything else would be the host's.
fn check_sysctl(name: &str, spec: &ContainerSpec) -> Result<(), RuntimeError> {
    let is = |names: &[&str]| names.contains(&name);
    let (namespace, shared) = if name.starts_with("net.") {
        ("network", spec.network == NetworkNamespace::Host)
    } else if name.starts_with("fs.mqueue.") || is(defaults::IPC_SYSCTLS) {
        ("IPC", spec.ipc == Ipc::Host)
    } else if is(&["kernel.domainname", "kernel.hostname"]) {
        ("UTS", spec.uts == Sharing::Host)
    } else {
        return Err(RuntimeError::Invalid(format!(
            "sysctl `{name}` is not in a separate kernel namespace: it would change the host"
        )));
    };
    if shared {
        return Err(RuntimeError::Invalid(format!(
            "sysctl `{name}` is not allowed in the host's {namespace} namespace"
        )));
    }
    Ok(())
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
