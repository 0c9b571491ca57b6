//! `check`

mod given;
pub(crate) mod images;
mod print;
mod shellcheck;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use camino::Utf8PathBuf;
use plimsoll_check::config::{FailOn, Level};
use plimsoll_check::fix::{Fixed, mend, write};
use plimsoll_check::load::{Inputs, load};
use plimsoll_check::{Config, check, pages, rules};
use plimsoll_diagnostics::{Format, Safety, Severity};

use super::container_options::current_directory;
use crate::command_error::CommandError;
use crate::context::Context;
pub(crate) use given::config;
use print::Checked;

/// Check Dockerfiles, compose files, build contexts and images
///
/// What is found can be mended: `--fix`. Folders are searched for files of ours, as git would see them. Names that are no files are images of the store, or
/// archives as `save` writes them. `-` is a Dockerfile on standard input. Exit code: 0 clean, 1 findings at or above
/// `--fail-on`, 2 wrong use or something could not be looked at.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Files, folders, images, archives
    #[arg(value_name = "PATH|IMAGE", default_value = ".")]
    paths: Vec<String>,
    /// text, json, sarif, github, gitlab, checkstyle, junit, gnu or markdown
    #[arg(short = 'f', long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Fail from this severity on: error, warning, info, style, none [default: warning]
    #[arg(short = 't', long, value_name = "LEVEL", alias = "failure-threshold")]
    fail_on: Option<FailOn>,
    /// As `--fail-on none`
    #[arg(long, hide = true)]
    no_fail: bool,
    /// Make the fixes that keep a file's meaning
    #[arg(long)]
    fix: bool,
    /// Make all fixes, those too that a person should look at
    #[arg(long)]
    unsafe_fixes: bool,
    /// Show what fixes would change; without `--fix` or `--unsafe-fixes` nothing is written
    #[arg(long)]
    diff: bool,
    /// Read these settings too: a `plimsoll.toml`, or a file of hadolint's
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    /// Give the text of every RUN to an installed ShellCheck, too
    #[arg(long)]
    shellcheck: bool,
    /// Ask registries for the digests of images; `--fix` writes them
    #[arg(long)]
    pin: bool,
    #[command(flatten)]
    rules: given::RuleArgs,
    #[command(flatten)]
    build: given::BuildArgs,
    /// Show the page of a rule, by its name or that of another tool
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    /// List all rules
    #[arg(long)]
    list_rules: bool,
}

/// Wrong use, or something could not be looked at.
const COULD_NOT: u8 = 2;

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    match look(&args, context) {
        Err(error) => {
            context.report(&error);
            Ok(ExitCode::from(COULD_NOT))
        }
        done => done,
    }
}

fn look(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(id) = &args.explain {
        return explain(id, context);
    }
    if args.list_rules {
        return list(args.format, context);
    }
    let mut config = config(context, args.config.as_deref())?;
    args.rules.apply(&mut config)?;
    if args.pin {
        let asked = config.set("image-not-digest", Level::At(Severity::Info));
        debug_assert!(asked.is_ok(), "the rule is there");
    }
    let never = args.no_fail.then_some(FailOn::Never);
    config.fail_on = never.or(args.fail_on).or(config.fail_on);
    let inputs = inputs(args)?;
    let checked = match args.fix || args.unsafe_fixes || args.diff {
        true => mended(args, &inputs, &config, context)?,
        false => {
            let mut loaded = load(&inputs);
            let mut errors = std::mem::take(&mut loaded.errors);
            let images = images::find(&loaded, context, args.pin, &mut errors);
            loaded.workspace.images = images.asked;
            loaded.workspace.known = images.known;
            loaded.workspace.pins = images.pins;
            if let Some(program) = shellcheck::asked(args.shellcheck, &config) {
                errors.extend(shellcheck::ask(&mut loaded.workspace, program).err());
            }
            let outcome = check(&loaded.workspace, &config);
            Checked::new(outcome, &loaded, errors)
        }
    };
    let only_diff = args.diff && !args.fix && !args.unsafe_fixes;
    match only_diff {
        true => checked.print_errors(context),
        false => checked.print(args.format, context)?,
    }
    Ok(ExitCode::from(match () {
        () if !checked.errors.is_empty() => COULD_NOT,
        () if checked.fails(&config) => 1,
        () => 0,
    }))
}

fn inputs(args: &Args) -> Result<Inputs, CommandError> {
    let mut stdin = None;
    if args.paths.iter().any(|path| path == "-") {
        if args.fix || args.unsafe_fixes {
            return Err(CommandError::usage("standard input cannot be mended")
                .hint("`--diff` shows what would change"));
        }
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| CommandError::internal("cannot read standard input", error))?;
        stdin = Some(text);
    }
    Ok(Inputs {
        paths: args.paths.clone(),
        stdin,
        build: args.build.settings()?,
        environment: crate::env::all().collect(),
        current: current_directory()?,
        ..Inputs::default()
    })
}

/// Mends, writes and shows as the flags say.
fn mended(args: &Args, inputs: &Inputs, config: &Config, context: &Context) -> Result<Checked, CommandError> {
    let writes = args.fix || args.unsafe_fixes;
    let least = if args.unsafe_fixes {
        Safety::Unsafe
    } else {
        Safety::Safe
    };
    let mut errors = Vec::new();
    let first = std::cell::RefCell::new(&mut errors);
    let fixed = mend(inputs, config, least, |loaded| {
        images::find(loaded, context, args.pin, &mut first.borrow_mut())
    });
    errors.sort();
    errors.dedup();
    errors.extend(fixed.loaded.errors.iter().cloned());
    if args.diff {
        show_diff(&fixed, args.format, context)?;
    }
    if writes {
        for (path, change) in &fixed.files {
            write(path, change).map_err(|error| CommandError::internal("a fix was not made", error))?;
        }
        say_what_was_mended(&fixed, context)?;
    }
    let pending = !writes && !fixed.files.is_empty();
    let mut checked = Checked::new(fixed.outcome, &fixed.loaded, errors);
    checked.pending = pending;
    Ok(checked)
}

/// On standard output, unless a report in a form for programs is to stand there.
fn show_diff(fixed: &Fixed, format: Format, context: &Context) -> Result<(), CommandError> {
    let changes = fixed.files.values();
    let text: String = changes
        .map(|change| change.diff(&fixed.outcome.secrets))
        .collect();
    match format {
        Format::Text => context.stdout().write_all(text.as_bytes())?,
        _ => context.stderr().write_all(text.as_bytes())?,
    }
    Ok(())
}

fn say_what_was_mended(fixed: &Fixed, context: &Context) -> Result<(), CommandError> {
    let plural =
        |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    writeln!(
        context.stderr(),
        "{} made in {}",
        plural(fixed.fixes, "fix", "fixes"),
        plural(fixed.files.len(), "file", "files"),
    )?;
    Ok(())
}

fn explain(id: &str, context: &Context) -> Result<ExitCode, CommandError> {
    let found = rules::named(id);
    if found.is_empty() {
        let known: Vec<&str> = rules::all()
            .flat_map(|rule| rule.aliases.iter().copied().chain([rule.id]))
            .collect();
        let error = CommandError::user(format!("no rule is called `{id}`"));
        return Err(match plimsoll_diagnostics::nearest(id, known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`plimsoll check --list-rules` lists them"),
        });
    }
    let pages: Vec<String> = found.iter().map(|rule| pages::page(rule)).collect();
    context.stdout().write_all(pages.join("\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn list(format: Format, context: &Context) -> Result<ExitCode, CommandError> {
    context.stdout().write_all(print::rules(format).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
