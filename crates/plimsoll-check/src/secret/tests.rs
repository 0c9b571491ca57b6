use super::*;

fn kind(name: &str, value: &str) -> Option<&'static str> {
    of_variable(name, value).map(|secret| secret.kind)
}

/// Tokens are put together here, so that no scanner of this repository stumbles over them.
fn token(prefix: &str, length: usize) -> String {
    let letters = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6";
    let body: String = letters.chars().cycle().take(length).collect();
    format!("{prefix}{body}")
}

#[test]
fn tokens_are_known_by_their_shape_whatever_they_are_called() {
    for (value, expected) in [
        ("AKIA".to_owned() + "IOSFODNN7EXAMPLE", "an AWS access key"),
        (token("ghp_", 36), "a GitHub token"),
        (token("github_pat_", 82), "a GitHub token"),
        (token("glpat-", 20), "a GitLab token"),
        (token("xoxb-", 50), "a Slack token"),
        (token("npm_", 36), "an npm token"),
        (token("pypi-AgEIcHlwaS5vcmc", 60), "a PyPI token"),
        (token("sk_live_", 24), "a Stripe key"),
        (token("AIza", 35), "a Google API key"),
        (token("dckr_pat_", 27), "a Docker Hub token"),
        (
            format!("{}.{}.{}", token("eyJ", 20), token("eyJ", 30), token("", 43)),
            "a JSON web token",
        ),
        (
            format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n", token("MII", 64)),
            "a private key",
        ),
        (
            "postgres://app:hunter2@db:5432/app".to_owned(),
            "a password in a URL",
        ),
    ] {
        for name in ["ANYTHING", "DATABASE_URL", "TOKEN_FILE"] {
            assert_eq!(kind(name, &value), Some(expected), "{name}: {expected}");
        }
        assert_eq!(
            kind("ANYTHING", &format!("\"{value}\"")),
            Some(expected),
            "{expected}, quoted"
        );
    }
}

#[test]
fn a_name_is_a_hint_and_no_more() {
    for (name, value) in [
        ("POSTGRES_PASSWORD", "password"),
        ("PGPASSWORD", "hunter2"),
        ("API_KEY", "secret123"),
        ("dbPassword", "hunter2"),
        ("JWT_SECRET", "keyboard cat"),
        ("MYSQL_ROOT_PASSWORD", "123456"),
        ("DEPLOY_KEY", "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"),
        ("AUTH", "dXNlcjpodW50ZXIyaHVudGVy"),
        ("DB_PASS", "${DB_PASS:-hunter2}"),
    ] {
        assert_eq!(kind(name, value), Some(NAMED), "{name}");
    }
}

#[test]
fn what_nobody_can_log_in_with_is_clean() {
    for (name, value) in [
        ("PASSWORD", ""),
        ("PASSWORD", "\"\""),
        ("PASSWORD", "${PASSWORD}"),
        ("PASSWORD", "${PASSWORD:?set it}"),
        ("PASSWORD", "${PASSWORD:-}"),
        ("PASSWORD", "$PASSWORD"),
        ("TOKEN", "$(cat /run/secrets/token)"),
        ("TOKEN", "{{ .Token }}"),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/db"),
        ("PASSWORD", "/run/secrets/db"),
        ("API_KEY", "<your key>"),
        ("API_KEY", "your_api_key_here"),
        ("API_KEY", "changeme"),
        ("API_KEY", "xxxxxxxxxxxxxxxxxxxx"),
        ("GIT_REF", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("KEY_ALIAS", "release"),
        ("AUTH_MODE", "none"),
        ("AUTH_PROVIDER", "openid-connect-2024-release"),
        ("PUBLIC_KEY", "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"),
        ("GPG_KEY", "E3FF2839C048B25C084DEBE9B26995E310250568"),
        ("PYTHON_SHA256", "9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"),
        ("TOKEN_VERSION", "v2"),
        ("TOKEN_TTL", "3600"),
        ("TOKEN_URL", "https://example.com/token"),
        ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
        ("MYSQL_RANDOM_ROOT_PASSWORD", "1"),
        ("KEYBOARD", "qwerty"),
        ("AUTHOR", "Somebody"),
        ("MONKEY", "banana"),
        ("DATABASE_URL", "postgres://app:${DB_PASSWORD}@db/app"),
        ("DATABASE_URL", "postgres://app@db/app"),
        ("TIME", "12:30@noon"),
    ] {
        assert_eq!(kind(name, value), None, "{name}={value}");
    }
}

#[test]
fn names_are_judged_as_buildkit_does_where_there_is_no_value() {
    for name in [
        "GITHUB_TOKEN",
        "NPM_TOKEN",
        "SSH_PRIVATE_KEY",
        "password",
        "DB_PASSWD",
        "APIKEY",
    ] {
        assert!(says_secret(name), "{name}");
    }
    for name in [
        "PUBLIC_KEY",
        "TOKEN_FILE",
        "KEY_VERSION",
        "NODE_ENV",
        "AUTHOR",
        "TOKENIZER",
    ] {
        assert!(!says_secret(name), "{name}");
    }
}

#[test]
fn tokens_are_found_inside_texts_with_their_place() {
    let secret = token("ghp_", 36);
    let text = format!("git clone https://x:{secret}@github.com/a/b && echo {secret}");
    let found = of_text(&text);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|one| text[one.span.range()] == secret));
    let shown = masked(&text);
    assert!(!shown.contains(&secret) && shown.len() == text.len(), "{shown}");
}

#[test]
fn ordinary_bytes_have_no_secrets() {
    let text = "libcrypto3 key-value task-ant-ghost npm_config_cache=/x hf_transfer access.log SG.1 eyJ.eyJ.x \
        const MARK: &str = \"-----BEGIN PRIVATE KEY-----\"; sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(of_text(text), []);
}

#[test]
fn a_mask_keeps_lines_and_lengths() {
    assert_eq!(mask("a: bcd\ne", &[Span::new(3, 8)]), "a: ***\n*");
    assert_eq!(mask("ñ", &[Span::new(0, 1)]), "**");
}

#[test]
fn a_registry_login_is_found() {
    let text = "{\"auths\": {\"ghcr.io\": {\"auth\": \"dXNlcjpwYXNzd29yZA==\"}}}";
    let found = of_text(text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, "a registry login");
}
