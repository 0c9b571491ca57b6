//! Tokens that can be told by their form: a prefix that their makers gave them for this purpose, and what follows.

use plimsoll_diagnostics::Span;

use super::Secret;

/// What may follow a prefix.
#[derive(Clone, Copy)]
enum Letters {
    /// `[A-Z2-7]`
    Base32,
    /// `[0-9a-f]`
    Hex,
    /// `[A-Za-z0-9]`
    Alphanumeric,
    /// `[A-Za-z0-9_-]`
    Url,
    /// `[A-Za-z0-9_.-]`
    Dotted,
    /// `[A-Za-z0-9+/=]`
    Base64,
}

struct Token {
    prefix: &'static [u8],
    letters: Letters,
    /// Fewer letters than that are something else.
    least: usize,
    kind: &'static str,
}

const fn token(prefix: &'static str, letters: Letters, least: usize, kind: &'static str) -> Token {
    Token {
        prefix: prefix.as_bytes(),
        letters,
        least,
        kind,
    }
}

use Letters::{Alphanumeric, Base32, Base64, Dotted, Hex, Url};

/// Prefixes and lengths as their makers publish them.
const TOKENS: &[Token] = &[
    token("AKIA", Base32, 16, "an AWS access key"),
    token("ASIA", Base32, 16, "an AWS access key"),
    token("ABIA", Base32, 16, "an AWS access key"),
    token("ACCA", Base32, 16, "an AWS access key"),
    token("ghp_", Alphanumeric, 36, "a GitHub token"),
    token("gho_", Alphanumeric, 36, "a GitHub token"),
    token("ghu_", Alphanumeric, 36, "a GitHub token"),
    token("ghs_", Alphanumeric, 36, "a GitHub token"),
    token("ghr_", Alphanumeric, 36, "a GitHub token"),
    token("github_pat_", Url, 36, "a GitHub token"),
    token("glpat-", Dotted, 20, "a GitLab token"),
    token("gldt-", Dotted, 20, "a GitLab token"),
    token("glrt-", Dotted, 20, "a GitLab token"),
    token("glptt-", Dotted, 20, "a GitLab token"),
    token("glcbt-", Dotted, 20, "a GitLab token"),
    token("glsoat-", Dotted, 20, "a GitLab token"),
    token("xoxb-", Url, 20, "a Slack token"),
    token("xoxp-", Url, 20, "a Slack token"),
    token("xoxa-", Url, 20, "a Slack token"),
    token("xoxr-", Url, 20, "a Slack token"),
    token("xoxs-", Url, 20, "a Slack token"),
    token("xoxe-", Url, 20, "a Slack token"),
    token("xapp-", Url, 20, "a Slack token"),
    token("hooks.slack.com/services/T", Base64, 30, "a Slack webhook"),
    token("npm_", Alphanumeric, 36, "an npm token"),
    token("pypi-AgE", Url, 50, "a PyPI token"),
    token("rubygems_", Hex, 48, "a RubyGems token"),
    token("sk_live_", Alphanumeric, 20, "a Stripe key"),
    token("rk_live_", Alphanumeric, 20, "a Stripe key"),
    token("sk_test_", Alphanumeric, 20, "a Stripe test key"),
    token("whsec_", Base64, 32, "a Stripe webhook secret"),
    token("AIza", Url, 35, "a Google API key"),
    token("GOCSPX-", Url, 28, "a Google client secret"),
    token("ya29.", Url, 40, "a Google access token"),
    token("dckr_pat_", Url, 20, "a Docker Hub token"),
    token("dckr_oat_", Url, 20, "a Docker Hub token"),
    token("SG.", Dotted, 60, "a SendGrid key"),
    token("dop_v1_", Hex, 64, "a DigitalOcean token"),
    token("doo_v1_", Hex, 64, "a DigitalOcean token"),
    token("hf_", Alphanumeric, 34, "a Hugging Face token"),
    token("sk-ant-", Url, 40, "an Anthropic key"),
    token("sk-proj-", Url, 40, "an OpenAI key"),
    token("sk-svcacct-", Url, 40, "an OpenAI key"),
    token("shpat_", Hex, 32, "a Shopify token"),
    token("shpss_", Hex, 32, "a Shopify token"),
    token("lin_api_", Alphanumeric, 40, "a Linear key"),
    token("dapi", Hex, 32, "a Databricks token"),
    token("hvs.", Url, 24, "a Vault token"),
    token("hvb.", Url, 24, "a Vault token"),
    token("AGE-SECRET-KEY-1", Base32, 20, "an age key"),
    token("glsa_", Url, 40, "a Grafana token"),
    token("NRAK-", Alphanumeric, 27, "a New Relic key"),
    token("PMAK-", Url, 50, "a Postman key"),
    token("sbp_", Hex, 40, "a Supabase token"),
    token("pscale_tkn_", Dotted, 30, "a PlanetScale token"),
    token("pscale_pw_", Dotted, 30, "a PlanetScale password"),
    token("dp.pt.", Alphanumeric, 40, "a Doppler token"),
    token("pul-", Hex, 40, "a Pulumi token"),
    token("AccountKey=", Base64, 80, "an Azure storage key"),
    token("key-", Hex, 32, "a Mailgun key"),
];

