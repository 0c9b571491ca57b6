//! `build --check` and `build --call`: what is said about a build instead of building; and what is said after one.
//!
//! Text and JSON are buildx's: `docker buildx build --call=check,format=json`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_build::{BuildContext, Sources};
use plimsoll_check::buildkit::{
    BuildChecks, BuildWarning, Outline, Targets, build_checks, outline, parse_error, shown, targets,
};
use plimsoll_check::view::{Base, BuildSettings, ContextView, DockerfileView, IgnoreView, Workspace};
use plimsoll_diagnostics::Source;
use plimsoll_dockerfile::IgnoreFile;
use serde_json::{Map, Value, json};

use super::given::{File, git_environment, given};
use super::{Args, build_args, run_options};
use crate::check_facts;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Build argument with the checks that are wanted, as `# check=` says them.
const CHECK: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What is asked instead of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    method: Method,
    as_json: bool,
    /// Exit with 0 whatever the checks find.
    ignore_status: bool,
    /// Where the Dockerfile lies is shown, too: it is one of several.
    in_full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Check,
    Outline,
    Targets,
}

impl Call {
    /// The checks of one of several builds.
    pub(super) const CHECK_OF_SEVERAL: Self = Self {
        method: Method::Check,
        as_json: false,
        ignore_status: false,
        in_full: true,
    };

    /// Reads `METHOD[,format=json|text][,ignorestatus=true]`; none for `build`, which is a build.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut fields = text.split(',');
        let method = match fields.next().unwrap_or_default() {
            "build" => return Ok(None),
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            other => {
                return Err(format!(
                    "unsupported request `{other}`: expected `build`, `check`, `outline` or `targets`"
                ));
            }
        };
        let mut call = Self {
            method,
            as_json: false,
            ignore_status: false,
            in_full: false,
        };
        for field in fields {
            match field.split_once('=') {
                Some(("format", "json")) => call.as_json = true,
                Some(("format", "text" | "")) => call.as_json = false,
                Some(("ignorestatus", value)) => call.ignore_status = super::is_true(value),
                _ => {
                    return Err(format!(
                        "`{field}` is none of `format=json`, `format=text` and `ignorestatus=true`"
                    ));
                }
            }
        }
        Ok(Some(call))
    }
}

/// What is asked for: `--check` is short for `--call check`.
pub(super) fn asked(args: &Args) -> Result<Option<Call>, CommandError> {
    let method = match (&args.call, args.check) {
        (Some(call), _) => call.as_str(),
        (None, true) => "check",
        (None, false) => return Ok(None),
    };
    Call::parse(method).map_err(CommandError::user)
}

