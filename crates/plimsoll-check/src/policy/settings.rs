//! Policies as settings say them.

use std::collections::BTreeMap;

use plimsoll_diagnostics::{Diagnostic, Severity, Source, Span, nearest};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::Spanned;

use super::{PRODUCTION, Policy};

/// `[policy.NAME]`: what is said, and where. Keys that are not there leave things as they are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicySettings {
    extends: Option<Spanned<String>>,
    non_root_user: Option<Spanned<bool>>,
    healthcheck: Option<Spanned<bool>>,
    no_secrets: Option<Spanned<bool>>,
    pinned_base: Option<Spanned<bool>>,
    exec_form: Option<Spanned<bool>>,
    limits: Option<Spanned<bool>>,
    read_only: Option<Spanned<bool>>,
    no_privileged: Option<Spanned<bool>>,
    no_findings: Option<Spanned<Threshold>>,
    forbid_rules: Option<Spanned<Vec<String>>>,
    trusted_registries: Option<Spanned<Vec<String>>>,
    max_size: Option<Spanned<Size>>,
}

/// A file of one policy: its keys at the top, or below `[policy]`.
#[derive(Deserialize)]
struct PolicyFile {
    policy: Option<PolicySettings>,
    #[serde(flatten)]
    rest: toml::Table,
}

#[derive(Clone, Copy, Debug)]
struct Threshold(Option<Severity>);

#[derive(Clone, Copy, Debug)]
struct Size(u64);

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(match text.as_str() {
            "error" => Some(Severity::Error),
            "warning" => Some(Severity::Warning),
            "info" => Some(Severity::Info),
            "style" => Some(Severity::Style),
            "none" => None,
            _ => {
                let message = "expected `error`, `warning`, `info`, `style`, or `none` for no such demand";
                return Err(D::Error::custom(message));
            }
        }))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len()
            - text
                .trim_start_matches(|letter: char| letter.is_ascii_digit())
                .len();
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" | "k" => 1_000,
            "mb" | "m" => 1_000_000,
            "gb" | "g" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(D::Error::custom("expected a size such as `500MB`")),
        };
        let number: u64 = number
            .parse()
            .map_err(|_| D::Error::custom("expected a size such as `500MB`"))?;
        Ok(Self(number.saturating_mul(factor)))
    }
}

/// All policies there are, by name.
#[derive(Clone, Debug)]
pub struct Policies {
    by_name: BTreeMap<String, Policy>,
}

impl Default for Policies {
    fn default() -> Self {
        let production = Policy::production();
        Self {
            by_name: BTreeMap::from([(PRODUCTION.to_owned(), production)]),
        }
    }
}

impl Policies {
    /// Takes what the system or the user says.
    pub fn take(
        &mut self,
        source: &Source,
        settings: &BTreeMap<String, PolicySettings>,
    ) -> Result<(), Box<Diagnostic>> {
        self.take_all(source, settings, false)
    }

    /// Takes what a project's own file says, which may only ask for more.
    pub fn tighten(
        &mut self,
        source: &Source,
        settings: &BTreeMap<String, PolicySettings>,
    ) -> Result<(), Box<Diagnostic>> {
        self.take_all(source, settings, true)
    }

    fn take_all(
        &mut self,
        source: &Source,
        settings: &BTreeMap<String, PolicySettings>,
        tightens: bool,
    ) -> Result<(), Box<Diagnostic>> {
        for (name, said) in settings {
            let policy = self.with(source, name, said, tightens)?;
            self.by_name.insert(name.clone(), policy);
        }
        Ok(())
    }

    /// The policy of a name; of an unknown one, the nearest that there is.
    pub fn get(&self, name: &str) -> Result<&Policy, Option<&str>> {
        let names = self.by_name.keys().map(String::as_str);
        self.by_name.get(name).ok_or_else(|| nearest(name, names))
    }

    /// Reads a file of one policy, named after it.
    pub fn parse_file(&self, source: &Source) -> Result<Policy, Box<Diagnostic>> {
        let file: PolicyFile = toml::from_str(&source.text).map_err(|error| wrong(source, &error))?;
        let said = match (file.policy, file.rest.is_empty()) {
            (Some(policy), true) => policy,
            _ => toml::from_str(&source.text).map_err(|error| wrong(source, &error))?,
        };
        self.with(source, &source.name, &said, false)
    }

