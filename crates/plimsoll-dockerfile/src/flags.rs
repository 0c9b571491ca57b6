//! `--name=value` words directly after the keyword.

use plimsoll_diagnostics::Span;

use crate::fault::{Fault, Result};
use crate::line::Slice;
use crate::tree::Word;
use plimsoll_diagnostics::nearest;

/// What a flag wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `true` or `false`.
    Switch,
    /// One value, once.
    Value,
    /// One value, any number of times.
    Values,
}

/// The flags an instruction knows.
pub(crate) type Known = [(&'static str, Takes)];

/// The flags of an instruction as they were written.
#[derive(Debug)]
pub(crate) struct Flags {
    given: Vec<Flag>,
}

#[derive(Debug)]
struct Flag {
    name: String,
    value: Option<Word>,
    span: Span,
}

impl Flags {
    /// Takes the flags off the beginning of the arguments; a lone `--` ends them.
    pub(crate) fn split(arguments: Slice<'_>) -> (Self, Slice<'_>) {
        let mut given = Vec::new();
        let mut rest = arguments.trim_start();
        while rest.as_str().starts_with("--") {
            let (flag, length) = Flag::read(rest);
            rest = rest.after(length).trim_start();
            if flag.name.is_empty() && flag.value.is_none() {
                break;
            }
            given.push(flag);
        }
        (Self { given }, rest.trim())
    }

    /// Refuses unknown flags, repeated ones, and missing or wrong values.
    pub(crate) fn check(&self, keyword: &str, known: &Known) -> Result<()> {
        for (index, flag) in self.given.iter().enumerate() {
            let Some((_, takes)) = known.iter().find(|(name, _)| *name == flag.name) else {
                return Err(flag.unknown(keyword, known));
            };
            flag.check_value(*takes)?;
            let repeated = self.given[..index]
                .iter()
                .any(|earlier| earlier.name == flag.name);
            if repeated && *takes != Takes::Values {
                let message = format!("flag `--{}` is given twice", flag.name);
                return Err(Fault::error("duplicate-flag", flag.span, message));
            }
        }
        Ok(())
    }

    /// The value of a flag, unless it is absent or empty.
    pub(crate) fn value(&self, name: &str) -> Option<Word> {
        self.values(name).pop().filter(|word| !word.value.is_empty())
    }

    pub(crate) fn values(&self, name: &str) -> Vec<Word> {
        let given = self.given.iter().filter(|flag| flag.name == name);
        given.filter_map(|flag| flag.value.clone()).collect()
    }

    /// What a switch says, when it is there.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        let flag = self.given.iter().find(|flag| flag.name == name)?;
        Some(
            flag.value
                .as_ref()
                .is_none_or(|value| value.value.eq_ignore_ascii_case("true")),
        )
    }
}

impl Flag {
    /// Reads one flag; returns its length in the text too. Quotes hold a value together and are
    /// removed; a backslash takes the next character as it is, whatever `# escape=` says.
    fn read(text: Slice<'_>) -> (Self, usize) {
        let mut name = String::new();
        let mut value: Option<(usize, String)> = None;
        let mut quote = None;
        let mut length = text.as_str().len();
        let mut rest = text.as_str().char_indices();
        while let Some((at, c)) = rest.next() {
            let plain = match (c, quote) {
                (c, None) if c.is_whitespace() => {
                    length = at;
                    break;
                }
                ('=', None) if value.is_none() => {
                    value = Some((at + 1, String::new()));
                    continue;
                }
                ('\'' | '"', None) => {
                    quote = Some(c);
                    continue;
                }
                (c, Some(open)) if c == open => {
                    quote = None;
                    continue;
                }
                ('\\', _) => rest.next().map(|(_, escaped)| escaped),
                (c, _) => Some(c),
            };
            value.as_mut().map_or(&mut name, |(_, value)| value).extend(plain);
        }
        let name = name.strip_prefix("--").unwrap_or_default().to_owned();
        let value = value.map(|(start, value)| text.part(start, length).spanned(value));
        (
            Self {
                name,
                value,
                span: text.part(0, length).span(),
            },
            length,
        )
    }

    fn unknown(&self, keyword: &str, known: &Known) -> Fault {
        let names = known.iter().map(|(name, _)| *name);
        let fault = Fault::error(
            "unknown-flag",
            self.span,
            format!("unknown flag `--{}` for {keyword}", self.name),
        );
        if let Some(name) = nearest(&self.name, names.clone()) {
            return fault.help(format!("did you mean `--{name}`?"));
        }
        let names: Vec<String> = names.map(|name| format!("`--{name}`")).collect();
        fault.help(match names.is_empty() {
            true => format!("{keyword} takes no flags"),
            false => format!("{keyword} takes {}", names.join(", ")),
        })
    }

    fn check_value(&self, takes: Takes) -> Result<()> {
        let name = &self.name;
        match (takes, &self.value) {
            (Takes::Value | Takes::Values, None) => {
                Err(
                    Fault::error("flag-value", self.span, format!("flag `--{name}` needs a value"))
                        .help(format!("write `--{name}=VALUE`, without blanks around the `=`")),
                )
            }
            (Takes::Switch, Some(value))
                if !["true", "false"]
                    .iter()
                    .any(|word| value.value.eq_ignore_ascii_case(word)) =>
            {
                let message = format!("flag `--{name}` is `true` or `false`, not `{}`", value.value);
                Err(Fault::error("flag-value", self.span, message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Lines;

    const KNOWN: &Known = &[
        ("from", Takes::Value),
        ("chown", Takes::Value),
        ("exclude", Takes::Values),
        ("link", Takes::Switch),
    ];

    fn split<T>(text: &str, then: impl Fn(Flags, &str) -> T) -> T {
        let mut lines = Lines::new(text);
        let first = lines.next().unwrap();
        let joined = lines.join(first, '\\');
        let (flags, rest) = Flags::split(joined.line.whole());
        then(flags, rest.as_str())
    }

    fn fault(text: &str) -> (String, Option<String>) {
        let fault = split(text, |flags, _| flags.check("COPY", KNOWN)).unwrap_err();
        (fault.message, fault.help)
    }

    #[test]
    fn flags_come_first() {
        split(
            "--from=a --exclude=x --link --exclude='y z' b --from=c",
            |flags, rest| {
                assert!(flags.check("COPY", KNOWN).is_ok());
                assert_eq!(rest, "b --from=c");
                assert_eq!(flags.value("from").unwrap().value, "a");
                assert_eq!(flags.value("from").unwrap().span, Span::new(7, 8));
                let exclude: Vec<_> = flags
                    .values("exclude")
                    .into_iter()
                    .map(|word| word.value)
                    .collect();
                assert_eq!(exclude, ["x", "y z"]);
                assert_eq!(flags.switch("link"), Some(true));
                assert_eq!(flags.switch("parents"), None);
            },
        );
        split("--link=False --chown= -- --from=a", |flags, rest| {
            assert_eq!(rest, "--from=a");
            assert_eq!(flags.switch("link"), Some(false));
            assert!(flags.value("chown").is_none());
        });
        split(" ", |flags, rest| {
            assert!(flags.given.is_empty() && rest.is_empty())
        });
    }

    #[test]
    fn wrong_flags_are_refused() {
        assert_eq!(
            fault("--form=a b c"),
            (
                "unknown flag `--form` for COPY".into(),
                Some("did you mean `--from`?".into())
            )
        );
        assert_eq!(
            fault("--user=a b c").1.unwrap(),
            "COPY takes `--from`, `--chown`, `--exclude`, `--link`"
        );
        assert_eq!(fault("--from=a --from=b c d").0, "flag `--from` is given twice");
        assert_eq!(fault("--from a b").0, "flag `--from` needs a value");
        assert_eq!(
            fault("--link=yes a b").0,
            "flag `--link` is `true` or `false`, not `yes`"
        );
    }
}
