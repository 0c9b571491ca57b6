//! The `WWW-Authenticate` header, [RFC 9110 section 11.6.1].
//!
//! [RFC 9110 section 11.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1

/// One way in that the server offers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// `bearer` or `basic`, lower case.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns a parameter; names have no case.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Splits a header into its challenges. Where the text stops making sense the rest is left out.
pub(crate) fn parse(mut text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        let (word, rest) = token(text);
        if word.is_empty() {
            return challenges;
        }
        let after = rest.trim_start();
        match (after.strip_prefix('='), challenges.last_mut()) {
            (Some(after), Some(challenge)) => {
                let (value, rest) = value(after.trim_start());
                challenge.parameters.push((word.to_owned(), value));
                text = rest;
            }
            (Some(_), None) => return challenges,
            (None, _) => {
                challenges.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                });
                text = rest;
            }
        }
    }
}

fn token(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A value is a token, or quoted with backslash escapes.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_registries_send() {
        let all = parse(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error=invalid"#,
        );
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].scheme, "bearer");
        assert_eq!(all[0].parameter("Realm"), Some("https://auth.docker.io/token"));
        assert_eq!(all[0].parameter("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(all[0].parameter("error"), Some("invalid"));
        assert_eq!(all[0].parameter("nonce"), None);
    }

    #[test]
    fn reads_several_in_one_header() {
        let all = parse(r#"Negotiate, Basic realm="a \"b\"", Bearer realm = "c""#);
        let schemes: Vec<_> = all.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(all[1].parameter("realm"), Some(r#"a "b""#));
        assert_eq!(all[2].parameter("realm"), Some("c"));
    }

    #[test]
    fn nonsense_ends_the_list() {
        for text in ["", "=", "\"", "a=b", "Basic realm=\"open", "Basic =", "é"] {
            parse(text);
        }
    }
}
