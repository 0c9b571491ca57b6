//! "Did you mean".

/// Names farther away than this are not worth suggesting (BuildKit's limit).
const TOO_FAR: usize = 3;
/// So many letters of a longer word say which is meant.
const LONG_ENOUGH: usize = 4;

/// Returns the candidate that `name` was most likely meant to be: the same but for upper and lower
/// case, or fewer than three letters away. The first of several equally near ones wins. Without one, it is the only candidate
/// that begins like that, if four letters of it are there.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = lower(name);
    let (mut near, mut longer) = (None, Vec::new());
    for candidate in candidates {
        let word = lower(candidate);
        if name.len() >= LONG_ENOUGH && word.starts_with(&name) {
            longer.push(candidate);
        }
        let Some(distance) = distance(&name, &word) else {
            continue;
        };
        let is_near = distance < TOO_FAR && (distance == 0 || distance < name.len());
        if is_near && near.is_none_or(|(least, _): (usize, &str)| distance < least) {
            near = Some((distance, candidate));
        }
    }
    let only = || (longer.len() == 1).then(|| longer[0]);
    near.map(|(_, candidate)| candidate).or_else(only)
}

fn lower(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Counts the insertions, deletions, replacements and swaps of neighbours between two words, unless their
/// lengths already say that it is too many.
fn distance(a: &[char], b: &[char]) -> Option<usize> {
    if a.len().abs_diff(b.len()) >= TOO_FAR {
        return None;
    }
    // The row before the last, and the last.
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(x != y);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(above[j - 1] + 1);
            }
            next.push(least);
        }
        above = std::mem::replace(&mut row, next);
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_meant() {
        let names = ["build", "final", "test"];
        assert_eq!(nearest("bulid", names), Some("build"));
        assert_eq!(nearest("BUILD", names), Some("build"));
        assert_eq!(nearest("tst", names), Some("test"));
        assert_eq!(nearest("finale", names), Some("final"));
        assert_eq!(nearest("runtime", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("ab", ["xy"]), None, "nothing in common");
        assert_eq!(nearest("x", []), None);
        let keys = [
            "depends_on",
            "environment",
            "env_file",
            "networks",
            "network_mode",
        ];
        assert_eq!(nearest("depends", keys), Some("depends_on"));
        assert_eq!(nearest("environ", keys), Some("environment"));
        assert_eq!(nearest("env", keys), None, "either could be meant");
    }

    #[test]
    fn prefers_the_nearest() {
        assert_eq!(nearest("frmo", ["form", "from"]), Some("from"));
        assert_eq!(nearest("Arg", ["args", "ARG"]), Some("ARG"));
        assert_eq!(nearest("wbe", ["db", "web"]), Some("web"));
        assert_eq!(nearest("bd", ["db"]), Some("db"));
    }
}
