//! The containers of a project, as their labels say.

use plimsoll_compose::labels::{NUMBER, ONE_OFF, PROJECT, SERVICE};
use plimsoll_container::{Container, Containers};

use super::Scope;
use crate::command_error::CommandError;

/// A container of a project.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) container: Container,
    pub(crate) service: String,
    pub(crate) number: u32,
    pub(crate) is_one_off: bool,
}

impl Member {
    /// A container that says what it is of.
    pub(crate) fn of(container: Container) -> Option<Self> {
        let labels = &container.definition.labels;
        let number = labels.get(NUMBER).and_then(|number| number.parse().ok());
        Some(Self {
            service: labels.get(SERVICE)?.clone(),
            number: number.unwrap_or(0),
            is_one_off: labels.get(ONE_OFF).is_some_and(|value| value == "True"),
            container,
        })
    }

    /// Its name without that of the project: `db-1`.
    pub(crate) fn short_name(&self, project: &str) -> &str {
        let name = self.container.name.as_str();
        let rest = name.strip_prefix(project).unwrap_or(name);
        rest.strip_prefix(['-', '_'])
            .filter(|rest| !rest.is_empty())
            .unwrap_or(name)
    }
}

/// Which containers of a project.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Which {
    /// Those that do not run, too.
    pub(crate) stopped: bool,
    /// Those of `run`, too.
    pub(crate) one_off: bool,
}

impl Which {
    /// All that runs, but for `run`.
    pub(crate) const RUNNING: Self = Self {
        stopped: false,
        one_off: false,
    };
    /// All that runs.
    pub(crate) const ALL_RUNNING: Self = Self {
        stopped: false,
        one_off: true,
    };
    /// All services, running or not.
    pub(crate) const SERVICES: Self = Self {
        stopped: true,
        one_off: false,
    };
    /// All there is.
    pub(crate) const ALL: Self = Self {
        stopped: true,
        one_off: true,
    };
}

impl Scope {
    /// The containers of these services, or of all, by name.
    pub(crate) fn members(
        &self,
        containers: &Containers,
        services: &[String],
        which: Which,
    ) -> Result<Vec<Member>, CommandError> {
        let mut members = Vec::new();
        for container in containers.labelled(PROJECT, &self.name)? {
            containers.revive(&container)?;
            let Some(member) = Member::of(container) else {
                continue;
            };
            let is_asked = services.is_empty() || services.contains(&member.service);
            let is_shown =
                (which.stopped || member.container.is_running()) && (which.one_off || !member.is_one_off);
            if is_asked && is_shown {
                members.push(member);
            }
        }
        members.sort_by(|one, other| natural(&one.container.name).cmp(&natural(&other.container.name)));
        Ok(members)
    }

    /// The container of a service, or the one of this number; 0 is the first.
    pub(crate) fn member(
        &self,
        containers: &Containers,
        service: &str,
        index: u32,
        which: Which,
    ) -> Result<Member, CommandError> {
        let found = self.members(containers, &[service.to_owned()], which)?;
        let mut fitting: Vec<Member> = found
            .into_iter()
            .filter(|member| index == 0 || member.number == index)
            .collect();
        fitting.sort_by_key(|member| (member.is_one_off, member.number));
        match fitting.into_iter().next() {
            Some(member) => Ok(member),
            None => Err(self.not_running(containers, service, index)?),
        }
    }

    fn not_running(
        &self,
        containers: &Containers,
        service: &str,
        index: u32,
    ) -> Result<CommandError, CommandError> {
        let number = match index {
            0 => String::new(),
            index => format!(" container #{index}"),
        };
        let error = CommandError::user(format!("service \"{service}\" is not running{number}"));
        let all = self.members(containers, &[], Which::ALL)?;
        let mut known: Vec<&str> = all.iter().map(|member| member.service.as_str()).collect();
        known.extend(self.services().unwrap_or_default());
        if known.contains(&service) {
            return Ok(error);
        }
        Ok(match plimsoll_dockerfile::nearest(service, known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        })
    }
}

/// A name for sorting: `web-10` comes after `web-9`.
fn natural(name: &str) -> (&str, u64, &str) {
    let end = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (end, name[end.len()..].parse().unwrap_or(0), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let mut names = ["web-10", "db-1", "web-9", "web"];
        names.sort_by(|one, other| natural(one).cmp(&natural(other)));
        assert_eq!(names, ["db-1", "web", "web-9", "web-10"]);
    }
}
