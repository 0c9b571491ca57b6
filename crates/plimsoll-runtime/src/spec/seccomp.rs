//! Docker's profile form and what becomes of it for one container.
//!
//! A profile names system calls with conditions: only with (or without) a capability, on an architecture, from a
//! kernel on. [`Profile::lower`] decides them and leaves the plain list the OCI spec knows.

use crate::RuntimeError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

use oci_spec::runtime::LinuxSeccompAction as Action;

/// A profile as Docker writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    default_action: Action,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<Arch>,
    #[serde(default)]
    arch_map: Vec<Architecture>,
    #[serde(default)]
    flags: Vec<LinuxSeccompFilterFlag>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

/// What happens to some system calls, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// The older spelling with a single call.
    #[serde(default)]
    name: String,
    action: Action,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

/// A comparison with one argument of the call.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Argument {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Operator,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Below,
    #[serde(rename = "SCMP_CMP_LE")]
    AtMost,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    AtLeast,
    #[serde(rename = "SCMP_CMP_GT")]
    Above,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// Under which circumstances a rule counts; an empty list says nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// What the conditions of a profile are decided by.
pub(crate) struct Circumstances<'a> {
    /// With their `CAP_`.
    pub(crate) capabilities: &'a [String],
    /// Go's name: `amd64`.
    pub(crate) architecture: &'a str,
    pub(crate) kernel: (u32, u32),
}

impl Rule {
    /// Allows calls named with spaces between them.
    pub(crate) fn allow(names: &str) -> Self {
        Self {
            names: names.split_whitespace().map(str::to_owned).collect(),
            name: String::new(),
            action: Action::ScmpActAllow,
            errno_ret: None,
            args: None,
            includes: Condition::default(),
            excludes: Condition::default(),
        }
    }

    pub(crate) fn with(mut self, argument: Argument) -> Self {
        self.args.get_or_insert_default().push(argument);
        self
    }

    pub(crate) fn since(mut self, major: u32, minor: u32) -> Self {
        self.includes.min_kernel = Some(format!("{major}.{minor}"));
        self
    }

    pub(crate) fn on(mut self, arches: &[&str]) -> Self {
        self.includes.arches = arches.iter().map(|&arch| arch.to_owned()).collect();
        self
    }

    pub(crate) fn holding(mut self, capability: &str) -> Self {
        self.includes.caps.push(capability.to_owned());
        self
    }

    pub(crate) fn lacking(mut self, capability: &str) -> Self {
        self.excludes.caps.push(capability.to_owned());
        self
    }

    pub(crate) fn failing(mut self, errno: u32) -> Self {
        (self.action, self.errno_ret) = (Action::ScmpActErrno, Some(errno));
        self
    }

    fn applies(&self, now: &Circumstances<'_>) -> Result<bool, RuntimeError> {
        Ok(self.includes.all_hold(now)? && !self.excludes.any_holds(now)?)
    }

    fn lower(self) -> Result<LinuxSyscall, RuntimeError> {
        if !self.name.is_empty() && !self.names.is_empty() {
            return Err(wrong("a rule has both `name` and `names`"));
        }
        let names = if self.name.is_empty() {
            self.names
        } else {
            vec![self.name]
        };
        if names.is_empty() {
            return Err(wrong("a rule names no system call"));
        }
        let mut built = LinuxSyscallBuilder::default().names(names).action(self.action);
        if let Some(errno) = self.errno_ret {
            built = built.errno_ret(errno);
        }
        let arguments: Vec<_> = self
            .args
            .into_iter()
            .flatten()
            .map(Argument::lower)
            .collect::<Result<_, _>>()?;
        if !arguments.is_empty() {
            built = built.args(arguments);
        }
        built.build().map_err(|error| wrong(&error.to_string()))
    }
}

impl Argument {
    pub(crate) fn new(index: usize, op: Operator, value: u64) -> Self {
        Self {
            index,
            value,
            value_two: 0,
            op,
        }
    }

    fn lower(self) -> Result<LinuxSeccompArg, RuntimeError> {
        if self.index > 5 {
            return Err(wrong(&format!("a system call has no argument {}", self.index)));
        }
        LinuxSeccompArgBuilder::default()
            .index(self.index)
            .value(self.value)
            .value_two(self.value_two)
            .op(match self.op {
                Operator::NotEqual => LinuxSeccompOperator::ScmpCmpNe,
                Operator::Below => LinuxSeccompOperator::ScmpCmpLt,
                Operator::AtMost => LinuxSeccompOperator::ScmpCmpLe,
                Operator::Equal => LinuxSeccompOperator::ScmpCmpEq,
                Operator::AtLeast => LinuxSeccompOperator::ScmpCmpGe,
                Operator::Above => LinuxSeccompOperator::ScmpCmpGt,
                Operator::MaskedEqual => LinuxSeccompOperator::ScmpCmpMaskedEq,
            })
            .build()
            .map_err(|error| wrong(&error.to_string()))
    }
}

