//! A document against the schema: what is wrong is said with its place, short forms become long ones, relative paths
//! absolute.

mod devices;
mod forms;
mod mounts;
mod ports;
mod words;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use plimsoll_diagnostics::{Diagnostic, Severity, nearest};

use crate::node::{Collected, Entry, Mark, Node, Scalar, ScalarKind, Value};
use crate::schema::{Field, Kind, find};

/// From where paths start.
#[derive(Clone, Debug)]
pub(crate) struct Base<'a> {
    /// The folder of the project, absolute.
    pub(crate) folder: &'a Utf8Path,
    /// What `~` stands for.
    pub(crate) home: Option<&'a str>,
    /// Relative paths stay as they are.
    pub(crate) keeps_paths: bool,
    /// `${}` stays as it is: nobody knows of what kind such a value will be.
    pub(crate) keeps_variables: bool,
    /// What is wrong with a value that had variables in it is not said.
    pub(crate) forgives: bool,
}

/// What is wrong with a value, and what is likely meant.
#[derive(Debug)]
struct Wrong {
    why: String,
    help: String,
}

impl Wrong {
    fn new(why: impl Into<String>, help: impl Into<String>) -> Self {
        let (why, help) = (why.into(), help.into());
        Self { why, help }
    }
}

/// Checks a document and brings it into its long form. What is wrong is added to `found`, and left out.
pub(crate) fn shape(
    node: Node,
    fields: &'static [Field],
    base: &Base<'_>,
    found: &mut Vec<Diagnostic>,
) -> Node {
    let mut shaper = Shaper {
        base,
        found,
        path: Vec::new(),
    };
    shaper.kind(node, Kind::Object(fields))
}

struct Shaper<'a, 'b> {
    base: &'a Base<'a>,
    found: &'b mut Vec<Diagnostic>,
    /// Keys down to the node in work.
    path: Vec<String>,
}

impl Shaper<'_, '_> {
    fn kind(&mut self, node: Node, kind: Kind) -> Node {
        if node.mark == Some(Mark::Reset) {
            return node;
        }
        if self.base.keeps_variables && has_variable(&node) && may_be_open(kind) {
            return node;
        }
        let mark = node.mark;
        let mut shaped = match kind {
            Kind::Any => node,
            Kind::Text => self.text(node),
            Kind::Scalar => self.scalar(node),
            Kind::Integer => self.number(node, "a whole number", |text| {
                whole(text).map(|number| number.to_string())
            }),
            Kind::Count => self.number(node, "a whole number from 0 on", |text| {
                let number = whole(text).filter(|number| *number >= 0);
                number.map(|number| number.to_string())
            }),
            Kind::Number => self.number(node, "a number", |text| {
                text.parse::<f64>().ok().map(|number| number.to_string())
            }),
            Kind::Boolean => self.boolean(node),
            Kind::Duration => self.duration(node),
            Kind::Size => self.size(node),
            Kind::Word(words) => self.word(node, words),
            Kind::Path => self.path(node),
            Kind::List(kind) => self.list(node, *kind),
            Kind::TextOrList => match &node.value {
                Value::Scalar(_) if !node.is_null() => {
                    let place = node.place.clone();
                    Node::new(Value::List(vec![self.text(node)]), &place)
                }
                _ => self.list(node, Kind::Text),
            },
            Kind::Addresses => {
                let mut list = self.kind(node, Kind::TextOrList);
                if let Value::List(items) = &mut list.value {
                    // What is left of an empty variable is no address.
                    items.retain(|item| item.as_text() != Some(""));
                }
                list
            }
            Kind::Map(Kind::Scalar) => self.options(node),
            Kind::Map(kind) => self.map(node, *kind),
            Kind::Object(fields) => self.object(node, fields),
            Kind::Either(first, second) => match &node.value {
                Value::Scalar(_) => self.kind(node, *first),
                _ => self.kind(node, *second),
            },
            Kind::Pairs => self.pairs(node),
            Kind::Form(form) => self.form(node, form),
        };
        shaped.mark = mark;
        shaped
    }