/// Files of credentials: what follows is the secret, up to the quote.
const JSON_AUTH: &[u8] = b"\"auth\":";

const BEGIN: &[u8] = b"-----BEGIN ";
const PRIVATE: &[u8] = b"PRIVATE KEY";

impl Letters {
    fn have(self, byte: u8) -> bool {
        match self {
            Self::Base32 => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='),
        }
    }
}

/// The first bytes of all forms, so that most bytes of a text cost one look.
const STARTS: [bool; 256] = {
    let mut starts = [false; 256];
    let mut at = 0;
    while at < TOKENS.len() {
        starts[TOKENS[at].prefix[0] as usize] = true;
        at += 1;
    }
    starts[b'-' as usize] = true;
    starts[b'e' as usize] = true;
    starts[b'"' as usize] = true;
    starts
};

/// Finds tokens in any bytes, in one pass.
pub fn find(bytes: &[u8]) -> Vec<Secret> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !STARTS[usize::from(bytes[at])] || (at > 0 && is_inside_word(bytes[at - 1], bytes[at])) {
            at += 1;
            continue;
        }
        match token_at(&bytes[at..]) {
            Some((kind, from, to)) => {
                found.push(Secret {
                    kind,
                    span: Span::new(at + from, at + to),
                });
                at += to;
            }
            None => at += 1,
        }
    }
    found
}

/// A prefix counts where a word begins: `task-ant-` is no key.
fn is_inside_word(before: u8, first: u8) -> bool {
    first.is_ascii_alphanumeric() && (before.is_ascii_alphanumeric() || before == b'_')
}

/// The token that a text begins with: its kind, and where it is.
fn token_at(bytes: &[u8]) -> Option<(&'static str, usize, usize)> {
    match bytes[0] {
        b'-' => return private_key(bytes),
        b'"' => return docker_auth(bytes),
        b'e' => return json_web_token(bytes),
        _ => {}
    }
    let token = TOKENS.iter().find(|token| bytes.starts_with(token.prefix))?;
    let body = &bytes[token.prefix.len()..];
    let length = body.iter().take_while(|byte| token.letters.have(**byte)).count();
    (length >= token.least && is_varied(&body[..length]))
        .then(|| (token.kind, 0, token.prefix.len() + length))
}

/// `ghp_xxxxxxxx...` in a manual is none.
fn is_varied(body: &[u8]) -> bool {
    let mut seen = [false; 256];
    body.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count() >= 6
}

/// `-----BEGIN ... PRIVATE KEY-----`, with its body as far as it is there.
fn private_key(bytes: &[u8]) -> Option<(&'static str, usize, usize)> {
    let line = bytes.strip_prefix(BEGIN)?;
    let head = &line[..line.len().min(40)];
    let place = head.windows(PRIVATE.len()).position(|part| part == PRIVATE)?;
    let title = BEGIN.len() + place + PRIVATE.len();
    let dashes = bytes[title..]
        .iter()
        .position(|byte| *byte == b'-')
        .filter(|blank| *blank < 8)?;
    let from = title + dashes + 5;
    // A program that reads keys has the marker in it, and no key after it. `\n` is how one gets into a variable.
    let is_body = |byte: &u8| {
        Letters::Base64.have(*byte)
            || byte.is_ascii_whitespace()
            || matches!(byte, b'\\' | b':' | b',' | b'-')
    };
    let body = bytes.get(from..)?;
    let mut length = body.iter().take_while(|byte| is_body(byte)).count();
    if let Some(end) = body[..length].windows(5).position(|part| part == b"-----") {
        length = end;
    }
    let letters = body[..length]
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .count();
    (letters >= 40).then_some(("a private key", from, from + length))
}

/// Three parts of base64url, the first two of JSON (RFC 7519).
fn json_web_token(bytes: &[u8]) -> Option<(&'static str, usize, usize)> {
    let length = bytes
        .iter()
        .take_while(|byte| Letters::Dotted.have(**byte))
        .count();
    let token = &bytes[..length];
    let mut parts = token.split(|byte| *byte == b'.');
    let (head, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_json = |part: &[u8]| part.starts_with(b"eyJ") && part.len() >= 12;
    (is_json(head) && is_json(body) && signature.len() >= 20).then_some(("a JSON web token", 0, length))
}

/// `"auth": "dXNlcjpwYXNz"` of Docker's `config.json`.
fn docker_auth(bytes: &[u8]) -> Option<(&'static str, usize, usize)> {
    let rest = bytes.strip_prefix(JSON_AUTH)?;
    let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let value = rest[blanks..].strip_prefix(b"\"")?;
    let length = value
        .iter()
        .take_while(|byte| Letters::Base64.have(**byte))
        .count();
    let from = JSON_AUTH.len() + blanks + 1;
    (length >= 8 && length % 4 == 0 && value.get(length) == Some(&b'"'))
        .then(|| ("a registry login", from, from + length))
}
