//! `RUN --mount=…` as it is written: keys and values, each with its place. Pure text.
//!
//! Values are expanded, those of `from` are not: which stages and images a build needs is known before any
//! variable of a stage is. The rules are BuildKit's (`frontend/dockerfile/instructions/commands_runmount.go`).

use plimsoll_diagnostics::{Diagnostic, Source, Span};
use plimsoll_dockerfile::{Run, Word, nearest};

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunMount {
    /// The whole option, for errors.
    pub(crate) span: Span,
    pub(crate) kind: MountKind,
}

/// What is mounted; targets are as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    /// Files of the context, a stage or an image.
    Bind {
        target: String,
        source: Option<Word>,
        writable: bool,
    },
    /// A directory that outlives the build.
    Cache {
        target: String,
        id: Option<String>,
        /// Below `from`: what a new one begins with.
        source: Option<Word>,
        sharing: Sharing,
        read_only: bool,
        permissions: Permissions,
    },
    /// Memory.
    Tmpfs { target: String, size: Option<u64> },
    /// A value of `--secret`.
    Secret {
        id: String,
        /// None when only the variable is wanted.
        target: Option<String>,
        env: Option<String>,
        required: bool,
        permissions: Permissions,
    },
    /// An agent of `--ssh`.
    Ssh {
        id: String,
        target: Option<String>,
        required: bool,
        permissions: Permissions,
    },
}

/// `mode`, `uid` and `gid`, where they were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permissions {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// What happens when two steps want the same cache at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Both have it.
    #[default]
    Shared,
    /// The second gets another one.
    Private,
    /// The second waits.
    Locked,
}

type Parsed<T> = Result<T, Box<Diagnostic>>;
/// Expands a value.
type Expand<'a> = &'a dyn Fn(&Word) -> Parsed<String>;

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const SHARING: [&str; 3] = ["shared", "private", "locked"];
/// Every key with its other names and the types that take it.
const KEYS: [(&str, &[&str], &[&str]); 14] = [
    ("type", &[], &TYPES),
    ("target", &["dst", "destination"], &TYPES),
    ("source", &["src"], &["bind", "cache", "secret"]),
    ("from", &[], &["bind", "cache"]),
    ("readonly", &["ro"], &TYPES),
    ("rw", &["readwrite"], &TYPES),
    ("id", &[], &["cache", "secret", "ssh"]),
    ("sharing", &[], &["cache"]),
    ("required", &[], &["secret", "ssh"]),
    ("size", &[], &["tmpfs"]),
    ("env", &[], &["secret"]),
    ("mode", &[], &["cache", "secret", "ssh"]),
    ("uid", &[], &["cache", "secret", "ssh"]),
    ("gid", &[], &["cache", "secret", "ssh"]),
];

/// The `from` of each mount of a RUN that has one, in order.
pub(crate) fn from_words(run: &Run) -> impl Iterator<Item = Word> {
    run.mounts.iter().filter_map(from_word)
}

/// The `from` of one mount. A duplicate key is an error only where the mount is understood.
pub(crate) fn from_word(option: &Word) -> Option<Word> {
    let from = fields(option).into_iter().find(|(key, _)| key.value == "from");
    from.and_then(|(_, value)| value)
        .filter(|value| !value.value.is_empty())
}

/// Understands one option.
pub(crate) fn parse(source: &Source, option: &Word, expand: Expand<'_>) -> Parsed<RunMount> {
    let mut fields = Fields::read(source, option, expand)?;
    let kind = match fields.kind {
        "bind" => fields.bind(),
        "cache" => fields.cache(),
        "tmpfs" => fields.tmpfs(),
        "secret" => fields.secret(),
        _ => fields.ssh(),
    }?;
    Ok(RunMount {
        span: option.span,
        kind,
    })
}

/// Cuts `a=b,c` into keys, lower case, and values. Where quotes were taken out of the option the places of its
/// parts are not known any more, and the whole stands for each.
fn fields(option: &Word) -> Vec<(Word, Option<Word>)> {
    let exact = option.span.len() == option.value.len();
    let mut start = option.span.start;
    let word = |value: &str, start: usize| Word {
        value: value.to_owned(),
        span: match exact {
            true => Span::new(start, start + value.len()),
            false => option.span,
        },
    };
    let mut fields = Vec::new();
    for field in option.value.split(',') {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(word(value, start + key.len() + 1))),
            None => (field, None),
        };
        let mut key = word(key, start);
        key.value = key.value.trim().to_ascii_lowercase();
        fields.push((key, value));
        start += field.len() + 1;
    }
    fields
}