impl Condition {
    fn all_hold(&self, now: &Circumstances<'_>) -> Result<bool, RuntimeError> {
        Ok((self.arches.is_empty() || self.names_architecture(now))
            && self.caps.iter().all(|cap| now.capabilities.contains(cap))
            && self.kernel_is_new_enough(now)?.unwrap_or(true))
    }

    fn any_holds(&self, now: &Circumstances<'_>) -> Result<bool, RuntimeError> {
        Ok(self.names_architecture(now)
            || self.caps.iter().any(|cap| now.capabilities.contains(cap))
            || self.kernel_is_new_enough(now)?.unwrap_or(false))
    }

    fn names_architecture(&self, now: &Circumstances<'_>) -> bool {
        self.arches.iter().any(|arch| arch == now.architecture)
    }

    fn kernel_is_new_enough(&self, now: &Circumstances<'_>) -> Result<Option<bool>, RuntimeError> {
        let Some(text) = &self.min_kernel else {
            return Ok(None);
        };
        let version = text
            .split_once('.')
            .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let version: (u32, u32) = version.ok_or_else(|| wrong(&format!("`{text}` is no kernel version")))?;
        Ok(Some(now.kernel >= version))
    }
}

impl Profile {
    /// Reads a profile file.
    pub(crate) fn parse(text: &str) -> Result<Self, RuntimeError> {
        let profile: Self = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
            return Err(wrong("use either `architectures` or `archMap`"));
        }
        Ok(profile)
    }

    /// A profile in which everything without a rule fails, with the 32-bit forms of this machine's calls.
    pub(crate) fn denying(errno: u32, syscalls: Vec<Rule>) -> Self {
        let map = |architecture, sub: &[Arch]| Architecture {
            architecture,
            sub_architectures: Some(sub.to_vec()),
        };
        Self {
            default_action: Action::ScmpActErrno,
            default_errno_ret: Some(errno),
            architectures: Vec::new(),
            arch_map: vec![
                map(Arch::ScmpArchX86_64, &[Arch::ScmpArchX86, Arch::ScmpArchX32]),
                map(Arch::ScmpArchAarch64, &[Arch::ScmpArchArm]),
            ],
            flags: Vec::new(),
            syscalls,
        }
    }

    /// The plain list for one container.
    pub(crate) fn lower(self, now: &Circumstances<'_>) -> Result<LinuxSeccomp, RuntimeError> {
        let mut rules = Vec::with_capacity(self.syscalls.len());
        for rule in self.syscalls {
            // libseccomp refuses a rule that says what happens anyhow.
            let says_something =
                rule.action != self.default_action || rule.errno_ret != self.default_errno_ret;
            if says_something && rule.applies(now)? {
                rules.push(rule.lower()?);
            }
        }
        let mut built = LinuxSeccompBuilder::default()
            .default_action(self.default_action)
            .architectures(architectures(self.architectures, self.arch_map, now.architecture))
            .syscalls(rules);
        if !self.flags.is_empty() {
            built = built.flags(self.flags);
        }
        if let Some(errno) = self.default_errno_ret {
            built = built.default_errno_ret(errno);
        }
        built.build().map_err(|error| wrong(&error.to_string()))
    }
}

fn architectures(plain: Vec<Arch>, map: Vec<Architecture>, native: &str) -> Vec<Arch> {
    let native = match native {
        "amd64" => Arch::ScmpArchX86_64,
        "arm64" => Arch::ScmpArchAarch64,
        _ => Arch::ScmpArchNative,
    };
    let Some(entry) = map.into_iter().find(|entry| entry.architecture == native) else {
        return plain;
    };
    std::iter::once(entry.architecture)
        .chain(entry.sub_architectures.into_iter().flatten())
        .collect()
}

