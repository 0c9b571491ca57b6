//! Instructions that only edit the configuration, and are expanded.

use plimsoll_dockerfile::{ArgDeclaration, KeyValue, Word, expand_words};

use super::state::insert_key;
use super::{Lower, Lowering, StageState, join};

impl Lowering<'_> {
    /// All values of one ENV see the state before it.
    pub(super) fn env(&self, state: &mut StageState, pairs: &[KeyValue]) -> Lower<()> {
        let expanded = self.pairs(state, pairs)?;
        let shown: Vec<String> = expanded
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        expanded
            .iter()
            .for_each(|(name, value)| state.set_env(name, value));
        state.metadata_row(format!("ENV {}", shown.join(" ")));
        Ok(())
    }

    pub(super) fn label(&self, state: &mut StageState, pairs: &[KeyValue]) -> Lower<()> {
        let expanded = self.pairs(state, pairs)?;
        let shown: Vec<String> = expanded
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        state.config.labels.get_or_insert_default().extend(expanded);
        state.metadata_row(format!("LABEL {}", shown.join(" ")));
        Ok(())
    }

    fn pairs(&self, state: &StageState, pairs: &[KeyValue]) -> Lower<Vec<(String, String)>> {
        pairs
            .iter()
            .map(|pair| Ok((self.expand(state, &pair.key)?, self.expand(state, &pair.value)?)))
            .collect()
    }

    /// `--build-arg` beats the default, which beats the value from before the first FROM.
    pub(super) fn arg(&self, state: &mut StageState, declarations: &[ArgDeclaration]) -> Lower<()> {
        let mut shown = Vec::new();
        for ArgDeclaration { name, default } in declarations {
            let default = default
                .as_ref()
                .map(|word| self.expand(state, word))
                .transpose()?;
            shown.push(match &default {
                Some(default) => format!("{}={default}", name.value),
                None => name.value.clone(),
            });
            let given = self.settings.build_args.get(&name.value).cloned();
            let global = || self.plan.globals.get(&name.value).cloned().flatten();
            let value = given.or(default).or_else(global);
            state.set_arg(&name.value, value);
        }
        state.metadata_row(format!("ARG {}", shown.join(" ")));
        Ok(())
    }

    pub(super) fn expose(&self, state: &mut StageState, words: &[Word]) -> Lower<()> {
        let mut shown = Vec::new();
        for word in words {
            for text in self.words(state, word)? {
                for port in ports(&text).map_err(|reason| self.error("invalid-port", word.span, reason))? {
                    shown.push(port.clone());
                    insert_key(&mut state.config.exposed_ports, port);
                }
            }
        }
        shown.sort();
        state.metadata_row(format!("EXPOSE {}", super::shown::plain(&shown)));
        Ok(())
    }

    fn words(&self, state: &StageState, word: &Word) -> Lower<Vec<String>> {
        let lookup = |name: &str| state.variable(name);
        expand_words(&word.value, self.directives.escape, &lookup)
            .map_err(|error| self.error("expansion", word.span, error.to_string()))
    }

    pub(super) fn volume(&self, state: &mut StageState, words: &[Word]) -> Lower<()> {
        let mut shown = Vec::new();
        for word in words {
            let path = self.expand(state, word)?;
            if path.is_empty() {
                return Err(self.error(
                    "empty-volume",
                    word.span,
                    "VOLUME needs a path, this one is empty",
                ));
            }
            insert_key(&mut state.config.volumes, path.clone());
            shown.push(path);
        }
        state.metadata_row(format!("VOLUME {}", super::shown::plain(&shown)));
        Ok(())
    }

    pub(super) fn user(&self, state: &mut StageState, word: &Word) -> Lower<()> {
        state.config.user = self.expand(state, word)?;
        state.metadata_row(format!("USER {}", state.config.user));
        Ok(())
    }

    pub(super) fn stop_signal(&self, state: &mut StageState, word: &Word) -> Lower<()> {
        let signal = self.expand(state, word)?;
        if !is_signal(&signal) {
            let error = self.error("invalid-signal", word.span, format!("`{signal}` is not a signal"));
            return Err(Box::new(
                error.with_help("use a name such as `SIGTERM` or a number from 1 to 64"),
            ));
        }
        state.metadata_row(format!("STOPSIGNAL {signal}"));
        state.config.stop_signal = Some(signal);
        Ok(())
    }

    /// Later paths are relative to it; made at once, owned by the current USER.
    pub(super) fn workdir(
        &mut self,
        state: &mut StageState,
        instruction: &plimsoll_dockerfile::Instruction,
        word: &Word,
        steps: &mut super::Steps,
    ) -> Lower<()> {
        let path = join(state.workdir(), &self.expand(state, word)?);
        state.config.working_dir.clone_from(&path);
        let op = crate::op::MkdirOp {
            path: path.clone(),
            owner: state.config.user.clone(),
        };
        let name = steps.next(&instruction.text, Some(state));
        self.push(
            state,
            name,
            instruction.span,
            crate::op::Operation::Mkdir(op),
            None,
        );
        state.layer_row(format!("WORKDIR {path}"));
        Ok(())
    }
}

/// `80`, `80/udp`, `8000-8002/tcp`; an address or host port in front is dropped, as Docker does.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("`{text}`: the protocol must be tcp, udp or sctp"));
    }
    let range = range.rsplit_once(':').map_or(range, |(_, port)| port);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let parse = |port: &str| {
        port.parse::<u16>()
            .map_err(|_| format!("`{text}` is not a port: expected 0 to 65535"))
    };
    let (first, last) = (parse(first)?, parse(last)?);
    if first > last {
        return Err(format!("`{text}`: the range ends before it starts"));
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    NAMES.contains(&name) || name.starts_with("RTMIN") || name.starts_with("RTMAX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges() {
        assert_eq!(ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(ports("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(ports("8000-8002").unwrap(), ["8000/tcp", "8001/tcp", "8002/tcp"]);
        assert_eq!(ports("127.0.0.1:80:8080").unwrap(), ["8080/tcp"]);
        for wrong in ["", "x", "70000", "80/icmp", "9-8"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signals() {
        for right in ["SIGTERM", "term", "15", "SIGRTMIN+3", "RTMAX-1"] {
            assert!(is_signal(right), "{right}");
        }
        for wrong in ["", "0", "65", "SIGNOPE"] {
            assert!(!is_signal(wrong), "{wrong}");
        }
    }
}
