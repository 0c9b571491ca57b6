//! `.dockerignore`, with the semantics of moby/patternmatcher.
//!
//! Each line is a pattern; the last one that matches a path or one of its parents decides, and a
//! leading `!` makes it bring the path back. Patterns are cleaned as paths first (`./a//b/../c/`
//! is `a/c`), a leading slash does not count. `*` and `?` stop at `/`, `**` does not. A line that
//! begins with `#`, without blanks before it, is a comment.

mod pattern;

use plimsoll_diagnostics::{Diagnostic, Source, Span};

use crate::glob::glob_match;
use crate::line::Lines;
use pattern::Pattern;

/// A `.dockerignore` file.
#[derive(Clone, Debug, Default)]
pub struct IgnoreFile {
    rules: Vec<Rule>,
}

/// A line of a `.dockerignore` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreRule {
    /// Its number, from 1.
    pub line: usize,
    /// Its text.
    pub pattern: String,
    /// Whether what it matches is left out; false for lines that begin with `!`.
    pub excludes: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    told: IgnoreRule,
    pattern: Pattern,
}

impl IgnoreFile {
    /// Reads the file's text; fails on a pattern that cannot be read.
    pub fn parse(source: &Source) -> Result<Self, Box<Diagnostic>> {
        let mut rules = Vec::new();
        for (index, line) in Lines::new(&source.text).enumerate() {
            let text = line.text.trim();
            if line.text.starts_with('#') || text.is_empty() {
                continue;
            }
            let rule = Rule::parse(text, index + 1).map_err(|message| {
                let start = line.start + (line.text.len() - line.text.trim_start().len());
                let span = Span::new(start, start + text.len());
                Box::new(Diagnostic::error("ignore-pattern", source, span, message))
            })?;
            rules.extend(rule);
        }
        Ok(Self { rules })
    }

    /// No patterns.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Tells whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Tells whether `path` (slash separated, relative to the context root) is left out. The root
    /// itself never is.
    pub fn excludes(&self, path: &str) -> bool {
        self.deciding_rule(path).is_some_and(|rule| rule.excludes)
    }

    /// Returns the pattern that decided on `path`, if one did.
    pub fn deciding_rule(&self, path: &str) -> Option<&IgnoreRule> {
        self.decide(&clean(path)).map(|index| &self.rules[index].told)
    }

    /// Tells whether anything below the excluded directory `path` may be brought back; where
    /// nothing may, a walk can skip the directory.
    pub fn may_include_below(&self, path: &str) -> bool {
        let path = clean(path);
        let first = self.decide(&path).map_or(0, |index| index + 1);
        self.rules[first..]
            .iter()
            .any(|rule| !rule.told.excludes && (path == "." || rule.pattern.may_match_below(&path)))
    }

    fn decide(&self, path: &str) -> Option<usize> {
        if path == "." {
            return None;
        }
        let mut decided = None;
        let mut excluded = false;
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.told.excludes != excluded && rule.covers(path) {
                excluded = rule.told.excludes;
                decided = Some(index);
            }
        }
        decided
    }
}

impl Rule {
    /// Reads a line that is neither blank nor a comment; a lone `/` and the like match nothing.
    fn parse(text: &str, line: usize) -> Result<Option<Self>, String> {
        let (excludes, pattern) = match text.strip_prefix('!') {
            Some(pattern) => (false, pattern.trim()),
            None => (true, text),
        };
        if pattern.is_empty() {
            return Err("`!` stands alone".into());
        }
        let cleaned = clean(pattern);
        let cleaned = cleaned
            .strip_prefix('/')
            .filter(|rest| !rest.is_empty())
            .unwrap_or(&cleaned);
        if glob_match(cleaned.as_bytes(), b".").is_err() {
            return Err(format!("pattern `{pattern}` cannot be read"));
        }
        let told = IgnoreRule {
            line,
            pattern: text.to_owned(),
            excludes,
        };
        Ok(Pattern::parse(cleaned).map(|pattern| Self { told, pattern }))
    }

    /// Tells whether the pattern matches the path or one of its parents.
    fn covers(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        self.pattern.matches(path) || parents.into_iter().any(|parent| self.pattern.matches(parent))
    }
}

