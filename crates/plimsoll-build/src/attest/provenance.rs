//! SLSA provenance, in the form that BuildKit gives it (`docs/attestations/slsa-definitions.md`).
//!
//! `min` says where everything came from and leaves out what people pass in: build arguments, labels, secrets' names.
//! `max` has these too, the steps and the Dockerfile. Values of secrets are in no record, so they cannot get here; those
//! of arguments that look like credentials are left out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use plimsoll_image::{Attestation, purl};
use plimsoll_oci::Platform;
use serde_json::{Map, Value, json};

use super::Facts;
use crate::record::{BuildRecord, Part, PartKind, StepKind, StepRecord};

const PREDICATE_V1: &str = "https://slsa.dev/provenance/v1";
const PREDICATE_V02: &str = "https://slsa.dev/provenance/v0.2";
const BUILD_TYPE_V1: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
/// In place of a value that is not for everybody.
const HIDDEN: &str = "***";
const BUILD_TYPE_V02: &str = "https://mobyproject.org/buildkit@v1";

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing that people pass in.
    #[default]
    Min,
    /// Everything.
    Max,
}

/// Version of the predicate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlsaVersion {
    /// <https://slsa.dev/spec/v0.2/provenance>
    V02,
    /// <https://slsa.dev/spec/v1.0/provenance>
    #[default]
    V1,
}

/// `--provenance`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvenanceSettings {
    /// How much is said.
    pub mode: Mode,
    /// In which form.
    pub version: SlsaVersion,
    /// Who vouches for the build; a URI.
    pub builder_id: String,
    /// Says that another build comes to the same.
    pub reproducible: bool,
}

/// Makes the statement.
pub(crate) fn provenance(
    record: &BuildRecord,
    facts: &Facts<'_>,
    settings: &ProvenanceSettings,
) -> Attestation {
    let story = Story {
        record,
        facts,
        settings,
    };
    match settings.version {
        SlsaVersion::V1 => Attestation {
            predicate_type: PREDICATE_V1.to_owned(),
            predicate: story.v1(),
        },
        SlsaVersion::V02 => Attestation {
            predicate_type: PREDICATE_V02.to_owned(),
            predicate: story.v02(),
        },
    }
}

struct Story<'a> {
    record: &'a BuildRecord,
    facts: &'a Facts<'a>,
    settings: &'a ProvenanceSettings,
}

