//! Helm charts: with the values they come with, they are what Kubernetes would have been given.

use std::collections::BTreeMap;

use plimsoll_bridge::{Target, convert};

use crate::Folder;

#[test]
fn a_chart_comes_to_the_same_manifests() {
    let folder = Folder::new(&[
        (
            "compose.yaml",
            r#"
name: my_shop
services:
  web-1:
    image: nginx
    ports: ["8080:80"]
    environment: {A: "{{ .Values.x }}", B: "HELMVALUE0", PLAIN: "yes"}
    secrets: [token]
    depends_on: [db.main]
    deploy: {replicas: 3, resources: {limits: {memory: 64M}}}
    volumes: ["data:/d", "./keys:/k:ro"]
    pre_start: [{command: [prepare]}]
    configs: [braces]
  db.main: {image: db, volumes: ["data:/d"]}
volumes: {data: }
secrets: {token: {environment: TOKEN}}
configs: {braces: {content: "a {{ b }} {{{ c\n"}}
"#,
        ),
        ("keys/one", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("keys/two", "ghp_26C7e42F292c6912E7710c838347Ae178B4b"),
    ]);
    let project = folder.project();
    let files = |target| -> BTreeMap<String, String> {
        let conversion = convert(&project, &BTreeMap::new(), target).expect("converts");
        conversion
            .files
            .into_iter()
            .map(|file| (file.path.into_string(), file.text))
            .collect()
    };
    let plain = files(Target::Kubernetes);
    let chart = files(Target::Helm);
    let mut values = json_of(&chart["values.yaml"]);
    values["secrets"] = json_of(&chart["values.secrets.yaml"])["secrets"].clone();
    let mut compared = 0;
    for (path, template) in chart.iter().filter(|(path, _)| path.starts_with("templates/")) {
        assert!(
            !template.contains("geheim") && !template.contains("Z2hwXz"),
            "{path} has a secret:\n{template}"
        );
        let rendered = json_of(&render(template, &values));
        let mut expected = json_of(&plain[&path.replace("templates/", "base/")]);
        if expected["kind"] == "PersistentVolumeClaim" {
            expected["spec"]["storageClassName"] = serde_json::Value::Null;
        }
        let pod = expected
            .pointer_mut("/spec/template/spec/containers/0")
            .and_then(|it| it.as_object_mut());
        if let Some(container) = pod {
            container
                .entry("resources")
                .or_insert_with(|| serde_json::json!({}));
        }
        assert_eq!(rendered, expected, "{path}\n{template}");
        compared += 1;
    }
    assert!(compared > 10, "{compared} templates were compared");
}

fn json_of(yaml: &str) -> serde_json::Value {
    let source = plimsoll_diagnostics::Source::new("test", yaml);
    let node = plimsoll_compose_file::parse(&source).unwrap_or_else(|error| panic!("{error:?}\n{yaml}"));
    node.expect("a document").to_json()
}

/// The few expressions of Helm that a chart has.
fn render(template: &str, values: &serde_json::Value) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{ ") {
        out.push_str(before);
        // A brace that stands for itself is the only expression with one in it.
        let (expression, after) = match after.strip_prefix("\"{{\" }}") {
            Some(after) => ("\"{{\"", after),
            None => after.split_once(" }}").expect("an end"),
        };
        out.push_str(&evaluate(expression, values));
        rest = after;
    }
    out + rest
}

fn evaluate(expression: &str, values: &serde_json::Value) -> String {
    let words: Vec<&str> = expression.split('"').skip(1).step_by(2).collect();
    if expression == "\"{{\"" {
        return "{{".to_owned();
    }
    if expression == ".Release.Namespace | quote" {
        return "\"my-shop\"".to_owned();
    }
    let value = match expression.starts_with("required ") {
        true => &values["secrets"][words[1]],
        false => words.iter().fold(values, |value, key| &value[*key]),
    };
    match expression.rsplit(" | ").next() {
        Some("quote") => serde_json::json!(value.as_str().expect("a text")).to_string(),
        Some("toJson") => value.to_string(),
        _ => panic!("{expression}"),
    }
}
