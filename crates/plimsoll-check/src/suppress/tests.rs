use super::*;
use crate::view::BuildSettings;

/// The ids, what they reach, and the reason of every comment.
fn told(comments: &Comments, text: &str) -> Vec<String> {
    let suppressions = comments.suppressions.iter();
    suppressions
        .map(|one| {
            for id in &one.ids {
                assert_eq!(&text[id.span.range()], id.value);
            }
            let ids: Vec<&str> = one.ids.iter().map(|id| id.value.as_str()).collect();
            let place = match &one.place {
                None => "file",
                Some(place) => text[place.clone()].lines().next().unwrap_or_default().trim(),
            };
            let reason = one.reason.as_deref().unwrap_or("-");
            format!("{} | {place} | {reason}", ids.join(","))
        })
        .collect()
}

fn dockerfile(text: &str) -> (Comments, Vec<String>) {
    let view = DockerfileView::new(
        "Dockerfile",
        &Source::new("Dockerfile", text),
        BuildSettings::default(),
    );
    let comments = of_dockerfile(&view);
    let told = told(&comments, text);
    (comments, told)
}

#[test]
fn comments_of_every_tool_in_a_dockerfile() {
    let text = "\u{feff}# check=skip=JSONArgsRecommended,StageNameCasing;error=true\n\
        # hadolint global ignore=DL3059\n\
        # hadolint shell=bash\n\
        # checkov:skip=CKV_DOCKER_2: no server\n\
        FROM a\n\
        # hadolint ignore=DL3008 , SC2046 # pinned by the snapshot\n\
        \n\
        # a word\n\
        RUN one \\\n\
        # plimsoll ignore=cd-in-run -- it is short\n\
         two\n\
        # check=skip=all // generated\n\
        # trivy:ignore:DS-0002\n\
        #plimsoll ignore=user-root until=2027-01-01 until it is mended\n\
        USER root\n\
        # plimsoll global ignore=sudo-used\r\n\
        # plimsoll is good\n";
    let (comments, told) = dockerfile(text);
    assert!(comments.strict);
    assert_eq!(comments.shell.as_deref(), Some("bash"));
    assert_eq!(
        told,
        [
            "JSONArgsRecommended,StageNameCasing | file | -",
            "DL3059 | file | -",
            "CKV_DOCKER_2 | file | no server",
            "DL3008,SC2046 | RUN one \\ | pinned by the snapshot",
            "cd-in-run | RUN one \\ | it is short",
            "all | USER root | generated",
            "DS-0002 | USER root | -",
            "user-root | USER root | until it is mended",
            "sudo-used | file | -",
        ]
    );
    let until = &comments.suppressions[7];
    assert!(until.holds_on(Some("2027-01-01")) && !until.holds_on(Some("2027-01-02")));
    assert!(until.holds_on(None));
}

#[test]
fn here_documents_have_no_comments() {
    let (_, told) = dockerfile("FROM a\nRUN <<EOF\n# hadolint ignore=DL3008\ntrue\nEOF\nUSER x\n");
    assert_eq!(told, Vec::<String>::new());
    let (_, told) = dockerfile("FROM a\nUSER x\n# hadolint ignore=DL3008\n");
    assert_eq!(told, ["DL3008 |  | -"], "there is nothing below it");
}

#[test]
fn comments_in_yaml() {
    let text = "# plimsoll global ignore=image-latest\n\
        services:\n\
        \x20 # plimsoll ignore=limits-missing -- a job\n\
        \x20 job:\n\
        \x20   image: \"a # plimsoll ignore=x\"\n\
        \x20   privileged: true # plimsoll ignore=compose-privileged\n\
        \x20 web:\n\
        \x20   image: b\n";
    let comments = of_yaml(&Source::new("compose.yaml", text));
    assert_eq!(
        told(&comments, text),
        [
            "image-latest | file | -",
            "limits-missing | job: | a job",
            "compose-privileged | privileged: true # plimsoll ignore=compose-privileged | -",
        ]
    );
    let job = comments.suppressions[1].place.clone().unwrap();
    assert!(text[job].ends_with("compose-privileged"));
}
