//! Tests that need more than a laptop gives say so.

use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;

/// Something a test cannot do without.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Effective user 0.
    Root,
    /// Overlay mounts.
    Overlay,
    /// A program in `PATH`.
    Tool(&'static str),
    /// A file or folder, relative to the repository's top.
    Path(&'static str),
}

/// Ends the test early, with a line that says why, when something it needs is missing.
///
/// `root` and `overlay` are what CI promises: with `CI=true` their absence fails the test, because a suite
/// that skips everything looks like one that passes.
///
/// ```
/// # fn test() {
/// plimsoll_testkit::needs!(root, overlay, tool = "skopeo", path = "../shared");
/// # }
/// ```
#[macro_export]
macro_rules! needs {
    (@need root) => { $crate::Need::Root };
    (@need overlay) => { $crate::Need::Overlay };
    (@need tool $value:literal) => { $crate::Need::Tool($value) };
    (@need path $value:literal) => { $crate::Need::Path($value) };
    ($($name:ident $(= $value:literal)?),+ $(,)?) => {
        if $crate::skip(&[$($crate::needs!(@need $name $($value)?)),+]) {
            return;
        }
    };
}

/// Says whether the test must be skipped, and prints why. Use [`needs!`].
///
/// # Panics
/// When `CI=true` and what is missing is something CI must have.
pub fn skip(needs: &[Need]) -> bool {
    let Some((need, reason)) = needs
        .iter()
        .find_map(|need| need.missing().map(|reason| (need, reason)))
    else {
        return false;
    };
    let promised = matches!(need, Need::Root | Need::Overlay);
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!(promised && in_ci), "must not be skipped in CI: {reason}");
    skip_because(reason.as_str());
    true
}

/// Says and counts that a test ends early for want of something that only it could find missing; it has to return.
pub fn skip_because(reason: &str) {
    println!("SKIPPED: {reason}");
    count(reason);
}

/// Adds a line to the file that the test run named for it, so that what was skipped can be counted at its end.
fn count(reason: &str) {
    let Some(path) = std::env::var_os("PLIMSOLL_SKIPPED") else {
        return;
    };
    let test = std::thread::current();
    let line = format!("{}: {reason}\n", test.name().unwrap_or("a test"));
    // One write of a short line to a file opened for appending: lines of several tests do not mix.
    let written = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("cannot count a skipped test in {}: {error}", path.display()));
}

impl Need {
    /// Returns why it is missing.
    fn missing(self) -> Option<String> {
        match self {
            Self::Root => (!rustix::process::geteuid().is_root()).then(|| "needs root".to_owned()),
            Self::Overlay => (!overlay_works()).then(|| "needs overlay mounts".to_owned()),
            Self::Tool(name) => (!in_path(name)).then(|| format!("needs the program `{name}`")),
            Self::Path(path) => {
                let full = crate::registry::top().join(path);
                (!full.exists()).then(|| format!("needs `{full}`"))
            }
        }
    }
}

fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Tries one overlay mount.
fn overlay_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let Ok(folder) = tempfile::tempdir() else {
            return false;
        };
        try_overlay(folder.path()).is_ok()
    })
}

fn try_overlay(folder: &Path) -> std::io::Result<()> {
    let path = |name: &str| folder.join(name);
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(path(name))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        path("lower").display(),
        path("upper").display(),
        path("work").display()
    );
    let options = std::ffi::CString::new(options)?;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount(
        "overlay",
        path("merged"),
        "overlay",
        flags,
        Some(options.as_c_str()),
    )?;
    Ok(rustix::mount::unmount(
        path("merged"),
        rustix::mount::UnmountFlags::DETACH,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_noticed() {
        assert!(Need::Tool("no-such-program-anywhere").missing().is_some());
        assert!(Need::Tool("sh").missing().is_none());
    }

    #[test]
    fn a_missing_path_is_noticed() {
        assert!(Need::Path("no/such/path").missing().is_some());
        assert!(Need::Path("Cargo.toml").missing().is_none());
    }
}
