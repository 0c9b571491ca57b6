//! `echo` is given escapes that some shells print as they are.
//!
//! ## Why
//! `echo "a\nb"` is two lines in dash and one in bash. `printf` is the same everywhere.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN echo "a\nb" > /file
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN printf 'a\nb\n' > /file
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::called;

pub(super) const RULE: Rule = Rule::new("shell-echo-escapes", Severity::Info)
    .aliases(&["SC2028"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["echo"]) {
        let args = ran.command.args();
        let told = args
            .first()
            .is_some_and(|first| matches!(first.text.as_str(), "-e" | "-E" | "-ne" | "-en"));
        let escape = |word: &&ShellWord| {
            ["\\n", "\\t", "\\r", "\\0", "\\x"]
                .iter()
                .any(|escape| word.text.contains(escape))
        };
        let Some(word) = args.iter().find(escape).filter(|_| !told) else {
            continue;
        };
        // Piped into something that reads escapes itself.
        if ran.command.pipeline.index + 1 < ran.command.pipeline.length {
            continue;
        }
        checker.report(
            Finding::new(
                &view.source,
                word.span,
                "whether `echo` understands this escape depends on the shell",
            )
            .help("use `printf`"),
        );
    }
}
