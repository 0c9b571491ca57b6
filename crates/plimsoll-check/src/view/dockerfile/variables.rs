//! What variables are worth at an instruction.

use plimsoll_dockerfile::{Instruction, InstructionKind, Word, expand};
use plimsoll_oci::Platform;

use super::{Base, DockerfileView};

/// A value that an ARG or ENV gives.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    /// The instruction that gives it.
    at: usize,
    name: String,
    value: Option<String>,
    /// ENV wins over ARG.
    env: bool,
}

/// What a variable is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// This.
    Known(String),
    /// It is declared, but its value is given to the build, or made of one that is.
    Unknown,
    /// Nothing in the file declares it; the base image may.
    Undefined,
}

impl DockerfileView {
    /// What a variable is worth when the instruction `at` is run. Before the first FROM and in a FROM these are the
    /// global arguments.
    pub fn variable(&self, at: usize, name: &str) -> Variable {
        let step = self.step(at);
        match step.stage {
            Some(stage) if at != stage.from => {
                let mut bindings = &stage.bindings[..];
                let after = bindings.partition_point(|binding| binding.at < at);
                bindings = &bindings[..after];
                let mut found = bindings.iter().rev().filter(|binding| binding.name == name);
                let env = found.clone().find(|binding| binding.env);
                worth(env.or_else(|| found.next()))
            }
            _ => self.global(name, at),
        }
    }

    /// A word with its variables replaced and its quotes removed; none where a variable is not known, or the word cannot
    /// be expanded.
    pub fn expand(&self, at: usize, word: &Word) -> Option<String> {
        self.expand_with(&word.value, |name| self.variable(at, name))
    }

    /// Names of the variables that may be used in an instruction, for suggestions.
    pub fn variables_at(&self, at: usize) -> Vec<&str> {
        let stage = self.step(at).stage.filter(|stage| stage.from != at);
        let bindings = stage.map_or(&self.globals[..], |stage| &stage.bindings[..]);
        let before = bindings.iter().filter(|binding| binding.at < at);
        before.map(|binding| binding.name.as_str()).collect()
    }

    pub(super) fn expand_global(&self, word: &Word) -> Option<String> {
        self.expand_with(&word.value, |name| self.global(name, usize::MAX))
    }

    fn expand_with(&self, text: &str, lookup: impl Fn(&str) -> Variable) -> Option<String> {
        if !text.contains(['$', '"', '\'', self.dockerfile.directives.escape]) {
            return Some(text.to_owned());
        }
        let unknown = std::cell::Cell::new(false);
        let expanded = expand(
            text,
            self.dockerfile.directives.escape,
            &|name| match lookup(name) {
                Variable::Known(value) => Some(value),
                Variable::Unknown => {
                    unknown.set(true);
                    None
                }
                Variable::Undefined => None,
            },
        );
        let expanded = expanded.ok()?;
        // `${a:-b}` has a value even when nothing says what `a` is.
        (!unknown.get() && expanded.undefined.is_empty()).then_some(expanded.text)
    }

    fn global(&self, name: &str, before: usize) -> Variable {
        let own = self
            .globals
            .iter()
            .rev()
            .find(|binding| binding.name == name && binding.at < before);
        match own {
            Some(_) => worth(own),
            None => self.predefined(name),
        }
    }

    /// The platform arguments, which every build has.
    fn predefined(&self, name: &str) -> Variable {
        let (platform, part) = if let Some(part) = name.strip_prefix("TARGET") {
            (self.settings.platform.as_deref(), part)
        } else if let Some(part) = name.strip_prefix("BUILD") {
            (None, part)
        } else {
            return Variable::Undefined;
        };
        let platform = match platform.map(str::parse) {
            Some(Ok(platform)) => platform,
            _ => Platform::host(),
        };
        Variable::Known(match part {
            "PLATFORM" => platform.to_string(),
            "OS" => platform.os,
            "ARCH" => platform.architecture,
            "VARIANT" => platform.variant.unwrap_or_default(),
            "STAGE" => self.settings.targets.first().cloned().unwrap_or("default".into()),
            _ => return Variable::Undefined,
        })
    }

    pub(super) fn read_globals(&mut self) {
        for at in 0..self.dockerfile.instructions.len() {
            let instruction = &self.dockerfile.instructions[at];
            let InstructionKind::Arg(declarations) = &instruction.kind else {
                if matches!(instruction.kind, InstructionKind::From(_)) {
                    break;
                }
                continue;
            };
            let mut found = Vec::with_capacity(declarations.len());
            for declaration in declarations {
                let given = self.settings.args.get(&declaration.name.value).cloned();
                let default = || {
                    let default = declaration.default.as_ref()?;
                    self.expand_global(default)
                };
                found.push(Binding {
                    at,
                    name: declaration.name.value.clone(),
                    value: given.or_else(default),
                    env: false,
                });
            }
            self.globals.extend(found);
        }
    }

    /// Works out the variables of a stage, after those of what it stands on.
    pub(super) fn bind(&mut self, stage: usize) {
        let mut bindings = match self.stages[stage].base {
            Base::Stage(base) => self.stages[base].bindings.clone(),
            _ => Vec::new(),
        };
        let from = self.stages[stage].from;
        bindings.iter_mut().for_each(|binding| binding.at = from);
        self.stages[stage].bindings = bindings;
        for at in self.stages[stage].body.clone() {
            let found = self.bindings(at, &self.dockerfile.instructions[at]);
            self.stages[stage].bindings.extend(found);
        }
    }

    fn bindings(&self, at: usize, instruction: &Instruction) -> Vec<Binding> {
        match &instruction.kind {
            InstructionKind::Arg(declarations) => {
                let binding = |declaration: &plimsoll_dockerfile::ArgDeclaration| {
                    let name = declaration.name.value.clone();
                    let given = self.settings.args.get(&name).cloned();
                    let default = declaration.default.as_ref();
                    let value = given.or_else(|| self.expand(at, default?)).or_else(|| {
                        match self.global(&name, usize::MAX) {
                            Variable::Known(value) if default.is_none() => Some(value),
                            _ => None,
                        }
                    });
                    Binding {
                        at,
                        name,
                        value,
                        env: false,
                    }
                };
                declarations.iter().map(binding).collect()
            }
            InstructionKind::Env(pairs) => {
                let pairs = pairs.iter().map(|pair| Binding {
                    at,
                    name: self
                        .expand(at, &pair.key)
                        .unwrap_or_else(|| pair.key.value.clone()),
                    value: self.expand(at, &pair.value),
                    env: true,
                });
                pairs.collect()
            }
            _ => Vec::new(),
        }
    }
}

fn worth(binding: Option<&Binding>) -> Variable {
    match binding {
        None => Variable::Undefined,
        Some(Binding { value: None, .. }) => Variable::Unknown,
        Some(Binding {
            value: Some(value), ..
        }) => Variable::Known(value.clone()),
    }
}
