use plimsoll_diagnostics::Source;

use super::*;
use crate::view::BuildSettings;

const ALL: &str = r#"# BASE is the base image.
ARG BASE=alpine:3.20
ARG EMPTY
# build compiles things
FROM ${BASE} AS build
# VERSION says which one
ARG VERSION=1
ARG OTHER
MAINTAINER ada
run echo hi
RUN --mount=type=secret,id=tok,required=true --mount=type=ssh --mount=type=cache,target=/c true

FROM --platform=$TARGETPLATFORM $BASE as Final
ARG API_TOKEN
ENV A b
LABEL x=$VERSOIN y=$API_TOKENS
WORKDIR rel
EXPOSE 80/TCP 127.0.0.1:80:80
CMD echo a
CMD echo b
RUN true \

  && true
FROM --platform=linux/amd64 $BSE AS build
FROM busybox:${EMPTY} AS context
"#;

fn workspace(text: &str) -> Workspace {
    let view = DockerfileView::new(
        "Dockerfile",
        &Source::new("Dockerfile", text),
        BuildSettings::default(),
    );
    Workspace {
        dockerfiles: vec![view],
        ..Workspace::default()
    }
}

/// The words are BuildKit's own: this was compared with what buildx 0.29 prints for the same file.
#[test]
fn warnings_in_the_words_of_buildkit() {
    let checks = build_checks(&workspace(ALL), None);
    let lines = checks.warnings.iter().map(|one| {
        format!(
            "{}-{} {} {}\n  {}\n",
            one.first_line,
            one.last_line,
            one.rule,
            one.url(),
            one.detail
        )
    });
    insta::assert_snapshot!(lines.collect::<String>());
    assert!(!checks.strict);
}

#[test]
fn warnings_as_json() {
    let checks = build_checks(&workspace("FROM alpine:3.22\nMAINTAINER ada \\\n  b\n"), None);
    let json: Vec<Value> = checks.warnings.iter().map(BuildWarning::to_json).collect();
    assert_eq!(
        json,
        [json!({
            "ruleName": "MaintainerDeprecated",
            "description": "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            "url": "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/",
            "detail": "Maintainer instruction is deprecated in favor of using label",
            "location": {"ranges": [
                {"start": {"line": 2}, "end": {"line": 2}},
                {"start": {"line": 3}, "end": {"line": 3}},
            ]},
        })]
    );
}

#[test]
fn what_is_asked_for() {
    let text = "FROM alpine:3.22\nMAINTAINER x\nCMD a\n";
    let rules = |text: &str, asked| {
        let checks = build_checks(&workspace(text), asked);
        let rules: Vec<&str> = checks.warnings.iter().map(|one| one.rule).collect();
        (rules.join(","), checks.strict)
    };
    assert_eq!(
        rules(text, None),
        ("MaintainerDeprecated,JSONArgsRecommended".to_owned(), false)
    );
    let asked = Some("skip=JSONArgsRecommended;error=true");
    assert_eq!(rules(text, asked), ("MaintainerDeprecated".to_owned(), true));
    assert_eq!(rules(text, Some("skip=all")).0, "");
    let directive = format!("# check=skip=MaintainerDeprecated;error=true\n{text}");
    assert_eq!(rules(&directive, None), ("JSONArgsRecommended".to_owned(), true));
    let above = "FROM alpine:3.22\n# check=skip=MaintainerDeprecated // why\nMAINTAINER x\n";
    assert_eq!(rules(above, None).0, "");
}

#[test]
fn names_of_pages() {
    let url = |rule| {
        BuildWarning {
            rule,
            description: "",
            detail: String::new(),
            first_line: 1,
            last_line: 1,
        }
        .url()
    };
    assert!(url("JSONArgsRecommended").ends_with("/json-args-recommended/"));
    assert!(url("SecretsUsedInArgOrEnv").ends_with("/secrets-used-in-arg-or-env/"));
}

#[test]
fn what_a_target_takes() {
    let whole = workspace(&ALL[..ALL.find("FROM --platform=linux").expect("it is there")]);
    let view = &whole.dockerfiles[0];
    insta::assert_snapshot!(
        serde_json::to_string_pretty(&outline(view).expect("it has a stage").to_json()).expect("it is JSON")
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&targets(view).to_json()).expect("it is JSON"));
    let settings = BuildSettings {
        targets: vec!["build".to_owned()],
        ..BuildSettings::default()
    };
    let view = DockerfileView::new("Dockerfile", &Source::new("Dockerfile", ALL), settings);
    let first = view
        .stages
        .iter()
        .find(|stage| stage.index == 0)
        .expect("it is there");
    assert!(!view.ships(first), "the last stage of the name counts");
}

#[test]
fn values_of_secrets_are_not_shown() {
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let text = format!("FROM alpine:3.22\nENV TOKEN={secret}\nCMD a\n");
    assert!(!shown(&Source::new("Dockerfile", text.as_str())).contains(secret));
    let told = format!("{:?}", build_checks(&workspace(&text), None));
    assert!(told.contains("TOKEN") && !told.contains(secret));
}