/// The fields of one option by their first names; taken out one by one.
struct Fields<'a> {
    source: &'a Source,
    option: &'a Word,
    kind: &'static str,
    /// Name, place of the key, expanded value.
    given: Vec<(&'static str, Span, Option<Word>)>,
}

impl<'a> Fields<'a> {
    fn read(source: &'a Source, option: &'a Word, expand: Expand<'_>) -> Parsed<Self> {
        let mut read = Self {
            source,
            option,
            kind: "bind",
            given: Vec::new(),
        };
        for (key, value) in fields(option) {
            let name = read.name_of(&key)?;
            if read.given.iter().any(|(given, ..)| *given == name) {
                return Err(read.error(key.span, format!("`{}` is given twice", key.value)));
            }
            let value = match value {
                Some(word) if name != "from" => Some(Word {
                    value: expand(&word)?,
                    span: word.span,
                }),
                other => other,
            };
            read.given.push((name, key.span, value));
        }
        if let Some(word) = read.text("type")? {
            read.kind = match TYPES.iter().find(|kind| kind.eq_ignore_ascii_case(&word.value)) {
                Some(kind) => kind,
                None => {
                    let message = format!("`{}` is not a type of mount", word.value);
                    return Err(read.one_of(&word, message, &TYPES));
                }
            };
        }
        read.check_keys()?;
        Ok(read)
    }

