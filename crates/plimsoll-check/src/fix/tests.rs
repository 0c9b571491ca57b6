use std::fs;

use camino::Utf8Path;
use proptest::prelude::*;

use super::*;

fn mended(text: &str, least: Safety) -> Fixed {
    let current = Utf8PathBuf::from("/nowhere");
    let inputs = Inputs {
        paths: vec!["Dockerfile".to_owned()],
        texts: BTreeMap::from([(current.join("Dockerfile"), text.to_owned())]),
        current,
        ..Inputs::default()
    };
    mend(&inputs, &Config::default(), least, |_| Images::default())
}

fn new_text(text: &str) -> String {
    let fixed = mended(text, Safety::Safe);
    let change = fixed.files.get(Utf8Path::new("/nowhere/Dockerfile"));
    change.map_or_else(|| text.to_owned(), |change| change.new.clone())
}

#[test]
fn formatting_and_comments_stay() {
    let text =
        "\u{feff}# keep\r\nFROM alpine:3.22\r\n\r\n# and this\r\nMAINTAINER me # here\r\nUSER 1000\r\n";
    let fixed = new_text(text);
    assert_eq!(
        fixed,
        text.replace(
            "MAINTAINER me # here",
            "LABEL org.opencontainers.image.authors=\"me # here\""
        )
    );
    assert_eq!(new_text(&fixed), fixed, "nothing is left to do");
}

#[test]
fn what_is_hidden_is_not_mended() {
    let text = "FROM alpine:3.22\n# plimsoll ignore=maintainer-deprecated\nMAINTAINER me\nUSER 1000\n";
    assert_eq!(new_text(text), text);
}

#[test]
fn changes_are_shown_as_a_diff_without_secrets() {
    let change = Change {
        name: "Dockerfile".to_owned(),
        old: Some("FROM a\nENV K=hunter2\nMAINTAINER m\n".to_owned()),
        new: "FROM a\nENV K=hunter2\nLABEL x=m\n".to_owned(),
    };
    insta::assert_snapshot!(change.diff(&["hunter2".to_owned()]), @r"
    --- a/Dockerfile
    +++ b/Dockerfile
    @@ -1,3 +1,3 @@
     FROM a
     ENV K=********
    -MAINTAINER m
    +LABEL x=m
    ");
    let made = Change {
        name: ".dockerignore".to_owned(),
        old: None,
        new: ".git\n".to_owned(),
    };
    assert!(made.diff(&[]).starts_with("--- /dev/null\n+++ b/.dockerignore\n"));
}

#[test]
fn edits_that_touch_wait_for_each_other() {
    assert!(touches((3, 5), (4, 6)) && touches((3, 3), (3, 3)) && touches((3, 5), (3, 3)));
    assert!(!touches((3, 5), (5, 6)) && !touches((5, 6), (3, 5)) && !touches((3, 5), (6, 6)));
}

#[test]
fn files_are_replaced_whole_and_only_when_they_are_what_was_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let (file, link) = (folder.join("real"), folder.join("Dockerfile"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    let change = Change {
        name: "Dockerfile".to_owned(),
        old: Some("old".to_owned()),
        new: "new".to_owned(),
    };
    write(&link, &change).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert!(link.is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let error = write(&link, &change).unwrap_err();
    assert!(plimsoll_diagnostics::chain(&error).contains("has changed in the meantime"));
    let made = Change { old: None, ..change };
    write(&folder.join("new"), &made).unwrap();
    assert!(
        write(&folder.join("new"), &made).is_err(),
        "somebody else has made it"
    );
    assert_eq!(fs::read_dir(folder).unwrap().count(), 3, "nothing is left over");
}

/// Dockerfiles of lines that rules have something to say about.
fn dockerfiles() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "FROM debian:12",
        "FROM node:latest AS Build",
        "FROM Build",
        "MAINTAINER me <m@x>",
        "RUN apt-get update && apt-get install curl",
        "RUN apt-get update \\\n  # a word\n  && apt-get install -y \\\n   git vim",
        "RUN apk add curl; apk update",
        "RUN pip install flask==1.0 && rm -rf /tmp/x",
        "RUN cd /app && npm install",
        "RUN <<EOF\napt-get install -y x\nEOF",
        "ADD src /src",
        "ADD x.tar.gz /x",
        "COPY a b /c",
        "ENV KEY value of it",
        "ENV A=1 B=\"x y\"",
        "EXPOSE 8080/TCP",
        "cmd npm start",
        "CMD [\"a\", \"b\"]",
        "ENTRYPOINT exec run $X",
        "USER root",
        "WORKDIR app",
        "RUN useradd -u 123456 app",
        "HEALTHCHECK CMD curl -f http://localhost/",
        "SHELL [\"/bin/bash\", \"-c\"]",
        "RUNN oops",
        "# plimsoll ignore=user-root,cd-in-run -- why",
        "# a comment",
        "",
    ]);
    (prop::collection::vec(line, 0..12), any::<bool>()).prop_map(|(lines, windows)| {
        let text = format!("FROM alpine:3.22\n{}\n", lines.join("\n"));
        match windows {
            true => text.replace('\n', "\r\n"),
            false => text,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Fixes come to an end, break nothing, and what is left has no fix of their kind.
    #[test]
    fn fixes_converge_and_parse(text in dockerfiles(), risky: bool) {
        let least = if risky { Safety::Unsafe } else { Safety::Safe };
        let errors = |text: &str| {
            let source = plimsoll_diagnostics::Source::new("Dockerfile", text);
            let parsed = plimsoll_dockerfile::Dockerfile::parse(&source);
            parsed.diagnostics.iter().filter(|one| one.severity == plimsoll_diagnostics::Severity::Error).count()
        };
        let fixed = mended(&text, least);
        let change = fixed.files.get(Utf8Path::new("/nowhere/Dockerfile"));
        let new = change.map_or(text.as_str(), |change| change.new.as_str());
        prop_assert!(errors(new) <= errors(&text), "{new}");
        prop_assert_eq!(text.contains("\r\n"), new.contains("\r\n"));
        if text.contains("\r\n") {
            prop_assert!(!new.replace("\r\n", "").contains('\n'), "{new:?}");
        }
        let open: Vec<_> = fixed
            .outcome
            .findings
            .iter()
            .filter(|finding| finding.fix.as_ref().is_some_and(|fix| fix.safety >= least))
            .map(|finding| (finding.code, &finding.message))
            .collect();
        prop_assert!(open.is_empty(), "{open:?} in\n{new}\nof\n{text}");
        let again = mended(new, least);
        prop_assert!(again.files.is_empty(), "{new}");
    }
}