fn wrong(reason: &str) -> RuntimeError {
    RuntimeError::Profile {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults;
    use std::collections::BTreeSet;

    fn default_for(capabilities: &[&str], architecture: &str) -> LinuxSeccomp {
        let capabilities: Vec<String> = capabilities.iter().map(|&cap| cap.to_owned()).collect();
        let now = Circumstances {
            capabilities: &capabilities,
            architecture,
            kernel: (6, 1),
        };
        defaults::seccomp::profile().lower(&now).unwrap()
    }

    fn allowed(profile: &LinuxSeccomp) -> BTreeSet<String> {
        let rules = profile.syscalls().iter().flatten();
        rules
            .filter(|rule| rule.action() == Action::ScmpActAllow)
            .flat_map(|rule| rule.names().clone())
            .collect()
    }

    #[test]
    fn the_default_denies_what_is_not_named() {
        let profile = default_for(&["CAP_CHOWN"], "amd64");
        assert_eq!(profile.default_action(), Action::ScmpActErrno);
        assert_eq!(profile.default_errno_ret(), Some(1));
        let allowed = allowed(&profile);
        for name in [
            "read",
            "execve",
            "clone",
            "socket",
            "arch_prctl",
            "modify_ldt",
            "ptrace",
        ] {
            assert!(allowed.contains(name), "{name}");
        }
        for name in [
            "mount",
            "umount2",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "add_key",
            "kexec_load",
            "init_module",
            "reboot",
            "swapon",
            "userfaultfd",
            "io_uring_setup",
            "open_by_handle_at",
            "chroot",
            "clone3",
            "pivot_root",
        ] {
            assert!(!allowed.contains(name), "{name}");
        }
    }

    #[test]
    fn capabilities_bring_their_calls() {
        let allowed_with = |caps: &[&str]| allowed(&default_for(caps, "amd64"));
        assert!(allowed_with(&["CAP_SYS_CHROOT"]).contains("chroot"));
        let admin = allowed_with(&["CAP_SYS_ADMIN"]);
        assert!(
            ["mount", "clone3", "unshare", "bpf"]
                .iter()
                .all(|name| admin.contains(*name))
        );
        assert!(!admin.contains("reboot"));
    }

    #[test]
    fn clone_makes_no_namespaces_and_clone3_is_not_there() {
        let profile = default_for(&[], "amd64");
        let rule = |name: &str| {
            let rules = profile.syscalls().iter().flatten();
            rules
                .filter(|rule| rule.names().iter().any(|n| n == name))
                .cloned()
                .collect::<Vec<_>>()
        };
        let clone = rule("clone");
        let argument = &clone[0].args().as_ref().unwrap()[0];
        assert_eq!(
            (clone.len(), argument.index(), argument.value()),
            (1, 0, 0x7e02_0000)
        );
        let clone3 = rule("clone3");
        assert_eq!((clone3.len(), clone3[0].errno_ret()), (1, Some(38)));
        assert!(rule("socket").len() > 20 && rule("personality").len() == 5);
    }

    #[test]
    fn each_machine_has_its_sub_architectures() {
        use Arch::*;
        let arches = |name| default_for(&[], name).architectures().clone().unwrap();
        assert_eq!(arches("amd64"), [ScmpArchX86_64, ScmpArchX86, ScmpArchX32]);
        assert_eq!(arches("arm64"), [ScmpArchAarch64, ScmpArchArm]);
        assert!(allowed(&default_for(&[], "arm64")).contains("sync_file_range2"));
        assert!(!allowed(&default_for(&[], "arm64")).contains("modify_ldt"));
    }

    #[test]
    fn no_name_is_listed_twice() {
        let profile = default_for(&[], "amd64");
        let first = profile.syscalls().as_ref().unwrap()[0].names().clone();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len());
    }

    #[test]
    fn a_file_in_dockers_form_is_read() {
        let text = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "comment": "yes", "args": null},
                {"name": "mount", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.1"}},
                {"names": ["open"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
                {"names": ["kill"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_NE"}]}
            ]}"#;
        let now = Circumstances {
            capabilities: &[],
            architecture: "amd64",
            kernel: (6, 1),
        };
        let lowered = Profile::parse(text).unwrap().lower(&now).unwrap();
        assert_eq!(
            allowed(&lowered),
            ["kill", "read", "write"].map(str::to_owned).into()
        );
        assert_eq!(lowered.architectures().as_ref().unwrap().len(), 2);
    }

    #[test]
    fn a_wrong_profile_says_what_is_wrong() {
        let reason = |text| match Profile::parse(text) {
            Err(error) => error.to_string(),
            Ok(profile) => {
                let now = Circumstances {
                    capabilities: &[],
                    architecture: "amd64",
                    kernel: (6, 1),
                };
                profile.lower(&now).unwrap_err().to_string()
            }
        };
        assert!(reason("{").starts_with("seccomp profile is not valid: EOF"));
        assert!(reason(r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#).contains("SCMP_ACT_MAYBE"));
        assert!(
            reason(r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}"#)
                .contains("names no system call")
        );
    }
}
