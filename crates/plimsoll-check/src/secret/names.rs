//! What a name says about its value.

/// How much a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// `PASSWORD`, `API_KEY`: any value counts.
    Strong,
    /// `KEY`, `AUTH`: they name many other things as well.
    Weak,
}

/// BuildKit's words (`SecretsUsedInArgOrEnv`).
const WORDS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// Words before `KEY` that make it one nobody may have.
const KEYS: [&str; 11] = [
    "api",
    "access",
    "secret",
    "private",
    "encryption",
    "signing",
    "master",
    "account",
    "license",
    "licence",
    "app",
];

/// A last word that says the value is something about a secret and not one.
const ABOUT: [&str; 42] = [
    "file",
    "path",
    "dir",
    "directory",
    "url",
    "uri",
    "endpoint",
    "name",
    "id",
    "alias",
    "mode",
    "type",
    "kind",
    "ttl",
    "length",
    "len",
    "size",
    "version",
    "public",
    "timeout",
    "expiry",
    "expires",
    "expiration",
    "duration",
    "lifetime",
    "host",
    "port",
    "enabled",
    "disabled",
    "header",
    "prefix",
    "algorithm",
    "alg",
    "format",
    "method",
    "policy",
    "provider",
    "count",
    "user",
    "username",
    "issuer",
    "audience",
];

/// Words that say so wherever they stand.
const CLEAN: [&str; 13] = [
    "public",
    "pub",
    "gpg",
    "pgp",
    "fingerprint",
    "checksum",
    "sha",
    "sha1",
    "sha256",
    "sha512",
    "digest",
    "hash",
    "version",
];

fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        // `apiKey` is two words, `APIKEY` is one.
        let splits = !letter.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase());
        if splits {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words
                .last_mut()
                .expect("there is one")
                .extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether BuildKit's check of names would speak up: for build arguments, whose values are not at hand.
pub fn says_secret(name: &str) -> bool {
    hint(name).is_some() && !says_clean(name)
}

pub(super) fn hint(name: &str) -> Option<Hint> {
    let words = words(name);
    let mut found = None;
    for (place, word) in words.iter().enumerate() {
        let word = word.as_str();
        // `DBPASSWORD`, `PGPASSWORD`: people do not always write the underscore.
        let glued = ["password", "passwd", "apikey", "secretkey", "accesskey"]
            .iter()
            .any(|end| word.ends_with(end));
        let before = place.checked_sub(1).map(|place| words[place].as_str());
        let hint = match word {
            "key" if before.is_some_and(|before| KEYS.contains(&before)) => Hint::Strong,
            "key" | "auth" => Hint::Weak,
            _ if glued || WORDS.contains(&word) || matches!(word, "pass" | "pwd") && place > 0 => {
                Hint::Strong
            }
            _ => continue,
        };
        if found != Some(Hint::Strong) {
            found = Some(hint);
        }
    }
    found
}

pub(super) fn says_clean(name: &str) -> bool {
    let words = words(name);
    words.iter().any(|word| CLEAN.contains(&word.as_str()))
        || words.last().is_some_and(|last| ABOUT.contains(&last.as_str()))
}
