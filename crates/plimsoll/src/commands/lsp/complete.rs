//! What could be written next: an instruction, one of its flags, a stage, a variable.

use lsp_types::{CompletionItem, CompletionItemKind, Documentation, MarkupContent, MarkupKind};
use plimsoll_check::view::{DockerfileView, Stage};
use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::{KEYWORDS, flags_of};

use super::hover::help;

/// What fits at `offset`.
pub(super) fn at(view: &DockerfileView, offset: usize) -> Vec<CompletionItem> {
    let text = &*view.source.text;
    let start = start_of_instruction(view, offset);
    let before = &text[start..offset];
    let word = &before[before.rfind(char::is_whitespace).map_or(0, |at| at + 1)..];
    let mut words = before.split_whitespace();
    let first = words.next().unwrap_or_default();
    if word.len() == before.trim_start().len() {
        return keywords(word);
    }
    if first.eq_ignore_ascii_case("ONBUILD")
        && before.split_whitespace().count() <= 2
        && !word.starts_with('-')
    {
        return keywords(word);
    }
    let keyword = match first.eq_ignore_ascii_case("ONBUILD") {
        true => words.next().unwrap_or_default(),
        false => first,
    };
    let stages = || stages(view, offset);
    if word.contains('$') {
        return variables(view, offset);
    }
    if let Some((flag, _)) = word.split_once('=').filter(|_| word.starts_with("--")) {
        return match flag {
            "--from" => stages(),
            _ => Vec::new(),
        };
    }
    if word.starts_with('-') {
        return flags(keyword);
    }
    match keyword.to_ascii_uppercase().as_str() {
        "FROM"
            if before
                .split_whitespace()
                .filter(|word| !word.starts_with("--"))
                .count()
                <= 2 =>
        {
            stages()
        }
        _ => Vec::new(),
    }
}

/// Where the instruction begins that the place is in, over lines that continue.
fn start_of_instruction(view: &DockerfileView, offset: usize) -> usize {
    let escape = view.dockerfile.directives.escape;
    let text = &*view.source.text;
    let mut start = view.source.line_at(offset).start;
    while start > 0 {
        let above = view.source.line_at(start - 1);
        if !view.source.slice(above).trim_end().ends_with(escape) {
            break;
        }
        start = above.start;
    }
    start + usize::from(text[start..].starts_with('\u{feff}')) * '\u{feff}'.len_utf8()
}

fn keywords(written: &str) -> Vec<CompletionItem> {
    let lower = !written.is_empty() && written.chars().all(|letter| letter.is_ascii_lowercase());
    let item = |keyword: &&str| CompletionItem {
        label: match lower {
            true => keyword.to_ascii_lowercase(),
            false => (*keyword).to_owned(),
        },
        kind: Some(CompletionItemKind::KEYWORD),
        documentation: help(keyword).map(markdown),
        ..CompletionItem::default()
    };
    let current = KEYWORDS.iter().filter(|keyword| **keyword != "MAINTAINER");
    current.map(item).collect()
}

fn markdown(value: String) -> Documentation {
    Documentation::MarkupContent(MarkupContent {
        kind: MarkupKind::Markdown,
        value,
    })
}

fn flags(keyword: &str) -> Vec<CompletionItem> {
    let item = |(name, takes_value): (&str, bool)| CompletionItem {
        label: format!("--{name}{}", if takes_value { "=" } else { "" }),
        kind: Some(CompletionItemKind::PROPERTY),
        ..CompletionItem::default()
    };
    flags_of(keyword).map(item).collect()
}

/// The stages above the place.
fn stages(view: &DockerfileView, offset: usize) -> Vec<CompletionItem> {
    let above = |stage: &&Stage| {
        let span: Span = view.dockerfile.instructions[stage.from].span;
        span.end < offset
    };
    let item = |stage: &Stage| {
        let name = stage.name.as_ref()?;
        Some(CompletionItem {
            label: name.value.clone(),
            kind: Some(CompletionItemKind::MODULE),
            detail: stage.image.as_ref().map(|image| format!("stage on {image}")),
            ..CompletionItem::default()
        })
    };
    view.stages.iter().filter(above).filter_map(item).collect()
}

fn variables(view: &DockerfileView, offset: usize) -> Vec<CompletionItem> {
    let mut above = view.steps().filter(|step| step.span().start <= offset);
    let here = above.next_back();
    let mut names = here.map(|step| view.variables_at(step.at)).unwrap_or_default();
    names.sort_unstable();
    names.dedup();
    let item = |name: &str| CompletionItem {
        label: name.to_owned(),
        kind: Some(CompletionItemKind::VARIABLE),
        ..CompletionItem::default()
    };
    names.into_iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use plimsoll_check::view::BuildSettings;
    use plimsoll_diagnostics::Source;

    use super::*;

    /// What is offered at the `|`.
    fn offered(text: &str) -> Vec<String> {
        let offset = text.find('|').unwrap();
        let text = text.replacen('|', "", 1);
        let view = DockerfileView::new(
            "Dockerfile",
            &Source::new("Dockerfile", text),
            BuildSettings::default(),
        );
        at(&view, offset).into_iter().map(|item| item.label).collect()
    }

    #[test]
    fn what_fits_is_offered() {
        assert!(offered("FROM a\n|").contains(&"RUN".to_owned()));
        assert!(offered("FROM a\nru|").contains(&"run".to_owned()));
        assert!(offered("FROM a\nONBUILD |").contains(&"COPY".to_owned()));
        assert!(offered("FROM a\nCOPY --|").contains(&"--from=".to_owned()));
        assert!(offered("FROM a\nCOPY --link \\\n  --|").contains(&"--chown=".to_owned()));
        assert_eq!(
            offered("FROM a AS one\nFROM b AS two\nCOPY --from=|"),
            ["one", "two"]
        );
        assert_eq!(offered("FROM a AS one\nFROM |"), ["one"]);
        assert_eq!(offered("FROM a AS |"), Vec::<String>::new());
        assert_eq!(offered("FROM a\nARG V=1\nENV W=2\nRUN echo $|"), ["V", "W"]);
        assert_eq!(offered("FROM a\nRUN echo |"), Vec::<String>::new());
    }
}
