//! Every error ends here: whose fault it is, which exit code, what to try next.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use anstyle::AnsiColor;
use plimsoll_diagnostics::{Diagnostic, chain};
use plimsoll_image::ImageError;
use plimsoll_registry::{FailureKind, RegistryError};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: Kind,
    source: Box<dyn Error + Send + Sync>,
    diagnostics: Vec<Diagnostic>,
    hints: Vec<String>,
    /// Printed as it is before the error.
    preface: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The user's input: a Dockerfile, a path, a name that is taken.
    User,
    /// Settings files.
    Config,
    /// The command line.
    Usage,
    /// A name that was looked up is not there.
    NotFound,
    /// A registry, or the way to it.
    Registry,
    /// A container ended, or never started, with this exit code.
    Container(u8),
    /// Ours, or the machine's.
    Internal,
}

/// A message without a cause.
#[derive(Debug)]
struct Message(String);

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Message {}

/// A message with a cause.
#[derive(Debug)]
struct Caused(String, Box<dyn Error + Send + Sync>);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.1)
    }
}

impl CommandError {
    pub(crate) fn new(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
            diagnostics: Vec::new(),
            hints: Vec::new(),
            preface: String::new(),
        }
    }

    /// The user's mistake, in words.
    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, Message(message.into()))
    }

    /// A wrong command line, found after parsing it.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, Message(message.into()))
    }

    /// A name that is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, Message(message.into()))
    }

    /// A settings file that cannot be used.
    pub(crate) fn config(message: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Kind::Config, Caused(message.into(), cause.into()))
    }

    /// Something that should have worked.
    pub(crate) fn internal(
        message: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::new(Kind::Internal, Caused(message.into(), cause.into()))
    }

    /// A mistake at a place in a file.
    pub(crate) fn diagnostic(diagnostic: Diagnostic) -> Self {
        Self::diagnostics(vec![diagnostic])
    }

    /// Several mistakes at places in files.
    pub(crate) fn diagnostics(diagnostics: Vec<Diagnostic>) -> Self {
        let message = diagnostics
            .first()
            .map(|first| first.message.clone())
            .unwrap_or_default();
        Self {
            diagnostics,
            ..Self::user(message)
        }
    }

    /// Says what led to the error, printed as it is before it.
    pub(crate) fn preface(mut self, text: impl Into<String>) -> Self {
        self.preface = text.into();
        self
    }

    /// Adds a `hint:` line.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what was being done when it happened.
    pub(crate) fn during(self, what: impl Into<String>) -> Self {
        let source = Box::new(Caused(what.into(), self.source));
        Self { source, ..self }
    }

    /// The same error with an exit code of its command's own.
    pub(crate) fn with_exit_code(mut self, code: u8) -> Self {
        self.kind = Kind::Container(code);
        self
    }

    /// As a compose command reports it: a wrong command line is no more than an error there.
    pub(crate) fn of_compose(mut self) -> Self {
        if self.kind == Kind::Usage {
            self.kind = Kind::User;
        }
        self
    }

    /// Docker's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 125,
            Kind::Container(code) => code,
            _ => 1,
        }
    }

    /// Prints frames, or `error:` with the chain of causes, then the hints.
    pub(crate) fn print(&self, out: &mut dyn Write, color: bool) -> io::Result<()> {
        write!(out, "{}", self.preface)?;
        if self.diagnostics.is_empty() {
            let style = AnsiColor::Red.on_default().bold();
            writeln!(out, "{style}error{style:#}: {}", chain(&*self.source))?;
        }
        for diagnostic in &self.diagnostics {
            write!(out, "{}", plimsoll_diagnostics::render(diagnostic, color))?;
        }
        for hint in &self.hints {
            write!(out, "{}", plimsoll_diagnostics::emit::text::hint(hint, color))?;
        }
        Ok(())
    }

    /// The printed form without colour.
    #[cfg(test)]
    pub(crate) fn to_text(&self) -> String {
        let mut text = Vec::new();
        self.print(&mut anstream::StripStream::new(&mut text), false)
            .unwrap();
        String::from_utf8(text).unwrap()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.source))
    }
}

impl From<io::Error> for CommandError {
    /// Only writing to standard output ends here unnamed; everything else names its operation.
    fn from(error: io::Error) -> Self {
        Self::internal("cannot write to standard output", error)
    }
}

impl From<clap::Error> for CommandError {
    fn from(error: clap::Error) -> Self {
        Self::usage(
            error
                .render()
                .to_string()
                .trim_start_matches("error: ")
                .trim_end(),
        )
    }
}

