//! `--log-driver` and `--log-opt`: what is valid, and what it comes to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::Rotation;
use crate::model::Definition;
use crate::{ContainerError, Result};

/// Options of every driver but `none`.
const COMMON: &[&str] = &["mode", "max-buffer-size"];
const ROTATION: &[&str] = &["max-size", "max-file", "compress"];
const DETAILS: &[&str] = &["labels", "labels-regex", "env", "env-regex", "tag"];
const CACHE: &[&str] = &[
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];

/// Drivers of Docker's that need a service of their own.
const FOREIGN: &[&str] = &[
    "syslog", "gelf", "fluentd", "awslogs", "splunk", "gcplogs", "etwlogs",
];

/// Bytes that wait for a log that cannot be written, with `mode=non-blocking`.
const BUFFER: usize = 1 << 20;

/// Where a container's output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// `json-file`, `local`, `journald` or `none`.
    pub driver: String,
    /// What `--log-opt` said.
    pub options: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            driver: "json-file".to_owned(),
            options: BTreeMap::new(),
        }
    }
}

/// Whose log it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) image_id: &'a str,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(definition: &'a Definition, name: &'a str) -> Self {
        Self {
            id: &definition.id,
            name,
            image: &definition.image,
            image_id: &definition.image_id,
        }
    }
}