/// Go's `filepath.Clean`: no `.`, no doubled or trailing slash, `..` resolved where it can be.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".into(),
        (false, rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> IgnoreFile {
        IgnoreFile::parse(&Source::new(".dockerignore", text)).unwrap()
    }

    #[test]
    fn matches_as_moby_does() {
        let table = [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "dir", false),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "dir/file", true),
            ("**file", "dirfile", true),
            ("**/file", "dirfile", false),
            ("**/file", "file", true),
            ("**file", "dir/dirfile", true),
            ("**/file*txt", "dir/file.txt", true),
            ("**/file*txt", "filetxt", true),
            ("**/*.txt", "dir/file.txt", true),
            ("**/**/*.txt", "a/b/c/file.txt", true),
            ("**/**/*.txt2", "file.txt", false),
            ("a**/*.txt", "a/file.txt", true),
            ("a**/*.txt", "a/dir/dir/file.txt", true),
            ("a/*.txt", "a/dir/file.txt", false),
            ("a/*.txt**", "a/file.txt", true),
            ("a[b-d]e", "ae", false),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "aze", true),
            (".*", ".foo", true),
            (".*", "foo", false),
            ("abc.def", "abcdef", false),
            ("abc?def", "abcZdef", true),
            ("a\\\\", "a\\", true),
            ("**/foo/bar", "dir/foo/bar", true),
            ("abc/**", "abc/def/ghi", true),
            ("abc", "abcdef", false),
            ("abc/def", "abc", false),
            ("*", "a/b/c", true),
            ("node_modules", "node_modules/a/b.js", true),
            ("node_modules", "x/node_modules", false),
            ("**/node_modules", "x/node_modules/y", true),
            ("**/.DS_Store", "a/b/.DS_Store", true),
            ("a(b)c+|d$", "a(b)c+|d$", true),
            ("?", "/", false),
            ("한*", "한국", true),
        ];
        for (pattern, path, excluded) in table {
            assert_eq!(file(pattern).excludes(path), excluded, "{pattern} {path}");
        }
    }

    #[test]
    fn lines_are_cleaned() {
        for line in [
            "a/b", "/a/b", "a/b/", "./a/b", " a/b\t", "a//b", "a/x/../b", "a/./b\r",
        ] {
            assert!(file(line).excludes("a/b/c"), "{line}");
        }
        let text = "\u{feff}# comment\n\n  # pattern, not a comment\n!\u{20}keep\n";
        let file = file(text);
        assert_eq!(file.rules.len(), 2);
        assert!(file.excludes("# pattern, not a comment"));
    }

    #[test]
    fn paths_are_cleaned() {
        let file = file("a\n");
        assert!(file.excludes("./a/"));
        assert!(!file.excludes(""));
        assert!(!file.excludes("."));
        assert!(!super::tests::file("*\n").excludes("."), "the root stays");
    }

    #[test]
    fn the_last_match_decides() {
        let file = file("*.md\n!README*.md\nREADME-secret.md\n");
        assert!(file.excludes("x.md"));
        assert!(!file.excludes("README-de.md"));
        assert!(file.excludes("README-secret.md"));
        let rule = |path| file.deciding_rule(path).map(|rule| (rule.line, rule.excludes));
        assert_eq!(rule("x.md"), Some((1, true)));
        assert_eq!(rule("README.md"), Some((2, false)));
        assert_eq!(rule("README-secret.md"), Some((3, true)));
        assert_eq!(rule("main.rs"), None);
        assert_eq!(file.deciding_rule("README.md").unwrap().pattern, "!README*.md");
    }

    #[test]
    fn all_but_some() {
        let file = file("*\n!src\n!package.json\nsrc/**/*.test.js\n");
        assert!(file.excludes("Makefile"));
        assert!(!file.excludes("src"));
        assert!(!file.excludes("src/a/b.js"));
        assert!(file.excludes("src/a/b.test.js"));
        assert!(!file.excludes("package.json"));
    }

    #[test]
    fn walks_skip_what_cannot_come_back() {
        let file = file("node_modules\ndist\n!dist/keep/this\n!**/*.md\n");
        assert!(file.may_include_below("dist"));
        assert!(file.may_include_below("node_modules"), "**/*.md is anywhere");
        let file = super::tests::file("!early\nnode_modules\ndist\n!dist/keep/this\n!*.md\n");
        assert!(!file.may_include_below("node_modules"));
        assert!(file.may_include_below("dist"));
        assert!(file.may_include_below("dist/keep"));
        assert!(!file.may_include_below("dist/other"));
        assert!(!super::tests::file("a\n").may_include_below("a"));
        assert!(
            !super::tests::file("!a/b\na\n").may_include_below("a"),
            "the later line wins"
        );
    }

    #[test]
    fn what_cannot_be_read_is_shown() {
        let error = |text| IgnoreFile::parse(&Source::new(".dockerignore", text)).unwrap_err();
        assert_eq!(error("a\n  [b\n").message, "pattern `[b` cannot be read");
        assert_eq!(error("a\n  [b\n").span(), Some(Span::new(4, 6)));
        assert_eq!(error("! \n").message, "`!` stands alone");
    }

    #[test]
    fn cleaning_is_that_of_go() {
        let table = [
            ("", "."),
            ("a", "a"),
            ("a/", "a"),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("./a/./b", "a/b"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("/../a", "/a"),
        ];
        for (path, cleaned) in table {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "([a-b/*?!.#\\n\\\\ -]|\\[|\\]|é){0,40}", path in "[a-bé/.]{0,12}") {
            if let Ok(file) = IgnoreFile::parse(&Source::new("f", text)) {
                file.excludes(&path);
                file.may_include_below(&path);
            }
        }

        /// What a walk skips must not hold anything that is kept.
        #[test]
        fn skipping_loses_nothing(
            text in "(!?(\\*\\*/|\\*/)?[ab](/[ab*]|/\\*\\*)?\\n){1,5}",
            directory in "[ab](/[ab])?",
            below in "[ab](/[ab])?",
        ) {
            let file = file(&text);
            let inside = format!("{directory}/{below}");
            if file.excludes(&directory) && !file.may_include_below(&directory) {
                prop_assert!(file.excludes(&inside), "{inside} is kept by\n{text}");
            }
        }
    }
}
