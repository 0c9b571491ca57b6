//! What a rule is: a name, what it thinks of what it finds, and functions that look.

use plimsoll_diagnostics::Severity;

use crate::Checker;
use crate::facts::ImageFacts;
use crate::view::{ComposeView, ContextView, DockerfileView, Workspace};

/// Where the pages of rules lie in this repository.
const PAGES: &str = "docs/rules/";

/// A rule. Its file's doc comment is its manual page.
#[derive(Debug)]
pub struct Rule {
    /// Lower case with dashes; never changed once released.
    pub id: &'static str,
    /// What its findings are unless the settings or the finding say otherwise.
    pub severity: Severity,
    /// What other tools call the same thing, as they write it.
    pub aliases: &'static [&'static str],
    /// Whether it looks at all when nothing is said about it.
    pub default: bool,
    /// What the settings may say to it.
    pub options: &'static [RuleOption],
    /// What it looks at, and how.
    pub checks: &'static [Check],
    /// The text of its file, page included.
    source: &'static str,
}

/// A setting of a rule: `[check.options.RULE] NAME = ...`.
#[derive(Debug)]
pub struct RuleOption {
    /// Its name.
    pub name: &'static str,
    /// What it does, in half a sentence.
    pub about: &'static str,
}

/// A function of a rule, by what it looks at.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// One Dockerfile.
    Dockerfile(fn(&DockerfileView, &mut Checker<'_>)),
    /// A build context: what lies in the folder, and its `.dockerignore`.
    Context(fn(&ContextView, &mut Checker<'_>)),
    /// One compose project.
    Compose(fn(&ComposeView, &mut Checker<'_>)),
    /// One built image.
    Image(fn(&ImageFacts, &mut Checker<'_>)),
    /// Everything at once, for what only shows where two of them meet.
    Cross(fn(&Workspace, &mut Checker<'_>)),
}

impl Rule {
    /// A rule that is on, has no other names and looks at nothing yet.
    pub const fn new(id: &'static str, severity: Severity) -> Self {
        Self {
            id,
            severity,
            aliases: &[],
            default: true,
            options: &[],
            checks: &[],
            source: "",
        }
    }

    /// Says what other tools call it.
    #[must_use]
    pub const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// Looks only when the settings ask for it.
    #[must_use]
    pub const fn off(self) -> Self {
        Self {
            default: false,
            ..self
        }
    }

    /// Says what may be set.
    #[must_use]
    pub const fn options(self, options: &'static [RuleOption]) -> Self {
        Self { options, ..self }
    }

    /// Says what it looks at.
    #[must_use]
    pub const fn checks(self, checks: &'static [Check]) -> Self {
        Self { checks, ..self }
    }

    /// Brings the text of its file along; the table of rules does it.
    #[must_use]
    pub(crate) const fn documented(self, source: &'static str) -> Self {
        Self { source, ..self }
    }

    /// The manual page: the file's `//!` comment, which is Markdown.
    pub fn page(&self) -> String {
        let lines = self.source.lines().map_while(|line| line.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        lines.join("\n") + "\n"
    }

    /// Where its page is to be read, from the root of this repository.
    pub fn url(&self) -> String {
        format!("{PAGES}{}.md", self.id)
    }

    /// The first sentence of the page.
    pub fn summary(&self) -> &'static str {
        let first = self.source.lines().next().unwrap_or_default();
        first.trim_start_matches("//!").trim().trim_end_matches('.')
    }
}
