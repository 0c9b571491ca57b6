use std::collections::BTreeMap;

use plimsoll_diagnostics::{Severity, Source};
use plimsoll_oci::Healthcheck;
use serde::Deserialize;

use super::*;
use crate::facts::LayerFacts;
use crate::policy::{PRODUCTION, Policies, PolicySettings};

fn demands(verdict: &Verdict) -> Vec<&str> {
    verdict.reasons.iter().map(|reason| reason.demand).collect()
}

fn good_image() -> ImageFacts {
    let mut image = ImageFacts {
        name: "app".to_owned(),
        layers: vec![LayerFacts { size: 100, wasted: 0 }],
        ..ImageFacts::default()
    };
    let config = &mut image.config.config;
    config.user = "65532:65532".to_owned();
    config.cmd = Some(vec!["/app".to_owned()]);
    config.healthcheck = Some(Healthcheck {
        test: vec!["CMD".to_owned(), "/app".to_owned(), "--check".to_owned()],
        ..Healthcheck::default()
    });
    image
}

fn good_run() -> RunFacts {
    RunFacts {
        memory: true,
        cpus: true,
        pids: true,
        read_only: true,
        ..RunFacts::default()
    }
}

#[test]
fn production_lets_what_is_good_pass() {
    let facts = Facts {
        image: Some(good_image()),
        run: Some(good_run()),
        bases: vec![Base {
            name: "alpine:3@sha256:00".to_owned(),
            digest: None,
            pinned: true,
        }],
        findings: vec![FindingFact {
            rule: "run-consecutive".to_owned(),
            severity: Severity::Warning,
            message: "two RUNs".to_owned(),
            place: None,
            help: None,
        }],
    };
    assert_eq!(
        Policy::production().judge(&facts),
        Verdict {
            allowed: true,
            reasons: Vec::new()
        }
    );
}

#[test]
fn production_names_everything_that_is_missing_with_its_fix() {
    let mut image = good_image();
    image.config.config.user = "0:0".to_owned();
    image.config.config.healthcheck = None;
    image.config.config.cmd = Some(["/bin/sh", "-c", "app"].map(str::to_owned).to_vec());
    let finding = |rule: &str| FindingFact {
        rule: rule.to_owned(),
        severity: Severity::Error,
        message: "something".to_owned(),
        place: Some("Dockerfile:3".to_owned()),
        help: Some("mend it".to_owned()),
    };
    let facts = Facts {
        image: Some(image),
        run: Some(RunFacts {
            service: Some("web".to_owned()),
            privileged: true,
            secret_variables: vec!["PASSWORD".to_owned()],
            ..RunFacts::default()
        }),
        bases: vec![Base {
            name: "alpine:3".to_owned(),
            digest: Some("sha256:00".to_owned()),
            pinned: false,
        }],
        findings: vec![finding("secret-in-env"), finding("sudo-used")],
    };
    let verdict = Policy::production().judge(&facts);
    assert!(!verdict.allowed);
    assert_eq!(
        demands(&verdict),
        [
            "non-root-user",
            "healthcheck",
            "exec-form",
            "limits",
            "read-only",
            "no-privileged",
            "no-secrets",
            "pinned-base",
            "no-secrets",
            "no-findings"
        ]
    );
    assert!(verdict.reasons.iter().all(|reason| !reason.fix.is_empty()));
    let limits = &verdict.reasons[3];
    assert_eq!(
        limits.message,
        "service `web` has no limit of memory, processor time, processes"
    );
    assert_eq!(limits.fix, "set `mem_limit: 512m`, `cpus: 1`, `pids_limit: 256`");
    assert_eq!(verdict.reasons[7].fix, "write `alpine:3@sha256:00`");
    assert_eq!(verdict.reasons[9].message, "Dockerfile:3: something [sudo-used]");
}

#[test]
fn what_is_said_at_run_time_counts_more_than_the_image() {
    let mut image = good_image();
    image.config.config.user = String::new();
    image.config.config.healthcheck = None;
    let mut run = good_run();
    run.user = Some("1000".to_owned());
    run.healthcheck = Some(true);
    let facts = Facts {
        image: Some(image),
        run: Some(run),
        ..Facts::default()
    };
    assert!(Policy::production().judge(&facts).allowed);
    let mut facts = facts;
    facts.run.as_mut().unwrap().user = Some("root".to_owned());
    facts.run.as_mut().unwrap().healthcheck = Some(false);
    assert_eq!(
        demands(&Policy::production().judge(&facts)),
        ["non-root-user", "healthcheck"]
    );
}

