//! A system call filter as the kernel takes it, made by libseccomp once and kept.

use crate::RuntimeError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator,
};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{Read, Seek};
use std::rc::Rc;

/// What the kernel is given.
pub(super) struct Filter {
    /// `struct sock_filter` after `struct sock_filter`.
    pub(super) program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(super) flags: u64,
}

/// The last filter: the steps of a build mostly have the same.
#[derive(Default)]
pub(super) struct Cache(Option<(LinuxSeccomp, Rc<Filter>)>);

impl Cache {
    pub(super) fn get(&mut self, profile: &LinuxSeccomp) -> Result<Rc<Filter>, RuntimeError> {
        if let Some((known, filter)) = &self.0
            && known == profile
        {
            return Ok(filter.clone());
        }
        let filter = Rc::new(compile(profile)?);
        self.0 = Some((profile.clone(), filter.clone()));
        Ok(filter)
    }
}

fn compile(profile: &LinuxSeccomp) -> Result<Filter, RuntimeError> {
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
    let flags = profile.flags().iter().flatten().map(|flag| match flag {
        Flag::SeccompFilterFlagLog => 2,
        Flag::SeccompFilterFlagSpecAllow => 4,
        // A process with one thread has none to bring along; the last is for profiles that notify.
        Flag::SeccompFilterFlagTsync | Flag::SeccompFilterFlagWaitKillableRecv => 0,
    });
    let flags = flags.fold(0, |all, flag| all | flag);
    Ok(Filter { program, flags })
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
