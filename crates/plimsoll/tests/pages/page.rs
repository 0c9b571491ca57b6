//! Markdown to sections of blocks.

use std::fs;
use std::path::Path;

/// One test: a `##` section of a page.
pub(crate) struct Section {
    /// `page::title`
    pub(crate) name: String,
    /// The page's file, for messages.
    pub(crate) file: String,
    /// What to do, with the line where it stands.
    pub(crate) blocks: Vec<(usize, Block)>,
}

/// A fenced block by its meaning.
pub(crate) enum Block {
    File { name: String, text: String },
    Script(String),
    Console(Vec<Command>),
    Files { folder: String, listing: String },
    Layer { number: usize, listing: String },
    Config(serde_json::Value),
}

/// A `$ line` of a console block and what is written below it.
pub(crate) struct Command {
    pub(crate) line: String,
    pub(crate) expected: Vec<String>,
}

impl Section {
    /// Tells whether any of its files holds `word`.
    pub(crate) fn names(&self, word: &str) -> bool {
        self.blocks
            .iter()
            .any(|(_, block)| matches!(block, Block::File { text, .. } if text.contains(word)))
    }
}

/// Reads every page of `folder`, by name.
pub(crate) fn all(folder: &Path) -> Vec<Section> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Section> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut sections: Vec<Section> = Vec::new();
    let mut named = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section {
                name: format!("{stem}::{}", slug(title)),
                file: path.display().to_string(),
                blocks: Vec::new(),
            });
        } else if let Some(info) = line.strip_prefix("```") {
            let body: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            let block = block(info, &body, named.take())
                .unwrap_or_else(|reason| panic!("{}:{}: {reason}", path.display(), index + 1));
            let section = sections.last_mut();
            let section = section.unwrap_or_else(|| panic!("{stem}: a block before the first `##`"));
            section.blocks.push((index + 1, block));
        } else if let Some(name) = line.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:")) {
            named = Some(name.to_owned());
        }
    }
    sections
}

fn block(info: &str, body: &[&str], named: Option<String>) -> Result<Block, String> {
    let text = body.iter().map(|line| format!("{line}\n")).collect::<String>();
    let (kind, rest) = info.split_once(' ').unwrap_or((info, ""));
    Ok(match (named, kind) {
        (Some(name), _) => Block::File { name, text },
        (None, "dockerfile") => Block::File {
            name: "Dockerfile".to_owned(),
            text,
        },
        (None, "sh") => Block::Script(format!("set -eu\n{text}")),
        (None, "console") => Block::Console(console(body)?),
        (None, "files") => Block::Files {
            folder: rest.to_owned(),
            listing: text,
        },
        (None, "layer") => Block::Layer {
            number: rest.parse().map_err(|error| format!("layer `{rest}`: {error}"))?,
            listing: text,
        },
        (None, "config") => Block::Config(serde_json::from_str(&text).map_err(|error| error.to_string())?),
        (None, kind) => return Err(format!("`{kind}` is no kind of block")),
    })
}

fn console(body: &[&str]) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    for line in body {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(line), _) => commands.push(Command {
                line: line.to_owned(),
                expected: Vec::new(),
            }),
            (None, Some(command)) => command.expected.push((*line).to_owned()),
            (None, None) => return Err("a console block begins with `$ `".to_owned()),
        }
    }
    Ok(commands)
}

fn slug(title: &str) -> String {
    let parts = title
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("_").to_lowercase()
}
