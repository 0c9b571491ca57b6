//! Names that Kubernetes accepts, made of names that compose files have.
//!
//! Objects have DNS labels (RFC 1123, at most 63 letters; services begin with a letter, RFC 1035), values of labels
//! have letters, digits, `-`, `_` and `.`.

use sha2::{Digest as _, Sha256};

const LONGEST: usize = 63;

/// A DNS label.
pub(crate) fn label(text: &str) -> String {
    let lower = text.to_lowercase();
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let kept: String = lower
        .chars()
        .map(|letter| if fits(letter) { letter } else { '-' })
        .collect();
    let kept = kept.trim_matches('-');
    match kept.is_empty() {
        true => format!("x{}", fingerprint(text)),
        false => shortened(kept, LONGEST).trim_end_matches('-').to_owned(),
    }
}

/// The name of a service: a DNS label that begins with a letter.
pub(crate) fn service(text: &str) -> String {
    let label = label(text);
    match label.starts_with(|letter: char| letter.is_ascii_digit()) {
        true => shortened(&format!("s-{label}"), LONGEST),
        false => label,
    }
}

/// The value of a label, or a part of its key of at most `longest` letters.
pub(crate) fn word(text: &str, longest: usize) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let kept: String = text
        .chars()
        .map(|letter| if fits(letter) { letter } else { '-' })
        .collect();
    let ends = |letter: char| !letter.is_ascii_alphanumeric();
    shortened(kept.trim_matches(ends), longest)
        .trim_end_matches(ends)
        .to_owned()
}

/// The key of a label or an annotation: `[DOMAIN/]NAME`.
pub(crate) fn is_key(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let good = |name: &str| !name.is_empty() && word(name, LONGEST) == name;
    let is_domain = |domain: &str| {
        domain.len() <= 253
            && domain
                .split('.')
                .all(|part| !part.is_empty() && label(part) == part)
    };
    good(name) && domain.is_none_or(is_domain)
}

/// A key of a ConfigMap or a Secret: a path without its slashes.
pub(crate) fn file_key(path: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let kept: String = path
        .chars()
        .map(|letter| if fits(letter) { letter } else { '_' })
        .collect();
    match kept == path {
        true => shortened(&kept, 200),
        // Two paths must not become one key.
        false => format!("{}-{}", shortened(&kept, 200), fingerprint(path)),
    }
}

/// What is too long ends with a fingerprint of all of it.
fn shortened(text: &str, longest: usize) -> String {
    match text.len() <= longest {
        true => text.to_owned(),
        false => format!("{}-{}", &text[..longest - 9], fingerprint(text)),
    }
}

fn fingerprint(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_labels() {
        for (text, expected) in [
            ("web", "web"),
            ("my_db", "my-db"),
            ("serviceA", "servicea"),
            ("-a.b-", "a-b"),
            ("2048", "s-2048"),
        ] {
            assert_eq!(service(text), expected);
        }
        assert_eq!(word("a_b-", 63), "a_b");
        assert!(is_key("traefik.http.routers.web.rule") && is_key("example.com/name"));
        assert!(!is_key("a b") && !is_key("/x") && !is_key("a/b/c") && !is_key(""));
        assert_eq!(file_key("default.conf"), "default.conf");
        assert_ne!(file_key("a/b"), file_key("a_b"));
    }

    proptest! {
        #[test]
        fn labels_are_labels(text in "\\PC{0,90}") {
            for made in [label(&text), service(&text)] {
                prop_assert!((1..=63).contains(&made.len()));
                prop_assert!(made.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
                prop_assert!(!made.starts_with('-') && !made.ends_with('-'));
                prop_assert_eq!(label(&made), made.clone());
            }
            prop_assert!(word(&text, 30).len() <= 30);
        }
    }
}