    fn with(
        &self,
        source: &Source,
        name: &str,
        said: &PolicySettings,
        tightens: bool,
    ) -> Result<Policy, Box<Diagnostic>> {
        let base = match &said.extends {
            Some(base) => self.get(base.get_ref()).map_err(|near| {
                let message = format!("there is no policy `{}`", base.get_ref());
                let error = Diagnostic::error("policy", source, span(base), message);
                Box::new(match near {
                    Some(near) => error.with_help(format!("did you mean `{near}`?")),
                    None => error,
                })
            })?,
            None => self.by_name.get(name).unwrap_or(&EMPTY),
        };
        let mut change = Change {
            source,
            name,
            tightens,
            policy: base.clone(),
        };
        change.policy.name = name.to_owned();
        change.all(said)?;
        Ok(change.policy)
    }
}

static EMPTY: Policy = Policy {
    name: String::new(),
    non_root_user: false,
    healthcheck: false,
    no_secrets: false,
    pinned_base: false,
    exec_form: false,
    limits: false,
    read_only: false,
    no_privileged: false,
    no_findings: None,
    forbid_rules: Vec::new(),
    trusted_registries: None,
    max_size: None,
};

/// A policy on its way.
struct Change<'a> {
    source: &'a Source,
    name: &'a str,
    tightens: bool,
    policy: Policy,
}

impl Change<'_> {
    fn all(&mut self, said: &PolicySettings) -> Result<(), Box<Diagnostic>> {
        self.flag(&said.non_root_user, |policy| &mut policy.non_root_user)?;
        self.flag(&said.healthcheck, |policy| &mut policy.healthcheck)?;
        self.flag(&said.no_secrets, |policy| &mut policy.no_secrets)?;
        self.flag(&said.pinned_base, |policy| &mut policy.pinned_base)?;
        self.flag(&said.exec_form, |policy| &mut policy.exec_form)?;
        self.flag(&said.limits, |policy| &mut policy.limits)?;
        self.flag(&said.read_only, |policy| &mut policy.read_only)?;
        self.flag(&said.no_privileged, |policy| &mut policy.no_privileged)?;
        if let Some(said) = &said.no_findings {
            let (old, new) = (self.policy.no_findings, said.get_ref().0);
            let loosens = match (old, new) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(old), Some(new)) => new > old,
            };
            self.check(loosens, span(said))?;
            self.policy.no_findings = new;
        }
        if let Some(said) = &said.forbid_rules {
            let new = said.get_ref();
            let loosens = self.policy.forbid_rules.iter().any(|rule| !new.contains(rule));
            self.check(loosens, span(said))?;
            self.policy.forbid_rules.clone_from(new);
        }
        if let Some(said) = &said.trusted_registries {
            let new = said.get_ref();
            let trusted = |old: &Vec<String>| new.iter().all(|one| old.iter().any(|old| covers(old, one)));
            let loosens = self
                .policy
                .trusted_registries
                .as_ref()
                .is_some_and(|old| !trusted(old));
            self.check(loosens, span(said))?;
            self.policy.trusted_registries = Some(new.clone());
        }
        if let Some(said) = &said.max_size {
            let new = said.get_ref().0;
            self.check(self.policy.max_size.is_some_and(|old| new > old), span(said))?;
            self.policy.max_size = Some(new);
        }
        Ok(())
    }

    fn flag(
        &mut self,
        said: &Option<Spanned<bool>>,
        place: fn(&mut Policy) -> &mut bool,
    ) -> Result<(), Box<Diagnostic>> {
        let Some(said) = said else { return Ok(()) };
        let old = *place(&mut self.policy);
        self.check(old && !said.get_ref(), span(said))?;
        *place(&mut self.policy) = *said.get_ref();
        Ok(())
    }

    fn check(&self, loosens: bool, span: Span) -> Result<(), Box<Diagnostic>> {
        if !(loosens && self.tightens) {
            return Ok(());
        }
        let message = format!("a project's own file may not loosen policy `{}`", self.name);
        Err(Box::new(
            Diagnostic::error("policy", self.source, span, message).with_help(
                "a cloned folder must not decide what may be built and run here: put it in /etc/plimsoll/plimsoll.toml, in \
                 ~/.config/plimsoll/plimsoll.toml or in the file that `--settings` names",
            ),
        ))
    }
}

/// Whether a registry, or a part of one (`ghcr.io/me`), has another in it.
pub(super) fn covers(trusted: &str, name: &str) -> bool {
    let trusted = trusted.trim_end_matches('/');
    name == trusted
        || name
            .strip_prefix(trusted)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn span<T>(said: &Spanned<T>) -> Span {
    said.span().into()
}

fn wrong(source: &Source, error: &toml::de::Error) -> Box<Diagnostic> {
    let span = error.span().unwrap_or(0..0);
    Box::new(Diagnostic::error(
        "policy",
        source,
        span.into(),
        error.message().trim_end(),
    ))
}
