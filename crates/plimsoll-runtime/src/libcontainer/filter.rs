//! Filters as the library reads them.
//!
//! For SCMP_CMP_MASKED_EQ the OCI spec has the mask in `value` and what must be left in `valueTwo` (runc, libseccomp's
//! datum_a and datum_b). libcontainer 0.7 takes them the other way round: Docker's rule "clone, but no new namespaces"
//! would compare nothing with nothing, and allow them all. So they change places on the way there.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArgBuilder, LinuxSeccompOperator, Spec};

/// Turns the comparisons of a whole container's filter.
pub(super) fn turn_in(spec: &mut Spec) {
    let Some(mut linux) = spec.linux().clone() else {
        return;
    };
    let filter = linux.seccomp().clone().map(turned);
    linux.set_seccomp(filter);
    spec.set_linux(Some(linux));
}

/// The filter with the two numbers of every masked comparison in each other's place.
pub(super) fn turned(mut filter: LinuxSeccomp) -> LinuxSeccomp {
    let mut rules = filter.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        let mut arguments = rule.args().clone().unwrap_or_default();
        for argument in &mut arguments {
            if argument.op() == LinuxSeccompOperator::ScmpCmpMaskedEq {
                *argument = LinuxSeccompArgBuilder::default()
                    .index(argument.index())
                    .op(argument.op())
                    .value(argument.value_two().unwrap_or(0))
                    .value_two(argument.value())
                    .build()
                    .expect("every field is set");
            }
        }
        rule.set_args((!arguments.is_empty()).then_some(arguments));
    }
    filter.set_syscalls(Some(rules));
    filter
}