#[test]
fn registries_are_compared_with_their_full_names() {
    assert_eq!(full_name("nginx"), "docker.io/library/nginx");
    assert_eq!(full_name("me/app:1"), "docker.io/me/app");
    assert_eq!(full_name("localhost:5000/app:1@sha256:0"), "localhost:5000/app");
    let policy = Policy {
        trusted_registries: Some(vec!["docker.io/library".to_owned(), "ghcr.io".to_owned()]),
        ..Policy::default()
    };
    let judge = |name: &str| {
        let base = Base {
            name: name.to_owned(),
            digest: None,
            pinned: false,
        };
        let facts = Facts {
            bases: vec![base],
            ..Facts::default()
        };
        policy.judge(&facts).allowed
    };
    assert!(judge("nginx:1") && judge("ghcr.io/a/b"));
    assert!(!judge("me/app") && !judge("ghcr.io.evil.com/a"));
}

fn read(text: &str) -> (Source, BTreeMap<String, PolicySettings>) {
    #[derive(Deserialize)]
    struct Settings {
        policy: BTreeMap<String, PolicySettings>,
    }
    let source = Source::new("plimsoll.toml", text);
    let settings: Settings = toml::from_str(text).unwrap();
    (source, settings.policy)
}

#[test]
fn a_project_may_tighten_and_not_loosen() {
    let mut policies = Policies::default();
    let (source, said) = read("[policy.production]\nmax-size = \"1MB\"\nno-findings = \"warning\"\n");
    policies.tighten(&source, &said).unwrap();
    let production = policies.get(PRODUCTION).unwrap();
    assert_eq!(production.max_size, Some(1_000_000));
    assert_eq!(production.no_findings, Some(Severity::Warning));
    assert!(production.healthcheck, "what is not said stays");

    for (text, line) in [
        ("[policy.production]\nhealthcheck = false\n", 2),
        ("[policy.production]\nmax-size = \"2MB\"\n", 2),
        ("[policy.production]\n\nno-findings = \"none\"\n", 3),
        ("[policy.production]\nno-findings = \"error\"\n", 2),
        ("[policy.mine]\nextends = \"production\"\nlimits = false\n", 3),
    ] {
        let (source, said) = read(text);
        let error = policies.tighten(&source, &said).unwrap_err();
        let place = error.source.position(error.span().unwrap().start);
        assert_eq!(place.line, line, "{text}");
        assert!(error.message.contains("may not loosen"), "{}", error.message);
    }
    let (source, said) = read("[policy.production]\nhealthcheck = false\n");
    policies.take(&source, &said).unwrap();
    assert!(!policies.get(PRODUCTION).unwrap().healthcheck, "the user may");
}

#[test]
fn lists_tighten_by_what_they_let_through() {
    let mut policies = Policies::default();
    let (source, said) =
        read("[policy.p]\nforbid-rules = [\"a\"]\ntrusted-registries = [\"ghcr.io\", \"docker.io\"]\n");
    policies.take(&source, &said).unwrap();
    let (source, said) =
        read("[policy.p]\nforbid-rules = [\"a\", \"b\"]\ntrusted-registries = [\"ghcr.io/me\"]\n");
    policies.tighten(&source, &said).unwrap();
    for text in [
        "[policy.p]\nforbid-rules = [\"b\"]\n",
        "[policy.p]\ntrusted-registries = [\"ghcr.io\"]\n",
    ] {
        let (source, said) = read(text);
        policies.tighten(&source, &said).unwrap_err();
    }
}

#[test]
fn a_file_is_a_policy() {
    let policies = Policies::default();
    for text in [
        "extends = \"production\"\nhealthcheck = false\n",
        "[policy]\nextends = \"production\"\nhealthcheck = false\n",
    ] {
        let policy = policies.parse_file(&Source::new("strict.toml", text)).unwrap();
        assert!(policy.non_root_user && !policy.healthcheck, "{text}");
    }
    let error = |text: &str| {
        policies
            .parse_file(&Source::new("strict.toml", text))
            .unwrap_err()
    };
    assert!(error("helthcheck = true\n").message.contains("helthcheck"));
    let unknown = error("extends = \"prodution\"\n");
    assert_eq!(unknown.help.as_deref(), Some("did you mean `production`?"));
    assert_eq!(policies.get("strict").unwrap_err(), None);
    assert_eq!(policies.get("prod").unwrap_err(), Some(PRODUCTION));
    assert_eq!(policies.get("productoin").unwrap_err(), Some(PRODUCTION));
}
