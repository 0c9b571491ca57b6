//! From argv to a command: the tree of names, global flags, and errors in Docker's words.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::builder::styling::Styles;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, FromArgMatches as _};

use crate::command_error::CommandError;
use crate::commands::compose::ComposeArgs;
use crate::commands::{COMMANDS, Command, GROUPS, Threads};
use crate::context::{Context, GlobalArgs};

/// Docker's exit code for a command line it does not understand.
const USAGE: u8 = 125;

/// Prints the version without looking at anything else.
pub(crate) fn print_version() -> ExitCode {
    let _ = writeln!(std::io::stdout(), "{}", crate::VERSION);
    ExitCode::SUCCESS
}

/// Runs the command that `args` name.
pub(crate) fn main(mut args: Vec<OsString>) -> ExitCode {
    let name = called_as(args.first());
    if is_compose(&args) {
        args.insert(1, COMPOSE.into());
    }
    let matches = match parse(name, &args) {
        Ok(matches) => matches,
        Err(error) => return usage(&error, &args, name),
    };
    let global = match GlobalArgs::from_arg_matches(&matches) {
        Ok(global) => global,
        Err(error) => return usage(&error, &args, name),
    };
    if global.version {
        return print_version();
    }
    let group = matches.subcommand_matches(COMPOSE);
    let compose = match group.map(ComposeArgs::from_arg_matches).transpose() {
        Ok(compose) => compose.unwrap_or_default(),
        Err(error) => return usage(&error, &args, name),
    };
    let is_compose = group.is_some();
    if group.is_some_and(|group| group.subcommand_name().is_none()) {
        return compose_alone(&compose, &args, name);
    }
    let (command, matches) = leaf(&matches);
    let compose = compose.after_command(matches);
    let context = Context::new(global, compose);
    context.note_ignored();
    let outcome =
        runtime(command.threads).and_then(|runtime| runtime.block_on((command.run)(matches, &context)));
    match outcome {
        Ok(code) => code,
        Err(error) if is_compose => context.report(&error.of_compose()),
        Err(error) => context.report(&error),
    }
}

/// The name in usage lines: `docker` when called so, as a drop-in replacement.
fn called_as(argv0: Option<&OsString>) -> &'static str {
    let is_docker = ["docker", "docker-compose"]
        .iter()
        .any(|name| is_called(argv0, name));
    if is_docker { "docker" } else { "plimsoll" }
}

/// Whether this is Compose under its own name.
pub(crate) fn is_compose(args: &[OsString]) -> bool {
    is_called(args.first(), "docker-compose")
}

fn is_called(argv0: Option<&OsString>, wanted: &str) -> bool {
    argv0.is_some_and(|path| {
        std::path::Path::new(path)
            .file_name()
            .is_some_and(|name| name == wanted)
    })
}

/// `compose` without a command: what its version is, or what commands there are.
fn compose_alone(compose: &ComposeArgs, args: &[OsString], name: &'static str) -> ExitCode {
    let mut out = anstream::stdout();
    let _ = match compose.version {
        true => crate::commands::compose::print_version(&mut out),
        false => write!(out, "{}", named(args, name).render_help().ansi()),
    };
    ExitCode::SUCCESS
}

fn runtime(threads: Threads) -> Result<tokio::runtime::Runtime, CommandError> {
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads == Threads::Many {
        let workers = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
        builder.worker_threads(workers);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| CommandError::internal("cannot start the event loop", error))
}

/// Finds the command and its arguments.
fn parse(name: &'static str, args: &[OsString]) -> Result<ArgMatches, clap::Error> {
    tree(name).try_get_matches_from(args).or_else(|error| {
        let says_whether = |arg: &OsString| {
            let parts = arg.to_str().and_then(|arg| arg.split_once('='));
            parts.is_some_and(|(flag, value)| flag.starts_with('-') && boolean(value).is_ok())
        };
        match args.iter().any(says_whether) {
            true => spelled_out(tree(name)).try_get_matches_from(args),
            false => Err(error),
        }
    })
}

