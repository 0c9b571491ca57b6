//! Ids, and names for containers that were given none.

use std::fs::File;
use std::io::Read as _;

const ADJECTIVES: &[&str] = &[
    "able", "amber", "brisk", "calm", "candid", "clever", "coral", "daring", "deep", "eager", "even", "fair",
    "fleet", "gentle", "golden", "hardy", "honest", "jolly", "keen", "kind", "light", "lively", "loyal",
    "mellow", "merry", "nimble", "noble", "patient", "placid", "proud", "quiet", "ready", "salty", "serene",
    "sharp", "steady", "stout", "swift", "tidy", "true", "trusty", "upright", "valiant", "vivid", "warm",
    "wary", "wise", "witty", "young", "zealous",
];

/// People who made ships safer, or found the way.
const SURNAMES: &[&str] = &[
    "amundsen",
    "barents",
    "baret",
    "beaufort",
    "bering",
    "blackborow",
    "bligh",
    "bowditch",
    "brunel",
    "cabot",
    "cook",
    "crapo",
    "dampier",
    "drake",
    "earhart",
    "ericson",
    "fitzroy",
    "franklin",
    "froude",
    "gama",
    "grace",
    "halley",
    "harrison",
    "heyerdahl",
    "hudson",
    "ibnmajid",
    "joshua",
    "kelvin",
    "lovell",
    "magellan",
    "marconi",
    "maury",
    "mercator",
    "nansen",
    "nautilus",
    "parsons",
    "plimsoll",
    "polo",
    "raleigh",
    "ross",
    "scoresby",
    "shackleton",
    "slocum",
    "stevenson",
    "sumner",
    "tasman",
    "vancouver",
    "villiers",
    "worsley",
    "zhenghe",
];

/// Returns 64 random hexadecimal digits whose first twelve are not all decimal, as Docker's.
///
/// A short id of digits only could be taken for a number, for example as a host name.
pub(crate) fn random_id() -> std::io::Result<String> {
    loop {
        let id: String = random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        if !id.as_bytes()[..12].iter().all(u8::is_ascii_digit) {
            return Ok(id);
        }
    }
}

/// Returns a name made of two words; later attempts get a digit so that they end.
pub(crate) fn random_name(attempt: usize) -> std::io::Result<String> {
    let [first, second, digit] = random::<3>()?;
    let adjective = ADJECTIVES[usize::from(first) % ADJECTIVES.len()];
    let surname = SURNAMES[usize::from(second) % SURNAMES.len()];
    let suffix = if attempt < 3 {
        String::new()
    } else {
        format!("{}", usize::from(digit) + attempt)
    };
    Ok(format!("{adjective}_{surname}{suffix}"))
}

/// Returns whether Docker takes `name` for a container or volume.
pub(crate) fn is_valid(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.len() > 1
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Returns the name nearest to `wanted`, if any is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (wanted.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// Edit distance (Levenshtein), one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_valid() {
        for attempt in 0..50 {
            let name = random_name(attempt).unwrap();
            assert!(is_valid(&name), "{name}");
            assert!(ADJECTIVES.iter().any(|word| name.starts_with(word)), "{name}");
        }
        assert_eq!(random_id().unwrap().len(), 64);
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for name in ["", "a", "-ab", "a b", "../x", "a/b", "\u{e9}tude"] {
            assert!(!is_valid(name), "{name}");
        }
        assert!(is_valid("Web-1.a_b"));
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(
            nearest("databse", ["web", "database"]),
            Some("database".to_owned())
        );
        assert_eq!(nearest("web", ["database"]), None);
        assert_eq!(nearest("wbe", ["web", "database"]), None);
        assert_eq!(nearest("wb", ["web"]), Some("web".to_owned()));
    }
}
