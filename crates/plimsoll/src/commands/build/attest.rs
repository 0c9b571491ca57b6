//! `--provenance`, `--sbom`, `--attest`.

use std::collections::BTreeMap;

use plimsoll_build::{AttestSettings, ProvenanceMode, ProvenanceSettings, SlsaVersion};
use plimsoll_dockerfile::nearest;

use super::is_true;
use crate::command_error::CommandError;
use crate::env;

const PROVENANCE: &str = "provenance";
const SBOM: &str = "sbom";

/// Which statements about the result go with it.
#[derive(clap::Args)]
pub(super) struct AttestArgs {
    /// Attest how the result was built: `true`, `false`, or `mode=min|max`, `version=v1|v0.2`, `builder-id=URI`,
    /// `reproducible=true` [default: `mode=min` for registries and OCI archives]
    #[arg(long, value_name = "SPEC")]
    provenance: Option<String>,
    /// Attest what is installed in the result: `true` or `false`
    #[arg(long, value_name = "BOOL")]
    sbom: Option<String>,
    /// As `--provenance` or `--sbom`: `type=provenance,...`, `type=sbom`
    #[arg(long, value_name = "type=TYPE[,KEY=VALUE]")]
    attest: Vec<String>,
}

impl AttestArgs {
    /// Resolves flags and environment; what is given last wins, as in buildx.
    pub(super) fn settings(&self) -> Result<AttestSettings, CommandError> {
        let mut wanted: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        for text in &self.attest {
            let mut fields = fields(text, "--attest")?;
            let kind = fields.remove("type").unwrap_or_default();
            let kind = match kind.as_str() {
                PROVENANCE => PROVENANCE,
                SBOM => SBOM,
                other => return Err(unknown_type(other)),
            };
            wanted.insert(kind, fields);
        }
        for (kind, flag) in [(PROVENANCE, &self.provenance), (SBOM, &self.sbom)] {
            if let Some(text) = flag {
                wanted.insert(kind, shorthand(text, kind)?);
            }
        }
        let no_default = env::var(env::BUILDX_NO_DEFAULT_ATTESTATIONS).is_some_and(|value| is_true(&value));
        Ok(AttestSettings {
            default_provenance: !no_default && !wanted.contains_key(PROVENANCE),
            provenance: wanted.remove(PROVENANCE).map(provenance).transpose()?.flatten(),
            sbom: wanted.remove(SBOM).map(sbom).transpose()?.unwrap_or(false),
        })
    }
}

/// A truth value, or fields.
fn shorthand(text: &str, kind: &str) -> Result<BTreeMap<String, String>, CommandError> {
    match truth(text) {
        Some(true) => Ok(BTreeMap::new()),
        Some(false) => Ok(BTreeMap::from([("disabled".to_owned(), "true".to_owned())])),
        None => fields(text, &format!("--{kind}")),
    }
}

/// Go's strconv.ParseBool.
fn truth(text: &str) -> Option<bool> {
    match text {
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        text => is_true(text).then_some(true),
    }
}

fn fields(text: &str, flag: &str) -> Result<BTreeMap<String, String>, CommandError> {
    let field = |field: &str| match field.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_lowercase(), value.to_owned())),
        None => Err(CommandError::usage(format!(
            "`{field}` of `{flag}` is not KEY=VALUE"
        ))),
    };
    text.split(',')
        .filter(|text| !text.is_empty())
        .map(field)
        .collect()
}

fn unknown_type(kind: &str) -> CommandError {
    let error = match kind {
        "" => CommandError::usage("`--attest` names no `type`"),
        kind => CommandError::usage(format!("`{kind}` is not a type of attestation")),
    };
    match nearest(kind, [PROVENANCE, SBOM]) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("types are `provenance` and `sbom`"),
    }
}

/// Takes the fields that every type has; true if it is not wanted.
fn is_disabled(fields: &mut BTreeMap<String, String>) -> bool {
    fields.remove("disabled").is_some_and(|value| is_true(&value))
}

