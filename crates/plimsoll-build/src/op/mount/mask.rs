//! Secrets in the output of a step: what it prints is shown and logged, so their values are covered first.

/// What is shown instead.
const COVER: &[u8] = b"***";
/// Shorter values would cover half of what is said; nobody can use so short a secret anyhow.
const SHORTEST: usize = 4;
/// Of a secret of several lines, such as a key, each line that is this long is covered alone too.
const SHORTEST_LINE: usize = 8;

/// Covers the values in one stream of output.
pub(crate) struct Mask {
    /// Longest first.
    values: Vec<Vec<u8>>,
    /// The end of what came, when it may be the beginning of a value.
    held: Vec<u8>,
}

impl Mask {
    pub(crate) fn new(secrets: &[Vec<u8>]) -> Self {
        let mut values = Vec::new();
        for secret in secrets {
            let whole = secret.trim_ascii();
            let lines = whole.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
            values.extend(
                lines
                    .filter(|line| line.len() >= SHORTEST_LINE)
                    .map(<[u8]>::to_vec),
            );
            values.extend((whole.len() >= SHORTEST).then(|| whole.to_vec()));
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self {
            values,
            held: Vec::new(),
        }
    }

    /// What of it can be shown now.
    pub(crate) fn cover(&mut self, data: &[u8]) -> Vec<u8> {
        if self.values.is_empty() {
            return data.to_vec();
        }
        self.held.extend_from_slice(data);
        self.scan(false)
    }

    /// The rest, when nothing more comes.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.scan(true)
    }

    /// Covers what is held. Unless it is the `end`, what may become a value with what follows is held further.
    fn scan(&mut self, end: bool) -> Vec<u8> {
        let text = std::mem::take(&mut self.held);
        let mut shown = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let begins = |value: &Vec<u8>| value.len() > rest.len() && value.starts_with(rest);
            if !end && self.values.iter().any(begins) {
                self.held = rest.to_vec();
                break;
            }
            match self.values.iter().find(|value| rest.starts_with(value)) {
                Some(value) => {
                    shown.extend_from_slice(COVER);
                    at += value.len();
                }
                None => {
                    shown.push(rest[0]);
                    at += 1;
                }
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(secrets: &[&str], pieces: &[&str]) -> String {
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect();
        let mut mask = Mask::new(&secrets);
        let mut shown: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| mask.cover(piece.as_bytes()))
            .collect();
        shown.extend(mask.finish());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn values_are_covered_wherever_the_output_is_cut() {
        assert_eq!(
            covered(&["hunter2\n"], &["a hunter2 b", " hunter2"]),
            "a *** b ***"
        );
        assert_eq!(covered(&["hunter2"], &["hun", "ter2, hunt", "er"]), "***, hunter");
        assert_eq!(
            covered(&["hunter2", "hunter2-long"], &["hunter2-long hunter2"]),
            "*** ***"
        );
        assert_eq!(
            covered(&["-----BEGIN\nsecretline\nx"], &["only secretline\n"]),
            "only ***\n"
        );
    }

    #[test]
    fn short_values_and_none_cover_nothing() {
        assert_eq!(covered(&["yes"], &["yes and no"]), "yes and no");
        assert_eq!(covered(&[], &["text"]), "text");
    }
}
