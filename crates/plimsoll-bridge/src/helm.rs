//! A Helm chart: the same manifests, with what differs from place to place in `values.yaml`.
//!
//! Values take their place as words that stand nowhere else in the project; when the manifest is YAML they become
//! expressions. So the text around them, which may have braces of its own, stays what it is.

use camino::Utf8PathBuf;
use plimsoll_compose_file::to_yaml;
use serde_json::{Map, Value, json};

use crate::File;
use crate::app::{App, VOLUME};
use crate::kustomize::header;
use crate::manifest::Manifest;
use crate::waits;

/// The values that are secrets: a file of its own, which stays out of the chart's package.
const SECRETS: &str = "values.secrets.yaml";

/// All files.
pub(crate) fn files(app: &App<'_>, manifests: &[Manifest]) -> Vec<File> {
    let mut chart = Chart::new(manifests);
    let mut all: Vec<File> = Vec::new();
    for manifest in manifests {
        // The namespace is the release's.
        if manifest.identity().0 != "Namespace" {
            all.push(chart.template(manifest));
        }
    }
    let name = app.namespace();
    let about = json!({
        "apiVersion": "v2",
        "name": name,
        "description": format!("The compose project {}", app.project.name),
        "type": "application",
        "version": "0.0.1",
        "appVersion": "0.0.1",
    });
    all.push(plain("Chart.yaml", &about));
    all.push(plain("values.yaml", &Value::Object(chart.values)));
    if !chart.secrets.is_empty() {
        let mut file = plain(SECRETS, &json!({ "secrets": chart.secrets }));
        file.is_secret = true;
        all.push(file);
        all.push(File {
            path: Utf8PathBuf::from(".helmignore"),
            text: format!("{SECRETS}\n"),
            is_secret: false,
        });
    }
    all
}

fn plain(name: &str, value: &Value) -> File {
    File {
        path: Utf8PathBuf::from(name),
        text: header(name) + &to_yaml(value),
        is_secret: false,
    }
}

/// A chart in the making.
struct Chart {
    values: Map<String, Value>,
    secrets: Map<String, Value>,
    /// Begins the words that stand for expressions.
    mark: String,
    /// The expressions of the manifest in work.
    expressions: Vec<String>,
}

impl Chart {
    fn new(manifests: &[Manifest]) -> Self {
        let mut mark = "HELMVALUE".to_owned();
        while manifests
            .iter()
            .any(|manifest| manifest.value.to_string().contains(&mark))
        {
            mark.push('X');
        }
        Self {
            values: Map::new(),
            secrets: Map::new(),
            mark,
            expressions: Vec::new(),
        }
    }

    fn template(&mut self, manifest: &Manifest) -> File {
        self.expressions.clear();
        let mut value = manifest.value.clone();
        self.raise(&mut value, manifest.service.as_deref());
        let mut text = to_yaml(&value).replace("{{", "{{ \"{{\" }}");
        // From the last on: the first word begins as the tenth does.
        for (at, expression) in self.expressions.iter().enumerate().rev() {
            text = text.replace(&format!("{}{at}", self.mark), &format!("{{{{ {expression} }}}}"));
        }
        File {
            path: Utf8PathBuf::from("templates").join(&manifest.file),
            text: header(&manifest.file) + &text,
            is_secret: false,
        }
    }

    /// A word that becomes the expression.
    fn word(&mut self, expression: String) -> Value {
        self.expressions.push(expression);
        Value::from(format!("{}{}", self.mark, self.expressions.len() - 1))
    }

    /// Moves a value to `values.yaml`, and puts the expression for it in its place.
    fn lift(&mut self, place: &mut Value, path: &[&str]) {
        let value = std::mem::take(place);
        let filter = match value {
            Value::String(_) => "quote",
            _ => "toJson",
        };
        let mut map = &mut self.values;
        let (last, parents) = path.split_last().expect("a path has a last key");
        for key in parents {
            let inner = map.entry((*key).to_owned()).or_insert_with(|| json!({}));
            map = inner.as_object_mut().expect("values are in mappings");
        }
        map.insert((*last).to_owned(), value);
        *place = self.word(format!("{} | {filter}", index("Values", path)));
    }

