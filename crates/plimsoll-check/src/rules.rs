//! The tables of rules: one file per rule, one line per rule in its family's table.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::rule::Rule;

/// Declares the rules of a family: a module for each, and the table of them.
macro_rules! family {
    ($folder:literal: $($rule:ident),* $(,)?) => {
        $(mod $rule;)*

        /// The rules of this family.
        pub(super) static RULES: &[&crate::rule::Rule] = &[
            $({
                static RULE: crate::rule::Rule = $rule::RULE
                    .documented(include_str!(concat!($folder, "/", stringify!($rule), ".rs")));
                &RULE
            }),*
        ];
    };
}

mod compose;
mod context;
mod cross;
mod dockerfile;
mod engine;
mod image;

/// The families, by what their pages are filed under.
pub static FAMILIES: [(&str, &[&Rule]); 6] = [
    ("Dockerfile", dockerfile::RULES),
    ("Build context", context::RULES),
    ("Compose", compose::RULES),
    ("Image", image::RULES),
    ("Across files", cross::RULES),
    ("Checking itself", engine::RULES),
];

/// Every rule.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    FAMILIES.iter().flat_map(|(_, rules)| rules.iter().copied())
}

/// The rules of an id, ours or another tool's. Another tool's may stand for several of ours.
///
/// BuildKit compares names as they are written, hadolint wants its own in capitals; here, upper and lower case are one.
pub fn named(id: &str) -> &'static [&'static Rule] {
    static NAMES: OnceLock<HashMap<String, Vec<&'static Rule>>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names: HashMap<String, Vec<&'static Rule>> = HashMap::new();
        for rule in all() {
            for name in std::iter::once(&rule.id).chain(rule.aliases) {
                names.entry(name.to_ascii_lowercase()).or_default().push(rule);
            }
        }
        names
    });
    let found = names.get(&id.trim().to_ascii_lowercase());
    found.map_or(&[], Vec::as_slice)
}

/// A number of bytes as people say it: `12.3 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut whole = count;
    let mut unit = 0;
    while whole >= 1_000_000 && unit + 1 < UNITS.len() {
        whole /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", whole / 1000, whole % 1000 / 100, UNITS[unit])
}

#[cfg(test)]
mod projects;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_of_one_form() {
        let mut seen = BTreeSet::new();
        for rule in all() {
            assert!(seen.insert(rule.id), "`{}` is there twice", rule.id);
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(rule.id.bytes().all(fits), "{}", rule.id);
        }
    }

    #[test]
    fn bytes_are_said_in_units() {
        let said = [0, 999, 1000, 12_345, 999_999, 1_000_000, 5_600_000_000].map(bytes);
        assert_eq!(
            said,
            [
                "0 B", "999 B", "1.0 kB", "12.3 kB", "999.9 kB", "1.0 MB", "5.6 GB"
            ]
        );
    }

    #[test]
    fn every_rule_has_a_page() {
        for rule in all() {
            let page = rule.page();
            for part in ["## Why", "## Bad", "## Good"] {
                assert!(page.contains(part), "the page of `{}` lacks `{part}`", rule.id);
            }
            assert!(!rule.summary().is_empty(), "{}", rule.id);
        }
    }

    #[test]
    fn names_of_other_tools_are_understood() {
        assert_eq!(named("dl4000")[0].id, "maintainer-deprecated");
        assert_eq!(named("MaintainerDeprecated")[0].id, "maintainer-deprecated");
        assert!(named("DL9999").is_empty());
    }
}
