use plimsoll_diagnostics::Source;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct File {
    check: CheckSettings,
}

fn settings(text: &str) -> Result<Config, String> {
    let source = Source::new("plimsoll.toml", text);
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut config = Config::default();
    match config.add(&file.check, &source) {
        Ok(()) => Ok(config),
        Err(error) => Err(plimsoll_diagnostics::render(&error, false)),
    }
}

#[test]
fn settings_name_rules_by_any_name() {
    let config = settings(
        "[check]\nfail-on = \"error\"\nignore = [\"DL4000\", \"SC1091\"]\ninfo = [\"compose-privileged\"]\n\
         trusted-registries = [\"docker.io\"]\nlabel-schema = { a = \"url\" }\nstrict-labels = true\n",
    )
    .unwrap();
    assert_eq!(config.levels["maintainer-deprecated"], Level::Off);
    assert_eq!(config.alias_levels["SC1091"], Level::Off);
    assert_eq!(config.levels["compose-privileged"], Level::At(Severity::Info));
    assert_eq!(config.fail_on, Some(FailOn::AtLeast(Severity::Error)));
    assert_eq!(config.label_schema["a"], LabelForm::Url);
    assert!(config.strict_labels && !config.fails_on(Severity::Warning));
}

#[test]
fn what_is_not_there_is_said_with_its_place() {
    insta::assert_snapshot!(settings("[check]\nignore = [\"maintainer-depricated\"]\n").unwrap_err(), @r#"
    error: no rule is called `maintainer-depricated`
     --> plimsoll.toml:2:11
      |
    1 | [check]
    2 | ignore = ["maintainer-depricated"]
      |           ^^^^^^^^^^^^^^^^^^^^^^^
    hint: did you mean `maintainer-deprecated`?
    "#);
    insta::assert_snapshot!(settings("[check.options.DL4000]\nx = 1\n").unwrap_err(), @r"
    error: rule `DL4000` has no option `x`
     --> plimsoll.toml:2:1
      |
    1 | [check.options.DL4000]
    2 | x = 1
      | ^
    ");
    assert!(
        settings("[check]\nfail-on = \"bad\"\n")
            .unwrap_err()
            .contains("`none`")
    );
    assert!(settings("[check]\nfrom = 1\n").is_err());
}

#[test]
fn hadolint_files_are_understood() {
    let mut config = Config::default();
    let text = "ignored: [DL4000, DL9999]\noverride:\n  info: [CL-0002]\n  error:\n    - SC2015\n\
                trustedRegistries:\n  - docker.io\n  - '*.gcr.io'\nlabel-schema:\n  author: text\n  contact: email\n\
                strict-labels: true\nfailure-threshold: info\n";
    config.add_hadolint(&Source::new(".hadolint.yaml", text)).unwrap();
    assert_eq!(config.levels["maintainer-deprecated"], Level::Off);
    assert_eq!(config.levels["compose-privileged"], Level::At(Severity::Info));
    assert_eq!(config.alias_levels["SC2015"], Level::At(Severity::Error));
    assert_eq!(config.trusted_registries, ["docker.io", "*.gcr.io"]);
    assert_eq!(config.label_schema["contact"], LabelForm::Email);
    assert!(config.fails_on(Severity::Info));
    config
        .add_hadolint(&Source::new(".hadolint.yaml", "no-fail: true"))
        .unwrap();
    assert!(!config.fails_on(Severity::Error));
    let wrong = config
        .add_hadolint(&Source::new("f", "failure-threshold: 3"))
        .unwrap_err();
    assert!(wrong.message.contains("`3` is none of"));
}