impl From<plimsoll_store::StoreError> for CommandError {
    fn from(error: plimsoll_store::StoreError) -> Self {
        Self::new(Kind::Internal, error)
    }
}

impl From<ImageError> for CommandError {
    fn from(error: ImageError) -> Self {
        let (kind, hint) = match &error {
            ImageError::NotFound {
                nearest: Some(nearest),
                ..
            } => (Kind::NotFound, Some(format!("did you mean `{nearest}`?"))),
            ImageError::NotFound { .. } => (Kind::NotFound, None),
            ImageError::Ambiguous { .. } => (Kind::User, Some("give more of the ID".to_owned())),
            ImageError::Conflict { forceable: true, .. } => {
                (Kind::User, Some("`--force` does it all the same".to_owned()))
            }
            ImageError::Pull { source, .. }
            | ImageError::Push { source, .. }
            | ImageError::Look { source, .. } => (Kind::Registry, registry_hint(source)),
            ImageError::Store(_) | ImageError::Database(_) | ImageError::GivenUp(_) => (Kind::Internal, None),
            _ => (Kind::User, None),
        };
        let error = Self::new(kind, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What to try when a registry does not give what was asked for.
fn registry_hint(error: &RegistryError) -> Option<String> {
    if matches!(error, RegistryError::Fetch { attempts, .. } if attempts.len() > 1) {
        return None;
    }
    match error.kind() {
        FailureKind::Unauthorised => {
            let registry = error.registry().filter(|registry| *registry != "docker.io");
            let registry = registry.map_or_else(String::new, |registry| format!(" {registry}"));
            Some(format!("log in with `plimsoll login{registry}`"))
        }
        // A mirror can be asked, not be given anything.
        FailureKind::Unreachable if matches!(error, RegistryError::Fetch { .. }) => {
            Some("mirrors are configured as `[registry.\"docker.io\"] mirrors` in plimsoll.toml".to_owned())
        }
        FailureKind::Unreachable | FailureKind::NotFound | FailureKind::Other => None,
    }
}

impl From<RegistryError> for CommandError {
    fn from(error: RegistryError) -> Self {
        let hint = registry_hint(&error);
        let error = Self::new(Kind::Registry, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<plimsoll_oci::ReferenceError> for CommandError {
    fn from(error: plimsoll_oci::ReferenceError) -> Self {
        Self::new(Kind::User, error)
    }
}

impl From<plimsoll_oci::PlatformError> for CommandError {
    fn from(error: plimsoll_oci::PlatformError) -> Self {
        Self::new(Kind::User, error)
    }
}

impl From<plimsoll_network::NetworkError> for CommandError {
    fn from(error: plimsoll_network::NetworkError) -> Self {
        let hint = network_hint(&error);
        let kind = match &error {
            plimsoll_network::NetworkError::NotFound { .. } => Kind::NotFound,
            error if error.is_users() => Kind::User,
            _ => Kind::Internal,
        };
        let error = Self::new(kind, error);
        hint.into_iter().fold(error, Self::hint)
    }
}

/// The way out of an error about networks; for a name that is not there, the nearest one that is.
pub(crate) fn network_hint(error: &plimsoll_network::NetworkError) -> Option<String> {
    if let plimsoll_network::NetworkError::NotFound { name, known } = error {
        let near = plimsoll_dockerfile::nearest(name, known.iter().map(String::as_str));
        return near.map(|near| format!("did you mean `{near}`?"));
    }
    error.hint().map(str::to_owned)
}

impl From<plimsoll_runtime::RuntimeError> for CommandError {
    fn from(error: plimsoll_runtime::RuntimeError) -> Self {
        let code = u8::try_from(error.exit_code()).unwrap_or(125);
        Self::new(Kind::Container(code), error)
    }
}

impl From<crate::output::template::TemplateError> for CommandError {
    fn from(error: crate::output::template::TemplateError) -> Self {
        Self::new(Kind::User, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_on_one_line() {
        let error =
            CommandError::internal("cannot open `x`", io::Error::other("disk on fire")).hint("buy a new one");
        assert_eq!(
            error.to_text(),
            "error: cannot open `x`: disk on fire\nhint: buy a new one\n"
        );
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn codes_are_dockers() {
        assert_eq!(CommandError::usage("x").exit_code(), 125);
        assert_eq!(CommandError::new(Kind::Container(127), "x").exit_code(), 127);
        assert_eq!(CommandError::not_found("x").exit_code(), 1);
    }
}