    /// Says what is wrong with a node, which then counts for nothing.
    fn wrong(&mut self, node: &Node, wanted: &str) -> Node {
        if self.forgives(node) {
            return nothing(node);
        }
        let is = match &node.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.kind() {
                ScalarKind::Null => "nothing",
                ScalarKind::Bool => "a truth value",
                ScalarKind::Int | ScalarKind::Float => "a number",
                ScalarKind::Text => "a text",
            },
        };
        let what = match self.path.is_empty() {
            true => "a compose file".to_owned(),
            false => format!("`{}`", self.name()),
        };
        let mut error = node
            .place
            .error("compose-type", format!("{what} must be {wanted}, not {is}"));
        error.help = came_to(node).or_else(|| Some(likely(node, wanted)));
        self.found.push(error);
        nothing(node)
    }

    /// Says what is wrong with a value of the right type, and what is likely meant.
    fn invalid(&mut self, node: &Node, why: impl std::fmt::Display, help: impl Into<String>) -> Node {
        if self.forgives(node) {
            return nothing(node);
        }
        let error = node
            .place
            .error("compose-value", format!("`{}`: {why}", self.name()));
        self.found
            .push(error.with_help(came_to(node).unwrap_or_else(|| help.into())));
        nothing(node)
    }

    /// Whether a value is wrong only because nobody knows its variables here.
    fn forgives(&self, node: &Node) -> bool {
        self.base.forgives && node.place.had_variables()
    }

    fn name(&self) -> String {
        self.path.join(".")
    }

    fn text(&mut self, node: Node) -> Node {
        match &node.value {
            Value::Scalar(scalar) if scalar.kind() == ScalarKind::Text => node,
            Value::Scalar(scalar) if scalar.kind() == ScalarKind::Null => node,
            _ => self.wrong(&node, "a text"),
        }
    }

    fn scalar(&mut self, node: Node) -> Node {
        match &node.value {
            Value::Scalar(scalar) if scalar.kind() == ScalarKind::Null => node,
            Value::Scalar(scalar) => {
                let text = scalar.go_text().unwrap_or_else(|| scalar.text.clone());
                self.tell_number(&node, &text);
                Node::text(text, &node.place)
            }
            _ => self.wrong(&node, "a text, a number or a truth value"),
        }
    }

    /// Says that a number is not the text it looks like.
    fn tell_number(&mut self, node: &Node, text: &str) {
        let written = node.as_text().unwrap_or_default();
        if written.eq_ignore_ascii_case(text) {
            return;
        }
        let message = format!(
            "`{}` is the number `{written}`, which is `{text}` as a text",
            self.name()
        );
        let warning = node.place.warning("compose-number", message);
        self.found
            .push(warning.with_help(format!("put it into quotes to keep it as it is: \"{written}\"")));
    }

    fn number(&mut self, node: Node, wanted: &str, read: impl Fn(&str) -> Option<String>) -> Node {
        let Value::Scalar(scalar) = &node.value else {
            return self.wrong(&node, wanted);
        };
        if node.is_null() {
            return node;
        }
        // A plain number has YAML's notations; in quotes, and from a variable, it is a decimal one.
        let text = scalar.go_text().unwrap_or_else(|| scalar.text.clone());
        match read(text.trim()) {
            Some(number) => Node::plain(number, &node.place),
            None => self.wrong(&node, wanted),
        }
    }

    /// As compose-go casts: what other YAML versions take for a truth value, too.
    fn boolean(&mut self, node: Node) -> Node {
        if node.is_null() {
            return node;
        }
        let written = node.as_text().unwrap_or_default();
        let value = match written.to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => "true",
            "false" | "n" | "no" | "off" => "false",
            _ => return self.wrong(&node, "`true` or `false`"),
        };
        if !written.eq_ignore_ascii_case(value) {
            let message = format!("`{}` is `{written}`, which is a text in YAML 1.2", self.name());
            let warning = node.place.warning("compose-boolean", message);
            self.found.push(warning.with_help(format!("write `{value}`")));
        }
        Node::plain(value, &node.place)
    }

    fn duration(&mut self, node: Node) -> Node {
        // A number without a unit is the likely mistake here, not one without quotes.
        let is_number = matches!(&node.value, Value::Scalar(scalar) if matches!(scalar.kind(), ScalarKind::Int | ScalarKind::Float));
        let node = if is_number { node } else { self.text(node) };
        let Some(text) = node
            .as_text()
            .filter(|text| is_number || duration(text).is_none())
        else {
            return node;
        };
        let seconds = format!("{}s", text.trim());
        let help = match duration(&seconds) {
            Some(_) => format!("did you mean `{seconds}`?"),
            None => "units are us, ms, s, m, h, d and w, without blanks".to_owned(),
        };
        self.invalid(&node, "not a duration: it is written as `1m30s`", help)
    }

    fn size(&mut self, node: Node) -> Node {
        if node.is_null() {
            return node;
        }
        let number = match &node.value {
            Value::Scalar(scalar) => scalar.go_text(),
            _ => None,
        };
        match number.as_deref().or(node.as_text()).map(bytes) {
            Some(Some(bytes)) => Node::text(bytes.to_string(), &node.place),
            Some(None) => {
                let help = "units are b, k, m, g, t and p, of 1024 each";
                self.invalid(
                    &node,
                    "not a size: it is a number of bytes, or such as `64m`",
                    help,
                )
            }
            None => self.wrong(&node, "a size"),
        }
    }

    fn word(&mut self, node: Node, words: &[&str]) -> Node {
        let node = self.text(node);
        match node.as_text() {
            Some(text) if !words.contains(&text) => {
                let why = format!("`{text}` is not one of {}", words.join(", "));
                let near = nearest(text, words.iter().copied());
                let help = near.map_or("leave the key out for its default".to_owned(), |near| {
                    format!("did you mean `{near}`?")
                });
                self.invalid(&node, why, help)
            }
            _ => node,
        }
    }

    fn path(&mut self, node: Node) -> Node {
        let node = self.text(node);
        match node.as_text() {
            Some(text) => Node::text(absolute(self.base, text), &node.place),
            None => node,
        }
    }

    fn list(&mut self, node: Node, kind: Kind) -> Node {
        if node.is_null() {
            return node;
        }
        let Value::List(items) = node.value else {
            return self.wrong(&node, "a list");
        };
        let items = items.into_iter().enumerate();
        let shaped = items.map(|(at, item)| {
            self.inside(at.to_string(), |shaper| match shaper.is_there(&item) {
                true => shaper.kind(item, kind),
                false => item,
            })
        });
        let shaped: Vec<Node> = shaped.filter(|item| !item.is_null()).collect();
        Node::new(Value::List(shaped), &node.place)
    }

    /// Whether there is anything behind the `-` of an item.
    fn is_there(&mut self, item: &Node) -> bool {
        let is_there = !item.is_null() || item.mark.is_some();
        if !is_there {
            let message = format!("`{}` is empty", self.name());
            let error = item.place.error("compose-type", message);
            self.found
                .push(error.with_help("write something after the `-`, or take it out"));
        }
        is_there
    }

    /// A mapping from names that the user gives: of services, networks, secrets.
    fn named(&mut self, node: &Node) {
        let is_name = |name: &str| {
            let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !name.is_empty() && name.bytes().all(ok)
        };
        for entry in node.entries().iter().filter(|entry| !is_name(&entry.key)) {
            let message = format!(
                "`{}` is no name: it has letters, digits, `.`, `_` and `-`",
                entry.key
            );
            let kept = |letter: &char| letter.is_ascii_alphanumeric() || "._-".contains(*letter);
            let near: String = entry.key.trim().replace(' ', "-").chars().filter(kept).collect();
            let error = entry.place.error("compose-name", message);
            self.found.push(match near.is_empty() {
                true => error.with_help("give it a name such as `web`"),
                false => error.with_help(format!("did you mean `{near}`?")),
            });
        }
    }

    /// Options with a name each: one without a value is an empty text.
    fn options(&mut self, node: Node) -> Node {
        let mut options = self.map(node, Kind::Scalar);
        for entry in options.entries_mut().into_iter().flatten() {
            if entry.value.is_null() && entry.value.mark.is_none() {
                entry.value = Node::text("", &entry.value.place);
            }
        }
        options
    }

    fn map(&mut self, node: Node, kind: Kind) -> Node {
        if self.path.len() == 1 {
            self.named(&node);
        }
        if node.is_null() {
            return node;
        }
        let Value::Map(entries) = node.value else {
            return self.wrong(&node, "a mapping");
        };
        let entries = entries.into_iter().map(|entry| self.entry(entry, kind)).collect();
        Node::new(Value::Map(entries), &node.place)
    }

    fn object(&mut self, node: Node, fields: &'static [Field]) -> Node {
        if node.is_null() {
            return node;
        }
        let Value::Map(entries) = node.value else {
            return self.wrong(&node, "a mapping");
        };
        let mut shaped = Vec::with_capacity(entries.len());
        for entry in entries {
            match find(fields, &entry.key) {
                Some(field) => shaped.push(self.entry(entry, field.kind)),
                None if entry.key.starts_with("x-") => shaped.push(entry),
                None => self.unknown(&entry, fields),
            }
        }
        Node::new(Value::Map(shaped), &node.place)
    }

    fn unknown(&mut self, entry: &Entry, fields: &[Field]) {
        let of = match self.path.is_empty() {
            true => String::new(),
            false => format!(" in `{}`", self.name()),
        };
        let error = entry
            .place
            .error("compose-key", format!("unknown key `{}`{of}", entry.key));
        let near = nearest(&entry.key, fields.iter().map(|field| field.name));
        // So files began before they had sections.
        let is_service = ["image", "build"]
            .iter()
            .any(|key| entry.value.get(key).is_some());
        if self.path.is_empty() && is_service {
            let help = format!(
                "put it below `services:`, with `{}:` two blanks to the right",
                entry.key
            );
            self.found.push(error.with_help(help));
            return;
        }
        self.found.push(match near {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error.with_help("keys of your own begin with `x-`"),
        });
    }

    fn entry(&mut self, entry: Entry, kind: Kind) -> Entry {
        let Entry { key, place, value } = entry;
        let value = self.inside(key.clone(), |shaper| shaper.kind(value, kind));
        Entry { key, place, value }
    }

    fn inside<T>(&mut self, key: String, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key);
        let done = work(self);
        self.path.pop();
        done
    }

    /// `K=V` lines, or a mapping.
    fn pairs(&mut self, node: Node) -> Node {
        let place = node.place.clone();
        // A name alone is the caller's value there, and an empty one elsewhere.
        let takes_values = matches!(
            self.path.last().map(String::as_str),
            Some("environment" | "args" | "ssh")
        );
        match node.value {
            Value::List(items) => {
                let mut map = Collected::new(&place);
                for (at, item) in items.into_iter().enumerate() {
                    if !self.inside(at.to_string(), |shaper| shaper.is_there(&item)) {
                        continue;
                    }
                    let item = self.scalar(item);
                    let Some(text) = item.as_text() else { continue };
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key, Node::text(value, &item.place)),
                        None if takes_values => (text, Node::plain("", &item.place)),
                        None => (text, Node::text("", &item.place)),
                    };
                    if takes_values && key.ends_with(char::is_whitespace) {
                        let why = format!("the name `{key}` ends with a blank");
                        let help = format!("did you mean `{}=`?", key.trim_end());
                        self.invalid(&item, why, help);
                        continue;
                    }
                    map.set(key, value);
                }
                map.into_node()
            }
            Value::Map(_) if takes_values => self.map(node, Kind::Scalar),
            Value::Map(_) => self.options(node),
            Value::Scalar(_) if node.is_null() => node,
            Value::Scalar(_) => self.wrong(&node, "a list or a mapping"),
        }
    }
}