/// Answers.
pub(super) async fn answer(call: &Call, args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    let agents = args.run.agents()?;
    let run = run_options(args, &agents)?;
    let sources = Arc::new(Sources::new(context.store()?, &run.secrets, git_environment()));
    let display = context.progress("Checking", Some(args.progress.unwrap_or(Mode::Quiet)))?;
    let file = File::of(args.file.as_deref(), args.inline.dockerfile.as_ref());
    let given = given(&args.path, &file, &sources, display.progress(), false).await;
    display.finish();
    let given = given?;
    let workspace = workspace(args, &given.dockerfile, &given.context, context);
    let view = &workspace.dockerfiles[0];
    let error = parse_error(view).map(|error| CommandError::diagnostic(error.clone()));
    match call.method {
        Method::Check => return check(call, args, &workspace, error, context),
        Method::Outline => {
            error.map_or(Ok(()), Err)?;
            let outline = outline(view).ok_or_else(|| CommandError::user("this Dockerfile has no stage"))?;
            match call.as_json {
                true => print_json(context, outline.to_json(), &given.dockerfile)?,
                false => write!(context.stdout(), "{}", outline_text(&outline))?,
            }
        }
        Method::Targets => {
            error.map_or(Ok(()), Err)?;
            let targets = targets(view);
            match call.as_json {
                true => print_json(context, targets.to_json(), &given.dockerfile)?,
                false => write!(context.stdout(), "{}", targets_text(&targets))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The Dockerfile with what a check may know besides: its ignore file, and base images that are in the store.
fn workspace(args: &Args, dockerfile: &Source, build_context: &BuildContext, context: &Context) -> Workspace {
    let settings = BuildSettings {
        targets: args.target.iter().cloned().collect(),
        args: build_args(&args.build_args),
        platform: args.platforms.first().map(ToString::to_string),
    };
    let view = DockerfileView::new(&*dockerfile.name, dockerfile, settings);
    let known = bases(&view, context);
    let ignore = build_context.ignore_text().map(|source| IgnoreView {
        source: source.clone(),
        file: IgnoreFile::parse(source),
    });
    let contexts = ignore.map(|ignore| ContextView {
        folder: build_context.root().to_string_lossy().into_owned().into(),
        ignore: Some(ignore),
        entries: Vec::new(),
        truncated: true,
        dockerfiles: vec![view.path.clone()],
    });
    Workspace {
        dockerfiles: vec![view],
        contexts: contexts.into_iter().collect(),
        known,
        ..Workspace::default()
    }
}

fn bases(view: &DockerfileView, context: &Context) -> Vec<plimsoll_check::facts::ImageFacts> {
    let Ok(images) = context.images() else {
        return Vec::new();
    };
    let names = view.stages.iter().filter_map(|stage| match &stage.base {
        Base::Image(name) => Some(name.as_str()),
        _ => None,
    });
    let facts = names.filter_map(|name| {
        let image = images.get_for(name, None).ok()?;
        check_facts::outline(&images, &image, name).ok()
    });
    facts.collect()
}

fn check(
    call: &Call,
    args: &Args,
    workspace: &Workspace,
    mut error: Option<CommandError>,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let source = &workspace.dockerfiles[0].source;
    let asked = build_args(&args.build_args);
    let checks = build_checks(workspace, asked.get(CHECK).map(String::as_str));
    if error.is_none() {
        error = violation(&checks);
    }
    match call.as_json {
        true => print_check_json(context, &checks, error.as_ref(), source)?,
        // Of a Dockerfile that cannot be read it is only said why.
        false if error.is_some() && checks.warnings.is_empty() => {}
        false => {
            let file = if call.in_full {
                &source.name
            } else {
                filename(source)
            };
            write!(context.stdout(), "{}", check_text(&checks, source, file))?;
        }
    }
    let found = !checks.warnings.is_empty();
    match error {
        Some(error) if !call.as_json => Err(error),
        Some(_) => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::from(u8::from(found && !call.ignore_status))),
    }
}

/// What makes a build fail whose Dockerfile says `# check=error=true`.
fn violation(checks: &BuildChecks) -> Option<CommandError> {
    let mut rules: Vec<&str> = checks.warnings.iter().map(|warning| warning.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    let fails = checks.strict && !rules.is_empty();
    fails.then(|| {
        CommandError::user(format!("lint violation found for rules: {}", rules.join(", ")))
            .hint("`build --check` shows where; `# check=skip=RULE` leaves one out")
    })
}

/// The checks of a build: an error when they are to make it fail.
pub(super) fn before_build(
    args: &Args,
    dockerfile: &Source,
    build_context: &BuildContext,
    context: &Context,
) -> Result<BuildChecks, CommandError> {
    let asked = build_args(&args.build_args);
    let workspace = workspace(args, dockerfile, build_context, context);
    let checks = build_checks(&workspace, asked.get(CHECK).map(String::as_str));
    match violation(&checks) {
        // What cannot be parsed fails for that.
        Some(error) if parse_error(&workspace.dockerfiles[0]).is_none() => Err(error),
        _ => Ok(checks),
    }
}

/// Checks that the builder makes itself: it has shown the lines already.
const SHOWN: [&str; 2] = ["NoEmptyContinuation", "SecretsUsedInArgOrEnv"];

/// What a build ends with, as buildx does.
pub(super) fn summary(checks: &BuildChecks) -> String {
    let warnings = checks
        .warnings
        .iter()
        .filter(|warning| !SHOWN.contains(&warning.rule));
    let lines: Vec<String> = warnings
        .map(|warning| {
            format!(
                " - {}: {} (line {})\n",
                warning.rule, warning.detail, warning.first_line
            )
        })
        .collect();
    match lines.len() {
        0 => String::new(),
        1 => format!(
            "\n 1 warning found (use `build --check` to see where):\n{}",
            lines[0]
        ),
        count => format!(
            "\n {count} warnings found (use `build --check` to see where):\n{}",
            lines.concat()
        ),
    }
}

fn check_text(checks: &BuildChecks, source: &Source, file: &str) -> String {
    let text = shown(source);
    let mut out = match checks.warnings.len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in &checks.warnings {
        let _ = writeln!(
            out,
            "\nWARNING: {} - {}\n{}",
            warning.rule,
            warning.url(),
            warning.detail
        );
        out.push_str(&frame(warning, file, &text));
    }
    out
}

/// The lines around an instruction, as BuildKit shows them (solver/errdefs/source.go).
fn frame(warning: &BuildWarning, file: &str, text: &str) -> String {
    const RULER: &str = "--------------------";
    let lines: Vec<&str> = text.split('\n').collect();
    let (mut first, mut last) = (warning.first_line.max(1), warning.last_line.min(lines.len()));
    let wanted = if first == last { 4 } else { 2 };
    let mut added = 0;
    while added < wanted {
        if first > 1 {
            first -= 1;
            added += 1;
        }
        if last < lines.len() {
            last += 1;
            added += 1;
        }
        added += 1;
    }
    let mut out = format!("{file}:{}\n{RULER}\n", warning.first_line);
    for (index, line) in lines.iter().enumerate().take(last).skip(first - 1) {
        let number = index + 1;
        let mark = if (warning.first_line..=warning.last_line).contains(&number) {
            ">>>"
        } else {
            "   "
        };
        let _ = writeln!(out, " {number:3} | {mark} {}", line.trim_end_matches('\r'));
    }
    let _ = writeln!(out, "{RULER}");
    out
}

fn filename(source: &Source) -> &str {
    source.name.rsplit('/').next().unwrap_or(&source.name)
}

fn print_check_json(
    context: &Context,
    checks: &BuildChecks,
    error: Option<&CommandError>,
    source: &Source,
) -> Result<(), CommandError> {
    let warnings: Vec<Value> = checks.warnings.iter().map(BuildWarning::to_json).collect();
    let mut all = Map::new();
    // As Go writes an empty list that was never made.
    let warnings = if warnings.is_empty() {
        Value::Null
    } else {
        warnings.into()
    };
    all.insert("warnings".to_owned(), warnings);
    let file = json!({"filename": filename(source), "data": STANDARD.encode(shown(source)), "language": "Dockerfile"});
    all.insert("sources".to_owned(), json!([file]));
    if let Some(error) = error {
        let message = error.to_string();
        all.insert(
            "buildError".to_owned(),
            json!({"message": message, "location": {}}),
        );
    }
    print(context, &Value::Object(all))
}

fn print_json(
    context: &Context,
    mut answer: Map<String, Value>,
    source: &Source,
) -> Result<(), CommandError> {
    answer.insert("sources".to_owned(), json!([STANDARD.encode(shown(source))]));
    print(context, &Value::Object(answer))
}

fn print(context: &Context, value: &Value) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).expect("a value is JSON");
    writeln!(context.stdout(), "{text}")?;
    Ok(())
}

fn outline_text(outline: &Outline) -> String {
    let name = if outline.name.is_empty() {
        "default"
    } else {
        &outline.name
    };
    let mut out = match outline.description.is_empty() {
        true => format!("TARGET: {name}\n\n"),
        false => format!("TARGET:      {name}\nDESCRIPTION: {}\n\n", outline.description),
    };
    if !outline.args.is_empty() {
        let row = |one: &plimsoll_check::buildkit::Parameter| {
            vec![
                one.name.clone(),
                one.value.clone().unwrap_or_default(),
                one.description.clone(),
            ]
        };
        out.push_str(&table(
            &["BUILD ARG", "VALUE", "DESCRIPTION"],
            outline.args.iter().map(row),
            3,
        ));
    }
    let required = |one: &plimsoll_check::buildkit::Parameter| {
        let required = if one.required { "true" } else { "" };
        vec![one.name.clone(), required.to_owned()]
    };
    if !outline.secrets.is_empty() {
        out.push_str(&table(
            &["SECRET", "REQUIRED"],
            outline.secrets.iter().map(required),
            3,
        ));
    }
    if !outline.ssh.is_empty() {
        out.push_str(&table(&["SSH", "REQUIRED"], outline.ssh.iter().map(required), 3));
    }
    out
}

fn targets_text(targets: &Targets) -> String {
    let row = |target: &plimsoll_check::buildkit::Target| {
        let name = match (target.name.as_str(), target.default) {
            ("", _) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        vec![name, target.description.clone()]
    };
    table(&["TARGET", "DESCRIPTION"], targets.targets.iter().map(row), 1)
}

/// Columns with some blanks between them, and an empty line at the end.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>, padding: usize) -> String {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = rows[0].len();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
            + padding
    };
    let mut out = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            match column + 1 == columns {
                true => out.push_str(cell),
                false => {
                    let _ = write!(out, "{cell:<width$}", width = width(column));
                }
            }
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls() {
        let call = |text| {
            Call::parse(text).map(|call| call.map(|call| (call.method, call.as_json, call.ignore_status)))
        };
        assert_eq!(call("build"), Ok(None));
        assert_eq!(call("check"), Ok(Some((Method::Check, false, false))));
        assert_eq!(call("lint,format=json"), Ok(Some((Method::Check, true, false))));
        assert_eq!(
            call("check,ignorestatus=true"),
            Ok(Some((Method::Check, false, true)))
        );
        assert_eq!(
            call("outline,format=json"),
            Ok(Some((Method::Outline, true, false)))
        );
        assert!(call("bogus").is_err() && call("check,format=xml").is_err());
    }

    #[test]
    fn frames_show_two_lines_around_one() {
        let source = Source::new("a/Dockerfile", "FROM x\nA\nB\nMAINTAINER y\n");
        let warning = BuildWarning {
            rule: "MaintainerDeprecated",
            description: "",
            detail: String::new(),
            first_line: 4,
            last_line: 4,
        };
        let expected = "Dockerfile:4\n--------------------\n   2 |     A\n   3 |     B\n   4 | >>> MAINTAINER y\n   5 |     \n--------------------\n";
        assert_eq!(frame(&warning, filename(&source), &source.text), expected);
    }
}
