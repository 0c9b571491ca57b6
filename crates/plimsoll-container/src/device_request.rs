//! Devices asked for by what they can do (`--gpus`), or by the names their makers gave them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::device_specs::DeviceSpecs;
use crate::{ContainerError, Result};

/// The driver whose devices are named in full: `vendor.com/class=name`.
const NAMED: &str = "cdi";

/// Who makes such devices, what kind they are, and what can be asked of them besides `gpu`.
const DRIVERS: [(&str, &str, &[&str]); 2] = [
    (
        "nvidia",
        "nvidia.com/gpu",
        &["compute", "compat32", "graphics", "utility", "video", "display"],
    ),
    ("amd", "amd.com/gpu", &[]),
];

/// Docker's `DeviceRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceRequest {
    /// `nvidia`, `amd`, `cdi`; empty is whichever there is.
    pub driver: String,
    /// How many; -1 is all.
    pub count: i64,
    /// Which, instead.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// What they must be able to do: all of one of these lists.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// For the driver.
    pub options: Option<BTreeMap<String, String>>,
}

impl DeviceRequest {
    /// Devices by their full names.
    pub fn named(names: Vec<String>) -> Self {
        Self {
            driver: NAMED.to_owned(),
            device_ids: Some(names),
            ..Self::default()
        }
    }

    /// The full names of what it asks for. Checked when a container starts, as with Docker: devices come and go.
    pub(crate) fn names(&self, specs: &DeviceSpecs) -> Result<Vec<String>> {
        let wrong = |text: &str| Err(ContainerError::Option(text.to_owned()));
        let ids = self.device_ids.clone().unwrap_or_default();
        if self.driver == NAMED {
            return match self.options.iter().flatten().next() {
                _ if self.count != 0 => wrong("unexpected count in CDI device request"),
                Some(_) => wrong("unexpected options in CDI device request"),
                None => Ok(ids),
            };
        }
        let kind = self.kind(specs).ok_or_else(|| self.nobody())?;
        let full = |name: &str| format!("{kind}={name}");
        match (self.count, ids.is_empty()) {
            (0, _) => Ok(ids.iter().map(|id| full(id)).collect()),
            (_, false) => wrong("cannot set both Count and DeviceIDs on device request"),
            (count @ 1.., true) => Ok((0..count).map(|number| full(&number.to_string())).collect()),
            // Makers describe all of them as one, which has what each has.
            (_, true) if specs.has(&full("all")) => Ok(vec![full("all")]),
            (_, true) => Ok(specs.of_kind(kind)),
        }
    }

    fn kind(&self, specs: &DeviceSpecs) -> Option<&'static str> {
        let wanted = self.capabilities.clone().unwrap_or_default();
        let suits = |(name, kind, more): &(&str, &'static str, &[&str])| {
            let can = |word: &String| word == "gpu" || word == name || more.contains(&word.as_str());
            let is_meant = self.driver.is_empty() || self.driver == *name;
            is_meant && wanted.iter().any(|all| all.iter().all(can)) && !specs.of_kind(kind).is_empty()
        };
        let found = DRIVERS.iter().find(|driver| suits(driver));
        found.map(|(_, kind, _)| *kind)
    }

    fn nobody(&self) -> ContainerError {
        let lists = self.capabilities.iter().flatten();
        let lists: Vec<String> = lists.map(|list| format!("[{}]", list.join(" "))).collect();
        ContainerError::Option(format!(
            "could not select device driver {:?} with capabilities: [{}]",
            self.driver,
            lists.join(" ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(driver: &str, count: i64, ids: &[&str], capabilities: &[&str]) -> DeviceRequest {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        DeviceRequest {
            driver: driver.to_owned(),
            count,
            device_ids: (!ids.is_empty()).then(|| owned(ids)),
            capabilities: Some(vec![owned(capabilities)]),
            options: None,
        }
    }

    fn specs(kinds: &[(&str, &[&str])]) -> DeviceSpecs {
        let folder = tempfile::tempdir().unwrap();
        for (at, (kind, names)) in kinds.iter().enumerate() {
            let devices: Vec<_> = names
                .iter()
                .map(|name| serde_json::json!({"name": name, "containerEdits": {"env": ["A=b"]}}))
                .collect();
            let spec = serde_json::json!({"cdiVersion": "0.5.0", "kind": kind, "devices": devices});
            std::fs::write(folder.path().join(format!("{at}.json")), spec.to_string()).unwrap();
        }
        DeviceSpecs::read(&[camino::Utf8Path::from_path(folder.path()).unwrap().to_owned()])
    }

    #[test]
    fn gpus_are_named_after_whoever_made_them() {
        let both = specs(&[
            ("nvidia.com/gpu", &["0", "1", "all"]),
            ("amd.com/gpu", &["0", "1"]),
        ]);
        for (request, names) in [
            (gpus("", -1, &[], &["gpu"]), &["nvidia.com/gpu=all"][..]),
            (
                gpus("", 2, &[], &["gpu"]),
                &["nvidia.com/gpu=0", "nvidia.com/gpu=1"],
            ),
            (
                gpus("nvidia", 0, &["1"], &["utility", "compute", "gpu"]),
                &["nvidia.com/gpu=1"],
            ),
            (
                gpus("amd", -1, &[], &["gpu"]),
                &["amd.com/gpu=0", "amd.com/gpu=1"],
            ),
            (DeviceRequest::named(vec!["x.y/z=a".to_owned()]), &["x.y/z=a"]),
        ] {
            assert_eq!(request.names(&both).unwrap(), names, "{request:?}");
        }
    }

    #[test]
    fn what_nobody_has_is_refused_in_dockers_words() {
        let said =
            |request: DeviceRequest, specs: &DeviceSpecs| request.names(specs).unwrap_err().to_string();
        let none = specs(&[]);
        let amd = specs(&[("amd.com/gpu", &["0"])]);
        for (request, specs, text) in [
            (
                gpus("", -1, &[], &["gpu"]),
                &none,
                "could not select device driver \"\" with capabilities: [[gpu]]",
            ),
            (
                gpus("nvidia", 1, &[], &["compute", "gpu"]),
                &amd,
                "could not select device driver \"nvidia\" with capabilities: [[compute gpu]]",
            ),
            (
                gpus("", 1, &[], &["tpu"]),
                &amd,
                "could not select device driver \"\" with capabilities: [[tpu]]",
            ),
            (
                gpus("", 1, &["0"], &["gpu"]),
                &amd,
                "cannot set both Count and DeviceIDs on device request",
            ),
            (
                gpus("cdi", 1, &["a.b/c=d"], &[]),
                &amd,
                "unexpected count in CDI device request",
            ),
        ] {
            assert_eq!(said(request, specs), text);
        }
    }
}
