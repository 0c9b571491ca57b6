//! The checker: rules for Dockerfiles, build contexts, compose files and images.
//!
//! [`check`] is the door: a [`Workspace`](view::Workspace) of parsed things in, diagnostics out. Nothing here prints,
//! reads the environment, asks a store or a registry.
//!
//! # A new rule
//!
//! 1. One file, `rules/FAMILY/the_rule.rs`, whose `//!` comment is its manual page in Markdown: first one sentence that
//!    says what is wrong (it ends with a full stop), then the sections `## Why`, `## Bad`, `## Good`, each of the last
//!    two with a fenced example. Other tools' names are in its aliases and are added to the page by the generator.
//! 2. In it, `pub(super) const RULE: Rule = Rule::new("the-rule", Severity::Warning).aliases(&["DL3002"])
//!    .checks(&[Check::Dockerfile(check)]);` and the functions named there. [`Rule::off`] for those that look only when
//!    asked, [`Rule::options`] for what the settings may say ([`Checker::option`] reads it).
//! 3. One line with the file's name in the table `rules/FAMILY.rs`. Helpers of a family are modules beside the table:
//!    `mod apt;` above `family!`.
//!
//! Look at `rules/dockerfile/maintainer_deprecated.rs` and `rules/compose/compose_privileged.rs`.
//!
//! A function gets what it looks at and a [`Checker`]: `checker.report(Finding::new(&view.source, span, "what is wrong")
//! .help("the way out").fix(Fix::safe("what it does").replace(&view.source, span, "text")))`. Spans are bytes of the
//! source. Whether a rule is on, how bad its findings are, suppressions, sorting and documentation links are the
//! engine's: a rule reports all it sees. `checker.workspace()` has the other side: base images
//! ([`Workspace::image`](view::Workspace::image)), contexts, compose projects.
//!
//! Several fixes are applied in one go when they do not overlap, then the text is parsed and checked again, until nothing
//! changes: a fix must take its own finding away.
//!
//! # What they look at
//!
//! - [`DockerfileView`](view::DockerfileView): [`steps`](view::DockerfileView::steps) (every instruction with its stage),
//!   [`stages`](view::DockerfileView::stages), [`chain`](view::DockerfileView::chain) (what a stage stands on),
//!   [`shipped`](view::DockerfileView::shipped) (the stages that count at run time),
//!   [`expand`](view::DockerfileView::expand) and [`variable`](view::DockerfileView::variable) (values at a place),
//!   [`script`](view::DockerfileView::script) (the shell text of an instruction, parsed once by [`shell::Script`]),
//!   [`unfold`](view::DockerfileView::unfold) (joined lines with the way back to the source).
//! - [`ContextView`](view::ContextView): the folder's entries and the `.dockerignore`.
//! - [`ComposeView`](view::ComposeView): the merged project, every node with its place.
//! - [`ImageFacts`](facts::ImageFacts): configuration, history and files of a built image, filled by the command line.

pub mod buildkit;
pub mod config;
mod engine;
pub mod facts;
mod finding;
pub mod fix;
pub mod load;
pub mod pages;
pub mod policy;
mod rule;
pub mod rules;
pub mod secret;
pub mod shell;
mod suppress;
pub mod view;

pub use config::Config;
pub use engine::{Outcome, Suppressed, check};
pub use finding::{Checker, Finding};
pub use rule::{Check, Rule, RuleOption};