/// The same commands, with `--flag=true` and `--flag=false`, too, which Docker takes for every switch. It is not the
/// tree itself that takes them: its help would show each switch as one that wants a value.
fn spelled_out(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .value_parser(boolean)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true"),
        _ => arg,
    });
    command.mut_subcommands(spelled_out)
}

/// The words that Go, and so Docker, takes for yes and no.
fn boolean(word: &str) -> Result<bool, String> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither `true` nor `false`".to_owned()),
    }
}

/// Builds the whole command tree.
fn tree(name: &'static str) -> clap::Command {
    let root = clap::Command::new(name)
        .subcommand_required(true)
        .styles(Styles::plain())
        .disable_help_subcommand(true)
        .disable_version_flag(true);
    let root = <GlobalArgs as clap::Args>::augment_args(help_flag(root, ArgAction::HelpShort))
        .about("The container toolchain that makes production the default");
    hang(root, "")
}

/// Adds what hangs in a group to it: commands, then groups that are not empty. The root has no name.
fn hang(mut parent: clap::Command, group: &str) -> clap::Command {
    let split = |path: &'static str| path.rsplit_once(' ').unwrap_or(("", path));
    for (index, command) in COMMANDS.iter().enumerate() {
        let names = command.paths.iter().map(|path| split(path));
        for (_, names) in names.filter(|(above, _)| *above == group) {
            parent = parent.subcommand(node(command, index, names));
        }
    }
    for (path, about) in GROUPS {
        let (above, name) = split(path);
        if above != group {
            continue;
        }
        let child = help_flag(clap::Command::new(name), ArgAction::HelpShort)
            .mut_arg("help", |help| help.short_alias('h'))
            .about(*about)
            .subcommand_required(true)
            .disable_help_subcommand(true);
        let child = match *path {
            COMPOSE => <ComposeArgs as clap::Args>::augment_args(child)
                .about(*about)
                .subcommand_required(false),
            _ => child,
        };
        let child = hang(child, path);
        if child.has_subcommands() {
            parent = parent.subcommand(child);
        }
    }
    parent
}

/// One command under one name; its place in the table rides along as a hidden argument.
fn node(command: &Command, index: usize, names: &'static str) -> clap::Command {
    let mut names = names.split('|');
    let name = names.next().expect("split gives one part at least");
    let node = (command.augment)(help_flag(clap::Command::new(name), ArgAction::HelpLong));
    let takes_h = node.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let node = match takes_h {
        true => node,
        false => node.mut_arg("help", |help| help.short_alias('h')),
    };
    node.aliases(names).args_override_self(true).arg(
        Arg::new(INDEX)
            .long(INDEX)
            .hide(true)
            .default_value(index.to_string())
            .value_parser(clap::value_parser!(usize)),
    )
}

const INDEX: &str = "command-index";
/// The group whose flags come before the command.
const COMPOSE: &str = "compose";

/// `--help`; `-h` is not shown, as with Docker, and belongs to `run --hostname` where there is one.
fn help_flag(command: clap::Command, action: ArgAction) -> clap::Command {
    let help = Arg::new("help").long("help").action(action).help("Print help");
    command.disable_help_flag(true).arg(help)
}

/// Returns the command that was chosen, with its arguments.
fn leaf(matches: &ArgMatches) -> (&'static Command, &ArgMatches) {
    let mut current = matches;
    while let Some((_, next)) = current.subcommand() {
        current = next;
    }
    let index = current.get_one::<usize>(INDEX).expect("a leaf carries its index");
    (&COMMANDS[*index], current)
}

