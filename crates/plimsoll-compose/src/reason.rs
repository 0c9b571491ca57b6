//! Why a container has to be made anew: which keys of its service are not what they were.
//!
//! Only names are told, never values: they may be secrets.

use serde_json::Value;

/// Keys that a container does not depend on.
const OUTSIDE: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", "profiles"];
/// How many keys are told.
const TOLD: usize = 3;

/// A service without what its containers do not depend on: what is kept with each of them.
pub(crate) fn essence(service: &Value) -> Value {
    let Value::Object(fields) = service else {
        return service.clone();
    };
    let mut kept = fields.clone();
    for key in OUTSIDE {
        kept.remove(key);
    }
    if let Some(deploy) = kept.get_mut("deploy").and_then(Value::as_object_mut) {
        deploy.remove("replicas");
    }
    Value::Object(kept)
}

/// `environment.DEBUG changed`, or `environment.DEBUG, image and 3 more changed`.
pub(crate) fn reason(before: Option<&Value>, now: &Value) -> String {
    let mut paths = Vec::new();
    if let Some(before) = before {
        differences(before, now, "", &mut paths);
    }
    if paths.is_empty() {
        return "configuration changed".to_owned();
    }
    let more = paths.len().saturating_sub(TOLD);
    paths.truncate(TOLD);
    match more {
        0 => format!("{} changed", paths.join(", ")),
        more => format!("{} and {more} more changed", paths.join(", ")),
    }
}

fn differences(before: &Value, now: &Value, path: &str, found: &mut Vec<String>) {
    let (before, now) = match (before, now) {
        (Value::Object(before), Value::Object(now)) => (before, now),
        // `default:` and `default: {aliases: [x]}`.
        (one @ Value::Object(_), Value::Null) | (Value::Null, one @ Value::Object(_)) => {
            return came_or_went(one, path, found);
        }
        _ => return found.extend((before != now).then(|| path.to_owned())),
    };
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let inner = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        match (before.get(key), now.get(key)) {
            (Some(before), Some(now)) => differences(before, now, &inner, found),
            (Some(one), None) | (None, Some(one)) => came_or_went(one, &inner, found),
            (None, None) => {}
        }
    }
}

/// A mapping that came or went is told by its keys; the normal form has some that say nothing.
fn came_or_went(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let inner = fields.iter();
            inner.for_each(|(key, value)| came_or_went(value, &format!("{path}.{key}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_told_and_values_are_not() {
        let before = json!({"image": "a", "environment": {"DEBUG": "0", "PASSWORD": "hunter1"}, "ports": [{"target": 80}]});
        let table = [
            (
                json!({"image": "a", "environment": {"DEBUG": "1", "PASSWORD": "hunter1"}, "ports": [{"target": 80}]}),
                "environment.DEBUG changed",
            ),
            (
                json!({"image": "b", "environment": {"DEBUG": "0", "PASSWORD": "hunter2"}, "ports": [{"target": 80}]}),
                "environment.PASSWORD, image changed",
            ),
            (
                json!({"image": "a", "environment": {"DEBUG": "0", "PASSWORD": "hunter1"}, "ports": [{"target": 81}]}),
                "ports changed",
            ),
            (
                json!({"image": "a", "ports": [{"target": 80}], "user": "x"}),
                "environment.DEBUG, environment.PASSWORD, user changed",
            ),
            (
                json!({"image": "b", "user": "x"}),
                "environment.DEBUG, environment.PASSWORD, image and 2 more changed",
            ),
        ];
        for (now, said) in table {
            assert_eq!(reason(Some(&before), &now), said);
        }
        let on = |networks: Value| json!({"networks": networks});
        for (before, now, said) in [
            (
                json!({"default": null}),
                json!({"default": null, "back": null}),
                "networks.back changed",
            ),
            (
                json!({"default": null}),
                json!({"back": null}),
                "networks.back, networks.default changed",
            ),
            (
                json!({"default": null}),
                json!({"default": {"aliases": ["x"]}}),
                "networks.default.aliases changed",
            ),
        ] {
            assert_eq!(reason(Some(&on(before)), &on(now)), said);
        }
        let limited = json!({"deploy": {"placement": {}, "resources": {"limits": {"memory": "1"}}}});
        assert_eq!(
            reason(Some(&json!({})), &limited),
            "deploy.resources.limits.memory changed"
        );
        assert_eq!(reason(None, &before), "configuration changed");
        assert_eq!(reason(Some(&before), &before), "configuration changed");
    }

    #[test]
    fn how_it_is_built_is_not_what_it_is() {
        let service = json!({"image": "a", "build": {"context": "."}, "scale": 3, "deploy": {"replicas": 2, "mode": "x"}});
        assert_eq!(essence(&service), json!({"image": "a", "deploy": {"mode": "x"}}));
    }
}