fn unknown_field(kind: &str, key: &str, known: &[&str]) -> CommandError {
    let error = CommandError::usage(format!("`{key}` means nothing to attestations of type `{kind}`"));
    match nearest(key, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("there are {}", known.join(", "))),
    }
}

fn provenance(mut fields: BTreeMap<String, String>) -> Result<Option<ProvenanceSettings>, CommandError> {
    const KNOWN: [&str; 5] = ["mode", "version", "builder-id", "reproducible", "disabled"];
    let disabled = is_disabled(&mut fields);
    let mut settings = ProvenanceSettings::default();
    for (key, value) in fields {
        let wrong = |expected: &str| {
            let message = format!("`{value}` is not a {key} of provenance");
            CommandError::usage(message).hint(format!("use {expected}"))
        };
        match key.as_str() {
            "mode" => {
                settings.mode = match value.as_str() {
                    "min" => ProvenanceMode::Min,
                    "max" => ProvenanceMode::Max,
                    _ => return Err(wrong("`min` or `max`")),
                }
            }
            "version" => {
                settings.version = match value.as_str() {
                    "v0.2" => SlsaVersion::V02,
                    "v1" => SlsaVersion::V1,
                    _ => return Err(wrong("`v1` or `v0.2`")),
                }
            }
            "builder-id" => settings.builder_id = value,
            "reproducible" => {
                settings.reproducible = truth(&value).ok_or_else(|| wrong("`true` or `false`"))?;
            }
            key => return Err(unknown_field(PROVENANCE, key, &KNOWN)),
        }
    }
    Ok((!disabled).then_some(settings))
}

fn sbom(mut fields: BTreeMap<String, String>) -> Result<bool, CommandError> {
    let disabled = is_disabled(&mut fields);
    match fields.keys().next().map(String::as_str) {
        None => Ok(!disabled),
        Some("generator") => Err(CommandError::usage(
            "another generator for the bill of materials cannot be used",
        )
        .hint("the scanner is built in: `--sbom=true`")),
        Some(key) => Err(unknown_field(SBOM, key, &["generator", "disabled"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(
        provenance: Option<&str>,
        sbom: Option<&str>,
        attest: &[&str],
    ) -> Result<AttestSettings, String> {
        let args = AttestArgs {
            provenance: provenance.map(str::to_owned),
            sbom: sbom.map(str::to_owned),
            attest: attest.iter().map(|text| (*text).to_owned()).collect(),
        };
        args.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn short_and_long_forms_mean_the_same() {
        let max = ProvenanceSettings {
            mode: ProvenanceMode::Max,
            ..ProvenanceSettings::default()
        };
        let wanted = AttestSettings {
            provenance: Some(max),
            default_provenance: false,
            sbom: true,
        };
        assert_eq!(settings(Some("mode=max"), Some("true"), &[]).unwrap(), wanted);
        let long = ["type=provenance,mode=max", "type=sbom"];
        assert_eq!(settings(None, None, &long).unwrap(), wanted);
    }

    #[test]
    fn nothing_said_is_a_minimum_and_false_is_nothing() {
        assert!(settings(None, None, &[]).unwrap().default_provenance);
        let none = AttestSettings::default();
        assert_eq!(settings(Some("false"), Some("0"), &[]).unwrap(), none);
        assert_eq!(
            settings(None, None, &["type=provenance,disabled=true"]).unwrap(),
            none
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (provenance, attest, expected) in [
            (Some("mode=full"), None, "`full` is not a mode"),
            (Some("max"), None, "`max` of `--provenance` is not KEY=VALUE"),
            (Some("mod=max"), None, "`mod` means nothing"),
            (None, Some("type=sbm"), "`sbm` is not a type"),
            (None, Some("mode=max"), "names no `type`"),
            (None, Some("type=sbom,generator=x"), "generator"),
        ] {
            let attest: Vec<&str> = attest.into_iter().collect();
            let error = settings(provenance, None, &attest).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
