//! What the mapping to the OCI spec has to know about this machine and this process.

use crate::RuntimeError;
use crate::cgroup::{Hierarchies, delegated_controllers};
use crate::defaults::{self, capabilities};
use crate::privilege::in_user_namespace;
use rustix::process::getrlimit;
use rustix::thread::{CapabilitySet, capabilities as process_capabilities, capability_is_in_bounding_set};

/// Facts, so that the mapping stays a pure function.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) hierarchies: Hierarchies,
    /// The controllers of which limits can be set; None is all there are.
    pub(crate) controllers: Option<Vec<String>>,
    /// Whether root here is not the machine's: see [`crate::privilege`].
    pub(crate) ordinary: bool,
    /// Bit n: capability n can be passed on.
    pub(crate) capabilities: u64,
    /// Hard limits in force, by Docker's names; `u64::MAX` is none.
    pub(crate) hard_limits: Vec<(&'static str, u64)>,
    pub(crate) limits_swap: bool,
    /// Whether a group can have a weight for disks.
    pub(crate) weighs_disks: bool,
    /// Whether a group can have a share of real-time tasks.
    pub(crate) shares_real_time: bool,
    /// Whether profiles of AppArmor are in force.
    pub(crate) apparmor: bool,
    /// Of this process, which others cannot be below without a privilege.
    pub(crate) oom_score_adj: i32,
    pub(crate) kernel: (u32, u32),
    /// Go's name: `amd64`.
    pub(crate) architecture: &'static str,
}

impl Host {
    pub(crate) fn detect() -> Result<Self, RuntimeError> {
        let ordinary = in_user_namespace();
        let hierarchies = Hierarchies::usable()?;
        let limits = defaults::ULIMITS.iter();
        Ok(Self {
            limits_swap: hierarchies.limits_swap(),
            weighs_disks: hierarchies.weighs_disks(),
            shares_real_time: hierarchies.shares_real_time(),
            controllers: delegated_controllers(&hierarchies),
            hierarchies,
            ordinary,
            oom_score_adj: std::fs::read_to_string("/proc/self/oom_score_adj")
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
            apparmor: std::fs::read("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|text| text == b"Y\n"),
            capabilities: passable_capabilities()?,
            hard_limits: limits
                .map(|(name, _, resource)| (*name, getrlimit(*resource).maximum.unwrap_or(u64::MAX)))
                .collect(),
            kernel: kernel(),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
        })
    }

    pub(crate) fn holds(&self, capability: &str) -> bool {
        capabilities::number(capability).is_some_and(|n| self.capabilities >> n & 1 == 1)
    }

    /// Whether it may be used on the machine, not only on what belongs to a namespace.
    pub(crate) fn may(&self, capability: &str) -> bool {
        !self.ordinary && self.holds(capability)
    }

    pub(crate) fn hard_limit(&self, name: &str) -> u64 {
        self.hard_limits
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(u64::MAX, |(_, limit)| *limit)
    }
}

/// Version of the kernel that runs.
pub(crate) fn kernel() -> (u32, u32) {
    kernel_version(&rustix::system::uname().release().to_string_lossy())
}

/// A capability that this process lacks cannot be given to another: asking for it would fail the whole container.
fn passable_capabilities() -> Result<u64, RuntimeError> {
    let permitted = process_capabilities(None)
        .map_err(std::io::Error::from)?
        .permitted
        .bits();
    let bounding = (0..capabilities::ALL.len())
        .filter(|n| capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << n)).unwrap_or(false));
    Ok(bounding.fold(0, |set, n| set | 1 << n) & permitted)
}

fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_read() {
        assert_eq!(kernel_version("6.1.0-18-amd64"), (6, 1));
        assert_eq!(kernel_version("5.15.167.4-microsoft-standard-WSL2"), (5, 15));
        assert_eq!(kernel_version("odd"), (0, 0));
    }

    #[test]
    fn this_machine_can_be_described() {
        let host = Host::detect().unwrap();
        assert!(host.kernel >= (5, 0));
        assert_eq!(host.hard_limits.len(), defaults::ULIMITS.len());
        if rustix::process::geteuid().is_root() {
            assert!(host.holds("CHOWN"));
        }
    }
}
