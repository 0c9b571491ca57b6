//! Simple commands, and what is asked of them.

use plimsoll_diagnostics::Span;

use super::word::ShellWord;

/// A simple command: a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellCommand {
    /// From its first word to its last, redirections included.
    pub span: Span,
    /// Its words, the program's name first.
    pub words: Vec<ShellWord>,
    /// `A=b` before the name; behind `export` and the like, what these declare.
    pub assignments: Vec<Assignment>,
    /// Where its output goes and its input comes from.
    pub redirects: Vec<Redirect>,
    /// How it is joined to what stands before it.
    pub joint: Joint,
    /// The pipeline that it is part of, alone or not.
    pub pipeline: Pipeline,
    /// What it stands in.
    pub place: Place,
    /// Which list it stands in; commands of one list run one after another.
    pub list: usize,
    /// Which of the words names the program that is run in the end: `sudo env A=b apt-get` runs `apt-get`.
    pub(super) program: usize,
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Where it stands.
    pub span: Span,
    /// The variable.
    pub name: String,
    /// Its value; none for an array.
    pub value: Option<ShellWord>,
}

/// A redirection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where it stands.
    pub span: Span,
    /// What it does.
    pub kind: RedirectKind,
    /// The descriptor that is named.
    pub descriptor: Option<i32>,
    /// The file; none for here-documents and duplicates.
    pub target: Option<ShellWord>,
}

/// What a redirection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    /// `>`, `>|`, `&>`.
    Write,
    /// `>>`.
    Append,
    /// `<`.
    Read,
    /// `<<` and `<<<`.
    Document,
    /// `2>&1` and the rest.
    Other,
}

/// How a command is joined to what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// Nothing stands before it in its list.
    First,
    /// `&&`.
    And,
    /// `||`.
    Or,
    /// `;` or a new line.
    Next,
}

/// The pipeline of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Which it is; the same for its commands.
    pub id: usize,
    /// Which of its parts the command is.
    pub index: usize,
    /// How many parts it has; 1 for a command alone.
    pub length: usize,
    /// All of it.
    pub span: Span,
}

/// What a command stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// `( )`.
    pub subshell: bool,
    /// Between `if` and `then`, `while` and `do`.
    pub condition: bool,
    /// In a branch of `if` or `case`.
    pub branch: bool,
    /// In a loop.
    pub looped: bool,
    /// In the body of a function.
    pub function: bool,
    /// In `$( )`, backticks or `<( )`.
    pub substitution: bool,
    /// In the text that another shell is given: `sh -c '...'`.
    pub nested: bool,
    /// Ended by `&`.
    pub background: bool,
    /// After `!`.
    pub negated: bool,
    /// Left of `&&` or `||`, so somebody looks at how it ends.
    pub watched: bool,
    /// Left of `||`, so its failure has a way out.
    pub rescued: bool,
}

impl ShellCommand {
    /// The name of the program that is run in the end, without its folder: behind `sudo`, `env`, `exec`, `xargs` and the
    /// like. None where the shell puts it in.
    pub fn program(&self) -> Option<&str> {
        let word = self.words.get(self.program)?;
        word.is_literal().then(|| base_name(&word.text))
    }

    /// The word that names the program.
    pub fn program_word(&self) -> Option<&ShellWord> {
        self.words.get(self.program)
    }

    /// The arguments of that program.
    pub fn args(&self) -> &[ShellWord] {
        self.words.get(self.program + 1..).unwrap_or_default()
    }

    /// Whether it is run by way of another program (`sudo`, ...).
    pub fn is_run_by(&self, name: &str) -> bool {
        let wrappers = self.words.get(..self.program).unwrap_or_default();
        wrappers.iter().any(|word| base_name(&word.text) == name) || (self.program() == Some(name))
    }

    /// Whether an option is given: by letter, alone or in a cluster (`-qy`), or by name (`--yes`, `--yes=...`).
    pub fn has_flag(&self, letter: Option<char>, names: &[&str]) -> bool {
        self.flag(letter, names).is_some()
    }

    /// The word that gives an option.
    pub fn flag(&self, letter: Option<char>, names: &[&str]) -> Option<&ShellWord> {
        let options = self.args().iter().take_while(|word| word.text != "--");
        let is_named = |text: &str| {
            let name = text.split('=').next().unwrap_or(text);
            names.contains(&name)
        };
        let is_letter = |text: &str| {
            let letters = text.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
            letters.is_some_and(|letters| letter.is_some_and(|letter| letters.contains(letter)))
        };
        options
            .into_iter()
            .find(|word| is_named(&word.text) || is_letter(&word.text))
    }

