//! How an image came to be.

use plimsoll_oci::History;

use crate::{Image, Images, Result};

/// One line of an image's history.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the configuration says of it; nothing for a layer that it does not explain.
    pub history: History,
    /// The layer it made, counted from the base, if it made one.
    pub layer: Option<usize>,
    /// Bytes of that layer's files.
    pub size: u64,
}

impl Images {
    /// Returns how the image came to be, base first.
    pub fn history(&self, image: &Image) -> Result<Vec<Step>> {
        Ok(steps(&image.config.history, &self.layer_sizes(image)?))
    }
}

/// Joins history and layers. Layers that the history does not explain are there all the same, at the end.
fn steps(history: &[History], sizes: &[u64]) -> Vec<Step> {
    let mut layers = sizes.iter().copied().enumerate();
    let mut steps = Vec::with_capacity(history.len());
    for history in history {
        let layer = if history.empty_layer { None } else { layers.next() };
        steps.push(Step {
            history: history.clone(),
            layer: layer.map(|(layer, _)| layer),
            size: layer.map_or(0, |(_, size)| size),
        });
    }
    steps.extend(layers.map(|(layer, size)| Step {
        history: History::default(),
        layer: Some(layer),
        size,
    }));
    steps
}

impl Step {
    /// The instruction as somebody would write it, as far as history has it: without the shell, the arguments and the
    /// remarks that builders put there.
    pub fn instruction(&self) -> String {
        let text = self.history.created_by.as_deref().unwrap_or_default();
        let text = text.strip_suffix("# buildkit").unwrap_or(text).trim();
        if let Some(command) = text.strip_prefix("RUN ") {
            return format!("RUN {}", command_of(command));
        }
        // Docker's builder before BuildKit: the shell, and `#(nop)` when nothing ran.
        match text.strip_prefix("/bin/sh -c ").map(str::trim) {
            Some(rest) => match rest.strip_prefix("#(nop)") {
                Some(instruction) => instruction.trim().to_owned(),
                None => format!("RUN {rest}"),
            },
            None if text.starts_with('|') => format!("RUN {}", command_of(text)),
            None => text.to_owned(),
        }
    }
}

/// What `|1 VERSION=2 /bin/sh -c make` runs.
fn command_of(text: &str) -> &str {
    const SHELL: &str = "/bin/sh -c ";
    match text.strip_prefix(SHELL) {
        Some(command) => command.trim(),
        None if text.starts_with('|') => match text.find(SHELL) {
            Some(place) => text[place + SHELL.len()..].trim(),
            None => text,
        },
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(by: &str, empty_layer: bool) -> History {
        History {
            created_by: Some(by.to_owned()),
            empty_layer,
            ..History::default()
        }
    }

    #[test]
    fn layers_belong_to_the_instructions_that_made_one() {
        let history = [
            row("ADD rootfs", false),
            row("CMD sh", true),
            row("RUN make", false),
        ];
        let steps = steps(&history, &[10, 20, 30]);
        let seen: Vec<_> = steps
            .iter()
            .map(|step| (step.history.created_by.as_deref(), step.layer, step.size))
            .collect();
        assert_eq!(
            seen,
            [
                (Some("ADD rootfs"), Some(0), 10),
                (Some("CMD sh"), None, 0),
                (Some("RUN make"), Some(1), 20),
                (None, Some(2), 30),
            ]
        );
    }

    #[test]
    fn instructions_read_as_written() {
        for (by, instruction) in [
            ("RUN |2 A=1 B=x y /bin/sh -c make all # buildkit", "RUN make all"),
            ("RUN /bin/sh -c make # buildkit", "RUN make"),
            ("RUN make all # buildkit", "RUN make all"),
            ("COPY a /b # buildkit", "COPY a /b"),
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            ("/bin/sh -c apt-get update", "RUN apt-get update"),
            ("|1 V=2 /bin/sh -c echo", "RUN echo"),
            ("crane append", "crane append"),
        ] {
            let step = Step {
                history: row(by, false),
                layer: None,
                size: 0,
            };
            assert_eq!(step.instruction(), instruction);
        }
    }
}
