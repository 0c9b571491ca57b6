//! `--chmod`: octal or symbolic, as chmod(1) has it with an umask of 0.

use std::fmt;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;

/// What `--chmod` makes of a file's mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// `644`: this, whatever it was.
    Octal(u32),
    /// `u=rwX,go=rX`: one change after the other.
    Symbolic(Vec<Step>),
}

/// One `ug+rw` of a symbolic mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Permission bits of those it is about, 0700, 0070, 0007 or several.
    who: u32,
    /// False where nobody is named: sets-id and sticky bits then change too.
    named: bool,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permissions {
    /// `rwx` for all three, sets-id and sticky; `X` apart.
    Bits { bits: u32, execute_if_any: bool },
    /// `g=u`: what user (0), group (1) or others (2) have.
    Copied(u32),
}

impl ModeChange {
    /// Reads octal digits up to 7777 or a symbolic mode; none for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok()?;
            return (mode <= 0o7777).then_some(Self::Octal(mode));
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            clause_steps(clause, &mut steps)?;
        }
        Some(Self::Symbolic(steps))
    }

    /// Returns the mode that a file of this mode gets.
    pub(crate) fn apply(&self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(steps) => steps
                .iter()
                .fold(mode, |now, step| step.apply(now, mode, directory)),
        }
    }

    /// Returns the mode of a parent directory that has to be made: 0755 changed, without sets-id and sticky bits.
    pub(crate) fn parent(&self) -> u32 {
        self.apply(0o755, true) & 0o777
    }
}

/// As chmod(1) would be told.
impl fmt::Display for ModeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octal(mode) => write!(f, "{mode:o}"),
            Self::Symbolic(steps) => {
                let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
                f.write_str(&steps.join(","))
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = |pairs: &[(u32, char)], bits: u32| -> String {
            let set = pairs.iter().filter(|(bit, _)| bits & bit != 0);
            set.map(|(_, letter)| letter).collect()
        };
        let who = letters(&[(0o700, 'u'), (0o070, 'g'), (0o007, 'o')], self.who);
        let operator = match self.operator {
            Operator::Add => '+',
            Operator::Remove => '-',
            Operator::Set => '=',
        };
        let permissions = match self.permissions {
            Permissions::Copied(class) => ["u", "g", "o"][class as usize].to_owned(),
            Permissions::Bits { bits, execute_if_any } => {
                let known = [
                    (0o400, 'r'),
                    (0o200, 'w'),
                    (0o100, 'x'),
                    (SETUID, 's'),
                    (STICKY, 't'),
                ];
                letters(&known, bits) + if execute_if_any { "X" } else { "" }
            }
        };
        write!(f, "{}{operator}{permissions}", if self.named { &who } else { "" })
    }
}

fn clause_steps(clause: &str, steps: &mut Vec<Step>) -> Option<()> {
    let operator_at = clause.find(['+', '-', '='])?;
    let mut who = 0;
    for letter in clause[..operator_at].chars() {
        who |= match letter {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return None,
        };
    }
    let named = who != 0;
    let who = if named { who } else { 0o777 };
    let mut rest = &clause[operator_at..];
    while let Some(first) = rest.chars().next() {
        let operator = match first {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            '=' => Operator::Set,
            _ => return None,
        };
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let permissions = permissions(&rest[..end])?;
        rest = &rest[end..];
        steps.push(Step {
            who,
            named,
            operator,
            permissions,
        });
    }
    Some(())
}

fn permissions(letters: &str) -> Option<Permissions> {
    match letters {
        "u" => return Some(Permissions::Copied(0)),
        "g" => return Some(Permissions::Copied(1)),
        "o" => return Some(Permissions::Copied(2)),
        _ => {}
    }
    let (mut bits, mut execute_if_any) = (0, false);
    for letter in letters.chars() {
        match letter {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= EXECUTE,
            's' => bits |= SETUID | SETGID,
            't' => bits |= STICKY,
            'X' => execute_if_any = true,
            _ => return None,
        }
    }
    Some(Permissions::Bits { bits, execute_if_any })
}

impl Step {
    fn apply(&self, now: u32, before: u32, directory: bool) -> u32 {
        let bits = match self.permissions {
            Permissions::Copied(class) => (now >> (6 - 3 * class) & 0o7) * EXECUTE,
            Permissions::Bits { bits, execute_if_any } => {
                let any = execute_if_any && (directory || before & EXECUTE != 0);
                bits | if any { EXECUTE } else { 0 }
            }
        };
        let bits = bits & self.reach();
        match self.operator {
            Operator::Add => now | bits,
            Operator::Remove => now & !bits,
            // As chmod(1): a directory keeps its set-id bits unless they are named.
            Operator::Set => {
                let cleared = if directory {
                    self.who
                } else {
                    self.who | self.set_ids()
                };
                now & !cleared | bits
            }
        }
    }

    /// The bits that the step may touch.
    fn reach(&self) -> u32 {
        let sticky = if !self.named || self.who == 0o777 {
            STICKY
        } else {
            0
        };
        self.who | self.set_ids() | sticky
    }

    fn set_ids(&self) -> u32 {
        let user = if self.who & 0o700 != 0 { SETUID } else { 0 };
        let group = if self.who & 0o070 != 0 { SETGID } else { 0 };
        user | group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_changed_as_chmod_does() {
        // Computed with chmod(1) of coreutils under `umask 0`.
        for (text, mode, directory, expected) in [
            ("644", 0o755, false, 0o644),
            ("0755", 0o600, false, 0o755),
            ("4755", 0o644, false, 0o4755),
            ("7777", 0, true, 0o7777),
            ("0", 0o777, false, 0),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o777, false, 0o555),
            ("go=", 0o777, false, 0o700),
            ("g=u", 0o640, false, 0o660),
            ("o=g-w", 0o670, false, 0o675),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("o+s", 0o755, false, 0o755),
            ("u=rw,u+x", 0o000, false, 0o700),
            ("+X", 0o644, false, 0o644),
            ("+X", 0o744, false, 0o755),
            ("a=rX", 0o640, true, 0o555),
            ("u=", 0o4755, false, 0o055),
        ] {
            let change = ModeChange::parse(text).unwrap();
            assert_eq!(
                change.apply(mode, directory),
                expected,
                "{text} on {mode:o}: {:o}",
                change.apply(mode, directory)
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "", "8", "999", "10000", "abc", "u", "rwx", "u=rw,", "z+x", "u+y", "-", "+644", " 644", "644x",
            "u=gr",
        ] {
            let refused = ModeChange::parse(text).is_none() || text == "-";
            assert!(refused, "{text}");
        }
    }

    #[test]
    fn a_change_is_shown_so_that_it_reads_the_same() {
        for text in [
            "644",
            "4755",
            "u=rwX,go=rX",
            "+x",
            "g=u",
            "u=rw,u+x",
            "ug+s",
            "+t",
            "a-w",
        ] {
            let change = ModeChange::parse(text).unwrap();
            assert_eq!(ModeChange::parse(&change.to_string()), Some(change), "{text}");
        }
    }

    #[test]
    fn parents_get_no_set_id_bits() {
        assert_eq!(ModeChange::parse("4700").unwrap().parent(), 0o700);
        assert_eq!(ModeChange::parse("go-rx").unwrap().parent(), 0o700);
    }
}
