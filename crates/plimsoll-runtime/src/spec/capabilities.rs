//! `--cap-add` and `--cap-drop`, with Docker's arithmetic.

use crate::RuntimeError;
use crate::container_spec::ContainerSpec;
use crate::defaults::capabilities::{ALL, DEFAULT};
use crate::host::Host;
use oci_spec::runtime::{Capabilities, Capability};
use std::str::FromStr;

/// The capabilities of a container, without `CAP_`, in the order of their numbers.
pub(super) fn of(
    spec: &ContainerSpec,
    privileged: bool,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static str>, RuntimeError> {
    let add = Names::parse(&spec.cap_add, "CapAdd")?;
    let drop = Names::parse(&spec.cap_drop, "CapDrop")?;
    let wanted: Vec<_> = ALL
        .into_iter()
        .filter(|name| {
            if privileged || add.all {
                return privileged || !drop.names.contains(name);
            }
            add.names.contains(name) || (!drop.all && DEFAULT.contains(name) && !drop.names.contains(name))
        })
        .collect();
    for name in add.names.iter().filter(|name| !host.holds(name)) {
        warnings.push(format!(
            "capability `{name}` cannot be added: this process does not have it"
        ));
    }
    Ok(wanted.into_iter().filter(|name| host.holds(name)).collect())
}

/// In the form of the OCI spec.
pub(super) fn set(names: &[&str]) -> Capabilities {
    names
        .iter()
        .map(|name| Capability::from_str(name).expect("every known name is one of the spec"))
        .collect()
}

struct Names {
    all: bool,
    names: Vec<&'static str>,
}

impl Names {
    fn parse(texts: &[String], option: &str) -> Result<Self, RuntimeError> {
        let mut parsed = Self {
            all: false,
            names: Vec::new(),
        };
        for text in texts {
            let upper = text.to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            match ALL.into_iter().find(|known| *known == bare) {
                _ if upper == "ALL" || upper == "CAP_ALL" => parsed.all = true,
                Some(name) => parsed.names.push(name),
                None => {
                    return Err(RuntimeError::Invalid(format!(
                        "invalid {option}: unknown capability: \"CAP_{bare}\""
                    )));
                }
            }
        }
        Ok(parsed)
    }
}