    fn name_of(&self, key: &Word) -> Parsed<&'static str> {
        let text = key.value.as_str();
        let known = KEYS
            .iter()
            .find(|(name, others, _)| *name == text || others.contains(&text));
        if let Some((name, ..)) = known {
            return Ok(name);
        }
        let names = KEYS
            .iter()
            .flat_map(|(name, others, _)| [name].into_iter().chain(others.iter()));
        let error = self.error(key.span, format!("`{text}` is not an option of a mount"));
        Err(match nearest(text, names.copied()) {
            Some(near) => help(error, format!("did you mean `{near}`?")),
            None => help(
                error,
                "see `RUN --mount` in docs/build.md for the options".to_owned(),
            ),
        })
    }

    /// Refuses what this type of mount has no use for.
    fn check_keys(&self) -> Parsed<()> {
        for (name, span, _) in &self.given {
            let types = KEYS
                .iter()
                .find(|(key, ..)| key == name)
                .map(|(.., types)| *types);
            let types = types.expect("only known names are kept");
            if !types.contains(&self.kind) {
                let message = format!("`{name}` is not an option of a mount of type {}", self.kind);
                let error = self.error(*span, message);
                return Err(help(error, format!("it is for {}", types.join(", "))));
            }
        }
        Ok(())
    }

    fn error(&self, span: Span, message: String) -> Box<Diagnostic> {
        Box::new(Diagnostic::error("run-mount", self.source, span, message))
    }

    fn one_of(&self, word: &Word, message: String, names: &[&str]) -> Box<Diagnostic> {
        let error = self.error(word.span, message);
        match nearest(&word.value, names.iter().copied()) {
            Some(near) => help(error, format!("did you mean `{near}`?")),
            None => help(error, format!("use one of {}", names.join(", "))),
        }
    }

    /// A value that must be there when its key is; empty is as if it were not given.
    fn text(&self, name: &str) -> Parsed<Option<Word>> {
        match self.given.iter().find(|(given, ..)| *given == name) {
            None => Ok(None),
            Some((_, span, None)) => {
                Err(self.error(*span, format!("`{name}` needs a value: `{name}=VALUE`")))
            }
            Some((.., Some(word))) => Ok(Some(word.clone()).filter(|word| !word.value.is_empty())),
        }
    }

    /// A switch alone is true.
    fn switch(&self, name: &str) -> Parsed<Option<bool>> {
        match self.given.iter().find(|(given, ..)| *given == name) {
            None => Ok(None),
            Some((.., None)) => Ok(Some(true)),
            Some((.., Some(word))) => match word.value.to_ascii_lowercase().as_str() {
                "true" | "1" | "t" => Ok(Some(true)),
                "false" | "0" | "f" => Ok(Some(false)),
                other => Err(self.error(word.span, format!("`{name}` is `true` or `false`, not `{other}`"))),
            },
        }
    }

    /// Whether it can be written: what `readonly` and `rw` say, else `default`.
    fn writable(&self, default: bool) -> Parsed<bool> {
        let read_only = self.switch("readonly")?;
        let writable = self.switch("rw")?;
        Ok(writable
            .or(read_only.map(|read_only| !read_only))
            .unwrap_or(default))
    }

    fn number(&self, name: &str, radix: u32) -> Parsed<Option<u32>> {
        let Some(word) = self.text(name)? else {
            return Ok(None);
        };
        let largest = if radix == 8 { 0o7777 } else { i32::MAX as u32 };
        match u32::from_str_radix(&word.value, radix) {
            Ok(number) if number <= largest && !word.value.starts_with('+') => Ok(Some(number)),
            _ => {
                let error = self.error(word.span, format!("`{}` is not a {name}", word.value));
                Err(help(
                    error,
                    match radix {
                        8 => "use octal digits such as `0755`".to_owned(),
                        _ => "use a number: names are not looked up here".to_owned(),
                    },
                ))
            }
        }
    }

    fn permissions(&self) -> Parsed<Permissions> {
        Ok(Permissions {
            mode: self.number("mode", 8)?,
            uid: self.number("uid", 10)?,
            gid: self.number("gid", 10)?,
        })
    }

    fn optional_target(&self) -> Parsed<Option<String>> {
        let Some(word) = self.text("target")? else {
            return Ok(None);
        };
        match crate::lower::join("", &word.value).as_str() {
            "/" if word.value.starts_with('/') => Err(self.error(
                word.span,
                format!("`{}` cannot be the target of a mount", word.value),
            )),
            _ => Ok(Some(word.value)),
        }
    }

    fn target(&self) -> Parsed<String> {
        let error = || {
            let error = self.error(
                self.option.span,
                format!("a mount of type {} needs a target", self.kind),
            );
            help(error, "add `target=PATH`".to_owned())
        };
        self.optional_target()?.ok_or_else(error)
    }

    fn bind(&mut self) -> Parsed<MountKind> {
        Ok(MountKind::Bind {
            target: self.target()?,
            source: self.text("source")?,
            writable: self.writable(false)?,
        })
    }

    fn cache(&mut self) -> Parsed<MountKind> {
        let sharing = match self.text("sharing")? {
            None => Sharing::default(),
            Some(word) => match word.value.to_ascii_lowercase().as_str() {
                "shared" => Sharing::Shared,
                "private" => Sharing::Private,
                "locked" => Sharing::Locked,
                other => {
                    let message = format!("`{other}` is not a way of sharing a cache");
                    return Err(self.one_of(&word, message, &SHARING));
                }
            },
        };
        Ok(MountKind::Cache {
            target: self.target()?,
            id: self.text("id")?.map(|word| word.value),
            source: self.text("source")?,
            sharing,
            read_only: !self.writable(true)?,
            permissions: self.permissions()?,
        })
    }

    fn tmpfs(&mut self) -> Parsed<MountKind> {
        let size = match self.text("size")? {
            None => None,
            Some(word) => Some(size(&word.value).ok_or_else(|| {
                let error = self.error(word.span, format!("`{}` is not a size", word.value));
                help(error, "write bytes, or a number with k, m or g: `64m`".to_owned())
            })?),
        };
        Ok(MountKind::Tmpfs {
            target: self.target()?,
            size,
        })
    }

    fn secret(&mut self) -> Parsed<MountKind> {
        let target = self.optional_target()?;
        let (id, source) = (self.text("id")?, self.text("source")?);
        if let (Some(_), Some(source)) = (&id, &source) {
            return Err(self.error(
                source.span,
                "`source` is another name of `id`: give one".to_owned(),
            ));
        }
        let base = || {
            let target = target.as_deref()?;
            Some(target.trim_end_matches('/').rsplit('/').next()?.to_owned())
        };
        let Some(id) = id.or(source).map(|word| word.value).or_else(base) else {
            let error = self.error(self.option.span, "a mount of type secret needs an id".to_owned());
            return Err(help(
                error,
                "add `id=NAME`, the NAME of `--secret id=NAME,src=FILE`".to_owned(),
            ));
        };
        let env = self.text("env")?.map(|word| word.value);
        let own = || format!("/run/secrets/{}", id.rsplit('/').next().unwrap_or(&id));
        Ok(MountKind::Secret {
            target: match (&target, &env) {
                (None, Some(_)) => None,
                (None, None) => Some(own()),
                (Some(_), _) => target,
            },
            id,
            env,
            required: self.switch("required")?.unwrap_or(false),
            permissions: self.permissions()?,
        })
    }

    fn ssh(&mut self) -> Parsed<MountKind> {
        Ok(MountKind::Ssh {
            id: self
                .text("id")?
                .map_or_else(|| "default".to_owned(), |word| word.value),
            target: self.optional_target()?,
            required: self.switch("required")?.unwrap_or(false),
            permissions: self.permissions()?,
        })
    }
}

fn help(mut diagnostic: Box<Diagnostic>, text: String) -> Box<Diagnostic> {
    diagnostic.help = Some(text);
    diagnostic
}

/// Bytes, or a number with a unit of 1024: `64m`.
fn size(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
