//! `${}` in values: the eight forms of the [specification], nested to any depth that fits a limit.
//!
//! [specification]: https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md

/// Nested expressions; nobody writes more than three.
const MAX_DEPTH: usize = 32;

/// What came of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interpolated {
    /// The text with values in it.
    pub text: String,
    /// Variables that are not set and have no default.
    pub unset: Vec<String>,
}

/// Why a text cannot be interpolated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterpolationError {
    /// Not one of the forms; the expression.
    Format(String),
    /// `${NAME:?message}` of a variable that is not set.
    Required {
        /// The variable.
        name: String,
        /// What the file says about it.
        message: String,
    },
}

impl InterpolationError {
    /// The likely way out.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Format(expression) if !expression.ends_with('}') => {
                "the brace is not closed; a dollar sign itself is written as `$$`".to_owned()
            }
            Self::Format(_) => {
                "there are ${NAME}, ${NAME:-default}, ${NAME:?error} and ${NAME:+value}; a dollar sign itself is `$$`"
                    .to_owned()
            }
            Self::Required { name, .. } => format!("set `{name}` in the environment or in `.env`"),
        }
    }
}

impl std::fmt::Display for InterpolationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Format(expression) => write!(f, "invalid interpolation format: `{expression}`"),
            Self::Required { name, message } if message.is_empty() => {
                write!(f, "required variable `{name}` is missing a value")
            }
            Self::Required { name, message } => {
                write!(f, "required variable `{name}` is missing a value: {message}")
            }
        }
    }
}

/// Whether there is anything to do.
pub fn needs_interpolation(text: &str) -> bool {
    text.contains('$')
}

/// Puts the values of variables into a text; `$$` is a dollar sign.
pub fn interpolate(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Interpolated, InterpolationError> {
    let mut reader = Reader {
        rest: text,
        lookup,
        unset: Vec::new(),
    };
    let text = reader.text(false, 0)?;
    Ok(Interpolated {
        text,
        unset: reader.unset,
    })
}

/// The variables that a text names, and their defaults: what `config --variables` lists.
pub fn variables(text: &str) -> Vec<Variable> {
    let found = std::cell::RefCell::new(Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
            continue;
        }
        let braced = rest.strip_prefix('{');
        let body = braced.unwrap_or(rest);
        let name = name(body);
        if name.is_empty() {
            continue;
        }
        let operator = if braced.is_some() { &body[name.len()..] } else { "" };
        let tail = |prefix: &str| {
            operator
                .strip_prefix(prefix)
                .map(|tail| tail[..closing(tail)].to_owned())
        };
        found.borrow_mut().push(Variable {
            name: name.to_owned(),
            required: operator.starts_with(":?") || operator.starts_with('?'),
            default: tail(":-").or_else(|| tail("-")),
            alternative: tail(":+").or_else(|| tail("+")),
        });
        rest = &body[name.len()..];
    }
    found.into_inner()
}

/// One use of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Whether the file stops without it.
    pub required: bool,
    /// What stands for it when it is not set.
    pub default: Option<String>,
    /// What stands for it when it is set.
    pub alternative: Option<String>,
}

/// Where the brace ends that was opened before `text`.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'}' if depth == 0 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

struct Reader<'a> {
    rest: &'a str,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    unset: Vec<String>,
}