/// Whether there is a `${}` in a value, not only dollar signs that are written twice.
pub(crate) fn has_variable(node: &Node) -> bool {
    node.as_text()
        .is_some_and(|text| text.replace("$$", "").contains('$'))
}

/// Whether a value of that kind can wait for its variables. Names, paths and what is made of pairs stand as they are.
fn may_be_open(kind: Kind) -> bool {
    use crate::schema::Form;
    match kind {
        Kind::Integer
        | Kind::Count
        | Kind::Number
        | Kind::Boolean
        | Kind::Duration
        | Kind::Size
        | Kind::Word(_) => true,
        Kind::Either(first, _) => may_be_open(*first),
        Kind::Form(form) => matches!(
            form,
            Form::Command | Form::Count | Form::Gpus | Form::HealthTest | Form::Mode | Form::PullPolicy
        ),
        _ => false,
    }
}

/// What a variable came to where that is what is wrong.
fn came_to(node: &Node) -> Option<String> {
    let Value::Scalar(scalar) = &node.value else {
        return None;
    };
    let written = node.place.source.slice(node.place.span);
    let has_variable = written.contains('$') && !written.contains("$$") && !scalar.plain;
    has_variable.then(|| match scalar.text.as_str() {
        "" => "the variable is empty: a default is written as `${NAME:-default}`".to_owned(),
        text => format!("with its variables it came to `{text}`"),
    })
}

