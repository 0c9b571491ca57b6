//! Findings about images, and the checks that rules of Dockerfiles make of what was built.

use plimsoll_diagnostics::{Severity, Source, Span};

use crate::facts::{ImageFacts, account, is_root};
use crate::{Checker, Finding, secret};

/// A finding about the image as a whole.
pub(in crate::rules) fn finding(image: &ImageFacts, message: impl Into<String>) -> Finding {
    let source = Source::new(image.name.as_str(), "");
    Finding::new(&source, Span::default(), message)
}

/// A finding about what an instruction of its history did.
pub(super) fn at_line(image: &ImageFacts, line: usize, message: impl Into<String>) -> Finding {
    let source = image.source();
    let start: usize = source.text.split_inclusive('\n').take(line).map(str::len).sum();
    Finding::new(&source, source.line_at(start), message)
}

/// A finding about a layer: at the instruction that made it.
pub(super) fn at_layer(image: &ImageFacts, layer: usize, message: impl Into<String>) -> Finding {
    match image.line_of_layer(layer) {
        Some(line) => at_line(image, line, message),
        None => finding(image, message),
    }
}

/// `user-root`
pub(in crate::rules) fn user_root(image: &ImageFacts, checker: &mut Checker<'_>) {
    let user = &image.config.config.user;
    let number = image.files.iter().flat_map(|files| &files.accounts);
    // A name may stand for root.
    let is_named_root = number
        .clone()
        .any(|one| one.uid == 0 && one.name == account(user));
    if is_root(user) || is_named_root {
        let message = match user.is_empty() {
            true => "containers of this image run as root: it says no USER".to_owned(),
            false => format!("containers of this image run as root: `USER {user}`"),
        };
        checker.report(finding(image, message).help("add `USER` with an account that is not root"));
    }
}

/// `healthcheck-missing`
pub(in crate::rules) fn healthcheck_missing(image: &ImageFacts, checker: &mut Checker<'_>) {
    let listens = image
        .config
        .config
        .exposed_ports
        .as_ref()
        .is_some_and(|ports| !ports.is_empty());
    if listens && !image.has_healthcheck() {
        let help = "add `HEALTHCHECK CMD` with a program that the image has";
        checker.report(finding(image, "the image says no HEALTHCHECK").help(help));
    }
}

/// `secret-in-env`
pub(in crate::rules) fn secret_in_env(image: &ImageFacts, checker: &mut Checker<'_>) {
    for (name, value) in image.variables() {
        if let Some(found) = secret::of_variable(name, value) {
            let message = format!("the variable `{name}` is {}", found.kind);
            let line = image.instructions().position(|line| {
                line.strip_prefix("ENV ")
                    .is_some_and(|rest| rest.contains(&format!("{name}=")))
            });
            let finding = match line {
                Some(line) => at_line(image, line, message),
                None => finding(image, message),
            };
            checker.report(
                finding.help("give it when the container is run, as a file; it has been seen: change it"),
            );
        }
    }
}

/// `secret-in-run`
pub(in crate::rules) fn secret_in_run(image: &ImageFacts, checker: &mut Checker<'_>) {
    for (line, text) in image.instructions().enumerate() {
        if text.starts_with("ENV ") {
            continue;
        }
        // `|1 TOKEN=... /bin/sh -c` is what a build argument leaves.
        let argument = text
            .strip_prefix("RUN |")
            .unwrap_or_default()
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .find_map(|(name, value)| secret::of_variable(name, value).map(|found| (Some(name), found.kind)));
        let found = argument.or_else(|| secret::of_text(&text).first().map(|found| (None, found.kind)));
        let message = match found {
            Some((Some(name), kind)) => format!("the history has the build argument `{name}`, {kind}"),
            Some((None, kind)) => format!("the history has {kind} in it"),
            None => continue,
        };
        checker.report(
            at_line(image, line, message).help("use `RUN --mount=type=secret`; it has been seen: change it"),
        );
    }
}

/// `secret-file-copied`
pub(in crate::rules) fn secret_file_copied(image: &ImageFacts, checker: &mut Checker<'_>) {
    for file in image.files.iter().flat_map(|files| &files.secrets) {
        let line = file.line.map(|line| format!(":{line}")).unwrap_or_default();
        let covered = match file.covered {
            true => ", deleted or replaced later, which does not take it out of the image",
            false => "",
        };
        let message = format!("`{}{line}` has {} in it{covered}", file.path, file.kind);
        checker.report(
            at_layer(image, file.layer, message)
                .help("leave it out with .dockerignore; it has been seen: change it"),
        );
    }
}

/// `sudo-used`
pub(in crate::rules) fn sudo_used(image: &ImageFacts, checker: &mut Checker<'_>) {
    if image
        .files
        .as_ref()
        .is_some_and(|files| files.programs.contains("sudo"))
    {
        let help = "leave the package out; `USER root` and back does what a build needs";
        checker.report(
            finding(image, "the image has `sudo` in it")
                .help(help)
                .severity(Severity::Warning),
        );
    }
}

/// `apt-lists-left`
pub(in crate::rules) fn package_lists_left(image: &ImageFacts, checker: &mut Checker<'_>) {
    for lists in image.files.iter().flat_map(|files| &files.package_lists) {
        let message = format!(
            "lists of packages are left in `{}`, {}",
            lists.path,
            crate::rules::bytes(lists.size)
        );
        checker.report(
            at_layer(image, lists.layer, message).help("delete them in the instruction that fetches them"),
        );
    }
}

/// `shell-form-command`
pub(in crate::rules) fn shell_form_command(image: &ImageFacts, checker: &mut Checker<'_>) {
    if image.uses_shell_form() {
        let message = "the program is started by a shell, which does not pass signals on";
        checker.report(finding(image, message).help("write CMD and ENTRYPOINT as a list"));
    }
}

/// `volume-system-dir`
pub(in crate::rules) fn volume_system_dir(image: &ImageFacts, checker: &mut Checker<'_>) {
    const SYSTEM: [&str; 14] = [
        "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
        "/usr", "/var",
    ];
    let volumes = image.config.config.volumes.iter().flatten();
    for (path, _) in volumes {
        let path = if path == "/" {
            path
        } else {
            path.trim_end_matches('/')
        };
        if SYSTEM.contains(&path) {
            checker.report(
                finding(image, format!("`{path}` is a volume")).help("name the folder of the data only"),
            );
        }
    }
}

/// `image-latest`
pub(in crate::rules) fn image_latest(image: &ImageFacts, checker: &mut Checker<'_>) {
    if image
        .name
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .ends_with(":latest")
    {
        let message = "the image is called `latest`, which means another one tomorrow";
        checker.report(
            finding(image, message)
                .help("give it a version as well")
                .severity(Severity::Info),
        );
    }
}

/// `single-stage-build`
pub(in crate::rules) fn build_tools(image: &ImageFacts, checker: &mut Checker<'_>) {
    const TOOLS: [&str; 12] = [
        "gcc", "g++", "cc", "make", "cmake", "cargo", "rustc", "javac", "mvn", "gradle", "ghc", "tsc",
    ];
    let Some(files) = &image.files else { return };
    let found: Vec<_> = TOOLS
        .iter()
        .filter(|tool| files.programs.contains(**tool))
        .map(|tool| format!("`{tool}`"))
        .collect();
    // A single one comes with many bases.
    if found.len() >= 2 {
        let message = format!(
            "tools that only a build needs are in the image: {}",
            found.join(", ")
        );
        checker.report(
            finding(image, message).help("build in one stage, and copy the result into a smaller one"),
        );
    }
}
