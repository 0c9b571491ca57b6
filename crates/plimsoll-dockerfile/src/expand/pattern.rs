//! The patterns of `${v#p}` and its kin: `*` is any text, `?` any character, the rest stands for
//! itself (BuildKit has no brackets here).

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Star,
    Any,
    Char(char),
}

/// A pattern that was read.
pub(super) struct Pattern {
    items: Vec<Item>,
}

impl Pattern {
    /// Reads a pattern; fails with a character that is escaped without need.
    pub(super) fn parse(text: &str, escape: char) -> Result<Self, char> {
        let mut items = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            items.push(match c {
                '*' => Item::Star,
                '?' => Item::Any,
                c if c == escape => match rest.next() {
                    Some(c @ ('*' | '?' | '}' | '/')) => Item::Char(c),
                    Some(c) if c == escape => Item::Char(c),
                    Some(c) => return Err(c),
                    None => Item::Char(escape),
                },
                c => Item::Char(c),
            });
        }
        Ok(Self { items })
    }

    pub(super) fn without_prefix<'t>(&self, text: &'t str, longest: bool) -> &'t str {
        let end = if longest {
            self.ends(text).max()
        } else {
            self.ends(text).min()
        };
        &text[end.unwrap_or(0)..]
    }

    pub(super) fn without_suffix<'t>(&self, text: &'t str, longest: bool) -> &'t str {
        let mut starts =
            starts(text).filter(|start| self.ends(&text[*start..]).any(|end| start + end == text.len()));
        let start = if longest { starts.next() } else { starts.last() };
        &text[..start.unwrap_or(text.len())]
    }

    /// Replaces the first match or every one, each as long as possible. As in Go, no empty match
    /// directly follows another match.
    pub(super) fn replace(&self, text: &str, replacement: &str, every: bool) -> String {
        let mut out = String::new();
        let mut at = 0;
        let mut previous_end = None;
        while at <= text.len() {
            let found = self.ends(&text[at..]).max().map(|length| at + length);
            let found = found.filter(|end| *end > at || previous_end != Some(at));
            let next = text[at..].chars().next().map_or(1, char::len_utf8);
            if let Some(end) = found {
                out.push_str(replacement);
                previous_end = Some(end);
                if !every {
                    out.push_str(&text[end..]);
                    return out;
                }
                if end > at {
                    at = end;
                    continue;
                }
            }
            out.push_str(text.get(at..at + next).unwrap_or_default());
            at += next;
        }
        out
    }

    /// Returns where matches that begin with the text end.
    fn ends(&self, text: &str) -> impl Iterator<Item = usize> {
        let mut reached = vec![false; self.items.len() + 1];
        reached[0] = true;
        self.skip_stars(&mut reached);
        let mut ends = Vec::new();
        let places = text
            .char_indices()
            .map(|(at, c)| (at, Some(c)))
            .chain([(text.len(), None)]);
        for (at, c) in places {
            if reached[self.items.len()] {
                ends.push(at);
            }
            let Some(c) = c.filter(|_| reached.contains(&true)) else {
                break;
            };
            reached = self.step(&reached, c);
        }
        ends.into_iter()
    }

    fn step(&self, reached: &[bool], c: char) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        for (index, item) in self.items.iter().enumerate().filter(|(index, _)| reached[*index]) {
            match item {
                Item::Star => next[index] = true,
                Item::Any => next[index + 1] = true,
                Item::Char(own) => next[index + 1] |= *own == c,
            }
        }
        self.skip_stars(&mut next);
        next
    }

    fn skip_stars(&self, reached: &mut [bool]) {
        for (index, item) in self.items.iter().enumerate() {
            if reached[index] && *item == Item::Star {
                reached[index + 1] = true;
            }
        }
    }
}

/// Every place where a character begins, and the end.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, '\\').unwrap()
    }

    #[test]
    fn empty_matches_are_replaced_as_in_go() {
        assert_eq!(pattern("").replace("abc", "-", true), "-a-b-c-");
        assert_eq!(pattern("").replace("abc", "-", false), "-abc");
        assert_eq!(pattern("*").replace("abc", "-", true), "-");
        assert_eq!(pattern("b*").replace("abc", "-", true), "a-");
        assert_eq!(pattern("x").replace("", "-", true), "");
    }

    #[test]
    fn matches_are_shortest_or_longest() {
        let text = "aXbXc";
        assert_eq!(pattern("*X").without_prefix(text, false), "bXc");
        assert_eq!(pattern("*X").without_prefix(text, true), "c");
        assert_eq!(pattern("X*").without_suffix(text, false), "aXb");
        assert_eq!(pattern("X*").without_suffix(text, true), "a");
        assert_eq!(pattern("").without_suffix(text, true), text);
    }
}