/// How a value of the wrong type is likely meant.
fn likely(node: &Node, wanted: &str) -> String {
    let flat = |text: &str| text.chars().count() < 60 && !text.contains('\n');
    match (&node.value, wanted) {
        (Value::Scalar(scalar), "a text") if !node.is_null() => {
            format!("put it into quotes: \"{}\"", scalar.text)
        }
        (Value::Scalar(scalar), _)
            if !node.is_null() && wanted.starts_with("a list") && flat(&scalar.text) =>
        {
            format!("write it as a list: [\"{}\"]", scalar.text)
        }
        (Value::Scalar(scalar), "a list or a mapping") if flat(&scalar.text) => {
            format!("write it as a list: [\"{}\"]", scalar.text)
        }
        (Value::List(_), "a mapping") => "it is written as `KEY: VALUE` lines, without `- `".to_owned(),
        (Value::List(items), "a text") if items.len() == 1 => "write it without `- ` or brackets".to_owned(),
        (Value::Scalar(_), "a mapping") => "it is written as `KEY: VALUE` lines below it".to_owned(),
        (Value::Scalar(scalar), "`true` or `false`") if scalar.text == "1" => "write `true`".to_owned(),
        (Value::Scalar(scalar), "`true` or `false`") if scalar.text == "0" => "write `false`".to_owned(),
        _ => format!("write {wanted} there, or leave the key out for its default"),
    }
}