    /// Moves what differs from place to place out of a manifest.
    fn raise(&mut self, value: &mut Value, service: Option<&str>) {
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        value["metadata"]["namespace"] = self.word(".Release.Namespace | quote".to_owned());
        let label = |key: &str| value["metadata"]["labels"][key].as_str().map(str::to_owned);
        match (kind.as_str(), service) {
            ("Deployment" | "StatefulSet" | "DaemonSet" | "Job", Some(service)) => {
                self.raise_workload(value, service)
            }
            ("Service", Some(service)) if value["spec"].get("type").is_some() => {
                self.lift(&mut value["spec"]["type"], &["services", service, "type"]);
            }
            ("PersistentVolumeClaim", _) => {
                let volume = label(VOLUME).unwrap_or_default();
                let spec = &mut value["spec"];
                self.lift(&mut spec["accessModes"], &["volumes", &volume, "accessModes"]);
                self.lift(
                    &mut spec["resources"]["requests"]["storage"],
                    &["volumes", &volume, "size"],
                );
                // Nothing is the cluster's default.
                self.lift(
                    &mut spec["storageClassName"],
                    &["volumes", &volume, "storageClass"],
                );
            }
            ("Secret", _) => {
                let secret = manifest_name(value);
                self.raise_secret(&mut value["data"], &secret);
            }
            ("RoleBinding", _) => {
                value["subjects"][0]["namespace"] = self.word(".Release.Namespace | quote".to_owned());
            }
            _ => {}
        }
    }

    fn raise_workload(&mut self, value: &mut Value, service: &str) {
        let spec = &mut value["spec"];
        if spec.get("replicas").is_some() {
            self.lift(&mut spec["replicas"], &["services", service, "replicas"]);
        }
        let pod = &mut spec["template"]["spec"];
        let container = &mut pod["containers"][0];
        let image = container["image"].clone();
        self.lift(&mut container["image"], &["services", service, "image"]);
        self.lift(
            &mut container["imagePullPolicy"],
            &["services", service, "imagePullPolicy"],
        );
        if container.get("resources").is_none() {
            container["resources"] = json!({});
        }
        self.lift(&mut container["resources"], &["services", service, "resources"]);
        for variable in items(container, "env") {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            self.lift(
                &mut variable["value"],
                &["services", service, "environment", &name],
            );
        }
        for before in items(pod, "initContainers") {
            if before["image"] == waits::IMAGE {
                self.lift(&mut before["image"], &["waits", "image"]);
            } else if before["image"] == image {
                self.lift(&mut before["image"], &["services", service, "image"]);
            }
        }
    }

    /// What a secret holds is no part of a chart.
    fn raise_secret(&mut self, data: &mut Value, secret: &str) {
        let Some(data) = data.as_object_mut() else { return };
        let is_one = data.len() == 1;
        for (key, value) in data {
            let name = if is_one {
                secret.to_owned()
            } else {
                format!("{secret}/{key}")
            };
            let missing = format!("secrets.{name} is missing, in base64: give it with -f {SECRETS}");
            let place = format!("get (.Values.secrets | default dict) {}", json!(name));
            self.secrets.insert(name, std::mem::take(value));
            *value = self.word(format!("required {} ({place}) | quote", json!(missing)));
        }
    }
}

/// The items of a list that may not be there; to ask for it by index would make it.
fn items<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = value.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn manifest_name(value: &Value) -> String {
    value["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Names of services may have dashes and dots, which Go's dots do not reach.
fn index(root: &str, path: &[&str]) -> String {
    let keys: Vec<String> = path.iter().map(|key| json!(key).to_string()).collect();
    format!("index .{root} {}", keys.join(" "))
}
