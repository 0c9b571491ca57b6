//! `--security-opt`

use std::path::Path;

use plimsoll_runtime::Seccomp;

use crate::create::CreateOptions;
use crate::{ContainerError, Result};

impl CreateOptions {
    /// Takes what `--security-opt` says, each as it was written; errors are in Docker's words.
    pub fn secure(&mut self, options: &[String]) -> Result<()> {
        for option in options {
            let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
            match (name, value) {
                ("no-new-privileges", "" | "true") => self.no_new_privileges = true,
                ("no-new-privileges", "false") => self.no_new_privileges = false,
                ("seccomp", "unconfined") => self.seccomp = Seccomp::Unconfined,
                ("seccomp", "builtin") => self.seccomp = Seccomp::Default,
                ("seccomp", path) if !path.is_empty() => {
                    let text = std::fs::read_to_string(path).map_err(|error| {
                        ContainerError::Option(format!("opening seccomp profile ({path}) failed: {error}"))
                    })?;
                    self.seccomp = Seccomp::Profile(text);
                }
                ("systempaths", "unconfined") => self.isolation.unconfined_paths = true,
                ("apparmor", profile) if !profile.is_empty() => {
                    profile.clone_into(&mut self.isolation.apparmor);
                }
                ("label", "disable") => {}
                // Where SELinux is not in force, labels are only names.
                ("label", label) if !label.is_empty() && !Path::new("/sys/fs/selinux/enforce").exists() => {}
                _ => {
                    return Err(ContainerError::Option(format!(
                        "security option `{option}` is not supported"
                    )));
                }
            }
        }
        self.isolation.security_opt = options.to_vec();
        Ok(())
    }
}