impl Story<'_> {
    fn v1(&self) -> Value {
        let mut request = self.request();
        let mut external = json!({"configSource": self.config_source("path")});
        external["request"] = Value::Object(std::mem::take(&mut request));
        let mut internal = json!({"builderPlatform": Platform::host().to_string()});
        if self.is_max() {
            internal["buildConfig"] = self.build_config();
        }
        let mut metadata = Map::new();
        if self.facts.epoch.is_none() {
            metadata.insert("invocationId".to_owned(), self.record.id.as_str().into());
        }
        let (started, finished) = self.times();
        metadata.insert("startedOn".to_owned(), started.into());
        metadata.insert("finishedOn".to_owned(), finished.into());
        if self.is_max() {
            metadata.insert("buildkit_metadata".to_owned(), json!({"source": self.source()}));
        }
        metadata.insert("buildkit_hermetic".to_owned(), self.is_hermetic().into());
        metadata.insert(
            "buildkit_completeness".to_owned(),
            json!({"request": self.says_all(), "resolvedDependencies": self.knows_all()}),
        );
        metadata.insert(
            "buildkit_reproducible".to_owned(),
            self.settings.reproducible.into(),
        );
        json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE_V1,
                "externalParameters": external,
                "internalParameters": internal,
                "resolvedDependencies": self.materials(),
            },
            "runDetails": {
                "builder": {"id": self.settings.builder_id},
                "metadata": metadata,
            },
        })
    }

    fn v02(&self) -> Value {
        let mut metadata = Map::new();
        if self.facts.epoch.is_none() {
            metadata.insert("buildInvocationID".to_owned(), self.record.id.as_str().into());
        }
        let (started, finished) = self.times();
        metadata.insert("buildStartedOn".to_owned(), started.into());
        metadata.insert("buildFinishedOn".to_owned(), finished.into());
        metadata.insert(
            "completeness".to_owned(),
            json!({"parameters": self.says_all(), "environment": true, "materials": self.knows_all()}),
        );
        metadata.insert("reproducible".to_owned(), self.settings.reproducible.into());
        metadata.insert(format!("{BUILD_TYPE_V02}#hermetic"), self.is_hermetic().into());
        if self.is_max() {
            let source = json!({"source": self.source()});
            metadata.insert(format!("{BUILD_TYPE_V02}#metadata"), source);
        }
        let mut predicate = json!({
            "builder": {"id": self.settings.builder_id},
            "buildType": BUILD_TYPE_V02,
            "materials": self.materials(),
            "invocation": {
                "configSource": self.config_source("entryPoint"),
                "parameters": self.request(),
                "environment": {"platform": Platform::host().to_string()},
            },
        });
        if self.is_max() {
            predicate["buildConfig"] = self.build_config();
        }
        predicate["metadata"] = metadata.into();
        predicate
    }

    fn is_max(&self) -> bool {
        self.settings.mode == Mode::Max
    }

    /// Whether nothing that was asked for is left out.
    fn says_all(&self) -> bool {
        let options = &self.record.options;
        self.is_max() || options.build_args.is_empty() && options.labels.is_empty()
    }

    /// Whether everything that went in is listed: a folder of this machine is known to nobody else.
    fn knows_all(&self) -> bool {
        self.facts.origin.is_some() || self.record.context.root.is_empty()
    }

    fn is_hermetic(&self) -> bool {
        let runs = self.record.steps.iter().any(|step| step.kind == StepKind::Run);
        self.knows_all() && (!runs || self.record.options.network == "none")
    }

    /// When the build began and ended; with an epoch it is always that.
    fn times(&self) -> (String, String) {
        match self.facts.epoch {
            Some(epoch) => {
                let epoch = Timestamp::from_second(epoch).unwrap_or(Timestamp::UNIX_EPOCH);
                (epoch.to_string(), epoch.to_string())
            }
            None => (self.record.started.to_string(), Timestamp::now().to_string()),
        }
    }

    fn config_source(&self, path: &str) -> Value {
        let mut source = Map::new();
        if let Some(origin) = self.facts.origin {
            let (algorithm, digest) = &origin.digest;
            source.insert("uri".to_owned(), origin.uri.as_str().into());
            source.insert("digest".to_owned(), json!({*algorithm: digest}));
        }
        // The name as it is known in the context: where that lies is nobody's business.
        let name = &self.record.dockerfile.name;
        let name = name.rsplit('/').next().unwrap_or(name);
        source.insert(path.to_owned(), name.into());
        source.into()
    }

    /// What was asked for, under the names that BuildKit's front end has for it.
    fn request(&self) -> Map<String, Value> {
        let options = &self.record.options;
        let mut args: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |name: &str, value: &str| args.insert(name.to_owned(), value.to_owned());
        if let Some(target) = &options.target {
            set("target", target);
        }
        if options.no_cache || !options.no_cache_stages.is_empty() {
            set("no-cache", &options.no_cache_stages.join(","));
        }
        if !options.add_hosts.is_empty() {
            set("add-hosts", &options.add_hosts.join(","));
        }
        if !matches!(options.network.as_str(), "" | "default") {
            set("force-network-mode", &options.network);
        }
        for name in &options.contexts {
            set(&format!("context:{name}"), "");
        }
        if self.is_max() {
            for (kind, pairs) in [("build-arg", &options.build_args), ("label", &options.labels)] {
                for (name, value) in pairs {
                    let hidden = kind == "build-arg" && self.facts.hidden.contains(name);
                    let value = if hidden { HIDDEN } else { value };
                    set(&format!("{kind}:{name}"), value);
                }
            }
        }
        let mut request = Map::new();
        request.insert("frontend".to_owned(), "dockerfile.v0".into());
        request.insert("args".to_owned(), json!(args));
        if self.is_max() {
            for (kind, ids) in [("secrets", &options.secrets), ("ssh", &options.ssh)] {
                if !ids.is_empty() {
                    let ids: Vec<Value> = ids.iter().map(|id| json!({"id": id, "optional": true})).collect();
                    request.insert(kind.to_owned(), ids.into());
                }
            }
        }
        if self.facts.origin.is_none() && !self.record.context.root.is_empty() {
            let locals = json!([{"name": "context"}, {"name": "dockerfile"}]);
            request.insert("locals".to_owned(), locals);
        }
        request
    }

    /// Base images, then what was fetched: each once, sorted.
    fn materials(&self) -> Vec<Value> {
        let mut images: Vec<(String, &str, String)> = self
            .facts
            .images
            .iter()
            .map(|(name, platform, digest)| (purl(name, platform), "sha256", digest.hex()))
            .collect();
        images.sort();
        let mut fetched: Vec<(String, &str, String)> = Vec::new();
        fetched.extend(
            self.facts
                .origin
                .map(|origin| (origin.uri.clone(), origin.digest.0, origin.digest.1.clone())),
        );
        for part in self.record.steps.iter().flat_map(|step| &step.parts) {
            match part.kind {
                PartKind::Commit => fetched.push((part.name.clone(), "sha1", part.value.clone())),
                PartKind::Url => {
                    let hex = part.value.rsplit(':').next().unwrap_or_default();
                    fetched.push((part.name.clone(), "sha256", hex.to_owned()));
                }
                _ => {}
            }
        }
        fetched.sort();
        images.extend(fetched);
        images.dedup();
        let material = |(uri, algorithm, digest): (String, &str, String)| match digest.is_empty() {
            true => json!({"uri": uri}),
            false => json!({"uri": uri, "digest": {algorithm: digest}}),
        };
        images.into_iter().map(material).collect()
    }

    /// The steps, and what each stands on.
    fn build_config(&self) -> Value {
        let steps: Vec<Value> = self.record.steps.iter().map(step).collect();
        json!({"steps": steps})
    }

    /// The Dockerfile, and where in it each step comes from.
    fn source(&self) -> Value {
        let dockerfile = &self.record.dockerfile;
        let name = dockerfile.name.rsplit('/').next().unwrap_or_default();
        let mut locations = Map::new();
        for step in self.record.steps.iter().filter(|step| step.place.line > 0) {
            let range = json!({"start": {"line": step.place.line}, "end": {"line": step.place.last_line}});
            let location = json!({"locations": [{"ranges": [range]}]});
            locations.insert(step_id(step.id), location);
        }
        json!({
            "locations": locations,
            "infos": [{
                "filename": name,
                "language": "Dockerfile",
                "data": STANDARD.encode(&dockerfile.text),
            }],
        })
    }
}

fn step_id(id: usize) -> String {
    format!("step{id}")
}

fn step(step: &StepRecord) -> Value {
    let inputs: Vec<String> = step
        .inputs
        .iter()
        .map(|input| format!("{}:0", step_id(*input)))
        .collect();
    let of_kind = |kind: PartKind| step.parts.iter().filter(move |part| part.kind == kind);
    let mut value = json!({"id": step_id(step.id), "kind": step.kind});
    if let Some(name) = &step.name {
        value["name"] = name.as_str().into();
    }
    if !step.stage.platform.is_empty() {
        value["platform"] = step.stage.platform.as_str().into();
    }
    if let Some(command) = of_kind(PartKind::Command).next() {
        value["command"] = command.value.as_str().into();
    }
    let pair = |part: &Part| format!("{}={}", part.name, if part.hidden { HIDDEN } else { &part.value });
    let variables: Vec<String> = of_kind(PartKind::Env)
        .chain(of_kind(PartKind::Arg))
        .map(pair)
        .collect();
    if !variables.is_empty() {
        value["env"] = json!(variables);
    }
    if !inputs.is_empty() {
        value["inputs"] = json!(inputs);
    }
    value
}
