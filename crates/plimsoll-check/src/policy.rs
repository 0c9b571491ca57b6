//! Policy: what an image and its containers must be like before they may have a name, leave or run.
//!
//! A policy is a list of demands, each a key of `[policy.NAME]` in the settings or of a file of its own:
//!
//! | key | what it asks for |
//! | --- | --- |
//! | `non-root-user` | containers do not run as root |
//! | `healthcheck` | the image, or whoever runs it, says how to see that it is well |
//! | `no-secrets` | no secrets in variables, history or files |
//! | `pinned-base` | every base image is named with its digest |
//! | `exec-form` | the program is started itself, not by a shell |
//! | `limits` | at run time: memory, processor time and processes have a limit |
//! | `read-only` | at run time: the root file system is read-only |
//! | `no-privileged` | at run time: not privileged |
//! | `no-findings` | no finding of this severity or worse |
//! | `forbid-rules` | no finding of these rules, whatever their severity |
//! | `trusted-registries` | base images come from one of these |
//! | `max-size` | bytes of all layers |
//!
//! Who is asked is [`Policy::judge`]. The system's and the user's settings may say what they like, also of the built-in
//! [`PRODUCTION`]; a project's own file may only ask for more.

mod judge;
mod settings;

pub use judge::{Reason, Verdict};
pub use settings::{Policies, PolicySettings};

use plimsoll_diagnostics::Severity;

/// The name of the built-in policy.
pub const PRODUCTION: &str = "production";

/// What is asked for. Nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What users call it.
    pub name: String,
    /// `non-root-user`
    pub non_root_user: bool,
    /// `healthcheck`
    pub healthcheck: bool,
    /// `no-secrets`
    pub no_secrets: bool,
    /// `pinned-base`
    pub pinned_base: bool,
    /// `exec-form`
    pub exec_form: bool,
    /// `limits`
    pub limits: bool,
    /// `read-only`
    pub read_only: bool,
    /// `no-privileged`
    pub no_privileged: bool,
    /// `no-findings`
    pub no_findings: Option<Severity>,
    /// `forbid-rules`
    pub forbid_rules: Vec<String>,
    /// `trusted-registries`
    pub trusted_registries: Option<Vec<String>>,
    /// `max-size`
    pub max_size: Option<u64>,
}

impl Policy {
    /// What is asked for in production.
    pub fn production() -> Self {
        Self {
            name: PRODUCTION.to_owned(),
            non_root_user: true,
            healthcheck: true,
            no_secrets: true,
            pinned_base: true,
            exec_form: true,
            limits: true,
            read_only: true,
            no_privileged: true,
            no_findings: Some(Severity::Error),
            ..Self::default()
        }
    }
}
