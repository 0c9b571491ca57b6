//! Stars where secrets stand.

use std::collections::HashMap;
use std::sync::Arc;

use plimsoll_diagnostics::{Source, Span};

use super::Outcome;

impl Outcome {
    /// Gives every finding about a text with secrets a text without them; places stay where they are. What fixes change
    /// is the real text.
    pub(super) fn mask(&mut self, secrets: &[(Source, Span)]) {
        let mut places: HashMap<&Arc<str>, (&Source, Vec<Span>)> = HashMap::new();
        for (source, span) in secrets {
            let (_, spans) = places.entry(&source.name).or_insert((source, Vec::new()));
            spans.push(*span);
            self.secrets.push(source.slice(*span).to_owned());
        }
        self.secrets.retain(|secret| !secret.is_empty());
        self.secrets
            .sort_unstable_by(|one, other| (other.len(), other).cmp(&(one.len(), one)));
        self.secrets.dedup();
        let masked: HashMap<&Arc<str>, Source> = places
            .into_iter()
            .map(|(name, (source, spans))| (name, masked(source, &spans)))
            .collect();
        let hidden = self
            .suppressed
            .iter_mut()
            .map(|suppressed| &mut suppressed.finding);
        for finding in self.findings.iter_mut().chain(hidden) {
            if let Some(source) = masked.get(&finding.source.name) {
                finding.source = source.clone();
            }
        }
    }
}

/// The text with a star for every byte of a secret, so that no place moves; line ends stay.
fn masked(source: &Source, spans: &[Span]) -> Source {
    let mut bytes = source.text.as_bytes().to_vec();
    for span in spans {
        let span = source.clamp(*span);
        for byte in &mut bytes[span.range()] {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    let text = String::from_utf8(bytes).expect("whole characters are replaced");
    Source::new(source.name.clone(), text)
}

#[cfg(test)]
mod tests {
    use plimsoll_diagnostics::Diagnostic;

    use super::*;

    #[test]
    fn no_finding_shows_a_secret() {
        let source = Source::new("Dockerfile", "ENV A=hünter2 B=c\nUSER x\n");
        let mut outcome = Outcome {
            findings: vec![Diagnostic::warning("other", &source, Span::new(15, 16), "m")],
            ..Outcome::default()
        };
        let secret = Span::new(6, 14);
        assert_eq!(source.slice(secret), "hünter2");
        outcome.mask(&[(source.clone(), secret), (source.clone(), Span::default())]);
        let shown = plimsoll_diagnostics::render(&outcome.findings[0], false);
        assert!(
            shown.contains("ENV A=******** B=c") && !shown.contains("nter"),
            "{shown}"
        );
        assert_eq!(outcome.secrets, ["hünter2"]);
    }
}
