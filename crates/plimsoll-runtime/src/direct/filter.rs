//! A system call filter as the kernel takes it, made by libseccomp once for the machine, and kept.

use crate::RuntimeError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, ScmpVersion,
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator,
};
use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::rc::Rc;

/// What the kernel is given.
pub(super) struct Filter {
    /// `struct sock_filter` after `struct sock_filter`.
    pub(super) program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(super) flags: u64,
}

/// Filters that were made before: the last one here, all of them in a folder that other processes look into, too.
///
/// Making one takes libseccomp longer than everything else together that starts a container.
pub(super) struct Cache {
    folder: PathBuf,
    last: Option<(LinuxSeccomp, Rc<Filter>)>,
}

impl Cache {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, last: None }
    }

    pub(super) fn get(&mut self, profile: &LinuxSeccomp) -> Result<Rc<Filter>, RuntimeError> {
        if let Some((known, filter)) = &self.last
            && known == profile
        {
            return Ok(filter.clone());
        }
        let program = match self.stored(profile) {
            Some(program) => program,
            None => {
                let program = compile(profile)?;
                // Whoever cannot keep it makes it again.
                let _ = self.store(profile, &program);
                program
            }
        };
        let flags = flags(profile);
        let filter = Rc::new(Filter { program, flags });
        self.last = Some((profile.clone(), filter.clone()));
        Ok(filter)
    }

    /// A file is the digest of the program and the program; anything else is no file of ours.
    fn stored(&self, profile: &LinuxSeccomp) -> Option<Vec<u8>> {
        let mut program = std::fs::read(self.path(profile)).ok()?;
        let rest = program.split_off(32.min(program.len()));
        let whole = !rest.is_empty() && Sha256::digest(&rest)[..] == program[..];
        whole.then_some(rest)
    }

    fn store(&self, profile: &LinuxSeccomp, program: &[u8]) -> std::io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let path = self.path(profile);
        let temporary = path.with_extension(std::process::id().to_string());
        let digest = Sha256::digest(program);
        std::fs::write(&temporary, [&digest[..], program].concat())?;
        std::fs::rename(temporary, path)
    }

    /// Named by everything the program depends on: the rules, this library, this kernel.
    fn path(&self, profile: &LinuxSeccomp) -> PathBuf {
        let library = ScmpVersion::current().map(|version| version.to_string());
        let kernel = rustix::system::uname();
        let mut digest = Sha256::new();
        digest.update(serde_json::to_vec(profile).expect("a profile has no keys but texts"));
        digest.update(library.unwrap_or_default());
        digest.update(kernel.release().to_bytes());
        digest.update(kernel.machine().to_bytes());
        let name: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.folder.join(name)
    }
}

fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>, RuntimeError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default).map_err(wrong)?;
    for arch in profile.architectures().iter().flatten() {
        context.add_arch(architecture(*arch)?).map_err(wrong)?;
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        if action == default {
            continue;
        }
        // A name that libseccomp does not know is of a later kernel, or of another machine.
        for call in rule
            .names()
            .iter()
            .filter_map(|name| ScmpSyscall::from_name(name).ok())
        {
            add(
                &mut context,
                action,
                call,
                rule.args().as_deref().unwrap_or_default(),
            )?;
        }
    }
    let mut file = File::from(memfd_create("filter", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?);
    context.export_bpf(&file).map_err(wrong)?;
    let mut program = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut program)?;
    Ok(program)
}

fn flags(profile: &LinuxSeccomp) -> u64 {
    let flags = profile.flags().iter().flatten().map(|flag| match flag {
        Flag::SeccompFilterFlagLog => 2,
        Flag::SeccompFilterFlagSpecAllow => 4,
        // A process with one thread has none to bring along; the last is for profiles that notify.
        Flag::SeccompFilterFlagTsync | Flag::SeccompFilterFlagWaitKillableRecv => 0,
    });
    flags.fold(0, |all, flag| all | flag)
}

/// libseccomp compares each argument once per rule; with several comparisons of one argument each is a rule of its
/// own, as runc has it.
fn add(
    context: &mut ScmpFilterContext,
    action: ScmpAction,
    call: ScmpSyscall,
    arguments: &[LinuxSeccompArg],
) -> Result<(), RuntimeError> {
    let compares: Vec<_> = arguments.iter().map(compare).collect();
    let twice = arguments.iter().enumerate().any(|(n, argument)| {
        arguments[..n]
            .iter()
            .any(|other| other.index() == argument.index())
    });
    let rules: Vec<&[ScmpArgCompare]> = if twice {
        compares.chunks(1).collect()
    } else {
        vec![&compares]
    };
    for rule in rules {
        context.add_rule_conditional(action, call, rule).map_err(wrong)?;
    }
    Ok(())
}

fn compare(argument: &LinuxSeccompArg) -> ScmpArgCompare {
    let operator = match argument.op() {
        Operator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        Operator::ScmpCmpLt => ScmpCompareOp::Less,
        Operator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        Operator::ScmpCmpEq => ScmpCompareOp::Equal,
        Operator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        Operator::ScmpCmpGt => ScmpCompareOp::Greater,
        Operator::ScmpCmpMaskedEq => return masked(argument),
    };
    ScmpArgCompare::new(argument.index() as u32, operator, argument.value())
}

/// The mask comes first in the spec, the number second; libcontainer has it the other way round.
fn masked(argument: &LinuxSeccompArg) -> ScmpArgCompare {
    let operator = ScmpCompareOp::MaskedEqual(argument.value());
    ScmpArgCompare::new(
        argument.index() as u32,
        operator,
        argument.value_two().unwrap_or(0),
    )
}

fn action(action: Action, errno: Option<u32>) -> Result<ScmpAction, RuntimeError> {
    let errno = errno.unwrap_or(rustix::io::Errno::PERM.raw_os_error() as u32);
    Ok(match action {
        Action::ScmpActAllow => ScmpAction::Allow,
        Action::ScmpActErrno => ScmpAction::Errno(errno as i32),
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActTrace => ScmpAction::Trace(errno as u16),
        Action::ScmpActNotify => return Err(wrong("nobody is there to answer `SCMP_ACT_NOTIFY`")),
    })
}

fn architecture(arch: Arch) -> Result<ScmpArch, RuntimeError> {
    let name = serde_json::to_value(arch).expect("an architecture is a text");
    name.as_str().unwrap_or_default().parse().map_err(wrong)
}

fn wrong(reason: impl ToString) -> RuntimeError {
    RuntimeError::Profile {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::seccomp::{Circumstances, Profile};

    fn profile(text: &str) -> LinuxSeccomp {
        let now = Circumstances {
            capabilities: &[],
            architecture: "amd64",
            kernel: (6, 1),
        };
        Profile::parse(text).unwrap().lower(&now).unwrap()
    }

    #[test]
    fn what_one_process_made_others_find_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || Cache::new(folder.path().join("filters"));
        let few = profile(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        let all = profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
        assert_eq!(cache().stored(&few), None);
        let made = cache().get(&few).unwrap();
        assert_eq!(cache().stored(&few).as_ref(), Some(&made.program));
        assert_eq!(cache().stored(&all), None, "another profile has another name");
        // A file that is not whole is made again.
        let path = cache().path(&few);
        std::fs::write(&path, &std::fs::read(&path).unwrap()[..40]).unwrap();
        assert_eq!(cache().stored(&few), None);
        assert_eq!(cache().get(&few).unwrap().program, made.program);
        assert!(cache().stored(&few).is_some());
    }
}
