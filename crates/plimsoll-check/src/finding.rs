//! What a rule says, and to whom.

use std::borrow::Cow;

use plimsoll_compose_file::Place;
use plimsoll_diagnostics::{Diagnostic, Fix, Label, Severity, Source, Span};

use crate::config::Config;
use crate::rule::Rule;
use crate::rules;
use crate::view::Workspace;

/// A fault that a rule has found.
#[derive(Clone, Debug)]
pub struct Finding {
    source: Source,
    span: Span,
    message: String,
    help: Option<String>,
    labels: Vec<Label>,
    severity: Option<Severity>,
    aliases: Vec<Cow<'static, str>>,
    fix: Option<Fix>,
    secrets: Vec<Span>,
}

impl Finding {
    /// Says what is wrong at a place: lower case, no full stop, values in backticks, never a secret.
    pub fn new(source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self {
            source: source.clone(),
            span,
            message: message.into(),
            help: None,
            labels: Vec::new(),
            severity: None,
            aliases: Vec::new(),
            fix: None,
            secrets: Vec::new(),
        }
    }

    /// Says what is wrong at a place in a compose file.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self::new(&place.source, place.span, message)
    }

    /// Says what to do, in one line.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at another place in the same text.
    #[must_use]
    pub fn label(mut self, span: Span, message: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            message: message.into(),
        });
        self
    }

    /// Is worse, or less bad, than the rule's findings are as a rule. What the settings say still wins.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Has, besides those of the rule, a name of its own elsewhere (`SC2086`).
    #[must_use]
    pub fn alias(mut self, alias: impl Into<Cow<'static, str>>) -> Self {
        self.aliases.push(alias.into());
        self
    }

    /// Stands where a secret stands: whatever is shown of the text, by this finding or another, shows stars there.
    #[must_use]
    pub fn secret(mut self, span: Span) -> Self {
        self.secrets.push(span);
        self
    }

    /// Can be mended so.
    #[must_use]
    pub fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }
}

/// What a rule works with: the settings, everything else that is being checked, and the list of findings.
pub struct Checker<'a> {
    workspace: &'a Workspace,
    config: &'a Config,
    rule: Option<&'static Rule>,
    found: Found,
}

/// What rules have found, and where secrets stand.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) findings: Vec<Diagnostic>,
    pub(crate) secrets: Vec<(Source, Span)>,
}

impl Found {
    pub(crate) fn extend(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.secrets.extend(other.secrets);
    }
}

impl<'a> Checker<'a> {
    pub(crate) fn new(workspace: &'a Workspace, config: &'a Config) -> Self {
        Self {
            workspace,
            config,
            rule: None,
            found: Found::default(),
        }
    }

    /// Goes on with another rule.
    pub(crate) fn now(&mut self, rule: &'static Rule) {
        self.rule = Some(rule);
    }

    /// Does what a rule of the engine does, if it is wanted.
    pub(crate) fn now_if_wanted(&mut self, id: &str, look: impl FnOnce(&mut Self)) {
        let rule = rules::named(id).first().expect("a rule of the engine");
        if self.config.wants(rule) {
            self.now(rule);
            look(self);
        }
    }

    fn rule(&self) -> &'static Rule {
        self.rule.expect("a rule is at work")
    }

    pub(crate) fn finish(self) -> Found {
        self.found
    }

    /// Everything that is being checked: base images, other Dockerfiles, compose projects.
    pub fn workspace(&self) -> &'a Workspace {
        self.workspace
    }

    /// The settings.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// What the settings say to this rule under a name that it lists in [`Rule::options`].
    pub fn option(&self, name: &str) -> Option<&'a serde_json::Value> {
        let rule = self.rule();
        debug_assert!(rule.options.iter().any(|option| option.name == name));
        self.config.option(rule.id, name)
    }

    /// Adds a finding.
    pub fn report(&mut self, finding: Finding) {
        let rule = self.rule();
        let severity = self.config.severity(rule, finding.severity);
        let mut diagnostic =
            Diagnostic::new(severity, rule.id, &finding.source, finding.span, finding.message);
        diagnostic.labels.extend(finding.labels);
        diagnostic.help = finding.help;
        diagnostic.fix = finding.fix;
        diagnostic.url = Some(rule.url());
        let aliases = rule.aliases.iter().map(|alias| Cow::Borrowed(*alias));
        diagnostic.aliases = aliases.chain(finding.aliases).collect();
        let secrets = finding.secrets.into_iter();
        self.found
            .secrets
            .extend(secrets.map(|span| (finding.source.clone(), span)));
        self.found.findings.push(diagnostic);
    }
}
