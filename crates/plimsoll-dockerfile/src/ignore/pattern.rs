//! One cleaned pattern of a `.dockerignore` file.
//!
//! moby turns patterns into regular expressions, with shortcuts for simple ones. The shortcuts are
//! part of the meaning: `**foo` matches every path that ends with `foo`, though `**` otherwise
//! stands for whole directories.

/// A pattern that was read.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// `**` and what must follow it, no other wildcard.
    Suffix(String),
    /// Everything else.
    Items {
        items: Vec<Item>,
        /// What a path must begin and end with: most paths are told apart by that alone.
        begin: String,
        end: String,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Item {
    Char(char),
    /// `?`
    Any,
    /// `*`
    Star,
    /// `**` before the end, `(.*/)?`: goes on to [`Item::Directories`] or skips it.
    MaybeDirectories,
    /// The inside of that: anything up to a slash.
    Directories,
    /// `**` at the end.
    Rest,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a cleaned pattern whose syntax was checked; `None` when it can match nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "." || text == "/" {
            return None;
        }
        if let Some(suffix) = text
            .strip_prefix("**")
            .filter(|rest| !rest.contains(['*', '?', '[', '\\']))
        {
            return Some(Self::Suffix(suffix.to_owned()));
        }
        let mut items = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '*' => match rest.strip_prefix('*') {
                    Some(after) => {
                        // `**/` is `**`.
                        rest = after.strip_prefix('/').unwrap_or(after);
                        match rest.is_empty() {
                            true => items.push(Item::Rest),
                            false => items.extend([Item::MaybeDirectories, Item::Directories]),
                        }
                    }
                    None => items.push(Item::Star),
                },
                '?' => items.push(Item::Any),
                '[' => items.push(class(&mut rest)?),
                '\\' => {
                    let escaped = rest.chars().next()?;
                    rest = &rest[escaped.len_utf8()..];
                    items.push(Item::Char(escaped));
                }
                c => items.push(Item::Char(c)),
            }
        }
        let literal = |item: &Item| match item {
            Item::Char(c) => Some(*c),
            _ => None,
        };
        let begin = items.iter().map_while(literal).collect();
        let end: Vec<char> = items.iter().rev().map_while(literal).collect();
        Some(Self::Items {
            items,
            begin,
            end: end.into_iter().rev().collect(),
        })
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            // `**/foo` matches `foo` as well.
            Self::Suffix(suffix) => path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path),
            Self::Items { items, begin, end } => {
                path.starts_with(&**begin)
                    && path.ends_with(&**end)
                    && walk(items, path).is_some_and(|reached| reached[items.len()])
            }
        }
    }

    /// Tells whether some path below the directory could match.
    pub(super) fn may_match_below(&self, directory: &str) -> bool {
        match self {
            Self::Suffix(_) => true,
            Self::Items { items, .. } => {
                let alive = walk(items, directory).and_then(|reached| step(items, &reached, '/'));
                alive.is_some_and(|reached| reached[..items.len()].contains(&true))
            }
        }
    }
}

/// Follows every way through the items at once; `None` when none is left.
fn walk(items: &[Item], path: &str) -> Option<Vec<bool>> {
    let mut reached = vec![false; items.len() + 1];
    reached[0] = true;
    skip_optional(items, &mut reached);
    path.chars()
        .try_fold(reached, |reached, c| step(items, &reached, c))
}

fn step(items: &[Item], reached: &[bool], c: char) -> Option<Vec<bool>> {
    let mut next = vec![false; reached.len()];
    for (index, item) in items.iter().enumerate().filter(|(index, _)| reached[*index]) {
        match item {
            Item::Char(own) => next[index + 1] |= *own == c,
            Item::Any => next[index + 1] |= c != '/',
            Item::Star => next[index] |= c != '/',
            Item::Rest => next[index] = true,
            Item::MaybeDirectories => {}
            Item::Directories => {
                next[index] = true;
                next[index + 1] |= c == '/';
            }
            Item::Class { negated, ranges } => {
                next[index + 1] |= ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated;
            }
        }
    }
    skip_optional(items, &mut next);
    next.contains(&true).then_some(next)
}

fn skip_optional(items: &[Item], reached: &mut [bool]) {
    for (index, item) in items.iter().enumerate() {
        if !reached[index] {
            continue;
        }
        match item {
            Item::Star | Item::Rest => reached[index + 1] = true,
            Item::MaybeDirectories => {
                reached[index + 1] = true;
                reached[index + 2] = true;
            }
            _ => {}
        }
    }
}

/// Reads a class behind its opening bracket.
fn class(rest: &mut &str) -> Option<Item> {
    let negated = rest.starts_with('^');
    *rest = rest.strip_prefix('^').unwrap_or(rest);
    let mut ranges = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(']').filter(|_| !ranges.is_empty()) {
            *rest = after;
            return Some(Item::Class { negated, ranges });
        }
        let low = class_character(rest)?;
        let high = match rest.strip_prefix('-') {
            Some(after) => {
                *rest = after;
                class_character(rest)?
            }
            None => low,
        };
        ranges.push((low, high));
    }
}

fn class_character(rest: &mut &str) -> Option<char> {
    *rest = rest.strip_prefix('\\').unwrap_or(rest);
    let c = rest.chars().next()?;
    *rest = &rest[c.len_utf8()..];
    Some(c)
}
