//! What the user has to know: warnings and refusals, each with the line it is about.

use std::cell::RefCell;

use plimsoll_compose_file::{Node, Place, Project};
use plimsoll_diagnostics::{Diagnostic, Severity};

/// Collects what is found on the way.
pub(crate) struct Notes<'a> {
    project: &'a Project,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(project: &'a Project) -> Self {
        Self {
            project,
            found: RefCell::default(),
        }
    }

    /// Something that is not the same in Kubernetes.
    pub(crate) fn warn(&self, path: &[&str], message: impl Into<String>) {
        let warning = self.place(path).warning("bridge-difference", message);
        self.found.borrow_mut().push(warning);
    }

    /// As [`Notes::warn`], with what to do about it.
    pub(crate) fn advise(&self, path: &[&str], message: impl Into<String>, help: impl Into<String>) {
        let warning = self.place(path).warning("bridge-difference", message);
        self.found.borrow_mut().push(warning.with_help(help));
    }

    /// Something whose meaning would be lost.
    pub(crate) fn refuse(&self, path: &[&str], message: impl Into<String>, help: impl Into<String>) {
        let error = self.place(path).error("bridge-refused", message);
        self.found.borrow_mut().push(error.with_help(help));
    }

    /// The warnings, or all of it when something was refused.
    pub(crate) fn finish(self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let found = self.found.into_inner();
        match found.iter().any(|found| found.severity == Severity::Error) {
            true => Err(found),
            false => Ok(found),
        }
    }

    /// Where a path of keys was written, as far as it leads.
    fn place(&self, path: &[&str]) -> &Place {
        let mut place = &self.project.document.place;
        let mut node = &self.project.document;
        for key in path {
            let next = match node.entry(key) {
                Some(entry) => {
                    place = &entry.place;
                    Some(&entry.value)
                }
                None => item(node, key).inspect(|item| place = &item.place),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        place
    }
}

/// An item of a list, by its number.
fn item<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.items().get(key.parse::<usize>().ok()?)
}
