//! BuildKit's names and words for what our rules find.

use plimsoll_diagnostics::Diagnostic;
use plimsoll_dockerfile::InstructionKind;

use crate::view::{DockerfileView, Step};

/// BuildKit's checks and what they say they are about.
const CHECKS: [(&str, &str); 22] = [
    ("StageNameCasing", "Stage names should be lowercase"),
    (
        "FromAsCasing",
        "The 'as' keyword should match the case of the 'from' keyword",
    ),
    (
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
    ),
    (
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    ("DuplicateStageName", "Stage names should be unique"),
    (
        "ReservedStageName",
        "Reserved words should not be used as stage names",
    ),
    (
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    (
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    ("UndefinedArgInFrom", "FROM command must use declared ARGs"),
    (
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    ),
    ("UndefinedVar", "Variables should be defined before their use"),
    (
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    (
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    (
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target platform",
    ),
    (
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    (
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    (
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
    ),
    (
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
    ),
    (
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    ),
    (
        "ExposeProtoCasing",
        "Protocol in EXPOSE instruction should be lowercase",
    ),
    (
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    ),
];

/// Whether BuildKit has a check of this name.
pub(super) fn is_known(name: &str) -> bool {
    CHECKS.iter().any(|(own, _)| *own == name)
}

/// Name, description and detail; none for what BuildKit has no check for.
pub(super) fn of(
    view: &DockerfileView,
    finding: &Diagnostic,
    step: Option<Step<'_>>,
) -> Option<(&'static str, &'static str, String)> {
    let named = |check: &&(&'static str, &'static str)| finding.aliases.iter().any(|alias| alias == check.0);
    let (name, description) = CHECKS.iter().find(named)?;
    let written = view.source.slice(finding.span()?);
    Some((name, description, detail(name, view, finding, step, written)))
}

fn detail(
    name: &str,
    view: &DockerfileView,
    finding: &Diagnostic,
    step: Option<Step<'_>>,
    written: &str,
) -> String {
    let keyword = step.map_or("", |step| step.instruction.keyword.value.as_str());
    let meant = finding
        .help
        .as_deref()
        .and_then(|help| help.strip_prefix("did you mean `"));
    let meant = meant.and_then(|rest| rest.strip_suffix("`?"));
    let meant = meant.map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
    match name {
        "StageNameCasing" => format!("Stage name '{written}' should be lowercase"),
        "FromAsCasing" => format!("'{written}' and '{keyword}' keywords' casing do not match"),
        "NoEmptyContinuation" => "Empty continuation line".to_owned(),
        "ConsistentInstructionCasing" => {
            let case = if finding.message.contains("(lowercase)") {
                "lowercase"
            } else {
                "uppercase"
            };
            format!("Command '{written}' should match the case of the command majority ({case})")
        }
        "DuplicateStageName" => format!("Duplicate stage name {written:?}, stage names should be unique"),
        "ReservedStageName" => {
            format!("Stage name should not use the same name as reserved stage {written:?}")
        }
        "JSONArgsRecommended" => {
            format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            )
        }
        "MaintainerDeprecated" => "Maintainer instruction is deprecated in favor of using label".to_owned(),
        "UndefinedArgInFrom" => {
            let name = written.trim_start_matches(['$', '{']).trim_end_matches('}');
            format!("FROM argument '{name}' is not declared{meant}")
        }
        "InvalidDefaultArgInFrom" => {
            format!("Default value for ARG {written} results in empty or invalid base image name")
        }
        "WorkdirRelativePath" => {
            format!("Relative workdir {written:?} can have unexpected results if the base image changes")
        }
        "UndefinedVar" => {
            let name = written.trim_start_matches(['$', '{']).trim_end_matches('}');
            format!("Usage of undefined variable '${name}'{meant}")
        }
        "MultipleInstructionsDisallowed" => format!(
            "Multiple {} instructions should not be used in the same stage because only the last one will be used",
            keyword.to_uppercase()
        ),
        "LegacyKeyValueFormat" => {
            let keyword = keyword.to_uppercase();
            format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format")
        }
        "RedundantTargetPlatform" => {
            format!(
                "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
            )
        }
        "FromPlatformFlagConstDisallowed" => {
            format!("FROM --platform flag should not use constant value {written:?}")
        }
        "SecretsUsedInArgOrEnv" => secret(view, finding, step),
        "CopyIgnoredFile" => format!("Attempting to Copy file {written:?} that is excluded by .dockerignore"),
        "ExposeProtoCasing" => {
            format!("Defined protocol '{written}' in EXPOSE instruction should be lowercase")
        }
        "ExposeInvalidFormat" => {
            format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{written}'"
            )
        }
        _ => finding.message.clone(),
    }
}

/// The name of the variable, never its value: the finding points at that.
fn secret(view: &DockerfileView, finding: &Diagnostic, step: Option<Step<'_>>) -> String {
    let start = finding.span().unwrap_or_default().start;
    let (keyword, keys): (&str, Vec<_>) = match step.map(|step| step.effective()) {
        Some(InstructionKind::Env(pairs)) => ("ENV", pairs.iter().map(|pair| &pair.key).collect()),
        Some(InstructionKind::Arg(all)) => ("ARG", all.iter().map(|one| &one.name).collect()),
        _ => ("ENV", Vec::new()),
    };
    let before = keys.iter().rev().find(|key| key.span.start <= start);
    let name = before.map_or("", |key| view.source.slice(key.span));
    format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})")
}
