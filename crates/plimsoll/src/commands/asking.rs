//! What the prune commands share: the question, filters, sizes and times.

use std::io::{BufRead as _, Write as _};

use jiff::Timestamp;
use plimsoll_store::Store;

use super::logs::moment;
use crate::command_error::CommandError;
use crate::context::Context;

/// Asks on stderr unless `force`; what is not agreed to ends the command as in Docker, with exit code 1.
pub(crate) fn confirm(
    context: &Context,
    force: bool,
    warning: &str,
    command: &str,
) -> Result<(), CommandError> {
    if force {
        return Ok(());
    }
    write!(
        context.stderr(),
        "WARNING! {warning}\nAre you sure you want to continue? [y/N] "
    )?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CommandError::user(format!("{command} has been cancelled")).hint("`--force` does not ask"))
}

/// Notes for `events` that unused things of a kind were removed, and how many bytes came free.
pub(crate) fn pruned(store: &Store, kind: &str, bytes: u64) {
    let reclaimed = ("reclaimed".to_owned(), bytes.to_string());
    // Docker names nobody.
    store.events().record(kind, "prune", "", [reclaimed].into());
}

/// One `--filter`: `key=value` or `key!=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) key: String,
    pub(crate) value: String,
    /// Written with `!=`.
    pub(crate) negated: bool,
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| "a filter is `KEY=VALUE`".to_owned())?;
        let (key, negated) = key.strip_suffix('!').map_or((key, false), |key| (key, true));
        if key.ends_with('~') {
            return Err("regular expressions (`~=`) are not supported; use `=` or `!=`".to_owned());
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
            negated,
        })
    }
}

impl Filter {
    /// The time that `until=` means, as the database has it.
    pub(crate) fn until(&self) -> Result<i64, CommandError> {
        let time = moment(&self.value, Timestamp::now())?;
        Ok(i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX))
    }

    pub(crate) fn unknown(&self, known: &[&str]) -> CommandError {
        let near = plimsoll_dockerfile::nearest(&self.key, known.iter().copied());
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("filters are {}", known.join(", ")),
        };
        CommandError::user(format!("invalid filter `{}`", self.key)).hint(hint)
    }

    /// Compares; true and false may be written as Go's ParseBool reads them.
    pub(crate) fn holds(&self, value: &str) -> bool {
        (self.value == value) != self.negated
    }

    /// Compares `KEY` or `KEY=VALUE` with labels.
    pub(crate) fn holds_among(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        let found = match self.value.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
            None => labels.contains_key(&self.value),
        };
        found != self.negated
    }

    pub(crate) fn holds_bool(&self, value: bool) -> bool {
        let wanted = matches!(self.value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True");
        (wanted == value) != self.negated
    }
}

/// `--keep-storage` and its like: a size as Docker reads it.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let bytes = super::container_options::bytes(text)?;
    u64::try_from(bytes).map_err(|_| "a size is not negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_compare() {
        let filter = |text: &str| text.parse::<Filter>().unwrap();
        assert!(filter("type=regular").holds("regular") && !filter("type!=regular").holds("regular"));
        assert!(filter("inuse=1").holds_bool(true) && filter("inuse!=true").holds_bool(false));
        assert!("type".parse::<Filter>().is_err() && "id~=x".parse::<Filter>().is_err());
    }
}
