//! The program is started by way of npm or yarn.
//!
//! ## Why
//! npm becomes process 1 and starts a shell that starts the program. `SIGTERM` does not reach it, so `docker stop`
//! waits ten seconds and kills; and npm takes 50 MB of memory for as long as the container lives.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! CMD ["npm", "start"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! CMD ["node", "server.js"]
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("npm-start-as-pid1", Severity::Info).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in view.shipped() {
        for step in view.steps_of(stage) {
            if !matches!(
                step.kind(),
                InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_)
            ) {
                continue;
            }
            let commands = view
                .script(step.at)
                .into_iter()
                .flat_map(|script| &script.commands);
            for command in
                commands.filter(|command| matches!(command.program(), Some("npm" | "yarn" | "pnpm")))
            {
                let program = command.program().unwrap_or_default();
                let verb = command.subcommand().unwrap_or_default();
                let starts = matches!(verb, "start" | "run" | "run-script" | "serve" | "dev" | "exec")
                    || (program == "yarn" && !verb.is_empty());
                if starts {
                    let message = format!("`{program}` is process 1 and passes no signals on");
                    checker.report(
                        Finding::new(&view.source, command.span, message)
                            .help("start the program itself: `CMD [\"node\", \"server.js\"]`, as the script in package.json says"),
                    );
                }
            }
        }
    }
}
