//! The manual pages of rules, as they are shown by `--explain`, in editors and in `docs/rules/`.

use std::fmt::Write as _;

use plimsoll_diagnostics::Severity;

use crate::rule::{Check, Rule};
use crate::rules::{self, FAMILIES};

/// The page of a rule: its file's comment, with what the table of rules knows.
pub fn page(rule: &Rule) -> String {
    let mut page = format!("# {}\n\n", rule.id);
    let (summary, rest) = body(rule);
    let _ = writeln!(page, "{summary}\n");
    let looks = match kinds(rule) {
        kinds if kinds.is_empty() => String::new(),
        kinds => format!("- Looks at: {}\n", kinds.join(", ")),
    };
    let _ = write!(page, "- Severity: {}\n{looks}", severity(rule.severity));
    if !rule.default {
        page.push_str("- Off unless the settings name it\n");
    }
    if !rule.aliases.is_empty() {
        let names: Vec<String> = rule.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let _ = writeln!(page, "- Elsewhere: {}", names.join(", "));
    }
    page.push('\n');
    page.push_str(rest.trim_start_matches('\n'));
    if !rule.options.is_empty() {
        page.push_str("\n## Options\n\n");
        let _ = writeln!(page, "In `[check.options.{}]` of `plimsoll.toml`:\n", rule.id);
        for option in rule.options {
            let _ = writeln!(page, "- `{}`: {}", option.name, option.about);
        }
    }
    let _ = write!(
        page,
        "\n## To keep it\n\n`# plimsoll ignore={} -- why` above the line, or `ignore = [\"{}\"]` in `[check]` of `plimsoll.toml`.\n",
        rule.id, rule.id
    );
    page
}

/// The list of all rules.
pub fn index() -> String {
    let mut text = String::from(
        "# Rules\n\nWhat `plimsoll check` looks for. Each page says why it matters, shows it wrong and right, and names what other tools\ncall it; all these names are understood wherever a rule is named. The pages are made of the comments in\n`crates/plimsoll-check/src/rules/`.\n",
    );
    for (family, rules) in FAMILIES.iter().filter(|(_, rules)| !rules.is_empty()) {
        let _ = write!(
            text,
            "\n## {family}\n\n| rule | severity | what is wrong | elsewhere |\n| --- | --- | --- | --- |\n"
        );
        let mut rules = rules.to_vec();
        rules.sort_by_key(|rule| rule.id);
        for rule in rules {
            let off = if rule.default { "" } else { ", off" };
            let summary = rule.summary().replace('|', "\\|");
            let _ = writeln!(
                text,
                "| [{0}]({0}.md) | {1}{off} | {summary} | {2} |",
                rule.id,
                severity(rule.severity),
                rule.aliases.join(", "),
            );
        }
    }
    text
}

/// Every file of `docs/rules/` by its name.
pub fn files() -> Vec<(String, String)> {
    let pages = rules::all().map(|rule| (format!("{}.md", rule.id), page(rule)));
    let mut files: Vec<_> = pages.collect();
    files.push(("README.md".to_owned(), index()));
    files.sort();
    files
}

/// The first paragraph, and what follows.
fn body(rule: &Rule) -> (String, String) {
    let page = rule.page();
    match page.split_once("\n\n") {
        Some((first, rest)) => (first.to_owned(), rest.to_owned()),
        None => (page, String::new()),
    }
}

fn kinds(rule: &Rule) -> Vec<&'static str> {
    let name = |check: &Check| match check {
        Check::Dockerfile(_) => "Dockerfiles",
        Check::Context(_) => "build contexts and `.dockerignore`",
        Check::Compose(_) => "compose files",
        Check::Image(_) => "images",
        Check::Cross(_) => "files that belong together",
    };
    let mut kinds: Vec<_> = rule.checks.iter().map(name).collect();
    kinds.dedup();
    kinds
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
        Severity::Style => "style",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// `UPDATE_PAGES=1 cargo test -p plimsoll-check pages` writes them.
    #[test]
    fn the_pages_in_the_documentation_are_those_of_the_rules() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules");
        let update = std::env::var_os("UPDATE_PAGES").is_some();
        let files = files();
        let mut stale = Vec::new();
        for (name, text) in &files {
            let path = folder.join(name);
            if fs::read_to_string(&path).ok().as_deref() == Some(text) {
                continue;
            }
            match update {
                true => {
                    fs::create_dir_all(&folder).unwrap();
                    fs::write(&path, text).unwrap();
                }
                false => stale.push(name.clone()),
            }
        }
        let known: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if !known.contains(name.as_str()) {
                match update {
                    true => fs::remove_file(entry.path()).unwrap(),
                    false => stale.push(name),
                }
            }
        }
        assert!(
            stale.is_empty(),
            "stale: {stale:?}; `UPDATE_PAGES=1 cargo test -p plimsoll-check pages` writes them"
        );
    }

    #[test]
    fn a_page_says_all_there_is() {
        let rule = rules::named("DL4000")[0];
        let page = page(rule);
        assert!(page.starts_with("# maintainer-deprecated\n\nThe author is set with MAINTAINER.\n\n- Severity: warning\n- Looks at: Dockerfiles\n- Elsewhere: `DL4000`"));
        assert!(page.contains("## Why\n") && page.contains("# plimsoll ignore=maintainer-deprecated"));
        assert!(index().contains("[maintainer-deprecated](maintainer-deprecated.md)"));
    }
}