impl LogConfig {
    /// Checks driver and options; errors are in Docker's words.
    pub fn new(driver: Option<&str>, options: BTreeMap<String, String>) -> Result<Self> {
        let driver = driver.filter(|name| !name.is_empty()).unwrap_or("json-file");
        let config = Self {
            driver: driver.to_owned(),
            options,
        };
        let known: &[&[&str]] = match driver {
            "json-file" => &[COMMON, ROTATION, DETAILS],
            "local" => &[COMMON, ROTATION],
            "journald" => &[COMMON, DETAILS, CACHE],
            "none" if config.options.is_empty() => return Ok(config),
            "none" => return Err(wrong("invalid logging opts for driver none")),
            other if FOREIGN.contains(&other) => {
                return Err(wrong(format!(
                    "log driver `{other}` is not supported: use json-file, local, journald or none"
                )));
            }
            other => {
                return Err(wrong(format!(
                    "error looking up logging plugin {other}: plugin \"{other}\" not found"
                )));
            }
        };
        if let Some(option) = config
            .options
            .keys()
            .find(|name| !known.iter().any(|group| group.contains(&name.as_str())))
        {
            return Err(wrong(format!(
                "unknown log opt '{option}' for {driver} log driver"
            )));
        }
        config.buffer()?;
        config.rotation()?;
        config.patterns()?;
        // The names in a tag do not depend on the container.
        config.tag(&Subject {
            id: &"0".repeat(64),
            name: "",
            image: "",
            image_id: "",
        })?;
        Ok(config)
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// Returns how many bytes may wait while the program goes on; None when the program waits.
    pub(crate) fn buffer(&self) -> Result<Option<usize>> {
        let size = self.option("max-buffer-size");
        match self.option("mode") {
            None | Some("blocking") if size.is_some() => Err(wrong(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            )),
            None | Some("blocking") => Ok(None),
            Some("non-blocking") => Ok(Some(match size {
                Some(text) => usize::try_from(size_of(text, 1024)?).unwrap_or(usize::MAX),
                None => BUFFER,
            })),
            Some(other) => Err(wrong(format!("logger: logging mode not supported: {other}"))),
        }
    }

    /// Returns how the files are rotated; None when there are none.
    pub(crate) fn rotation(&self) -> Result<Option<Rotation>> {
        let (prefix, default) = match self.driver.as_str() {
            "json-file" => (
                "",
                Rotation {
                    size: None,
                    files: 1,
                    compress: false,
                },
            ),
            "local" | "journald" => (
                if self.driver == "local" { "" } else { "cache-" },
                Rotation {
                    size: Some(20_000_000),
                    files: 5,
                    compress: true,
                },
            ),
            _ => return Ok(None),
        };
        if self.flag("cache-disabled")?.unwrap_or(false) {
            return Ok(None);
        }
        let option = |name: &str| self.option(&format!("{prefix}{name}"));
        let size = match option("max-size") {
            Some(text) => Some(size_of(text, 1000)?),
            None => default.size,
        };
        let files = match option("max-file").map(str::parse::<u32>) {
            None => default.files,
            Some(Ok(0)) => return Err(wrong("max-file cannot be less than 1")),
            Some(Ok(files)) => files,
            Some(Err(error)) => return Err(wrong(format!("invalid max-file: {error}"))),
        };
        let asked = self.flag(&format!("{prefix}compress"))?;
        if asked == Some(true) && (files < 2 || size.is_none()) {
            return Err(wrong(
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ));
        }
        let compress = asked.unwrap_or(default.compress) && files > 1;
        Ok(Some(Rotation {
            size,
            files,
            compress,
        }))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.option(name) {
            None => Ok(None),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(Some(true)),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(Some(false)),
            Some(other) => Err(wrong(format!("invalid value '{other}' for log opt '{name}'"))),
        }
    }

    /// Returns the patterns of `labels-regex` and `env-regex`.
    fn patterns(&self) -> Result<[Option<regex::Regex>; 2]> {
        let pattern = |name| {
            self.option(name)
                .map(regex::Regex::new)
                .transpose()
                .map_err(|error| wrong(format!("invalid {name}: {error}")))
        };
        Ok([pattern("labels-regex")?, pattern("env-regex")?])
    }

    /// Returns what is kept beside each line: chosen labels and variables, and the tag if one was asked for.
    pub(crate) fn attributes(
        &self,
        definition: &Definition,
        subject: &Subject<'_>,
    ) -> Result<BTreeMap<String, String>> {
        let [label_pattern, variable_pattern] = self.patterns()?;
        let chosen = |option: &str, pattern: &Option<regex::Regex>, name: &str| {
            let listed = self
                .option(option)
                .is_some_and(|list| list.split(',').any(|known| known == name));
            listed || pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
        };
        let labels = definition
            .labels
            .iter()
            .filter(|(name, _)| chosen("labels", &label_pattern, name))
            .map(|(name, value)| (name.clone(), value.clone()));
        let variables = definition
            .spec
            .env
            .iter()
            .filter_map(|entry| entry.split_once('='))
            .filter(|(name, _)| chosen("env", &variable_pattern, name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut attributes: BTreeMap<_, _> = labels.chain(variables).collect();
        if self.driver == "json-file" && self.option("tag").is_some() {
            attributes.insert("tag".to_owned(), self.tag(subject)?);
        }
        Ok(attributes)
    }

    /// Returns the tag: a template with a container's names, its short id by default.
    pub(crate) fn tag(&self, subject: &Subject<'_>) -> Result<String> {
        let mut text = String::new();
        let mut rest = self.option("tag").unwrap_or("{{.ID}}");
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(wrong("invalid tag: a `{{` is not closed"));
            };
            text.push_str(before);
            let id = subject
                .image_id
                .strip_prefix("sha256:")
                .unwrap_or(subject.image_id);
            text.push_str(match name.trim() {
                ".ID" => &subject.id[..12],
                ".FullID" => subject.id,
                ".Name" => subject.name,
                ".ImageID" => &id[..id.len().min(12)],
                ".ImageFullID" => subject.image_id,
                ".ImageName" => subject.image,
                ".DaemonName" => "plimsoll",
                other => return Err(wrong(format!("invalid tag: nothing is called `{other}`"))),
            });
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }
}

fn wrong(text: impl Into<String>) -> ContainerError {
    ContainerError::Option(text.into())
}

/// `10m`, `1.5g`, with powers of `base`: Docker reads sizes of files by 1000, of memory by 1024.
fn size_of(text: &str, base: u64) -> Result<u64> {
    let invalid = || wrong(format!("invalid size: '{text}'"));
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let power = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(invalid()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| invalid())?;
    if !number.is_finite() || number < 0.0 {
        return Err(invalid());
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a limit, rounded to a byte"
    )]
    let bytes = (number * base.pow(power) as f64) as u64;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: &str, options: &[(&str, &str)]) -> Result<LogConfig> {
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        LogConfig::new(Some(driver), options.collect())
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        for (driver, options, words) in [
            (
                "nope",
                &[][..],
                "error looking up logging plugin nope: plugin \"nope\" not found",
            ),
            ("syslog", &[], "is not supported: use json-file"),
            (
                "json-file",
                &[("x", "y")],
                "unknown log opt 'x' for json-file log driver",
            ),
            (
                "local",
                &[("tag", "y")],
                "unknown log opt 'tag' for local log driver",
            ),
            ("none", &[("mode", "x")], "invalid logging opts for driver none"),
            (
                "json-file",
                &[("compress", "true")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            ("json-file", &[("max-size", "z")], "invalid size: 'z'"),
            (
                "json-file",
                &[("max-file", "0")],
                "max-file cannot be less than 1",
            ),
            ("json-file", &[("mode", "x")], "logging mode not supported: x"),
            (
                "json-file",
                &[("max-buffer-size", "1m")],
                "max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            ("journald", &[("tag", "{{.Nope}}")], "nothing is called `.Nope`"),
            ("journald", &[("labels-regex", "(")], "invalid labels-regex"),
        ] {
            let error = config(driver, options).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn options_come_to_limits() {
        let rotation = |driver, options| config(driver, options).unwrap().rotation().unwrap();
        let files = |size, files, compress| {
            Some(Rotation {
                size,
                files,
                compress,
            })
        };
        assert_eq!(rotation("json-file", &[]), files(None, 1, false));
        assert_eq!(
            rotation(
                "json-file",
                &[("max-size", "10m"), ("max-file", "3"), ("compress", "true")]
            ),
            files(Some(10_000_000), 3, true)
        );
        assert_eq!(rotation("local", &[]), files(Some(20_000_000), 5, true));
        assert_eq!(
            rotation("local", &[("max-file", "1")]),
            files(Some(20_000_000), 1, false)
        );
        assert_eq!(
            rotation("journald", &[("cache-max-file", "2")]),
            files(Some(20_000_000), 2, true)
        );
        assert_eq!(rotation("journald", &[("cache-disabled", "true")]), None);
        assert_eq!(rotation("none", &[]), None);
        let buffer = |options| config("json-file", options).unwrap().buffer().unwrap();
        assert_eq!(buffer(&[]), None);
        assert_eq!(buffer(&[("mode", "non-blocking")]), Some(1 << 20));
        assert_eq!(
            buffer(&[("mode", "non-blocking"), ("max-buffer-size", "4k")]),
            Some(4096)
        );
    }

    #[test]
    fn a_tag_names_the_container() {
        let id = "0123456789abcdef".repeat(4);
        let subject = Subject {
            id: &id,
            name: "web",
            image: "busybox:1",
            image_id: "sha256:fedcba98765432100123",
        };
        let tag = |text| {
            config("journald", &[("tag", text)])
                .unwrap()
                .tag(&subject)
                .unwrap()
        };
        assert_eq!(tag("{{.Name}}/{{ .ID }}!"), "web/0123456789ab!");
        assert_eq!(tag("{{.ImageName}} {{.ImageID}}"), "busybox:1 fedcba987654");
        assert_eq!(tag(""), "0123456789ab");
    }
}