impl Reader<'_> {
    /// Reads up to the end, or up to the brace that closes an expression.
    fn text(&mut self, inside: bool, depth: usize) -> Result<String, InterpolationError> {
        let mut text = String::new();
        while let Some(letter) = self.rest.chars().next() {
            match letter {
                '}' if inside => return Ok(text),
                '$' => {
                    let value = self.expression(depth)?;
                    text.push_str(&value);
                }
                letter => {
                    text.push(letter);
                    self.rest = &self.rest[letter.len_utf8()..];
                }
            }
        }
        Ok(text)
    }

    fn expression(&mut self, depth: usize) -> Result<String, InterpolationError> {
        let whole = self.rest;
        self.rest = &self.rest[1..];
        if let Some(rest) = self.rest.strip_prefix('$') {
            self.rest = rest;
            return Ok("$".to_owned());
        }
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            return self.braced(whole, depth + 1);
        }
        let name = name(self.rest);
        // A dollar that starts no name stays.
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        self.rest = &self.rest[name.len()..];
        Ok(self.value(name))
    }

    fn braced(&mut self, whole: &str, depth: usize) -> Result<String, InterpolationError> {
        let wrong = || {
            let end = closing(&whole[2..]) + 2;
            InterpolationError::Format(whole[..(end + 1).min(whole.len())].to_owned())
        };
        let name = name(self.rest);
        if name.is_empty() || depth > MAX_DEPTH {
            return Err(wrong());
        }
        self.rest = &self.rest[name.len()..];
        let operator = [":-", ":?", ":+", "-", "?", "+"]
            .into_iter()
            .find(|operator| self.rest.starts_with(operator))
            .unwrap_or_default();
        self.rest = &self.rest[operator.len()..];
        let before = self.unset.len();
        let word = match operator {
            "" => String::new(),
            _ => self.text(true, depth)?,
        };
        self.rest = self.rest.strip_prefix('}').ok_or_else(wrong)?;
        let value = (self.lookup)(name);
        let there = value
            .as_ref()
            .is_some_and(|value| !operator.starts_with(':') || !value.is_empty());
        // What is not used is not missed.
        let used = match operator {
            ":+" | "+" => there,
            _ => !there,
        };
        if !used {
            self.unset.truncate(before);
        }
        match (operator, there) {
            ("", _) => Ok(self.value(name)),
            (":-" | "-", false) | (":+" | "+", true) => Ok(word),
            (":+" | "+", false) => Ok(String::new()),
            (":?" | "?", false) => Err(InterpolationError::Required {
                name: name.to_owned(),
                message: word,
            }),
            _ => Ok(value.unwrap_or_default()),
        }
    }

    fn value(&mut self, name: &str) -> String {
        let value = (self.lookup)(name);
        if value.is_none() {
            self.unset.push(name.to_owned());
        }
        value.unwrap_or_default()
    }
}

/// The name at the beginning of a text.
fn name(text: &str) -> &str {
    let starts = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    match starts {
        true => &text[..end.unwrap_or(text.len())],
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> String {
        let lookup = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        match interpolate(text, &lookup) {
            Ok(done) if done.unset.is_empty() => done.text,
            Ok(done) => format!("{} (unset: {})", done.text, done.unset.join(" ")),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn the_eight_forms() {
        for (text, expected) in [
            ("$SET ${SET}", "value value"),
            ("$NO", " (unset: NO)"),
            ("${EMPTY}", ""),
            ("${SET:-d} ${EMPTY:-d} ${NO:-d}", "value d d"),
            ("${SET-d} ${EMPTY-d} ${NO-d}", "value  d"),
            ("${SET:+x} ${EMPTY:+x} ${NO:+x}", "x  "),
            ("${SET+x} ${EMPTY+x} ${NO+x}", "x x "),
            ("${SET:?e} ${SET?e} ${EMPTY?e}", "value value "),
            (
                "${EMPTY:?it is needed}",
                "error: required variable `EMPTY` is missing a value: it is needed",
            ),
            ("${NO?}", "error: required variable `NO` is missing a value"),
        ] {
            assert_eq!(with(text), expected, "{text}");
        }
    }

    #[test]
    fn nested_and_escaped() {
        for (text, expected) in [
            ("${NO:-${EMPTY:-${SET}}}", "value"),
            ("${NO:-a${SET}b}", "avalueb"),
            (
                "${NO:?${SET} is not enough}",
                "error: required variable `NO` is missing a value: value is not enough",
            ),
            ("${SET:-$OTHER}", "value"),
            ("$$SET $${SET} 5$ $1 a$", "$SET ${SET} 5$ $1 a$"),
            ("${SET:-{}}", "value}"),
        ] {
            assert_eq!(with(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_form() {
        for text in ["${SET/a/b}", "${}", "${SET", "${1}", "${SET:=x}"] {
            assert!(
                with(text).starts_with("error: invalid interpolation format"),
                "{text}: {}",
                with(text)
            );
        }
        assert!(with(&("${NO:-".repeat(100) + &"}".repeat(100))).starts_with("error"));
    }

    #[test]
    fn variables_are_listed() {
        let found = variables("$A ${B:-x${C}} ${D:?no} $$E ${F+y}");
        let names: Vec<_> = found.iter().map(|variable| variable.name.as_str()).collect();
        assert_eq!(names, ["A", "B", "C", "D", "F"]);
        assert_eq!(found[1].default.as_deref(), Some("x${C}"));
        assert!(found[3].required);
        assert_eq!(found[4].alternative.as_deref(), Some("y"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[$:{}?+A-C-]{0,40}") {
            let _ = with(&text);
            let _ = variables(&text);
        }

        #[test]
        fn doubling_dollars_protects(text in "[ -~]{0,40}") {
            proptest::prop_assert_eq!(with(&text.replace('$', "$$")), text);
        }
    }
}