fn nothing(node: &Node) -> Node {
    Node::new(
        Value::Scalar(Scalar {
            text: String::new(),
            plain: true,
        }),
        &node.place,
    )
}

/// A whole number in decimal digits, also one that is written with an exponent.
fn whole(text: &str) -> Option<i64> {
    let of_float = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
    };
    text.parse::<i64>()
        .ok()
        .or_else(|| of_float(text).map(|number| number as i64))
}

/// Whether there are errors, not only warnings.
pub(crate) fn has_errors(found: &[Diagnostic]) -> bool {
    found
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// A path as the program sees it: `~` and relative ones from the folder of the project.
pub(crate) fn absolute(base: &Base<'_>, path: &str) -> String {
    if base.keeps_paths {
        return path.to_owned();
    }
    if path.starts_with('/') {
        return path.to_owned();
    }
    // As the reference: `~name` is a file in the home of the caller, too, and never the home of another.
    let home = base.home.filter(|_| path.starts_with('~'));
    let path = match home {
        Some(home) => Utf8Path::new(home).join(path[1..].trim_start_matches('/')),
        None => base.folder.join(path),
    };
    let mut clean = Utf8PathBuf::new();
    for component in path.components() {
        match component {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => drop(clean.pop()),
            component => clean.push(component),
        }
    }
    clean.into_string()
}

/// Whether a text names something that is not of this machine.
pub(crate) fn is_remote(text: &str) -> bool {
    text.contains("://") || text.starts_with("git@") || text.starts_with("github.com/")
}

/// Nanoseconds of a Go duration; compose knows days and weeks, too.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                "d" => 86400e9,
                "w" => 604_800e9,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty() && total < 9.2e18).then_some((sign * total) as i64)
}

/// Bytes of a size as docker/go-units reads it: powers of 1024, -1 for unlimited.
pub(crate) fn bytes(text: &str) -> Option<i64> {
    let text = text.trim();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.' && letter != '-')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim().to_ascii_lowercase();
    let power = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * 1024_f64.powi(power);
    (bytes.abs() < 9.2e18).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("1m30s"), Some(90_000_000_000));
        assert_eq!(duration("1.5h"), Some(5_400_000_000_000));
        assert_eq!(duration("200ms"), Some(200_000_000));
        for text in ["", "10", "1x", "s", "1m30"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("1.5 GiB"), Some(3 << 29));
        assert_eq!(bytes("100"), Some(100));
        assert_eq!(bytes("-1"), Some(-1));
        assert_eq!(bytes("64x"), None);
    }

    #[test]
    fn paths_are_made_absolute() {
        let base = Base {
            folder: Utf8Path::new("/work/app"),
            home: Some("/home/me"),
            keeps_paths: false,
            keeps_variables: false,
            forgives: false,
        };
        for (path, expected) in [
            (".", "/work/app"),
            ("./x/../y", "/work/app/y"),
            ("../z", "/work/z"),
            ("~/k", "/home/me/k"),
            ("~", "/home/me"),
            ("~root/k", "/home/me/root/k"),
            ("/etc/", "/etc/"),
        ] {
            assert_eq!(absolute(&base, path), expected, "{path}");
        }
    }
}