/// Prints help, or what is wrong with the command line, and returns the exit code. As with Docker, a group
/// without a command is a question for help.
fn usage(error: &clap::Error, args: &[OsString], name: &'static str) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = write!(anstream::stdout(), "{}", error.render().ansi());
        return ExitCode::SUCCESS;
    }
    let mut command = named(args, name);
    if matches!(error.kind(), ErrorKind::MissingSubcommand) {
        let _ = write!(anstream::stdout(), "{}", command.render_help().ansi());
        return ExitCode::SUCCESS;
    }
    let (message, hint) = words(error, &command, name);
    let mut err = anstream::stderr();
    let style = anstyle::AnsiColor::Red.on_default().bold();
    let _ = writeln!(err, "{style}error{style:#}: {message}");
    if let Some(hint) = hint {
        let _ = write!(err, "{}", plimsoll_diagnostics::emit::text::hint(&hint, true));
    }
    let usage = command.render_usage();
    let _ = writeln!(
        err,
        "\n{usage}\n\nRun '{} --help' for more information",
        full_name(&command)
    );
    let full = full_name(&command);
    let mut words = full.split(' ').skip(1);
    ExitCode::from(match (words.next(), words.next()) {
        // Compose ends with 1 whatever is wrong.
        (Some(COMPOSE), _) => 1,
        // What Docker has not: 1 says that something was found.
        (Some("check"), _) | (Some("system"), Some("check")) => 2,
        _ => exit_code(error),
    })
}

/// The deepest command that the arguments name.
fn named(args: &[OsString], name: &'static str) -> clap::Command {
    let mut root = tree(name);
    root.build();
    let mut current = &root;
    for arg in args.iter().skip(1) {
        match arg.to_str().and_then(|word| current.find_subcommand(word)) {
            Some(next) => current = next,
            None if current.has_subcommands() => {}
            None => break,
        }
    }
    current.clone()
}

/// `plimsoll image ls`
fn full_name(command: &clap::Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

/// Docker: 125 for a flag that it does not know or cannot read, 1 for an unknown command or too many or few arguments.
fn exit_code(error: &clap::Error) -> u8 {
    let about_a_flag = || match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.starts_with('-'),
        _ => true,
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues
        | ErrorKind::InvalidSubcommand => 1,
        ErrorKind::UnknownArgument if !about_a_flag() => 1,
        _ => USAGE,
    }
}

/// The error in Docker's words, and a way out.
fn words(error: &clap::Error, command: &clap::Command, name: &str) -> (String, Option<String>) {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.last().cloned(),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    // `--scale <SERVICE=NUMBER>`, but not what is no flag.
    let argument = match argument.starts_with('-') {
        true => argument.split([' ', '=']).next().unwrap_or_default(),
        false => argument.as_str(),
    };
    let suggestion = |kind| text(kind).map(|word| did_you_mean(&word));
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let near = nearest_flag(argument, command).map(|word| did_you_mean(&word));
            let hint = near
                .or_else(|| global_flag(argument, name))
                .or_else(|| suggestion(ContextKind::SuggestedArg));
            (format!("unknown flag: `{argument}`"), hint)
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => (
            format!("unknown shorthand flag: `{argument}`"),
            global_flag(argument, name),
        ),
        ErrorKind::UnknownArgument => (format!("unexpected argument `{argument}`"), None),
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let names = command
                .get_subcommands()
                .flat_map(|known| known.get_all_aliases().chain([known.get_name()]));
            let near = plimsoll_dockerfile::nearest(&word, names).map(did_you_mean);
            let hint = near.or_else(|| suggestion(ContextKind::SuggestedSubcommand));
            (format!("`{word}` is not a {} command", full_name(command)), hint)
        }
        ErrorKind::MissingRequiredArgument => (format!("missing argument: {}", list(error)), None),
        ErrorKind::InvalidValue
            if argument.starts_with('-')
                && text(ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) =>
        {
            (
                format!("flag needs an argument: `{argument}`"),
                valid_values(error),
            )
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let reason = std::error::Error::source(error)
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            let hint = suggestion(ContextKind::SuggestedValue).or_else(|| valid_values(error));
            (
                format!("invalid argument `{value}` for `{argument}`{reason}"),
                hint,
            )
        }
        _ => (first_line(&error.render().to_string()), None),
    }
}

fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// The flag of `command` that was probably meant.
fn nearest_flag(argument: &str, command: &clap::Command) -> Option<String> {
    let word = argument
        .trim_start_matches('-')
        .split('=')
        .next()
        .unwrap_or_default();
    let flags = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(clap::Arg::get_long);
    plimsoll_dockerfile::nearest(word, flags).map(|flag| format!("--{flag}"))
}

fn list(error: &clap::Error) -> String {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
        _ => "one is required".to_owned(),
    }
}

fn valid_values(error: &clap::Error) -> Option<String> {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            Some(format!("one of {}", values.join(", ")))
        }
        _ => None,
    }
}

/// Docker's global flags stand before the command; so do ours.
fn global_flag(argument: &str, name: &str) -> Option<String> {
    let root = <GlobalArgs as clap::Args>::augment_args(clap::Command::new("root"));
    let flag = argument
        .trim_start_matches('-')
        .split('=')
        .next()
        .unwrap_or_default();
    let known = root.get_arguments().any(|arg| {
        arg.get_long() == Some(flag)
            || arg
                .get_short()
                .is_some_and(|short| flag.len() == 1 && flag.starts_with(short))
    });
    known.then(|| {
        format!(
            "`{argument}` is a global flag and stands before the command: `{name} {argument} ... COMMAND`"
        )
    })
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        tree("plimsoll").debug_assert();
    }

    fn explain(args: &[&str]) -> (String, Option<String>, u8) {
        let error = tree("plimsoll").try_get_matches_from(args).unwrap_err();
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let (message, hint) = words(&error, &named(&args, "plimsoll"), "plimsoll");
        (message, hint, exit_code(&error))
    }

    #[test]
    fn unknown_things_come_with_a_suggestion() {
        assert_eq!(
            explain(&["plimsoll", "version", "--formt", "json"]),
            (
                "unknown flag: `--formt`".to_owned(),
                Some("did you mean `--format`?".to_owned()),
                125
            )
        );
        assert_eq!(
            explain(&["plimsoll", "versoin"]),
            (
                "`versoin` is not a plimsoll command".to_owned(),
                Some("did you mean `version`?".to_owned()),
                1
            )
        );
    }

    #[test]
    fn values_that_are_wrong_are_named_with_what_they_are_for() {
        let message = |args: &[&str]| explain(&[&["plimsoll", "compose"], args].concat()).0;
        assert_eq!(message(&["down", "--rmi"]), "flag needs an argument: `--rmi`");
        assert_eq!(message(&["ps", "--format"]), "flag needs an argument: `--format`");
        let wrong = message(&["scale", "web"]);
        assert!(wrong.contains("`web` for `<SERVICE=NUMBER>...`"), "{wrong}");
        let wrong = message(&["up", "--scale", "web"]);
        assert!(wrong.contains("`web` for `--scale`"), "{wrong}");
    }

    #[test]
    fn switches_take_yes_and_no() {
        let parse = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let matches = parse("plimsoll", &args).map_err(|error| first_line(&error.to_string()))?;
            let (_, matches) = leaf(&matches);
            Ok::<_, String>((matches.get_flag("detach"), matches.get_flag("no_color")))
        };
        let up = ["plimsoll", "compose", "up"];
        assert_eq!(parse(&[&up[..], &["-d"]].concat()).unwrap(), (true, false));
        let both = [&up[..], &["--detach=1", "--no-color=False"]].concat();
        assert_eq!(parse(&both).unwrap(), (true, false));
        let last = [&up[..], &["-d", "--detach=false", "--no-color=true"]].concat();
        assert_eq!(parse(&last).unwrap(), (false, true));
        let wrong = parse(&[&up[..], &["--detach=maybe"]].concat()).unwrap_err();
        assert!(wrong.contains("'--detach'"), "{wrong}");
    }

    #[test]
    fn a_global_flag_after_the_command_says_where_it_belongs() {
        let (message, hint, _) = explain(&["plimsoll", "version", "--root", "/x"]);
        assert_eq!(message, "unknown flag: `--root`");
        assert!(hint.unwrap().contains("before the command"));
    }
}