    /// The value of an option: `--name=value`, `--name value` or `-n value`.
    pub fn flag_value(&self, names: &[&str]) -> Option<&str> {
        let args = self.args();
        args.iter().enumerate().find_map(|(at, word)| {
            if names.contains(&word.text.as_str()) {
                return args.get(at + 1).map(|value| value.text.as_str());
            }
            let (name, value) = word.text.split_once('=')?;
            names.contains(&name).then_some(value)
        })
    }

    /// The arguments that are no options; `valued` are the options whose value is the next word.
    pub fn operands<'a>(&'a self, valued: &'a [&'a str]) -> impl Iterator<Item = &'a ShellWord> {
        operands(self.args(), valued)
    }

    /// The first argument that is no option: what `apt-get`, `npm` or `git` are told to do.
    pub fn subcommand(&self) -> Option<&str> {
        self.operands(&[]).next().map(|word| word.text.as_str())
    }

    /// Whether it runs whenever the text is run, as long as nothing before it fails.
    pub fn always_runs(&self) -> bool {
        let place = self.place;
        let conditional =
            place.condition || place.branch || place.looped || place.function || place.substitution;
        !conditional && self.joint != Joint::Or
    }
}

/// Those of some arguments that are no options; `valued` are the options whose value is the next word.
pub fn operands<'a>(args: &'a [ShellWord], valued: &'a [&'a str]) -> impl Iterator<Item = &'a ShellWord> {
    let mut skip = false;
    let mut only_operands = false;
    args.iter().filter(move |word| {
        if std::mem::take(&mut skip) {
            return false;
        }
        if only_operands {
            return true;
        }
        if word.text == "--" {
            only_operands = true;
            return false;
        }
        skip = valued.contains(&word.text.as_str());
        !word.is_flag() && !skip
    })
}

pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Finds the word that names the program which is run in the end.
pub(super) fn program(words: &[ShellWord]) -> usize {
    let mut at = 0;
    loop {
        match behind_wrapper(words, at) {
            Some(next) if next < words.len() => at = next,
            _ => return at,
        }
    }
}

/// The word behind a program that only runs another one, behind its options.
fn behind_wrapper(words: &[ShellWord], at: usize) -> Option<usize> {
    let name = base_name(&words.get(at)?.text);
    let rest = &words[at + 1..];
    // Options with a value, and how many words come before the program.
    let (valued, operands): (&[&str], usize) = match name {
        "sudo" | "doas" => (
            &["-u", "-g", "-h", "-p", "-C", "-r", "-t", "--user", "--group"],
            0,
        ),
        "env" => (&["-u", "--unset", "-C", "--chdir"], 0),
        "command" | "exec"
            if rest
                .first()
                .is_some_and(|word| ["-v", "-V"].contains(&word.text.as_str())) =>
        {
            return None;
        }
        "exec" => (&["-a"], 0),
        "command" | "builtin" | "nohup" | "time" | "setsid" | "chronic" | "eatmydata" | "stdbuf"
        | "busybox" => (&[], 0),
        "tini" | "dumb-init" | "catatonit" => (&["-p", "-e", "--rewrite", "-r"], 0),
        "nice" => (&["-n", "--adjustment"], 0),
        "ionice" => (&["-c", "-n", "--class", "--classdata"], 0),
        "timeout" => (&["-k", "-s", "--kill-after", "--signal"], 1),
        "xargs" => (
            &[
                "-n",
                "-I",
                "-L",
                "-P",
                "-d",
                "-a",
                "-E",
                "-s",
                "--max-args",
                "--max-procs",
                "--delimiter",
            ],
            0,
        ),
        "gosu" | "su-exec" | "chroot" => (&[], 1),
        _ => return None,
    };
    let mut operands = operands;
    let mut rest = rest.iter().enumerate();
    while let Some((offset, word)) = rest.next() {
        let text = word.text.as_str();
        if text == "--" {
            continue;
        }
        if word.is_flag() {
            if valued.contains(&text) {
                rest.next();
            }
        } else if is_assignment(text) && matches!(name, "env" | "sudo" | "doas") {
        } else if operands > 0 {
            operands -= 1;
        } else {
            return Some(at + 1 + offset);
        }
    }
    None
}

fn is_assignment(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name).unwrap_or_default();
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
